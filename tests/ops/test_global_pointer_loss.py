"""GlobalPointer's loss against the table of all scores, and torch's own checks."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from op_checks import FLOATS, TOLERANCES, assert_close, native_op, same_on_one_and_two_threads, sliced
from span_scenes import POINTS, Scene, dense, draw
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pydlx.ops import global_pointer_loss

NAN, INF = math.nan, math.inf
TILE = 64  # tokens on a side of the kernels' tiles, 32 for float64


def with_gradients(loss, scene):
    """Losses, and the gradients of their weighted sum."""
    scene = scene.changed(lambda x: x.detach().requires_grad_())
    losses = loss(scene)
    above = torch.arange(1, losses.numel() + 1).double().cos().view_as(losses)
    return losses.detach(), *torch.autograd.grad(losses, scene.points, above.to(losses.dtype))


def check(scene, **tolerance):
    found, expected = with_gradients(Scene.losses, scene), with_gradients(dense, scene)
    wide = torch.promote_types(scene.query.dtype, torch.float32)
    assert found[0].dtype is wide
    # What is lost is lost in the products, and gradients are sums of many of them.
    usual = {torch.float64: 1e-11, torch.float32: 2e-5}
    for actual, wanted, dtype in zip(found, expected, (wide, *(x.dtype for x in scene.points)), strict=True):
        assert actual.dtype is dtype
        limit = usual.get(dtype, TOLERANCES[dtype]["rtol"])
        assert_close(actual, wanted, **{"rtol": limit, "atol": limit, **tolerance})


FORMS = {
    "plain": {},
    "no mask": {"masked": False},
    "square": {"triangle": False},
    "not turned": {"rotary": False},
    "biased": {"biased": True},
    "shared": {"shared": True},
    "shared square": {"shared": True, "triangle": False, "masked": False},
    "scaled": {"scale": 0.3},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", [(3, 2, 1, 2), (3, 3, 7, 6), (2, 2, 33, 10), (3, 2, 70, 4)])
def test_values_and_gradients(shape, form):
    check(draw(*shape, **FORMS[form]))


@pytest.mark.parametrize("length", [TILE // 2 - 1, TILE // 2, TILE // 2 + 1, TILE - 1, TILE, TILE + 1, 2 * TILE + 2])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("form", ["plain", "shared square"])
def test_lengths_at_tiles_ends(length, dtype, form):
    check(draw(2, 2, length, 4, dtype=dtype, gold=30, **FORMS[form]))


@pytest.mark.parametrize("size", [2, 30, 32, 34, 62, 64, 66, 128, 130])
@pytest.mark.parametrize("form", ["plain", "shared"])
def test_sizes_of_vectors(size, form):
    check(draw(3, 2, 40, size, **FORMS[form]))


@pytest.mark.parametrize("size", [1, 3, 17, 65])
def test_odd_sizes_of_vectors(size):
    check(draw(2, 2, 20, size, rotary=False))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("form", ["plain", "biased", "shared"])
def test_dtypes(dtype, form):
    check(draw(3, 2, 70, 8, dtype=dtype, **FORMS[form]))


def test_dtypes_are_promoted():
    scene = draw(2, 2, 9, 4, shared=True, dtype=torch.float32)
    mixed = scene.changed(Tensor.half, "query").changed(Tensor.bfloat16, "end_bias")
    expected = mixed.changed(Tensor.float).losses()
    assert torch.equal(mixed.losses(), expected)
    assert scene.changed(Tensor.half).losses().dtype is torch.float32


@pytest.mark.parametrize("form", ["plain", "square", "shared"])
@pytest.mark.parametrize("every", [1, 2])
def test_dense_gold(form, every):
    """All spans are gold, or every other one, in unsorted order."""
    scene = draw(2, 2, 40, 4, **FORMS[form])
    spans = torch.ones(2, 2, 40, 40).nonzero()[::every]
    if scene.triangle:
        spans = spans[spans[:, 2] <= spans[:, 3]]
    check(scene._replace(spans=spans[torch.randperm(len(spans))]))


def test_nested_spans_and_none():
    scene = draw(2, 2, 12, 4, masked=False)
    nested = torch.tensor([[0, 0, 2, 9], [0, 0, 3, 8], [0, 0, 3, 3], [0, 1, 3, 8], [1, 0, 0, 11]])
    check(scene._replace(spans=nested))
    check(scene._replace(spans=nested[:0]))
    check(scene._replace(spans=nested.int()))


def test_spans_on_masked_tokens_are_ignored():
    scene = draw(2, 2, 12, 4, masked=False)
    mask = torch.ones(2, 12, dtype=torch.bool)
    mask[:, 3] = False
    spans = torch.tensor([[0, 0, 2, 4], [0, 0, 3, 8], [1, 1, 0, 3], [1, 1, 3, 3]])
    found = with_gradients(Scene.losses, scene._replace(mask=mask, spans=spans))
    expected = with_gradients(Scene.losses, scene._replace(mask=mask, spans=spans[:1]))
    assert all(map(torch.equal, found, expected))
    check(scene._replace(mask=mask, spans=spans))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("form", ["plain", "shared"])
def test_large_scores_neither_overflow_nor_vanish(dtype, form):
    """Scores of +-1e4: the gold span far below 0 and another one far above it, or both extremely right."""
    vectors = torch.zeros(1, 1, 4, 2, dtype=dtype)
    query, key = vectors.clone(), vectors.clone()
    query[..., 0], key[..., 0] = 100, torch.tensor([100, -100, 100, -100])
    bias = torch.zeros(1, 1, 4, dtype=torch.float32) if form == "shared" else None
    options = {"start_bias": bias, "end_bias": bias, "rotary": False, "triangle": False, "scale": 1.0}
    above, below = ([[0, 0, m, n] for m in range(4) for n in ends] for ends in ((0, 2), (1, 3)))
    for spans, loss in ((above, 0.0), (below, 2e4 + 2 * math.log(8))):
        scene = Scene(query, key, torch.tensor(spans), **options)
        losses, dquery, dkey, *_ = with_gradients(Scene.losses, scene)
        assert losses.item() == pytest.approx(loss, rel=1e-6)
        assert dquery.isfinite().all() and dkey.isfinite().all()
        assert bool((dquery == 0).all()) == (loss == 0)


@pytest.mark.parametrize("score", [10, 14, 15, 16, 17, 20])
def test_a_large_positive_changes_nothing_among_the_others(score):
    """One gold span among 400 others at -6, where subtracting it from the sum of all would give a negative number."""
    start, end = torch.full((1, 1, 401), -3.0), torch.full((1, 1, 401), -3.0)
    mask = torch.ones(1, 401, dtype=torch.bool)
    # Tokens 1 to 400 all end spans that start at 0; other starts are too far away to count.
    start[..., 1:] = -200
    end[..., 0] = score + 3
    vectors = torch.zeros(1, 1, 401, 2)
    scene = Scene(vectors, vectors, torch.tensor([[0, 0, 0, 0]]), mask, start, end)
    losses, *_, dend = with_gradients(Scene.losses, scene)
    expected = math.log1p(math.exp(-score)) + math.log1p(400 * math.exp(-6))
    assert losses.item() == pytest.approx(expected, rel=1e-5)
    assert dend[0, 0, 0] < 0 < dend[0, 0, 1]


@pytest.mark.parametrize("shared", [False, True])
def test_a_score_that_is_minus_infinity_does_not_count(shared):
    """Gold or not, as in the dense form; +inf in a bias does not affect spans below the diagonal."""
    scene = draw(2, 2, 9, 4, biased=not shared, shared=shared, masked=False)
    scene.start_bias[0, 0, 3] = scene.end_bias[1, 1, 5] = -INF
    spans = torch.tensor([[0, 0, 3, 6], [0, 0, 1, 2], [1, 1, 4, 5], [1, 0, 0, 8]])
    check(scene._replace(spans=spans))
    scene.end_bias[1, 0, 0] = INF
    losses, expected = scene._replace(spans=spans).losses(), dense(scene._replace(spans=spans))
    assert_close(losses, expected)
    assert losses[1, 0] == INF


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.uint16])
def test_spans_of_small_integers(dtype):
    """More tokens than the integer type can count."""
    vectors = torch.randn(1, 1, 300, 2)
    found, wanted = (
        global_pointer_loss(vectors, vectors, torch.tensor([[0, 0, 1, 2]], dtype=kind)) for kind in (dtype, torch.int64)
    )
    assert found == wanted


def test_no_spans_of_any_type():
    vectors = torch.randn(1, 2, 5, 4)
    wanted = global_pointer_loss(vectors, vectors, torch.zeros(0, 4, dtype=torch.int64))
    for nothing in (torch.tensor([]), torch.empty(0, 4)):
        assert global_pointer_loss(vectors, vectors, nothing) == wanted


def test_padding_alone_has_no_loss():
    scene = draw(3, 2, 9, 4, biased=True)
    scene = scene._replace(mask=scene.mask & (torch.arange(3) == 1).unsqueeze(1))
    losses, *gradients = with_gradients(Scene.losses, scene)
    assert (losses[[0, 2]] == 0).all() and (losses[1] > 0).all()
    assert all((g[[0, 2]] == 0).all() for g in gradients)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("poison", [NAN, INF])
def test_padding_is_never_read(poison, dtype):
    scene = draw(4, 2, 40, 6, shared=True, dtype=dtype)
    padding = ~scene.mask

    def spoil(x):
        return x.masked_fill(padding[:, None, :, None] if x.dim() == 4 else padding[:, None], poison)

    expected = with_gradients(Scene.losses, scene)
    assert all(map(torch.equal, with_gradients(Scene.losses, scene.changed(spoil)), expected))
    assert all((g.movedim(2, 1)[padding] == 0).all() for g in expected[1:])


def test_nan_stays_in_its_item_and_head():
    scene = draw(3, 2, 40, 6, masked=False)
    usual, query = with_gradients(Scene.losses, scene), scene.query.clone()
    query[1, 1, 30, 2] = NAN
    found = with_gradients(Scene.losses, scene._replace(query=query))
    reached = torch.zeros(3, 2, dtype=torch.bool)
    reached[1, 1] = True
    for actual, wanted in zip(found, usual, strict=True):
        assert torch.equal(actual[~reached], wanted[~reached])
    assert torch.equal(found[0].isnan(), reached)
    assert all(g[1, 1].isnan().any() for g in found[1:])


@pytest.mark.parametrize("form", ["plain", "shared"])
def test_order_of_items_and_padding_change_nothing(form):
    scene = draw(4, 2, 30, 6, **FORMS[form])
    losses, order = scene.losses(), torch.tensor([2, 0, 3, 1])
    spans = scene.spans.clone()
    spans[:, 0] = order.argsort()[spans[:, 0]]
    moved = scene.changed(lambda x: x[order])._replace(mask=scene.mask[order], spans=spans.flip(0))
    assert torch.equal(moved.losses(), losses[order])
    longer = scene.changed(lambda x: torch.cat([x, x[:, :, :9]], 2))
    longer = longer._replace(mask=torch.cat([scene.mask, torch.zeros(4, 9, dtype=torch.bool)], 1))
    assert_close(longer.losses(), losses)


def test_a_token_moved_along_changes_nothing_but_its_distance():
    """Products of rotated vectors depend only on the distance of their tokens."""
    scene = draw(2, 2, 20, 6, masked=False)
    shifted = scene.changed(lambda x: torch.cat([torch.zeros_like(x[:, :, :5]), x], 2))
    shifted = shifted._replace(spans=scene.spans + torch.tensor([0, 0, 5, 5]), mask=torch.arange(25).expand(2, 25) > 4)
    assert_close(shifted.losses(), scene.losses(), rtol=1e-11)


def test_reductions():
    scene = draw(3, 2, 9, 4)
    losses = scene.losses()
    assert losses.shape == (3, 2)
    assert_close(scene.losses(reduction="mean"), losses.mean())
    assert_close(global_pointer_loss(*scene[:4]), losses.mean())
    assert_close(scene.losses(reduction="sum"), losses.sum())


class Largest(TorchDispatchMode):
    """Records the size of the largest tensor that any operation returns."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        self.numel = max([self.numel, *(y.numel() for y in tree_leaves(found) if isinstance(y, Tensor))])
        return found


