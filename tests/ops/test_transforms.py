"""Every op under every transform: right by comparison with the reference in float64, or one clear error."""

from __future__ import annotations

import warnings

import pytest
import torch
from op_checks import native_op
from torch import nn
from torch.func import functionalize, grad, jvp, vmap
from transform_cases import CASES, SIGMAS, boxes_of, poses_of
from transforms import DOCS, TRANSFORMS, derivative, outcome, table, total

import pydlx
from pydlx import losses, ops
from pydlx.metrics import KeypointAP
from pydlx.nn import (
    BottomRightPool2d,
    CornerPool2d,
    SequencePool,
    SoftPool1d,
    SoftPool2d,
    SoftPool3d,
    SpatialPyramidPool2d,
    TopLeftPool2d,
)

# Of the transforms that take seconds, these are tried in every run.
REPRESENTATIVES = {
    "compile": ("solve_poisson",),
    "dynamic": ("soft_pool2d", "sequence_pool, soft", "solve_gaussian_poisson"),
    "ONNX": ("sequence_pool, k-max", "oks"),
}


def cells():
    """The table's entries, without those that have nothing to test."""
    for name in CASES:
        for transform, column in TRANSFORMS.items():
            if outcome(name, transform) != "–":
                tried = not column.slow or name in REPRESENTATIVES[transform]
                yield pytest.param(name, transform, id=f"{name}-{transform}", marks=() if tried else pytest.mark.slow)


@pytest.fixture(autouse=True)
def where_kernels_run(kernels):
    """The table describes the kernels' rules; references are stock PyTorch, whose rules differ in places."""
    if kernels == "reference":
        pytest.skip("the table is of the kernels")


