"""Asking a trained reader what several documents answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pydlx.data.reading import FreeQuestion, create_tokeniser
from pydlx.data.reading.documents import as_question
from pydlx.models.readers.asking import Asked, ask_all
from pydlx.models.readers.reader import Reader
from pydlx.models.readers.settings import in_parts, settings_of


def ask_documents(
    model: Reader,
    questions: Iterable[FreeQuestion],
    *,
    top_k: int = 1,
    max_length: int | None = None,
    batch_size: int = 8,
) -> Iterator[Asked]:
    """Answer many questions from the paragraphs that share most with them, in their order, a hundred at a time.

    Args:
        model: A reader of spans, best one that was trained for this, from ``load_model``; it is put into evaluation
            mode.
        questions: Of ``read_dureader`` or ``read_marco``.
        top_k: How many answers to give to each.
        max_length: Most tokens of an answer; by default as in training.
        batch_size: Passages that are read at once.

    Returns:
        An `Asked` for each question; its passage is the paragraphs, see ``as_question``.

    Raises:
        ValueError: As in ``ask_all``.
    """
    settings = settings_of("ask_documents", model, "span", "free_answer")
    tokeniser, read = create_tokeniser(settings["featurizer"]["tokeniser"]), settings.get("read", {})
    parts = in_parts("ask_documents", questions, FreeQuestion, batch_size)
    passages = (as_question(question, tokeniser, **read) for part in parts for question in part)
    return ask_all(model, passages, top_k=top_k, max_length=max_length, batch_size=batch_size)
