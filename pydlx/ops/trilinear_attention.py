"""Attention between two texts by the trilinear similarity, in both directions (BiDAF, arXiv 1611.01603; QANet).

With the n vectors c_i of the context, the m vectors q_j of the question, and the weight [w1; w2; w3]:

    similarity     S_ij = w . [c_i; q_j; c_i * q_j] = w1 . c_i + w2 . q_j + w3 . (c_i * q_j)
    over_question  softmax of S over j, the tokens of the question
    over_context   softmax of S over i, the tokens of the context

S is computed as c_i . (w1 + w3 * q_j) + w2 . q_j: one matrix product, which is the only pass over the context, instead
of an n x m x 3d concatenation. Masked vectors are replaced by zeros, so the values of padding do not matter.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from pydlx import _autograd, _native
from pydlx._checks import check_bool, check_device, check_floating

_NAME = "trilinear_attention"


class TrilinearAttention(NamedTuple):
    """The similarities of two texts' tokens, and their softmaxes over either text.

    Attributes:
        similarity: (B, n, m). A masked token has the similarity of a zero vector: mask it before taking a maximum.
        over_question: (B, n, m), for every token of the context a distribution over the question; 0 in padding.
        over_context: (B, n, m), for every token of the question a distribution over the context; 0 in padding.
    """

    similarity: Tensor
    over_question: Tensor
    over_context: Tensor


def trilinear_attention(
    context: Tensor,
    question: Tensor,
    weight: Tensor,
    *,
    context_mask: Tensor | None = None,
    question_mask: Tensor | None = None,
) -> TrilinearAttention:
    """Compare every token of the context with every one of the question (BiDAF, arXiv 1611.01603).

    The similarity of context vector c_i and question vector q_j is S_ij = w1 . c_i + w2 . q_j + w3 . (c_i * q_j) with
    weight [w1; w2; w3]. ``over_question`` is its softmax over j, ``over_context`` over i.

    Typical use in a reader::

        found = trilinear_attention(context, question, weight, context_mask=..., question_mask=...)
        to_question = found.over_question @ question                        # (B, n, d)
        to_context = found.over_question @ (found.over_context.mT @ context)  # (B, n, d), without an n x n matrix

    Args:
        context: (B, n, d); float64, float32, float16 or bfloat16.
        question: (B, m, d).
        weight: (3 d,), concatenated w1 (context), w2 (question) and w3 (product).
        context_mask: (B, n), bool: True at tokens, False in padding. None means that all are tokens.
        question_mask: (B, m), bool.

    Returns:
        Three (B, n, m) tensors of one dtype; under autocast it is autocast's dtype. Padding is 0 in both softmaxes,
        even if a whole text is padding, and has no gradient. NaN in a token reaches its similarities and every
        distribution that includes them.

    Raises:
        TypeError: If a tensor is not floating-point, or a mask not bool.
        ValueError: If a shape or a device does not fit.
    """
    _check(context, question, weight, context_mask, question_mask)
    dtype = torch.promote_types(torch.promote_types(context.dtype, question.dtype), weight.dtype)
    context, question = _tokens_of(context.to(dtype), context_mask), _tokens_of(question.to(dtype), question_mask)
    on_context, on_question, on_product = weight.to(dtype).view(3, -1).unbind()
    directions = torch.addcmul(on_context, question, on_product)
    similarity = torch.baddbmm((question @ on_question).unsqueeze(1), context, directions.mT)
    softmaxes = _op if _native.use_native(similarity, "dual_softmax") else dual_softmax_reference
    return TrilinearAttention(similarity, *softmaxes(similarity, context_mask, question_mask))


def _tokens_of(text: Tensor, mask: Tensor | None) -> Tensor:
    """Replace padding by zeros."""
    return text if mask is None else torch.where(mask.unsqueeze(-1), text, 0)


def _check(
    context: Tensor, question: Tensor, weight: Tensor, context_mask: Tensor | None, question_mask: Tensor | None
) -> None:
    check_floating(_NAME, "context", context)
    if context.dim() != 3:
        raise ValueError(f"{_NAME}: context must have shape (B, n, d), got {tuple(context.shape)}")
    batch, _, size = context.shape
    check_floating(_NAME, "question", question)
    if question.dim() != 3 or question.shape[0] != batch or question.shape[2] != size:
        wanted = f"({batch}, m, {size})"
        raise ValueError(f"{_NAME}: question must have shape {wanted} to go with context, got {tuple(question.shape)}")
    check_floating(_NAME, "weight", weight)
    if weight.shape != (3 * size,):
        raise ValueError(f"{_NAME}: weight must have shape ({3 * size},), got {tuple(weight.shape)}")
    for argument, tensor in (("question", question), ("weight", weight)):
        check_device(_NAME, argument, tensor, "context", context)
    _check_mask("context_mask", context_mask, "context", context)
    _check_mask("question_mask", question_mask, "question", question)


def _check_mask(argument: str, mask: Tensor | None, masked: str, text: Tensor) -> None:
    if mask is None:
        return
    check_bool(_NAME, argument, mask)
    if mask.shape != text.shape[:2]:
        raise ValueError(f"{_NAME}: {argument} must have shape {tuple(text.shape[:2])}, got {tuple(mask.shape)}")
    check_device(_NAME, argument, mask, masked, text)


def dual_softmax_reference(
    similarity: Tensor, context_mask: Tensor | None, question_mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Both masked softmaxes of (B, n, m): over the last dimension, and over the one before it."""
    wide = similarity.to(torch.promote_types(similarity.dtype, torch.float32))
    if context_mask is None and question_mask is None:
        return wide.softmax(2).to(similarity.dtype), wide.softmax(1).to(similarity.dtype)
    valid = _valid(similarity, context_mask, question_mask)
    masked = torch.where(valid, wide, -torch.inf)

    def over(dim: int) -> Tensor:
        all_masked = valid.sum(dim, keepdim=True) == 0  # the softmax and its gradient would be NaN
        return torch.where(valid, torch.where(all_masked, 0, masked).softmax(dim), 0).to(similarity.dtype)

    return over(2), over(1)


