"""What PyTorch's transforms need to know about an op: gradients of any order, batching, forward mode, export.

An op is reached in three ways, fastest first:

    plain eager calls            `call` goes straight to the kernel, recorded by an ``autograd.Function`` if need be
    autocast, compile, modes     the dispatcher, which comes to the kernel of its ``Autograd`` key
    ``torch.func`` transforms    the dispatcher, whose ``FuncTorchDynamicLayerFrontMode`` key comes before all others

Under ``torch.func`` an ``autograd.Function`` in its ``setup_context`` form stands for the op; PyTorch applies it once
for each level of nested transforms. In forward mode the op's reference runs, which PyTorch differentiates by itself;
linear ops map tangents as they map inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import TransformType, get_interpreter_stack
from torch.autograd import forward_ad
from torch.overrides import has_torch_function
from torch.utils import _pytree as pytree

# (op, size of the new dimension, where each input has it or None, inputs) to outputs with the new dimension in front.
BatchingRule = Callable[[Callable[..., Any], int, Sequence[int | None], Sequence[Any]], Any]


def clipped(x: Tensor, low: float, high: float) -> Tensor:
    """x within [low, high], with its gradient on both bounds, too: ``torch.clamp`` has 0 there from torch 2.14 on."""
    if not wants_derivative(x):
        return x.clamp(low, high)
    return torch.where((x < low) | (x > high), x.detach().clamp(low, high), x)


def pull_back(function: Callable[..., Any], points: tuple[Tensor, ...], grads: Any) -> tuple[Tensor, ...]:
    """The gradients of `function` at its inputs, given those of its outputs; differentiable in both, to any order."""
    return torch.func.vjp(function, *points)[1](grads)


def one_by_one(op: Callable[..., Any], size: int, dims: Sequence[int | None], inputs: Sequence[Any]) -> Any:
    """Batching rule of any op: a call for each entry."""
    entries = [
        op(*(x if dim is None else x.select(dim, i) for x, dim in zip(inputs, dims, strict=True))) for i in range(size)
    ]
    return pytree.tree_map(lambda *outputs: torch.stack(outputs), *entries)


def in_front(op: Callable[..., Any], size: int, dims: Sequence[int | None], inputs: Sequence[Any]) -> Any:
    """Batching rule of ops that take any leading dimensions."""
    return op(*with_batch_in_front(size, dims, inputs))


def folded(op: Callable[..., Any], size: int, dims: Sequence[int | None], inputs: Sequence[Any]) -> Any:
    """Batching rule of ops whose tensors all begin with a batch dimension: the new one becomes part of it."""
    merged = (x.flatten(0, 1) if isinstance(x, Tensor) else x for x in with_batch_in_front(size, dims, inputs))
    return pytree.tree_map(lambda y: y.unflatten(0, (size, y.shape[0] // size)), op(*merged))


def with_batch_in_front(size: int, dims: Sequence[int | None], inputs: Sequence[Any]) -> list[Any]:
    """Inputs whose tensors all have the new dimension, in front."""
    return [
        x if not isinstance(x, Tensor) else x.expand(size, *x.shape) if dim is None else x.movedim(dim, 0)
        for x, dim in zip(inputs, dims, strict=True)
    ]


def as_function(
    name: str,
    forward: Callable[..., Any],
    *,
    op: Callable[..., Any],
    setup_context: Callable[..., Any] | None = None,
    backward: Callable[..., Any] | None = None,
    jvp: Callable[..., Any] | None = None,
    batching: BatchingRule = one_by_one,
) -> type[torch.autograd.Function]:
    """An ``autograd.Function`` that works under every transform of ``torch.func``.

    Args:
        name: What errors call it.
        forward: Computes the outputs where nothing is recorded.
        op: What the batching rule calls, so that it is recorded.
        setup_context: Keeps for `backward` and `jvp` what they need.
        backward: Gradient rule; None for ops without a gradient.
        jvp: Maps tangents of inputs to those of outputs.
        batching: Rule for ``torch.vmap``.
    """

    def no_derivative(ctx: Any, *_: Any) -> Any:
        raise RuntimeError(f"{name} has no derivative: detach its inputs")

    def vmap(info: Any, in_dims: Sequence[Any], *inputs: Any) -> tuple[Any, int]:
        dims = [dim if isinstance(dim, int) else None for dim in in_dims]  # a list of numbers has a list of Nones
        return batching(op, info.batch_size, dims, inputs), 0

    members = {
        "forward": forward,
        "setup_context": setup_context or (lambda ctx, inputs, output: None),
        "backward": backward or no_derivative,
        "jvp": jvp or no_derivative,
        "vmap": vmap,
    }
    return type(name, (torch.autograd.Function,), {key: staticmethod(rule) for key, rule in members.items()})


def _thread_state() -> tuple[Any, Any]:
    """The dispatch keys this thread adds and leaves out: modes, autocast, functorch and inference mode change them."""
    return torch._C._dispatch_tls_local_include_set(), torch._C._dispatch_tls_local_exclude_set()


with ThreadPoolExecutor(1) as _fresh_thread:
    _PLAIN_STATE = _fresh_thread.submit(_thread_state).result()


def is_plain_eager() -> bool:
    """Whether nothing is traced, no mode is on, and this is not inference mode."""
    return not torch.compiler.is_compiling() and _thread_state() == _PLAIN_STATE


def is_exporting_to_onnx() -> bool:
    """Whether ``torch.onnx.export`` is at work, which knows PyTorch's operators but not ours."""
    return torch.compiler.is_exporting() and torch.onnx.is_in_onnx_export()


