"""The COCO evaluation's matching of detections with truths, and its precision curves.

Both ops take the rows of all images at once, in groups: one group per image and category, ordered by category. Group i
holds the detections ``range(detection_offsets[i], detection_offsets[i + 1])``, and truths likewise. They run on the CPU
and have no gradient. They follow pycocotools' ``COCOeval.evaluateImg`` and ``COCOeval.accumulate``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pydlx import _autograd, _native
from pydlx._checks import listed, whole
from pydlx.ops.ragged import check_offsets, check_rows, check_same_groups

FALSE, TRUE, IGNORED = 0, 1, 2  # the numbers in csrc/match_detections/match_detections.h
_EPSILON = torch.finfo(torch.float64).eps


def match_detections(
    similarity: Tensor,
    scores: Tensor,
    detection_offsets: Tensor,
    truth_offsets: Tensor,
    detection_outside: Tensor,
    truth_ignored: Tensor,
    truth_crowd: Tensor,
    truth_unrecorded: Tensor | None,
    thresholds: Tensor,
    max_detections: int,
) -> tuple[Tensor, Tensor]:
    """Match the detections of every group with its truths, for A area ranges and T thresholds.

    In order of descending score, each detection is matched with the most similar truth (the last of equals) that is
    not yet matched and whose similarity reaches the threshold. A crowd region can be matched any number of times. An
    ignored truth is matched only if no other truth is similar enough.

    Args:
        similarity: (P,) float64, the (detections, truths) matrices of the groups, row-major, one after another.
        scores: (D,) float64. Detections with equal scores keep the order of their rows.
        detection_offsets: (n + 1,) int64.
        truth_offsets: (n + 1,) int64.
        detection_outside: (A, D) bool, detections that are ignored if they match no truth.
        truth_ignored: (A, G) bool, truths that do not count; a detection that matches one is ignored.
        truth_crowd: (G,) bool, truths that any number of detections may match.
        truth_unrecorded: (G,) bool or None, truths whose matched detection counts as unmatched.
        thresholds: (T,) float64.
        max_detections: How many detections of a group, by score, are matched; the others are ignored.

    Returns:
        The outcome of each detection, (A, T, D) uint8 of ``FALSE``, ``TRUE`` and ``IGNORED``, and its rank by score in
        its group, (D,) int64.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If a dtype or a shape is wrong, a tensor is not on the CPU, or a limit is negative.
    """
    name = "match_detections"
    check_rows(name, "scores", scores, torch.float64, None)
    check_rows(name, "truth_crowd", truth_crowd, torch.bool, None)
    rows, truths = len(scores), len(truth_crowd)
    check_offsets(name, "detection_offsets", detection_offsets, rows)
    check_offsets(name, "truth_offsets", truth_offsets, truths)
    check_same_groups(name, detection_offsets, truth_offsets)
    pairs = int((detection_offsets.diff() * truth_offsets.diff()).sum())
    check_rows(name, "similarity", similarity, torch.float64, pairs)
    check_rows(name, "truth_ignored", truth_ignored, torch.bool, None, truths)
    check_rows(name, "detection_outside", detection_outside, torch.bool, len(truth_ignored), rows)
    if truth_unrecorded is not None:
        check_rows(name, "truth_unrecorded", truth_unrecorded, torch.bool, truths)
    check_rows(name, "thresholds", thresholds, torch.float64, None)
    run = _match if _native.use_native(scores, name) else match_detections_reference
    return run(
        similarity,
        scores,
        detection_offsets,
        truth_offsets,
        detection_outside,
        truth_ignored,
        truth_crowd,
        truth_unrecorded,
        thresholds,
        whole(name, "max_detections", max_detections, 0),
    )


def precision_curves(
    outcome: Tensor,
    rank: Tensor,
    scores: Tensor,
    category_offsets: Tensor,
    positives: Tensor,
    recall_thresholds: Tensor,
    max_detections: Sequence[int],
) -> tuple[Tensor, Tensor, Tensor]:
    """Precision at given recalls, for C categories, T thresholds, A area ranges and M limits of detections per group.

    Precision is ``tp / (tp + fp + 2**-52)`` over the detections of a category in order of descending score, replaced by
    its running maximum from the right, and sampled where recall first reaches each threshold; 0 where it never does.

    Args:
        outcome: (A, T, D) uint8 and
        rank: (D,) int64, from `match_detections`.
        scores: (D,) float64.
        category_offsets: (C + 1,) int64, category c has the detections ``range(offsets[c], offsets[c + 1])``.
        positives: (A, C) int64, the number of truths that count.
        recall_thresholds: (R,) float64, ascending.
        max_detections: The M limits.

    Returns:
        Precision (T, R, C, A, M), final recall (T, C, A, M) and the score at each sample (T, R, C, A, M), all float64,
        and -1 where no truth counts.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If a dtype or a shape is wrong, a tensor is not on the CPU, or a limit is negative.
    """
    name = "precision_curves"
    check_rows(name, "scores", scores, torch.float64, None)
    if _autograd.wants_derivative(scores):
        raise ValueError(f"{name}: scores must not require a gradient, which is not given; detach them")
    rows = len(scores)
    check_rows(name, "outcome", outcome, torch.uint8, None, None, rows)
    check_rows(name, "rank", rank, torch.int64, rows)
    check_offsets(name, "category_offsets", category_offsets, rows)
    check_rows(name, "positives", positives, torch.int64, len(outcome), len(category_offsets) - 1)
    check_rows(name, "recall_thresholds", recall_thresholds, torch.float64, None)
    limits = listed(name, "max_detections", max_detections, "a sequence of whole numbers")
    limits = [whole(name, "max_detections", limit, 0) for limit in limits]
    if not limits:
        raise ValueError(f"{name}: max_detections must hold at least one limit, got none")
    run = _curves if _native.use_native(scores, name) else precision_curves_reference
    return run(outcome, rank, scores, category_offsets, positives, recall_thresholds, limits)


def match_detections_reference(
    similarity: Tensor,
    scores: Tensor,
    detection_offsets: Tensor,
    truth_offsets: Tensor,
    detection_outside: Tensor,
    truth_ignored: Tensor,
    truth_crowd: Tensor,
    truth_unrecorded: Tensor | None,
    thresholds: Tensor,
    max_detections: int,
) -> tuple[Tensor, Tensor]:
    """The definition, one detection at a time."""
    areas, rows = detection_outside.shape
    outcome = torch.full((areas, len(thresholds), rows), IGNORED, dtype=torch.uint8)
    rank = torch.empty(rows, dtype=torch.int64)
    crowd = truth_crowd.tolist()
    unrecorded = [False] * len(crowd) if truth_unrecorded is None else truth_unrecorded.tolist()
    start, d, g = 0, detection_offsets.tolist(), truth_offsets.tolist()
    for i in range(len(d) - 1):
        first, last, truths = d[i], d[i + 1], range(g[i], g[i + 1])
        pairs = similarity[start : start + (last - first) * len(truths)].view(last - first, len(truths)).tolist()
        start += (last - first) * len(truths)
        turns = scores[first:last].argsort(descending=True, stable=True)
        rank[first + turns] = torch.arange(last - first)
        for a in range(areas):
            ignored = truth_ignored[a].tolist()
            order = sorted(truths, key=lambda truth: ignored[truth])
            for t, threshold in enumerate(thresholds.tolist()):
                taken: set[int] = set()
                for turn in turns[:max_detections].tolist():
                    best, found = min(threshold, 1 - 1e-10), None
                    for truth in order:
                        if truth in taken and not crowd[truth]:
                            continue
                        if found is not None and ignored[truth] and not ignored[found]:
                            break
                        if pairs[turn][truth - g[i]] >= best:
                            best, found = pairs[turn][truth - g[i]], truth
                    taken |= {found} if found is not None else set()
                    matched = found is not None and not unrecorded[found]
                    if (found is not None and ignored[found]) or (not matched and detection_outside[a, first + turn]):
                        continue
                    outcome[a, t, first + turn] = TRUE if matched else FALSE
    return outcome, rank


def precision_curves_reference(
    outcome: Tensor,
    rank: Tensor,
    scores: Tensor,
    category_offsets: Tensor,
    positives: Tensor,
    recall_thresholds: Tensor,
    max_detections: list[int],
) -> tuple[Tensor, Tensor, Tensor]:
    """The definition, by cumulative sums."""
    areas, count, _ = outcome.shape
    categories, samples = len(category_offsets) - 1, len(recall_thresholds)
    precision = scores.new_full((count, samples, categories, areas, len(max_detections)), -1.0)
    score = precision.clone()
    recall = precision[:, 0].clone()
    offsets = category_offsets.tolist()
    for c in range(categories):
        rows = torch.arange(offsets[c], offsets[c + 1])
        for m, limit in enumerate(max_detections):
            kept = rows[rank[rows] < limit]
            kept = kept[scores[kept].argsort(descending=True, stable=True)]
            for a in range(areas):
                if positives[a, c] == 0:
                    continue
                right = (outcome[a][:, kept] == TRUE).double().cumsum(1)  # (T, kept)
                wrong = (outcome[a][:, kept] == FALSE).double().cumsum(1)
                exact = (right / (wrong + right + _EPSILON)).flip(1).cummax(1).values.flip(1)
                reached = right / positives[a, c]
                recall[:, c, a, m] = reached[:, -1] if len(kept) else 0.0
                at = torch.searchsorted(reached, recall_thresholds.expand(count, -1).contiguous())  # (T, R)
                past = at == len(kept)
                for to, values in ((precision, exact), (score, scores[kept].expand(count, -1))):
                    padded = torch.cat([values, values.new_zeros(count, 1)], 1)
                    to[:, :, c, a, m] = torch.where(past, 0.0, padded.gather(1, at))
    return precision, recall, score


def _match_fake(similarity: Tensor, scores: Tensor, *others: Any) -> tuple[Tensor, Tensor]:
    _, _, detection_outside, *_, thresholds, _ = others
    (areas, rows), count = detection_outside.shape, thresholds.shape[0]
    return scores.new_empty((areas, count, rows), dtype=torch.uint8), scores.new_empty(rows, dtype=torch.int64)


def _curves_fake(outcome: Tensor, rank: Tensor, scores: Tensor, *others: Any) -> tuple[Tensor, Tensor, Tensor]:
    category_offsets, _, recall_thresholds, max_detections = others
    (areas, count, _), categories = outcome.shape, category_offsets.shape[0] - 1
    shape = (count, recall_thresholds.shape[0], categories, areas, len(max_detections))
    return scores.new_empty(shape), scores.new_empty((count, *shape[2:])), scores.new_empty(shape)


_match = _native.register(
    "match_detections(Tensor similarity, Tensor scores, Tensor detection_offsets, Tensor truth_offsets, Tensor "
    "detection_outside, Tensor truth_ignored, Tensor truth_crowd, Tensor? truth_unrecorded, Tensor thresholds, int "
    "max_detections) -> (Tensor, Tensor)",
    reference=match_detections_reference,
    fake=_match_fake,
)

_curves = _native.register(
    "precision_curves(Tensor outcome, Tensor rank, Tensor scores, Tensor category_offsets, Tensor positives, Tensor "
    "recall_thresholds, int[] max_detections) -> (Tensor, Tensor, Tensor)",
    reference=precision_curves_reference,
    fake=_curves_fake,
)
