"""Windows over passages that are too long to be read at once."""

from __future__ import annotations

import numpy as np

from pydlx._checks import described, whole, whole_pair


def windows(
    length: int, size: int, stride: int, answer: tuple[int, int] | None = None, *, costs: np.ndarray | None = None
) -> list[tuple[int, int]]:
    """Overlapping windows that together hold a passage.

    They begin `stride` apart, the last one where it ends with the passage. Spans of up to ``size - stride + 1`` tokens
    lie whole in one of them. A longer answer, if it fits a window but none holds it, gets one more, around its middle.

    Tokens may fill more of a window than others, as wordpieces do. Sizes and strides are then of what they fill, and a
    window is as full as whole tokens make it; a token that is larger than a window has one of its own.

    Args:
        length: Tokens of the passage, at least one.
        size: Most tokens of a window.
        stride: Tokens from one beginning to the next, from 1 to `size`.
        answer: First and last token, inclusive, of a span that one window shall hold.
        costs: (length,) positive integers: what each token fills; by default 1.

    Returns:
        First token of each window and the one past its last, ascending.
    """
    whole("windows", "length", length, 1)
    whole("windows", "size", size, 1)
    whole("windows", "stride", stride, 1, size)
    filled = np.concatenate([[0], np.cumsum(_checked(costs, length))])  # by the tokens before each, and by all

    def past(start: int) -> int:
        return max(start + 1, int(np.searchsorted(filled, filled[start] + size, "right")) - 1)

    def begin(least: int) -> int:
        """The first token before which so much is filled."""
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
