"""Suppression against plain loops in float64, values computed by CornerNet's rules, and torch's own checks."""

from __future__ import annotations

import math

import pytest
import torch
from op_checks import native_op, same_on_one_and_two_threads, sliced

import pydlx
from pydlx.ops import oks_nms, soft_nms, soft_oks_nms

SIGMAS = [0.026, 0.035, 0.079, 0.107, 0.089]


def overlap(a, b, pixel_offset):
    """Intersection over union of two lists x1, y1, x2, y2."""
    width = min(a[2], b[2]) - max(a[0], b[0]) + pixel_offset
    height = min(a[3], b[3]) - max(a[1], b[1]) + pixel_offset
    if width <= 0 or height <= 0:
        return 0.0
    sizes = [(box[2] - box[0] + pixel_offset) * (box[3] - box[1] + pixel_offset) for box in (a, b)]
    return width * height / (sum(sizes) - width * height)


def pose_similarity(a, b):
    """OKS of two (points, area) with the mean area."""
    (points, area), (others, other_area) = a, b
    terms = [
        math.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * ((area + other_area) / 2 + 2**-52) * (2 * sigma) ** 2))
        for (x, y), (u, v), sigma in zip(points, others, SIGMAS, strict=True)
    ]
    return sum(terms) / len(terms)


def suppression_loop(similarity, scores, decay, score_threshold):
    """Rows and scores in the order taken, for similarity(a, b) of two rows and decay(score, s), None if dropped."""
    left = {row: score for row, score in enumerate(scores) if score >= score_threshold}
    taken = []
    while left:
        row = max(left, key=lambda r: left[r])
        taken.append((row, left.pop(row)))
        decayed = {other: decay(score, similarity(row, other)) for other, score in left.items()}
        left = {other: score for other, score in decayed.items() if score is not None and score >= score_threshold}
    return [row for row, _ in taken], [score for _, score in taken]


def decay_rule(method, sigma=0.5, threshold=0.5):
    return {
        "gaussian": lambda score, s: score * math.exp(-s * s / sigma),
        "linear": lambda score, s: score * (1 - s) if s > threshold else score,
        "hard": lambda score, s: None if s > threshold else score,
    }[method]


def draw_boxes(n, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    corner = 60 * torch.rand(n, 2, generator=generator, dtype=torch.float64)
    size = 5 + 30 * torch.rand(n, 2, generator=generator, dtype=torch.float64)
    scores = torch.rand(n, generator=generator, dtype=torch.float64)
    return torch.cat([corner, corner + size], dim=1).to(dtype), scores.to(dtype)


def draw_poses(n, seed=0, dtype=torch.float64):
    """Poses in three clusters, so that many are similar to each other."""
    generator = torch.Generator().manual_seed(seed)
    shape = torch.rand(3, len(SIGMAS), 2, generator=generator, dtype=torch.float64) * 100
    points = shape[torch.arange(n) % 3] + 2 * torch.randn(n, len(SIGMAS), 2, generator=generator, dtype=torch.float64)
    area = 2000 + 8000 * torch.rand(n, generator=generator, dtype=torch.float64)
    return points.to(dtype), torch.rand(n, generator=generator, dtype=torch.float64).to(dtype), area.to(dtype)


def assert_taken(found, expected, dtype=torch.float64):
    rows, scores = found
    assert rows.dtype is torch.int64
    assert scores.dtype == dtype
    assert rows.tolist() == expected[0]
    tolerance = 1e-13 if dtype is torch.float64 else 1e-5
    torch.testing.assert_close(
        scores.double(), torch.tensor(expected[1], dtype=torch.float64), rtol=tolerance, atol=tolerance
    )


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("gaussian", [0.9, 0.5137337593, 0.7, 0.0666605719]),
        ("linear", [0.9, 0.8, 0.7, 0.0260869565]),
        ("hard", [0.9, 0.8, 0.7, None]),
    ],
)
def test_cornernets_values(method, expected):
    boxes = torch.tensor([[0, 0, 9, 9], [2, 2, 11, 11], [50, 50, 59, 59], [0, 0, 9, 10]], dtype=torch.float64)
    scores = torch.tensor([0.9, 0.8, 0.7, 0.6], dtype=torch.float64)
    rows, rescored = soft_nms(boxes, scores, method=method, pixel_offset=1)
    found = dict(zip(rows.tolist(), rescored.tolist(), strict=True))
    assert found == {row: pytest.approx(score, abs=1e-10) for row, score in enumerate(expected) if score is not None}
    assert rescored.tolist() == sorted(rescored.tolist(), reverse=True)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("pixel_offset", [0, 1])
