"""Sequence taggers: a softmax over BIO tags for each token, and a conditional random field. Entities are flat."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pydlx._optional import needed_for
from pydlx.data.text.batch import TextBatch
from pydlx.models.entities.decoding import DecodedEntity
from pydlx.models.entities.tagger import EntityTagger, check_scores
from pydlx.models.entities.tags import spans_of_tags, tags_of_spans
from pydlx.models.registry import register_model


class _SequenceTagger(EntityTagger):
    """A tagger that scores the tags of each token.

    It is trained on the outermost of nested entities, see `tags_of_spans`, and finds no overlapping ones.
    """

    finds_nested = False

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.head = nn.Linear(self.encoder.output, 1 + 2 * self.types)

    def forward(self, text: TextBatch) -> Tensor:
        """Return scores (B, n, 1 + 2C) of tags; see `pydlx.models.entities.tags`."""
        return self.head(self.encoder(text))

    def tags(self, text: TextBatch) -> tuple[list[list[int]], Tensor]:
        """Return the tags of each text's tokens, and log-probabilities (B, n, 1 + 2C) of all tags."""
        raise NotImplementedError

    def find(self, text: TextBatch, *, threshold: float | None = None, flat: bool = False) -> list[list[DecodedEntity]]:
        """Return the entities of each text, by start; scores are geometric means of their tags' probabilities."""
        tags, log_probabilities = self.tags(text)
        check_scores(log_probabilities)
        texts = []
        for own, table in zip(tags, log_probabilities, strict=True):
            scores = table[torch.arange(len(own)), torch.tensor(own, dtype=torch.int64)].tolist()
            entities = spans_of_tags(own, scores)
            texts.append([entity for entity in entities if threshold is None or entity.score > threshold])
        return texts


@register_model("bio_tagger")
class BIOTagger(_SequenceTagger):
    """A softmax over the BIO tags of each token.

    Args:
        options: See `EntityTagger`.
    """

    def loss(self, text: TextBatch, spans: Tensor) -> Tensor:
        """Return the mean over tokens of -log p(tag)."""
        return F.cross_entropy(self(text)[text.mask], tags_of_spans(spans, text.mask)[text.mask])

    def tags(self, text: TextBatch) -> tuple[list[list[int]], Tensor]:
        """Return the most probable tag of each token."""
        log_probabilities = _upcast(self(text)).log_softmax(-1).cpu()
        best = log_probabilities.argmax(-1)
        return [row[real].tolist() for row, real in zip(best, text.mask.cpu(), strict=True)], log_probabilities


@register_model("crf_tagger")
class CRFTagger(_SequenceTagger):
    """A linear-chain conditional random field over each text's tags; Lafferty et al., ICML 2001.

    Args:
        options: See `EntityTagger`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        with needed_for("a conditional random field", extra="crf"):
            from torchcrf import CRF
        self.crf: Any = CRF(1 + 2 * self.types, batch_first=True)

    def loss(self, text: TextBatch, spans: Tensor) -> Tensor:
        """Return the sum over texts of -log p(tags), divided by the number of tokens."""
        scores, tags = _upcast(self(text)), tags_of_spans(spans, text.mask)
        return -self.crf(scores, tags, text.mask, reduction="token_mean")

    def tags(self, text: TextBatch) -> tuple[list[list[int]], Tensor]:
        """Return the most probable sequence of tags of each text, and each tag's marginal log-probabilities."""
        scores = _upcast(self(text)).detach()
        best = self.crf.decode(scores, text.mask)
        tags = torch.zeros_like(text.mask, dtype=torch.int64)
        for row, own in zip(tags, best, strict=True):
            row[: len(own)] = torch.tensor(own)
        with torch.inference_mode(False), torch.enable_grad():
            scores, tags, mask = (x.clone() for x in (scores, tags, text.mask))  # inference tensors have no gradient
            scores.requires_grad_()
            # The gradient of log p(tags) is one_hot(tags) minus the marginal probabilities.
            (gradient,) = torch.autograd.grad(self.crf(scores, tags, mask, reduction="sum"), scores)
        marginals = F.one_hot(tags, scores.shape[-1]) - gradient
        return best, marginals.clamp(1e-30, 1).log().cpu()


def _upcast(scores: Tensor) -> Tensor:
    """Convert half-precision scores, as autocast returns them, to float32."""
    return scores if scores.dtype == torch.float64 else scores.float()
