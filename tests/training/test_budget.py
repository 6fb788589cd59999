"""A training stops when its steps have used up their budget of processor time."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("lightning")

from lightning.pytorch import Callback, LightningModule
from torch import nn

from pydlx.models import register_model
from pydlx.models.registry import _builders, create_model
from pydlx.training import trainer as house
from pydlx.training.budget import ProcessorBudget
from pydlx.training.reproducible import TrainingLoader
from pydlx.training.trainer import TrainerOptions, build_trainer, checkpoint_to_resume

ITEMS = 5  # items of an epoch, one for each step


class Clock:
    """A clock that only steps and validations advance."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Task(LightningModule):
    """A step takes 6 s, a validation 1000 s."""

    def __init__(self, clock):
        super().__init__()
        self.model, self.clock, self.losses, self.validated = create_model("toy"), clock, [], []

    def training_step(self, batch, batch_idx):
        self.clock.now += 6
        loss = self.model(batch).square().mean()
        self.losses.append(loss.item())
        return loss

    def validation_step(self, batch, batch_idx):
        self.clock.now += 1000
        self.validated.append(self.trainer.global_step)
        self.log("score", torch.tensor(float(self.trainer.global_step)))

    def configure_optimizers(self):
        return torch.optim.SGD(self.model.parameters(), 0.01)


@pytest.fixture(autouse=True)
def toy():
    register_model("toy")(lambda: nn.Linear(1, 1))
    yield
    del _builders["toy"]


class Killed(Exception):
    pass


class KilledInValidation(Callback):
    def on_validation_start(self, trainer, pl_module):
        raise Killed


@pytest.fixture
def train(monkeypatch, tmp_path):
    def run(budget, *callbacks, **options):
        clock = Clock()
        if budget is not None:
            monkeypatch.setattr(house, "ProcessorBudget", lambda minutes: ProcessorBudget(minutes, clock))
        torch.manual_seed(0)
        task = Task(clock)
        given = TrainerOptions(
            **{"out": str(tmp_path), "epochs": 4, "accelerator": "cpu", "progress": False, "budget": budget, **options}
        )
        loader = TrainingLoader(range(ITEMS), lambda number: torch.ones(1) * number, 1, seed=0)
        held_out = torch.utils.data.DataLoader(torch.ones(1, 1))
        trainer = build_trainer(given, monitor="score", batches=ITEMS, callbacks=list(callbacks))
        path = checkpoint_to_resume(given, task.model)
        trainer.fit(task, loader, held_out, ckpt_path=path)
        return task, trainer

    return run


def kept(tmp_path, name):
    return torch.load(tmp_path / f"{name}.ckpt", weights_only=True)


def spent(trainer):
    return next(callback.spent for callback in trainer.callbacks if isinstance(callback, ProcessorBudget))


@pytest.mark.parametrize(("budget", "steps", "validated"), [(0.7, 7, [5, 7]), (0.65, 7, [5, 7]), (0.25, 3, [3])])
def test_steps_take_the_budget_and_validations_nothing(train, tmp_path, budget, steps, validated):
    """The weights of the last step are validated and saved, also within an epoch."""
    task, trainer = train(budget)
    assert (len(task.losses), task.validated, spent(trainer)) == (steps, validated, 6 * steps)
    assert kept(tmp_path, "best")["global_step"] == kept(tmp_path, "last")["global_step"] == steps


def test_it_validates_in_an_epoch_without_validation_too(train):
    task, _ = train(0.7, val_every=3)
    assert task.validated == [7]


def test_it_ends_before_its_budget_if_epochs_do(train):
    task, trainer = train(3.0, epochs=2)
    assert (len(task.losses), spent(trainer)) == (10, 60)


def test_a_finished_training_is_not_trained_further(train, tmp_path):
    train(0.7)
    task, trainer = train(0.7)
    assert (task.losses, task.validated, spent(trainer)) == ([], [], 42)


def test_a_larger_budget_goes_on_where_a_smaller_one_ended(train):
    first, (rest, trainer) = train(0.7)[0], train(1.7)
    assert (len(rest.losses), spent(trainer)) == (8, 90)
    assert first.losses + rest.losses == train(None, resume="none")[0].losses[:15]


def test_a_training_that_was_killed_in_its_last_validation_validates_again(train, tmp_path):
    with pytest.raises(Killed):
        train(0.4, KilledInValidation(), checkpoint_steps=1)
    assert not (tmp_path / "best.ckpt").exists()
    task, _ = train(0.4, checkpoint_steps=1)
    assert (len(task.losses), task.validated) == (1, [5])


@pytest.mark.parametrize("budget", [0.0, -1.0, float("nan")])
def test_a_budget_that_is_not_positive_is_refused(budget):
    with pytest.raises(ValueError, match=f"training: budget must be positive, got {budget}"):
        ProcessorBudget(budget)


def test_one_of_several_processes_stops_all(train, monkeypatch):
    """The other process has spent its budget after two steps."""
    asked = []

    def decide(self, decision, all=True):
        asked.append((decision, all))
        return decision or len(asked) == 2

    monkeypatch.setattr("lightning.pytorch.strategies.SingleDeviceStrategy.reduce_boolean_decision", decide)
    task, _ = train(5.0)
    assert (len(task.losses), task.validated, asked) == (2, [2], [(False, False), (False, False)])
