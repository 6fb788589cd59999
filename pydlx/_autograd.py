"""Rules that PyTorch's transforms need for each op: gradients of any order, batching, forward mode and export.

A call reaches an op's kernel in one of three ways, fastest first:

    plain eager calls            `call` runs the kernel itself, inside an ``autograd.Function`` if a gradient is needed
    autocast, compile, modes     the dispatcher runs the kernel registered for its ``Autograd`` key
    ``torch.func`` transforms    the dispatcher runs the kernel of ``FuncTorchDynamicLayerFrontMode``, its highest key

Under ``torch.func`` the op is replaced by an ``autograd.Function`` in its ``setup_context`` form, which PyTorch applies
once per level of nested transforms. Forward mode runs the op's reference, which PyTorch can differentiate; a linear op
instead applies itself to the tangents.
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

# Takes the op, the size of the batch dimension, that dimension's index in each input (None where it has none) and the
# inputs; returns the outputs with the batch dimension first.
BatchingRule = Callable[[Callable[..., Any], int, Sequence[int | None], Sequence[Any]], Any]


def clipped(x: Tensor, low: float, high: float) -> Tensor:
    """Clamp x to [low, high] and keep the gradient at both bounds, where ``torch.clamp`` has 0 from torch 2.14 on."""
    if not wants_derivative(x):
        return x.clamp(low, high)
    return torch.where((x < low) | (x > high), x.detach().clamp(low, high), x)


def pull_back(function: Callable[..., Any], points: tuple[Tensor, ...], grads: Any) -> tuple[Tensor, ...]:
    """Vector-Jacobian product of `function` at `points`; differentiable in points and grads, to any order."""
    return torch.func.vjp(function, *points)[1](grads)


def one_by_one(op: Callable[..., Any], size: int, dims: Sequence[int | None], inputs: Sequence[Any]) -> Any:
    """Batching rule for any op: call it once per batch entry and stack the outputs."""
    entries = [
        op(*(x if dim is None else x.select(dim, i) for x, dim in zip(inputs, dims, strict=True))) for i in range(size)
    ]
    return pytree.tree_map(lambda *outputs: torch.stack(outputs), *entries)


def in_front(op: Callable[..., Any], size: int, dims: Sequence[int | None], inputs: Sequence[Any]) -> Any:
    """Batching rule for ops that accept any number of leading dimensions: move the batch dimension first."""
    return op(*with_batch_in_front(size, dims, inputs))


def folded(op: Callable[..., Any], size: int, dims: Sequence[int | None], inputs: Sequence[Any]) -> Any:
    """Batching rule for ops whose tensors all begin with a batch dimension: flatten the new dimension into it."""
    merged = (x.flatten(0, 1) if isinstance(x, Tensor) else x for x in with_batch_in_front(size, dims, inputs))
    return pytree.tree_map(lambda y: y.unflatten(0, (size, y.shape[0] // size)), op(*merged))


def with_batch_in_front(size: int, dims: Sequence[int | None], inputs: Sequence[Any]) -> list[Any]:
    """Move the batch dimension of every tensor first; expand the tensors that lack it."""
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
    """Build an ``autograd.Function`` that works under every transform of ``torch.func``.

    Args:
        name: Name used in error messages.
        forward: Computes the outputs without recording anything for autograd.
        op: The recorded op, which the batching rule calls.
        setup_context: Saves what `backward` and `jvp` need.
        backward: Gradient rule; None for ops without a gradient.
        jvp: Maps tangents of the inputs to tangents of the outputs.
        batching: Rule for ``torch.vmap``.
    """

    def no_derivative(ctx: Any, *_: Any) -> Any:
        raise RuntimeError(f"{name} has no derivative: detach its inputs")

    def vmap(info: Any, in_dims: Sequence[Any], *inputs: Any) -> tuple[Any, int]:
        dims = [dim if isinstance(dim, int) else None for dim in in_dims]  # an input that is a list has a list of Nones
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
    """This thread's included and excluded dispatch keys; modes, autocast, functorch and inference mode change them."""
    return torch._C._dispatch_tls_local_include_set(), torch._C._dispatch_tls_local_exclude_set()


with ThreadPoolExecutor(1) as _fresh_thread:
    _PLAIN_STATE = _fresh_thread.submit(_thread_state).result()


def is_plain_eager() -> bool:
    """Whether no tracing, mode, autocast, functorch transform or inference mode is active."""
    return not torch.compiler.is_compiling() and _thread_state() == _PLAIN_STATE


def is_exporting_to_onnx() -> bool:
    """Whether ``torch.onnx.export`` is running; it can translate PyTorch's operators but not pydlx's."""
    return torch.compiler.is_exporting() and torch.onnx.is_in_onnx_export()


def is_transformed_by(*transforms: TransformType) -> bool:
    """Whether one of these ``torch.func`` transforms is active at any level; always False while Dynamo traces."""
    if torch.compiler.is_dynamo_compiling():
        return False
    return any(level.key() in transforms for level in get_interpreter_stack() or ())


def is_batched(x: Tensor) -> bool:
    """Whether ``torch.vmap`` batches x, so its values cannot be read; always False while Dynamo traces."""
    if torch.compiler.is_dynamo_compiling():
        return False
    while torch._C._functorch.is_functorch_wrapped_tensor(x):
        if torch._C._functorch.is_batchedtensor(x):
            return True
        x = torch._C._functorch.get_unwrapped(x)
    return False


def has_values(x: Tensor) -> bool:
    """Whether x's values can be read, without synchronising with a GPU."""
    return x.is_cpu and not torch.compiler.is_compiling() and not is_batched(x)


def wants_derivative(*inputs: Tensor) -> bool:
    """Whether one of the inputs requires a gradient, or has a tangent in forward mode."""
    if torch.is_grad_enabled() and any(x.requires_grad for x in inputs):
        return True
    if torch.compiler.is_dynamo_compiling() or forward_ad._current_level < 0:
        return False
    return any(forward_ad.unpack_dual(x).tangent is not None for x in inputs)


def refuse_derivative(name: str, *inputs: Tensor) -> None:
    """Require that no input of an op without derivatives requires one."""
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
        # `functionalize` cannot handle an autograd.Function.
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
    """Register an op's gradient and return a callable for the op, which skips the dispatcher in plain eager mode.

    It replaces ``torch.library.register_autograd``, which makes calls twice as slow and raises under ``torch.func``.
    Ops must have no default arguments. In plain eager mode no dispatch key above autograd has work to do, and going
    through the dispatcher to a Python rule would cost more than the rule itself.
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
