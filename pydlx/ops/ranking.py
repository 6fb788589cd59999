"""The best of many scores in an order that is exact, in PyTorch and where a graph is exported."""

from __future__ import annotations

from torch import Tensor

from pydlx import _autograd


def best(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The largest of each row of (B, L) and their places, of equals the lower place first; NaN is the largest."""
    if _autograd.is_exporting_to_onnx():
        return scores.topk(count)  # ONNX defines the order of equals, and as it is here; ``torch.topk`` does not
    values, places = scores.sort(dim=1, descending=True, stable=True)
    return values[:, :count], places[:, :count]
