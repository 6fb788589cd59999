"""One run of a leaderboard: ``python -m pydlx.benchmarks.readers.single FOLDER DATA READER SEED KEY=VALUE ...``.

Trains a reader by the recipe, scores its answers to all validation questions, and writes ``result.json`` to the folder.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydlx._optional import MissingPackageError, needed_for
from pydlx.benchmarks.harness import pinned_threads
from pydlx.benchmarks.readers.memory import TrainingMemory
from pydlx.data.reading import read_squad
from pydlx.files import replacing
from pydlx.models import load_model
from pydlx.models.readers import ask_all
from pydlx.training.budget import ProcessorBudget
from pydlx.training.options import parse_options
from pydlx.training.reader import ReaderOptions, train

with needed_for("training", extra="train"):
    import msgspec


@dataclass(frozen=True)
class Result:
    """The result of a run.

    Attributes:
        data: Name of the data set.
        reader: Name of the reader.
        seed: Seed of the training.
        exact_match: Exact match of the best weights on all validation questions, in percent.
        f1: F1 of the best weights on all validation questions, in percent.
        parameters: Number of trained parameters.
        questions: Number of training questions.
        epochs: Number of epochs, also fractional.
        steps: Number of optimiser steps.
        seconds: Processor time of the steps.
        memory: Peak memory of the process from the first to the last step, in MiB.
        memory_before: Memory of the process before the first step, in MiB.
        words: Options of the recipe.
    """

    data: str
    reader: str
    seed: int
    exact_match: float
    f1: float
    parameters: int
    questions: int
    epochs: float
    steps: int
    seconds: float
    memory: float
    memory_before: float
    words: tuple[str, ...]

    @property
    def learned_per_second(self) -> float:
        """Training questions per second of processor time."""
        return self.epochs * self.questions / self.seconds


def read_result(folder: Path) -> Result | None:
    """Read the result of a run from its folder; None if there is none, or it is of another version."""
    try:
        return msgspec.json.decode((folder / "result.json").read_bytes(), type=Result)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def run(folder: Path, data: str, reader: str, seed: int, words: Sequence[str]) -> Result:
    """Train and score a reader; a training that was stopped is resumed."""
    options = parse_options(ReaderOptions, [*words, f"out={folder}"])
    memory = TrainingMemory()
    trainer: Any = train(options, [memory])
    memory.measure()  # before answering, which takes memory, too
    examples = trainer.train_dataloader.dataset.items
    place = trainer.train_dataloader.state_dict()
    exact_match, f1 = _scores(trainer.lightning_module.score, folder, options)
    return Result(
        data,
        reader,
        seed,
        exact_match,
        f1,
        parameters=sum(
            weights.numel() for weights in trainer.lightning_module.model.parameters() if weights.requires_grad
        ),
        questions=len(set(examples.owners.tolist())),
        epochs=place["epoch"] + place["batch"] / len(trainer.train_dataloader),
        steps=trainer.global_step,
        seconds=next(each.spent for each in trainer.callbacks if isinstance(each, ProcessorBudget)),
        memory=memory.most,
        memory_before=memory.before,
        words=tuple(words),
    )


def _scores(score: Any, folder: Path, options: ReaderOptions) -> tuple[float, float]:
    """Return exact match and F1 of the best weights, in percent."""
    model: Any = load_model(folder / "best.ckpt")
    questions = list(read_squad(options.val))
    score.reset()
    score.update(
        [asked.best for asked in ask_all(model, questions)],
        [[answer.text for answer in question.answers] for question in questions],
    )
    found = score.compute()
    return float(found["exact_match"]), float(found["f1"])


def main(words: Sequence[str]) -> int:
    """Do a run and write its result; returns the exit code, 2 for bad input, which the last line on stderr explains."""
    folder, (data, reader, seed, *options) = Path(words[0]), words[1:]
    try:
        with pinned_threads(1):
            result = run(folder, data, reader, int(seed), options)
    except (ValueError, TypeError, OSError, MissingPackageError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 2
    with replacing(folder / "result.json") as temporary:
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(result)) + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
