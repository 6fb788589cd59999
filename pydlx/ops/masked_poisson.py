"""Poisson's equation on the unknown pixels of an irregular mask, with known values around them.

This is equation 7 of Perez, Gangnet and Blake, "Poisson image editing", SIGGRAPH 2003, with the known values moved to
the right-hand side. With N(p) the 4-neighbours of p inside the image and n_p their number:

    n_p u[p] - sum over unknown q in N(p) of u[q] = rhs[p]    for p unknown        u[p] = 0 elsewhere

Neighbours outside of the image are dropped, which is a natural Neumann boundary. The matrix is symmetric, and positive
definite if at least one pixel is known.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pydlx import _autograd, _native
from pydlx._checks import check_bool, check_device, check_positive, check_tensor, whole
from pydlx.ops.poisson import poisson_reference

_NAME = "solve_masked_poisson"
_TOLERANCES = {torch.float32: 1e-6, torch.float64: 1e-10}


def solve_masked_poisson(
    rhs: Tensor,
    mask: Tensor,
    *,
    tolerance: float | None = None,
    max_iterations: int | None = None,
    initial: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Solve A u = rhs on the unknown pixels: ``(A u)[p] = n_p u[p] - sum of u over p's unknown neighbours``.

    The CPU and CUDA kernels use conjugate gradients, preconditioned by a multigrid V-cycle whose coarse operators are
    built from the mask. The number of iterations (6 to 14 for the default tolerances) therefore depends neither on the
    size nor on the shape of the mask, and an iteration costs a few passes over the unknown pixels and their
    neighbourhood. On other devices the reference runs: conjugate gradients preconditioned by a sine transform of the
    bounding box, which needs many more iterations for ragged masks.

    On CUDA the host waits for the device every six iterations, to test for convergence, and once for the residuals.

    Args:
        rhs: (..., H, W), float32 or float64. Values on known pixels are ignored.
        mask: (H, W), or (..., H, W) that broadcasts to rhs; bool, True where u is unknown. The multigrid hierarchy is
            built once per mask, so planes should share one where they can.
        tolerance: Relative residual ``|A u - rhs| / |rhs|`` (2-norm over a plane) at which to stop; by default 1e-6
            for float32 and 1e-10 for float64.
        max_iterations: Per plane; by default 100, and 5000 for the reference.
        initial: Initial guess, of rhs's shape and dtype; zero by default. It gets no gradient.

    Returns:
        u, in rhs's shape and dtype, zero on known pixels; and the true relative residual of every plane, (...) in
        float64. The residual is computed from the float64 solution, before that is rounded to rhs's dtype; for float32
        the rounding adds about 1e-7 times the ratio of u to rhs. A plane whose rhs is zero has residual 0. A gradient
        with respect to rhs solves the same equation once more; derivatives of any order are available.

    Raises:
        TypeError: If an argument is not a tensor of the dtype wanted.
        ValueError: If shapes do not match, a value is not finite, or a mask has no known pixel (then A is singular).

    Warns:
        RuntimeWarning: If the tolerance was not reached; u is the best found and the residual says how good it is.
    """
    if _autograd.is_exporting_to_onnx():
        raise RuntimeError(f"{_NAME}: cannot be exported to ONNX, because it iterates until it has converged")
    _check_arguments(rhs, mask, tolerance, initial)
    eager = not (
        torch.compiler.is_compiling() or rhs.is_meta or _autograd.is_batched(rhs) or _autograd.is_batched(mask)
    )
    flaws = _flaws(rhs, mask, initial) if eager else {}
    native = _native.use_native(rhs, "masked_poisson")
    if not (native and rhs.is_cuda):
        _refuse(flaws)
        flaws = {}  # on a GPU they are read once, together with the residuals
    limit = (100 if native else 5000) if max_iterations is None else whole(_NAME, "max_iterations", max_iterations, 1)
    goal = _TOLERANCES[rhs.dtype] if tolerance is None else float(tolerance)
    planes, masks, start = _group_by_mask(rhs, mask, initial)
    u, residual = (_op if native else masked_poisson_reference)(planes, masks, start, goal, limit)
    u, residual = u.reshape(rhs.shape), residual.detach().reshape(rhs.shape[:-2])
    if eager:
        _report(residual, flaws, goal, limit)
    return u, residual


