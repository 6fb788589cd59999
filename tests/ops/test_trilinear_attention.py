"""Trilinear attention against the concatenation, example by example without padding, and torch's own checks."""

from __future__ import annotations

import math
from typing import NamedTuple

import pytest
import torch
from op_checks import FLOATS, assert_close, native_op, same_on_one_and_two_threads, sliced
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pydlx.nn import TrilinearAttention
from pydlx.ops import trilinear_attention

NAN, INF = math.nan, math.inf
MASKS = ["none", "context", "question", "both"]


class Scene(NamedTuple):
    context: Tensor
    question: Tensor
    weight: Tensor
    context_mask: Tensor | None
    question_mask: Tensor | None

    def run(self, **changes):
        """Run the op on the scene, with some arguments replaced."""
        context, question, weight, *masks = self._replace(**changes)
        found = trilinear_attention(context, question, weight, context_mask=masks[0], question_mask=masks[1])
        return found.similarity, found.over_question, found.over_context

    def padding(self):
        """Pairs with a padding token, (B, n, m)."""
        rows = torch.ones(self.context.shape[:2]) if self.context_mask is None else self.context_mask
        columns = torch.ones(self.question.shape[:2]) if self.question_mask is None else self.question_mask
        return ~(rows.bool().unsqueeze(2) & columns.bool().unsqueeze(1))


def draw(batch, n, m, size, masks="both", dtype=torch.float64, seed=0):
    """Scores near 1. Every other mask is random, the others are prefixes; the last may be empty."""
    generator = torch.Generator().manual_seed(seed)
    context, question, weight = (
        torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
        for shape in ((batch, n, size), (batch, m, size), (3 * size,))
    )

    def mask(length):
        pattern = torch.rand(batch, length, generator=generator) < 0.7
        lengths = torch.randint(0, length + 1, (batch, 1), generator=generator)
        prefix = torch.arange(length) < lengths
        return torch.where((torch.arange(batch) % 2 == 0).unsqueeze(1), pattern, prefix)

    context_mask, question_mask = mask(n), mask(m)
    return Scene(
        context,
        question,
        weight / size**0.5,
        context_mask if masks in ("context", "both") else None,
        question_mask if masks in ("question", "both") else None,
    )


def concatenated(context, question, weight):
    """The definition by concatenation, for texts (n, d) and (m, d) without padding."""
    n, m = len(context), len(question)
    c, q = context.unsqueeze(1).expand(n, m, -1), question.unsqueeze(0).expand(n, m, -1)
    return (torch.cat([c, q, c * q], -1) * weight).sum(-1)


def by_examples(scene):
    """The definition, example by example without its padding; padding has the similarities of zero vectors."""
    found = []
    for b in range(len(scene.context)):
        context, question, weight = scene.context[b].double(), scene.question[b].double(), scene.weight.double()
        n, m = len(context), len(question)
        rows = torch.arange(n) if scene.context_mask is None else scene.context_mask[b].nonzero().flatten()
        columns = torch.arange(m) if scene.question_mask is None else scene.question_mask[b].nonzero().flatten()
        alone = concatenated(context[rows], question[columns], weight)
        padded = [torch.zeros_like(x).index_copy(0, i, x[i]) for x, i in ((context, rows), (question, columns))]
        softmaxes = [
            alone.new_zeros(n, m).index_put((rows.unsqueeze(1), columns), alone.softmax(dim)) for dim in (1, 0)
        ]
        found.append((concatenated(*padded, weight), *softmaxes))
    return tuple(torch.stack(parts) for parts in zip(*found, strict=True))


def gradients(outputs, points, seed=1):
    """The inputs' gradients, for output gradients that differ in every element."""
    generator = torch.Generator().manual_seed(seed)
    above = [torch.randn(y.shape, generator=generator, dtype=torch.float64).to(y) for y in outputs]
    return torch.autograd.grad(outputs, points, above)


def needing_gradients(scene):
    return scene._replace(**{name: getattr(scene, name).detach().requires_grad_() for name in POINTS})


POINTS = ("context", "question", "weight")


def check(scene, slack=1.0):
    scene = needing_gradients(scene)
    points = scene[:3]
    outputs, expected = scene.run(), by_examples(scene)
    limits = {torch.float64: 1e-12, torch.float32: 2e-5}.get(scene.context.dtype, 4e-2)
    for actual, wanted in zip(outputs, expected, strict=True):
        assert actual.dtype is scene.context.dtype
        assert_close(actual, wanted, atol=limits * slack)
    slopes = zip(gradients(outputs, points), gradients(expected, points), strict=True)
    for actual, wanted in slopes:
        assert_close(actual, wanted, atol=10 * limits * slack, rtol=10 * limits)