@pytest.mark.parametrize("method", ["gaussian", "linear", "hard"])
@pytest.mark.parametrize("n", [0, 1, 7, 8, 60])
def test_boxes_are_suppressed_by_the_rule(n, method, pixel_offset, dtype):
    boxes, scores = draw_boxes(n, dtype=dtype)
    listed = boxes.double().tolist()
    expected = suppression_loop(
        lambda a, b: overlap(listed[a], listed[b], pixel_offset), scores.tolist(), decay_rule(method), 0.001
    )
    assert_taken(soft_nms(boxes, scores, method=method, pixel_offset=pixel_offset), expected, dtype)


@pytest.mark.parametrize("options", [{"sigma": 0.1}, {"sigma": 2.0}, {"score_threshold": 0.3}, {"iou_threshold": 0.2}])
@pytest.mark.parametrize("method", ["gaussian", "linear", "hard"])
def test_options(method, options):
    boxes, scores = draw_boxes(40, seed=1)
    listed = boxes.tolist()
    rule = decay_rule(method, options.get("sigma", 0.5), options.get("iou_threshold", 0.5))
    expected = suppression_loop(
        lambda a, b: overlap(listed[a], listed[b], 0), scores.tolist(), rule, options.get("score_threshold", 0.001)
    )
    assert_taken(soft_nms(boxes, scores, method=method, **options), expected)


@pytest.mark.parametrize("method", ["gaussian", "hard"])
def test_labels_are_suppressed_apart(method):
    boxes, scores = draw_boxes(50, seed=2)
    labels = torch.arange(50) % 3 * (2**60) - 5  # far apart, beyond what floating-point numbers tell from each other
    labels[::7] += 1
    rows, rescored = soft_nms(boxes, scores, method=method, labels=labels)
    found = dict(zip(rows.tolist(), rescored.tolist(), strict=True))
    apart = {}
    for label in labels.unique():
        members = (labels == label).nonzero().flatten()
        of_label, of_label_scores = soft_nms(boxes[members], scores[members], method=method)
        apart |= dict(zip(members[of_label].tolist(), of_label_scores.tolist(), strict=True))
    assert found == apart
    assert rescored.tolist() == sorted(rescored.tolist(), reverse=True)


def test_batches_are_suppressed_apart_and_filled_up():
    drawn = [draw_boxes(30, seed) for seed in range(3)]
    boxes, scores = (torch.stack(parts) for parts in zip(*drawn, strict=True))
    labels = torch.arange(30) % 2
    rows, rescored = soft_nms(boxes, scores, method="hard", labels=labels.expand(3, 30))
    assert rows.shape == rescored.shape == (3, 30)
    for i in range(3):
        alone, alone_scores = soft_nms(boxes[i], scores[i], method="hard", labels=labels)
        left = len(alone)
        assert left < 30
        assert torch.equal(rows[i, :left], alone)
        assert torch.equal(rescored[i, :left], alone_scores)
        assert (rows[i, left:] == -1).all()
        assert (rescored[i, left:] == 0).all()


def test_every_row_at_most_once():
    """The published code returns stale copies of rows at the end."""
    boxes, scores = draw_boxes(300, seed=3)
    rows, _ = soft_nms(boxes, scores, sigma=0.1)
    assert len(rows) == len(rows.unique()) < 300


@pytest.mark.parametrize("method", ["gaussian", "linear", "hard"])
def test_ties_go_to_the_first_row(method):
    boxes = torch.tensor([[20.0 * i, 0, 20 * i + 10, 10] for i in range(20)])
    scores = torch.full((20,), 0.5)
    scores[7] = 0.6
    rows, rescored = soft_nms(boxes, scores, method=method)
    assert rows.tolist() == [7, *(row for row in range(20) if row != 7)]
    assert torch.equal(rescored, scores[rows])  # what nothing overlaps keeps its score to the bit


