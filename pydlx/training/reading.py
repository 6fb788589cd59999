"""Training of span readers: the Lightning task, and the scores of its validation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

from pydlx.data.reading import ReadingBatch, ReadingSet
from pydlx.metrics import BleuScore, CmrcScore, RougeLScore, SquadScore
from pydlx.models.readers import Answers, Scores, decode_answers
from pydlx.training.samples import SHOWN_ANSWERS, show_table
from pydlx.training.task import Optimizer, Task


class _Found(NamedTuple):
    """The best answer to a question so far, "" for no answer, and its score."""

    text: str = ""
    score: float = -math.inf


class AnswerScore(nn.Module):
    """Exact match and F1 in percent, by the rules of SQuAD or CMRC2018, under the same two names.

    Args:
        kind: ``"squad"`` or ``"cmrc"``.
        no_answer: Whether questions may have no answer, by the rules of SQuAD 2.0.
    """

    monitor = "val/f1"

    def __init__(self, kind: str, no_answer: bool = False) -> None:
        super().__init__()
        self.metric = CmrcScore() if kind == "cmrc" else SquadScore("2.0" if no_answer else "1.1")
        self.names = ("EM", "F1") if kind == "cmrc" else ("exact", "f1") if no_answer else ("exact_match", "f1")

    def update(self, answers: Sequence[str], golds: Sequence[Sequence[str]]) -> None:
        """Add answers, each with its right answers."""
        self.metric.update(answers, golds)

    def reset(self) -> None:
        """Forget all answers."""
        self.metric.reset()

    def compute(self) -> dict[str, Tensor]:
        """Return exact match and F1 in percent, over all processes."""
        values = self.metric.compute()
        return {name: values[key] for name, key in zip(("exact_match", "f1"), self.names, strict=True)}


class FreeAnswerScore(nn.Module):
    """ROUGE-L and BLEU-4 of free answers, in percent.

    Args:
        split: Splits a text into tokens: characters for DuReader, words for MS MARCO.
    """

    monitor = "val/rouge_l"

    def __init__(self, split: Callable[[str], Iterable[str]]) -> None:
        super().__init__()
        self.split, self.rouge, self.bleu = split, RougeLScore(), BleuScore()

    def update(self, answers: Sequence[str], golds: Sequence[Sequence[str]]) -> None:
        """Add answers, each with its reference answers; questions without references are skipped."""
        known = [place for place, texts in enumerate(golds) if texts]
        given = [self._joined(answers[place]) for place in known]
        right = [[self._joined(text) for text in golds[place]] for place in known]
        for metric in (self.rouge, self.bleu):
            metric.update(given, right)

    def compute(self) -> dict[str, Tensor]:
        """Return both scores, over all processes."""
        return {"rouge_l": 100 * self.rouge.compute(), "bleu_4": 100 * self.bleu.compute()["bleu_4"]}

    def reset(self) -> None:
        """Forget all answers."""
        self.rouge.reset()
        self.bleu.reset()

    def _joined(self, text: str) -> str:
        return " ".join(self.split(text))


class ReadingTask(Task):
    """The reader's loss, and the score of the answers to the validation questions.

    Training batches are `ReadingBatch`; validation batches are a `ReadingBatch` and the indices (B,) of its examples,
    from `NumberedExamples`. If a passage is read in several windows, the answer with the highest unnormalised score
    counts, as in `pydlx.models.readers.ask_all`.

    Args:
        model: A reader.
        optimizer: Builds the optimiser and its schedule, which is stepped after every training step.
        held_out: The validation examples.
        score: Score of the answers.
        max_length: Maximum number of tokens of an answer.
    """

    def __init__(
        self,
        model: Any,
        optimizer: Optimizer,
        held_out: ReadingSet,
        score: AnswerScore | FreeAnswerScore,
        *,
        max_length: int,
    ) -> None:
        super().__init__(model, optimizer)
        self.held_out, self.max_length = held_out, max_length
        self.score = score
        self.found: dict[int, _Found] = {}

    def forward(self, batch: ReadingBatch) -> Scores:
        """Return the reader's scores of a batch."""
        return self.model(batch.passage, batch.question)

    def training_step(self, batch: ReadingBatch, batch_idx: int) -> Tensor:
        """Called by Lightning."""
        loss = self.model.loss(*batch)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch.start), sync_dist=True)
        return loss

    def validation_step(self, batch: tuple[ReadingBatch, Tensor], batch_idx: int) -> None:
        """Called by Lightning."""
        examples, numbers = batch
        for number, answers in zip(numbers.tolist(), decode_answers(self(examples), self.max_length), strict=True):
            question, found = self.held_out.windows[number].question, self._best(number, answers)
            if found.score > self.found.get(question, _Found()).score:
                self.found[question] = found

    def _best(self, number: int, answers: Answers) -> _Found:
        if not answers.spans or answers.null_score > answers.spans[0].score:
            return _Found(score=answers.null_score)
        best = answers.spans[0]
        return _Found(self.held_out.answer(number, best.start, best.end), best.score)

    def on_validation_epoch_end(self) -> None:
        """Called by Lightning."""
        # Questions without a token have no window; their answer is "".
        own = range(self.trainer.global_rank, len(self.held_out.questions), self.trainer.world_size)
        golds = [[answer.text for answer in self.held_out.questions[place].answers] for place in own]
        self.score.update([self.found.get(place, _Found()).text for place in own], golds)
        for name, value in self.score.compute().items():
            self.log(f"val/{name}", value.float(), prog_bar=True, sync_dist=True)
        self._show(own[:SHOWN_ANSWERS])
        self.score.reset()
        self.found.clear()

    def _show(self, places: Iterable[int]) -> None:
        """Show some questions and answers in TensorBoard."""
        rows: list[tuple[str, ...]] = [("question", "answer", "right answers")]
        for place in places:
            question = self.held_out.questions[place]
            right = "; ".join(dict.fromkeys(answer.text for answer in question.answers))
            rows.append((question.question, self.found.get(place, _Found()).text, right))
        show_table(self, "val/answers", rows)
