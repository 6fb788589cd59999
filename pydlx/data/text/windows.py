"""Windows over texts for models that read a limited number of tokens, and which window decides about what."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pydlx._checks import described, listed, whole


class TextWindow(NamedTuple):
    """A part of a text that is read at once.

    Attributes:
        first: Its first token.
        past: The token past its last.
        core_first: From here on, and
        core_past: to before here, it decides what is found: spans whose middle, ``(start + end) // 2``, lies there.
    """

    first: int
    past: int
    core_first: int
    core_past: int


def text_windows(costs: np.ndarray, limit: int) -> list[TextWindow]:
    """Cuts a text into windows that overlap by half. Each token belongs to one core, far from the ends of its window.

    Args:
        costs: (n,) integers: how much of a window each token fills, such as its number of wordpieces.
        limit: What a window holds. A token that alone is larger has a window of its own.

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
        # It shares half of this one, or as much as leaves room for a token that this one does not hold.
        begin = max(total[past] - limit // 2, total[past + 1] - limit)
        following = min(max(first + 1, int(np.searchsorted(total, begin, "left"))), past)
        core_past = (following + past) // 2
        windows.append(TextWindow(first, past, core_first, core_past))
        first, core_first = following, core_past
    return windows
