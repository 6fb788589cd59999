"""Calls of the ops of readers. The limits are those at which the kernels in csrc go another way."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from random_calls.call import Call
from random_calls.draw import FLOATS, Draw

_BLOCK = 128  # threads of decode_spans' block on CUDA
_PLAIN = ("contiguous", "sliced", "stepped", "transposed", "unaligned")
_TURNED = (*_PLAIN, "flipped", "negated")


def _mask(draw: Draw, name: str, shape: tuple[int, int]) -> Tensor:
    """Lengths, of which some may be 0, or any pattern."""
    valid = torch.arange(shape[1]) < draw.labels((shape[0], 1), 0, shape[1] + 1)
    if draw.chance(2):
        valid = draw.true(shape, 1.5)
    return draw.laid_out(name, valid, _PLAIN)


def attention_rnn(draw: Draw) -> Call:
    """Both cells, gated or not; weights as layers start with; what lies in the padding is NaN."""
    batch, steps, memory, inputs, width = draw.sizes(3000, (5, 8, 32), (5,), (9, 16), (9, 16), (9, 64))
    attention, hidden = draw.size(9, 16, 64), draw.size(7, 16, 32)
    dtype, cell = draw.choice(FLOATS), draw.choice(("gru", "lstm"))
    gates, joined = (4 if cell == "lstm" else 3) * hidden, inputs + width
    shapes: dict[str, tuple[int, ...]] = {
        "memory_weight": (attention, width),
        "input_weight": (attention, inputs),
        "bias": (attention,),
        "score": (attention,),
        "weight_ih": (gates, joined),
        "weight_hh": (gates, hidden),
        "bias_ih": (gates,),
        "bias_hh": (gates,),
    }
    if draw.chance(2):
        shapes["state_weight"] = (attention, hidden)
    if draw.chance(2):
        shapes["gate_weight"] = (joined, joined)
    arguments: dict[str, Any] = {
        "inputs": draw.laid_out("inputs", 2 * draw.uniform((batch, steps, inputs), -1).to(dtype), _TURNED),
        "memory": draw.laid_out("memory", 2 * draw.uniform((batch, memory, width), -1).to(dtype), _TURNED),
    }
    for name, shape in shapes.items():
        weight = draw.uniform(shape, -1) / shape[-1] ** 0.5
        arguments[name] = draw.laid_out(name, weight.to(dtype), ("contiguous", "contiguous", "sliced", "transposed"))
    if draw.chance(2):
        arguments["lengths"] = draw.labels((batch,), 0, steps + 1)
        padding = torch.arange(steps) >= arguments["lengths"].unsqueeze(1)
        arguments["inputs"] = arguments["inputs"].masked_fill(padding.unsqueeze(-1), torch.nan)
    if draw.chance(2):
        mask = draw.true((batch, memory), 2)
        mask[torch.arange(batch), draw.labels((batch,), 0, memory)] = True
        arguments["memory"] = arguments["memory"].masked_fill(~mask.unsqueeze(-1), torch.nan)
        arguments["memory_mask"] = draw.laid_out("memory_mask", mask, ("contiguous", "sliced", "transposed"))
    arguments |= {"cell": cell, "reverse": draw.chance(2)}
    # Products in half precision are rounded before the recurrence, which hands their errors on.
    slack = 10 if dtype in (torch.float16, torch.bfloat16) else 2
    points = ("inputs", "memory", *shapes)
    return Call("attention_rnn", arguments, draw.layouts, points, **draw.gradient(), slack=slack, least=0.05)


def decode_spans(draw: Draw) -> Call:
    """Scores are multiples of a power of two, so that no dtype rounds what decides; of few levels many are equal."""
    batch, length = draw.sizes(4000, (5, 16), (40, 16, _BLOCK, 2 * _BLOCK))
    if draw.chance(20):
        batch, length = draw.choice(((0, length), (batch, 0)))
    dtype = draw.choice((torch.float64, *FLOATS))
    arguments: dict[str, object] = {}
    for name in ("start", "end"):
        levels = draw.choice((2, 16, 64))
        x = (draw.labels((batch, length), -levels, levels) / 8.0).to(dtype)
        if draw.chance(4):
            x[draw.true(x.shape, 9)] = draw.choice((math.nan, math.inf, -math.inf))
        arguments[name] = draw.laid_out(name, x, _PLAIN)
    arguments["max_length"] = draw.choice((1, 2, 3, 8, 15, 16, 17, 31, 10**9, None))
    if draw.chance(2):
        arguments["mask"] = _mask(draw, "mask", (batch, length))
    arguments["top_k"] = draw.choice((1, 1, 2, 5, 20, 60))
    return Call("decode_spans", arguments, draw.layouts, ("start", "end"), graded=(2,), **draw.gradient())


def trilinear_attention(draw: Draw) -> Call:
    """Similarities of a size that half precision holds; what lies in the padding is NaN."""
    batch, n, m, size = draw.sizes(6000, (3,), (20, 8, 32), (20, 16, 32), (9,))
    dtype = draw.choice(FLOATS)
    texts: dict[str, Tensor] = {}
    masks: dict[str, Tensor] = {}
    for name, length in (("context", n), ("question", m)):
        special = () if dtype in (torch.float16, torch.bfloat16) else (math.nan,)
        x = draw.numbers(name, (batch, length, size), dtype, _PLAIN, special)
        if draw.chance(2):
            masks[f"{name}_mask"] = _mask(draw, f"{name}_mask", (batch, length))
            x = x.masked_fill(~masks[f"{name}_mask"].unsqueeze(-1), math.nan)
        texts[name] = x
    weight = draw.uniform((3 * size,), -1, 1) / (32 * size)
    arguments = {**texts, "weight": draw.laid_out("weight", weight.to(dtype), ("contiguous", "sliced", "stepped"))}
    points = ("context", "question", "weight")
    return Call(
        "trilinear_attention",
        {**arguments, **masks},
        draw.layouts,
        points,
        slack=4.0,
        least=1.0,
        graded=(0, 1, 2),
        **draw.gradient(),
    )
