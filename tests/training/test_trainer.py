"""What a training prints on the terminal."""

from __future__ import annotations

import logging
import warnings

import pytest
import torch

pytest.importorskip("lightning")

from lightning.pytorch import LightningModule
from torch import nn

from pydlx.models import register_model
from pydlx.models.registry import _builders, create_model
from pydlx.training.reproducible import TrainingLoader
from pydlx.training.trainer import TrainerOptions, build_trainer, moving_average


class Task(LightningModule):
    def __init__(self):
        super().__init__()
        self.model = create_model("toy")

    def training_step(self, batch, batch_idx):
        return self.model(batch).square().mean()

    def validation_step(self, batch, batch_idx):
        self.log("score", self.model(batch).mean())

    def configure_optimizers(self):
        return torch.optim.SGD(self.model.parameters(), 0.01)


@pytest.fixture
def toy():
    register_model("toy")(lambda: nn.Linear(1, 1))
    yield
    del _builders["toy"]


@pytest.fixture
def said():
    """Collects all that Lightning logs from here on."""
    messages = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())
    logging.getLogger("lightning.pytorch").addHandler(handler)
    yield messages
    logging.getLogger("lightning.pytorch").removeHandler(handler)


def test_lightning_prints_nothing_but_the_training(toy, said, tmp_path):
    """No advertisements, and no warning that the folder of a resumed training is not empty."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for epochs in (1, 2):
            options = TrainerOptions(out=str(tmp_path), epochs=epochs, accelerator="cpu", progress=False)
            loader = TrainingLoader(range(2), lambda number: torch.ones(1) * number, 1, seed=0)
            held_out = torch.utils.data.DataLoader(torch.ones(2, 1))
            build_trainer(options, monitor="score", batches=2).fit(Task(), loader, held_out)
    assert any("GPU available" in message for message in said)
    assert not [message for message in said if "litlogger" in message or "litmodels" in message]
    messages = [str(warning.message) for warning in warned]
    assert not [message for message in messages if "is not empty" in message or "LeafSpec" in message]


def test_the_moving_average_leaves_the_first_weights_behind_soon():
    update = moving_average(0.999)
    average = torch.zeros(3)
    for step in range(1, 21):
        average = update(average, torch.ones(3), torch.tensor(step))
    assert average.min() > 0.9999


def test_the_moving_average_has_its_decay_after_that():
    update, late = moving_average(0.9), torch.tensor(1000)
    torch.testing.assert_close(update(torch.zeros(2), torch.ones(2), late), torch.full((2,), 0.1))
    counts = update(torch.tensor(3), torch.tensor(4), late)
    assert counts == 4 and counts.dtype == torch.int64
    with pytest.raises(ValueError, match=r"ema must be from 0 to 1, got 1\.5"):
        moving_average(1.5)
