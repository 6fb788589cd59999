"""Every op under every transform: right by comparison with the reference in float64, or one clear error."""

from __future__ import annotations

import pytest
import torch
from transform_cases import CASES
from transforms import DOCS, TRANSFORMS, outcome, table

import pydlx

# Of the transforms that take seconds, these are tried in every run.
REPRESENTATIVES = {
    "compile": ("solve_poisson",),
    "dynamic": ("soft_pool2d", "sequence_pool, soft", "solve_gaussian_poisson"),
    "ONNX": ("sequence_pool, k-max", "oks"),
}


def cells():
    for name in CASES:
        for transform, column in TRANSFORMS.items():
            if outcome(name, transform) != "–":
                tried = not column.slow or name in REPRESENTATIVES[transform]
                yield pytest.param(name, transform, id=f"{name}-{transform}", marks=() if tried else pytest.mark.slow)


@pytest.fixture(autouse=True)
def one_thread():
    """The tensors are tiny."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.filterwarnings("error:There is a performance drop")
@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
@pytest.mark.parametrize(("name", "transform"), cells())
def test_cell(name, transform):
    case, column = CASES[name], TRANSFORMS[transform]
    if outcome(name, transform) == "✗":
        with pytest.raises(Exception) as caught:
            column.actual(case.run, case)
        assert names_the_op(caught.value, name.split(",")[0]), caught.value
        return
    actual = column.actual(case.run, case)
    with pydlx.backend("reference"):
        expected = column.expected(case.run, case)
    tolerance = 1e-4 if transform == "ONNX" else 1e-8 if "masked" in name else 1e-10
    pairs = zip(actual, expected, strict=True) if isinstance(actual, list) else [(actual, expected)]
    for found, right in pairs:
        torch.testing.assert_close(found.double(), right.double(), rtol=tolerance, atol=tolerance)


def names_the_op(error: BaseException | None, name: str) -> bool:
    """Whether the error, or one behind it, says which op it is about."""
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
    layers = {f"nn.{name}" for name in pydlx.nn.__all__ if issubclass_of_module(getattr(pydlx.nn, name))}
    losses = {f"losses.{name}" for name in pydlx.losses.__all__}
    same = {"nn.SoftPool1d", "nn.SoftPool3d"}  # but for the function they call
    assert rows == set(pydlx.ops.__all__) | (layers - same) | losses


def issubclass_of_module(thing) -> bool:
    return isinstance(thing, type) and issubclass(thing, torch.nn.Module)
