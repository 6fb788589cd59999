"""One call of an op with everything it is given, and its comparison with the float64 reference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

import pydlx
from pydlx import ops

# What rounding may change, relative to the largest number of the result.
ROUNDING = {torch.float64: 1e-11, torch.float32: 2e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}


class TooClose(Exception):
    """The call hangs on a digit that its dtype does not have, so that nothing can be said of its result."""


@dataclass
class Call:
    """An op and its arguments.

    Attributes:
        op: Name in ``pydlx.ops``.
        arguments: By name; a tensor is contiguous here and gets its strides from `layouts` when it is called.
        layouts: Names in LAYOUTS of the tensors that are not contiguous.
        differentiate: Names of the tensors whose gradient is compared.
        seed: Of the gradient that comes from above.
        grad_layout: Its strides.
        slack: Factor on ROUNDING, for an op that amplifies it.
        least: Rounding is never less than that of a result of this size, for one whose numbers may cancel to 0.
        discrete: Whether the result jumps where two numbers cross, so that rounding may decide.
        outputs: How many of the op's outputs are compared.
        graded: Which of the outputs the gradient comes from.
    """

    op: str
    arguments: dict[str, Any]
    layouts: dict[str, str] = field(default_factory=dict)
    differentiate: tuple[str, ...] = ()
    seed: int = 0
    grad_layout: str = "contiguous"
    slack: float = 1.0
    least: float = 0.0
    discrete: bool = False
    outputs: int | None = None
    graded: tuple[int, ...] = (0,)

    def __str__(self) -> str:
        """As one would write it down."""

        def shown(name: str, value: Any) -> str:
            if not isinstance(value, Tensor):
                return f"{name}={value!r}"
            dtype, layout = str(value.dtype).removeprefix("torch."), self.layouts.get(name, "contiguous")
            return f"{name}=<{dtype} {tuple(value.shape)} {layout}>"

        return f"{self.op}({', '.join(shown(*argument) for argument in self.arguments.items())})"


@dataclass
class Result:
    """The outputs of a call and the gradients asked for; or the message of its ValueError."""

    tensors: dict[str, Tensor]
    error: str | None = None


def run(call: Call, device: str = "cpu", change: Callable[[Tensor], Tensor] = lambda x: x) -> Result:
    """Run a call on a device, on tensors changed by `change`; its result is on the CPU."""
    arguments = {}
    for name, value in call.arguments.items():
        if isinstance(value, Tensor):
            value = LAYOUTS[call.layouts.get(name, "contiguous")](change(value).to(device))
            value = value.detach().requires_grad_(name in call.differentiate)
        arguments[name] = value
    try:
        found = getattr(ops, call.op)(**arguments)
    except ValueError as error:
        return Result({}, str(error))
    outputs = (found,) if isinstance(found, Tensor) else tuple(found)
    results = {f"output {i}": output for i, output in enumerate(outputs[: call.outputs])}
    if call.differentiate:
        points = [arguments[name] for name in call.differentiate]
        ends = [outputs[i] for i in call.graded]
        gradients = torch.autograd.grad(ends, points, [_from_above(call, y) for y in ends])
        results |= {f"gradient of {name}": g for name, g in zip(call.differentiate, gradients, strict=True)}
    return Result({name: result.detach().cpu() for name, result in results.items()})


def _from_above(call: Call, y: Tensor) -> Tensor:
    """Numbers that are the same in every dtype."""
    generator = torch.Generator().manual_seed(call.seed)
    grad = (torch.randint(-8, 9, y.shape, generator=generator) / 8).to(y)
    return LAYOUTS[call.grad_layout](as_expanded(grad) if call.grad_layout == "expanded" else grad)


def compare(call: Call, device: str = "cpu") -> None:
    """Require that a call gives what the reference gives in float64 on the CPU.

    Raises:
        AssertionError: With the call and what differs.
        TooClose: If the call is discrete and rounding decides.
    """
    found, expected = run(call, device), in_float64(call)
    if call.discrete and any(x.dtype != torch.float64 for x in floats(call)):
        looks = 2 if found.error == expected.error and _same_choices(expected, found) else 20
        for seed in range(1, looks + 1):
            if not _same_choices(expected, in_float64(call, lambda x, seed=seed: _disturbed(x, seed))):
                raise TooClose(str(call))
    assert found.error == expected.error, f"{call}: raised {found.error!r}, the reference {expected.error!r}"
    for name, actual in found.tensors.items():
        _assert_close(f"{call}: {name}", actual, expected.tensors[name], call.slack, call.least)


def floats(call: Call) -> list[Tensor]:
    """Its floating-point arguments."""
    return [x for x in call.arguments.values() if isinstance(x, Tensor) and x.is_floating_point()]


def in_float64(call: Call, change: Callable[[Tensor], Tensor] = lambda x: x) -> Result:
    """What the reference gives for the same numbers in float64."""
    with pydlx.backend("reference"):
        return run(call, change=lambda x: change(x.double() if x.is_floating_point() else x))


def _disturbed(x: Tensor, seed: int) -> Tensor:
    if not x.is_floating_point():
        return x
    return x * (1 + 1e-6 * torch.randn(x.shape, generator=torch.Generator().manual_seed(seed), dtype=x.dtype))


def _same_choices(a: Result, b: Result) -> bool:
    whole = [name for name, x in a.tensors.items() if not x.is_floating_point()]
    return all(a.tensors[name].equal(b.tensors[name]) for name in whole)


def _assert_close(what: str, actual: Tensor, expected: Tensor, slack: float, least: float) -> None:
    assert actual.shape == expected.shape, f"{what}: shape {tuple(actual.shape)}, the reference {tuple(expected.shape)}"
    if not actual.is_floating_point():
        assert actual.equal(expected), f"{what}: {int((actual != expected).sum())} numbers differ"
        return
    wide, expected = actual.double(), expected.double()
    largest = expected[expected.isfinite()].abs().max().item() if expected.isfinite().any() else 0.0
    limit = slack * ROUNDING[actual.dtype] * max(least, largest) + torch.finfo(actual.dtype).tiny
    wrong = ~torch.isclose(wide, expected, rtol=0, atol=limit, equal_nan=True)
    if wrong.any():
        place = tuple(wrong.nonzero()[0].tolist())
        raise AssertionError(
            f"{what}: {int(wrong.sum())} of {wrong.numel()} numbers are wrong, the first at {place}: "
            f"{wide[place].item()!r}, not {expected[place].item()!r} (to {limit:.1e})"
        )


# The strides a tensor can have. Each function takes a contiguous tensor and returns one of the same numbers, with NaN
# around them. There are no negative strides in torch, whose flip copies; "negated" is its one lazy sign.


def _around(x: Tensor, *shape: int) -> Tensor:
    return x.new_full(shape, torch.nan if x.is_floating_point() else 1)


def _sliced(x: Tensor) -> Tensor:
    larger = _around(x, *(size + 3 for size in x.shape))
    return larger[tuple(slice(1, size + 1) for size in x.shape)].copy_(x)


def _stepped(x: Tensor) -> Tensor:
    if not x.dim():
        return x
    return _around(x, *x.shape[:-1], 2 * x.shape[-1])[..., ::2].copy_(x)


def _transposed(x: Tensor) -> Tensor:
    return x.mT.contiguous().mT if x.dim() > 1 else x


def _channels_last(x: Tensor) -> Tensor:
    """And with other dimensions, the last one outermost."""
    if x.dim() == 4:
        return x.contiguous(memory_format=torch.channels_last)
    if x.dim() == 5:
        return x.contiguous(memory_format=torch.channels_last_3d)
    return x.movedim(-1, 0).contiguous().movedim(0, -1) if x.dim() else x


def _unaligned(x: Tensor) -> Tensor:
    """One number behind where vectors would like to start."""
    return _around(x, x.numel() + 1)[1:].view(x.shape).copy_(x)


def _flipped(x: Tensor) -> Tensor:
    """A flip of the flipped numbers; see above."""
    return x.flip(-1).flip(-1) if x.dim() else x


def _negated(x: Tensor) -> Tensor:
    if x.dtype not in (torch.float32, torch.float64):
        return x
    return torch.complex(torch.zeros_like(x), -x).conj().imag


def as_expanded(x: Tensor) -> Tensor:
    """The same numbers along the first axis, so that a stride of 0 can hold them."""
    return x[:1].expand(x.shape).contiguous() if x.dim() else x


def _expanded(x: Tensor) -> Tensor:
    return x[:1].expand(x.shape) if x.dim() else x


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda x: x,
    "sliced": _sliced,
    "stepped": _stepped,
    "transposed": _transposed,
    "channels_last": _channels_last,
    "unaligned": _unaligned,
    "flipped": _flipped,
    "negated": _negated,
    "expanded": _expanded,  # for numbers made by `as_expanded`
}