@pytest.mark.parametrize("method", ["gaussian", "linear", "hard"])
@pytest.mark.parametrize("n", [5, 70])
def test_nan_scores_are_taken_first(n, method):
    corners = 20 * torch.arange(float(n))[:, None].expand(n, 2)
    scores = torch.arange(1.0, n + 1)
    scores[[1, 3]] = math.nan
    order, rescored = soft_nms(torch.cat([corners, corners + 9], 1), scores, method=method)
    assert order.tolist() == [1, 3, *(row for row in range(n - 1, -1, -1) if row not in (1, 3))]
    torch.testing.assert_close(rescored, scores[order], equal_nan=True)


def test_special_values():
    boxes = torch.tensor(
        [[0.0, 0, 10, 10], [0, 0, 10, 10], [5, 5, 5, 5], [math.nan] * 4, [50, 50, 60, 60], [0, 0, 1, 1]]
    )
    scores = torch.tensor([0.9, 0.8, 0.7, 0.6, math.nan, -math.inf])
    rows, rescored = soft_nms(boxes, scores, method="hard", score_threshold=-math.inf)
    assert rows.tolist() == [4, 0, 2, 3]
    assert rescored[0].isnan()
    rows, _ = soft_nms(boxes, scores)
    assert rows.tolist() == [4, 0, 2, 3, 1]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("threshold", [0.9, 0.5, 0.1])
@pytest.mark.parametrize("n", [0, 1, 9, 40])
def test_poses_are_suppressed_by_the_rule(n, threshold, dtype):
    points, scores, area = draw_poses(n, dtype=dtype)
    poses = list(zip(points.double().tolist(), area.double().tolist(), strict=True))

    def loop(rule, score_threshold):
        return suppression_loop(
            lambda a, b: pose_similarity(poses[a], poses[b]), scores.tolist(), rule, score_threshold
        )

    kept = oks_nms(points, scores, area, SIGMAS, threshold)
    assert kept.tolist() == loop(decay_rule("hard", threshold=threshold), -math.inf)[0]
    found = soft_oks_nms(points, scores, area, SIGMAS, threshold)
    assert_taken(found, loop(decay_rule("gaussian", sigma=threshold), 0), dtype)
    if n == 40:
        assert len(kept) < n
        few = soft_oks_nms(points, scores, area, SIGMAS, threshold, score_threshold=0.2)
        assert_taken(few, loop(decay_rule("gaussian", sigma=threshold), 0.2), dtype)


def test_poses_at_the_threshold_stay():
    points = torch.zeros(2, 1, 2, dtype=torch.float64)
    scores, area = torch.tensor([0.4, 0.5], dtype=torch.float64), torch.tensor([3.0, 3.0], dtype=torch.float64)
    assert oks_nms(points, scores, area, [0.1], 1.0).tolist() == [1, 0]
    assert oks_nms(points, scores, area, [0.1], 0.999).tolist() == [1]


def test_batches_of_poses():
    drawn = [draw_poses(12, seed) for seed in range(3)]
    points, scores, area = (torch.stack(parts) for parts in zip(*drawn, strict=True))
    kept = oks_nms(points, scores, area, SIGMAS, 0.3)
    rows, rescored = soft_oks_nms(points, scores, area, SIGMAS)
    for i, one in enumerate(drawn):
        alone = oks_nms(*one, SIGMAS, 0.3)
        assert kept[i].tolist() == alone.tolist() + [-1] * (12 - len(alone))
        assert torch.equal(rescored[i], soft_oks_nms(*one, SIGMAS)[1])
        assert torch.equal(rows[i], soft_oks_nms(*one, SIGMAS)[0])


def crowded(n, scores, seed=0):
    """Boxes of which many overlap, with scores of a kind that is difficult for the kernels."""
    boxes, given = draw_boxes(n, seed)
    odd = torch.arange(n) % 7 == 3
    changed = {
        "any": given,
        "few": (given * 4).ceil() / 4,
        "equal": torch.full_like(given, 0.75),
        "of both signs": given - 0.6,
        "infinite": torch.where(odd, math.inf, given - 0.3),
        "NaN": torch.where(odd, math.nan, given),
    }
    return 4 * boxes, changed[scores]


SCORES = ["any", "few", "equal", "of both signs", "infinite", "NaN"]


def assert_like_the_reference(suppress, *arguments, **options):
    rows, scores = suppress(*arguments, **options)
    with pydlx.backend("reference"):
        expected, expected_scores = suppress(*arguments, **options)
    assert torch.equal(rows, expected)
    torch.testing.assert_close(scores, expected_scores, rtol=1e-12, atol=0, equal_nan=True)


