"""From tokens to entities, and to what lies between two of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pydlx._checks import whole
from pydlx.models.relations.bilinear import without_diagonal


def mention_vectors(states: Tensor, mentions: Tensor, pooling: str) -> Tensor:
    """Vectors (M, d) of mentions, in states (B, n, d).

    Args:
        states: Of B documents' tokens.
        mentions: (M, 4): document, first and last token, inclusive, and entity.
        pooling: ``"first"`` for the state of the first token, ``"mean"`` for the mean over all.
    """
    rows = states.flatten(0, 1)
    item, first, last, _ = mentions.unbind(1)
    start = item * states.shape[1] + first
    if pooling == "first":
        return rows.index_select(0, start)
    lengths = last - first + 1
    owner = torch.repeat_interleave(lengths)  # of each token the mention's number
    within = torch.arange(len(owner), device=owner.device) - (lengths.cumsum(0) - lengths).index_select(0, owner)
    tokens = rows.index_select(0, start.index_select(0, owner) + within)
    return sum_by_owner(tokens, owner, len(mentions)) / lengths.unsqueeze(1).to(rows.dtype)


def entity_vectors(vectors: Tensor, owner: Tensor, entities: int) -> Tensor:
    """log Σ exp over the mentions of each entity, element by element; zeros for an entity without mentions.

    Jia, Wong and Poon, NAACL 2019; Zhou and others (ATLOP), arXiv 2010.11304, equation 2.

    Args:
        vectors: (M, d), of mentions.
        owner: (M,) int64, the entity of each mention.
        entities: E.

    Returns:
        (E, d).
    """
    place = owner.unsqueeze(1).expand_as(vectors)
    largest = vectors.new_zeros(entities, vectors.shape[1])
    largest = largest.scatter_reduce(0, place, vectors.detach(), "amax", include_self=False)
    sums = sum_by_owner((vectors - largest.index_select(0, owner)).exp(), owner, entities)
    # An entity with a mention has a sum of at least 1, or NaN of what is NaN or infinite.
    unnamed = sums == 0
    return torch.where(unnamed, 0, largest + torch.where(unnamed, 1, sums).log())


def sum_by_owner(rows: Tensor, owner: Tensor, owners: int) -> Tensor:
    """(owners, d): sums of the rows (N, d) that belong to each owner."""
    return rows.new_zeros(owners, rows.shape[1]).index_add(0, owner, rows)


class ContextAttention(nn.Module):
    """Where both entities of a pair look: weights over the tokens of their document.

    Zhou and others (ATLOP), arXiv 2010.11304, section 3.2, multiply the attention maps of a pre-trained transformer,
    averaged over each entity's mentions. Here each entity asks by its own vector, in several heads, which serves
    encoders that have no such maps.

    Args:
        size: d, of states and of entities.
        heads: Whose products are averaged.
        head_size: Of a query and a key.
    """

    least = 1e-5  # as in the authors' program: two entities that look at nothing in common have no context

    def __init__(self, size: int, heads: int = 4, head_size: int = 32) -> None:
        super().__init__()
        self.heads = whole("ContextAttention", "heads", heads, 1)
        width = heads * whole("ContextAttention", "head_size", head_size, 1)
        self.query, self.key = nn.Linear(size, width), nn.Linear(size, width, bias=False)  # a softmax sees no bias

    def forward(self, states: Tensor, mask: Tensor, entities: Tensor, sizes: tuple[int, ...]) -> list[Tensor]:
        """Of states (B, n, d), their mask (B, n) and entities (E, d): for each document (k (k − 1), n), sums to 1."""
        keys = self.key(states).unflatten(2, (self.heads, -1))  # (B, n, heads, e)
        queries = self.query(entities).unflatten(1, (self.heads, -1))  # (E, heads, e)
        found = []
        for own, keys_, real in zip(queries.split(list(sizes)), keys, mask, strict=True):
            scores = own.transpose(0, 1) @ keys_.permute(1, 2, 0) / own.shape[2] ** 0.5  # (heads, k, n)
            weights = scores.masked_fill(~real, -torch.inf).softmax(2).permute(2, 1, 0)  # (n, k, heads)
            both = without_diagonal((weights @ weights.transpose(1, 2)).permute(1, 2, 0))  # the sum over heads
            found.append(both / (both.sum(1, keepdim=True) + self.least))
        return found
