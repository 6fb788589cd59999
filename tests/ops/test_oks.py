"""OKS against a loop over its definition in extended precision, COCO's published values, and torch's own checks."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from op_checks import assert_close, native_op, same_on_one_and_two_threads, sliced

import pydlx
from pydlx.ops import oks, ragged_oks

COCO_SIGMAS = torch.tensor([26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]).double() / 1000


def oks_loop(pred, truth, visibility, area, sigmas, boxes=None):
    """(D, G) by plain loops over points, in extended precision."""
    pred, truth, visibility, area, sigmas = (
        np.asarray(given, dtype=np.longdouble) for given in (pred, truth, visibility, area, sigmas)
    )
    similarity = np.zeros((len(pred), len(truth)), dtype=np.longdouble)
    for d, g in np.ndindex(similarity.shape):
        terms = []
        hidden = not (visibility[g] > 0).any()
        if hidden and boxes is None:
            continue
        for k, sigma in enumerate(sigmas):
            if hidden:
                x, y, w, h = np.asarray(boxes[g], dtype=np.longdouble)
                dx = max(x - w - pred[d, k, 0], 0, pred[d, k, 0] - (x + 2 * w))
                dy = max(y - h - pred[d, k, 1], 0, pred[d, k, 1] - (y + 2 * h))
            elif visibility[g, k] > 0:
                dx, dy = pred[d, k] - truth[g, k]
            else:
                continue
            size = area[g] + np.spacing(1)
            terms.append(np.exp(-(dx**2 + dy**2) / (2 * size * (2 * sigma) ** 2)))
        similarity[d, g] = sum(terms) / len(terms)
    return torch.from_numpy(similarity.astype(np.float64))


def scene(detections, truths, points=17, seed=0, dtype=torch.float64):
    """Poses in an image, detections near the truths; every fourth truth hides all its points, the others some."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    boxes = torch.cat([300 * draw(truths, 2), 20 + 150 * draw(truths, 2)], dim=1)
    truth = boxes[:, None, :2] + draw(truths, points, 2) * boxes[:, None, 2:]
    owner = torch.arange(detections) % max(1, truths)
    pred = (truth[owner] if truths else 300 * draw(detections, points, 2)) + 20 * draw(detections, points, 2) - 10
    visibility = (3 * draw(truths, points)).floor()
    visibility[::4] = 0
    area = 0.6 * boxes[:, 2] * boxes[:, 3]
    sigmas = COCO_SIGMAS if points == 17 else 0.02 + 0.1 * draw(points)
    return pred.to(dtype), truth.to(dtype), visibility, area.to(dtype), sigmas, boxes.to(dtype)


def ragged_scene(sizes, points=17, dtype=torch.float64):
    """Groups of these numbers of detections and truths, one by one, and the ragged arguments for all of them."""
    groups = [scene(d, g, points, seed, dtype) for seed, (d, g) in enumerate(sizes)]
    sigmas = groups[0][4]
    pred, truth, visibility, area, _, boxes = (torch.cat(rows) for rows in zip(*groups, strict=True))
    ends = torch.tensor([(0, 0), *sizes]).cumsum(0)
    return groups, (pred, truth, visibility, area, sigmas, boxes, ends[:, 0].contiguous(), ends[:, 1].contiguous())


SHAPES = [(100, 50), (3, 7), (1, 1), (2, 1), (9, 4), (65, 3), (5, 0), (0, 5)]


@pytest.mark.parametrize("points", [17, 1, 133])
@pytest.mark.parametrize("shape", SHAPES[1:])
def test_is_the_definition(shape, points):
    pred, truth, visibility, area, sigmas, boxes = scene(*shape, points)
    similarity = oks(pred, truth, visibility, area, sigmas, boxes)
    assert similarity.shape == shape
    expected = oks_loop(pred, truth, visibility, area, sigmas, boxes)
    torch.testing.assert_close(similarity, expected, rtol=0, atol=1e-15)
    without = oks(pred, truth, visibility, area, sigmas)
    torch.testing.assert_close(without, oks_loop(pred, truth, visibility, area, sigmas), rtol=0, atol=1e-15)
    assert (without[:, ::4] == 0).all()


