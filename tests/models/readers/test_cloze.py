"""Cloze with readers: attention sums over a word's occurrences, and the Python interface."""

from __future__ import annotations

import math

import pytest
import torch
from reader_checks import check_descends
from reader_samples import TINY, task_reader, tiny_reader

from pydlx.data.reading import Answer, ClozeSet, Featurizer, Question
from pydlx.models import load_model, save_model
from pydlx.models.readers import SpanScores, ask, cloze_loss, fill, fill_all, word_probabilities

PASSAGE = "Anna lives in Rome with one cat. May lives in Oslo. XXXXX rains there."
GAP = "XXXXX rains there."
SCORES = SpanScores(torch.zeros(1, 2), torch.zeros(1, 2))


def loop(places, candidates):
    """Returns the probabilities of words by their definition, {first position: p}."""
    scores = {i: math.exp(s) for i, (s, c) in enumerate(zip(places, candidates, strict=True)) if c >= 0}
    sums: dict[int, float] = {}
    for i, score in scores.items():
        sums[candidates[i]] = sums.get(candidates[i], 0) + score / sum(scores.values())
    return sums


def test_a_words_probability_sums_over_its_places():
    draw = torch.Generator().manual_seed(0)
    places = torch.randn(3, 6, generator=draw, dtype=torch.float64)
    candidates = torch.tensor([[0, 1, 0, -1, 1, 0], [0, 1, 2, -1, -1, -1], [-1, 1, -1, 1, 1, 1]])
    scores = SpanScores(places.masked_fill(candidates < -1, -torch.inf), places)
    found = word_probabilities(scores, candidates)
    answer = torch.tensor([1, 2, 1])
    logarithms = []
    for row in range(3):
        sums = loop(places[row].tolist(), candidates[row].tolist())
        assert {i: p for i, p in enumerate(found[row].tolist()) if p} == pytest.approx(sums)
        logarithms.append(math.log(sums[int(answer[row])]))
    assert float(cloze_loss(scores, candidates, answer)) == pytest.approx(-sum(logarithms) / 3)


def test_gradients_are_finite_where_a_word_is_all_but_impossible():
    places = torch.tensor([[300.0, -300.0, -300.0]], requires_grad=True)
    loss = cloze_loss(SpanScores(places, places), torch.tensor([[0, 1, 1]]), torch.tensor([1]))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(600 - math.log(2))
    assert places.grad.tolist()[0] == pytest.approx([1, -0.5, -0.5], rel=1e-3)


@pytest.mark.parametrize("name", sorted(TINY))
def test_every_reader_fills_gaps_alike_in_batches(name):
    model = task_reader("cloze", name)
    questions = [Question("1", PASSAGE, GAP), Question("2", "Rome rains.", "XXXXX lives"), Question("3", " ", GAP)]
    filled = list(fill_all(model, questions, top_k=99))
    assert [each.question.id for each in filled] == ["1", "2", "3"]
    assert sorted(word.text for word in filled[0].words) == sorted(
        {"Anna", "lives", "in", "Rome", "with", "one", "cat", ".", "May", "Oslo", "rains", "there"}
    )
    assert filled[2] == (questions[2], [])
    assert filled[2].best == ""
    for each, question in zip(filled[:2], questions, strict=False):
        alone = fill(model, question.passage, question.question, top_k=99)
        assert [word.text for word in alone.words] == [word.text for word in each.words]
        probabilities = [word.probability for word in each.words]
        assert probabilities == pytest.approx([word.probability for word in alone.words], rel=1e-4)
        assert probabilities == sorted(probabilities, reverse=True)
        assert sum(probabilities) == pytest.approx(1, rel=1e-4)
        assert each.best == each.words[0].text


@pytest.mark.parametrize("name", sorted(TINY))
def test_every_reader_can_learn_to_fill_a_gap(name):
    model = task_reader("cloze", name).double()
    featurizer = Featurizer.from_state(model.companion["featurizer"])
    batch = ClozeSet.collate(
        list(ClozeSet([Question("1", PASSAGE, GAP, (Answer("cat", PASSAGE.index("cat")),))], featurizer))
    )
    check_descends(model, lambda: cloze_loss(model(batch.passage, batch.question), batch.candidates, batch.answer))


def test_a_saved_reader_fills_gaps_the_same(tmp_path):
    model = task_reader("cloze")
    save_model(model, tmp_path / "model.pt")
    assert fill(load_model(tmp_path / "model.pt"), PASSAGE, GAP) == fill(model, PASSAGE, GAP)


def broken():
    model = task_reader("cloze")
    with torch.no_grad():
        model.start_outer.weight.fill_(torch.nan)
    return model


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: fill(tiny_reader(), PASSAGE, GAP),
            ValueError,
            "fill: model must be trained for cloze, got one for span",
        ),
        (
            lambda: ask(task_reader("cloze"), PASSAGE, GAP),
            ValueError,
            "ask_all: model must be trained for span or free_answer",
        ),
        (
            lambda: fill(task_reader("cloze"), PASSAGE, "It rains."),
            ValueError,
            "fill: question must hold XXXXX, got 'It rains.'",
        ),
        (
            lambda: fill(task_reader("cloze"), PASSAGE, "AnnaXXXXX rains."),
            ValueError,
            "fill: question must hold XXXXX as a token of its own, got 'AnnaXXXXX rains.'",
        ),
        (
            lambda: word_probabilities(SCORES, torch.tensor([[0, 2]])),
            ValueError,
            "word_probabilities: candidates must be places of 2 tokens or -1, got 2",
        ),
        (lambda: fill(task_reader("cloze"), " ", GAP), ValueError, "fill: passage must hold a token, got none"),
        (
            lambda: list(fill_all(task_reader("cloze"), ["x"])),
            TypeError,
            "must hold nothing but Question, got",
        ),
        (lambda: fill(broken(), PASSAGE, GAP), ValueError, "fill_all: model must give numbers for scores, got NaN"),
    ],
)
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()
