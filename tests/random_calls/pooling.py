"""Calls of the pooling ops. The limits are those at which the kernels in csrc go another way."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pydlx.ops.soft_pool import pooled_size
from random_calls.call import Call
from random_calls.draw import FLOATS, Draw

_LANES = 256  # outputs, or channels, of one run of soft_pool's loops
_BLOCK = 8192  # elements of one block of its backward
_KNOWN = ((2, 2), (3, 2), (3, 1))  # windows, and their steps, with kernels of their own
_SPECIAL = (math.nan, math.inf, -math.inf)


def soft_pool(draw: Draw, spatial: int) -> Call:
    """Windows of every kind: apart, overlapping, wider than the input, or with huge steps."""
    lead = draw.sizes(4096, (3,), (6, 16, _LANES, 300))
    usual = {1: (40, _LANES, 520), 2: (20, 100), 3: (9, 32)}[spatial]
    size = draw.sizes(3 * _BLOCK // (lead[0] * lead[1]) + 64, *[usual] * spatial)
    if draw.chance(20):
        lead[draw.whole(0, 1)] = 0
    shape = [*lead[1:], *size] if draw.chance(6) else [*lead, *size]
    ceil_mode, joined = draw.chance(3), draw.chance(2)
    windows = [_window(draw, length, joined, ceil_mode) for length in size]
    if draw.chance(3):
        kernel, stride = draw.choice(_KNOWN)
        padding = draw.whole(0, 1)
        if all(pooled_size(length, kernel, stride, padding, 1, ceil_mode) > 0 for length in size):
            windows = [(kernel, stride, padding, 1)] * spatial
    axes = zip(*windows, strict=True)
    window = {
        name: list(values) if len(set(values)) > 1 or draw.chance(2) else values[0]
        for name, values in zip(("kernel_size", "stride", "padding", "dilation"), axes, strict=True)
    }
    if joined and window["stride"] == window["kernel_size"] and draw.chance(2):
        window["stride"] = None
    x = draw.numbers("x", shape, draw.choice(FLOATS), special=(math.nan,))
    arguments = {"x": x, **window, "ceil_mode": ceil_mode, "gradient": draw.choice(("exact", "exact", "paper"))}
    return Call(f"soft_pool{spatial}d", arguments, draw.layouts, ("x",), **draw.gradient())


def _window(draw: Draw, length: int, joined: bool, ceil_mode: bool) -> tuple[int, int, int, int]:
    """Kernel size, stride, padding and dilation along an axis of this length.

    `joined` makes steps as long as the windows, where padding is most likely to leave a rest behind the last one.
    """
    kernel = draw.whole(1, min(5, length + 2))
    dilation = 1 if joined else draw.choice((1, 1, 1, 2, 3))
    padding = draw.whole(0, (dilation * (kernel - 1) + 1) // 2)
    stride = kernel if joined else draw.choice((1, 2, 2, 3, 4, 7, 1000))
    fits = pooled_size(length, kernel, stride, padding, dilation, ceil_mode) > 0
    return (kernel, stride, padding, dilation) if fits else (1, stride, 0, 1)


def corner_pool(draw: Draw) -> Call:
    """One map."""
    x = _map(draw, "x")
    arguments = {"x": x, "direction": draw.choice(("top", "bottom", "left", "right"))}
    return Call("corner_pool", arguments, draw.layouts, ("x",), **draw.gradient())


def corner_pair(draw: Draw, op: str, first: str, second: str) -> Call:
    """Two maps, each with strides of its own."""
    a = _map(draw, first)
    b = draw.numbers(second, a.shape, a.dtype, special=_SPECIAL)
    needs = draw.choice(((first, second), (first, second), (first,), (second,)))
    return Call(op, {first: a, second: b}, draw.layouts, needs, **draw.gradient())


def _map(draw: Draw, name: str) -> Tensor:
    shape = draw.sizes(40000, (3,), (5, 16, 300), (20, 32, 64), (20, 32, 64, 1024))
    if draw.chance(20):
        shape[draw.whole(0, 3)] = 0
    return draw.numbers(name, shape if draw.chance(2) else shape[1:], draw.choice(FLOATS), special=_SPECIAL)


def sequence_pool(draw: Draw) -> Call:
    """Padded and packed sequences; what lies in the padding is NaN."""
    batch, steps, channels = draw.sizes(30000, (4, 16), (30, 16, 64, 128), (9, 64, 256))
    if draw.chance(20):
        channels = 0
    mode = draw.choice(("max", "mean", "soft", "k-max"))
    arguments: dict[str, object] = {"mode": mode}
    if mode == "k-max":
        arguments["k"] = draw.size(6, 64, steps)
    kind = draw.choice(("full", "lengths", "mask", "packed"))
    lengths = draw.labels((batch,), 1, steps + 1).to(draw.choice((torch.int64, torch.int32)))
    dtype = draw.choice(FLOATS)
    special = _SPECIAL if mode in ("max", "k-max") else (math.nan,)
    layouts = ("contiguous", "sliced", "stepped", "transposed", "channels_last", "unaligned", "flipped", "negated")
    if kind == "packed":
        x = draw.numbers("x", (int(lengths.sum()), channels), dtype, special=special)
        arguments["lengths"] = lengths
    else:
        x = draw.numbers("x", (batch, steps, channels), dtype, layouts, special)
        valid = torch.ones(batch, steps, dtype=torch.bool)
        if kind == "lengths":
            valid = torch.arange(steps) < lengths.unsqueeze(1)
            arguments["lengths"] = lengths
        elif kind == "mask":
            valid = draw.true((batch, steps), 2)
            valid[torch.arange(batch), draw.labels((batch,), 0, steps)] = True
            arguments["mask"] = draw.laid_out("mask", valid, ("contiguous", "sliced", "transposed"))
        x = x.masked_fill(~valid.unsqueeze(-1), torch.nan)
    return Call("sequence_pool", {"x": x, **arguments}, draw.layouts, ("x",), **draw.gradient())
