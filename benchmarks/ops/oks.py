"""OKS against its formula with broadcasting in PyTorch, on a GPU also compiled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from pydlx import ops
from pydlx.benchmarks.case import (
    NATIVE,
    REFERENCE,
    Candidate,
    Case,
    Setting,
    Target,
    at_least,
    compiled,
    forward,
    forward_and_backward,
    on_reference,
    shape_text,
)

EAGER = "eager"
COMPILED = "compiled"

_POINTS = 17
_CROWD, _MATCHED = (100, 50), (1, 1)  # detections and truths of an image
_CASES = (
    (64, _CROWD, torch.float32),
    (64, _CROWD, torch.float64),
    (1, _CROWD, torch.float32),
    (4096, _MATCHED, torch.float32),
)

Scene = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def cases(setting: Setting) -> Iterator[Case]:
    """Images of many people; and poses that are already matched, as in a loss."""
    for batch, sizes, dtype in _CASES:
        for direction in ("forward", "forward+backward"):
            asked = batch == 64 and direction == "forward" and setting.device.type == "cpu"
            targets: tuple[Target, ...] = (at_least(3, EAGER),) if asked else ()
            extra = " float64" if dtype == torch.float64 else ""
            label = f"{shape_text((batch, *sizes, _POINTS))}{extra} {direction}"
            yield Case(label, partial(_candidates, batch, sizes, dtype, direction, setting), targets, floors=())


def _candidates(
    batch: int, sizes: tuple[int, int], dtype: torch.dtype, direction: str, setting: Setting
) -> dict[str, Candidate | None]:
    inputs = tuple(x.to(setting.device, dtype) for x in scene(batch, *sizes))
    if direction == "forward":
        found = {name: forward(compare, *inputs) for name, compare in {NATIVE: ops.oks, EAGER: eager_oks}.items()}
    else:
        pred, *others = inputs
        found = {name: forward_and_backward(compare, pred) for name, compare in differentiable(*others).items()}
    if formula := compiled(partial(eager_oks, in_place=False), setting):
        pred, *others = inputs
        run = forward if direction == "forward" else forward_and_backward
        found[COMPILED] = run(lambda pred: formula(pred, *others), pred)
    return {**found, REFERENCE: on_reference(found[NATIVE])}


def scene(batch: int, detections: int, truths: int) -> Scene:
    """Poses (B, D, K, 2) and (B, G, K, 2), visibility, area and sigmas; four of five points are visible."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    truth = 300 * draw(batch, truths, _POINTS, 2)
    pred = truth[:, torch.arange(detections) % truths] + 10 * draw(batch, detections, _POINTS, 2)
    visibility = (draw(batch, truths, _POINTS) < 0.8).float()
    visibility[..., 0] = 1
    return pred, truth, visibility, 2000 + 50000 * draw(batch, truths), 0.02 + 0.1 * draw(_POINTS)


def differentiable(*others: Tensor) -> dict[str, Callable[[Tensor], Tensor]]:
    """The op and its formula as functions of the detections alone."""
    return {NATIVE: lambda pred: ops.oks(pred, *others), EAGER: lambda pred: eager_oks(pred, *others, in_place=False)}


def eager_oks(
    pred: Tensor, truth: Tensor, visibility: Tensor, area: Tensor, sigmas: Tensor, *, in_place: bool = True
) -> Tensor:
    """The formula in stock PyTorch, if each truth has a visible point; the fastest of several forms tried.

    With `in_place` it needs only two temporaries of the size of all pairs of points, but is not differentiable.
    """
    falloff = (-1 / (8 * (area + 2**-52).unsqueeze(-1) * sigmas.square())).unsqueeze(-3)
    share = (visibility / visibility.sum(-1, keepdim=True)).unsqueeze(-3)
    dx = pred[..., 0].unsqueeze(-2) - truth[..., 0].unsqueeze(-3)
    dy = pred[..., 1].unsqueeze(-2) - truth[..., 1].unsqueeze(-3)
    if in_place:
        return dx.mul_(dx).addcmul_(dy, dy).mul_(falloff).exp_().mul_(share).sum(-1)
    return (((dx * dx).addcmul(dy, dy) * falloff).exp() * share).sum(-1)
