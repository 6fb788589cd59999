"""COCO's evaluation of result files: keypoints, in the layouts of COCO, CrowdPose and COCO-WholeBody."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from pydlx._checks import check_flag, check_one_of
from pydlx.data.annotations import Id
from pydlx.metrics.coco_files import Evaluation, check_common, warn_of_rows
from pydlx.metrics.coco_protocol import ALL, EVERYTHING, Curves
from pydlx.metrics.coco_summary import summary
from pydlx.metrics.keypoint_ap import (
    KeypointDetections,
    KeypointTruths,
    boxes_around,
    checked_sigmas,
    extent,
    keypoint_curves,
    keypoint_protocol,
    one_keypoint,
)
from pydlx.metrics.keypoint_sigmas import COCO_SIGMAS, CROWDPOSE_SIGMAS, WHOLEBODY_SIGMAS

if TYPE_CHECKING:
    from pydlx.data.coco import CocoDetections, CocoTruth
    from pydlx.data.coco_sources import Source

# CrowdPose's three kinds of image, by crowdIndex: from, to (not included).
_CROWDING = {"easy": (-np.inf, 0.2), "medium": (0.2, 0.8), "hard": (0.8, np.inf)}
_BODY = "keypoints"


def evaluate_keypoints(
    truth: Source,
    detections: Source,
    *,
    layout: str = "coco",
    sigmas: Sequence[float] | Tensor | None = None,
    max_detections: int = 20,
    use_area: bool | None = None,
    oks_thresholds: Sequence[float] | None = None,
    recall_thresholds: Sequence[float] | None = None,
    area_ranges: Mapping[str, Sequence[float]] | None = None,
    image_ids: Sequence[Id] | None = None,
    category_ids: Sequence[Id] | None = None,
    compatibility: str | None = None,
    per_keypoint: bool = False,
    skip_bad: bool = False,
) -> Evaluation:
    """COCO's keypoint evaluation of two JSON files.

    Args:
        truth: annotations in COCO's format: a path (gzipped or not), or what ``json.load`` makes of it.
            ``num_keypoints`` 0 means ignored, whatever the visibilities say; where absent it is how many are visible.
            Without ``area`` that is 0.53 times the box, and without ``bbox`` the box is that around the visible
            keypoints.
        detections: results in COCO's format, likewise. Where the first one has a ``bbox``, those give the detections'
            areas.
        layout: ``"coco"``, ``"crowdpose"`` (14 keypoints, no areas; gives ``AP AP50 AP75 AR AR50 AR75`` and
            ``AP_easy AP_medium AP_hard`` by the images' crowdIndex) or ``"wholebody"`` (133; gives the ten numbers for
            ``body foot face lefthand righthand wholebody``, as ``foot_AP``; as xtcocotools has it, keypoints of each
            part are counted, a detection of a part whose third values are all 0 is left out, and without ``bbox`` the
            body gives the area).
        sigmas: other than the layout's, for data with other keypoints.
        max_detections: how many detections of an image and category count.
        use_area: as for `KeypointAP`; the layout's by default.
        oks_thresholds: as for `KeypointAP`.
        recall_thresholds: as for `KeypointAP`.
        area_ranges: as for `KeypointAP`.
        image_ids: ids of the images that count; all by default.
        category_ids: ids of the categories that count; all by default.
        compatibility: as for `KeypointAP`.
        per_keypoint: also AP of each keypoint alone.
        skip_bad: leave out bad records, which raise otherwise.

    Returns:
        A dict with ``AP AP50 AP75 APM APL AR AR50 AR75 ARM ARL``, or the layout's numbers, and with what else was found
        as attributes.

    Raises:
        ValueError: a file is no JSON (with the byte), a record is bad (with its place and id), or two categories have
            one id.
    """
    from pydlx.data.coco import coco_subset, read_coco_detections, read_coco_truth  # needs msgspec

    name = "evaluate_keypoints"
    check_common(name, truth, detections, compatibility, skip_bad)
    check_flag(name, "per_keypoint", per_keypoint)
    if use_area is not None:
        check_flag(name, "use_area", use_area)
    parts = _parts_of(layout, sigmas)
    if layout == "crowdpose" and area_ranges is None:
        area_ranges = {ALL: EVERYTHING}
    protocol = keypoint_protocol(max_detections, oks_thresholds, recall_thresholds, area_ranges, name)
    use_area = layout != "crowdpose" if use_area is None else use_area
    skipped: list[str] | None = [] if skip_bad else None
    sizes = {name: len(values) for name, values in parts.items()}
    data = read_coco_truth(truth, sizes, skipped=skipped)
    scores = ["score", *(_score_field(part) for part in (*parts, "wholebody_kpts") if len(parts) > 1 and part != _BODY)]
    found = read_coco_detections(detections, data, sizes, scores=scores, skipped=skipped)
    if image_ids is not None or category_ids is not None:
        data, found = coco_subset(data, found, image_ids=image_ids, category_ids=category_ids)
    _warn_of_poses(data, use_area=use_area)

    rows = {name: (_keypoint_rows(data, found, [name]), values) for name, values in parts.items()}
    if layout == "wholebody":
        rows["wholebody_kpts"] = (_keypoint_rows(data, found, list(parts)), torch.cat(list(parts.values())))
    del found  # the rows have copies of what is large
    measure = functools.partial(
        keypoint_curves,
        protocol=protocol,
        images=max(1, len(data.image_ids)),
        categories=max(1, len(data.category_ids)),
        use_area=use_area,
        compatibility=compatibility,
    )
    curves = {name: measure(*both, values) for name, (both, values) in rows.items()}
    results = _summaries(curves)
    first, values = rows[_BODY]
    if layout == "crowdpose":
        for name, (low, high) in _CROWDING.items():
            chosen = torch.from_numpy((data.crowd_index >= low) & (data.crowd_index < high))
            results[f"AP_{name}"] = measure(*_of_images(*first, chosen), values).average_precision()
    each = [measure(*one_keypoint(*first, k), values[k : k + 1]) for k in range(len(values) if per_keypoint else 0)]
    return Evaluation(
        results,
        curves,
        data.category_names,
        per_keypoint=[curve.average_precision() for curve in each],
        skipped=skipped,
    )


def _parts_of(layout: str, sigmas: Sequence[float] | Tensor | None) -> dict[str, Tensor]:
    """The sigmas by the field of the files that holds their keypoints."""
    check_one_of("evaluate_keypoints", "layout", layout, ("coco", "crowdpose", "wholebody"))
    if layout == "wholebody":
        if sigmas is not None:
            raise ValueError("evaluate_keypoints: sigmas must be None for the layout wholebody, which has its own")
        return {name: torch.tensor(values, dtype=torch.float64) for name, values in WHOLEBODY_SIGMAS.items()}
    default = CROWDPOSE_SIGMAS if layout == "crowdpose" else COCO_SIGMAS
    return {_BODY: checked_sigmas("evaluate_keypoints", default if sigmas is None else sigmas)}


def _summaries(curves: Mapping[str, Curves]) -> dict[str, float]:
    """COCO's numbers; by part, as ``foot_AP``, where there are several."""
    results: dict[str, float] = {}
    for name, curve in curves.items():
        prefix = f"{_part(name)}_" if len(curves) > 1 else ""
        results |= {prefix + key: value for key, value in summary(curve, by_limit=False).items()}
    return results


