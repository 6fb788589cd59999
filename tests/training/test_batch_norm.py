"""Batch norm over several processes equals that of one process with the whole batch."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("lightning")

from pydlx.training import batch_norm


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_half_floats_are_summed_in_float32(monkeypatch, dtype):
    """In mixed precision batch norm receives half floats, but keeps float32 statistics."""
    monkeypatch.setattr(batch_norm, "_processes", lambda: 2)
    monkeypatch.setattr(batch_norm, "_mean_of_all", lambda values: values)  # two processes with the same batch
    pictures = (300 * torch.randn(8, 3, 5, 5, generator=torch.Generator().manual_seed(0))).to(dtype)
    own, torchs = batch_norm.SharedBatchNorm2d(3), torch.nn.BatchNorm2d(3)
    found, wanted = own(pictures), torchs(torch.cat([pictures, pictures]))[:8]
    assert found.dtype == dtype
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(own.running_mean, torchs.running_mean)
    torch.testing.assert_close(own.running_var, torchs.running_var)