def _check_arguments(rhs: Tensor, mask: Tensor, tolerance: float | None, initial: Tensor | None) -> None:
    check_tensor(_NAME, "rhs", rhs)
    check_bool(_NAME, "mask", mask)
    if rhs.dtype not in _TOLERANCES:
        raise TypeError(f"{_NAME}: rhs must be float32 or float64, got {rhs.dtype}")
    if rhs.dim() < 2:
        raise ValueError(f"{_NAME}: rhs must have shape (..., H, W), got {tuple(rhs.shape)}")
    missing = rhs.dim() - mask.dim()
    fits = mask.dim() >= 2 and missing >= 0 and mask.shape[-2:] == rhs.shape[-2:]
    if not fits or any(m != 1 and m != r for m, r in zip(mask.shape, rhs.shape[missing:], strict=True)):
        raise ValueError(
            f"{_NAME}: mask must be (H, W) or broadcast to rhs, got {tuple(mask.shape)} for rhs {tuple(rhs.shape)}"
        )
    check_device(_NAME, "mask", mask, "rhs", rhs)
    if tolerance is not None:
        check_positive(_NAME, "tolerance", tolerance)
    if initial is None:
        return
    check_tensor(_NAME, "initial", initial)
    check_device(_NAME, "initial", initial, "rhs", rhs)
    if initial.shape != rhs.shape or initial.dtype != rhs.dtype:
        raise ValueError(
            f"{_NAME}: initial must have the shape and dtype of rhs, {tuple(rhs.shape)} {rhs.dtype}, "
            f"got {tuple(initial.shape)} {initial.dtype}"
        )


def _flaws(rhs: Tensor, mask: Tensor, initial: Tensor | None) -> dict[str, Tensor]:
    """Conditions on values that are violated: message to bool tensor. (A non-finite rhs shows in the residual.)"""
    if not rhs.numel():
        return {}
    known = mask.view(torch.uint8).flatten(-2).amin(-1) == 0  # reducing a bool tensor is many times slower
    flaws = {"mask must leave at least one pixel of every plane known, got all True": ~known.all()}
    if initial is not None:
        flaws["initial must be finite, got NaN or infinity"] = ~initial.isfinite().all()
    return flaws


def _refuse(flaws: dict[str, Tensor]) -> None:
    for words, found in flaws.items():
        if bool(found):
            raise ValueError(f"{_NAME}: {words}")


def _report(residual: Tensor, flaws: dict[str, Tensor], tolerance: float, limit: int) -> None:
    if not residual.numel():
        return
    largest, *found = torch.stack([residual.max(), *(x.double() for x in flaws.values())]).cpu()
    _refuse(dict(zip(flaws, found, strict=True)))
    worst = float(largest)  # NaN if any is NaN
    if worst != worst:
        raise ValueError(f"{_NAME}: rhs must be finite on unknown pixels, got NaN or infinity")
    if worst > tolerance:
        warnings.warn(
            f"{_NAME}: relative residual {worst:.2g} is above the tolerance {tolerance:.2g}; "
            f"max_iterations is {limit}, and rounding sets a limit of its own",
            RuntimeWarning,
            stacklevel=3,
        )


