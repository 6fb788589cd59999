"""Windows over passages that are too long to be read at once."""

from __future__ import annotations

from pydlx._checks import whole, whole_pair


def windows(length: int, size: int, stride: int, answer: tuple[int, int] | None = None) -> list[tuple[int, int]]:
    """Overlapping windows that together hold a passage.

    They begin `stride` apart, the last one where it ends with the passage. Spans of up to ``size - stride + 1`` tokens
    lie whole in one of them. A longer answer, if it fits a window but none holds it, gets one more, around its middle.

    Args:
        length: Tokens of the passage, at least one.
        size: Most tokens of a window.
        stride: Tokens from one beginning to the next, from 1 to `size`.
        answer: First and last token, inclusive, of a span that one window shall hold.

    Returns:
        First token of each window and the one past its last, ascending.
    """
    whole("windows", "length", length, 1)
    whole("windows", "size", size, 1)
    whole("windows", "stride", stride, 1, size)
    last = max(length - size, 0)
    starts = [*range(0, last, stride), last]
    if answer is not None:
        first, end = whole_pair("windows", "answer", answer, "from 0 on", 0)
        if not first <= end < length:
            raise ValueError(f"windows: answer must be a first and a last of {length} tokens, got {answer}")
        held = any(start <= first and end < start + size for start in starts)
        if not held and end - first < size:
            starts = sorted([*starts, (first + end + 1 - size) // 2])
    return [(start, min(start + size, length)) for start in starts]
