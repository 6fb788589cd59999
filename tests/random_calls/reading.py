"""Random calls of what reads text."""

from __future__ import annotations

from typing import Any

import torch

from random_calls.call import Call
from random_calls.draw import FLOATS, Draw

_LAYOUTS = ("contiguous", "sliced", "stepped", "transposed", "unaligned", "flipped", "negated")


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
        "inputs": draw.laid_out("inputs", 2 * draw.uniform((batch, steps, inputs), -1).to(dtype), _LAYOUTS),
        "memory": draw.laid_out("memory", 2 * draw.uniform((batch, memory, width), -1).to(dtype), _LAYOUTS),
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
