"""Conversion of answers between character offsets in the passage and spans of tokens."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pydlx._checks import described, whole


class TokenSpan(NamedTuple):
    """The tokens of an answer.

    Attributes:
        first: Index of the first token.
        last: Index of the last token, inclusive.
        widened: Whether the answer begins or ends inside a token; the span includes the whole token.
    """

    first: int
    last: int
    widened: bool


def answer_tokens(offsets: np.ndarray, start: int, end: int) -> TokenSpan | None:
    """Return the tokens that an answer touches.

    Args:
        offsets: (n, 2) integers, first character of each token and the one past its last, ascending.
        start: Offset of the answer's first character.
        end: Offset past its last character.

    Returns:
        The span; None if the answer touches no token, because it is white space.
    """
    _check_offsets("answer_tokens", offsets)
    whole("answer_tokens", "start", start, 0)
    whole("answer_tokens", "end", end, 0)
    first = int(np.searchsorted(offsets[:, 1], start, side="right"))
    last = int(np.searchsorted(offsets[:, 0], end, side="left")) - 1
    if last < first:
        return None
    return TokenSpan(first, last, bool(offsets[first, 0] < start or offsets[last, 1] > end))


def answer_characters(offsets: np.ndarray, first: int, last: int) -> tuple[int, int]:
    """Return the offsets of tokens `first` to `last`, inclusive: of the first character, and past the last."""
    _check_offsets("answer_characters", offsets)
    count = len(offsets)
    if not 0 <= whole("answer_characters", "first", first) < count:
        raise ValueError(f"answer_characters: first must be one of {count} tokens, got {first}")
    if not first <= whole("answer_characters", "last", last) < count:
        raise ValueError(f"answer_characters: last must be one of {count} tokens from first, {first}, on, got {last}")
    return int(offsets[first, 0]), int(offsets[last, 1])


def _check_offsets(name: str, offsets: np.ndarray) -> None:
    given = isinstance(offsets, np.ndarray) and offsets.dtype.kind in "iu" and offsets.ndim == 2
    if not (given and offsets.shape[1] == 2):
        raise TypeError(f"{name}: offsets must be an (n, 2) array of integers, got {described(offsets)}")
