"""Top-k with a fully defined order of ties, in PyTorch and in exported graphs."""

from __future__ import annotations

from torch import Tensor

from pydlx import _autograd


def best(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` largest values of each row of (B, L) and their indices; ties by lower index, NaN is the largest."""
    if _autograd.is_exporting_to_onnx():
        return scores.topk(count)  # ONNX's TopK puts the lower index first; ``torch.topk`` itself defines no order
    values, places = scores.sort(dim=1, descending=True, stable=True)
    return values[:, :count], places[:, :count]
