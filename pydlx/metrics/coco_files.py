"""COCO's evaluation of result files: `KeypointAP` and `BoxAP` from JSON."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from pydlx._checks import check_flag, check_one_of, check_type
from pydlx.metrics.box_ap import BoxDetections, BoxTruths, box_curves, box_protocol
from pydlx.metrics.coco_protocol import ALL, EVERYTHING, Curves, check_compatibility, summary
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
    from pydlx.data.json_records import Source

# CrowdPose's three kinds of image, by crowdIndex: from, to (not included).
_CROWDING = {"easy": (-np.inf, 0.2), "medium": (0.2, 0.8), "hard": (0.8, np.inf)}
_BODY = "keypoints"


@dataclass(frozen=True)
class Evaluation:
    """What was found in two files.

    Attributes:
        results: the numbers by COCO's names.
        curves: precision over recall; by part for COCO-WholeBody.
        category_names: of the curves' categories; the id of a category without a name of its own.
        per_category: AP by these names, -1 where a category has no truth.
        per_keypoint: AP of each keypoint alone, if it was asked for.
        skipped: what was wrong with each record that was left out.
    """

    results: dict[str, float]
    curves: dict[str, Curves]
    category_names: list[str]
    per_category: dict[str, float]
    per_keypoint: list[float] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def evaluate_keypoints(truth: Source, detections: Source, **options: Any) -> dict[str, float]:
    """COCO's keypoint evaluation of two JSON files.

    Args:
        truth: annotations in COCO's format: a path (gzipped or not), or what ``json.load`` makes of it.
        detections: results in COCO's format, likewise.
        options: of `keypoint_evaluation`.

    Returns:
        ``AP AP50 AP75 APM APL AR AR50 AR75 ARM ARL``; for other layouts see `keypoint_evaluation`.
    """
    return keypoint_evaluation(truth, detections, **options).results


def evaluate_boxes(truth: Source, detections: Source, **options: Any) -> dict[str, float]:
    """COCO's box evaluation of two JSON files.

    Args:
        truth: annotations in COCO's format: a path (gzipped or not), or what ``json.load`` makes of it.
        detections: results in COCO's format, likewise.
        options: of `box_evaluation`.

    Returns:
        ``AP AP50 AP75 APS APM APL AR1 AR10 AR100 ARS ARM ARL``.
    """
    return box_evaluation(truth, detections, **options).results


def keypoint_evaluation(
    truth: Source,
    detections: Source,
    *,
    layout: str = "coco",
    sigmas: Sequence[float] | Tensor | None = None,
    max_detections: int = 20,
    use_area: bool | None = None,
    thresholds: Sequence[float] | None = None,
    recall_thresholds: Sequence[float] | None = None,
    area_ranges: Mapping[str, Sequence[float]] | None = None,
    compatibility: str | None = None,
    per_keypoint: bool = False,
    skip_bad: bool = False,
) -> Evaluation:
    """COCO's keypoint evaluation of two JSON files, with everything it found.

    Args:
        truth: annotations; ``num_keypoints`` 0 means ignored, whatever the visibilities say; where absent it is how
            many are visible. Without ``area`` that is 0.53 times the box, and without ``bbox`` the box is that around
            the visible keypoints.
        detections: results. Where the first one has a ``bbox``, those give the detections' areas.
        layout: ``"coco"``, ``"crowdpose"`` (14 keypoints, no areas; gives ``AP AP50 AP75 AR AR50 AR75`` and
            ``AP_easy AP_medium AP_hard`` by the images' crowdIndex) or ``"wholebody"`` (133; gives the ten numbers for
            ``body foot face lefthand righthand wholebody``, as ``foot_AP``; as xtcocotools has it, keypoints of each
            part are counted, a detection of a part whose third values are all 0 is left out, and without ``bbox`` the
            body gives the area).
        sigmas: other than the layout's, for data with other keypoints.
        max_detections: how many detections of an image and category count.
        use_area: as for `KeypointAP`; the layout's by default.
        thresholds: as for `KeypointAP`.
        recall_thresholds: as for `KeypointAP`.
        area_ranges: as for `KeypointAP`.
        compatibility: as for `KeypointAP`.
        per_keypoint: also AP of each keypoint alone.
        skip_bad: leave out bad records, which raise otherwise.

    Raises:
        ValueError: a file is no JSON (with the byte), a record is bad (with its place and id), or two categories have
            one id.
    """
    from pydlx.data.coco import read_coco_detections, read_coco_truth  # needs msgspec

    name = "evaluate_keypoints"
    _check_common(name, truth, detections, compatibility, skip_bad)
    check_flag(name, "per_keypoint", per_keypoint)
    if use_area is not None:
        check_flag(name, "use_area", use_area)
    parts = _parts_of(layout, sigmas)
    if layout == "crowdpose" and area_ranges is None:
        area_ranges = {ALL: EVERYTHING}
    protocol = keypoint_protocol(max_detections, thresholds, recall_thresholds, area_ranges, "evaluate_keypoints")
    use_area = layout != "crowdpose" if use_area is None else use_area
    skipped: list[str] | None = [] if skip_bad else None
    sizes = {name: len(values) for name, values in parts.items()}
    data = read_coco_truth(truth, sizes, skipped=skipped)
    scores = ["score", *(_score_field(part) for part in (*parts, "wholebody_kpts") if len(parts) > 1 and part != _BODY)]
    found = read_coco_detections(detections, data, sizes, scores=scores, skipped=skipped)
    _warn_of_poses(data, use_area=use_area)

    rows = {name: (_keypoint_rows(data, found, [name]), values) for name, values in parts.items()}
    if layout == "wholebody":
        rows["wholebody_kpts"] = (_keypoint_rows(data, found, list(parts)), torch.cat(list(parts.values())))
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
        _per_category(curves[_BODY], data.category_names),
        [curve.average_precision() for curve in each],
        skipped or [],
    )


def box_evaluation(
    truth: Source,
    detections: Source,
    *,
    max_detections: Sequence[int] = (1, 10, 100),
    thresholds: Sequence[float] | None = None,
    recall_thresholds: Sequence[float] | None = None,
    area_ranges: Mapping[str, Sequence[float]] | None = None,
    class_agnostic: bool = False,
    compatibility: str | None = None,
    skip_bad: bool = False,
) -> Evaluation:
    """COCO's box evaluation of two JSON files, with everything it found. Options as for `BoxAP`.

    Raises:
        ValueError: a file is no JSON (with the byte), a record is bad (with its place and id), or two categories have
            one id.
    """
    from pydlx.data.coco import read_coco_detections, read_coco_truth  # needs msgspec

    _check_common("evaluate_boxes", truth, detections, compatibility, skip_bad)
    check_flag("evaluate_boxes", "class_agnostic", class_agnostic)
    protocol = box_protocol(max_detections, thresholds, recall_thresholds, area_ranges, "evaluate_boxes")
    skipped: list[str] | None = [] if skip_bad else None
    data = read_coco_truth(truth, skipped=skipped)
    found = read_coco_detections(detections, data, skipped=skipped)
    _warn_of(data.area < 1, data, "annotations have an area below 1 square pixel and count as small or not at all")
    _warn_of(np.isnan(data.area), data, "annotations have no area, so that their boxes decide their size class")
    names = ["all"] if class_agnostic else data.category_names
    boxes = np.empty((0, 4)) if found.boxes is None else found.boxes
    images, categories = torch.from_numpy(found.images), torch.from_numpy(found.categories)
    true_categories = torch.from_numpy(data.categories)
    if class_agnostic:
        categories, true_categories = torch.zeros_like(categories), torch.zeros_like(true_categories)
    curves = box_curves(
        BoxDetections(images, categories, torch.from_numpy(found.scores["score"]), torch.from_numpy(boxes)),
        BoxTruths(
            torch.from_numpy(data.images),
            true_categories,
            torch.from_numpy(data.boxes),
            torch.from_numpy(data.area),
            torch.from_numpy(data.crowd),
            torch.from_numpy(data.ids == 0),
        ),
        protocol,
        images=max(1, len(data.image_ids)),
        categories=max(1, len(names)),
        compatibility=compatibility,
    )
    results = summary(curves, by_limit=True)
    return Evaluation(results, {"boxes": curves}, names, _per_category(curves, names), [], skipped or [])


def _check_common(name: str, truth: Source, detections: Source, compatibility: str | None, skip_bad: bool) -> None:
    for argument, source in (("truth", truth), ("detections", detections)):
        check_type(name, argument, source, (str, os.PathLike, bytes, Mapping, list, tuple), "a path or loaded JSON")
    check_compatibility(name, compatibility)
    check_flag(name, "skip_bad", skip_bad)


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
    points = torch.from_numpy(_joined([found.keypoints[name] for name in fields]))
    score = found.scores.get(_score_field(fields[0] if len(fields) == 1 else "wholebody_kpts"), found.scores["score"])
    true = torch.from_numpy(_joined([data.keypoints[name] for name in fields]))
    visibility, boxes = true[..., 2].contiguous(), torch.from_numpy(data.boxes)
    boxes = torch.where(boxes.isnan(), boxes_around(true), boxes)
    counted, there = torch.from_numpy(data.num_keypoints), torch.ones(len(points), dtype=torch.bool)
    if len(data.keypoints) > 1:
        counted, there = torch.full_like(counted, -1), (points[..., 2] > 0).any(1)
    counted = torch.where(counted < 0, (visibility > 0).sum(1), counted)
    if found.boxes is None:
        area = extent(torch.from_numpy(found.keypoints[_BODY][..., :2]))
    else:
        area = torch.from_numpy(found.boxes[:, 2] * found.boxes[:, 3])
    return (
        KeypointDetections(
            torch.from_numpy(found.images)[there],
            torch.from_numpy(found.categories)[there],
            torch.from_numpy(score)[there],
            area[there],
            points[there][..., :2].contiguous(),
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


def _per_category(curves: Curves, names: Sequence[str]) -> dict[str, float]:
    return {name: curves.average_precision(category=c) for c, name in enumerate(names)}


def _warn_of_poses(data: CocoTruth, *, use_area: bool) -> None:
    """Of annotations that are allowed, and probably mistakes."""
    if use_area:
        counted, some = data.num_keypoints != 0, "annotations with keypoints have"
        _warn_of(counted & (data.area <= 0), data, f"{some} an area of 0 or less, so nothing matches")
        tiny = counted & (data.area > 0) & (data.area < 1)
        _warn_of(tiny, data, f"{some} an area below 1 square pixel, so next to nothing matches")
        _warn_of(counted & np.isnan(data.area), data, f"{some} no area, so 0.53 times that of the box counts")
    if len(data.keypoints) == 1:
        visibility = data.keypoints[_BODY][..., 2]
        # CrowdPose counts the keypoints that are not occluded alone.
        known = data.num_keypoints >= 0
        bad = known & (data.num_keypoints != (visibility > 0).sum(1)) & (data.num_keypoints != (visibility > 1).sum(1))
        _warn_of(bad, data, "annotations have another num_keypoints than visible keypoints")


def _warn_of(bad: np.ndarray, data: CocoTruth, what: str) -> None:
    from pydlx.data.annotations import warn_of

    warn_of(bad.sum(), what, data.ids[bad].tolist())
