"""Recipe ``reader``: models that find the answer to a question in a passage, on files in SQuAD's format."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path

import torch

from pydlx._checks import check_one_of
from pydlx._optional import needed_for
from pydlx.data.reading import AnswerReport, ReadingSet, TokenisedQuestions, create_tokeniser, read_squad
from pydlx.training.options import option
from pydlx.training.reader_recipes import SpanOptions, check_files, check_span_options, fit, span_reader
from pydlx.training.reading import AnswerScore, ReadingTask
from pydlx.training.words import say

with needed_for("training", extra="train"):
    from lightning.pytorch import Callback, Trainer


@dataclasses.dataclass
class ReaderOptions(SpanOptions):
    """Options of the recipe."""

    data: str = option("train.json", "training questions: a JSON file in SQuAD's format, such as CMRC2018's")
    val: str = option("dev.json", "validation questions, in the same format")
    cache: str | None = option(None, "folder in which the tokens of the files are kept for the next run")
    no_answer: bool = option(
        False, "learn that some questions have no answer, as in SQuAD 2.0, and validate by its scores"
    )
    score: str | None = option(None, "score of the validation: squad or cmrc; by default cmrc for characters")


def train(options: ReaderOptions, watching: Sequence[Callback] = ()) -> Trainer:
    """Train, and write ``best.ckpt`` and ``last.ckpt`` to ``options.out``.

    Args:
        options: Options of the recipe.
        watching: Additional Lightning callbacks.

    Raises:
        ValueError: If an option is out of range, or a checkpoint does not fit.
        OSError: If data or a checkpoint cannot be read.
    """
    _check(options)
    training, held_out = (_questions(options, part) for part in ("data", "val"))
    torch.manual_seed(options.seed)
    counts = training.word_counts(), held_out.word_counts()
    model, featurizer = span_reader(options, *counts, options.no_answer)
    max_passage = model.companion["max_passage"]
    examples = ReadingSet(
        training,
        featurizer,
        unanswerable=options.no_answer,
        max_passage=max_passage,
        max_answer=model.longest_answer,
    )
    asked = ReadingSet(held_out, featurizer, training=False, max_passage=max_passage)
    unanswered = sum(not question.answers for question in asked.questions)
    if unanswered and not options.no_answer:
        raise ValueError(
            f"reader: val must hold an answer to each question without no_answer=true, got {unanswered} without one"
        )
    score = AnswerScore(_score(options), options.no_answer)
    return fit(
        options,
        model,
        examples,
        asked,
        lambda optimizer: ReadingTask(model, optimizer, asked, score, max_length=options.answer_length),
        score.monitor,
        watching,
    )


def _check(options: ReaderOptions) -> None:
    """Refuse options that are out of range, before any file is read."""
    check_span_options(options)
    check_one_of("reader", "score", options.score, ("squad", "cmrc", None))
    if options.no_answer and _score(options) == "cmrc":
        raise ValueError("reader: score must be squad with no_answer=true, got cmrc, which knows no such questions")
    check_files(options, "data", "val")


def _score(options: ReaderOptions) -> str:
    return options.score or ("cmrc" if options.tokeniser == "characters" else "squad")


def _questions(options: ReaderOptions, part: str) -> TokenisedQuestions:
    """Read a file's questions and tokenise them."""
    path, limit = Path(getattr(options, part)), options.train_limit if part == "data" else options.val_limit
    say(options, f"reading {path}")
    report = AnswerReport()
    questions = itertools.islice(read_squad(path, report), limit)
    cache = None
    if options.cache is not None:
        Path(options.cache).mkdir(parents=True, exist_ok=True)
        cache = Path(options.cache) / f"{part}.{path.stem}.{limit or 'all'}.{options.tokeniser}.npz"
    return TokenisedQuestions(questions, create_tokeniser(options.tokeniser), cache=cache, report=report)
