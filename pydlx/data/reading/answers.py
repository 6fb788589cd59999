"""From an answer's characters to tokens, and from tokens back to the exact characters of the passage."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class TokenSpan(NamedTuple):
    """Tokens of an answer.

    Attributes:
        first: The first.
        last: The last, inclusive.
        widened: Whether the answer begins or ends inside a token, all of which the span takes.
    """

    first: int
    last: int
    widened: bool


def answer_tokens(offsets: np.ndarray, start: int, end: int) -> TokenSpan | None:
    """The tokens that an answer touches.

    Args:
        offsets: (n, 2) integers: of each token the first character and the one past its last, ascending.
        start: First character of the answer.
        end: The one past its last.

    Returns:
        None if it touches none, being white space.
    """
    first = int(np.searchsorted(offsets[:, 1], start, side="right"))
    last = int(np.searchsorted(offsets[:, 0], end, side="left")) - 1
    if last < first:
        return None
    return TokenSpan(first, last, bool(offsets[first, 0] < start or offsets[last, 1] > end))


def answer_characters(offsets: np.ndarray, first: int, last: int) -> tuple[int, int]:
    """Where in the passage tokens from `first` to `last`, inclusive, stand: first character, and past the last."""
    return int(offsets[first, 0]), int(offsets[last, 1])
