"""Texts with entities as examples for a tagger: characters become tokens, and tokens exact characters again."""

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
    """What a window shows of a text.

    Attributes:
        text: Its n tokens.
        spans: (k, 3) int64: type, first and last token, inclusive, of each entity that lies in the window whole.
    """

    text: TextFeatures
    spans: np.ndarray


class EntityBatch(NamedTuple):
    """What a tagger learns from.

    Attributes:
        text: B texts of up to n tokens.
        spans: (N, 4) int64: text, type, first and last token, inclusive, of each entity.
    """

    text: TextBatch
    spans: Tensor


@dataclass
class AlignmentReport(Report):
    """What happened to entities on their way to tokens. Nothing is dropped that is not listed here.

    Attributes:
        texts: How many there are.
        entities: How many they have.
        widened: Entities that begin or end inside a token, and were widened to its edges. Of such a tagger can find
            the widened form only.
        lost: Entities that hold no token, being white space.
        merged: Entities that are the same as another one once they are tokens.
        cut: Entities that no window holds whole.
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
    """Texts with entities, cut into tokens. Texts that come as tokens stay as they are.

    Args:
        texts: Of a reader of files, or one's own.
        tokeniser: As of ``create_tokeniser``.

    Attributes:
        texts: All of them.
        tokeniser: What cut them.
        tokens: Their tokens; offsets count the characters of the text, or of its tokens with a space between two.
    """

    def __init__(self, texts: Iterable[AnnotatedText], tokeniser: Tokeniser) -> None:
        check_tokeniser("TokenisedEntities", "tokeniser", tokeniser)
        self.texts = listed("TokenisedEntities", "texts", texts, "annotated texts")
        for text in self.texts:
            check_type("TokenisedEntities", "texts", text, AnnotatedText, "annotated texts")
        self.tokeniser = tokeniser
        self.tokens: TokenisedTexts = tokenise([text.text for text in self.texts], tokeniser)

    def types(self) -> list[str]:
        """The types that occur, sorted."""
        return sorted({entity.type for text in self.texts for entity in text.entities})

    def token_span(self, place: int, entity: Entity) -> tuple[int, int, bool] | None:
        """First and last token that an entity of a text touches, and whether they hold more than it; None for none."""
        if not isinstance(self.texts[place].text, str):
            return entity.start, entity.end, False
        offsets = self.tokens.of(place)[1]
        first = int(np.searchsorted(offsets[:, 1], entity.start, side="right"))
        last = int(np.searchsorted(offsets[:, 0], entity.end, side="right")) - 1
        if last < first:
            return None
        return first, last, bool(offsets[first, 0] < entity.start or offsets[last, 1] > entity.end + 1)

    def text_span(self, place: int, first: int, last: int) -> tuple[int, int]:
        """Where tokens `first` to `last` stand in a text: its characters, inclusive, or its tokens as they came."""
        if not isinstance(self.texts[place].text, str):
            return first, last
        offsets = self.tokens.of(place)[1]
        return int(offsets[first, 0]), int(offsets[last, 1]) - 1


def outermost(spans: Iterable[Sequence[int]]) -> list[Sequence[int]]:
    """Of spans (type, first, last) that overlap, the one that stays where a token has one tag.

    The longest comes first, then the earliest, then that of the lowest type: of nested ones the outermost stays.
    """
    kept: list[Sequence[int]] = []
    for span in sorted(spans, key=lambda span: (span[1] - span[2], span[1], span[0])):
        if all(span[2] < other[1] or other[2] < span[1] for other in kept):
            kept.append(span)
    return kept


class EntitySet(Sequence[EntityExample]):
    """Texts with entities as examples for a tagger, in windows where a text is longer than the tagger reads.

    Args:
        source: The texts, tokenised by the featurizer's tokeniser.
        featurizer: Makes tensors.
        types: Names by number. An entity of another type is an error.
        max_length: Tokens, or wordpieces if the featurizer makes such, of a window.

    Attributes:
        windows: (text, window) of each example.
        lengths: (N,) int64, tokens of each example, for :func:`length_buckets`.
        owners: (N,) int64, the place of each example's text.
        report: What was changed, lost or left out.

    Raises:
        ValueError: If an entity is of no known type, or there are no types.
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
        """What the longest example fills of a window, 1 at least."""
        costs = (
            self._table.costs[self.source.tokens.of(place)[0][window.first : window.past]].sum()
            for place, window in self.windows
        )
        return max(1, max(map(int, costs), default=1))

    def overlapped(self) -> int:
        """How many entities a tagger cannot learn, see `outermost`."""
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
        """Pads examples to a batch; there must be one at least."""
        spans = [np.insert(example.spans, 0, item, 1) for item, example in enumerate(examples)]
        text = self.featurizer.collate([example.text for example in examples])
        return EntityBatch(text, torch.from_numpy(np.concatenate(spans)))

    def _spans_of(self, place: int) -> np.ndarray:
        """The entities of a text as (k, 3) type, first and last token, each once."""
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
        """Takes note of what the windows of a text do not hold."""
        name = self.source.texts[place].id
        if not windows:
            self.report.left_out.append((name, "the text holds no token"))
        for _, first, last in self._spans[place].tolist() if len(windows) > 1 else ():
            if not any(window.first <= first and last < window.past for window in windows):
                self.report.cut.append((name, f"tokens {first} to {last} lie in no window whole"))