def _group_by_mask(rhs: Tensor, mask: Tensor, initial: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Reshape rhs to (masks, planes, H, W) and mask to (masks, H, W).

    The planes are the trailing ones of rhs's leading axes along which the mask does not vary.
    """
    size = rhs.shape[-2:]
    lead = (1,) * (rhs.dim() - mask.dim()) + tuple(mask.shape[:-2])
    split = len(lead)
    while split and lead[split - 1] == 1:
        split -= 1
    own = rhs.shape[:split]
    masks = mask.reshape(*lead[:split], *size).expand(*own, *size).reshape(own.numel(), *size)
    grouped = (own.numel(), rhs.shape[split:-2].numel(), *size)
    return rhs.reshape(grouped), masks, None if initial is None else initial.reshape(grouped)


def masked_poisson_reference(
    rhs: Tensor, mask: Tensor, initial: Tensor | None, tolerance: float, max_iterations: int
) -> tuple[Tensor, Tensor]:
    """The definition: conjugate gradients in float64, preconditioned by the exact solve of the bounding rectangle.

    rhs (M, C, H, W), mask (M, H, W). Differentiable in rhs, on every device.
    """
    return _Implicit.apply(rhs, mask, initial, tolerance, max_iterations)


def _solve(
    rhs: Tensor, mask: Tensor, initial: Tensor | None, tolerance: float, max_iterations: int
) -> tuple[Tensor, Tensor]:
    return _conjugate_gradients(rhs, mask.unsqueeze(1), initial, tolerance, max_iterations)


def _conjugate_gradients(
    rhs: Tensor, unknown: Tensor, initial: Tensor | None, tolerance: float, max_iterations: int
) -> tuple[Tensor, Tensor]:
    def dot(a: Tensor, b: Tensor) -> Tensor:
        return (a * b).sum((-2, -1), keepdim=True)

    def apply(u: Tensor) -> Tensor:
        return torch.where(unknown, _laplacian(u), 0)

    def precondition(r: Tensor) -> Tensor:
        return torch.where(unknown, F.pad(poisson_reference(r[(..., *box)], True, 0.0), margins), 0)

    box, margins = _bounding_box(unknown)
    b = torch.where(unknown, rhs.double(), 0)
    u = torch.zeros_like(b) if initial is None else torch.where(unknown, initial.double(), 0)
    r = b - apply(u)
    norm = dot(b, b).sqrt()
    p, slope = torch.zeros_like(b), torch.ones_like(norm)
    for _ in range(max_iterations):
        active = (dot(r, r).sqrt() > tolerance * norm) & (norm > 0)  # False for NaN
        if not active.any():
            break
        z = precondition(r)
        last, slope = slope, dot(r, z)
        p = z + slope / last.where(last > 0, 1) * p
        q = apply(p)
        step = torch.where(active, slope / dot(p, q), 0)
        u, r = u + step * p, r - step * q
    rest = b - apply(u)
    residual = torch.where(norm > 0, dot(rest, rest).sqrt() / norm.where(norm > 0, 1), norm)
    u = torch.where(norm > 0, u, 0)  # if rhs is zero, whatever the initial guess
    u = torch.where(unknown & ~norm.isfinite(), torch.nan, u)
    return u.to(rhs.dtype), residual.flatten(-3)


def _laplacian(u: Tensor) -> Tensor:
    """n_p u[p] minus the sum over p's neighbours inside the image."""
    dy, dx = u.diff(dim=-2), u.diff(dim=-1)
    return F.pad(dy, (0, 0, 1, 0)) - F.pad(dy, (0, 0, 0, 1)) + F.pad(dx, (1, 0)) - F.pad(dx, (0, 1))


def _bounding_box(unknown: Tensor) -> tuple[tuple[slice, slice], tuple[int, int, int, int]]:
    """Slices of the smallest rectangle with all unknown pixels of all masks, and the padding that undoes the crop."""
    h, w = unknown.shape[-2:]
    rows = unknown.flatten(0, 1).any(0).any(1).nonzero().flatten().tolist() or [0]
    columns = unknown.flatten(0, 1).any(0).any(0).nonzero().flatten().tolist() or [0]
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    return (slice(top, bottom), slice(left, right)), (left, w - right, top, h - bottom)


def _fake(
    rhs: Tensor, mask: Tensor, initial: Tensor | None, tolerance: float, max_iterations: int
) -> tuple[Tensor, Tensor]:
    return rhs.new_empty(rhs.shape), rhs.new_empty(rhs.shape[:2], dtype=torch.float64)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    _, mask, _, *ctx.rule = inputs
    ctx.save_for_backward(mask)
    ctx.save_for_forward(mask)
    ctx.mark_non_differentiable(output[1])


def _batching(op: Any, size: int, dims: Sequence[int | None], inputs: Sequence[Any]) -> tuple[Tensor, ...]:
    """Batch entries that share their masks become additional planes of those masks."""
    if dims[1] is not None:
        return _autograd.folded(op, size, dims, inputs)
    rhs, _, initial, *rule = _autograd.with_batch_in_front(size, dims, inputs)
    rhs, initial = (x if x is None else x.transpose(0, 1).flatten(1, 2) for x in (rhs, initial))
    outputs = op(rhs, inputs[1], initial, *rule)
    return tuple(y.unflatten(1, (size, y.shape[1] // size)).transpose(0, 1) for y in outputs)


def _rules(solve: Callable[..., tuple[Tensor, Tensor]]) -> dict[str, Any]:
    """Derivative rules of a solver: A is symmetric, so gradients and tangents solve the same equation."""

    def backward(ctx: Any, grad: Tensor, _: Any) -> tuple[Tensor | None, ...]:
        (mask,) = ctx.saved_tensors
        dx = solve(grad, mask, None, *ctx.rule)[0] if ctx.needs_input_grad[0] else None
        return dx, None, None, None, None

    def jvp(ctx: Any, tangent: Tensor, *_: Any) -> tuple[Tensor, None]:
        (mask,) = ctx.saved_tensors
        return solve(tangent, mask, None, *ctx.rule)[0], None

    return {"setup_context": _setup_context, "backward": backward, "jvp": jvp, "batching": _batching}


def _solve_natively(*inputs: Any) -> tuple[Tensor, Tensor]:
    return _op(*inputs)


_op: Callable[..., tuple[Tensor, Tensor]] = _native.register(
    "masked_poisson(Tensor rhs, Tensor mask, Tensor? initial, float tolerance, SymInt max_iterations) "
    "-> (Tensor, Tensor)",
    reference=masked_poisson_reference,
    fake=_fake,
    **_rules(_solve_natively),
)
_Implicit = _autograd.as_function(
    "solve_masked_poisson", _solve, op=masked_poisson_reference, **_rules(masked_poisson_reference)
)
