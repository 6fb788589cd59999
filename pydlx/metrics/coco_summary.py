"""The numbers of an evaluation by COCO's names, by category, and as the lines that COCO's tools print."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from pydlx.metrics.coco_protocol import ALL, Curves

_LETTERS = {"small": "S", "medium": "M", "large": "L"}


def summary(curves: Curves, *, by_limit: bool) -> dict[str, float]:
    """The numbers by COCO's names; -1 where no truth counts.

    ``AP``, ``AP50``, ``AP75``, then AP by area (``APS``, ``APM``, ``APL``; ``AP_name`` for other names), and the same
    for AR, whose first three are ``AR``, ``AR50``, ``AR75``, or with `by_limit` ``AR1``, ``AR10``, ``AR100``.
    """
    areas = [name for name in curves.protocol.areas if name != ALL]

    def by_area(kind: str, mean: Callable[..., float]) -> dict[str, float]:
        return {kind + _LETTERS.get(area, f"_{area}"): mean(area=area) for area in areas}

    def by_threshold(kind: str, mean: Callable[..., float]) -> dict[str, float]:
        return {kind: mean(), f"{kind}50": mean(threshold=0.5), f"{kind}75": mean(threshold=0.75)}

    precision, recall = curves.average_precision, curves.average_recall
    if by_limit:
        recalls = {f"AR{limit}": recall(limit=limit) for limit in curves.protocol.max_detections}
    else:
        recalls = by_threshold("AR", recall)
    return {**by_threshold("AP", precision), **by_area("AP", precision), **recalls, **by_area("AR", recall)}


def by_category(curves: Curves, names: Sequence[str]) -> dict[str, float]:
    """AP of each category by its name; -1 where no truth counts."""
    return {name: curves.average_precision(category=c) for c, name in enumerate(names)}


def summary_text(curves: Curves, *, by_limit: bool) -> str:
    """The numbers of `summary` in the layout that pycocotools prints, line by line.

    A threshold or an area that the protocol does not have is left out, where pycocotools prints -1.
    """
    protocol = curves.protocol
    limits, areas = protocol.max_detections, [name for name in protocol.areas if name != ALL]
    lines: list[str] = []

    def add(kind: str, value: float, threshold: float | None = None, area: str = ALL, limit: int = limits[-1]) -> None:
        title = "Average Precision  (AP)" if kind == "AP" else "Average Recall     (AR)"
        at = _range(protocol.thresholds) if threshold is None else f"{threshold:0.2f}"
        lines.append(f" {title} @[ IoU={at:<9} | area={area:>6s} | maxDets={limit:>3d} ] = {value:0.3f}")

    for kind, mean in (("AP", curves.average_precision), ("AR", curves.average_recall)):
        if kind == "AR" and by_limit:
            for limit in limits:
                add(kind, mean(limit=limit), limit=limit)
        else:
            add(kind, mean())
            for threshold in (0.5, 0.75):
                if bool(((protocol.thresholds - threshold).abs() < 1e-9).any()):
                    add(kind, mean(threshold=threshold), threshold)
        for area in areas:
            add(kind, mean(area=area), area=area)
    return "\n".join(lines)


def _range(thresholds: Tensor) -> str:
    return f"{float(thresholds[0]):0.2f}:{float(thresholds[-1]):0.2f}"
