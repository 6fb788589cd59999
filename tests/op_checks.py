"""Helpers shared by the tests of all ops: tolerances, layouts, and torch's own checks."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)

# Against a float64 reference fed the same, already rounded, inputs.
TOLERANCES = {
    torch.float64: {"rtol": 1e-12, "atol": 1e-12},
    torch.float32: {"rtol": 1e-5, "atol": 1e-6},
    torch.float16: {"rtol": 2e-3, "atol": 1e-3},
    torch.bfloat16: {"rtol": 1e-2, "atol": 1e-2},
}


def assert_close(actual: Tensor, expected: Tensor, **tolerance: float) -> None:
    """Compare with a float64 result at the tolerance of the actual dtype."""
    limits = {**TOLERANCES[actual.dtype], **tolerance}
    torch.testing.assert_close(actual.double(), expected.double(), equal_nan=True, **limits)


def sliced(x: Tensor) -> Tensor:
    """The same values with the strides of a slice of a larger tensor."""
    larger = torch.empty([size + 3 for size in x.shape], dtype=x.dtype, device=x.device)
    window = larger[tuple(slice(1, size + 1) for size in x.shape)]
    return window.copy_(x)


def same_on_one_and_two_threads(compute: Callable[[], Any]) -> None:
    """Require bit equality over repeats and thread counts."""
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 2):
            torch.set_num_threads(threads)
            results.append(compute())
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        torch.testing.assert_close(results[0], other, rtol=0, atol=0, equal_nan=True)


@functools.cache
def native_op(name: str) -> Any:
    """The dispatcher's op of this name."""
    import pydlx  # noqa: F401  loads the libraries

    return getattr(torch.ops.pydlx, name).default
