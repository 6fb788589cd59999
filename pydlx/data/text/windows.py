"""Windows over long texts for taggers, each with a core whose entities are taken from this window."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pydlx._checks import described, listed, whole


class TextWindow(NamedTuple):
    """A window of a text.

    Spans whose middle, ``(start + end) // 2``, lies in the core are taken from this window, others from its neighbours.

    Attributes:
        first: First token of the window.
        past: The token after its last.
        core_first: First token of its core.
        core_past: The token after the last of its core.
    """

    first: int
    past: int
    core_first: int
    core_past: int


def text_windows(costs: np.ndarray, limit: int) -> list[TextWindow]:
    """Divide a text into windows that overlap by half. Each token is in exactly one core, away from its window's ends.

    Args:
        costs: (n,) integers, cost of each token, such as its number of wordpieces.
        limit: Maximum cost of a window. A token of higher cost gets a window of its own.

    Returns:
        The windows, ascending; one if all tokens fit, none if there are no tokens.
    """
    whole("text_windows", "limit", limit, 1)
    sizes = np.asarray(listed("text_windows", "costs", costs, "whole numbers"))
    if sizes.ndim != 1 or (len(sizes) and (sizes.dtype.kind not in "iu" or (sizes < 0).any())):
        raise TypeError(f"text_windows: costs must be whole numbers from 0 on, got {described(costs)}")
    total, length = np.concatenate([[0], np.cumsum(sizes)]), len(sizes)
    windows: list[TextWindow] = []
    first = core_first = 0
    while first < length:
        past = max(first + 1, int(np.searchsorted(total, total[first] + limit, "right")) - 1)
        if past >= length:
            return [*windows, TextWindow(first, length, core_first, length)]
        # The next window overlaps with half of this one, or less, so that it holds at least one new token.
        begin = max(total[past] - limit // 2, total[past + 1] - limit)
        following = min(max(first + 1, int(np.searchsorted(total, begin, "left"))), past)
        core_past = (following + past) // 2
        windows.append(TextWindow(first, past, core_first, core_past))
        first, core_first = following, core_past
    return windows
