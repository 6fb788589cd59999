"""Accuracy of words put into a gap, as CMRC2017's script has it."""

from __future__ import annotations

import os
from collections.abc import Mapping

from pydlx._checks import described
from pydlx.metrics.sources import Source, place_of, text_of

_BAR = "|||"


def cmrc2017_score(data: Source, predictions: Source) -> dict[str, float]:
    """How many of a cloze test's words are right, in percent.

    A file has a line ``<qid_0> ||| word`` for each gap; a line without bars is an id with an empty answer. Words count
    as right if they are equal after whitespace around them is removed. Gaps without prediction are wrong.

    Args:
        data: the right words: a path, or a dict of words by id.
        predictions: the words given, likewise.

    Returns:
        ``accuracy``, of the ``total`` gaps, and how many are ``right``.

    Raises:
        ValueError: a file is not UTF-8, an id occurs twice (which the official script counts twice), or a prediction's
            id is not in the data (where it breaks).
        TypeError: an argument is neither a path nor a dict of strings.
        OSError: a file cannot be read.
    """
    name = "cmrc2017_score"
    truth, answers = _words(name, "data", data), _words(name, "predictions", predictions)
    if not truth:
        raise ValueError(f"{place_of(name, 'data', data)} must have a word, got none")
    unknown = next((key for key in answers if key not in truth), None)
    if unknown is not None:
        raise ValueError(f"{place_of(name, 'predictions', predictions)} must have ids of the data, got {unknown!r}")
    right = sum(answers.get(key) == word for key, word in truth.items())
    return {"accuracy": 100 * right / len(truth), "right": right, "total": len(truth)}


def _words(name: str, argument: str, source: Source) -> dict[str, str]:
    place = place_of(name, argument, source)
    if isinstance(source, Mapping):
        for key, word in source.items():
            if not isinstance(key, str) or not isinstance(word, str):
                raise TypeError(f"{place} must be words by id, got {described(word)} for {described(key)}")
        return {key: word.strip() for key, word in source.items()}
    if not isinstance(source, str | os.PathLike):
        raise TypeError(f"{place} must be a path, or words by id, got {described(source)}")
    words: dict[str, str] = {}
    for number, line in enumerate(text_of(source, place).split("\n"), 1):
        if not line.strip():
            continue
        key, _, word = (part.strip() for part in line.partition(_BAR))
        if key in words:
            raise ValueError(f"{place} must have each id once, got {key!r} again in line {number}")
        words[key] = word
    return words
