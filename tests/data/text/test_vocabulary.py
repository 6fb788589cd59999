"""Vocabularies and word ids."""

import pytest

from pydlx.data.text import Vocabulary, character_counts


def test_numbers_begin_behind_padding_and_unknown():
    vocabulary = Vocabulary(["the", "Paris"])
    assert vocabulary.words == ["", "", "the", "Paris"]
    assert vocabulary.numbers(["Paris", "The", "THE", "paris", "", "cat"]).tolist() == [3, 2, 2, 1, 1, 1]
    assert len(vocabulary) == 4
    assert "the" in vocabulary and "The" not in vocabulary and "" not in vocabulary


def test_an_exact_word_goes_before_its_lower_case():
    assert Vocabulary(["us", "US"]).numbers(["US", "us", "Us"]).tolist() == [3, 2, 2]


def test_the_most_frequent_words_are_kept():
    counts = {"b": 2, "a": 2, "c": 5, "d": 1}
    assert Vocabulary.from_counts(counts).state() == ["c", "a", "b", "d"]
    assert Vocabulary.from_counts(counts, min_count=2).state() == ["c", "a", "b"]
    assert Vocabulary.from_counts(counts, max_size=2).state() == ["c", "a"]


def test_state_makes_it_again():
    vocabulary = Vocabulary(["x", "y"])
    assert Vocabulary(vocabulary.state()).words == vocabulary.words


def test_characters_count_as_often_as_their_words():
    assert character_counts({"aba": 2, "b": 3}) == {"a": 4, "b": 5}


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (["a", "b", "a"], ValueError, r"Vocabulary: words must be distinct and not empty, got \['a'\]"),
        ([""], ValueError, r"Vocabulary: words must be distinct and not empty, got \[''\]"),
        ([3], TypeError, "Vocabulary: words must be a sequence of words, got 3"),
        ("abc", TypeError, "Vocabulary: words must be a sequence of words, got 'abc'"),
    ],
)
def test_refusals(words, error, message):
    with pytest.raises(error, match=message):
        Vocabulary(words)
