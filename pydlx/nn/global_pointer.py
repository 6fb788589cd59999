"""Heads that score every span of a text for every entity type (GlobalPointer, arXiv 2208.03054)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, fx, nn

from pydlx._checks import check_bool, check_device, check_flag, check_floating, check_one_of, whole
from pydlx.ops.global_pointer_loss import counted_spans, global_pointer_loss, global_pointer_scores


class Pointers(NamedTuple):
    """The vectors and biases that span scores are computed from, as :func:`pydlx.ops.global_pointer_loss` takes them.

    Attributes:
        query: (B, types or 1, L, head_size), for the first tokens of spans.
        key: The same for the last tokens.
        start_bias: (B, types, L), or None.
        end_bias: (B, types, L), or None.
    """

    query: Tensor
    key: Tensor
    start_bias: Tensor | None = None
    end_bias: Tensor | None = None


class _SpanHead(nn.Module):
    """Base of both heads: the scores of all spans, and the loss, which does not need their table."""

    def __init__(self, size: int, types: int, head_size: int, rotary: bool, triangle: bool) -> None:
        super().__init__()
        name = type(self).__name__
        self.size = whole(name, "size", size, 1)
        self.types = whole(name, "types", types, 1)
        self.head_size = whole(name, "head_size", head_size, 1)
        check_flag(name, "rotary", rotary)
        check_flag(name, "triangle", triangle)
        if rotary and head_size % 2:
            raise ValueError(f"{name}: head_size must be even to be turned by rotary positions, got {head_size}")
        self.rotary = bool(rotary)
        self.triangle = bool(triangle)

    def pointers(self, hidden: Tensor) -> Pointers:
        """Project hidden vectors (B, L, size)."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        """What the head was built with."""
        options = ("size", "types", "head_size", "rotary", "triangle")
        return ", ".join(f"{name}={getattr(self, name)}" for name in options)

    def forward(self, hidden: Tensor, mask: Tensor | None = None) -> Tensor:
        """The scores of all spans.

        Args:
            hidden: (B, L, size), of tokens.
            mask: (B, L), bool: True at tokens, False in padding. By default all are tokens.

        Returns:
            (B, types, L, L), indexed by first and last token, both inclusive. Spans with a score above 0 are predicted.
            The score is -inf for spans that start or end in padding and, with triangle, that end before they start.
        """
        _check(type(self).__name__, hidden, self.size, mask)
        return _masked_scores(self.pointers(hidden), mask, self.rotary, self.triangle)

    def loss(self, hidden: Tensor, spans: Tensor, mask: Tensor | None = None) -> Tensor:
        """The mean zlpr loss over items and types, without building the table of scores.

        Args:
            hidden: (B, L, size), of tokens.
            spans: (N, 4), integers: the gold spans as (item, type, start, end), the end inclusive.
            mask: (B, L), bool: True at tokens, False in padding.
        """
        _check(type(self).__name__, hidden, self.size, mask)
        query, key, start_bias, end_bias = self.pointers(hidden)
        return global_pointer_loss(
            query,
            key,
            spans,
            mask,
            start_bias=start_bias,
            end_bias=end_bias,
            rotary=self.rotary,
            triangle=self.triangle,
        )


class GlobalPointer(_SpanHead):
    """A separate query and key of every token for every type; a span's score is their product.

    Args:
        size: Size of the hidden vectors.
        types: Number of span types.
        head_size: Size of queries and keys.
        rotary: Whether queries and keys are rotated by their positions; without it accuracy collapses.
        triangle: Whether only spans with start <= end have a score; set False for relations between any two tokens.

    Attributes:
        projection: Linear layer to all queries and keys; for each type first the query, then the key.
    """

    def __init__(self, size: int, types: int, head_size: int = 64, rotary: bool = True, triangle: bool = True) -> None:
        super().__init__(size, types, head_size, rotary, triangle)
        self.projection = nn.Linear(self.size, self.types * 2 * self.head_size)

    def pointers(self, hidden: Tensor) -> Pointers:
        """Project hidden vectors (B, L, size); the biases are None."""
        query, key = self.projection(hidden).unflatten(-1, (self.types, 2, self.head_size)).unbind(-2)
        return Pointers(query.transpose(1, 2), key.transpose(1, 2))


class EfficientGlobalPointer(_SpanHead):
    """One query and key per token, shared by all types; each type adds a bias for the start and one for the end.

    Each type takes 4 head_size weights, instead of 2 size head_size in :class:`GlobalPointer`.

    Args:
        size: Size of the hidden vectors.
        types: Number of span types.
        head_size: Size of queries and keys.
        rotary: Whether queries and keys are rotated by their positions.
        triangle: Whether only spans with start <= end have a score.
        split: How the projection is divided into query and key: ``"even_odd"`` takes the even elements as query and
            the odd ones as key, ``"halves"`` the first and second half. Trained weights fit only one of the two.

    Attributes:
        projection: Linear layer to query and key.
        bias: Linear layer from the projection, before rotation, to a pair (end, start) of biases for each type; they
            are halved.
    """

    def __init__(
        self,
        size: int,
        types: int,
        head_size: int = 64,
        rotary: bool = True,
        triangle: bool = True,
        split: str = "even_odd",
    ) -> None:
        super().__init__(size, types, head_size, rotary, triangle)
        check_one_of("EfficientGlobalPointer", "split", split, ("even_odd", "halves"))
        self.split = split
        self.projection = nn.Linear(self.size, 2 * self.head_size)
        self.bias = nn.Linear(2 * self.head_size, 2 * self.types)

    def pointers(self, hidden: Tensor) -> Pointers:
        """Project hidden vectors (B, L, size)."""
        both = self.projection(hidden)
        shape = (self.head_size, 2) if self.split == "even_odd" else (2, self.head_size)
        query, key = both.unsqueeze(1).unflatten(-1, shape).unbind(-1 if self.split == "even_odd" else -2)
        end, start = (self.bias(both) / 2).mT.unflatten(1, (self.types, 2)).unbind(2)
        return Pointers(query, key, start, end)


def _check(name: str, hidden: Tensor, size: int, mask: Tensor | None) -> None:
    if isinstance(hidden, fx.Proxy):
        return
    check_floating(name, "hidden", hidden)
    if hidden.dim() != 3 or hidden.shape[2] != size:
        raise ValueError(f"{name}: hidden must have shape (B, L, {size}), got {tuple(hidden.shape)}")
    if mask is None:
        return
    check_bool(name, "mask", mask)
    if mask.shape != hidden.shape[:2]:
        raise ValueError(f"{name}: mask must have shape {tuple(hidden.shape[:2])}, got {tuple(mask.shape)}")
    check_device(name, "mask", mask, "hidden", hidden)


def _masked_scores(pointers: Pointers, mask: Tensor | None, rotary: bool, triangle: bool) -> Tensor:
    batch, _, length, _ = pointers.query.shape
    counted = counted_spans(batch, length, mask, triangle, pointers.query.device)
    return torch.where(counted, global_pointer_scores(*pointers, rotary, None), -torch.inf)


fx.wrap("_masked_scores")  # torch.fx.symbolic_trace keeps the call as one node
