"""Windows over passages that are too long for a reader."""

from __future__ import annotations

import numpy as np

from pydlx._checks import described, whole, whole_pair


def windows(
    length: int, size: int, stride: int, answer: tuple[int, int] | None = None, *, costs: np.ndarray | None = None
) -> list[tuple[int, int]]:
    """Divide a passage into overlapping windows.

    Windows begin `stride` tokens apart; the last one ends with the passage. Every span of up to ``size - stride + 1``
    tokens lies completely in one of them. If no window holds the whole answer although it fits into one, another window
    is added around its middle.

    With `costs`, sizes and strides are sums of costs, such as numbers of wordpieces, and windows hold as many whole
    tokens as fit. A token whose cost exceeds `size` gets a window of its own.

    Args:
        length: Number of tokens of the passage, at least one.
        size: Maximum number of tokens of a window.
        stride: Tokens from the beginning of one window to the next, from 1 to `size`.
        answer: First and last token, inclusive, of a span that a window should hold.
        costs: (length,) positive integers, cost of each token; by default 1.

    Returns:
        First token of each window and the one past its last, ascending.
    """
    whole("windows", "length", length, 1)
    whole("windows", "size", size, 1)
    whole("windows", "stride", stride, 1, size)
    filled = np.concatenate([[0], np.cumsum(_checked(costs, length))])  # filled[i]: cost of the tokens before i

    def past(start: int) -> int:
        return max(start + 1, int(np.searchsorted(filled, filled[start] + size, "right")) - 1)

    def begin(least: int) -> int:
        """Return the first token before which the costs sum to at least `least`."""
        return int(np.searchsorted(filled, least))

    starts, last = [0], min(begin(filled[-1] - size), length - 1)
    while starts[-1] < last:
        following = max(begin(filled[starts[-1]] + stride), starts[-1] + 1)
        starts.append(min(following, past(starts[-1]), last))
    if answer is not None:
        first, end = whole_pair("windows", "answer", answer, "from 0 on", 0)
        if not first <= end < length:
            raise ValueError(f"windows: answer must be a first and a last of {length} tokens, got {answer}")
        held = any(start <= first and end < past(start) for start in starts)
        if not held and filled[end + 1] - filled[first] <= size:
            starts = sorted([*starts, begin((filled[first] + filled[end + 1] - size) // 2)])
    return [(start, past(start)) for start in starts]


def _checked(costs: np.ndarray | None, length: int) -> np.ndarray:
    if costs is None:
        return np.ones(length, np.int64)
    given = isinstance(costs, np.ndarray) and costs.dtype.kind in "iu" and costs.shape == (length,)
    if not given or (costs < 1).any():
        raise TypeError(f"windows: costs must be an array of {length} positive integers, got {described(costs)}")
    return costs
