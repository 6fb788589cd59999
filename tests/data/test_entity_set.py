"""Entities are converted from characters to tokens and back exactly; losses are counted."""

from __future__ import annotations

import pytest

pytest.importorskip("tokenizers")
from entity_samples import annotated, featurizer_of

from pydlx.data import AnnotatedText, Entity, EntitySet, TokenisedEntities
from pydlx.data.text import create_tokeniser

WORDS = create_tokeniser("words")


def set_of(*texts, types=("LOC", "PER"), tokeniser=WORDS, **options):
    source = TokenisedEntities(texts, tokeniser)
    return EntitySet(source, featurizer_of(source), list(types), **options)


def text(words, *entities, id="here"):
    return AnnotatedText(id, words, tuple(Entity(*entity) for entity in entities))


def test_every_entity_comes_back_to_its_characters():
    texts = [annotated(number) for number in range(8)]
    examples = set_of(*texts)
    assert str(examples.report) == "8 texts, 16 entities"
    for place, example in enumerate(examples):
        back = {
            Entity(examples.types[kind], *examples.source.text_span(place, start, end))
            for kind, start, end in example.spans.tolist()
        }
        assert back == set(texts[place].entities)
    assert examples.source.types() == ["LOC", "PER"]


def test_tokens_that_were_given_are_those_of_the_spans():
    given = text(("New York", "is", "in", "the", "USA"), ("LOC", 0, 0), ("LOC", 3, 4))
    examples = set_of(given)
    assert examples[0].spans.tolist() == [[0, 0, 0], [0, 3, 4]]
    assert examples.source.text_span(0, 3, 4) == (3, 4)


def test_entities_that_are_not_whole_tokens_are_counted():
    """Parts of `Anna` are widened to the token, where they become duplicates; white space is lost."""
    words = text("Anna  ist", ("PER", 0, 1), ("PER", 0, 3), ("LOC", 3, 4), ("LOC", 4, 5))
    examples = set_of(words, text("  \n"), annotated(0))
    assert str(examples.report) == "3 texts, 6 entities, 2 widened, 1 lost, 1 merged, 1 left out"
    assert examples.report.widened == [("here", "PER 'An' cuts tokens"), ("here", "LOC 'a ' cuts tokens")]
    assert examples.report.merged == [("here", "PER 'Anna' is the same as another one")]
    assert examples.report.lost == [("here", "LOC '  ' holds no token")]
    assert examples.report.left_out == [("here", "the text holds no token")]
    assert examples[0].spans.tolist() == [[0, 0, 0], [1, 0, 0]]
    assert [place for place, _ in examples.windows] == [0, 2]


def test_signs_of_several_bytes_count_as_one():
    words = text("𠮷野家 and Ánna 🍜", ("LOC", 0, 2), ("PER", 8, 11))
    examples = set_of(words, tokeniser=create_tokeniser("characters"))
    assert examples[0].spans.tolist() == [[0, 0, 2], [1, 4, 4]]
    assert examples.source.text_span(0, 4, 5) == (8, 13)


def test_long_texts_are_windows_and_entities_between_them_are_counted():
    tokens = tuple("abcdefghij")
    examples = set_of(text(tokens, ("PER", 0, 0), ("PER", 3, 4), ("LOC", 2, 6), ("PER", 9, 9)), max_length=4)
    assert [(w.first, w.past) for _, w in examples.windows] == [(0, 4), (2, 6), (4, 8), (6, 10)]
    assert [example.spans.tolist() for example in examples] == [[[1, 0, 0]], [[1, 1, 2]], [], [[1, 3, 3]]]
    assert examples.report.cut == [("here", "tokens 2 to 6 lie in no window whole")]
    assert examples.lengths.tolist() == [4] * 4


def test_the_longest_window_and_entities_that_tags_cannot_hold():
    examples = set_of(text("Anna of Rome saw a cat", ("PER", 0, 11), ("LOC", 8, 11), ("LOC", 19, 21)), text("no"))
    assert (examples.longest(), examples.overlapped()) == (6, 1)
    assert set_of(text("Anna of Rome saw a cat"), max_length=4).longest() == 4
    assert set_of(text(" ")).longest() == 1


def test_a_batch_names_the_text_of_each_entity():
    examples = set_of(annotated(0), text("nobody"), annotated(1))
    batch = examples.collate([examples[place] for place in range(3)])
    assert batch.text.mask.sum(1).tolist() == [9, 1, 9]
    assert batch.spans.tolist() == [[0, 0, 4, 4], [0, 1, 2, 4], [2, 0, 4, 4], [2, 1, 2, 4]]
    assert examples.collate([examples[1]]).spans.shape == (0, 4)


@pytest.mark.parametrize(
    ("types", "message"),
    [([], "types must hold a name at least, got none"), (["LOC"], "types must hold 'PER', the type of an entity")],
)
def test_types_must_be_known(types, message):
    with pytest.raises(ValueError, match=f"^EntitySet: {message}"):
        set_of(annotated(0), types=types)


def test_texts_must_be_cut_as_the_featurizer_cuts():
    source = TokenisedEntities([annotated(0)], create_tokeniser("spaces"))
    other = featurizer_of(TokenisedEntities([annotated(0)], WORDS))
    with pytest.raises(ValueError, match=r"^EntitySet: source must be tokenised by 'words', got 'spaces'"):
        EntitySet(source, other, ["LOC", "PER"])