@pytest.mark.parametrize("masks", MASKS)
@pytest.mark.parametrize(
    "size", [(2, 5, 3, 4), (3, 1, 1, 1), (2, 19, 16, 3), (4, 9, 17, 8), (1, 40, 33, 5), (3, 2, 50, 2)]
)
def test_values_and_gradients(size, masks):
    check(draw(*size, masks))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("masks", ["none", "both"])
@pytest.mark.parametrize("m", [5, 37])
def test_dtypes(dtype, masks, m):
    check(draw(3, 20, m, 8, masks, dtype))


def test_rows_of_several_blocks():
    check(draw(3, 300, 70, 2))


def test_dtypes_are_promoted():
    scene = draw(2, 4, 3, 5, dtype=torch.float32)
    mixed = scene.run(question=scene.question.half(), context=scene.context.bfloat16())
    expected = scene.run(question=scene.question.half().float(), context=scene.context.bfloat16().float())
    assert all(map(torch.equal, mixed, expected))


def test_a_text_of_padding_gives_zeros_and_takes_no_gradient():
    scene = needing_gradients(draw(3, 6, 4, 5))
    scene.context_mask[0] = scene.question_mask[1] = False
    outputs = scene.run()
    assert all((y[:2] == 0).all() for y in outputs[1:])
    context, question, weight = gradients(outputs[1:], scene[:3])
    assert (context[:2] == 0).all() and (question[:2] == 0).all()
    assert weight.isfinite().all()
    assert outputs[0].isfinite().all()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("poison", [NAN, INF, -INF])
def test_padding_has_no_effect(poison, dtype):
    """Neither padding of the texts nor of the incoming gradients has an effect."""
    scene = draw(4, 19, 21, 5, dtype=dtype)
    poisoned = needing_gradients(
        scene._replace(
            context=scene.context.masked_fill(~scene.context_mask.unsqueeze(2), poison),
            question=scene.question.masked_fill(~scene.question_mask.unsqueeze(2), poison),
        )
    )
    scene = needing_gradients(scene)
    outputs, again = scene.run(), poisoned.run()
    assert all(map(torch.equal, outputs, again))
    above = [torch.randn_like(y) for y in outputs[1:]]
    spoilt = [g.masked_fill(scene.padding(), poison) for g in above]
    slopes = torch.autograd.grad(outputs[1:], scene[:3], above)
    again = torch.autograd.grad(again[1:], poisoned[:3], spoilt)
    assert all(map(torch.equal, slopes, again))
    assert (slopes[0][~scene.context_mask] == 0).all() and (slopes[1][~scene.question_mask] == 0).all()


@pytest.mark.parametrize("value", [NAN, INF])
@pytest.mark.parametrize("side", ["context", "question"])
def test_nan_reaches_what_reads_it(side, value):
    scene = draw(3, 18, 20, 4, "none", torch.float32)
    text = getattr(scene, side).clone()
    text[1, 2] = value
    usual = scene.run()
    spoilt = [torch.zeros_like(y, dtype=torch.bool) for y in usual]
    if side == "context":
        spoilt[0][1, 2] = spoilt[1][1, 2] = spoilt[2][1] = True
    else:
        spoilt[0][1, :, 2] = spoilt[2][1, :, 2] = spoilt[1][1] = True
    for y, z, reached in zip(scene.run(**{side: text}), usual, spoilt, strict=True):
        assert y[reached].isfinite().logical_not().any()
        if value != value:
            assert torch.equal(y.isnan(), reached)
        torch.testing.assert_close(y[~reached], z[~reached], rtol=1e-5, atol=1e-6)


def test_nan_gradients_stay_in_their_example():
    scene = needing_gradients(draw(3, 7, 18, 4, "none"))
    outputs = scene.run()
    above = [torch.ones_like(y) for y in outputs]
    above[1][1, 2, 3] = NAN
    context, question, _ = torch.autograd.grad(outputs, scene[:3], above)
    assert context.isnan().flatten(1).any(1).tolist() == [False, True, False]
    assert context[1].isnan().all(1).tolist() == [i == 2 for i in range(7)]
    assert question.isnan().flatten(1).any(1).tolist() == [False, True, False]


def direct(similarity, context_mask=None, question_mask=None, kernels=""):
    from pydlx.ops.trilinear_attention import dual_softmax_reference

    run = dual_softmax_reference if kernels == "reference" else native_op("dual_softmax")
    return run(similarity, context_mask, question_mask)


