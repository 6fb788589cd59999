"""How a signal runs back through each operation of a network, as rules for the nodes of PyTorch's autograd graph.

An operation that is linear in the signal passes it through its transpose, which is its backward pass. The others:

    rectifiers (ReLU, ReLU6, clamp at 0, SiLU, GELU, Hardswish, Mish)    a ReLU of the signal
    max pooling, maxima, corner pooling    to the elements that were the maxima (the switches); also their backward pass
    SoftPool                               the pooling weights, as soft switches
    gates (sigmoid, softmax)               constants: what they multiply is scaled, and no signal runs through them
    normalisation                          scales; also by statistics of the image itself, as if they were constants

SiLU, GELU, Hardswish and Mish are ReLUs with a smooth bend: the maps that they return are positive but for a dip of at
most 0.4, so that the paper's reason for rectifying, that features are positive, holds for them nearly. It does not for
LeakyReLU, ELU or tanh, which are refused, as is everything else that is not linear and not named here.

Nodes stand for what was computed, whichever way it was written: ``nn.ReLU``, ``F.relu``, ``x.relu_()`` and
``torch.relu`` are all ``ReluBackward0``, and a module that runs twice has two nodes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

from pydlx.nn import SoftPool2d
from pydlx.ops import soft_pool2d

# Takes a node's gradients of inputs and of outputs, returns those of inputs that stand in their place.
Hook = Callable[[Sequence[Tensor | None], Sequence[Tensor | None]], Any]

# Linear, or linear once their switches are known: their backward pass is the transpose.
_LINEAR = frozenset(
    (
        *("Add", "Sub", "Neg", "Mul", "Div", "Addmm", "Mm", "Bmm", "Baddbmm", "Mv", "Dot", "Sum", "Mean", "Cumsum"),
        *("Convolution", "AvgPool2D", "AdaptiveAvgPool2D", "MaxPool2DWithIndices", "AdaptiveMaxPool2D"),
        *(
            "Max",
            "Amax",
            "Cummax",
            "Topk",
            "Sort",
            "Where",
            "MaskedFill",
            "pydlx::corner_pool",
            "pydlx::corner_pool_pair",
            "_SoftSwitches",
        ),
        *("UpsampleNearest2D", "UpsampleNearestExact2D", "UpsampleBilinear2D", "UpsampleBicubic2D"),
        *(
            "ConstantPadNd",
            "ReflectionPad2D",
            "ReplicationPad2D",
            "PixelShuffle",
            "PixelUnshuffle",
            "NativeChannelShuffle",
        ),
        *(
            "View",
            "UnsafeView",
            "ReshapeAlias",
            "Alias",
            "AsStrided",
            "Expand",
            "Repeat",
            "Permute",
            "Transpose",
            "T",
            "Squeeze",
            "Unsqueeze",
        ),
        *(
            "Cat",
            "Stack",
            "Split",
            "SplitWithSizes",
            "Unbind",
            "Select",
            "Slice",
            "Index",
            "IndexSelect",
            "Gather",
            "Roll",
            "Flip",
            "Clone",
            "ToCopy",
        ),
    )
)
# Linear in each of two inputs, and so not in both at once.
_BILINEAR = frozenset(("Mul", "Addmm", "Mm", "Bmm", "Baddbmm", "Mv", "Dot", "Convolution"))
_GATES = frozenset(("Sigmoid", "Hardsigmoid", "Softmax", "SafeSoftmax"))
_SMOOTH_RECTIFIERS = frozenset(("Silu", "Gelu", "Hardswish", "Mish"))


def kind(node: Node) -> str:
    """What a node computes: "Relu" of ``ReluBackward0``."""
    return re.sub(r"^torch::autograd::|Backward\d*$", "", node.name())


def path(output: Tensor, start: Node) -> list[Node]:
    """The nodes through which signal runs from an output back to `start`, each after all that pass signal to it."""
    if output.grad_fn is None:
        return []
    reaches: dict[Node, bool] = {}
    order: list[Node] = []
    waiting = [output.grad_fn]
    while waiting:
        node = waiting[-1]
        before = [] if node is start or kind(node) in _GATES else _inputs(node)
        unknown = [other for other in before if other not in reaches]
        if unknown:
            waiting += unknown
            continue
        waiting.pop()
        if node not in reaches:
            reaches[node] = node is start or any(reaches[other] for other in before)
            order += [node] if reaches[node] else []
    return order[::-1]


def _inputs(node: Node) -> list[Node]:
    return [other for other, _ in node.next_functions if other is not None]


def follow_rules(nodes: Sequence[Node]) -> None:
    """Make the backward pass through the nodes of a path that of the deconvnet.

    Raises:
        ValueError: If there is no rule for one of them.
    """
    on_path = set(nodes)
    for node in nodes[:-1]:
        hook = _rule(node, [other in on_path for other, _ in node.next_functions])
        if hook is not None:
            node.register_hook(hook)
        for gate in _inputs(node):
            if kind(gate) in _GATES:
                gate.register_hook(_nothing)


def _rule(node: Node, carries: Sequence[bool]) -> Hook | None:
    """A node's hook; None if its own backward pass is right. `carries` says which inputs lead to the image."""
    name = kind(node)
    if name in _SMOOTH_RECTIFIERS or name == "Relu" or _lower_bound(node, name) == 0:
        return _rectified
    if name in _NORMALISATIONS:
        return _NORMALISATIONS[name](node)
    if name == "Maximum" and all(carries):
        return None
    if name not in _LINEAR:
        raise ValueError(f"deconvnet: there must be a rule for each operation on the way to the layer, got {name}")
    if (name in _BILINEAR and sum(carries) > 1) or (name == "Div" and len(carries) > 1 and carries[1]):
        what = "a quotient" if name == "Div" else "a product"
        raise ValueError(f"deconvnet: one factor at most may depend on the image, got {what} of two that do ({name})")
    return None