def test_no_tensor_is_larger_than_the_queries(kernels):
    if kernels == "reference":
        pytest.skip("the reference holds all scores")
    scene = draw(2, 3, 100, 4, shared=True)
    with Largest() as largest:
        with_gradients(Scene.losses, scene)
    assert largest.numel <= 2 * 100 * 4


def test_memory_grows_with_the_length_alone(kernels):
    """The kernels' own memory is included: less than a hundredth of the 2 GB of scores."""
    peak = Path("/proc/self/clear_refs")
    if kernels != "native" or not peak.exists():
        pytest.skip("measures the CPU kernels, on Linux")

    def kilobytes(what):
        line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith(what))
        return int(line.split()[1])

    scene = draw(1, 32, 4000, 2, shared=True, masked=False, dtype=torch.float32)
    try:
        peak.write_text("5")  # forget the peak so far
    except OSError:
        pytest.skip("the peak of memory cannot be reset here")
    before = kilobytes("VmRSS")
    with_gradients(Scene.losses, scene)
    assert kilobytes("VmHWM") - before < 20_000


@pytest.mark.parametrize("form", ["plain", "shared"])
def test_kernels_are_repeatable_to_the_bit(form):
    scene = draw(3, 3, 150, 8, dtype=torch.float32, **FORMS[form])
    same_on_one_and_two_threads(lambda: with_gradients(Scene.losses, scene))


