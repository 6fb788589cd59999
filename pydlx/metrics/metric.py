"""The base class of the metrics: torchmetrics' own where it is installed, a small equivalent where it is not."""

from __future__ import annotations

try:
    from torchmetrics import Metric
except ImportError:
    from pydlx.metrics.standalone import Metric  # type: ignore[assignment]

__all__ = ["Metric"]
