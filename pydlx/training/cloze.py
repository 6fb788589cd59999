"""Recipe ``cloze``: readers that fill the gap in a sentence by a word of the passage, on files in CMRC2017's format."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any, ClassVar

import torch
from torch import Tensor

from pydlx._checks import whole
from pydlx._optional import needed_for
from pydlx.data.reading import AnswerReport, TokenisedQuestions, create_tokeniser, read_cmrc2017
from pydlx.data.reading.cloze_set import ClozeBatch, ClozeSet
from pydlx.data.reading.gaps import further_gaps
from pydlx.models.readers.cloze import cloze_loss, word_probabilities
from pydlx.training.accuracy import AccuracyTask
from pydlx.training.options import option
from pydlx.training.reader_recipes import (
    ReaderModelOptions,
    build_featurizer,
    build_reader,
    check_files,
    check_model_options,
    fit,
)
from pydlx.training.words import say

with needed_for("training", extra="train"):
    from lightning.pytorch import Trainer


@dataclasses.dataclass
class ClozeOptions(ReaderModelOptions):
    """Options of the recipe."""

    recipe: ClassVar[str] = "cloze"

    data: str = option("train.doc_query", "training passages and questions, in CMRC2017's format")
    answers: str = option("train.answer", "their missing words")
    val: str = option("val.doc_query", "validation passages and questions, in the same format")
    val_answers: str = option("val.answer", "their missing words")
    gaps: int = option(0, "additional training questions made from each passage, with a gap at another repeated noun")
    tokeniser: str = option("spaces", "spaces, for segmented text; words; characters; or spacy")


def train(options: ClozeOptions) -> Trainer:
    """Train, and write ``best.ckpt`` and ``last.ckpt`` to ``options.out``.

    Raises:
        ValueError: If an option is out of range, or a checkpoint does not fit.
        OSError: If data or a checkpoint cannot be read.
    """
    check_model_options(options)
    check_files(options, "data", "answers", "val", "val_answers")
    whole("cloze", "gaps", options.gaps, 0)
    training = _questions(options, options.data, options.answers, options.train_limit, options.gaps)
    held_out = _questions(options, options.val, options.val_answers, options.val_limit)
    torch.manual_seed(options.seed)
    featurizer, vectors = build_featurizer(options, training.word_counts(), held_out.word_counts())
    examples = ClozeSet(training, featurizer)
    asked = ClozeSet(held_out, featurizer, training=False)
    model = build_reader(options, featurizer, vectors, examples.features)
    model.companion = {"task": "cloze", "featurizer": featurizer.state()}
    return fit(
        options, model, examples, asked, lambda optimizer: ClozeTask(model, optimizer, asked), AccuracyTask.monitor
    )


class ClozeTask(AccuracyTask):
    """The loss of attention sum, and accuracy on the validation questions."""

    def loss(self, batch: ClozeBatch) -> Tensor:
        """Mean of -log p(word)."""
        return cloze_loss(self.model(batch.passage, batch.question), batch.candidates, batch.answer)

    def found(self, batch: ClozeBatch, numbers: list[int]) -> list[str]:
        """Return the most probable words."""
        best = word_probabilities(self.model(batch.passage, batch.question), batch.candidates).argmax(1).tolist()
        return [self.held_out.word(*at) for at in zip(numbers, best, strict=True)]

    def right(self, question: Any) -> str | None:
        """Return the missing word; None if it is unknown."""
        return question.answers[0].text if question.answers else None


def _questions(options: ClozeOptions, path: str, answers: str, limit: int | None, gaps: int = 0) -> TokenisedQuestions:
    """Read a file's questions, make further gaps, and tokenise all."""
    say(options, f"reading {path}")
    report = AnswerReport()
    questions = list(itertools.islice(read_cmrc2017(path, answers, report), limit))
    questions += further_gaps(questions, gaps, options.seed)
    return TokenisedQuestions(questions, create_tokeniser(options.tokeniser), report=report)