@pytest.mark.parametrize("form", ["plain", "shared"])
def test_gradcheck(form):
    scene = draw(2, 2, 4, 2, **FORMS[form]).changed(lambda x: x.requires_grad_())

    def run(*points):
        return scene._replace(**dict(zip(POINTS, points, strict=False))).losses()

    assert torch.autograd.gradcheck(run, scene.points)
    assert torch.autograd.gradgradcheck(run, scene.points)


def op_inputs(scene):
    from pydlx.ops.global_pointer_loss import gold_indices

    batch, heads, length, _ = scene.query.shape
    types = heads if scene.start_bias is None else scene.start_bias.shape[1]
    cells = gold_indices(scene.spans, batch, types, length)
    return scene.query, scene.key, cells, *scene[3:]


@pytest.mark.parametrize("form", ["plain", "shared"])
def test_opcheck(form):
    scene = draw(2, 2, 4, 2, **FORMS[form]).changed(lambda x: x.requires_grad_())
    inputs = op_inputs(scene)
    torch.library.opcheck(native_op("global_pointer_loss"), inputs)
    parts = native_op("global_pointer_loss")(*inputs).detach()
    above = torch.randn_like(parts).requires_grad_()
    torch.library.opcheck(native_op("_global_pointer_loss_backward"), (above, parts, *inputs))


