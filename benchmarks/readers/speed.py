"""How fast trained readers answer: all answer the same questions in turn, on one thread."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pydlx.benchmarks.case import Candidate
from pydlx.benchmarks.harness import Effort, host_stopwatch, pinned_threads, race
from pydlx.data.reading import Featurizer, Question, ReadingSet
from pydlx.models import load_model
from pydlx.models.readers import decode_answers
from pydlx.models.text.batches import batches_by_length

QUESTIONS = 96
BATCH = 32  # passages in a batch
TEXTS = "texts"  # name of the candidate that featurises the texts
_EFFORT = Effort(seconds=4.0, least=5, most=40)


@dataclass(frozen=True)
class Speed:
    """Questions answered per second of processor time.

    Attributes:
        best: Of the fastest round.
        median: Of the median round.
        rounds: Number of rounds.
    """

    best: float
    median: float
    rounds: int


def answering_speeds(checkpoints: Mapping[str, Path], questions: list[Question]) -> dict[str, Speed]:
    """Measure the speed of each reader and, under `TEXTS`, of featurising, which the readers' times do not include.

    Each round times every reader once, so that all are measured in the same state of the machine; slow readers skip
    some rounds.

    Args:
        checkpoints: Checkpoint of each reader, by its name.
        questions: The questions.
    """
    with pinned_threads(1):
        models: dict[str, Any] = {name: load_model(path).eval() for name, path in checkpoints.items()}
        sets = {name: _examples(model, questions) for name, model in models.items()}
        candidates: dict[str, Candidate] = {name: _answering(models[name], sets[name]) for name in models}
        featurizer = next(iter(sets.values())).featurizer
        candidates[TEXTS] = lambda: list(ReadingSet(questions, featurizer, training=False))
        timings = race(candidates, _EFFORT, host_stopwatch(time.process_time))
    count = len(questions)
    return {
        name: Speed(count / timing.minimum, count / timing.median, len(timing.laps)) for name, timing in timings.items()
    }


def _examples(model: Any, questions: list[Question]) -> ReadingSet:
    featurizer = Featurizer.from_state(model.companion["featurizer"])
    return ReadingSet(questions, featurizer, training=False, max_passage=model.companion["max_passage"])


def _answering(model: Any, examples: ReadingSet) -> Candidate:
    batches = [batch for _, batch in batches_by_length(model, examples, BATCH)]
    length = model.companion["answer_length"]

    @torch.no_grad()
    def answer() -> None:
        for batch in batches:
            decode_answers(model(batch.passage, batch.question), length)

    return answer
