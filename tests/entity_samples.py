"""Small texts with nested entities to train and ask taggers."""

from __future__ import annotations

from pathlib import Path

import torch
from encoder_samples import BERT, piece_json

from pydlx.data import AnnotatedText, Entity, TokenisedEntities, write_entities
from pydlx.data.text import TextFeaturizer, Vocabulary, bigram_counts, character_counts, create_tokeniser
from pydlx.models import create_model

PLACES = ("Rome", "Oslo", "New York", "Lima", "Delhi", "Quito", "Paris", "Seoul")
TYPES = ["LOC", "PER"]


def annotated(number: int) -> AnnotatedText:
    """A text with a person, whose name holds a place."""
    place = PLACES[number % len(PLACES)]
    text = f"In {1900 + number} Anna of {place} saw a cat."
    start, inner = text.index("Anna"), text.index(place)
    last = inner + len(place) - 1
    return AnnotatedText(f"line {number + 1}", text, (Entity("PER", start, last), Entity("LOC", inner, last)))


def entity_file(path: Path, count: int = 8) -> Path:
    write_entities(path, [annotated(number) for number in range(count)])
    return path


def featurizer_of(texts: TokenisedEntities, pieces: str | None = None) -> TextFeaturizer:
    counts = texts.tokens.word_counts()
    from pydlx.data.text import PieceTokeniser

    return TextFeaturizer(
        texts.tokeniser,
        Vocabulary.from_counts(counts),
        bigrams=Vocabulary.from_counts(bigram_counts(texts.tokens)),
        characters=Vocabulary.from_counts(character_counts(counts)),
        pieces=None if pieces is None else PieceTokeniser(pieces),
    )


def tiny_tagger(name="global_pointer", *, encoder="lstm", max_length=64, seed=0, **options):
    """An untrained tagger with a vocabulary, in evaluation mode, that finds some spans."""
    texts = TokenisedEntities([annotated(number) for number in range(8)], create_tokeniser("words"))
    featurizer = featurizer_of(texts, piece_json() if encoder == "hugging_face" else None)
    torch.manual_seed(seed)
    own = {"head_size": 4} if "pointer" in name else {}
    assert featurizer.bigrams is not None and featurizer.characters is not None
    model = create_model(
        name,
        types=len(TYPES),
        encoder=encoder,
        vocabulary_size=len(featurizer.vocabulary),
        word_dim=6,
        bigram_count=len(featurizer.bigrams),
        bigram_dim=3,
        character_count=len(featurizer.characters),
        character_dim=3,
        character_filters=4,
        hidden=8,
        heads=2,
        encoder_config=BERT if encoder == "hugging_face" else None,
        **{**own, **options},
    )
    with torch.no_grad():
        for weights in model.parameters():
            weights.mul_(2)
    model.companion = {"featurizer": featurizer.state(), "types": TYPES, "max_length": max_length}
    return model.eval()