def _valid(like: Tensor, context_mask: Tensor | None, question_mask: Tensor | None) -> Tensor:
    """Pairs of which neither token is masked: bool, (B, n, m)."""
    batch, n, m = like.shape
    rows = like.new_ones(batch, n, dtype=torch.bool) if context_mask is None else context_mask
    columns = like.new_ones(batch, m, dtype=torch.bool) if question_mask is None else question_mask
    return rows.unsqueeze(2) & columns.unsqueeze(1)


def _backward_reference(
    grad_question: Tensor,
    grad_context: Tensor,
    over_question: Tensor,
    over_context: Tensor,
    context_mask: Tensor | None,
    question_mask: Tensor | None,
) -> Tensor:
    """The gradient of the similarities; a polynomial in the first four arguments, so differentiable in them."""
    valid = _valid(over_question, context_mask, question_mask)
    total = torch.zeros_like(over_question, dtype=torch.promote_types(over_question.dtype, torch.float32))
    for dim, grad, weights in ((2, grad_question, over_question), (1, grad_context, over_context)):
        grad, weights = (torch.where(valid, x, 0).to(total.dtype) for x in (grad, weights))
        total = total + weights * (grad - (grad * weights).sum(dim, keepdim=True))
    return torch.where(valid, total, 0).to(over_question.dtype)


def _fake(similarity: Tensor, context_mask: Tensor | None, question_mask: Tensor | None) -> tuple[Tensor, Tensor]:
    return similarity.new_empty(similarity.shape), similarity.new_empty(similarity.shape)


def _fake_backward(grad_question: Tensor, *others: Any) -> Tensor:
    return grad_question.new_empty(grad_question.shape)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    _, context_mask, question_mask = inputs
    ctx.save_for_backward(*output, context_mask, question_mask)


def _backward(ctx: Any, grad_question: Tensor, grad_context: Tensor) -> tuple[Tensor | None, ...]:
    return _backward_op(grad_question, grad_context, *ctx.saved_tensors), None, None


def _setup_double(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _double_backward(ctx: Any, v: Tensor) -> tuple[Tensor | None, ...]:
    """Higher derivatives are rare, so they come from the reference: v . d(backward) / d(gradients, weights)."""
    *points, context_mask, question_mask = ctx.saved_tensors

    def gradient(*points: Tensor) -> Tensor:
        return _backward_reference(points[0], points[1], points[2], points[3], context_mask, question_mask)

    return *_autograd.pull_back(gradient, tuple(points), v), None, None


_op = _native.register(
    "dual_softmax(Tensor similarity, Tensor? context_mask, Tensor? question_mask) -> (Tensor, Tensor)",
    reference=dual_softmax_reference,
    fake=_fake,
    backward=_backward,
    setup_context=_setup_context,
    batching=_autograd.folded,
)
_backward_op = _native.register(
    "_dual_softmax_backward(Tensor grad_question, Tensor grad_context, Tensor over_question, Tensor over_context, "
    "Tensor? context_mask, Tensor? question_mask) -> Tensor",
    reference=_backward_reference,
    fake=_fake_backward,
    backward=_double_backward,
    setup_context=_setup_double,
    batching=_autograd.folded,
)
