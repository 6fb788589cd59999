"""A recurrent network that attends to a memory at every step, as in Match-LSTM and R-Net.

With x_t the inputs, m_j the memory and h_t the state, which starts from zeros:

    s_j = v . tanh(W_m m_j + W_x x_t + W_h h_{t-1} + b)     additive scores; the term with W_h is optional
    a   = softmax of s over the valid j                      c = sum_j a_j m_j
    z   = [x_t; c],  or with a gate  g * [x_t; c],  g = sigmoid(W_g [x_t; c])
    h_t = cell(z, h_{t-1})                                   torch's GRU or LSTM cell

With W_h and without a gate, this is equations 2 to 4 of Wang and Jiang, Machine Comprehension Using Match-LSTM and
Answer Pointer (arXiv 1608.07905). With a GRU cell and a gate it is R-Net (Wang et al., Gated Self-Matching Networks,
ACL 2017): equations 4 to 6 with W_h, and equation 8 without W_h and with the passage as its own memory.

Matrix products that do not depend on the state are computed for all steps at once, before the recurrence. The backward
pass recomputes the (n, m, A) tanh values instead of saving them.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pydlx import _autograd, _native
from pydlx._checks import check_bool, check_device, check_flag, check_floating, check_integers, check_one_of

_NAME = "attention_rnn"
CELLS = ("gru", "lstm")


def attention_rnn(
    inputs: Tensor,
    memory: Tensor,
    *,
    memory_weight: Tensor,
    input_weight: Tensor,
    bias: Tensor,
    score: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
    state_weight: Tensor | None = None,
    gate_weight: Tensor | None = None,
    cell: str = "gru",
    lengths: Tensor | None = None,
    memory_mask: Tensor | None = None,
    reverse: bool = False,
) -> Tensor:
    """Run a recurrent network that attends to a memory at every step, as in Match-LSTM and R-Net.

    At each step, with the input x_t, the memory m_j and the state h_{t-1}, which starts from zeros::

        s_j = v . tanh(W_m m_j + W_x x_t + W_h h_{t-1} + b)     a = softmax of s over the valid j
        z   = [x_t; sum_j a_j m_j],  with a gate  sigmoid(W_g z) * z
        h_t = cell(z, h_{t-1})

    On CUDA the call does not wait for the device. G is 3 for a GRU and 4 for an LSTM; their weights are laid out as in
    ``torch.nn.GRUCell`` and ``torch.nn.LSTMCell``.

    Args:
        inputs: x, (B, n, I), float64, float32, float16 or bfloat16; for 16-bit dtypes the recurrence runs in float32.
        memory: m, (B, m, D) with m at least 1, in the dtype of inputs, as are the weights.
        memory_weight: W_m, (A, D).
        input_weight: W_x, (A, I).
        bias: b, (A,).
        score: v, (A,).
        weight_ih: The cell's weight on z, (G H, I + D).
        weight_hh: The cell's weight on the state, (G H, H).
        bias_ih: (G H,).
        bias_hh: (G H,).
        state_weight: W_h, (A, H); None for scores that do not depend on the state.
        gate_weight: W_g, (I + D, I + D); None for no gate.
        cell: ``"gru"`` or ``"lstm"``.
        lengths: (B,), integers from 0 to n: the first ``lengths[b]`` steps of a sequence are valid, the others are
            padding and never read. None means that all are valid.
        memory_mask: (B, m), bool: True where the memory is valid, in any pattern. None means all of it.
        reverse: Read each sequence from its own last step to its first.

    Returns:
        h, (B, n, H): at each step the state after reading it, zeros in the padding.

    Raises:
        TypeError: If inputs, memory or a weight is not floating-point, lengths not integer or the mask not bool.
        ValueError: If a shape, dtype or option does not fit; or, on the CPU, if a length is not from 0 to n or an
            example has no valid memory. Where values cannot be read (on a GPU without waiting, under ``torch.compile``
            and ``torch.export``), lengths are clamped instead and the context of an empty memory is 0.
    """
    check_one_of(_NAME, "cell", cell, CELLS)
    check_flag(_NAME, "reverse", reverse)
    _check_sequences(inputs, memory)
    weights: dict[str, Any] = {
        "memory_weight": memory_weight,
        "input_weight": input_weight,
        "bias": bias,
        "score": score,
        "weight_ih": weight_ih,
        "weight_hh": weight_hh,
        "bias_ih": bias_ih,
        "bias_hh": bias_hh,
        "state_weight": state_weight,
        "gate_weight": gate_weight,
    }
    _check_weights(inputs, memory, weights, cell)
    if lengths is not None:
        _check_lengths(inputs, lengths)
        lengths = lengths.to(inputs.device, torch.int64, non_blocking=True)
        steps = torch.arange(inputs.shape[1], device=inputs.device)
        inputs = torch.where((steps < lengths.unsqueeze(1)).unsqueeze(2), inputs, 0)
    if memory_mask is not None:
        _check_mask(memory, memory_mask)
        memory = torch.where(memory_mask.unsqueeze(2), memory, 0)
    operands = _hoisted(inputs, memory, weights)
    device = inputs.device.type
    full = torch.float32 if inputs.dtype in (torch.float16, torch.bfloat16) else inputs.dtype
    operands = [x if x is None else x.to(full) for x in operands]
    operands += [lengths, memory_mask, cell == "lstm", reverse]
    run = _op if _native.use_native(inputs, _NAME) else attention_rnn_reference
    with torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else nullcontext():
        y, _, _ = run(*operands)
    return y.to(inputs.dtype)


def _check_sequences(inputs: Tensor, memory: Tensor) -> None:
    for argument, x, shape in (("inputs", inputs, "(B, n, I)"), ("memory", memory, "(B, m, D)")):
        check_floating(_NAME, argument, x)
        if x.dim() != 3:
            raise ValueError(f"{_NAME}: {argument} must have shape {shape}, got {tuple(x.shape)}")
    if memory.shape[0] != inputs.shape[0]:
        raise ValueError(f"{_NAME}: memory must have the batch of inputs, {inputs.shape[0]}, got {memory.shape[0]}")
    if memory.shape[1] == 0:
        raise ValueError(f"{_NAME}: memory must have at least one row, got shape {tuple(memory.shape)}")


def _check_weights(inputs: Tensor, memory: Tensor, weights: dict[str, Any], cell: str) -> None:
    given = {name: x for name, x in weights.items() if x is not None or name not in ("state_weight", "gate_weight")}
    for name, weight in given.items():
        check_floating(_NAME, name, weight)
    score, weight_hh = given["score"], given["weight_hh"]
    if score.dim() != 1 or score.shape[0] == 0:
        raise ValueError(f"{_NAME}: score must have shape (A,), got {tuple(score.shape)}")
    if weight_hh.dim() != 2 or weight_hh.shape[1] == 0:
        raise ValueError(f"{_NAME}: weight_hh must have shape (G H, H), got {tuple(weight_hh.shape)}")
    attention, hidden = score.shape[0], weight_hh.shape[1]
    joined, gates = inputs.shape[2] + memory.shape[2], (4 if cell == "lstm" else 3) * hidden
    shapes = {
        "memory_weight": (attention, memory.shape[2]),
        "input_weight": (attention, inputs.shape[2]),
        "bias": (attention,),
        "score": (attention,),
        "weight_ih": (gates, joined),
        "weight_hh": (gates, hidden),
        "bias_ih": (gates,),
        "bias_hh": (gates,),
        "state_weight": (attention, hidden),
        "gate_weight": (joined, joined),
    }
    for name, x in {"memory": memory, **given}.items():
        shape = shapes.get(name, tuple(x.shape))
        if tuple(x.shape) != shape:
            raise ValueError(f"{_NAME}: {name} must have shape {shape}, got {tuple(x.shape)}")
        if x.dtype != inputs.dtype and not torch.is_autocast_enabled(inputs.device.type):
            raise ValueError(f"{_NAME}: {name} must have the dtype of inputs, {inputs.dtype}, got {x.dtype}")
        check_device(_NAME, name, x, "inputs", inputs)


def _check_lengths(inputs: Tensor, lengths: Tensor) -> None:
    check_integers(_NAME, "lengths", lengths)
    if not lengths.is_cpu:
        check_device(_NAME, "lengths", lengths, "inputs", inputs)
    if lengths.shape != inputs.shape[:1]:
        raise ValueError(f"{_NAME}: lengths must have shape ({inputs.shape[0]},), got {tuple(lengths.shape)}")
    if not _autograd.has_values(lengths):
        return
    bad = [(b, length) for b, length in enumerate(lengths.tolist()) if not 0 <= length <= inputs.shape[1]]
    if bad:
        raise ValueError(
            f"{_NAME}: lengths must be from 0 to {inputs.shape[1]}, got {bad[0][1]} for sequence {bad[0][0]}"
        )


def _check_mask(memory: Tensor, mask: Tensor) -> None:
    check_bool(_NAME, "memory_mask", mask)
    check_device(_NAME, "memory_mask", mask, "memory", memory)
    if mask.shape != memory.shape[:2]:
        raise ValueError(f"{_NAME}: memory_mask must have shape {tuple(memory.shape[:2])}, got {tuple(mask.shape)}")
    if _autograd.has_values(mask) and not (filled := mask.any(1)).all():
        bad = int(filled.int().argmin())
        raise ValueError(f"{_NAME}: memory_mask must leave every example some memory, got none for example {bad}")


def _hoisted(inputs: Tensor, memory: Tensor, weights: dict[str, Any]) -> list[Any]:
    """Compute the recurrence's operands: all matrix products that do not depend on the state.

    Because W c = sum_j a_j (W m_j), a weight on the context can be applied to the memory in advance. Without a gate
    that is always cheaper; with a gate, which needs c as well, only for short memories.
    """
    weight_ih, bias_ih, gate_weight = (weights[name] for name in ("weight_ih", "bias_ih", "gate_weight"))
    attention = [
        F.linear(inputs, weights["input_weight"], weights["bias"]),
        F.linear(memory, weights["memory_weight"]),
        weights["score"],
        weights["state_weight"],
    ]
    cell = [weights["weight_hh"], weights["bias_hh"]]
    on_inputs, on_context = (weight_ih if gate_weight is None else gate_weight).tensor_split([inputs.shape[2]], 1)
    if gate_weight is None:
        read = F.linear(inputs, on_inputs, bias_ih)
        return [*attention, read, F.linear(memory, on_context), None, None, None, None, None, *cell]
    gate_inputs = F.linear(inputs, on_inputs)
    is_short = 2 * memory.shape[1] <= memory.shape[2]
    gate = [gate_inputs, F.linear(memory, on_context), None] if is_short else [gate_inputs, None, on_context]
    return [*attention, inputs, memory, *gate, weight_ih, bias_ih, *cell]


def attention_rnn_reference(
    queries: Tensor,
    keys: Tensor,
    score: Tensor,
    query_weight: Tensor | None,
    inputs: Tensor,
    values: Tensor,
    gate_inputs: Tensor | None,
    gate_values: Tensor | None,
    gate_weight: Tensor | None,
    weight_ih: Tensor | None,
    bias_ih: Tensor | None,
    weight_hh: Tensor,
    bias_hh: Tensor,
    lengths: Tensor | None,
    mask: Tensor | None,
    lstm: bool,
    reverse: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """The definition of the recurrence, on the operands that :func:`_hoisted` computes.

    Args:
        queries: W_x x + b, (B, n, A).
        keys: W_m m, (B, m, A).
        score: v, (A,).
        query_weight: W_h, (A, H), or None.
        inputs: With a gate x, (B, n, I); without, the term of the cell's gates from x, (B, n, G H).
        values: With a gate m, (B, m, D); without, the term of the cell's gates from m, (B, m, G H).
        gate_inputs: The gate's term from x, (B, n, I + D); None without a gate, as are the next four.
        gate_values: The gate's term from m, (B, m, I + D), or None if gate_weight is given.
        gate_weight: The gate's weight on the context, (I + D, D), or None if gate_values is given.
        weight_ih: (G H, I + D).
        bias_ih: (G H,).
        weight_hh: (G H, H).
        bias_hh: (G H,).
        lengths: (B,), or None.
        mask: (B, m), or None.
        lstm: Whether the cell is an LSTM.
        reverse: Whether sequences are read from their last step to their first.

    Returns:
        y, (B, n, H); a, (B, n, m); and the values saved for the backward pass, concatenated into (B, n, K). All are 0
        in the padding. The saved values are r, z, n and W_hn h + b_hn for a GRU, or i, f, g, o and the new cell state
        for an LSTM; then the query including its W_h term; and with a gate g and c.
    """
    batch, count = inputs.shape[:2]
    if lengths is None:
        lengths = torch.full((batch,), count, device=inputs.device)
    lengths = lengths.clamp(0, count).unsqueeze(1)
    steps = torch.arange(count, device=inputs.device)
    alive = steps < lengths  # (B, n)
    order = torch.where(alive & torch.tensor(reverse, device=alive.device), lengths - 1 - steps, steps).unsqueeze(2)

    def in_order(x: Tensor) -> Tensor:
        """Put the steps into reading order, or back: the permutation is its own inverse."""
        return torch.where(alive.unsqueeze(2), x.gather(1, order.expand(x.shape)), 0)

    queries, inputs = in_order(queries), in_order(inputs)
    gate_inputs = None if gate_inputs is None else in_order(gate_inputs)
    if mask is not None:
        keys, values = (torch.where(mask.unsqueeze(2), x, 0) for x in (keys, values))
        gate_values = None if gate_values is None else torch.where(mask.unsqueeze(2), gate_values, 0)
    hidden = queries.new_zeros(batch, weight_hh.shape[1])
    state = hidden  # the LSTM's cell state
    outputs, weights, kept = [], [], []
    for t in range(count):
        query = queries[:, t] if query_weight is None else queries[:, t] + F.linear(hidden, query_weight)
        a = _softmax(torch.tanh(keys + query.unsqueeze(1)) @ score, mask)
        context = (a.unsqueeze(1) @ values).squeeze(1)
        keep = [query]
        if gate_inputs is None:
            read = inputs[:, t] + context
        else:
            assert weight_ih is not None
            if gate_values is None:
                assert gate_weight is not None
                on_context = F.linear(context, gate_weight)
            else:
                on_context = (a.unsqueeze(1) @ gate_values).squeeze(1)
            gate = torch.sigmoid(gate_inputs[:, t] + on_context)
            read = F.linear(gate * torch.cat([inputs[:, t], context], 1), weight_ih, bias_ih)
            keep += [gate, context]
        recurrent = F.linear(hidden, weight_hh, bias_hh)
        hidden, state, parts = _lstm(read + recurrent, state) if lstm else _gru(read, recurrent, hidden)
        outputs.append(hidden)
        weights.append(a)
        kept.append(torch.cat([*parts, *keep], 1))
    if not outputs:
        return _fake(queries, keys, *(None,) * 3, values, gate_inputs, *(None,) * 4, weight_hh, *(None,) * 3, lstm)
    return in_order(torch.stack(outputs, 1)), in_order(torch.stack(weights, 1)), in_order(torch.stack(kept, 1))


def _softmax(scores: Tensor, mask: Tensor | None) -> Tensor:
    """Softmax over the valid scores; zeros where none is valid."""
    if mask is None:
        return scores.softmax(1)
    filled = mask | ~mask.any(1, keepdim=True)
    return torch.where(mask, torch.where(filled, scores, -torch.inf).softmax(1), 0)


def _gru(read: Tensor, recurrent: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
    read_r, read_z, read_n = read.chunk(3, 1)
    r_part, z_part, n_part = recurrent.chunk(3, 1)
    r, z = torch.sigmoid(read_r + r_part), torch.sigmoid(read_z + z_part)
    n = torch.tanh(read_n + r * n_part)
    return n + z * (hidden - n), hidden, [r, z, n, n_part]


def _lstm(gates: Tensor, state: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
    i, f, g, o = gates.chunk(4, 1)
    i, f, g, o = torch.sigmoid(i), torch.sigmoid(f), torch.tanh(g), torch.sigmoid(o)
    state = f * state + i * g
    return o * torch.tanh(state), state, [i, f, g, o, state]


# The op's first 13 arguments are the differentiable operands; these of them are weights, without a batch dimension.
_OPERANDS = 13
_WEIGHTS = (2, 3, 8, 9, 10, 11, 12)


def _kept_width(inputs: Sequence[Any]) -> int:
    """K, the width of the saved values."""
    queries, values, gate_inputs, weight_hh, lstm = inputs[0], inputs[5], inputs[6], inputs[11], inputs[15]
    width = (5 if lstm else 4) * weight_hh.shape[1] + queries.shape[2]
    return width if gate_inputs is None else width + gate_inputs.shape[2] + values.shape[2]


def _fake(*inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
    queries, keys, weight_hh = inputs[0], inputs[1], inputs[11]
    batch, steps = queries.shape[:2]
    widths = weight_hh.shape[1], keys.shape[1], _kept_width(inputs)
    y, attention, kept = (queries.new_empty(batch, steps, width) for width in widths)
    return y, attention, kept


def _fake_backward(grad: Tensor, y: Tensor, attention: Tensor, kept: Tensor, *inputs: Any) -> tuple[Tensor, ...]:
    queries, keys, gate_inputs = inputs[0], inputs[1], inputs[6]
    batch, steps, width = queries.shape
    joined = 0 if gate_inputs is None else gate_inputs.shape[2]
    by_step = queries.new_empty(batch, steps, 4 * y.shape[2] + width + 2 * joined)
    return by_step, torch.empty_like(keys), queries.new_empty(batch, width)


def _no_reference(*inputs: Any) -> Any:
    raise NotImplementedError("_attention_rnn_backward: there is no reference; the gradient is that of attention_rnn's")


def _gradient(grad: Tensor, y: Tensor, attention: Tensor, kept: Tensor, *inputs: Any) -> tuple[Tensor, ...]:
    """The gradients of all operands that are not None.

    The kernel goes back through time; the weights' gradients are then matrix products over all steps at once.
    """
    by_step, d_keys, d_score = _backward_op(grad, y, attention, kept, *inputs)
    queries, x, values, gate_inputs, gate_weight = inputs[0], inputs[4], inputs[5], inputs[6], inputs[8]
    lstm, reverse = inputs[15:17]
    hidden, width, joined = y.shape[2], queries.shape[2], 0 if gate_inputs is None else gate_inputs.shape[2]
    d_parts, d_query, d_gate, d_joined = by_step.split([4 * hidden, width, joined, joined], 2)
    d_read = d_parts if lstm else d_parts[..., : 3 * hidden]
    before = torch.zeros_like(y)  # h_{t-1} of every step
    if reverse:
        before[:, :-1] = y[:, 1:]
    else:
        before[:, 1:] = y[:, :-1]

    def over_steps(d: Tensor, other: Tensor) -> Tensor:
        return d.flatten(0, 1).T @ other.flatten(0, 1)

    d_recurrent, d_query_weight = over_steps(by_step[..., : 4 * hidden + width], before).split([4 * hidden, width])
    d_bias = d_parts.sum((0, 1))
    d_bias_ih = d_bias if lstm else d_bias[: 3 * hidden]
    if not lstm:  # by_step holds d of r, z, n and, last, of n's recurrent part, which the weights want in n's place
        d_recurrent, d_bias = (torch.cat([d[: 2 * hidden], d[3 * hidden :]]) for d in (d_recurrent, d_bias))
    grads = [d_query, d_keys, d_score.sum(0), d_query_weight]
    if gate_inputs is None:
        grads += [d_read, attention.mT @ d_read, None, None, None, None, None]
    else:
        size = values.shape[2]
        gate, context = kept[..., -joined - size :].split([joined, size], 2)
        d_x, d_context = d_joined.split([joined - size, size], 2)
        d_gate_values = attention.mT @ d_gate if gate_weight is None else None
        d_gate_weight = None if gate_weight is None else over_steps(d_gate, context)
        d_weight_ih = over_steps(d_read, gate * torch.cat([x, context], 2))
        grads += [d_x, attention.mT @ d_context, d_gate, d_gate_values, d_gate_weight, d_weight_ih, d_bias_ih]
    grads += [d_recurrent, d_bias]
    return tuple(d for d, operand in zip(grads, inputs, strict=False) if operand is not None)


def _reference_gradient(grad: Tensor, *inputs: Any) -> tuple[Tensor, ...]:
    """The same gradients by differentiating the reference; differentiable in grad and the operands."""
    tensors, rest = inputs[:_OPERANDS], inputs[_OPERANDS:]
    given = tuple(x for x in tensors if x is not None)

    def output(*points: Tensor) -> Tensor:
        left = iter(points)
        operands: list[Any] = [None if x is None else next(left) for x in tensors]
        return attention_rnn_reference(*operands, *rest)[0]

    return _autograd.pull_back(output, given, grad)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.mark_non_differentiable(output[1], output[2])
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*output, *inputs[: _OPERANDS + 2])
    ctx.options = inputs[_OPERANDS + 2 :]


def _backward(ctx: Any, grad: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:
    if grad is None:
        return (None,) * (_OPERANDS + 4)
    saved = ctx.saved_tensors  # read once: under checkpointing a second read fails
    operands = saved[3:]
    grads = iter(_Gradient.apply(grad, *saved, *ctx.options))
    return (*(None if x is None else next(grads) for x in operands[:_OPERANDS]), None, None, None, None)


def _setup_double(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(inputs[0], *inputs[4:-2])
    ctx.options = inputs[-2:]


def _double_backward(ctx: Any, *v: Tensor) -> tuple[Tensor | None, ...]:
    """Higher derivatives are rare, so they come from the reference."""
    grad, *inputs = ctx.saved_tensors
    tensors, rest = inputs[:_OPERANDS], (*inputs[_OPERANDS:], *ctx.options)
    given = tuple(x for x in tensors if x is not None)

    def gradient(grad: Tensor, *points: Tensor) -> tuple[Tensor, ...]:
        left = iter(points)
        return _reference_gradient(grad, *(None if x is None else next(left) for x in tensors), *rest)

    d_grad, *d_given = _autograd.pull_back(gradient, (grad, *given), v)
    left = iter(d_given)
    return (d_grad, None, None, None, *(None if x is None else next(left) for x in tensors), None, None, None, None)


def _folded(op: Any, size: int, dims: Sequence[int | None], inputs: Sequence[Any]) -> Any:
    """Fold batch entries that share their weights into the batch dimension."""
    first = len(inputs) - _OPERANDS - 4  # index of the first operand
    weights = {first + i for i in _WEIGHTS}
    if any(dims[i] is not None for i in weights):
        return _autograd.one_by_one(op, size, dims, inputs)
    shared = [x for i, x in enumerate(inputs) if i in weights]
    others = [None if i in weights else x for i, x in enumerate(inputs)]

    def with_weights(*inputs: Any) -> Any:
        left = iter(shared)
        return op(*(next(left) if i in weights else x for i, x in enumerate(inputs)))

    return _autograd.folded(with_weights, size, dims, others)


_ARGUMENTS = (
    "Tensor queries, Tensor keys, Tensor score, Tensor? query_weight, Tensor inputs, Tensor values, "
    "Tensor? gate_inputs, Tensor? gate_values, Tensor? gate_weight, Tensor? weight_ih, Tensor? bias_ih, "
    "Tensor weight_hh, Tensor bias_hh, Tensor? lengths, Tensor? mask, bool lstm, bool reverse"
)
_op = _native.register(
    f"attention_rnn({_ARGUMENTS}) -> (Tensor, Tensor, Tensor)",
    reference=attention_rnn_reference,
    fake=_fake,
    backward=_backward,
    setup_context=_setup_context,
    batching=_folded,
)
_backward_op = _native.register(
    f"_attention_rnn_backward(Tensor grad, Tensor y, Tensor attention, Tensor kept, {_ARGUMENTS}) "
    "-> (Tensor, Tensor, Tensor)",
    reference=_no_reference,
    fake=_fake_backward,
    batching=_folded,
)
_Gradient: Any = _autograd.as_function(
    "attention_rnn's gradient",
    _gradient,
    op=lambda *inputs: _Gradient.apply(*inputs),
    setup_context=_setup_double,
    backward=_double_backward,
)
