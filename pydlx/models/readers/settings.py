"""Settings that a trained reader keeps in its ``companion``: how text becomes ids, and its task."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from pydlx._checks import check_type, described
from pydlx.data.reading import Featurizer
from pydlx.models.readers.reader import Reader

Kind = TypeVar("Kind")
_SPANS = ("featurizer", "max_passage", "answer_length")
# The keys that a companion must have, by the reader's task.
_KEYS = {"span": _SPANS, "free_answer": _SPANS, "cloze": ("featurizer",), "choice": ("featurizer",)}
_BATCHES_PER_CHUNK = 16  # batches whose questions are sorted by length together


def settings_of(name: str, model: Any, *tasks: str) -> dict[str, Any]:
    """Return the companion of a reader that was trained for one of the tasks.

    Raises:
        TypeError: If the model is no reader.
        ValueError: If it has no vocabulary, or was trained for another task.
    """
    check_type(name, "model", model, Reader, "a reader")
    settings = model.companion
    if (task := task_of(model)) not in tasks:
        raise ValueError(f"{name}: model must be trained for {' or '.join(tasks)}, got one for {task}")
    if settings is None or not settings.keys() >= set(_KEYS[task]):
        raise ValueError(f"{name}: model must have a vocabulary, as those that pydlx train reader leaves, got none")
    return settings


def task_of(model: Reader) -> str:
    """Return the task a reader was trained for: ``span``, ``cloze``, ``choice`` or ``free_answer``."""
    return (model.companion or {}).get("task", "span")


def featurizer_of(name: str, model: Any, *tasks: str) -> Featurizer:
    """Return the featurizer of a reader that was trained for one of the tasks; see `settings_of`."""
    return Featurizer.from_state(settings_of(name, model, *tasks)["featurizer"])


def in_chunks(name: str, questions: Iterable[Kind], kind: type[Kind], batch_size: int) -> Iterator[list[Kind]]:
    """Yield questions in chunks of several batches, within which they can be sorted by length."""
    check_type(name, "questions", questions, Iterable, f"a sequence of {kind.__name__}")
    waiting = _checked(name, questions, kind)
    return iter(lambda: list(itertools.islice(waiting, _BATCHES_PER_CHUNK * batch_size)), [])


def _checked(name: str, questions: Iterable[Kind], kind: type[Kind]) -> Iterator[Kind]:
    for question in questions:
        if not isinstance(question, kind):
            raise TypeError(f"{name}: questions must hold nothing but {kind.__name__}, got {described(question)}")
        yield question
