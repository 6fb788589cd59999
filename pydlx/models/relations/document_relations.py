"""Relations between the entities of a document, for every ordered pair of them."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from pydlx._checks import check_flag, check_one_of, check_type, whole
from pydlx.data.relation_batch import RelationBatch
from pydlx.data.relation_set import DISTANCES
from pydlx.models.registry import register_model
from pydlx.models.relations.bilinear import GroupedBilinear
from pydlx.models.relations.pooling import ContextAttention, entity_vectors, mention_vectors
from pydlx.models.text.text_encoder import TextEncoder


@register_model("document_relations")
class DocumentRelations(nn.Module):
    """Logits of C relations, class 0 of which is the threshold that others must exceed.

    An encoder reads the document; each token brings along which type of entity it names and which entity, by number,
    as in the baselines of Yao and others, "DocRED", arXiv 1906.06127, section 4. The rest is ATLOP, Zhou, Huang, Ma and
    Huang, arXiv 2010.11304: an entity h is the log-sum-exp of its mentions, and a pair of entities has

        z_s = tanh(W_s [h_s; c])    z_t = tanh(W_t [h_t; c])    logits = grouped bilinear form of z_s and z_t

    with c the tokens that both entities look at. Without c all pairs of a document share the work on their entities,
    which makes the form a small part of a step; with it every pair has vectors of its own.

    Args:
        relations: C, the threshold's class included.
        types: Types of entities; 0 for tokens without that mark.
        numbers: Entities that are told apart by number, further ones share the last; 0 for tokens without that mark.
        type_dim: Size of a type's vector.
        number_dim: Size of a number's vector.
        mention: A mention is the state of its ``"first"`` token, or the ``"mean"`` of its tokens.
        context: ``"none"``, or ``"attention"`` for c; see `ContextAttention`.
        context_heads: Heads of that attention.
        pair_size: K, of z_s and z_t; 768 in ATLOP.
        block: Of the bilinear form.
        joint: Units of a further layer, which sees the sum of both entities; 0 for none. Not in ATLOP.
        distance: Whether how far the entities of a pair are apart counts: by a vector that is added to the units of
            that layer, or without it by a number for each class.
        threshold: ``"learned"``, a logit of each pair, for the adaptive losses; or ``"global"``, one number for all,
            which no gradient trains: `set_threshold` does.
        character_dim, character_filters, hidden, layers, dropout: Of `TextEncoder`, smaller than there.
        options: Further ones of `TextEncoder`.

    Attributes:
        companion: Plain data that belongs to the model and stays with it in files: how documents become numbers, and
            the names of relations and types.
    """

    companion: dict[str, Any] | None = None
    options_of: ClassVar[type] = TextEncoder

    def __init__(
        self,
        *,
        relations: int,
        types: int = 0,
        numbers: int = 0,
        type_dim: int = 20,
        number_dim: int = 20,
        mention: str = "first",
        context: str = "none",
        context_heads: int = 4,
        pair_size: int = 256,
        block: int = 64,
        joint: int = 256,
        distance: bool = True,
        threshold: str = "learned",
        character_dim: int = 16,
        character_filters: int = 32,
        hidden: int = 128,
        layers: int | None = 1,
        dropout: float = 0.3,
        **options: Any,
    ) -> None:
        super().__init__()
        name = "DocumentRelations"
        self.relations = whole(name, "relations", relations, 2)
        check_one_of(name, "mention", mention, ("first", "mean"))
        check_one_of(name, "context", context, ("none", "attention"))
        check_one_of(name, "threshold", threshold, ("learned", "global"))
        check_flag(name, "distance", distance)
        self.mention = mention
        self.types = _marks(name, "types", types, type_dim)
        self.numbers = _marks(name, "numbers", numbers, number_dim)
        self.encoder = TextEncoder(
            sum(mark.embedding_dim for mark in (self.types, self.numbers) if mark is not None),
            character_dim=character_dim,
            character_filters=character_filters,
            hidden=hidden,
            layers=layers,
            dropout=dropout,
            **options,
        )
        size, outputs = self.encoder.output, relations - (threshold == "global")
        self.head, self.tail = nn.Linear(size, pair_size), nn.Linear(size, pair_size)
        self.context = self.head_context = self.tail_context = None
        if context == "attention":
            self.context = ContextAttention(size, context_heads)
            self.head_context, self.tail_context = (nn.Linear(size, pair_size, bias=False) for _ in range(2))
        self.score = GroupedBilinear(pair_size, outputs, block)
        self.joint = _JointLayer(size, joint, outputs, dropout) if whole(name, "joint", joint, 0) else None
        self.distances = nn.Embedding(DISTANCES, joint or outputs) if distance else None
        if self.distances is not None:
            nn.init.zeros_(self.distances.weight)
        self.register_buffer("threshold", torch.zeros(()) if threshold == "global" else None)
        self.threshold: Tensor | None

    def set_threshold(self, value: float) -> None:
        """Set the logit that relations must exceed.

        Raises:
            ValueError: The model was not built with ``threshold="global"``.
        """
        if self.threshold is None:
            raise ValueError("set_threshold: the model must have a global threshold, got one that learns it")
        self.threshold.fill_(value)

    def forward(self, batch: RelationBatch) -> Tensor:
        """Logits (P, C) of all pairs of a batch of documents, in its order."""
        check_type("DocumentRelations", "batch", batch, RelationBatch, "a RelationBatch")
        states = self.encoder(batch.text, self._beside(batch))  # (B, n, d)
        mentions = mention_vectors(states, batch.mentions, self.mention)
        entities = entity_vectors(mentions, batch.mentions[:, 3], sum(batch.sizes))  # (E, d)
        heads, tails = self.head(entities), self.tail(entities)  # (E, K)
        if self.context is None:
            logits = self.score.all_pairs(heads.tanh(), tails.tanh(), batch.sizes)
        else:
            assert self.head_context is not None
            assert self.tail_context is not None
            looks = self.context(states, batch.text.mask, entities, batch.sizes)
            z_s, z_t = (
                torch.cat([look @ rows for look, rows in zip(looks, project(states), strict=True)])
                for project in (self.head_context, self.tail_context)
            )
            h, t = batch.pairs.unbind(1)
            logits = self.score((z_s + heads.index_select(0, h)).tanh(), (z_t + tails.index_select(0, t)).tanh())
        apart = 0 if self.distances is None else self.distances(batch.distances)
        logits = logits + (apart if self.joint is None else self.joint(entities, batch.pairs, apart))
        if self.threshold is not None:
            logits = torch.cat([self.threshold.expand(len(logits), 1).to(logits.dtype), logits], 1)
        return logits

    def _beside(self, batch: RelationBatch) -> Tensor | None:
        """What each token names, (B, n, ...)."""
        marks = ((self.types, batch.types), (self.numbers, batch.numbers))
        parts = [mark(values.clamp(max=mark.num_embeddings - 1)) for mark, values in marks if mark is not None]
        return torch.cat(parts, -1) if parts else None


class _JointLayer(nn.Module):
    """Scores of pairs by a layer of relu units that sees both entities and how far they are apart.

    It has the sum of what it makes of either entity, so that little is left to do for each pair.
    """

    def __init__(self, size: int, units: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.head, self.tail = nn.Linear(size, units), nn.Linear(size, units, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.score = nn.Linear(units, outputs, bias=False)

    def forward(self, entities: Tensor, pairs: Tensor, apart: Tensor | int) -> Tensor:
        """Scores (P, outputs) of entities (E, size), pairs (P, 2) and what is known of pairs, (P, units)."""
        h, t = pairs.unbind(1)
        both = self.head(entities).index_select(0, h) + self.tail(entities).index_select(0, t)
        return self.score(self.dropout((both + apart).relu()))


def _marks(name: str, argument: str, count: int, size: int) -> nn.Embedding | None:
    """Vectors of numbers from 1 to `count`, and zeros for 0."""
    return nn.Embedding(count + 1, size, 0) if whole(name, argument, count, 0) else None
