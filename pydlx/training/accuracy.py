"""The Lightning task for questions whose answers are right or wrong: cloze and multiple choice."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from pydlx.training.samples import SHOWN_ANSWERS, show_table
from pydlx.training.task import Optimizer, Task


class AccuracyTask(Task):
    """A loss, and the accuracy on the validation questions, in percent.

    Training batches are those of the set; validation batches come with the indices (B,) of their examples, from
    `NumberedExamples`. Questions without an example count as wrong.

    Args:
        model: A reader.
        optimizer: Builds the optimiser and its schedule, which is stepped after every training step.
        held_out: The validation examples.
    """

    monitor = "val/accuracy"

    def __init__(self, model: Any, optimizer: Optimizer, held_out: Any) -> None:
        super().__init__(model, optimizer)
        self.held_out = held_out
        self.answers: dict[int, str] = {}

    def loss(self, batch: Any) -> Tensor:
        """Return the loss of a training batch."""
        raise NotImplementedError

    def found(self, batch: Any, numbers: list[int]) -> list[str]:
        """Return the predicted answers to the examples of a validation batch; `numbers` are their indices."""
        raise NotImplementedError

    def right(self, question: Any) -> str | None:
        """Return the right answer; None if there is none."""
        raise NotImplementedError

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Called by Lightning."""
        loss = self.loss(batch)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch.answer), sync_dist=True)
        return loss

    def validation_step(self, batch: tuple[Any, Tensor], batch_idx: int) -> None:
        """Called by Lightning."""
        examples, numbers = batch
        owners = self.held_out.owners[numbers.cpu().numpy()].tolist()
        self.answers.update(zip(owners, self.found(examples, numbers.tolist()), strict=True))

    def on_validation_epoch_end(self) -> None:
        """Called by Lightning."""
        questions = self.held_out.questions
        own = range(self.trainer.global_rank, len(questions), self.trainer.world_size)
        right = sum(place in self.answers and self.answers[place] == self.right(questions[place]) for place in own)
        counts = torch.tensor([right, len(own)], device=self.device)
        right, count = self.trainer.strategy.reduce(counts, reduce_op="sum").tolist()
        self.log(self.monitor, torch.tensor(100 * right / count), prog_bar=True, sync_dist=True)
        self._show(own[:SHOWN_ANSWERS])
        self.answers.clear()

    def _show(self, places: Iterable[int]) -> None:
        """Show some questions and answers in TensorBoard."""
        rows: list[tuple[str, ...]] = [("question", "answer", "right answer")]
        for place in places:
            question = self.held_out.questions[place]
            rows.append((question.question, self.answers.get(place, ""), self.right(question) or ""))
        show_table(self, "val/answers", rows)
