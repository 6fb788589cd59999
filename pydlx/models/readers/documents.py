"""Asking a trained reader questions about several documents."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pydlx.data.reading import FreeQuestion, create_tokeniser
from pydlx.data.reading.documents import as_question
from pydlx.models.readers.asking import Asked, ask_all
from pydlx.models.readers.reader import Reader
from pydlx.models.readers.settings import in_chunks, settings_of


def ask_documents(
    model: Reader,
    questions: Iterable[FreeQuestion],
    *,
    top_k: int = 1,
    max_length: int | None = None,
    batch_size: int = 8,
) -> Iterator[Asked]:
    """Answer many questions from those paragraphs that share most words with them, lazily and in order.

    Args:
        model: A reader trained on free answers, or on spans, from ``load_model``; it is put into evaluation mode.
        questions: Questions, such as ``read_dureader`` or ``read_marco`` return.
        top_k: Number of answers to each question.
        max_length: Maximum number of tokens of an answer; by default as in training.
        batch_size: Number of passages in a batch.

    Returns:
        An iterator of one `Asked` for each question; its passage joins the chosen paragraphs, see ``as_question``.

    Raises:
        ValueError: As in ``ask_all``.
    """
    settings = settings_of("ask_documents", model, "span", "free_answer")
    tokeniser, read = create_tokeniser(settings["featurizer"]["tokeniser"]), settings.get("read", {})
    parts = in_chunks("ask_documents", questions, FreeQuestion, batch_size)
    passages = (as_question(question, tokeniser, **read) for part in parts for question in part)
    return ask_all(model, passages, top_k=top_k, max_length=max_length, batch_size=batch_size)
