"""Questions and passages become tensors."""

import io

import numpy as np
import pytest
import torch
from encoder_samples import piece_json

from pydlx.data.reading import Featurizer, Vocabulary, create_tokeniser
from pydlx.data.text import PieceTokeniser, TextFeaturizer, tokenise

WORDS = Vocabulary(["the", "cat", "sat", "Sat", "where"])
LETTERS = Vocabulary([*"catshewr"])


def featurizer(**options):
    return Featurizer(create_tokeniser("words"), WORDS, LETTERS, **({"max_word": 4} | options))


def test_numbers_characters_and_places():
    example = featurizer()("The cat  Sat where?", "Where the cat")
    assert example.passage.words.tolist() == [[2, 3, 5, 6, 1]]
    assert example.question.words.tolist() == [[6, 2, 3]]
    assert example.passage.characters.tolist() == [
        [[4, 6, 7, 0], [2, 3, 4, 0], [5, 3, 4, 0], [8, 6, 7, 9], [1, 0, 0, 0]]
    ]
    assert example.offsets.tolist() == [[0, 3], [4, 7], [9, 12], [13, 18], [18, 19]]
    assert (example.start, example.end) == (-1, -1)
    assert example.passage.words.dtype == example.passage.characters.dtype == torch.int64


def test_features_compare_both_texts():
    example = featurizer(features=("exact", "lower", "tf"))("The cat the CAT sat", "the Cat")
    assert example.passage.features.dtype == torch.float32
    expected = [[0, 1, 0.4], [0, 1, 0.4], [1, 1, 0.4], [0, 1, 0.4], [0, 0, 0.2]]
    torch.testing.assert_close(example.passage.features[0], torch.tensor(expected))
    torch.testing.assert_close(example.question.features[0], torch.tensor([[1, 1, 0.5], [0, 1, 0.5]]))
    chosen = featurizer(features=("tf", "exact"))("The cat the CAT sat", "the Cat")
    assert torch.equal(chosen.passage.features, example.passage.features[..., [2, 0]])


def longest_run(tokens, other, place):
    """Returns the length of the longest run of tokens around a position that also occurs in another text."""
    runs = [
        tokens[start:past] for start in range(place + 1) for past in range(place + 1, min(start + 8, len(tokens)) + 1)
    ]
    there = {tuple(other[start:past]) for start in range(len(other)) for past in range(start + 1, len(other) + 1)}
    return max((len(run) for run in runs if tuple(run) in there), default=0)


@pytest.mark.parametrize("size", [1, 5, 30])
def test_runs_are_those_that_both_texts_hold(size):
    draw = np.random.default_rng(size)
    passage, question = ([("The", "cat", "SAT", "on")[n] for n in draw.integers(0, 4, size * k)] for k in (2, 1))
    passage[:size] = [word.lower() for word in question]  # a run as long as the question
    example = featurizer(features=("run",))(" ".join(passage), " ".join(question))
    texts = [[word.lower() for word in text] for text in (passage, question)]
    for side, own, other in ((example.passage, *texts), (example.question, *texts[::-1])):
        expected = [longest_run(own, other, place) / 8 for place in range(len(own))]
        torch.testing.assert_close(side.features[0, :, 0], torch.tensor(expected))


def test_characters_and_features_may_be_left_out():
    plain = Featurizer(create_tokeniser("words"), WORDS, features=())
    batch = plain.collate([plain("the cat", "where")])
    assert batch.passage.characters is batch.passage.features is batch.question.features is None


def test_a_batch_is_each_example_with_zeros_behind():
    make = featurizer()
    pairs = [("the cat sat where", "where"), ("cat", "the cat sat where the"), ("sat cat", "a b")]
    examples = [make(*pair)._replace(start=0, end=place) for place, pair in enumerate(pairs)]
    batch = make.collate(examples)
    assert batch.start.tolist() == [0, 0, 0] and batch.end.tolist() == [0, 1, 2]
    for side, lengths in (("passage", [4, 1, 2]), ("question", [1, 5, 2])):
        tokens = getattr(batch, side)
        assert tokens.lengths.tolist() == lengths
        for row, example in enumerate(examples):
            for whole, part in zip(tokens[:3], getattr(example, side)[:3], strict=True):
                assert torch.equal(whole[row, : lengths[row]], part[0])
                assert not whole[row, lengths[row] :].any()


def test_pieces_stand_beside_the_tokens_that_they_are_of():
    pytest.importorskip("tokenizers")
    make = featurizer(pieces=PieceTokeniser(piece_json()))
    batch = make.collate([make("b cab b", "ab"), make("ab", "b cab b")])
    for side, texts in (("passage", ["b cab b", "ab"]), ("question", ["ab", "b cab b"])):
        plain = TextFeaturizer(make.tokeniser, WORDS, pieces=make.pieces)
        cut = tokenise(texts, plain.tokeniser)
        table = plain.table(cut.words)
        wanted = plain.collate([plain.features(table, cut.of(text)[0]) for text in (0, 1)]).pieces
        for found, part in zip(getattr(batch, side).pieces, wanted, strict=True):
            assert torch.equal(found, part)
            assert found.dtype == part.dtype
    again = Featurizer.from_state(make.state())
    assert again.state() == make.state()
    assert torch.equal(again("cab", "b").passage.pieces.ids, make("cab", "b").passage.pieces.ids)
    assert "pieces" not in featurizer().state()  # as in files written before ``pieces`` existed


def test_a_question_may_be_longer_than_its_passage():
    example = featurizer()("cat", "where the cat sat")
    assert example.passage.words.shape == (1, 1) and example.question.words.shape == (1, 4)


@pytest.mark.parametrize("characters", [LETTERS, None])
def test_state_goes_through_a_checkpoint(characters):
    make = Featurizer(create_tokeniser("characters"), WORDS, characters, features=["tf"], max_word=7)
    buffer = io.BytesIO()
    torch.save(make.state(), buffer)
    buffer.seek(0)
    again = Featurizer.from_state(torch.load(buffer, weights_only=True))
    assert again.state() == make.state()
    before, after = (m.collate([m("the 猫 sat", "Where sat")]) for m in (make, again))
    assert torch.equal(before.passage.features, after.passage.features)
    assert torch.equal(before.passage.words, after.passage.words)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: featurizer()("", "where"), "Featurizer: passage must hold a token, got none but white space"),
        (lambda: featurizer()("cat", " \n"), "Featurizer: question must hold a token, got none but white space"),
        (
            lambda: featurizer(features=("pos",)),
            "Featurizer: features must be one of 'exact', 'lower', 'tf', 'run', got 'pos'",
        ),
        (lambda: featurizer(max_word=0), "Featurizer: max_word must be positive, got 0"),
        (lambda: Featurizer.collate([]), "Featurizer.collate: examples must hold at least one, got none"),
        (lambda: Featurizer.from_state({}), "Featurizer.from_state: state must hold tokeniser, .*, got none of"),
        (lambda: Featurizer.from_state(featurizer().state() | {"tokeniser": "own"}), "must be one of 'words'"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_wrong_types_are_refused():
    with pytest.raises(
        TypeError, match="Featurizer: tokeniser must be a tokeniser, as of create_tokeniser, got 'words'"
    ):
        Featurizer("words", WORDS)
    with pytest.raises(TypeError, match="Featurizer: passage must be text, got None"):
        featurizer()(None, "where")