@pytest.mark.parametrize("m", [3, 20])
@pytest.mark.parametrize("masked", [False, True])
def test_special_similarities_are_torchs_softmax(m, masked, kernels):
    """-inf has weight 0; all -inf, +inf and NaN give NaN; large numbers neither overflow nor vanish."""
    s = torch.randn(1, 12, m, generator=torch.Generator().manual_seed(0))
    s[0, 0], s[0, 1, 0], s[0, 2, 1], s[0, 3, 0], s[0, 4], s[0, 5] = -INF, INF, NAN, -INF, 1e38, -3e38
    s[0, 6] = torch.arange(m) * 1e4
    masks = (torch.ones(1, 12, dtype=torch.bool), torch.ones(1, m, dtype=torch.bool)) if masked else ()
    for found, dim in zip(direct(s, *masks, kernels=kernels), (2, 1), strict=True):
        assert_close(found, s.double().softmax(dim), atol=1e-7)


@pytest.mark.parametrize("scale", [2.0**k for k in (-100, -50, 50, 100)])
def test_unit_of_the_texts(scale):
    """Scaling the context by s and the question by 1/s, with matching weights, does not change similarities."""
    scene = draw(3, 20, 18, 5, dtype=torch.float32)
    units = torch.tensor([1 / scale] * 5 + [scale] * 5 + [1.0] * 5)
    scaled = {"context": scale, "question": 1 / scale, "weight": units}
    scene = needing_gradients(scene)
    other = needing_gradients(scene._replace(**{name: getattr(scene, name) * unit for name, unit in scaled.items()}))
    outputs, again = scene.run(), other.run()
    for y, z in zip(outputs, again, strict=True):
        torch.testing.assert_close(y, z, rtol=1e-5, atol=1e-6)
    slopes, others = (
        gradients(y, [getattr(x, name) for name in POINTS]) for y, x in ((outputs, scene), (again, other))
    )
    for y, z, unit in zip(slopes, others, scaled.values(), strict=True):
        torch.testing.assert_close(y.double(), z.double() * unit, rtol=1e-4, atol=1e-5)


class Largest(TorchDispatchMode):
    """Records the size of the largest tensor that any operation returns."""

    def __init__(self):
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        self.numel = max([self.numel, *(y.numel() for y in tree_leaves(found) if isinstance(y, Tensor))])
        return found


def test_no_tensor_is_larger_than_the_context_and_the_similarities():
    scene = needing_gradients(draw(2, 40, 30, 20))
    with Largest() as largest:
        gradients(scene.run(), scene[:3])
    assert largest.numel <= 2 * 40 * 30


def test_kernels_are_repeatable_to_the_bit():
    s = torch.randn(5, 300, 90)
    masks = torch.rand(5, 300) < 0.8, torch.rand(5, 90) < 0.8
    above = torch.randn(2, 5, 300, 90)

    def compute():
        weights = native_op("dual_softmax")(s, *masks)
        return (*weights, native_op("_dual_softmax_backward")(*above, *weights, *masks))

    same_on_one_and_two_threads(compute)


@pytest.mark.parametrize("masks", ["none", "both"])
def test_gradcheck(masks):
    scene = needing_gradients(draw(2, 3, 4, 2, masks))

    def run(context, question, weight):
        return scene.run(context=context, question=question, weight=weight)

    assert torch.autograd.gradcheck(run, scene[:3])
    assert torch.autograd.gradgradcheck(run, scene[:3])


@pytest.mark.parametrize("masks", ["none", "question", "both"])
def test_opcheck(masks):
    scene = draw(2, 3, 4, 2, masks)
    s = torch.randn(2, 3, 4, requires_grad=True)
    torch.library.opcheck(native_op("dual_softmax"), (s, *scene[3:]))
    weights = [x.detach().requires_grad_() for x in native_op("dual_softmax")(s, *scene[3:])]
    above = torch.randn(2, 2, 3, 4).unbind()
    torch.library.opcheck(native_op("_dual_softmax_backward"), (*above, *weights, *scene[3:]))


@pytest.mark.parametrize("shape", [(0, 3, 4, 2), (2, 0, 4, 2), (2, 3, 0, 2), (2, 3, 4, 0)])
@pytest.mark.parametrize("masks", ["none", "both"])
def test_empty(shape, masks):
    scene = needing_gradients(draw(*shape[:3], 1, masks))
    scene = needing_gradients(scene._replace(**{name: getattr(scene, name)[..., : 3 * shape[3]] for name in POINTS}))
    if not shape[3]:
        scene = needing_gradients(scene._replace(context=scene.context[..., :0], question=scene.question[..., :0]))
    outputs = scene.run()
    assert all(y.shape == shape[:3] for y in outputs)
    for slope, name in zip(gradients(outputs, scene[:3]), POINTS, strict=True):
        assert slope.shape == getattr(scene, name).shape and (slope == 0).all()


def test_inputs_are_not_modified_and_may_have_any_strides():
    scene = draw(3, 20, 9, 6)
    before = [x.clone() for x in scene]
    expected = scene.run()
    assert all(map(torch.equal, scene, before))
    strided = Scene(*map(sliced, scene)).run(context=scene.context.mT.contiguous().mT)
    for y, z in zip(strided, expected, strict=True):
        assert_close(y, z)


