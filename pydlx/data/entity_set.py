"""Texts with entities as examples for a tagger, with the conversion between character offsets and tokens."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pydlx._checks import check_type, listed, whole
from pydlx.data.entities import AnnotatedText, Entity
from pydlx.data.report import Note, Report
from pydlx.data.text.batch import TextBatch
from pydlx.data.text.featurizer import TextFeatures, TextFeaturizer
from pydlx.data.text.texts import TokenisedTexts, tokenise
from pydlx.data.text.tokenisers import Tokeniser, check_tokeniser
from pydlx.data.text.windows import TextWindow, text_windows


class EntityExample(NamedTuple):
    """A window of a text, as an example.

    Attributes:
        text: The window's n tokens.
        spans: (k, 3) int64; each row is an entity's type, first and last token, inclusive, counted from the window's
            first token. Entities that the window cuts are left out.
    """

    text: TextFeatures
    spans: np.ndarray


class EntityBatch(NamedTuple):
    """A training batch of a tagger.

    Attributes:
        text: B texts of up to n tokens.
        spans: (N, 4) int64; each row is an entity's text, type, first and last token, inclusive.
    """

    text: TextBatch
    spans: Tensor


@dataclass
class AlignmentReport(Report):
    """What the conversion of entities to spans of tokens changed or left out. Everything that it drops is listed here.

    Attributes:
        texts: Number of texts.
        entities: Number of their entities.
        widened: Entities that begin or end inside a token; their spans were widened to whole tokens. A tagger can only
            find the widened span.
        lost: Entities of white space only, which touch no token.
        merged: Entities with the same tokens and type as another one.
        cut: Entities that do not fit into any window.
        left_out: Texts without a token.
    """

    texts: int = 0
    entities: int = 0
    widened: list[Note] = field(default_factory=list)
    lost: list[Note] = field(default_factory=list)
    merged: list[Note] = field(default_factory=list)
    cut: list[Note] = field(default_factory=list)
    left_out: list[Note] = field(default_factory=list)


class TokenisedEntities:
    """Texts with entities, tokenised. Texts that are given as tokens keep their tokens.

    Args:
        texts: Texts, such as ``read_entities`` returns.
        tokeniser: A tokeniser, such as ``create_tokeniser`` returns.

    Attributes:
        texts: All texts.
        tokeniser: The tokeniser.
        tokens: Their tokens; offsets count characters of the text, or of its tokens joined by spaces.
    """

    def __init__(self, texts: Iterable[AnnotatedText], tokeniser: Tokeniser) -> None:
        check_tokeniser("TokenisedEntities", "tokeniser", tokeniser)
        self.texts = listed("TokenisedEntities", "texts", texts, "annotated texts")
        for text in self.texts:
            check_type("TokenisedEntities", "texts", text, AnnotatedText, "annotated texts")
        self.tokeniser = tokeniser
        self.tokens: TokenisedTexts = tokenise([text.text for text in self.texts], tokeniser)

    def types(self) -> list[str]:
        """Return the types that occur, sorted."""
        return sorted({entity.type for text in self.texts for entity in text.entities})

    def token_span(self, place: int, entity: Entity) -> tuple[int, int, bool] | None:
        """Return first and last token that an entity touches, and whether they extend beyond it; None for no token."""
        if not isinstance(self.texts[place].text, str):
            return entity.start, entity.end, False
        offsets = self.tokens.of(place)[1]
        first = int(np.searchsorted(offsets[:, 1], entity.start, side="right"))
        last = int(np.searchsorted(offsets[:, 0], entity.end, side="right")) - 1
        if last < first:
            return None
        return first, last, bool(offsets[first, 0] < entity.start or offsets[last, 1] > entity.end + 1)

    def text_span(self, place: int, first: int, last: int) -> tuple[int, int]:
        """Return the inclusive span of tokens `first` to `last` in the original text, in characters or own tokens."""
        if not isinstance(self.texts[place].text, str):
            return first, last
        offsets = self.tokens.of(place)[1]
        return int(offsets[first, 0]), int(offsets[last, 1]) - 1


def outermost(spans: Iterable[Sequence[int]]) -> list[Sequence[int]]:
    """Choose spans (type, first, last) that do not overlap, for taggers with one tag per token.

    Longest spans are chosen first, then earlier ones, then those of lower type, so the outermost of nested spans stays.
    """
    kept: list[Sequence[int]] = []
    for span in sorted(spans, key=lambda span: (span[1] - span[2], span[1], span[0])):
        if all(span[2] < other[1] or other[2] < span[1] for other in kept):
            kept.append(span)
    return kept


class EntitySet(Sequence[EntityExample]):
    """Texts with entities as examples for a tagger; texts that are too long become several overlapping windows.

    Args:
        source: The texts, tokenised by the featurizer's tokeniser.
        featurizer: Converts tokens to ids.
        types: Names of the types by index. An entity of another type is an error.
        max_length: Maximum number of tokens of a window, or of wordpieces if the featurizer has them.

    Attributes:
        windows: (index of the text, window) of each example.
        lengths: (N,) int64, number of tokens of each example, for :func:`length_buckets`.
        owners: (N,) int64, index of each example's text.
        report: What was changed or left out.

    Raises:
        ValueError: If an entity has an unknown type, or there are no types.
    """

    def __init__(
        self, source: TokenisedEntities, featurizer: TextFeaturizer, types: Sequence[str], *, max_length: int = 256
    ) -> None:
        check_type("EntitySet", "source", source, TokenisedEntities, "TokenisedEntities")
        check_type("EntitySet", "featurizer", featurizer, TextFeaturizer, "a TextFeaturizer")
        self.types = listed("EntitySet", "types", types, "names of types")
        if not self.types:
            raise ValueError("EntitySet: types must hold a name at least, got none")
        whole("EntitySet", "max_length", max_length, 1)
        if source.tokeniser.name != featurizer.tokeniser.name:
            raise ValueError(
                f"EntitySet: source must be tokenised by {featurizer.tokeniser.name!r}, got {source.tokeniser.name!r}"
            )
        self.source, self.featurizer = source, featurizer
        self._table = featurizer.table(source.tokens.words)
        self.report = AlignmentReport(len(source.texts), sum(len(text.entities) for text in source.texts))
        self._numbers = {name: number for number, name in enumerate(self.types)}
        self._spans = [self._spans_of(place) for place in range(len(source.texts))]
        self.windows: list[tuple[int, TextWindow]] = []
        for place in range(len(source.texts)):
            found = text_windows(self._table.costs[source.tokens.of(place)[0]], max_length)
            self._note(place, found)
            self.windows += ((place, window) for window in found)
        self.lengths = np.array([window.past - window.first for _, window in self.windows], np.int64)
        self.owners = np.array([place for place, _ in self.windows], np.int64)

    def longest(self) -> int:
        """Return the largest number of tokens, or wordpieces, of an example, at least 1."""
        costs = (
            self._table.costs[self.source.tokens.of(place)[0][window.first : window.past]].sum()
            for place, window in self.windows
        )
        return max(1, max(map(int, costs), default=1))

    def overlapped(self) -> int:
        """Return the number of entities that a tagger without nested entities cannot learn, see `outermost`."""
        return sum(len(spans) - len(outermost(spans.tolist())) for spans in self._spans)

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> EntityExample:  # type: ignore[override]
        place, window = self.windows[index]
        tokens, spans = self.source.tokens.of(place)[0], self._spans[place]
        inside = (spans[:, 1] >= window.first) & (spans[:, 2] < window.past)
        text = self.featurizer.features(self._table, tokens[window.first : window.past])
        return EntityExample(text, spans[inside] - [0, window.first, window.first])

    def collate(self, examples: Sequence[EntityExample]) -> EntityBatch:
        """Pad examples to a batch; there must be at least one."""
        spans = [np.insert(example.spans, 0, item, 1) for item, example in enumerate(examples)]
        text = self.featurizer.collate([example.text for example in examples])
        return EntityBatch(text, torch.from_numpy(np.concatenate(spans)))

    def _spans_of(self, place: int) -> np.ndarray:
        """Return the entities of a text as (k, 3) int64, type, first and last token, without duplicates."""
        text, spans = self.source.texts[place], set()
        for entity in text.entities:
            number = self._numbers.get(entity.type)
            if number is None:
                raise ValueError(f"EntitySet: types must hold {entity.type!r}, the type of an entity ({text.id})")
            name = f"{entity.type} {text.surface(entity)!r}"
            found = self.source.token_span(place, entity)
            if found is None:
                self.report.lost.append((text.id, f"{name} holds no token"))
                continue
            first, last, widened = found
            if widened:
                self.report.widened.append((text.id, f"{name} cuts tokens"))
            if (number, first, last) in spans:
                self.report.merged.append((text.id, f"{name} is the same as another one"))
            spans.add((number, first, last))
        return np.array(sorted(spans), np.int64).reshape(-1, 3)

    def _note(self, place: int, windows: Sequence[TextWindow]) -> None:
        """Report a text without tokens, and entities that no window holds whole."""
        name = self.source.texts[place].id
        if not windows:
            self.report.left_out.append((name, "the text holds no token"))
        for _, first, last in self._spans[place].tolist() if len(windows) > 1 else ():
            if not any(window.first <= first and last < window.past for window in windows):
                self.report.cut.append((name, f"tokens {first} to {last} lie in no window whole"))
