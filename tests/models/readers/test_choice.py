"""Multiple choice with readers: the softmax over the choices, and the Python interface."""

from __future__ import annotations

import math

import pytest
import torch
from reader_checks import check_descends
from reader_samples import TINY, task_reader, tiny_reader

from pydlx.data.reading import ChoiceQuestion, ChoiceSet, Featurizer
from pydlx.models.readers import SpanScores, choice_log_probabilities, choice_loss, choose, choose_all

PASSAGE = "Anna lives in Rome with one cat. May lives in Oslo."
QUESTION = "Where does May live?"
CHOICES = ("In Rome.", "In Oslo.", "there")


def test_choices_are_compared_by_the_sum_over_all_spans():
    draw = torch.Generator().manual_seed(0)
    start, end = torch.randn(2, 5, 4, generator=draw, dtype=torch.float64)
    start[1, 3] = end[1, 3] = -torch.inf
    found = choice_log_probabilities(SpanScores(start, end), torch.tensor([3, 2]))
    masses = [sum(math.exp(start[row, i] + end[row, j]) for i in range(4) for j in range(4)) for row in range(5)]
    first, second = sum(masses[:3]), sum(masses[3:])
    wanted = [[mass / first for mass in masses[:3]], [*(mass / second for mass in masses[3:]), 0]]
    torch.testing.assert_close(found.exp(), torch.tensor(wanted, dtype=torch.float64))
    loss = choice_loss(SpanScores(start, end), torch.tensor([3, 2]), torch.tensor([2, 0]))
    assert float(loss) == pytest.approx(-(math.log(masses[2] / first) + math.log(masses[3] / second)) / 2)
    for counts in ([3, 1], [5, 0], [6, -1]):
        with pytest.raises(ValueError, match=r"counts must be positive, of shape \(B,\), and 5 in all, got"):
            choice_log_probabilities(SpanScores(start, end), torch.tensor(counts))


@pytest.mark.parametrize("name", sorted(TINY))
def test_every_reader_chooses_alike_in_batches(name):
    model = task_reader("choice", name)
    questions = [
        ChoiceQuestion("1", PASSAGE, QUESTION, CHOICES),
        ChoiceQuestion("2", "Rome.", QUESTION, CHOICES[:2]),
        ChoiceQuestion("3", "", QUESTION, CHOICES),
    ]
    chosen = list(choose_all(model, questions))
    assert chosen[2] == (questions[2], [])
    assert chosen[2].best == ""
    for each, question in zip(chosen[:2], questions, strict=False):
        alone = choose(model, question.passage, question.question, question.choices)
        assert each.probabilities == pytest.approx(alone.probabilities, rel=1e-4)
        assert sum(each.probabilities) == pytest.approx(1, rel=1e-5)
        assert each.best == max(zip(each.probabilities, question.choices, strict=True))[1]


@pytest.mark.parametrize("name", sorted(TINY))
def test_every_reader_can_learn_to_choose(name):
    model = task_reader("choice", name).double()
    featurizer = Featurizer.from_state(model.companion["featurizer"])
    batch = ChoiceSet.collate(list(ChoiceSet([ChoiceQuestion("1", PASSAGE, QUESTION, CHOICES, 1)], featurizer)))
    check_descends(model, lambda: choice_loss(model(batch.passage, batch.question), batch.counts, batch.answer))


def broken():
    model = task_reader("choice")
    with torch.no_grad():
        model.start_outer.weight.fill_(torch.nan)
    return model


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: choose(tiny_reader(), "a", "b", ["c"]),
            ValueError,
            "choose_all: model must be trained for choice, got one for span",
        ),
        (lambda: choose(task_reader("choice"), "a", "b", []), ValueError, "choose: choices must hold a text, got none"),
        (lambda: choose(task_reader("choice"), "a", "b", ["c", " "]), ValueError, "choose: choices must hold a token"),
        (
            lambda: choose(task_reader("choice"), "a", "b", "cd"),
            TypeError,
            "choose: choices must be a list of texts, got 'cd'",
        ),
        (
            lambda: list(choose_all(task_reader("choice"), ["x"])),
            TypeError,
            "must hold nothing but ChoiceQuestion",
        ),
        (lambda: choose(broken(), "a", "b", ["c", "d"]), ValueError, "choose_all: model must give numbers for scores"),
    ],
)
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()