def _keypoint_rows(
    data: CocoTruth, found: CocoDetections, fields: Sequence[str]
) -> tuple[KeypointDetections, KeypointTruths]:
    """What the files say of the keypoints of these fields, one field after the other.

    COCO-WholeBody's evaluation counts the keypoints of each part itself, leaves out detections of a part whose third
    values are all 0, and takes the area of a detection without box from its body, for every part.
    """
    given = _joined([found.keypoints[name] for name in fields])
    # NumPy copies in this thread; torch would wait for all of its threads, which takes long on a busy machine.
    points, third = torch.from_numpy(np.ascontiguousarray(given[..., :2])), given[..., 2]
    score = found.scores.get(_score_field(fields[0] if len(fields) == 1 else "wholebody_kpts"), found.scores["score"])
    true = torch.from_numpy(_joined([data.keypoints[name] for name in fields]))
    visibility, boxes = true[..., 2].contiguous(), torch.from_numpy(data.boxes)
    if bool(boxes.isnan().any()):
        boxes = torch.where(boxes.isnan(), boxes_around(true), boxes)
    # A slice of all rows copies nothing, where the points of a hundred thousand detections are 40 MB.
    there: slice | Tensor = slice(None)
    counted = torch.from_numpy(data.num_keypoints)
    if len(data.keypoints) > 1:
        counted, there = torch.full_like(counted, -1), torch.from_numpy((third > 0).any(1))
    counted = torch.where(counted < 0, (visibility > 0).sum(1), counted)
    if found.boxes is None:
        area = extent(points if fields == [_BODY] else torch.from_numpy(found.keypoints[_BODY][..., :2]))
    else:
        area = torch.from_numpy(found.boxes[:, 2] * found.boxes[:, 3])
    return (
        KeypointDetections(
            torch.from_numpy(found.images)[there],
            torch.from_numpy(found.categories)[there],
            torch.from_numpy(score)[there],
            area[there],
            points[there],
        ),
        KeypointTruths(
            torch.from_numpy(data.images),
            torch.from_numpy(data.categories),
            true[..., :2].contiguous(),
            visibility,
            torch.from_numpy(data.area),
            boxes,
            torch.from_numpy(data.crowd),
            counted,
            torch.from_numpy(data.ids == 0),
        ),
    )