def _lower_bound(node: Any, name: str) -> Any:
    """Where a clamp cuts off below, and only then or where it cuts off above, too."""
    if name == "Hardtanh":
        return node._saved_min_val
    if name in ("Clamp", "ClampMin"):
        bound = getattr(node, "_saved_min", None)
        return bound if isinstance(bound, (int, float)) else None
    return None


def _rectified(grads: Sequence[Tensor | None], signals: Sequence[Tensor | None]) -> Any:
    (signal,) = signals
    return None if signal is None else (signal.relu(), *grads[1:])


def _nothing(grads: Sequence[Tensor | None], signals: Sequence[Tensor | None]) -> Any:
    return tuple(None if grad is None else torch.zeros_like(grad) for grad in grads)


def _scaled(scale: Tensor) -> Hook:
    def hook(grads: Sequence[Tensor | None], signals: Sequence[Tensor | None]) -> Any:
        signal = signals[0]
        return None if signal is None else ((signal * scale).to(signal.dtype), *grads[1:])

    return hook


def _batch_norm(node: Any) -> Hook | None:
    """By the running statistics it is linear as it is."""
    return _scaled(_over_channels(node._saved_result2, node)) if node._saved_training else None


def _group_norm(node: Any) -> Hook:
    each = node._saved_result2.repeat_interleave(node._saved_C // node._saved_group, 1)
    return _scaled(_over_channels(each, node))


def _layer_norm(node: Any) -> Hook:
    weight = node._saved_weight
    return _scaled(node._saved_result2 if weight is None else node._saved_result2 * weight)


def _over_channels(each: Tensor, node: Any) -> Tensor:
    """A factor for each channel, (C,) or (N, C), times the layer's weight, as wide as the layer's input."""
    each = each if node._saved_weight is None else each * node._saved_weight
    return each.reshape(-1, each.shape[-1], *[1] * (node._saved_input.dim() - 2))


_NORMALISATIONS: dict[str, Callable[[Node], Hook | None]] = {
    "NativeBatchNorm": _batch_norm,
    "NativeGroupNorm": _group_norm,
    "NativeLayerNorm": _layer_norm,
}


class _SoftSwitches(torch.autograd.Function):
    """What a SoftPool2d returned, with its pooling weights as the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, pooled: Tensor, layer: SoftPool2d) -> Tensor:
        ctx.layer = layer
        ctx.save_for_backward(x)
        return pooled.clone()

    @staticmethod
    def backward(ctx: Any, signal: Tensor) -> Any:
        layer, (x,) = ctx.layer, ctx.saved_tensors
        window = (layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.ceil_mode)
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            (grad,) = torch.autograd.grad(soft_pool2d(x, *window, gradient="paper"), x, signal)
        return grad, None, None


@contextmanager
def soft_switches(model: nn.Module) -> Iterator[None]:
    """While it is on, the SoftPool2d layers of a network have their pooling weights as their backward pass."""

    def after(layer: SoftPool2d, inputs: tuple[Tensor, ...], pooled: Tensor) -> Tensor:
        return _SoftSwitches.apply(*inputs, pooled.detach(), layer) if pooled.requires_grad else pooled

    hooks = [layer.register_forward_hook(after) for layer in model.modules() if isinstance(layer, SoftPool2d)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
