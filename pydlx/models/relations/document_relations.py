"""Relation extraction from documents: logits of relations for every ordered pair of entities."""

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
    """Logits of C classes; class 0 is the threshold that the logit of a relation must exceed.

    An encoder reads the document. Each token also has embeddings of the type and the number of the entity it mentions,
    as in the baselines of Yao and others, "DocRED", arXiv 1906.06127, section 4. The rest is ATLOP (Zhou, Huang, Ma and
    Huang, arXiv 2010.11304): an entity h is the log-sum-exp of its mentions, and a pair (s, t) of entities has

        z_s = tanh(W_s [h_s; c])    z_t = tanh(W_t [h_t; c])    logits = grouped bilinear layer of z_s and z_t

    where c is the pair's context: the mean of the tokens, weighted by how much both entities attend to them. Without c,
    most of the bilinear layer is computed once per entity; with it, z_s and z_t differ for each pair, which costs more.

    Args:
        relations: C, the threshold class included.
        types: Number of entity types; 0 for no type embedding.
        numbers: Number of entities with an embedding of their own, later ones share the last; 0 for no such embedding.
        type_dim: Size of a type's vector.
        number_dim: Size of a number's vector.
        mention: Vector of a mention: the state of its ``"first"`` token, or the ``"mean"`` over its tokens.
        context: ``"none"``, or ``"attention"`` for c; see `ContextAttention`.
        context_heads: Heads of that attention.
        pair_size: K, the size of z_s and z_t; 768 in ATLOP.
        block: Block size of the bilinear layer.
        joint: Units of an additional layer over the sum of both entities; 0 for none. Not in ATLOP.
        distance: Whether to use the distance between the entities of a pair: an embedding that is added to the units of
            the additional layer or, without that layer, to the logits. Not in ATLOP.
        threshold: ``"learned"``, a logit for each pair, for the adaptive losses; or ``"global"``, one number for all
            pairs, set by `set_threshold` and not by gradients.
        character_dim, character_filters, hidden, layers, dropout: Of `TextEncoder`, with smaller defaults.
        options: Other options of `TextEncoder`.

    Attributes:
        companion: Plain data that is saved with the model: how documents become ids, and the names of relations and
            types.
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
        self.types = _embedding(name, "types", types, type_dim)
        self.numbers = _embedding(name, "numbers", numbers, number_dim)
        self.encoder = TextEncoder(
            sum(embedding.embedding_dim for embedding in (self.types, self.numbers) if embedding is not None),
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
            ValueError: If the model was not built with ``threshold="global"``.
        """
        if self.threshold is None:
            raise ValueError("set_threshold: the model must have a global threshold, got one that learns it")
        self.threshold.fill_(value)

    def forward(self, batch: RelationBatch) -> Tensor:
        """Return logits (P, C) of all pairs of a batch of documents, in the order of ``batch.pairs``."""
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
        """Return the embeddings of the entity that each token mentions, (B, n, beside)."""
        embeddings = ((self.types, batch.types), (self.numbers, batch.numbers))
        parts = [embed(ids.clamp(max=embed.num_embeddings - 1)) for embed, ids in embeddings if embed is not None]
        return torch.cat(parts, -1) if parts else None


class _JointLayer(nn.Module):
    """Scores of pairs by a layer of relu units over head entity, tail entity and distance.

    The layer is a sum of terms of head and tail, so most of it is computed once per entity and not once per pair.
    """

    def __init__(self, size: int, units: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.head, self.tail = nn.Linear(size, units), nn.Linear(size, units, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.score = nn.Linear(units, outputs, bias=False)

    def forward(self, entities: Tensor, pairs: Tensor, apart: Tensor | int) -> Tensor:
        """Return scores (P, outputs) of entities (E, size), pairs (P, 2) and distance embeddings (P, units)."""
        h, t = pairs.unbind(1)
        both = self.head(entities).index_select(0, h) + self.tail(entities).index_select(0, t)
        return self.score(self.dropout((both + apart).relu()))


def _embedding(name: str, argument: str, count: int, size: int) -> nn.Embedding | None:
    """Return an embedding of the ids 1 to `count`, and of 0 as zeros; None if `count` is 0."""
    return nn.Embedding(count + 1, size, 0) if whole(name, argument, count, 0) else None