def test_compiles_and_exports():
    scene, layer = draw(2, 5, 4, 6), TrilinearAttention(6).double()
    texts, masks = scene[:2], scene[3:]
    expected = layer(*texts, *masks)
    for run in (
        torch.compile(layer, fullgraph=True, backend="aot_eager"),
        torch.export.export(layer, (*texts, *masks)).module(),
    ):
        for y, z in zip(run(*texts, *masks), expected, strict=True):
            assert_close(y, z)


@pytest.mark.filterwarnings("ignore")
def test_onnx_at_any_size_with_texts_of_padding(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    layer = TrilinearAttention(6)

    def inputs(*shape):
        context, question, _, *masks = draw(*shape, 6, dtype=torch.float32, seed=sum(shape))
        return context, question, *masks

    any_size = tuple(dict.fromkeys((0, 1), torch.export.Dim.DYNAMIC) for _ in range(4))
    program = torch.onnx.export(layer, inputs(2, 5, 4), dynamo=True, verbose=False, dynamic_shapes=any_size)
    program.save(tmp_path / "attention.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "attention.onnx", providers=["CPUExecutionProvider"])
    for shape in ((2, 5, 4), (3, 11, 7)):
        values = inputs(*shape)
        values[2][0] = values[3][1] = False
        given = {argument.name: x.numpy() for argument, x in zip(session.get_inputs(), values, strict=True)}
        for y, z in zip(session.run(None, given), layer(*values), strict=True):
            assert_close(torch.from_numpy(y), z.detach())


def test_autocast_multiplies_in_half_precision():
    scene = draw(2, 5, 4, 6, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = scene.run()
    for y, z in zip(found, scene.run(), strict=True):
        assert y.dtype is torch.bfloat16
        assert_close(y, z, atol=5e-2, rtol=5e-2)


def test_layer_starts_as_a_linear_one():
    torch.manual_seed(0)
    layer = TrilinearAttention(500)
    torch.manual_seed(0)
    linear = torch.nn.Linear(1500, 1, bias=False)
    assert layer.weight.shape == (1500,)
    assert torch.equal(layer.weight, linear.weight[0])
    assert repr(layer) == "TrilinearAttention(size=500)"
    assert sum(node.op == "call_function" for node in torch.fx.symbolic_trace(layer).graph.nodes) == 1


TEXT, WORDS, WEIGHT = torch.zeros(2, 5, 3), torch.zeros(2, 4, 3), torch.zeros(9)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"context": TEXT.int()}, TypeError, "context must be a floating-point tensor, got torch.int32"),
        ({"question": 3}, TypeError, "question must be a tensor, got int"),
        ({"context": TEXT[0]}, ValueError, r"context must have shape \(B, n, d\), got \(5, 3\)"),
        ({"question": WORDS[:1]}, ValueError, r"question must have shape \(2, m, 3\) .* got \(1, 4, 3\)"),
        ({"question": WORDS[..., :2]}, ValueError, r"question must have shape \(2, m, 3\) .* got \(2, 4, 2\)"),
        ({"weight": WEIGHT[:8]}, ValueError, r"weight must have shape \(9,\), got \(8,\)"),
        ({"weight": WEIGHT.to("meta")}, ValueError, "weight must be on the device of context, cpu, got meta"),
        ({"context_mask": TEXT[..., 0]}, TypeError, "context_mask must be a bool tensor, got torch.float32"),
        ({"context_mask": WORDS[..., 0] > 0}, ValueError, r"context_mask must have shape \(2, 5\), got \(2, 4\)"),
        ({"question_mask": TEXT[..., 0] > 0}, ValueError, r"question_mask must have shape \(2, 4\), got \(2, 5\)"),
    ],
)
def test_bad_arguments(change, error, message):
    with pytest.raises(error, match=f"^trilinear_attention: {message}"):
        trilinear_attention(**{"context": TEXT, "question": WORDS, "weight": WEIGHT} | change)


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("masks", ["none", "both"])
def test_cuda_agrees_with_the_cpu(dtype, masks):
    s = torch.randn(5, 400, 70, dtype=torch.float64).to(dtype)
    masks = draw(5, 400, 70, 2, masks)[3:]
    above = torch.randn(2, *s.shape).to(s)
    expected = direct(s, *masks)
    expected = (*expected, native_op("_dual_softmax_backward")(*above, *expected, *masks))
    on_gpu = [None if mask is None else mask.cuda() for mask in masks]
    found = direct(s.cuda(), *on_gpu)
    found = (*found, native_op("_dual_softmax_backward")(*above.cuda(), *found, *on_gpu))
    for y, z in zip(found, expected, strict=True):
        assert_close(y.cpu(), z, atol={torch.float64: 1e-12, torch.float32: 1e-5}.get(dtype, 2e-2))
