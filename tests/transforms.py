"""Every transform of PyTorch as two functions of an op: its result, and that of plain differentiation.

python tests/transforms.py    writes the table of docs/transforms.md
"""

from __future__ import annotations

import copy
import logging
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.func import grad, hessian, jacfwd, jacrev, jvp, vmap
from torch.utils.checkpoint import checkpoint
from transform_cases import CASES, RAISES, WITHOUT_DERIVATIVE, Case

Run = Callable[[Tensor], Tensor]
DOCS = Path(__file__).parents[1] / "docs" / "transforms.md"


class Transform(NamedTuple):
    """A column of the table.

    Attributes:
        actual: Applies the transform to an op.
        expected: The same by plain calls and derivatives, for the op's reference in float64.
        derives: Whether it differentiates.
        slow: Whether it takes seconds.
    """

    actual: Callable[[Run, Case], Tensor | list[Tensor]]
    expected: Callable[[Run, Case], Tensor | list[Tensor]]
    derives: bool = True
    slow: bool = False


def weights(like: Tensor, seed: int) -> Tensor:
    """Irregular numbers without a random generator, which ``vmap`` refuses."""
    return (torch.arange(1, like.numel() + 1, dtype=torch.float64) * (seed + 0.7)).sin().reshape(like.shape)


def total(run: Run) -> Run:
    """A weighted sum of the output, with a different weight for each element."""

    def number(x: Tensor) -> Tensor:
        y = run(x)
        return (y * weights(y, 100)).sum()

    return number


def slope(y: Tensor, x: Tensor, create_graph: bool = True) -> Tensor:
    """The gradient of the number y, zero where it does not depend on x."""
    if not y.requires_grad:
        return torch.zeros_like(x)
    return torch.autograd.grad(y, x, create_graph=create_graph, allow_unused=True, materialize_grads=True)[0]


def derivative(run: Run, x: Tensor, order: int = 1) -> Tensor:
    """The gradient of the weighted sum, then that of its weighted sum, and so on."""
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


def plain_hessian(run: Run, x: Tensor) -> Tensor:
    return jacobian(lambda x: slope(total(run)(x), x), x)


def pushed_forward(run: Run, case: Case) -> Tensor:
    x = case.draw()
    return jacobian(run, x).flatten(-x.dim()) @ weights(x, 7).flatten()


def entries(case: Case) -> Tensor:
    """Three inputs, along the second dimension."""
    return torch.stack([case.draw(seed) for seed in range(3)], 1)


def each(run: Run, case: Case) -> Tensor:
    return torch.stack([run(x) for x in entries(case).movedim(1, 0)])


def by_dual_numbers(run: Run, case: Case) -> Tensor:
    with forward_ad.dual_level():
        y = run(forward_ad.make_dual(case.draw(), weights(case.draw(), 7)))
        tangent = forward_ad.unpack_dual(y).tangent
    assert tangent is not None, "no tangent"
    return tangent


def checkpointed(run: Run, case: Case, use_reentrant: bool) -> Tensor:
    x = case.draw().requires_grad_()
    total(lambda x: checkpoint(run, x, use_reentrant=use_reentrant))(x).backward()
    return x.grad


def called(run: Run, case: Case, larger: tuple[bool, ...]) -> list[Tensor]:
    """The values, and the gradients if there are any."""
    points = [case.draw(larger=large) for large in larger]
    values = [run(x).detach() for x in points]
    return values if case.name in WITHOUT_DERIVATIVE else [*values, *(derivative(run, x) for x in points)]


def compiled(run: Run, case: Case, dynamic: bool) -> list[Tensor]:
    torch.compiler.reset()
    compiled_run = torch.compile(run, fullgraph=True, dynamic=dynamic, backend="aot_eager")
    return called(compiled_run, case, (False, True) if dynamic else (False,))


