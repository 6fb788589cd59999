"""Calls of the ops on images and label maps."""

from __future__ import annotations

from typing import Any

import torch

from random_calls.call import Call
from random_calls.draw import FLOATS, Draw

_LABELS = (torch.uint8, torch.int16, torch.int32, torch.int64)


def confusion_matrix(draw: Draw) -> Call:
    """Labels of any two types or logits, some of them invalid; class numbers around those where counters change."""
    classes = draw.size(20, 33, 110, 254, 255, 256)
    shape = draw.sizes(40000, (3,), (30, 64, 1024), (40, 64, 256))
    shape = shape[: draw.whole(1, 3)]
    if draw.chance(20):
        shape[draw.whole(0, len(shape) - 1)] = 0
    arguments: dict[str, Any] = {"num_classes": classes, "per_image": draw.chance(2)}
    spoilt = draw.chance(3)
    if draw.chance(3) and len(shape) > 1:
        shape[1:] = draw.sizes(60000 // (max(1, shape[0]) * classes) + 1, *[(40, 64, 1024)] * (len(shape) - 1))
        # Few numbers, so that many are equal; a NaN counts as the largest.
        logits = draw.labels((shape[0], classes, *shape[1:]), -4, 4).double()
        logits[draw.true(logits.shape, 200)] = torch.nan
        arguments["pred"] = draw.laid_out("pred", logits.to(draw.choice(FLOATS)))
    else:
        arguments["pred"] = _labels(draw, "pred", shape, classes, spoilt)
    arguments["target"] = _labels(draw, "target", shape, classes, spoilt)
    arguments["invalid"] = draw.choice(("error", "ignore"))
    arguments["ignore_index"] = draw.choice((None, 0, 255, -1, classes))
    return Call("confusion_matrix", arguments, draw.layouts)


def _labels(draw: Draw, name: str, shape: list[int], classes: int, spoilt: bool) -> torch.Tensor:
    dtype = draw.choice([kind for kind in _LABELS if torch.iinfo(kind).max >= classes - 1])
    labels = draw.labels(shape, 0, classes)
    if draw.chance(2):  # large regions of one label
        labels = torch.where(draw.true(shape, 20), labels, labels.flatten()[0] if labels.numel() else 0)
    if spoilt:
        outside = draw.choice((classes, 255, -1))
        if torch.iinfo(dtype).min <= outside <= torch.iinfo(dtype).max:
            labels = torch.where(draw.true(shape, draw.choice((30, 3000))), outside, labels)
    return draw.laid_out(name, labels.to(dtype), ("contiguous", "sliced", "stepped", "transposed", "unaligned"))


def ssim(draw: Draw) -> Call:
    """Images about as large as the window, and wider or taller than a strip."""
    arguments: dict[str, Any] = {"convention": draw.choice(("wang2004", "skimage", "torchmetrics"))}
    window = {"wang2004": 11, "skimage": 7, "torchmetrics": 11}[arguments["convention"]]
    if draw.chance(2):
        window = arguments["kernel_size"] = draw.choice((3, 5, 7, 9, 11, 13, 33))
        arguments["sigma"] = draw.choice((0.0, 0.8, 1.5, 4.0))
    volume = draw.chance(4)
    limits = ((12, 32),) * 3 if volume else ((30, 128, 288), (30, 64, 192, 350))
    size = [max(window, length) for length in draw.sizes(9000, *limits)]
    if volume and window > 11:
        size = [window] * 3
    lead = draw.sizes(max(1, 20000 // torch.Size(size).numel()), (2,), (3, 9))
    arguments |= {"reduction": draw.choice(("mean", "none", "map")), "k1": draw.choice((0.01, 0.1))}
    return _of_images(draw, "ssim", [*lead, *size], arguments)


def ms_ssim(draw: Draw) -> Call:
    """One to three scales of small windows."""
    arguments: dict[str, Any] = {"convention": draw.choice(("wang2004", "torchmetrics"))}
    window = arguments["kernel_size"] = draw.choice((3, 5, 7))
    arguments["sigma"] = draw.choice((0.0, 1.0, 1.5))
    arguments["weights"] = draw.choice(((1.0,), (0.4, 0.6), (0.3, 0.3, 0.4)))
    least = window * 2 ** (len(arguments["weights"]) - 1)
    limits = [(least + 12, *(() if draw.chance(2) else (64, 192)))] * 2
    size = [max(least, length) for length in draw.sizes(9000, *limits)]
    arguments["reduction"] = draw.choice(("mean", "none"))
    return _of_images(draw, "ms_ssim", [draw.whole(1, 2), draw.whole(1, 3), *size], arguments)


def _of_images(draw: Draw, op: str, shape: list[int], arguments: dict[str, Any]) -> Call:
    """A noisy copy beside an image, of floating-point numbers or bytes."""
    data_range = draw.choice((1.0, 255.0))
    noise = draw.choice((0.02, 0.2))
    x = draw.uniform(shape)
    y = x + noise * draw.uniform(shape, -1, 1)
    if op == "ssim" and draw.chance(8):
        x[draw.true(shape, 500)] = torch.nan
    if draw.chance(5):
        pair = {name: (255 * image.clamp(0, 1)).to(torch.uint8) for name, image in (("x", x), ("y", y))}
        needs: tuple[str, ...] = ()
    else:
        dtype = draw.choice(FLOATS)
        pair = {name: (data_range * image).to(dtype) for name, image in (("x", x), ("y", y))}
        needs = draw.choice((("x", "y"), ("x",), ("y",)))
        arguments |= {"data_range": data_range}
    pair = {name: draw.laid_out(name, image) for name, image in pair.items()}
    return Call(op, {**pair, **arguments}, draw.layouts, needs, **draw.gradient(), slack=10)
