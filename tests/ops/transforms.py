"""Every transform as a pair of functions: what it gives for an op, and what it should give by plain differentiation."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from transform_cases import Case

Run = Callable[[Tensor], Tensor]


def weights(like: Tensor, seed: int) -> Tensor:
    """Numbers without a pattern, and without a random generator, which ``vmap`` refuses."""
    return (torch.arange(1, like.numel() + 1, dtype=like.dtype) * (seed + 0.7)).sin().reshape(like.shape)


def total(run: Run) -> Run:
    """A number with a different weight for each element of the output."""

    def number(x: Tensor) -> Tensor:
        y = run(x)
        return (y * weights(y, 100)).sum()

    return number


def slope(y: Tensor, x: Tensor, create_graph: bool = True) -> Tensor:
    """The gradient of the number y, zero where it does not depend on x."""
    if not y.requires_grad:
        return torch.zeros_like(x)
    return torch.autograd.grad(y, x, create_graph=create_graph, allow_unused=True, materialize_grads=True)[0]


def derivative(run: Run, x: Tensor, order: int) -> Tensor:
    """The gradient of the weighted sum, of that times weights, and so on."""
    x = x.detach().requires_grad_()
    y = total(run)(x)
    for further in range(order):
        found = slope(y, x, create_graph=further + 1 < order)
        y = (found * weights(found, 101 + further)).sum()
    return found.detach()


def jacobian(run: Run, x: Tensor) -> Tensor:
    x = x.detach().requires_grad_()
    y = run(x)
    return torch.stack([slope(part, x) for part in y.flatten()]).reshape(*y.shape, *x.shape).detach()


def hessian(run: Run, x: Tensor) -> Tensor:
    x = x.detach().requires_grad_()
    gradient = slope(total(run)(x), x)
    return torch.stack([slope(part, x) for part in gradient.flatten()]).reshape(*x.shape, *x.shape).detach()


def pushed_forward(run: Run, x: Tensor) -> Tensor:
    rows = jacobian(run, x).flatten(-x.dim())
    return rows @ weights(x, 7).flatten()


def values_and_gradients(run: Run, points: list[Tensor]) -> list[Tensor]:
    return [result for x in points for result in (run(x.detach()).detach(), derivative(run, x, 1))]


def each(run: Run, x: Tensor) -> Tensor:
    return torch.stack([run(entry) for entry in x])


def entries(case: Case) -> Tensor:
    return torch.stack([case.draw(seed) for seed in range(3)], 1)


class Module(torch.nn.Module):
    """A function as a module."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run

    def forward(self, x: Tensor) -> Tensor:
        return self.run(x)


def by_dual_numbers(run: Run, x: Tensor) -> Tensor:
    with forward_ad.dual_level():
        tangent = forward_ad.unpack_dual(run(forward_ad.make_dual(x, weights(x, 7)))).tangent
        assert tangent is not None, "no tangent"
        return tangent


def compiled(run: Run, points: list[Tensor], dynamic: bool) -> list[Tensor]:
    torch.compiler.reset()
    return values_and_gradients(torch.compile(run, fullgraph=True, dynamic=dynamic, backend="aot_eager"), points)


def exported(run: Run, x: Tensor) -> Tensor:
    return torch.export.export(Module(run), (x,)).module()(x)


def run_by_onnx(run: Run, x: Tensor, path: Any) -> Tensor:
    import onnxruntime

    x, module = x.float(), copy.deepcopy(Module(run)).eval().float()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (x,), dynamo=True, verbose=False).save(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    return torch.from_numpy(y)
