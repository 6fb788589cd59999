"""Texts become words, pairs of characters, characters and wordpieces for taggers, in batches and windows."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

pytest.importorskip("tokenizers")
from encoder_samples import piece_json

from pydlx.data.text import (
    PieceTokeniser,
    TextFeaturizer,
    Vocabulary,
    bigram_counts,
    create_tokeniser,
    text_windows,
    tokenise,
)

SPACES = create_tokeniser("spaces")


def test_given_tokens_stay_as_they_are():
    texts = tokenise([("New York", "is", "big"), "is  big", ()], SPACES)
    assert texts.words == ["New York", "is", "big"]
    assert texts.of(0)[0].tolist() == [0, 1, 2]
    assert texts.of(0)[1].tolist() == [[0, 8], [9, 11], [12, 15]]  # of "New York is big"
    assert texts.of(1)[1].tolist() == [[0, 2], [4, 7]]
    assert not len(texts.of(2)[0])
    assert texts.word_counts() == {"New York": 1, "is": 2, "big": 2}


def test_a_batch_holds_numbers_of_all_parts():
    featurizer = TextFeaturizer(
        SPACES,
        Vocabulary(["b", "cab"]),
        bigrams=Vocabulary([" b", "b cab"]),
        characters=Vocabulary(["a", "b"]),
        pieces=PieceTokeniser(piece_json()),
        max_word=2,
    )
    texts = tokenise(["b cab b", "zz"], SPACES)
    table = featurizer.table(texts.words)
    batch = featurizer.collate([featurizer.features(table, texts.of(text)[0]) for text in (0, 1)])
    assert batch.mask.tolist() == [[True] * 3, [True, False, False]]
    assert batch.lengths.tolist() == [3, 1]
    assert batch.words.tolist() == [[2, 3, 2], [1, 0, 0]]
    assert batch.bigrams.tolist() == [[2, 3, 1], [1, 0, 0]]
    assert batch.characters.tolist() == [[[3, 0], [1, 2], [3, 0]], [[1, 1], [0, 0], [0, 0]]]
    # [CLS] b, c ##a ##b, b [SEP]; letters begin at 4, those within a word at 21; z is unknown.
    assert batch.pieces.ids.tolist() == [[2, 5, 6, 21, 22, 5, 3], [2, 1, 3, 0, 0, 0, 0]]
    assert batch.pieces.mask.sum(1).tolist() == [7, 3]
    assert batch.pieces.first.tolist() == [[1, 2, 5], [1, 0, 0]]
    assert batch.pieces.counts.tolist() == [[1, 3, 1], [1, 0, 0]]
    again = TextFeaturizer.from_state(featurizer.state())
    assert again.state() == featurizer.state()
    other = again.collate([again.features(again.table(texts.words), texts.of(text)[0]) for text in (0, 1)])
    assert torch.equal(other.pieces.ids, batch.pieces.ids)


def test_every_word_has_a_piece_and_long_ones_have_few():
    cut = PieceTokeniser(piece_json(), most=3)
    assert [piece.tolist() for piece in cut(["\x01", "abcdef", "ab"])] == [[1], [4, 22, 23], [4, 22]]
    with pytest.raises(ValueError, match=r"^PieceTokeniser: json must be a tokeniser of tokenizers, got '{}'"):
        PieceTokeniser("{}")


def test_pairs_of_neighbours_are_counted_in_each_text():
    assert bigram_counts(tokenise(["a b", "a b a"], SPACES)) == {" a": 2, "a b": 2, "b a": 1}


def test_texts_without_a_token_make_no_batch():
    featurizer = TextFeaturizer(SPACES, Vocabulary([]))
    empty = featurizer.features(featurizer.table([]), np.empty(0, np.int64))
    for texts in ([], [empty]):
        with pytest.raises(ValueError, match=r"^TextFeaturizer.collate: texts must hold a text at least, and a token"):
            featurizer.collate(texts)


@pytest.mark.parametrize("costs", [[1] * 10, [1, 3, 1, 1, 9, 1, 1, 2, 2, 1], [5] * 4, [1], []])
@pytest.mark.parametrize("limit", [1, 2, 4, 5, 10, 99])
def test_windows_hold_all_and_each_token_has_one_core(costs, limit):
    windows = text_windows(np.array(costs, np.int64), limit)
    assert [token for w in windows for token in range(w.core_first, w.core_past)] == list(range(len(costs)))
    for window in windows:
        assert window.first <= window.core_first <= window.core_past <= window.past
        assert sum(costs[window.first : window.past]) <= limit or window.past == window.first + 1
    assert all(a.first < b.first <= a.past < b.past for a, b in itertools.pairwise(windows))
    assert len(windows) == 1 or not costs or sum(costs) > limit


def test_a_core_lies_in_the_middle_of_its_window():
    assert text_windows(np.ones(20, np.int64), 8) == [(0, 8, 0, 6), (4, 12, 6, 10), (8, 16, 10, 14), (12, 20, 14, 20)]