def test_hand_computed():
    """One point of two is visible, 3-4-5 away: exp(-25 / (2 * 50 * (2 * 0.25)^2)) = exp(-1)."""
    pred, truth = torch.tensor([[[13.0, 24.0], [0.0, 0.0]]]), torch.tensor([[[10.0, 20.0], [99.0, 99.0]]])
    similarity = oks(pred.double(), truth.double(), torch.tensor([[2, 0]]), torch.tensor([50.0]), [0.25, 0.25])
    assert abs(similarity.item() - math.exp(-1)) < 1e-15


@pytest.mark.parametrize("shape", [(40, 1), (3, 6)])
def test_batches_and_broadcasting(shape):
    scenes = [scene(*shape, seed=seed) for seed in range(6)]
    pred, truth, visibility, area, _, boxes = (
        torch.stack(parts).unflatten(0, (2, 3)) for parts in zip(*scenes, strict=True)
    )
    similarity = oks(pred, truth, visibility, area, COCO_SIGMAS, boxes)
    assert similarity.shape == (2, 3, *shape)
    for i, one in enumerate(scenes):
        assert torch.equal(similarity.flatten(0, 1)[i], oks(*one))
    assert torch.equal(oks(pred[:, :1], *scenes[1][1:]), oks(pred[:, :1].contiguous(), *scenes[1][1:]))
    spread = oks(pred[:, :1], truth, visibility, area, COCO_SIGMAS, boxes)
    assert torch.equal(
        spread[1, 2], oks(pred[1, 0], truth[1, 2], visibility[1, 2], area[1, 2], COCO_SIGMAS, boxes[1, 2])
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("detections", [1, 3, 77])
def test_equal_points_give_exactly_one(detections, dtype):
    _, truth, visibility, area, sigmas, boxes = scene(1, detections, dtype=dtype)
    visibility[:] = 1
    similarity = oks(truth, truth, visibility, area, sigmas, boxes)
    assert (similarity.diagonal() == 1).all()
    assert (similarity <= 1).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_pair_gives_the_same_bits_wherever_it_stands(dtype):
    """COCO's matching depends on exact ties."""
    pred, truth, visibility, area, sigmas, boxes = scene(5, 3, dtype=dtype)
    alone = oks(pred, truth, visibility, area, sigmas, boxes)
    rows, columns = torch.arange(131) % 5, torch.arange(37) % 3
    many = oks(pred[rows], truth[columns], visibility[columns], area[columns], sigmas, boxes[columns])
    assert torch.equal(many, alone[rows][:, columns])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shape", [(2, 3), (30, 5)])
def test_narrow_dtypes_do_not_overflow(shape, dtype):
    """Squares of these coordinates and areas exceed float16's range."""
    pred, truth, visibility, area, sigmas, boxes = scene(*shape, dtype=dtype)
    area = (area.double() * 4).to(dtype).clamp(max=6e4)
    pred, truth = pred + 900, truth + 900
    arguments = [pred, truth, visibility, area, sigmas, boxes]
    similarity = oks(*arguments)
    assert similarity.dtype == dtype
    assert_close(similarity, oks_loop(*(x.double() for x in arguments)), atol={torch.float32: 2e-6}.get(dtype, 4e-3))


def test_wider_truth_sets_the_dtype_and_autocast_keeps_float32():
    pred, *others = scene(4, 3, dtype=torch.float32)
    truth, *rest = others
    assert oks(pred, truth.double(), *rest).dtype is torch.float64
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert oks(pred.bfloat16(), truth.bfloat16(), *rest).dtype is torch.float32
        assert torch.equal(oks(pred, *others), oks(pred, *others))


@pytest.mark.parametrize("detections", [2, 9])
def test_special_values(detections):
    pred, truth, visibility, area, sigmas, _ = scene(detections, 4)
    visibility[:] = 1
    visibility[1, 3] = 0
    clean = oks(pred, truth, visibility, area, sigmas)
    poisoned, target = pred.clone(), truth.clone()
    poisoned[1, 3, 1] = math.nan  # truth 1 does not show point 3
    target[1, 3] = math.nan
    similarity = oks(poisoned, target, visibility, area, sigmas)
    assert similarity[1].isnan().tolist() == [True, False, True, True]
    assert torch.equal(similarity[0], clean[0])
    assert similarity[1, 1] == clean[1, 1]
    far = pred.clone()
    far[0] = math.inf
    assert (oks(far, truth, visibility, area, sigmas)[0] == 0).all()
    area[:] = torch.tensor([0.0, -1.0, math.nan, math.inf])
    assert oks(truth[:2], truth, visibility, area, sigmas)[0, 0] == 1
    edge = oks(pred, truth, visibility, area, sigmas)
    assert (edge[:, 0] < 1e-300).all()
    assert edge[:, 1:3].isnan().all()
    assert (edge[:, 3] == 1).all()


def gradients(arguments, weight):
    pred, truth, visibility, area, sigmas, boxes = arguments
    points = [x.detach().requires_grad_() for x in (pred, truth, area)]
    similarity = oks(points[0], points[1], visibility, points[2], sigmas, boxes)
    return similarity.detach(), torch.autograd.grad(similarity, points, weight)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("boxed", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_gradient_is_the_formula(shape, boxed, dtype):
    """dOKS/dp_k = -e_k (p_k - q_k) / (n A (2 sigma_k)^2); dOKS/dA by the chain rule; both in float64."""
    pred, truth, visibility, area, sigmas, boxes = arguments = scene(*shape, dtype=dtype)
    arguments = [*arguments[:5], boxes if boxed else None]
    weight = torch.rand(shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    _, found = gradients(arguments, weight.to(dtype))

    pred, truth, area, boxes, visible = pred.double(), truth.double(), area.double(), boxes.double(), visibility > 0
    dpred, dtruth, darea = torch.zeros_like(pred), torch.zeros_like(truth), torch.zeros_like(area)
    for d, g in np.ndindex(shape):
        apart, shown = pred[d] - truth[g], visible[g]
        if not shown.any():
            if not boxed:
                continue
            corner, size = boxes[g, :2], boxes[g, 2:]
            apart = pred[d] - pred[d].maximum(corner - size).minimum(corner + 2 * size)
        counted = shown if shown.any() else torch.ones_like(shown)
        variance = area[g] * (2 * sigmas) ** 2
        distance = apart.square().sum(1)
        each = weight[d, g] * torch.exp(-distance / (2 * variance)) * counted / counted.sum()
        pull = -each[:, None] * apart / variance[:, None]
        dpred[d] += pull
        dtruth[g] -= pull * shown.any()
        darea[g] += (each * distance / (2 * variance)).sum() / area[g]
    for mine, formula in zip(found, (dpred, dtruth, darea), strict=True):
        assert mine.dtype == dtype
        tolerance = 1e-12 if dtype is torch.float64 else 1e-5
        torch.testing.assert_close(mine.double(), formula, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(("groups", "shape"), [(1, (9, 130)), (3, (70, 60)), (2, (2, 70))])
def test_many_truths_and_points(groups, shape, dtype):
    """More truths, detections and points than a kernel processes at a time."""
    scenes = [scene(*shape, 70, seed, dtype) for seed in range(groups)]
    pred, truth, visibility, area, _, boxes = (torch.stack(parts) for parts in zip(*scenes, strict=True))
    weight = torch.rand(groups, *shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    for box in (boxes, None):
        arguments = (pred, truth, visibility, area, scenes[0][4], box)
        similarity, found = gradients(arguments, weight.to(dtype))
        with pydlx.backend("reference"):
            wide = [x if x is None else x.double() for x in arguments]
            expected, formula = gradients(wide, weight)
        tolerance = 1e-13 if dtype is torch.float64 else 2e-5
        assert_close(similarity, expected, atol=tolerance)
        for mine, reference in zip(found, formula, strict=True):
            assert_close(mine, reference, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("shape", [(2, 3), (9, 4)])
def test_each_gradient_alone(shape):
    arguments = scene(*shape)
    weight = torch.ones(shape, dtype=torch.float64)
    _, expected = gradients(arguments, weight)
    for place, gradient in zip((0, 1, 3), expected, strict=True):
        points = [x.clone() for x in arguments]
        points[place].requires_grad_()
        oks(*points).sum().backward()
        assert torch.equal(points[place].grad, gradient)
        assert all(x.grad is None for i, x in enumerate(points) if i != place)


@pytest.mark.parametrize("detections", [2, 9])
def test_an_infinite_point_has_no_gradient(detections, kernels):
    if kernels == "reference":
        pytest.skip("the reference multiplies 0 with infinity")
    pred, truth, visibility, area, sigmas, _ = scene(detections, 4)
    visibility[:] = 1
    pred[1, 3], truth[2, 5, 0] = math.inf, -math.inf
    _, (d_pred, d_truth, d_area) = gradients([pred, truth, visibility, area, sigmas, None], torch.ones(detections, 4))
    assert (d_pred[1, 3] == 0).all()
    assert (d_truth[2, 5] == 0).all()
    assert all(x.isfinite().all() for x in (d_pred, d_truth, d_area))


@pytest.mark.parametrize("shape", [(2, 3), (6, 2)])
def test_gradcheck(shape):
    pred, truth, visibility, area, sigmas, boxes = scene(*shape, points=3)
    points = [x.requires_grad_() for x in (pred, truth, area)]

    def compare(pred, truth, area):
        return oks(pred, truth, visibility, area, sigmas, boxes)

    assert torch.autograd.gradcheck(compare, points)
    assert torch.autograd.gradgradcheck(compare, points)


@pytest.mark.parametrize("apart", [0.0, 30.0, 1e20])
def test_gradient_of_an_area_of_zero(apart):
    """Where the similarity is 0, the gradient by the area is 0, and nothing is NaN."""
    pred = torch.full((1, 2, 2), apart, requires_grad=True)
    area = torch.zeros(1, requires_grad=True)
    similarity = oks(pred, torch.zeros(1, 2, 2), torch.ones(1, 2), area, [0.1, 0.025])
    similarity.sum().backward()
    assert similarity.item() == (apart == 0)
    assert (pred.grad == 0).all()
    assert (area.grad == 0).all()


@pytest.mark.parametrize(("size", "least"), [(0.5e-8, 150), (0.5, 110)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_are_right_down_to_the_smallest_normal_number(dtype, size, least, kernels):
    """Even if the similarity itself underflows: a gradient may be some hundred thousand times larger."""
    if kernels != "native":
        pytest.skip("a promise of the CPU kernel alone")
    end = -math.log(torch.finfo(dtype).tiny)
    exponents = torch.linspace(0.75 * end, end + 20, 200, dtype=dtype)
    pred = torch.zeros(200, 1, 2, dtype=dtype)
    pred[:, 0, 0] = (2 * size * exponents).sqrt()
    truth, sigmas = torch.zeros(1, 1, 2, dtype=dtype), torch.tensor([0.5], dtype=dtype)
    area = torch.tensor([size], dtype=dtype)

    pred.requires_grad_()
    (gradient,) = torch.autograd.grad(oks(pred, truth, torch.ones(1, 1), area, sigmas).sum(), pred)
    found, x = gradient[:, 0, 0].numpy(), pred.detach()[:, 0, 0].numpy().astype(np.longdouble)
    width = area.numpy().astype(np.longdouble) + np.spacing(1)
    expected = -x / width * np.exp(-(x**2) / (2 * width))
    normal = np.abs(expected) >= torch.finfo(dtype).tiny
    assert normal.sum() > least
    assert exponents[torch.from_numpy(normal)].max() > end + 2  # where the similarity is 0
    assert not normal.all()
    np.testing.assert_allclose(
        found[normal], expected[normal].astype(float), rtol=2e-4 if dtype == torch.float32 else 1e-11
    )


def test_hidden_points_never_reach_the_gradient():
    pred, truth, visibility, area, sigmas, _ = scene(9, 3)
    visibility[:] = 1
    visibility[:, 5] = 0
    arguments = [pred, truth, visibility, area, sigmas, None]
    weight = torch.ones(9, 3, dtype=torch.float64)
    _, clean = gradients(arguments, weight)
    arguments[0], arguments[1] = pred.clone(), truth.clone()
    arguments[0][:, 5] = arguments[1][:, 5] = math.nan
    similarity, found = gradients(arguments, weight)
    assert similarity.isfinite().all()
    for mine, expected in zip(found, clean, strict=True):
        assert torch.equal(mine, expected)
    assert (found[0][:, 5] == 0).all()


@pytest.mark.parametrize("shape", [(2, 3), (70, 5)])
def test_repeatable_to_the_bit(shape):
    scenes = [scene(*shape, seed=seed, dtype=torch.float32) for seed in range(40)]
    pred, truth, visibility, area, _, boxes = (torch.stack(parts) for parts in zip(*scenes, strict=True))
    arguments = (pred, truth, visibility, area, COCO_SIGMAS, boxes)
    weight = torch.rand(40, *shape, generator=torch.Generator().manual_seed(0))
    same_on_one_and_two_threads(lambda: gradients(arguments, weight))


def test_inputs_are_not_modified_and_may_have_any_strides():
    arguments = scene(9, 4)
    before = [x.clone() for x in arguments]
    weight = torch.ones(9, 4, dtype=torch.float64)
    similarity, found = gradients(arguments, weight)
    for given, copy in zip(arguments, before, strict=True):
        assert torch.equal(given, copy)
    behind = [torch.cat([x.new_zeros(1), x.flatten()])[1:].view_as(x) for x in arguments]
    for elsewhere in ([sliced(x) for x in arguments], behind):
        similarity_elsewhere, found_elsewhere = gradients(elsewhere, weight.expand(9, 4))
        assert torch.equal(similarity, similarity_elsewhere)
        for one, other in zip(found, found_elsewhere, strict=True):
            assert torch.equal(one, other)


@pytest.mark.parametrize("boxed", [True, False])
def test_opcheck(boxed):
    pred, truth, visibility, area, sigmas, boxes = (x.unsqueeze(0) for x in scene(5, 3, dtype=torch.float32))
    others = (visibility > 0, area.requires_grad_(), sigmas[0].float(), boxes if boxed else None)
    arguments = (pred.requires_grad_(), truth.requires_grad_(), *others)
    torch.library.opcheck(native_op("oks"), arguments)
    arguments = [x if x is None else x.detach() for x in arguments]
    for wants in ((True, True), (True, False), (False, True)):
        torch.library.opcheck(native_op("_oks_backward"), (torch.ones(1, 5, 3), *arguments, *wants))


LISTED_SIGMAS = COCO_SIGMAS.tolist()


class Compare(torch.nn.Module):
    def forward(self, pred, truth, visibility, area, boxes):
        return oks(pred, truth, visibility, area, LISTED_SIGMAS, boxes)


def test_compiles_and_exports():
    pred, truth, visibility, area, _, boxes = scene(6, 3, dtype=torch.float32)
    arguments = (pred, truth, visibility, area, boxes)
    expected = Compare()(*arguments)
    compiled = torch.compile(Compare(), fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(*arguments), expected)
    with pydlx.backend("reference"):
        assert_close(compiled(*arguments), expected)
    exported = torch.export.export(Compare(), arguments).module()
    assert torch.equal(exported(*arguments), expected)


P, T, V, A = torch.zeros(2, 3, 2), torch.zeros(4, 3, 2), torch.ones(4, 3), torch.ones(4)
GOOD = {"pred": P, "truth": T, "visibility": V, "area": A, "sigmas": [0.1, 0.2, 0.3]}


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"pred": P.int()}, TypeError, "pred must be a floating-point tensor, got torch.int32"),
        ({"pred": P[..., :1]}, ValueError, r"pred must have shape \(..., D, K, 2\), got \(2, 3, 1\)"),
        ({"truth": T[:, :2]}, ValueError, r"truth must have shape \(..., G, 3, 2\), got \(4, 2, 2\)"),
        ({"sigmas": [0.1, 0.2]}, ValueError, r"sigmas must hold 3 numbers, one per point, got 2"),
        ({"sigmas": [0.1] * 4}, ValueError, r"sigmas must hold 3 numbers, one per point, got 4"),
        ({"sigmas": [0.1, 0.0, 0.1]}, ValueError, r"sigmas must be positive, got \(0.1, 0.0, 0.1\)"),
        ({"sigmas": torch.ones(3, requires_grad=True)}, ValueError, "sigmas must not require a gradient"),
        ({"visibility": V[:, :2]}, ValueError, r"visibility must have shape \(4, 3\), got \(4, 2\)"),
        ({"area": A[:3]}, ValueError, r"area must have shape \(4,\), got \(3,\)"),
        ({"boxes": torch.ones(4, 5)}, ValueError, r"boxes must have shape \(4, 4\), got \(4, 5\)"),
        ({"boxes": torch.ones(4, 4, requires_grad=True)}, ValueError, "boxes must not require a gradient"),
        ({"pred": P.expand(5, 2, 3, 2), "truth": T.expand(6, 4, 3, 2), "visibility": V.expand(6, 4, 3),
          "area": A.expand(6, 4)}, ValueError, r"leading dimensions .* got \(5, 2, 3, 2\) and \(6, 4, 3, 2\)"),
    ],
)  # fmt: skip
def test_bad_input(wrong, error, message):
    with pytest.raises(error, match=f"^oks: {message}"):
        oks(**{**GOOD, **wrong})


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("shape", SHAPES)
def test_cuda_agrees_with_the_cpu(shape, dtype):
    arguments = scene(*shape, dtype=dtype)
    weight = torch.ones(shape, dtype=dtype)
    similarity, found = gradients(arguments, weight)
    similarity_gpu, found_gpu = gradients([x.cuda() for x in arguments], weight.cuda())
    assert_close(similarity_gpu.cpu(), similarity)
    for mine, expected in zip(found_gpu, found, strict=True):
        assert_close(mine.cpu(), expected, atol=1e-5)


SIZES = [(3, 2), (0, 4), (70, 5), (5, 0), (1, 1), (0, 0), (64, 3), (9, 4)]


@pytest.mark.parametrize("points", [17, 5, 133])
def test_ragged_groups_are_compared_each_within_itself(points):
    groups, arguments = ragged_scene(SIZES, points)
    expected = [oks_loop(*group[:4], arguments[4], group[5]).flatten() for group in groups]
    similarity = ragged_oks(*arguments)
    assert (similarity - torch.cat(expected)).abs().max() <= 1e-15


def test_ragged_is_repeatable_to_the_bit():
    _, arguments = ragged_scene(SIZES * 20)
    same_on_one_and_two_threads(lambda: ragged_oks(*arguments))


def test_ragged_gives_cocos_values(shared_data):
    pairs = json.loads((shared_data / "keypoints" / "waymo_oks_pairs.json").read_text())

    def column(side, name):
        return torch.tensor([pair[side][name] for pair in pairs], dtype=torch.float64)

    truth = column("ground_truth", "keypoints").view(len(pairs), -1, 3)
    pred = column("prediction", "keypoints").view(truth.shape)[..., :2]
    one_each = torch.arange(len(pairs) + 1)
    similarity = ragged_oks(
        pred,
        truth[..., :2],
        truth[..., 2],
        column("ground_truth", "area"),
        COCO_SIGMAS,
        column("ground_truth", "bbox"),
        one_each,
        one_each,
    )
    expected = torch.tensor([pair["oks"] for pair in pairs], dtype=torch.float64)
    assert (similarity - expected).abs().max() <= 1e-15


def test_ragged_opcheck():
    _, (pred, truth, visibility, *others, pred_offsets, truth_offsets) = ragged_scene(SIZES)
    sizes = torch.tensor(SIZES)
    pairs = torch.cat([torch.zeros(1, dtype=torch.int64), sizes.prod(1).cumsum(0)])
    arguments = (pred, truth, visibility > 0, *others, pred_offsets, truth_offsets, pairs, int(pairs[-1]))
    torch.library.opcheck(native_op("oks_ragged"), arguments)


@pytest.mark.parametrize(
    ("argument", "offsets", "message"),
    [
        ("pred_offsets", [0, 3, 2, 5], "pred_offsets must rise from 0 to the number of rows, 5"),
        ("pred_offsets", [0, 5], "must be of the other offsets' length, 2, got 4"),
        ("truth_offsets", [0, 1, 2, 3], "truth_offsets must rise from 0 to the number of rows, 4"),
        ("truth_offsets", [[0, 1, 2, 4]], r"truth_offsets must be int64 of shape \(n \+ 1,\), got torch.int64 of"),
    ],
)
def test_bad_offsets(argument, offsets, message):
    pred, truth, visibility, area, sigmas, boxes = scene(5, 4)
    given = {"pred_offsets": torch.tensor([0, 3, 3, 5]), "truth_offsets": torch.tensor([0, 1, 2, 4])}
    given[argument] = torch.tensor(offsets)
    with pytest.raises(ValueError, match=f"^ragged_oks: .*{message}"):
        ragged_oks(pred, truth, visibility, area, sigmas, boxes, **given)


def test_ragged_refuses_a_gradient():
    _, (pred, *others) = ragged_scene(SIZES)
    with pytest.raises(ValueError, match="ragged_oks: inputs must not require a gradient"):
        ragged_oks(pred.requires_grad_(), *others)
    with torch.no_grad():
        ragged_oks(pred, *others)
