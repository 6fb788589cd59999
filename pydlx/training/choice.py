"""Recipe ``choice``: readers for multiple-choice questions about a passage, on files in DREAM's format."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any, ClassVar

import torch
from torch import Tensor

from pydlx._optional import needed_for
from pydlx.data.reading import AnswerReport, create_tokeniser
from pydlx.data.reading.choice import ChoiceQuestion, read_dream
from pydlx.data.reading.choice_set import ChoiceBatch, ChoiceSet, TokenisedChoices
from pydlx.models.readers.choice import choice_log_probabilities, choice_loss
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
class ChoiceOptions(ReaderModelOptions):
    """Options of the recipe."""

    recipe: ClassVar[str] = "choice"

    data: str = option("dream_train.json", "training questions with choices, in DREAM's format")
    val: str = option("dream_dev.json", "validation questions, in the same format")


def train(options: ChoiceOptions) -> Trainer:
    """Train, and write ``best.ckpt`` and ``last.ckpt`` to ``options.out``.

    Raises:
        ValueError: If an option is out of range, or a checkpoint does not fit.
        OSError: If data or a checkpoint cannot be read.
    """
    check_model_options(options)
    check_files(options, "data", "val")
    training = _questions(options, options.data, options.train_limit)
    held_out = _questions(options, options.val, options.val_limit)
    torch.manual_seed(options.seed)
    featurizer, vectors = build_featurizer(options, training.texts.word_counts(), held_out.texts.word_counts())
    examples = ChoiceSet(training, featurizer)
    asked = ChoiceSet(held_out, featurizer, training=False)
    model = build_reader(options, featurizer, vectors, examples.features)
    model.companion = {"task": "choice", "featurizer": featurizer.state()}
    return fit(
        options, model, examples, asked, lambda optimizer: ChoiceTask(model, optimizer, asked), AccuracyTask.monitor
    )


class ChoiceTask(AccuracyTask):
    """Cross-entropy of the choices, and accuracy on the validation questions."""

    def loss(self, batch: ChoiceBatch) -> Tensor:
        """Mean of -log p(choice)."""
        return choice_loss(self.model(batch.passage, batch.question), batch.counts, batch.answer)

    def found(self, batch: ChoiceBatch, numbers: list[int]) -> list[str]:
        """Return the most probable choices."""
        best = choice_log_probabilities(self.model(batch.passage, batch.question), batch.counts).argmax(1).tolist()
        questions = (self.held_out.questions[self.held_out.owners[number]] for number in numbers)
        return [question.choices[place] for question, place in zip(questions, best, strict=True)]

    def right(self, question: ChoiceQuestion) -> str | None:
        """Return the right choice; None if the question has none."""
        return question.choices[question.answer] if 0 <= question.answer < len(question.choices) else None


def _questions(options: ChoiceOptions, path: str, limit: int | None) -> TokenisedChoices:
    """Read a file's questions and tokenise them."""
    say(options, f"reading {path}")
    report = AnswerReport()
    questions: Any = itertools.islice(read_dream(path, report), limit)
    return TokenisedChoices(questions, create_tokeniser(options.tokeniser), report=report)
