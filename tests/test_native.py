"""On which devices ops run a compiled kernel, and what their shape inference refuses."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from pydlx import _native, ops

ON_CUDA = SimpleNamespace(is_cpu=False, is_meta=False, is_cuda=True)


@pytest.fixture(autouse=True)
def _compiled(kernels):
    if kernels == "reference" or not _native.build_info()["native"]:
        pytest.skip("nothing is compiled")


def test_an_op_runs_on_cuda_where_it_has_a_kernel_for_it(monkeypatch):
    monkeypatch.setattr(_native, "_ops_on_cuda", {"soft_pool"})
    assert _native.use_native(ON_CUDA, "soft_pool")
    assert not _native.use_native(ON_CUDA, "masked_poisson")
    assert _native.use_native(torch.zeros(1), "masked_poisson")
    with _native.backend("reference"):
        assert not _native.use_native(ON_CUDA, "soft_pool")


def test_registration_finds_the_kernels_an_op_has():
    library = torch.library.Library("pydlx_test", "DEF")
    for name in ("everywhere", "on_cpu"):
        library.define(f"{name}(Tensor x) -> Tensor")
        library.impl(name, torch.neg, "CPU")
    library.impl("everywhere", torch.neg, "CUDA")
    assert _native._has_cuda_kernel("pydlx_test::everywhere")
    assert not _native._has_cuda_kernel("pydlx_test::on_cpu")


@pytest.mark.parametrize(
    "call",
    [
        lambda x, offsets: ops.ragged_box_iou(x, x, torch.zeros(3, dtype=torch.bool), offsets, offsets),
        lambda x, offsets: ops.precision_curves(
            torch.ones(1, 1, 3, dtype=torch.uint8),
            torch.arange(3),
            x[:, 0],
            offsets,
            torch.ones(1, 1, dtype=torch.int64),
            torch.zeros(1).double(),
            [1],
        ),
    ],
)
def test_ops_of_the_cpu_alone_say_so(call):
    with pytest.raises(ValueError, match=r": (boxes|scores) must be on the CPU, got meta"):
        call(torch.rand(3, 4).double().to("meta"), torch.tensor([0, 3]))