def test_indices_outside_of_the_table_are_ignored(kernels):
    """Such indices occur where the values of spans cannot be read."""
    scene = draw(2, 2, 9, 4, masked=False)
    wrong = torch.tensor([[-1, 0, 0, 0], [0, 2, 0, 0], [0, 0, 9, 9], [1, 1, 0, -1], [0, 0, 4, 3]])
    query, key, cells, *others = op_inputs(scene._replace(spans=torch.cat([wrong, scene.spans])))
    assert (cells[:, :4] == -1).all()
    from pydlx.ops.global_pointer_loss import global_pointer_loss_reference

    run = global_pointer_loss_reference if kernels == "reference" else native_op("global_pointer_loss")
    assert_close(run(query, key, cells, *others).sum(-1), dense(scene))


def test_vmap_over_spans():
    scene = draw(2, 2, 9, 4, masked=False)
    spans = torch.stack([scene.spans, scene.spans.flip(0), torch.zeros_like(scene.spans)])
    found = torch.func.vmap(lambda spans: scene._replace(spans=spans).losses())(spans)
    assert_close(found, torch.stack([scene._replace(spans=entry).losses() for entry in spans]))


@pytest.mark.parametrize("shape", [(0, 2, 3, 2), (2, 0, 3, 2), (2, 2, 0, 2)])
@pytest.mark.parametrize("form", ["plain", "shared"])
def test_empty(shape, form):
    batch, types, length, size = shape
    vectors = torch.zeros(batch, 1 if form == "shared" else types, length, size)
    bias = torch.zeros(batch, types, length) if form == "shared" else None
    scene = Scene(vectors, vectors, torch.zeros(0, 4, dtype=torch.int64), None, bias, bias)
    losses, *gradients = with_gradients(Scene.losses, scene)
    assert losses.shape == (batch, types) and (losses == 0).all()
    for gradient, x in zip(gradients, scene.points, strict=True):
        assert gradient.shape == x.shape and (gradient == 0).all()


def test_inputs_are_not_modified_and_may_have_any_strides():
    scene = draw(3, 2, 40, 6, biased=True)
    before = [x.clone() if isinstance(x, Tensor) else x for x in scene]
    expected = with_gradients(Scene.losses, scene)
    assert all(torch.equal(x, y) for x, y in zip(scene, before, strict=True) if isinstance(x, Tensor))
    names = ("query", "key", "spans", "mask", "start_bias", "end_bias")
    by_token = scene.changed(lambda x: x.transpose(1, 2).contiguous().transpose(1, 2), "query", "key")
    for strided in (scene.changed(sliced, *names), by_token, scene.changed(lambda x: x.mT.contiguous().mT, *names[:4])):
        assert all(map(torch.equal, with_gradients(Scene.losses, strided), expected))