def _joined(fields: list[np.ndarray]) -> np.ndarray:
    return fields[0] if len(fields) == 1 else np.concatenate(fields, axis=1)


def _part(name: str) -> str:
    """``foot`` for ``foot_kpts``; ``body`` for ``keypoints``."""
    return "body" if name == _BODY else name.removesuffix("_kpts")


def _score_field(name: str) -> str:
    """Where a part's score stands: ``foot_score`` for ``foot_kpts``."""
    return "score" if name == _BODY else f"{_part(name)}_score"


def _of_images(
    found: KeypointDetections, true: KeypointTruths, chosen: Tensor
) -> tuple[KeypointDetections, KeypointTruths]:
    """The rows of the chosen images."""

    def kept(rows: Any) -> Any:
        at = chosen[rows.images]
        return type(rows)(**{name: None if value is None else value[at] for name, value in vars(rows).items()})

    return kept(found), kept(true)


def _warn_of_poses(data: CocoTruth, *, use_area: bool) -> None:
    """Of annotations that are allowed, and probably mistakes."""
    if use_area:
        counted, some = data.num_keypoints != 0, "annotations with keypoints have"
        warn_of_rows(counted & (data.area <= 0), data, f"{some} an area of 0 or less, so nothing matches")
        tiny = counted & (data.area > 0) & (data.area < 1)
        warn_of_rows(tiny, data, f"{some} an area below 1 square pixel, so next to nothing matches")
        warn_of_rows(counted & np.isnan(data.area), data, f"{some} no area, so 0.53 times that of the box counts")
    if len(data.keypoints) == 1:
        visibility = data.keypoints[_BODY][..., 2]
        # CrowdPose counts the keypoints that are not occluded alone.
        known = data.num_keypoints >= 0
        bad = known & (data.num_keypoints != (visibility > 0).sum(1)) & (data.num_keypoints != (visibility > 1).sum(1))
        warn_of_rows(bad, data, "annotations have another num_keypoints than visible keypoints")
