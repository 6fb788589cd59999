"""Answers as token spans and back, and windows over long passages."""

import numpy as np
import pytest

from pydlx.data.reading import TokenisedQuestions, answer_characters, answer_tokens, create_tokeniser, windows

PASSAGE = "In 1,000 days, we will go."  # In|1,000|days|,|we|will|go|.
OFFSETS = np.array(create_tokeniser("words")(PASSAGE))


@pytest.mark.parametrize(
    ("answer", "first", "last", "text"),
    [
        ("1,000 days", 1, 2, "1,000 days"),
        ("In", 0, 0, "In"),
        (".", 7, 7, "."),
        (" days", 2, 2, "days"),
        ("days, ", 2, 3, "days,"),
        ("000 days", 1, 2, "1,000 days"),
        ("wi", 5, 5, "will"),
        ("n 1", 0, 1, "In 1,000"),
    ],
)
def test_answers_take_the_tokens_that_they_touch(answer, first, last, text):
    start = PASSAGE.index(answer)
    span = answer_tokens(OFFSETS, start, start + len(answer))
    assert span[:2] == (first, last)
    assert span.widened == (text != answer.strip())
    start, end = answer_characters(OFFSETS, first, last)
    assert PASSAGE[start:end] == text


def test_white_space_is_no_answer():
    assert answer_tokens(OFFSETS, 2, 3) is None
    assert answer_tokens(np.empty((0, 2), int), 0, 3) is None


@pytest.mark.parametrize(
    ("name", "tokeniser", "located", "widened"),
    [
        ("squad/xquad.en", "words", 1190, 1),
        ("squad/expmrc-squad-dev", "words", 1673, 6),
        ("cmrc2018/cmrc2018_trial", "characters", 1002, 1),
        ("cmrc2018/cmrc2018_dev", "characters", 9464, 7),
    ],
)
def test_real_answers_come_back_exactly(shared_data, name, tokeniser, located, widened):
    tokenised = TokenisedQuestions(shared_data / f"{name}.json", create_tokeniser(tokeniser))
    found = wide = 0
    for question, passage in zip(tokenised.questions, tokenised.passages, strict=True):
        _, offsets = tokenised.texts.of(passage)
        for answer in question.answers:
            if answer.start >= 0:
                span = answer_tokens(offsets, answer.start, answer.start + len(answer.text))
                start, end = answer_characters(offsets, span.first, span.last)
                text = question.passage[start:end]
                assert answer.text.strip() in text
                assert span.widened == (text != answer.text.strip())
                found, wide = found + 1, wide + span.widened
    assert (found, wide) == (located, widened)


@pytest.mark.parametrize("length", [1, 4, 5, 6, 9, 17, 40])
@pytest.mark.parametrize(("size", "stride"), [(5, 1), (5, 3), (5, 5), (50, 25)])
def test_windows_hold_every_token_and_every_short_span(length, size, stride):
    found = windows(length, size, stride)
    assert found == sorted(set(found))
    assert {past - first for first, past in found} == {min(size, length)}
    assert {place for first, past in found for place in range(first, past)} == set(range(length))
    span = min(size - stride + 1, length)
    for start in range(length - span + 1):
        assert any(first <= start and start + span <= past for first, past in found)


@pytest.mark.parametrize("answer", [(a, b) for a in range(12) for b in range(a, 12)])
def test_an_answer_that_fits_a_window_is_in_one(answer):
    found = windows(12, 5, 5, answer)
    holding = [(first, past) for first, past in found if first <= answer[0] and answer[1] < past]
    assert bool(holding) == (answer[1] - answer[0] < 5)
    assert len(found) <= 4
    assert all(first >= 0 and past == first + 5 <= 12 for first, past in found)
    assert set(windows(12, 5, 5)) <= set(found)


@pytest.mark.parametrize("seed", range(40))
def test_windows_hold_as_many_tokens_as_fit(seed):
    """Windows by the size of each token: every token and short span is in a window, and an answer that fits."""
    draw = np.random.default_rng(seed)
    length, size = draw.integers(1, 30), draw.integers(4, 15)
    stride, costs = draw.integers(1, size + 1), draw.integers(1, 5, length)
    first = draw.integers(0, length)
    last = draw.integers(first, length)
    found = windows(int(length), int(size), int(stride), (int(first), int(last)), costs=costs)
    assert found == sorted(set(found))
    assert all(costs[start:past].sum() <= size for start, past in found)
    assert all(past == length or costs[start : past + 1].sum() > size for start, past in found)
    for start in range(length):
        for past in range(start + 1, length + 1):
            if costs[start:past].sum() <= size - stride - 3 or past == start + 1:
                assert any(a <= start and past <= b for a, b in found)
    held = any(a <= first and last < b for a, b in found)
    assert held == (costs[first : last + 1].sum() <= size)
    plain = (int(length), int(size), int(stride), (int(first), int(last)))
    assert windows(*plain, costs=np.ones(length, int)) == windows(*plain)


def test_a_token_larger_than_a_window_has_a_window_of_its_own():
    assert windows(4, 3, 2, costs=np.array([1, 9, 1, 1])) == [(0, 1), (1, 2), (2, 4)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 5, 1), "windows: length must be positive, got 0"),
        ((9, 0, 1), "windows: size must be positive, got 0"),
        ((9, 5, 6), "windows: stride must be from 1 to 5, got 6"),
    ],
)
def test_windows_refuse(arguments, message):
    with pytest.raises(ValueError, match=message):
        windows(*arguments)
