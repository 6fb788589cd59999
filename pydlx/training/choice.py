"""Recipe ``choice``: readers that choose the answer to a question about a passage, on files of DREAM's form."""

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
from pydlx.training.options import option
from pydlx.training.reader_recipes import (
    ReaderModelOptions,
    build_featurizer,
    build_reader,
    check_files,
    check_model_options,
    fit,
)
from pydlx.training.rightness import RightnessTask
from pydlx.training.words import say

with needed_for("training", extra="train"):
    from lightning.pytorch import Trainer


@dataclasses.dataclass
class ChoiceOptions(ReaderModelOptions):
    """Options of the recipe."""

    recipe: ClassVar[str] = "choice"

    data: str = option("dream_train.json", "questions with choices to train on, of DREAM's form")
    val: str = option("dream_dev.json", "questions by which the best weights are chosen, likewise")


def train(options: ChoiceOptions) -> Trainer:
    """Trains, and leaves ``best.ckpt`` and ``last.ckpt`` in ``options.out``.

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
        options, model, examples, asked, lambda optimizer: ChoiceTask(model, optimizer, asked), RightnessTask.monitor
    )


class ChoiceTask(RightnessTask):
    """Cross-entropy of the choices, and the share of the validation questions whose right one is the likeliest."""

    def loss(self, batch: ChoiceBatch) -> Tensor:
        """Mean of -log p(choice)."""
        return choice_loss(self.model(batch.passage, batch.question), batch.counts, batch.answer)

    def found(self, batch: ChoiceBatch, numbers: list[int]) -> list[str]:
        """The likeliest choices."""
        likely = choice_log_probabilities(self.model(batch.passage, batch.question), batch.counts)
        questions = (self.held_out.questions[self.held_out.owners[number]] for number in numbers)
        return [question.choices[place] for question, place in zip(questions, likely.argmax(1).tolist(), strict=True)]

    def right(self, question: ChoiceQuestion) -> str | None:
        """The right choice."""
        return question.choices[question.answer] if 0 <= question.answer < len(question.choices) else None


def _questions(options: ChoiceOptions, path: str, limit: int | None) -> TokenisedChoices:
    """A file's questions as tokens."""
    say(options, f"reading {path}")
    report = AnswerReport()
    questions: Any = itertools.islice(read_dream(path, report), limit)
    return TokenisedChoices(questions, create_tokeniser(options.tokeniser), report=report)
