"""Taggers that give each token one tag: softmax over BIO, and a conditional random field. Their entities are flat."""

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


class _Tagging(EntityTagger):
    """A tagger with a score for each token's tags.

    Of nested entities it learns the outermost, see `tags_of_spans`, and it finds none that overlap.
    """

    finds_nested = False

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.head = nn.Linear(self.encoder.output, 1 + 2 * self.types)

    def forward(self, text: TextBatch) -> Tensor:
        """Scores (B, n, 1 + 2C) of tags; see `pydlx.models.entities.tags`."""
        return self.head(self.encoder(text))

    def tags(self, text: TextBatch) -> tuple[list[list[int]], Tensor]:
        """The tags of each text's tokens, and the logarithms (B, n, 1 + 2C) of all tags' probabilities."""
        raise NotImplementedError

    def find(self, text: TextBatch, *, threshold: float | None = None, flat: bool = False) -> list[list[DecodedEntity]]:
        """The entities of each text, by start. The score of one is the geometric mean of its tags' probabilities."""
        tags, logarithms = self.tags(text)
        check_scores(logarithms)
        texts = []
        for own, table in zip(tags, logarithms, strict=True):
            scores = table[torch.arange(len(own)), torch.tensor(own, dtype=torch.int64)].tolist()
            entities = spans_of_tags(own, scores)
            texts.append([entity for entity in entities if threshold is None or entity.score > threshold])
        return texts


@register_model("bio_tagger")
class BIOTagger(_Tagging):
    """Softmax over each token's tags.

    Args:
        options: See `EntityTagger`.
    """

    def loss(self, text: TextBatch, spans: Tensor) -> Tensor:
        """The mean over tokens of -log p(tag)."""
        return F.cross_entropy(self(text)[text.mask], tags_of_spans(spans, text.mask)[text.mask])

    def tags(self, text: TextBatch) -> tuple[list[list[int]], Tensor]:
        """The likeliest tag of each token."""
        logarithms = _wide(self(text)).log_softmax(-1).cpu()
        best = logarithms.argmax(-1)
        return [row[real].tolist() for row, real in zip(best, text.mask.cpu(), strict=True)], logarithms


@register_model("crf_tagger")
class CRFTagger(_Tagging):
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
        """The sum over texts of -log p(tags), over the number of tokens."""
        scores, tags = _wide(self(text)), tags_of_spans(spans, text.mask)
        return -self.crf(scores, tags, text.mask, reduction="token_mean")

    def tags(self, text: TextBatch) -> tuple[list[list[int]], Tensor]:
        """The likeliest tags of each text as a whole."""
        scores = _wide(self(text)).detach()
        best = self.crf.decode(scores, text.mask)
        tags = torch.zeros_like(text.mask, dtype=torch.int64)
        for row, own in zip(tags, best, strict=True):
            row[: len(own)] = torch.tensor(own)
        with torch.inference_mode(False), torch.enable_grad():
            scores, tags, mask = (x.clone() for x in (scores, tags, text.mask))  # of inference mode none has a gradient
            scores.requires_grad_()
            # The gradient is one at the tags less the probability of each tag.
            (gradient,) = torch.autograd.grad(self.crf(scores, tags, mask, reduction="sum"), scores)
        marginals = F.one_hot(tags, scores.shape[-1]) - gradient
        return best, marginals.clamp(1e-30, 1).log().cpu()


def _wide(scores: Tensor) -> Tensor:
    """Scores of half precision, as autocast gives them, in single."""
    return scores if scores.dtype == torch.float64 else scores.float()