class Module(torch.nn.Module):
    """A function as a module, for export."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run

    def forward(self, x: Tensor) -> Tensor:
        return self.run(x)


def exported(run: Run, case: Case) -> Tensor:
    return torch.export.export(Module(run), (case.draw(),)).module()(case.draw())


def run_by_onnx(run: Run, case: Case) -> Tensor:
    """In float32, by ONNX Runtime."""
    import onnxruntime

    x, module = case.draw().float(), copy.deepcopy(Module(run)).eval().float()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        path = f"{folder}/op.onnx"
        torch.onnx.export(module, (x,), dynamo=True, verbose=False).save(path)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    return torch.from_numpy(y)


TRANSFORMS = {
    "grad": Transform(
        lambda run, case: derivative(run, case.draw()),
        lambda run, case: derivative(run, case.draw()),
    ),
    "second": Transform(
        lambda run, case: derivative(run, case.draw(), 2),
        lambda run, case: derivative(run, case.draw(), 2),
    ),
    "third": Transform(
        lambda run, case: derivative(run, case.draw(), 3),
        lambda run, case: derivative(run, case.draw(), 3),
    ),
    "func.grad": Transform(
        lambda run, case: grad(total(run))(case.draw()),
        lambda run, case: derivative(run, case.draw()),
    ),
    "vmap": Transform(lambda run, case: vmap(run, 1)(entries(case)), each, derives=False),
    "vmap(grad)": Transform(
        lambda run, case: vmap(grad(total(run)), 1)(entries(case)),
        lambda run, case: each(lambda x: derivative(run, x), case),
    ),
    "jacrev": Transform(
        lambda run, case: jacrev(run)(case.draw()),
        lambda run, case: jacobian(run, case.draw()),
    ),
    "jacfwd": Transform(
        lambda run, case: jacfwd(run)(case.draw()),
        lambda run, case: jacobian(run, case.draw()),
    ),
    "jvp": Transform(
        lambda run, case: jvp(run, (case.draw(),), (weights(case.draw(), 7),))[1],
        pushed_forward,
    ),
    "hessian": Transform(
        lambda run, case: hessian(total(run))(case.draw()),
        lambda run, case: plain_hessian(run, case.draw()),
    ),
    "dual": Transform(by_dual_numbers, pushed_forward),
    "checkpoint": Transform(
        lambda run, case: checkpointed(run, case, use_reentrant=False),
        lambda run, case: derivative(run, case.draw()),
    ),
    "reentrant": Transform(
        lambda run, case: checkpointed(run, case, use_reentrant=True),
        lambda run, case: derivative(run, case.draw()),
    ),
    "compile": Transform(
        lambda run, case: compiled(run, case, dynamic=False),
        lambda run, case: called(run, case, (False,)),
        derives=False,
        slow=True,
    ),
    "dynamic": Transform(
        lambda run, case: compiled(run, case, dynamic=True),
        lambda run, case: called(run, case, (False, True)),
        derives=False,
        slow=True,
    ),
    "export": Transform(exported, lambda run, case: run(case.draw()), derives=False),
    "ONNX": Transform(run_by_onnx, lambda run, case: run(case.draw()), derives=False, slow=True),
}


def outcome(name: str, transform: str) -> str:
    """The table's symbol: ``✓`` right, ``✗`` one clear error, ``–`` nothing to differentiate."""
    if TRANSFORMS[transform].derives and name in WITHOUT_DERIVATIVE:
        return WITHOUT_DERIVATIVE[name]
    return "✗" if transform in RAISES.get(name, ()) else "✓"


def table() -> str:
    head = ["", *TRANSFORMS]
    rows = [head, ["---", *(":-:" for _ in TRANSFORMS)]]
    rows += [[f"`{name}`", *(outcome(name, transform) for transform in TRANSFORMS)] for name in CASES]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    before, marker, _ = DOCS.read_text(encoding="utf-8").partition("<!-- table -->\n")
    DOCS.write_text(f"{before}{marker}{table()}\n", encoding="utf-8")
