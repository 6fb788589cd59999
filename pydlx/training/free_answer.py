"""Recipe ``free_answer``: readers that answer from several documents, on files in DuReader's or MS MARCO's format.

A reader's passage joins those paragraphs that share most words with the question. The training target is the span of it
that is most similar to a reference answer.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any, ClassVar

import torch

from pydlx._checks import check_one_of, whole, whole_or_none
from pydlx._optional import needed_for
from pydlx.data.reading import AnswerReport, FreeQuestion, ReadingSet, TokenisedQuestions, create_tokeniser
from pydlx.data.reading.documents import FREE_FORMATS, as_question, with_best_spans
from pydlx.data.text.tokenisers import Tokeniser
from pydlx.metrics.reading.dureader import characters
from pydlx.training.options import option
from pydlx.training.reader_recipes import SpanOptions, check_files, check_span_options, fit, span_reader
from pydlx.training.reading import FreeAnswerScore, ReadingTask
from pydlx.training.words import say

with needed_for("training", extra="train"):
    from lightning.pytorch import Trainer


@dataclasses.dataclass
class FreeAnswerOptions(SpanOptions):
    """Options of the recipe."""

    recipe: ClassVar[str] = "free_answer"

    data: str = option("train.jsonl", "training questions, in DuReader's or MS MARCO's format")
    val: str = option("dev.jsonl", "validation questions, in the same format")
    format: str = option("dureader", "format of both files: dureader or marco")
    documents: int | None = option(None, "number of documents to read, the first ones; by default all")
    paragraphs: int = option(1, "paragraphs of each document, those that share most words with the question")
    tokeniser: str = option("characters", "characters, for Chinese; words, for English; spaces; or spacy")
    max_passage: int | None = option(
        None, "tokens of a window; longer passages are read in windows that overlap by half"
    )
    answer_length: int = option(200, "maximum number of tokens of an answer, in training and validation")


def train(options: FreeAnswerOptions) -> Trainer:
    """Train, and write ``best.ckpt`` and ``last.ckpt`` to ``options.out``.

    Raises:
        ValueError: If an option is out of range, or a checkpoint does not fit.
        OSError: If data or a checkpoint cannot be read.
    """
    check_span_options(options)
    check_one_of("free_answer", "format", options.format, tuple(FREE_FORMATS))
    whole("free_answer", "paragraphs", options.paragraphs, 1)
    whole_or_none("free_answer", "documents", options.documents, 1)
    check_files(options, "data", "val")
    tokeniser = create_tokeniser(options.tokeniser)
    training = _questions(options, options.data, tokeniser, options.train_limit, training=True)
    held_out = _questions(options, options.val, tokeniser, options.val_limit, training=False)
    if not any(question.answers for question in held_out.questions):
        raise ValueError(f"free_answer: val must hold an answer to compare with, got none in '{options.val}'")
    torch.manual_seed(options.seed)
    counts = training.word_counts(), held_out.word_counts()
    read: dict[str, Any] = {"documents": options.documents, "paragraphs": options.paragraphs}
    model, featurizer = span_reader(options, *counts, task="free_answer", read=read)
    max_passage = model.companion["max_passage"]
    max_answer = min(options.answer_length, model.longest_answer or options.answer_length)
    examples = ReadingSet(training, featurizer, max_passage=max_passage, max_answer=max_answer)
    asked = ReadingSet(held_out, featurizer, training=False, max_passage=max_passage)
    score = FreeAnswerScore(characters if options.format == "dureader" else lambda text: _words(text, tokeniser))
    return fit(
        options,
        model,
        examples,
        asked,
        lambda optimizer: ReadingTask(model, optimizer, asked, score, max_length=options.answer_length),
        score.monitor,
    )


def _questions(
    options: FreeAnswerOptions, path: str, tokeniser: Tokeniser, limit: int | None, *, training: bool
) -> TokenisedQuestions:
    """Read a file's questions, each with one passage, and tokenise them."""
    say(options, f"reading {path}")
    report = AnswerReport()
    questions: Iterator[FreeQuestion] = itertools.islice(FREE_FORMATS[options.format](path, report), limit)
    if training:
        questions = with_best_spans(questions, tokeniser, longest=options.answer_length, report=report)
    read: dict[str, Any] = {"documents": options.documents, "paragraphs": options.paragraphs}
    passages = [as_question(question, tokeniser, **read, training=training) for question in questions]
    return TokenisedQuestions(passages, tokeniser, report=report)


def _words(text: str, tokeniser: Tokeniser) -> list[str]:
    return [text[first:past].lower() for first, past in tokeniser(text)]
