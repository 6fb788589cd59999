"""Direct calls of ``torch.ops.pydlx.*``: whatever is wrong with one argument, the op raises and reaches nowhere.

Every registered op has an entry in ``tests/direct_calls.py``, so that a new one without its checks fails. What is tried
follows from the kinds of argument in its schema; an entry says what of that is not wrong.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from direct_calls import BAD_OFFSETS, BAD_PAIRS, CALLS, INDEX, RAGGED_OKS, Call
from op_checks import native_op, sliced
from torch import Tensor

import pydlx

DTYPES = (
    torch.float64,
    torch.float32,
    torch.float16,
    torch.int64,
    torch.int32,
    torch.uint8,
    torch.bool,
    torch.complex64,
)


def registered_ops() -> list[str]:
    names = {
        name.removeprefix("pydlx::").partition(".")[0]
        for name in torch._C._dispatch_get_all_op_names()
        if name.startswith("pydlx::")
    }
    return sorted(names)


def wrong_tensors(x: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Kinds of wrong tensors to pass instead of x, with names by which an entry can allow some."""
    yield "dims more", x.unsqueeze(0)
    if x.dim() and len(x):
        yield "dims less", x[0]
    for axis in range(x.dim()):
        yield f"shape {axis}", torch.cat([x, x.narrow(axis, 0, 1)], axis)
        yield f"shape {axis}", x.narrow(axis, 0, x.shape[axis] - 1)
    for dtype in DTYPES:
        if dtype != x.dtype:
            yield f"dtype {dtype}".replace("torch.", ""), x.to(dtype)
    yield "device", x.to("meta")


def wrong_values(call: Call, argument: str, kernels: str) -> Iterator[tuple[str, Any]]:
    value = call.arguments[argument]
    right = call.right.get(argument, ())
    if kernels == "emulated":
        right += call.right_on_gpu.get(argument, ())
    kinds = [(f"value {i}", wrong) for i, wrong in enumerate(call.wrong.get(argument, ()))]
    if isinstance(value, Tensor):
        kinds += wrong_tensors(value)
    for kind, wrong in kinds:
        if not any(fnmatch.fnmatch(kind, pattern) for pattern in right):
            yield kind, wrong


@pytest.fixture(autouse=True)
def _compiled_kernels(kernels: str) -> None:
    if kernels == "reference" or not pydlx.build_info()["native"]:
        pytest.skip("guards of the compiled ops")


def test_every_op_has_an_entry():
    assert registered_ops() == sorted(CALLS)
    for name, calls in CALLS.items():
        names = [argument.name for argument in native_op(name)._schema.arguments]
        assert all(list(call.arguments) == names for call in calls), name


@pytest.mark.parametrize("name", CALLS)
def test_valid_arguments_work(name):
    for call in CALLS[name]:
        native_op(name)(*call.arguments.values())


@pytest.mark.parametrize("name", CALLS)
def test_wrong_arguments_raise(name, kernels):
    accepted = []
    for number, call in enumerate(CALLS[name]):
        for argument in call.arguments:
            for kind, wrong in wrong_values(call, argument, kernels):
                try:
                    native_op(name)(*{**call.arguments, argument: wrong}.values())
                except (RuntimeError, ValueError, NotImplementedError):
                    continue
                accepted.append(f"call {number}: {argument}, {kind}")
    assert not accepted


@pytest.mark.parametrize("name", CALLS)
def test_any_strides_are_right(name):
    for call in CALLS[name]:
        strided = {key: sliced(x) if isinstance(x, Tensor) else x for key, x in call.arguments.items()}
        torch.testing.assert_close(native_op(name)(*strided.values()), native_op(name)(*call.arguments.values()))


@pytest.mark.parametrize("row", [-1, 12, 2**40, -(2**40)])
def test_a_gradient_for_a_row_that_x_does_not_have_goes_nowhere(row):
    grad = torch.ones(3, 5)
    index = INDEX.clone()
    index[1, 2] = row
    dx = native_op("_sequence_pool_backward")(grad, None, index, None, None, [3, 4, 5])
    expected = native_op("_sequence_pool_backward")(grad, None, INDEX, None, None, [3, 4, 5])
    expected.view(12, 5)[INDEX[1, 2], 2] = 0
    torch.testing.assert_close(dx, expected)


def test_ragged_oks_of_offsets_that_do_not_fit_gives_nan_on_a_gpu(kernels):
    if kernels != "emulated":
        pytest.skip("the CPU's op looks at the values")
    for argument, values in {
        "pred_offsets": BAD_OFFSETS,
        "truth_offsets": BAD_OFFSETS,
        "pair_offsets": BAD_PAIRS,
    }.items():
        for wrong in values:
            if len(wrong):
                found = native_op("oks_ragged")(*{**RAGGED_OKS, argument: wrong}.values())
                assert found.shape == (3,)
    assert native_op("oks_ragged")(*{**RAGGED_OKS, "pairs": 4}.values())[3].isnan()
