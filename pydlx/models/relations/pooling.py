"""Pooling of token states: vectors of mentions and entities, and the context of a pair of entities."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pydlx._checks import whole
from pydlx.models.relations.bilinear import without_diagonal


def mention_vectors(states: Tensor, mentions: Tensor, pooling: str) -> Tensor:
    """Return vectors (M, d) of mentions, pooled from states (B, n, d).

    Args:
        states: States of the tokens of B documents.
        mentions: (M, 4) int64; each row is a mention's document, first and last token, inclusive, and entity.
        pooling: ``"first"`` for the state of the first token, ``"mean"`` for the mean over all.
    """
    rows = states.flatten(0, 1)
    item, first, last, _ = mentions.unbind(1)
    start = item * states.shape[1] + first
    if pooling == "first":
        return rows.index_select(0, start)
    lengths = last - first + 1
    owner = torch.repeat_interleave(lengths)  # the mention of each token
    within = torch.arange(len(owner), device=owner.device) - (lengths.cumsum(0) - lengths).index_select(0, owner)
    tokens = rows.index_select(0, start.index_select(0, owner) + within)
    return sum_by_owner(tokens, owner, len(mentions)) / lengths.unsqueeze(1).to(rows.dtype)


def entity_vectors(vectors: Tensor, owner: Tensor, entities: int) -> Tensor:
    """Return the elementwise log-sum-exp over the mentions of each entity; zeros for an entity without mentions.

    Jia, Wong and Poon, NAACL 2019; Zhou and others (ATLOP), arXiv 2010.11304, equation 2.

    Args:
        vectors: (M, d), vectors of mentions.
        owner: (M,) int64, the entity of each mention.
        entities: E, the number of entities.

    Returns:
        (E, d).
    """
    place = owner.unsqueeze(1).expand_as(vectors)
    largest = vectors.new_zeros(entities, vectors.shape[1])
    largest = largest.scatter_reduce(0, place, vectors.detach(), "amax", include_self=False)
    sums = sum_by_owner((vectors - largest.index_select(0, owner)).exp(), owner, entities)
    # A sum of 0 means no mention: after subtracting the largest, any mention makes it at least 1, or NaN.
    unnamed = sums == 0
    return torch.where(unnamed, 0, largest + torch.where(unnamed, 1, sums).log())


def sum_by_owner(rows: Tensor, owner: Tensor, owners: int) -> Tensor:
    """Sum the rows (N, d) that belong to each owner; returns (owners, d)."""
    return rows.new_zeros(owners, rows.shape[1]).index_add(0, owner, rows)


class ContextAttention(nn.Module):
    """Context of a pair of entities: weights over the document's tokens, high where both entities attend.

    Zhou and others (ATLOP), arXiv 2010.11304, section 3.2, multiply two attention maps of a pretrained transformer,
    averaged over each entity's mentions. Here the attention maps come from a query of each entity's vector and a key of
    each token, so that encoders without attention can be used.

    Args:
        size: d, the size of states and entities.
        heads: Number of attention heads; the products of their maps are summed.
        head_size: Size of a query and a key.
    """

    epsilon = 1e-5  # as in the authors' code; keeps the context near zero where the two maps do not overlap

    def __init__(self, size: int, heads: int = 4, head_size: int = 32) -> None:
        super().__init__()
        self.heads = whole("ContextAttention", "heads", heads, 1)
        width = heads * whole("ContextAttention", "head_size", head_size, 1)
        self.query, self.key = (
            nn.Linear(size, width),
            nn.Linear(size, width, bias=False),
        )  # a bias would cancel in the softmax

    def forward(self, states: Tensor, mask: Tensor, entities: Tensor, sizes: tuple[int, ...]) -> list[Tensor]:
        """Return weights (k (k − 1), n) for each document with k entities; rows sum to 1.

        Args:
            states: (B, n, d), states of the tokens.
            mask: (B, n) bool, True at tokens.
            entities: (E, d), vectors of all entities, document after document.
            sizes: Number of entities of each document.
        """
        keys = self.key(states).unflatten(2, (self.heads, -1))  # (B, n, heads, e)
        queries = self.query(entities).unflatten(1, (self.heads, -1))  # (E, heads, e)
        found = []
        for own, keys_, real in zip(queries.split(list(sizes)), keys, mask, strict=True):
            scores = own.transpose(0, 1) @ keys_.permute(1, 2, 0) / own.shape[2] ** 0.5  # (heads, k, n)
            weights = scores.masked_fill(~real, -torch.inf).softmax(2).permute(2, 1, 0)  # (n, k, heads)
            both = without_diagonal((weights @ weights.transpose(1, 2)).permute(1, 2, 0))  # summed over heads
            found.append(both / (both.sum(1, keepdim=True) + self.epsilon))
        return found
