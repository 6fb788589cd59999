"""What a trained reader keeps beside its weights: how text becomes numbers, and what it was trained to do."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from pydlx._checks import check_type, described
from pydlx.data.reading import Featurizer
from pydlx.models.readers.reader import Reader

Kind = TypeVar("Kind")
_SPANS = ("featurizer", "max_passage", "answer_length")
# What a companion holds of readers that were trained for a task.
_HELD = {"span": _SPANS, "free_answer": _SPANS, "cloze": ("featurizer",), "choice": ("featurizer",)}
_PARTS = 16  # batches whose questions are sorted by length together


def settings_of(name: str, model: Any, *tasks: str) -> dict[str, Any]:
    """A reader's companion, if it was trained for one of some tasks.

    Raises:
        TypeError: It is no reader.
        ValueError: It has no vocabulary, or was trained for another task.
    """
    check_type(name, "model", model, Reader, "a reader")
    settings = model.companion
    if (task := task_of(model)) not in tasks:
        raise ValueError(f"{name}: model must be trained for {' or '.join(tasks)}, got one for {task}")
    if settings is None or not settings.keys() >= set(_HELD[task]):
        raise ValueError(f"{name}: model must have a vocabulary, as those that pydlx train reader leaves, got none")
    return settings


def task_of(model: Reader) -> str:
    """What a reader was trained for, ``span``, ``cloze``, ``choice`` or ``free_answer``."""
    return (model.companion or {}).get("task", "span")


def featurizer_of(name: str, model: Any, *tasks: str) -> Featurizer:
    """What turns texts into numbers for a reader that was trained for one of some tasks; see `settings_of`."""
    return Featurizer.from_state(settings_of(name, model, *tasks)["featurizer"])


def in_parts(name: str, questions: Iterable[Kind], kind: type[Kind], batch_size: int) -> Iterator[list[Kind]]:
    """Questions of one kind, so many at a time that batches of them are of similar length."""
    check_type(name, "questions", questions, Iterable, f"a sequence of {kind.__name__}")
    waiting = _checked(name, questions, kind)
    return iter(lambda: list(itertools.islice(waiting, _PARTS * batch_size)), [])


def _checked(name: str, questions: Iterable[Kind], kind: type[Kind]) -> Iterator[Kind]:
    for question in questions:
        if not isinstance(question, kind):
            raise TypeError(f"{name}: questions must hold nothing but {kind.__name__}, got {described(question)}")
        yield question