@pytest.mark.parametrize("scores", SCORES)
@pytest.mark.parametrize("method", ["gaussian", "linear", "hard"])
def test_scores_of_any_kind(method, scores):
    """Negative scores increase, infinite ones may become NaN, and there are many ties."""
    boxes, given = crowded(110, scores)
    boxes[20:40] = boxes[50:70]
    options = {"score_threshold": -math.inf, "method": method}
    assert_like_the_reference(soft_nms, boxes, given, 1e-4, iou_threshold=-0.1, **options)
    boxes[3, 1] = boxes[77] = math.nan
    assert_like_the_reference(soft_nms, boxes, given, 0.5, iou_threshold=0.2, **options)


@pytest.mark.parametrize("n", [64, 65, 450, 600])
def test_many_boxes_hard(n):
    """More than one band of the bit matrix, with rows that are dropped by rows of the previous band."""
    (boxes, other), (scores, other_scores) = zip(crowded(n, "any"), crowded(n, "few", 1), strict=True)
    boxes, scores = torch.stack([boxes, other / 3, boxes]), torch.stack([scores, other_scores, 0 * scores])
    scores[1, : n // 2] = 0
    for labels in (None, (torch.arange(3 * n) % 3).view(3, n)):
        assert_like_the_reference(soft_nms, boxes, scores, method="hard", iou_threshold=0.3, labels=labels)


@pytest.mark.parametrize(("n", "scores"), [(513, "any"), (700, "few")])
@pytest.mark.parametrize("method", ["gaussian", "linear"])
def test_many_boxes_soft(n, scores, method):
    boxes, given = crowded(n, scores)
    assert_like_the_reference(soft_nms, boxes, given, 0.3, method=method, iou_threshold=0.1, pixel_offset=1.0)


def test_many_poses():
    points, scores, area = draw_poses(150)
    points[40:80] += 500
    assert_like_the_reference(soft_oks_nms, points, scores, area, SIGMAS, 0.9)
    with pydlx.backend("reference"):
        expected = oks_nms(points, scores, area, SIGMAS, 0.5)
    assert torch.equal(oks_nms(points, scores, area, SIGMAS, 0.5), expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_overlaps_at_the_threshold_stay(dtype):
    """At the threshold, the result depends on the rounding of the quotient."""
    for whole in range(3, 200, 7):
        part = whole * 2 // 3
        boxes = torch.tensor([[0, 0, whole, 1], [0, 0, part, 1]], dtype=dtype)
        overlap = boxes[1, 2] / boxes[0, 2]
        scores = torch.tensor([0.9, 0.8], dtype=dtype)
        for threshold, left in ((overlap, 2), (torch.nextafter(overlap, overlap - 1), 1)):
            rows, _ = soft_nms(boxes, scores, method="hard", iou_threshold=threshold.item())
            assert len(rows) == left, whole


def test_half_precision_is_computed_in_float32():
    boxes, scores = draw_boxes(30, seed=5)
    boxes, scores = (10 * boxes).half(), scores.half()
    rows, rescored = soft_nms(boxes, scores)
    wide_rows, wide_scores = soft_nms(boxes.float(), scores.float())
    assert torch.equal(rows, wide_rows)
    assert torch.equal(rescored, wide_scores.half())


def test_inputs_are_not_modified_and_may_have_any_strides():
    boxes, scores = draw_boxes(20)
    before = boxes.clone(), scores.clone()
    rows, rescored = soft_nms(boxes, scores)
    assert torch.equal(boxes, before[0])
    assert torch.equal(scores, before[1])
    boxes_behind, scores_behind = (torch.cat([x.new_zeros(1), x.flatten()])[1:].view_as(x) for x in (boxes, scores))
    for again in (soft_nms(sliced(boxes), sliced(scores)), soft_nms(boxes_behind, scores_behind)):
        assert torch.equal(again[0], rows)
        assert torch.equal(again[1], rescored)


def test_repeatable_to_the_bit():
    drawn = [draw_boxes(50, seed, torch.float32) for seed in range(20)]
    boxes, scores = (torch.stack(parts) for parts in zip(*drawn, strict=True))
    same_on_one_and_two_threads(lambda: soft_nms(boxes, scores))


def test_opcheck():
    boxes, scores = (x.unsqueeze(0) for x in draw_boxes(9))
    torch.library.opcheck(native_op("box_nms"), (boxes, scores, None, 0, 0.5, 0.5, 0.001, 1.0))
    points, scores, area = (x.unsqueeze(0) for x in draw_poses(9))
    sigmas = torch.tensor(SIGMAS, dtype=torch.float64)
    torch.library.opcheck(native_op("pose_nms"), (points, scores, area, sigmas, 2, 1.0, 0.9, -math.inf))


class Suppress(torch.nn.Module):
    def forward(self, boxes, scores):
        return soft_nms(boxes, scores)


def test_compiles_and_exports(kernels):
    """A batch has results of fixed shape, so it compiles in one graph; for a single set their number is dynamic."""
    if kernels == "reference":
        pytest.skip("the reference looks at values")
    boxes, scores = draw_boxes(20)
    compiled = torch.compile(Suppress(), fullgraph=True, backend="aot_eager")
    for found, expected in zip(compiled(boxes[None], scores[None]), soft_nms(boxes[None], scores[None]), strict=True):
        assert torch.equal(found, expected)
    exported = torch.export.export(Suppress(), (boxes, scores)).module()
    for found, expected in zip(exported(boxes, scores), soft_nms(boxes, scores), strict=True):
        assert torch.equal(found, expected)


B, S = torch.zeros(5, 4), torch.zeros(5)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((B.int(), S), {}, TypeError, "boxes must be a floating-point tensor, got torch.int32"),
        ((B, S.int()), {}, TypeError, "scores must be a floating-point tensor, got torch.int32"),
        ((B[:, :3], S), {}, ValueError, r"boxes must have shape \(n, 4\) or \(B, n, 4\), got \(5, 3\)"),
        ((B[0], S), {}, ValueError, r"boxes must have shape \(n, 4\) or \(B, n, 4\), got \(4,\)"),
        ((B, S[:4]), {}, ValueError, r"scores must have shape \(5,\), got \(4,\)"),
        ((B, S), {"method": "median"}, ValueError, "method must be one of 'gaussian', 'linear', 'hard', got 'median'"),
        ((B, S), {"sigma": 0}, ValueError, "sigma must be positive, got 0"),
        ((B, S), {"labels": S}, TypeError, "labels must be integers, got torch.float32"),
        ((B, S), {"labels": S[:2].long()}, ValueError, r"labels must have shape \(5,\), got \(2,\)"),
        ((B, S.clone().requires_grad_()), {}, ValueError, "inputs must not require a gradient"),
    ],
)
def test_bad_boxes(arguments, options, error, message):
    with pytest.raises(error, match=f"^soft_nms: {message}"):
        soft_nms(*arguments, **options)