def test_compiles_and_exports():
    class Loss(torch.nn.Module):
        def forward(self, *tensors):
            return Scene(*tensors).losses()

    tensors = draw(2, 2, 9, 4, shared=True)[:6]
    expected, loss = Loss()(*tensors), Loss()
    assert_close(torch.compile(loss, fullgraph=True, backend="aot_eager")(*tensors), expected)
    assert_close(torch.export.export(loss, tensors).module()(*tensors), expected)


VECTORS, SPANS, BIAS = torch.zeros(2, 3, 5, 4), torch.zeros(1, 4, dtype=torch.int64), torch.zeros(2, 3, 5)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"query": VECTORS.int()}, TypeError, "query must be a floating-point tensor, got torch.int32"),
        ({"query": VECTORS[0]}, ValueError, r"query must have shape \(B, H, L, d\) .* got \(3, 5, 4\)"),
        ({"query": VECTORS[..., :0]}, ValueError, r"query must have shape \(B, H, L, d\) with d at least 1, got"),
        ({"key": VECTORS[:, :1]}, ValueError, r"key must have the shape of query, \(2, 3, 5, 4\), got \(2, 1, 5, 4\)"),
        ({"key": VECTORS.to("meta")}, ValueError, "key must be on the device of query, cpu, got meta"),
        ({"spans": SPANS.float()}, TypeError, "spans must be integers, got torch.float32"),
        ({"spans": SPANS[:, :3]}, ValueError, r"spans must have shape \(N, 4\): item, type, start, end, got \(1, 3\)"),
        (
            {"spans": SPANS + torch.tensor([[0, 0, 0, 0], [1, 2, 3, 5]])},
            ValueError,
            "spans must lie within 2 items, 3 types and 5 tokens, got item 1, type 2, start 3, end 5 in row 1",
        ),
        ({"spans": SPANS + torch.tensor([0, 3, 0, 0])}, ValueError, "spans must lie within 2 items, 3 types"),
        (
            {"spans": SPANS - torch.tensor([0, 0, 1, 0])},
            ValueError,
            "spans must lie within .* start -1, end 0 in row 0",
        ),
        (
            {"spans": SPANS + torch.tensor([0, 0, 3, 2])},
            ValueError,
            "spans must not end before they start, got item 0, type 0, start 3, end 2 in row 0",
        ),
        ({"mask": BIAS[:, 0]}, TypeError, "mask must be a bool tensor, got torch.float32"),
        ({"mask": BIAS[0] > 0}, ValueError, r"mask must have shape \(2, 5\), got \(3, 5\)"),
        ({"start_bias": BIAS}, ValueError, r"start_bias and end_bias must be given .* got \(2, 3, 5\) and None"),
        ({"end_bias": BIAS[:, :2]}, ValueError, r"end_bias must have shape \(2, 3, 5\), got \(2, 2, 5\)"),
        ({"rotary": 1}, TypeError, "rotary must be True or False, got 1"),
        ({"query": VECTORS[..., :3], "key": VECTORS[..., :3]}, ValueError, "rotary must be False for .* odd size"),
        ({"scale": "1"}, TypeError, "scale must be a number, got '1'"),
        ({"reduction": "max"}, ValueError, "reduction must be one of 'mean', 'sum', 'none', got 'max'"),
    ],
)
def test_bad_arguments(change, error, message):
    with pytest.raises(error, match=f"^global_pointer_loss: {message}"):
        global_pointer_loss(**{"query": VECTORS, "key": VECTORS, "spans": SPANS} | change)


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("form", ["plain", "square", "shared"])
def test_cuda_agrees_with_the_cpu(dtype, form):
    scene = draw(5, 3, 300, 64, dtype=dtype, gold=50, **FORMS[form])
    on_gpu = Scene(*(x.cuda() if isinstance(x, Tensor) else x for x in scene))
    limit = {torch.float64: 1e-11, torch.float32: 1e-4}.get(dtype, 2e-2)
    expected = with_gradients(Scene.losses, scene)
    for moved in (on_gpu, on_gpu._replace(spans=scene.spans)):
        for actual, wanted in zip(with_gradients(Scene.losses, moved), expected, strict=True):
            assert_close(actual.cpu(), wanted, rtol=limit, atol=limit)
