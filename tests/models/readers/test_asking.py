"""Answers of readers: probabilities, character offsets in the passage, windows, and no answer."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from reader_samples import TINY, passage, tiny_reader

from pydlx.data.reading import Featurizer, Question, windows
from pydlx.models import load_model, save_model
from pydlx.models.readers import ConditionalScores, SpanScores, WholeSpanScores, ask, ask_all

LONG = " ".join(passage(n) for n in range(4))  # 77 tokens
QUESTION = "Where does Anna1 live?"


def softmaxes(model, text, question):
    """Returns the probabilities of all spans of a passage, {(start, end) in characters: p}, and of no answer."""
    example = Featurizer.from_state(model.companion["featurizer"])(text, question)
    with torch.no_grad():
        scores = model(example.passage, example.question)
        table, null = PROBABILITIES[type(scores)](scores)
    places, last = example.offsets.tolist(), len(example.offsets)
    found = {
        (places[i][0], places[j][1]): float(table[i, j])
        for i in range(last)
        for j in range(i, min(i + model.companion["answer_length"], last))
        if table[i, j] > 0
    }
    return found, float(null) if scores.null is not None else 0.0


def with_null(scores, null):
    return (scores if null is None else torch.cat([scores, null])).double().softmax(0)


def of_two_ends(scores):
    nulls = (None, None) if scores.null is None else scores.null[0].split(1)
    start, end = (with_null(side[0], null) for side, null in zip(scores[:2], nulls, strict=True))
    return torch.outer(start, end), start[-1] * end[-1]


def of_whole_spans(scores):
    n, width = scores.spans.shape[1:]
    likely = with_null(scores.spans[0].flatten(), None if scores.null is None else scores.null[0])
    table = torch.zeros(n, n + width).double()
    for i, k in itertools.product(range(n), range(width)):
        table[i, i + k] = likely[i * width + k]
    return table, likely[-1]


def of_ends_given_starts(scores):
    start = with_null(scores.start[0], None if scores.null is None else scores.null[0])
    table = torch.zeros(scores.end.shape[2], scores.end.shape[2]).double()
    for given, end in zip(scores.given[0], scores.end[0].double(), strict=True):
        table[given] = start[given] * end.softmax(0)
    return table, start[-1]


PROBABILITIES = {
    SpanScores: of_two_ends,
    WholeSpanScores: of_whole_spans,
    ConditionalScores: of_ends_given_starts,
}


@pytest.mark.parametrize("no_answer", [False, True])
@pytest.mark.parametrize("name", sorted(TINY))
def test_one_window_gives_the_models_softmaxes(name, no_answer):
    model = tiny_reader(name, no_answer=no_answer)
    expected, null = softmaxes(model, passage(1), QUESTION)
    asked = ask(model, passage(1), QUESTION, top_k=1000)
    found = {(answer.start, answer.end): answer.probability for answer in asked.answers}
    assert found == pytest.approx(expected, rel=1e-4)
    assert asked.null_probability == pytest.approx(null, rel=1e-4)
    assert math.isfinite(asked.null_score) == no_answer
    assert all(answer.text == passage(1)[answer.start : answer.end] for answer in asked.answers)
    probabilities = [answer.probability for answer in asked.answers]
    assert probabilities == sorted(probabilities, reverse=True)


def sum_over_windows(model, text, question):
    """Probabilities are normalised over exp(score) of all spans of all windows, plus no answer once."""
    featurizer = Featurizer.from_state(model.companion["featurizer"])
    offsets, total, null = featurizer(text, question).offsets.tolist(), 0.0, 0.0
    for first, past in windows(len(offsets), 20, 10):
        example = featurizer(text[offsets[first][0] : offsets[past - 1][1]], question)
        with torch.no_grad():
            scores = model(example.passage, example.question)
        start, end = (float(side[0].double().exp().sum()) for side in scores[:2])
        if scores.null is not None:
            start, end = (
                side + math.exp(score) for side, score in zip((start, end), scores.null[0].tolist(), strict=True)
            )
            null = math.exp(sum(scores.null[0].tolist()))
        total += start * end - null
    return total + null


@pytest.mark.parametrize("no_answer", [False, True])
def test_windows_list_an_answer_once_and_share_the_probability(no_answer):
    model = tiny_reader(no_answer=no_answer, max_passage=20)
    asked = ask(model, LONG, QUESTION, top_k=10_000)
    places = [(answer.start, answer.end) for answer in asked.answers]
    assert len(set(places)) == len(places) == 4 * 77 - 6  # all spans of 1 to 4 tokens; each is whole in some window
    assert all(answer.text == LONG[answer.start : answer.end] for answer in asked.answers)
    total = sum(answer.probability for answer in asked.answers) + asked.null_probability
    assert 0.1 < total <= 1 + 1e-6
    scores = [answer.score for answer in asked.answers]
    assert scores == sorted(scores, reverse=True)
    best = asked.answers[0]
    assert best.probability == pytest.approx(math.exp(best.score) / sum_over_windows(model, LONG, QUESTION), rel=1e-4)


def test_the_best_answers_are_the_best_of_all():
    model = tiny_reader(max_passage=20)
    every = ask(model, LONG, QUESTION, top_k=10_000).answers
    assert ask(model, LONG, QUESTION, top_k=7).answers == every[:7]
    short = ask(model, LONG, QUESTION, top_k=10_000, max_length=1).answers
    assert len(short) == 77
    assert all(" " not in answer.text for answer in short)


def test_batches_and_order_change_nothing():
    model = tiny_reader(no_answer=True, max_passage=20)
    texts = [LONG, passage(0), "Rome", " ", passage(2) + passage(3), passage(1)]
    questions = [Question(str(n), text, f"Where does Anna{n} live?") for n, text in enumerate(texts)] * 4
    alone = [next(ask_all(model, [question], top_k=3)) for question in questions]
    for batch_size in (1, 2, 32):
        asked = list(ask_all(model, iter(questions), top_k=3, batch_size=batch_size))
        assert [each.question for each in asked] == questions
        for one, other in zip(alone, asked, strict=True):
            assert [answer[:3] for answer in one.answers] == [answer[:3] for answer in other.answers]
            numbers = [[*(n for a in each.answers for n in a[3:]), *each[2:]] for each in (one, other)]
            assert numbers[0] == pytest.approx(numbers[1], rel=1e-4)


@pytest.mark.parametrize(("text", "question"), [("", "who?"), (" \n", "who?"), ("Rome.", ""), ("Rome.", "\u3000")])
def test_texts_without_tokens_have_no_answer(text, question):
    model = tiny_reader(no_answer=True)
    [asked] = ask_all(model, [Question("1", text, question)])
    assert (asked.answers, asked.best, asked.null_probability) == ([], "", 0)
    empty = "question" if text.strip() else "passage"
    with pytest.raises(ValueError, match=f"ask: {empty} must hold a token, got none but white space"):
        ask(model, text, question)


def test_no_answer_is_best_where_it_is_likelier():
    model = tiny_reader(no_answer=True)
    best = ask(model, passage(1), QUESTION)
    assert best.best == best.answers[0].text
    with torch.no_grad():
        model.null.add_(best.answers[0].score)
    none = ask(model, passage(1), QUESTION)
    assert none.null_probability > none.answers[0].probability
    assert none.answers[0].text == best.answers[0].text
    assert none.best == ""


def test_a_saved_reader_gives_the_same_answers(tmp_path):
    model = tiny_reader(max_passage=20).train()
    save_model(model, tmp_path / "model.pt")
    assert ask(load_model(tmp_path / "model.pt"), LONG, QUESTION, top_k=5) == ask(model, LONG, QUESTION, top_k=5)
    assert not model.training


def test_words_that_are_not_known_are_read():
    asked = ask(tiny_reader(), "Zürich 🎉 二〇", "Où?", top_k=20)
    assert {answer.text for answer in asked.answers} >= {"Zürich", "🎉", "Zürich 🎉"}


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-4), (torch.bfloat16, 0.3), (torch.float16, 0.05)])
@pytest.mark.parametrize("name", sorted(TINY))
def test_readers_of_other_dtypes_answer_alike(name, dtype, tolerance):
    whole, other = tiny_reader(name, no_answer=True), tiny_reader(name, no_answer=True).to(dtype)
    expected, found = (
        {answer.text: answer.score for answer in ask(model, passage(1), QUESTION, top_k=1000).answers}
        for model in (whole, other)
    )
    assert found == pytest.approx(expected, rel=tolerance, abs=tolerance)


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_a_reader_without_scores_is_refused(wrong):
    model = tiny_reader(max_passage=20)
    with torch.no_grad():
        model.end.weight.fill_(wrong)
    with pytest.raises(ValueError, match=r"^ask_all: model must give numbers for scores, got a sum .* of (nan|inf)"):
        ask(model, LONG, QUESTION)


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_a_reader_without_scores_of_ends_is_refused(wrong):
    model = tiny_reader("fastqa")
    with torch.no_grad():
        model.end.outer.weight.fill_(wrong)
    with pytest.raises(ValueError, match=r"^ask_all: model must give numbers for scores, got (nan|inf)"):
        ask(model, LONG, QUESTION)


def without_vocabulary():
    model = tiny_reader()
    model.companion = None
    return model


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ask_all(without_vocabulary(), []), ValueError, "model must have a vocabulary, as those that pydlx"),
        (lambda: ask_all(tiny_reader(), [], top_k=0), ValueError, "top_k must be positive, got 0"),
        (lambda: ask_all(tiny_reader(), [], max_length=0), ValueError, "max_length must be positive, got 0"),
        (lambda: ask_all(tiny_reader(), [], batch_size=0), ValueError, "batch_size must be positive, got 0"),
        (lambda: ask_all(tiny_reader(), 3), TypeError, "questions must be a sequence of Question, got 3"),
        (lambda: list(ask_all(tiny_reader(), ["who?"])), TypeError, "must hold nothing but Question, got 'who\\?'"),
        (lambda: ask_all(torch.nn.Identity(), []), TypeError, "model must be a reader, got Identity"),
    ],
)
def test_refusals(call, error, message):
    """Arguments are checked at the call, each question when it is reached."""
    with pytest.raises(error, match=f"^ask_all: .*{message}"):
        call()