@pytest.fixture(autouse=True)
def one_thread():
    """More threads would only slow down tiny tensors."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.filterwarnings("error:There is a performance drop")
@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
@pytest.mark.parametrize(("name", "transform"), list(cells()))
def test_cell(name, transform):
    case, column = CASES[name], TRANSFORMS[transform]
    if outcome(name, transform) == "✗":
        with pytest.raises(Exception) as caught:
            column.actual(case.run, case)
        sorts = transform == "ONNX" and name.endswith("nms")  # the exporter stops at the sort in front of the op
        assert names_the_op(caught.value, "aten.sort.stable" if sorts else name.split(",")[0]), caught.value
        return
    actual = column.actual(case.run, case)
    with pydlx.backend("reference"):
        expected = column.expected(case.run, case)
    tolerance = 1e-4 if transform == "ONNX" else 1e-8 if "masked" in name else 1e-10
    pairs = zip(actual, expected, strict=True) if isinstance(actual, list) else [(actual, expected)]
    for found, right in pairs:
        torch.testing.assert_close(found.double(), right.double(), rtol=tolerance, atol=tolerance)


def names_the_op(error: BaseException | None, name: str) -> bool:
    """Whether the error, or a cause of it, names the op."""
    while error is not None:
        if name.removeprefix("solve_") in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def test_docs_hold_the_table():
    _, found, written = DOCS.read_text(encoding="utf-8").partition("<!-- table -->\n")
    assert found
    assert written.strip() == table(), "run python tests/transforms.py"


def test_every_op_has_a_row():
    rows = {name.split(",")[0] for name in CASES}
    layers = {f"nn.{name}" for name in pydlx.nn.__all__ if is_layer(getattr(pydlx.nn, name))}
    losses = {f"losses.{name}" for name in pydlx.losses.__all__ if not is_record(getattr(pydlx.losses, name))}
    same = {"nn.SoftPool1d", "nn.SoftPool3d"}  # but for the function they call
    assert rows == set(pydlx.ops.__all__) | (layers - same) | losses


def is_record(thing) -> bool:
    return isinstance(thing, type) and issubclass(thing, tuple)


def is_layer(thing) -> bool:
    return isinstance(thing, type) and issubclass(thing, nn.Module)


@pytest.mark.parametrize("options", [{"mode": "soft"}, {"mode": "max"}, {"mode": "k-max", "k": 2}])
@pytest.mark.parametrize("given", ["lengths", "mask"])
def test_sequences_that_differ_under_vmap(given, options):
    """Every batch entry has different valid steps."""
    x = CASES["sequence_pool, soft"].draw().expand(3, 2, 4, 3)
    lengths = torch.tensor([[1, 4], [3, 2], [4, 4]])
    valid = {"lengths": lengths, "mask": torch.arange(4) < lengths.unsqueeze(-1)}[given]

    def pool(x, valid):
        return ops.sequence_pool(x, **{given: valid}, **options)

    expected = torch.stack([pool(*entry) for entry in zip(x, valid, strict=True)])
    assert torch.equal(vmap(pool)(x, valid), expected)
    gradients = vmap(grad(lambda x, valid: total(lambda x: pool(x, valid))(x)))(x, valid)
    for found, point, steps in zip(gradients, x, valid, strict=True):
        torch.testing.assert_close(found, derivative(lambda x, steps=steps: pool(x, steps), point))


def test_sigmas_and_masks_that_differ_under_vmap():
    pred, truth = torch.rand(3, 4, 3, 2), torch.rand(2, 3, 2)
    sigmas, visible, area = torch.rand(3, 3), torch.ones(2, 3), torch.ones(2)

    def compare(pred, sigmas):
        return ops.oks(pred, truth, visible, area, sigmas)

    expected = torch.stack([compare(*entry) for entry in zip(pred, sigmas, strict=True)])
    torch.testing.assert_close(vmap(compare)(pred, sigmas), expected, rtol=0, atol=0)
    masks, rhs = torch.rand(3, 5, 5) < 0.8, torch.rand(3, 5, 5, dtype=torch.float64)
    masks[:, 0] = False
    expected = torch.stack([ops.solve_masked_poisson(*entry)[0] for entry in zip(rhs, masks, strict=True)])
    torch.testing.assert_close(vmap(ops.solve_masked_poisson)(rhs, masks)[0], expected)


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda x: ops.soft_nms(*boxes_of(x)), "soft_nms: torch.vmap must map whole batches of boxes"),
        (lambda x: ops.oks_nms(*poses_of(x)), "oks_nms: torch.vmap must map whole batches of keypoints"),
        (lambda x: ops.confusion_matrix(x, x[:, 0].long() % 2, 6), 'confusion_matrix: invalid must be "ignore"'),
        (
            lambda x: ops.ragged_box_iou(x[:, :4], x[:, :4], x[:, 0] > 2, *2 * [x[:2, 0].long()]),
            "ragged_box_iou: detection_offsets must be the same for all entries of torch.vmap",
        ),
    ],
)
def test_refused_under_vmap(run, message):
    x = torch.rand(2, 4, 6 if "soft_nms" not in message else 5, dtype=torch.float64)
    with pytest.raises(RuntimeError, match=f"^{message}"):
        vmap(run)(x)


def test_the_dispatcher_knows_the_rules(kernels):
    """The rules that compiled graphs and direct calls use: transforms outside and inside of a graph."""
    op = ops.soft_pool2d if kernels == "reference" else native_op("soft_pool")
    options = (2,) if kernels == "reference" else ([2, 2, 2, 2, 0, 0, 1, 1], False, False)
    x = torch.randn(3, 1, 2, 4, 4, dtype=torch.float64)

    def pool(x):
        return op(x, *options)

    gradient = vmap(grad(total(pool)))
    expected = torch.stack([derivative(pool, entry) for entry in x])
    torch.testing.assert_close(gradient(x), expected)
    compiled = torch.compile(gradient, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), expected)
    torch.testing.assert_close(functionalize(pool)(x[0]), pool(x[0]))
    tangent = jvp(pool, (x[0],), (x[1],))[1]
    torch.testing.assert_close(
        torch.compile(lambda a, b: jvp(pool, (a,), (b,))[1], backend="aot_eager")(*x[:2]), tangent
    )


IMAGES = torch.linspace(0, 1, 2 * 8 * 8).reshape(2, 1, 8, 8).sin()
NUMBERS = {
    "solve_poisson": lambda v: ops.solve_poisson(IMAGES, screening=v),
    "solve_gaussian_poisson, beta": lambda v: ops.solve_gaussian_poisson(IMAGES, IMAGES, beta=v),
    "solve_gaussian_poisson, sigma": lambda v: ops.solve_gaussian_poisson(IMAGES, IMAGES, sigma=v),
    "solve_masked_poisson": lambda v: ops.solve_masked_poisson(IMAGES, IMAGES[0, 0] < 0.3, tolerance=v / 1e6)[0],
    "ssim": lambda v: ops.ssim(IMAGES, IMAGES.flip(0), v, kernel_size=3, sigma=v, k1=v, k2=v),
    "soft_nms": lambda v: ops.soft_nms(*boxes_of(IMAGES[:, 0, :, :5]), v, iou_threshold=v, score_threshold=v / 9)[1],
    "oks_nms": lambda v: ops.oks_nms(*poses_of(IMAGES[:, 0, :, :6]), v),
    "oks": lambda v: ops.oks(IMAGES[..., :2], IMAGES[..., 2:4], IMAGES[..., 0], IMAGES[:, :, 0, 0] + 1, [v] * 8),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_may_change_between_calls_of_a_compiled_function(name):
    """From the second value on, the compiler treats the number as symbolic."""
    torch.compiler.reset()
    compiled = torch.compile(NUMBERS[name], fullgraph=True, backend="eager")
    for value in (0.3, 0.4, 0.55):
        torch.testing.assert_close(compiled(value), NUMBERS[name](value))


def test_layers_trace_as_one_node():
    """As ``torch.nn.MaxPool2d`` is in ``torch.fx``."""
    image, pair = torch.rand(1, 2, 12, 12), (torch.rand(1, 2, 12, 12), torch.rand(1, 2, 12, 12))
    poses = (torch.rand(4, 3, 2), torch.rand(4, 3, 2), torch.ones(4, 3), torch.ones(4))
    for layer, inputs in (
        (SoftPool1d(2), (image[0],)),
        (SoftPool2d(2, ceil_mode=True), (image,)),
        (SoftPool3d(2), (image,)),
        (SequencePool("soft"), (image[0], torch.tensor([3, 12]))),
        (CornerPool2d("top"), (image,)),
        (TopLeftPool2d(), pair),
        (BottomRightPool2d(), pair),
        (SpatialPyramidPool2d((2, 1), "soft"), (image,)),
        (losses.SSIMLoss(1.0), pair),
        (losses.OKSLoss(SIGMAS), poses),
    ):
        traced = torch.fx.symbolic_trace(layer)
        assert sum("pydlx" in str(getattr(node.target, "__module__", "")) for node in traced.graph.nodes) == 1
        assert torch.equal(traced(*inputs), layer(*inputs))


def test_built_on_the_meta_device():
    with torch.device("meta"):
        loss, metric = losses.OKSLoss(SIGMAS), KeypointAP()
    assert loss.sigmas.is_meta
    assert "KeypointAP" in repr(metric)
    poses = (torch.rand(4, 3, 2), torch.rand(4, 3, 2), torch.ones(4, 3), torch.ones(4))
    assert torch.equal(loss.to_empty(device="cpu")(*poses), losses.OKSLoss(SIGMAS)(*poses))
    assert torch.equal(loss.half().double().sigmas, torch.tensor(SIGMAS, dtype=torch.float64))


def test_vmap_gives_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vmap(lambda x: ops.soft_pool2d(x, 2))(torch.rand(2, 1, 1, 4, 4))
        vmap(lambda x: ops.soft_nms(*boxes_of(x)))(torch.rand(2, 3, 4, 5))
