"""Poisson's equation under an irregular mask, against conjugate gradients and a sparse factorisation."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from torch import Tensor

from pydlx import ops
from pydlx.benchmarks.case import COPY, NATIVE, REFERENCE, Candidate, Case, Setting, copying, installed, on_reference
from pydlx.benchmarks.pictures import irregular_mask, natural_picture

SPARSE = "scipy.sparse"

# The reference has no multigrid, so a ragged mask takes it thousands of iterations: minutes at larger sizes.
_REFERENCE_UP_TO = 128


def cases(setting: Setting) -> Iterator[Case]:
    """Three channels under one mask that covers half of the square, float32."""
    for side in (128, 512):
        yield Case(f"3×{side}×{side}, half unknown", partial(_candidates_of_size, side, setting))


def _candidates_of_size(side: int, setting: Setting) -> dict[str, Candidate | None]:
    rhs = natural_picture((3, side, side), seed=1) - 128
    found = candidates(rhs.to(setting.device), irregular_mask(side, seed=3).to(setting.device))
    if side > _REFERENCE_UP_TO:
        del found[REFERENCE]
    return found


def candidates(rhs: Tensor, mask: Tensor) -> dict[str, Candidate | None]:
    """A u = rhs (C, H, W) where `mask` (H, W) is True; the time includes the setup for the mask."""
    linalg = installed("scipy.sparse.linalg")
    host_rhs, host_mask = rhs.cpu().numpy(), mask.cpu().numpy()

    def factorise_and_solve() -> np.ndarray:
        solution = np.zeros_like(host_rhs)
        solution[:, host_mask] = linalg.splu(_sparse_matrix(host_mask)).solve(host_rhs[:, host_mask].T.astype(float)).T
        return solution

    def solve() -> tuple[Tensor, Tensor]:
        return ops.solve_masked_poisson(rhs, mask)

    return {
        NATIVE: solve,
        REFERENCE: on_reference(solve),
        SPARSE: linalg and factorise_and_solve,
        COPY: copying(rhs),
    }


def _sparse_matrix(mask: np.ndarray):
    """n_p u[p] - sum of u over p's unknown neighbours, as a sparse matrix over the unknown pixels, row-major."""
    sparse = installed("scipy.sparse")
    number = np.full(mask.shape, -1)
    number[mask] = np.arange(mask.sum())
    neighbours = np.zeros(mask.shape)
    pairs = []
    for first, second in (
        ((slice(None), slice(None, -1)), (slice(None), slice(1, None))),
        ((slice(None, -1), slice(None)), (slice(1, None), slice(None))),
    ):
        neighbours[first] += 1
        neighbours[second] += 1
        both = mask[first] & mask[second]
        pairs.append((number[first][both], number[second][both]))
    rows, columns = (np.concatenate(ends) for ends in zip(*pairs, strict=True))
    couplings = sparse.coo_array((-np.ones(len(rows)), (rows, columns)), shape=(mask.sum(), mask.sum()))
    return (couplings + couplings.T + sparse.diags_array(neighbours[mask])).tocsc()
