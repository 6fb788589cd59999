"""Calls of the transforms and of the solvers of Poisson's equation."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from random_calls.call import Call
from random_calls.draw import FLOATS, Draw

# Prime factors up to 97, beyond (Bluestein), powers of two, and a line longer than what the FFT does in one piece.
_LENGTHS = (32, 97, 101, 128, 211, 360, 512, 1031, 4096, 5000)


def cosine(draw: Draw, op: str) -> Call:
    """Any axes of up to four dimensions."""
    dims = draw.whole(1, 4)
    shape = draw.sizes(20000, *[(40, *_LENGTHS) if dims == 1 else (12, 32, 64, 97, 101, 211)] * dims)
    axes = draw.choice((None, *range(-dims, dims), tuple(draw.source.sample(range(dims), draw.whole(1, dims)))))
    kind = draw.whole(1, 4)
    along = range(dims) if axes is None else [axes] if isinstance(axes, int) else axes
    if kind == 1:
        shape = [max(2, size) for size in shape]
    if draw.chance(20) and (free := [axis for axis in range(dims) if axis not in {a % dims for a in along}]):
        shape[free[0]] = 0
    dtype = draw.choice(FLOATS)
    norm = draw.choice((None, "backward", "ortho", "forward"))
    # Of type 1 some weights are zero, and whether NaN times zero is computed is up to the algorithm.
    x = draw.numbers("x", shape, dtype, special=() if kind == 1 else (torch.nan,))
    if dtype == torch.float16 and norm != "ortho":
        x = x / 1024  # sums of thousands are more than float16 holds
    arguments = {"x": x, "type": kind, "axes": axes, "norm": norm}
    return Call(op, arguments, draw.layouts, ("x",), **draw.gradient())


def poisson(draw: Draw) -> Call:
    """Either border, with and without screening."""
    dtype = draw.choice(FLOATS)
    rhs = draw.numbers("rhs", _planes(draw), dtype, special=(torch.nan,))
    screening = draw.choice((0.0, 1e-3, 0.3, 20.0))
    arguments = {
        "rhs": rhs / 64 if dtype == torch.float16 else rhs,  # solutions of large planes outgrow float16
        "boundary": draw.choice(("neumann", "dirichlet")),
        "screening": screening,
    }
    least = _largest(rhs) * max(1.0, _slowest_wave(rhs.shape[-2:], screening))
    return Call("solve_poisson", arguments, draw.layouts, ("rhs",), **draw.gradient(), slack=4, least=least)


def gaussian_poisson(draw: Draw) -> Call:
    """The three equations, positive definite as they must be."""
    formulation = draw.choice(("official", "paper", "screened"))
    dtype = draw.choice((torch.float64, torch.float32, torch.bfloat16))
    shape = _planes(draw)
    rhs, colour = (draw.numbers(name, shape, dtype, special=(torch.nan,)) for name in ("rhs", "colour"))
    arguments = {
        "rhs": rhs,
        "colour": colour,
        "beta": draw.choice((0.0, 1e-3, 0.1, 1.0, 8.0)),
        "sigma": draw.choice((0.0, 0.3, 0.5, 0.7) if formulation == "official" else (0.0, 0.3, 0.5, 1.0, 1.5)),
        "formulation": formulation,
        "normalised": draw.chance(2),
    }
    needs = draw.choice((("rhs", "colour"), ("rhs",), ("colour",)))
    return Call(
        "solve_gaussian_poisson", arguments, draw.layouts, needs, **draw.gradient(), slack=20, least=_largest(rhs)
    )


def _largest(x: Tensor) -> float:
    return float(x.double().nan_to_num(0.0).abs().max()) if x.numel() else 0.0


def _slowest_wave(size: Sequence[int], screening: float) -> float:
    """How large a solution is of noise of size 1, and so of the rounding errors of a constant, whose solution is 0."""
    return 1 / (screening + (math.pi / max(size)) ** 2) / math.sqrt(math.prod(size))


def _planes(draw: Draw) -> list[int]:
    height, width = draw.sizes(9000, (20, 32, 64, 256), (20, 5, 8, 32, 64, 97, 256))
    lead = [draw.size(4, 9) for _ in range(draw.whole(0, 2))]
    if lead and draw.chance(20):
        lead[0] = 0
    return [*lead, height, width]


def masked_poisson(draw: Draw) -> Call:
    """Masks of every density, blots and stripes, of every plane or shared."""
    height, width = draw.sizes(2500, (14, 32, 64), (14, 16, 32, 64))
    lead = [draw.whole(0 if draw.chance(10) else 1, 3) for _ in range(draw.whole(0, 2))]
    own = [draw.choice((1, size)) for size in lead[draw.whole(0, len(lead)) :]]
    mask = _mask(draw, (*own, height, width))
    dtype = draw.choice((torch.float64, torch.float32))
    shape = (*lead, height, width)
    arguments = {
        "rhs": draw.numbers("rhs", shape, dtype),
        "mask": draw.laid_out("mask", mask, ("contiguous", "sliced", "transposed")),
        "tolerance": 1e-12 if dtype == torch.float64 else 1e-7,
        "initial": draw.numbers("initial", shape, dtype) if draw.chance(3) else None,
    }
    arguments["max_iterations"] = 5000
    # Its second output is the residual that is left, which is another one in each method.
    return Call("solve_masked_poisson", arguments, draw.layouts, ("rhs",), **draw.gradient(), slack=100, outputs=1)


def _mask(draw: Draw, shape: tuple[int, ...]) -> Tensor:
    """True where unknown; one pixel of every plane is known."""
    height, width = shape[-2:]
    kind = draw.choice(("noise", "rectangle", "stripes", "all but one", "none"))
    mask = torch.zeros(shape, dtype=torch.bool)
    if kind == "noise":
        mask = draw.true(shape, draw.choice((1.05, 2.0, 10.0)))
    elif kind == "rectangle":
        mask[..., draw.whole(0, height - 1) :, : draw.whole(1, width)] = True
    elif kind == "stripes":
        mask[..., :: draw.whole(1, 3), draw.whole(0, width - 1) :] = True
    elif kind == "all but one":
        mask[:] = True
    mask[..., draw.whole(0, height - 1), draw.whole(0, width - 1)] = False
    return mask