P = torch.zeros(5, 3, 2)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((P[..., :1], S, S, [0.1] * 3), ValueError, r"keypoints must have shape .* got \(5, 3, 1\)"),
        ((P[0, 0], S, S, [0.1] * 3), ValueError, r"keypoints must have shape .* got \(2,\)"),
        ((P, S[:2], S, [0.1] * 3), ValueError, r"scores must have shape \(5,\), got \(2,\)"),
        ((P, S, S[:2], [0.1] * 3), ValueError, r"area must have shape \(5,\), got \(2,\)"),
        ((P, S, S.int(), [0.1] * 3), TypeError, "area must be a floating-point tensor, got torch.int32"),
        ((P, S, S, [0.1] * 2), ValueError, "sigmas must hold 3 numbers, one per point, got 2"),
    ],
)
@pytest.mark.parametrize("suppress", [oks_nms, soft_oks_nms])
def test_bad_poses(suppress, arguments, error, message):
    with pytest.raises(error, match=f"^{suppress.__name__}: {message}"):
        suppress(*arguments)


def test_soft_oks_nms_needs_a_width():
    with pytest.raises(ValueError, match="soft_oks_nms: threshold must be positive, got 0"):
        soft_oks_nms(P, S, S, [0.1] * 3, 0)


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("method", ["gaussian", "linear", "hard"])
def test_cuda_agrees_with_the_cpu(method, dtype):
    boxes, scores = draw_boxes(700, dtype=dtype)
    rows, rescored = soft_nms(boxes, scores, method=method)
    rows_gpu, rescored_gpu = soft_nms(boxes.cuda(), scores.cuda(), method=method)
    assert torch.equal(rows_gpu.cpu(), rows)
    torch.testing.assert_close(rescored_gpu.cpu(), rescored)
