"""A training interrupted at any step resumes with the items and losses of an uninterrupted one."""

from __future__ import annotations

import copy
from contextlib import suppress

import pytest
import torch
from torch import nn

pytest.importorskip("lightning")

from lightning.pytorch import Callback, LightningModule

from pydlx.models import load_model, register_model
from pydlx.models.registry import _builders, create_model
from pydlx.training.reproducible import TrainingLoader
from pydlx.training.trainer import TrainerOptions, build_trainer, checkpoint_to_resume, processes, steps_of

ITEMS, BATCH, EPOCHS = 12, 2, 3


@pytest.fixture(autouse=True)
def toy():
    @register_model("toy")
    def build(*, width: int = 4) -> nn.Module:
        return nn.Sequential(nn.Linear(1, width), nn.BatchNorm1d(width), nn.Dropout(0.5), nn.Linear(width, 1))

    yield
    del _builders["toy"]


class Task(LightningModule):
    def __init__(self, width=4):
        super().__init__()
        torch.manual_seed(3)
        self.model = create_model("toy", width=width)
        self.seen: list[tuple[list[int], float]] = []

    def training_step(self, batch, batch_idx):
        numbers, x = batch
        loss = (self.model(x) - x).square().mean()
        self.seen.append((numbers.tolist(), round(loss.item(), 7)))
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("score", self.model(batch[1]).mean())

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.model.parameters(), 0.05)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": torch.optim.lr_scheduler.PolynomialLR(optimizer, 40), "interval": "step"},
        }


class Stop(Exception):
    pass


class StopAt(Callback):
    """Interrupts the training as a kill would, before the step is saved: the last checkpoint is one step older."""

    def __init__(self, step):
        self.step = step

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step == self.step:
            raise Stop


def jittered(number):
    return torch.tensor(number), torch.full((1,), float(number)) / 10 + 0.1 * torch.randn(1)


def train(folder, stop=None, workers=0, resume="auto", ema=None, width=4, checkpoint_steps=1):
    options = TrainerOptions(
        out=folder,
        resume=resume,
        epochs=EPOCHS,
        checkpoint_steps=checkpoint_steps,
        accelerator="cpu",
        progress=False,
        ema=ema,
    )
    task = Task(width)
    trainer = build_trainer(
        options, monitor="score", batches=ITEMS // BATCH, callbacks=[StopAt(stop)] if stop else None
    )
    loader = TrainingLoader(range(ITEMS), jittered, BATCH, seed=5, workers=workers)
    held_out = torch.utils.data.DataLoader([jittered(0), jittered(1)], 2)
    path = checkpoint_to_resume(options, task.model)
    with suppress(Stop):
        trainer.fit(task, loader, held_out, ckpt_path=path, weights_only=True)
    return task


def weights(task):
    return copy.deepcopy(task.model.state_dict())


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    _builders["toy"] = lambda *, width=4: nn.Sequential(
        nn.Linear(1, width), nn.BatchNorm1d(width), nn.Dropout(0.5), nn.Linear(width, 1)
    )
    task = train(tmp_path_factory.mktemp("whole"))
    del _builders["toy"]
    return task


def test_epochs_hold_every_item_once_in_another_order(whole_run):
    epochs = [[n for numbers, _ in whole_run.seen[6 * e : 6 * e + 6] for n in numbers] for e in range(EPOCHS)]
    assert all(sorted(items) == list(range(ITEMS)) for items in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


@pytest.mark.parametrize("stop", [1, 4, 6, 7, 17])
def test_a_resumed_training_is_the_uninterrupted_one(tmp_path, whole_run, stop):
    first = train(tmp_path, stop)
    assert len(first.seen) == stop
    second = train(tmp_path)
    assert first.seen[:-1] + second.seen == whole_run.seen
    for name, tensor in weights(second).items():
        assert torch.equal(tensor, weights(whole_run)[name]), name


def test_epochs_are_kept_besides_steps(tmp_path, whole_run):
    """Checkpoints are of steps 6 and 12, at the ends of epochs, and 5, 10, 15; training resumes from the last."""
    for checkpoint_steps, stop, kept in ((None, 9, 6), (5, 9, 6), (5, 11, 10), (5, 17, 15)):
        folder = tmp_path / f"{checkpoint_steps} {stop}"
        first = train(folder, stop, checkpoint_steps=checkpoint_steps)
        assert first.seen[:kept] + train(folder, checkpoint_steps=checkpoint_steps).seen == whole_run.seen


def test_every_process_knows_its_number(monkeypatch):
    options = TrainerOptions(devices=2, nodes=3)
    assert processes(options) == (6, 0)  # the process that starts the others
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("NODE_RANK", "2")
    assert processes(options) == (6, 5)
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "6")
    assert processes(options) == (6, 3)
    with pytest.raises(ValueError, match="devices times nodes must be the 6 processes that were started, got 1"):
        processes(TrainerOptions())


def test_steps_are_those_that_lightning_makes():
    assert steps_of(TrainerOptions(epochs=3, accumulate=4), 10) == 9
    assert steps_of(TrainerOptions(epochs=3, max_steps=5), 10) == 5


def test_the_items_do_not_depend_on_workers(tmp_path, whole_run):
    first = train(tmp_path, 4, workers=2)
    assert first.seen[:-1] + train(tmp_path, workers=1).seen == whole_run.seen


def test_averaged_weights_stay_apart_from_the_live_ones(tmp_path, whole_run):
    train(tmp_path, 8, ema=0.9)
    assert train(tmp_path, ema=0.9).seen == whole_run.seen[7:]
    average = load_model(tmp_path / "last.ckpt")
    assert not torch.equal(average[0].weight, whole_run.model[0].weight)


def test_checkpoints_say_what_they_hold(tmp_path):
    train(tmp_path, 2, width=6)
    model = load_model(tmp_path / "last.ckpt")
    assert (model.model_name, model.model_options) == ("toy", {"width": 6})
    with pytest.raises(ValueError, match=r"last\.ckpt' holds width=6, not 4; give the same options"):
        train(tmp_path)
    (tmp_path / "last.ckpt").write_bytes((tmp_path / "last.ckpt").read_bytes()[:500])
    with pytest.raises(OSError, match=r"cannot read .*last\.ckpt"):
        train(tmp_path)


def test_without_a_checkpoint_it_starts_anew(tmp_path, whole_run):
    train(tmp_path, 2)
    assert train(tmp_path, resume="none").seen == whole_run.seen