def is_transformed_by(*transforms: TransformType) -> bool:
    """Whether one of these ``torch.func`` transforms is at work, at any level; not asked while Dynamo traces."""
    if torch.compiler.is_dynamo_compiling():
        return False
    return any(level.key() in transforms for level in get_interpreter_stack() or ())


def is_batched(x: Tensor) -> bool:
    """Whether ``torch.vmap`` maps the tensor, so that its values are out of reach; not asked while Dynamo traces."""
    if torch.compiler.is_dynamo_compiling():
        return False
    while torch._C._functorch.is_functorch_wrapped_tensor(x):
        if torch._C._functorch.is_batchedtensor(x):
            return True
        x = torch._C._functorch.get_unwrapped(x)
    return False


def has_values(x: Tensor) -> bool:
    """Whether the values are there to be looked at without making a GPU wait."""
    return x.is_cpu and not torch.compiler.is_compiling() and not is_batched(x)


def wants_derivative(*inputs: Tensor) -> bool:
    """Whether a gradient of one of these is asked for, or one has a tangent in forward mode."""
    if torch.is_grad_enabled() and any(x.requires_grad for x in inputs):
        return True
    if torch.compiler.is_dynamo_compiling() or forward_ad._current_level < 0:
        return False
    return any(forward_ad.unpack_dual(x).tangent is not None for x in inputs)


def refuse_derivative(name: str, *inputs: Tensor) -> None:
    """Require that no derivative is asked of an op that gives none."""
    if wants_derivative(*inputs):
        raise ValueError(f"{name}: inputs must not require a gradient, which is not given; detach them")


def _is_recorded(inputs: tuple[Any, ...]) -> bool:
    return torch.is_grad_enabled() and torch._C._any_requires_grad(*inputs)


def register(
    library: torch.library.Library,
    name: str,
    op: Any,
    *,
    reference: Callable[..., Any],
    setup_context: Callable[..., Any] | None,
    backward: Callable[..., Any] | None,
    jvp: Callable[..., Any] | None,
    batching: BatchingRule,
) -> Callable[..., Any]:
    """Register an op's rules and return a callable for the op."""

    def below_autograd(*inputs: Any) -> Any:
        with torch._C._AutoDispatchBelowAutograd():
            return op(*inputs)

    function = as_function(
        f"pydlx::{name}",
        below_autograd,
        op=op,
        setup_context=setup_context,
        backward=backward,
        jvp=jvp,
        batching=batching,
    )

    def under_transforms(*inputs: Any) -> Any:
        # `functionalize` has no rule for an autograd.Function.
        if backward and not jvp and is_transformed_by(TransformType.Jvp, TransformType.Functionalize):
            return reference(*inputs)
        return function.apply(*inputs)

    library.impl(name, under_transforms, "FuncTorchDynamicLayerFrontMode")
    if backward is None or setup_context is None:
        return op
    in_forward_mode = function.apply if jvp else reference
    return _with_gradient(library, name, op, below_autograd, reference, in_forward_mode, setup_context, backward)


def _with_gradient(
    library: torch.library.Library,
    name: str,
    op: Any,
    below_autograd: Callable[..., Any],
    reference: Callable[..., Any],
    in_forward_mode: Callable[..., Any],
    setup_context: Callable[..., Any],
    backward: Callable[..., Any],
) -> Callable[..., Any]:
    """Register an op's gradient and return a callable for the op: dispatched, or in plain eager mode a short cut.

    ``torch.library.register_autograd`` registers the gradient at twice the cost, and raises under ``torch.func``; this
    is for ops without default arguments. In plain eager mode nothing above autograd in the dispatcher has anything to
    do, and to go through it to a rule in Python would cost more than the rule.
    """

    def forward(ctx: Any, *inputs_and_run: Any) -> Any:
        *inputs, run = inputs_and_run
        output = run(*inputs)
        setup_context(ctx, inputs, output)
        return output

    def gradients(ctx: Any, *grads: Any) -> Any:
        return (*backward(ctx, *grads), None)

    # Its name is what the autograd graph and the profiler show.
    members = {"forward": staticmethod(forward), "backward": staticmethod(gradients)}
    rule: Any = type(f"pydlx::{name}", (torch.autograd.Function,), members)

    def kernel(keyset: Any, *inputs: Any) -> Any:
        def redispatch(*inputs: Any) -> Any:
            with torch._C._AutoDispatchBelowAutograd():
                return op.redispatch(keyset & torch._C._after_autograd_keyset, *inputs)

        if forward_ad._current_level >= 0:
            return in_forward_mode(*inputs)
        return rule.apply(*inputs, redispatch) if _is_recorded(inputs) else redispatch(*inputs)

    def call(*inputs: Any) -> Any:
        # Keep the first test first: Dynamo folds it to True and skips the rest.
        if (
            torch.compiler.is_dynamo_compiling()
            or has_torch_function(inputs)
            or _thread_state() != _PLAIN_STATE
            or forward_ad._current_level >= 0
        ):
            return reference(*inputs) if is_exporting_to_onnx() else op(*inputs)
        return rule.apply(*inputs, below_autograd) if _is_recorded(inputs) else below_autograd(*inputs)

    library.impl(name, kernel, "Autograd", with_keyset=True)
    return call
