#!/usr/bin/env bash
# Lightning 2.6.6 with torchdata 0.11.0's StatefulDataLoader (torch 2.13.0): resuming loses items.
#
# One would guess: with a stateful loader, which Lightning saves and restores, a resumed training sees the items that it
# would have seen. Seen, 12 items in batches of 2, a DistributedSampler with a seed, checkpoints at every step:
# * resumed in the second epoch it goes on in the order of the first one: Lightning restores the iterator before it
#   tells the sampler its epoch;
# * resumed from the last step of the first epoch it passes over the second epoch as a whole: the restored iterator is
#   at its end, and Lightning takes that for the next epoch;
# * resumed from a checkpoint of an epoch's end, the loader's state is in the file and is not restored: a loader that
#   knows its epoch by its state alone begins the first one again.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy lightning==2.6.6 torchdata==0.11.0
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import logging
import warnings

warnings.simplefilter("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DistributedSampler
from torchdata.stateful_dataloader import StatefulDataLoader


class Items(LightningModule):
    def __init__(self):
        super().__init__()
        self.weight, self.seen = torch.nn.Parameter(torch.zeros(())), []

    def training_step(self, batch, index):
        self.seen.append(batch.tolist())
        return self.weight * 1.0

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


class StopAt(Callback):
    def __init__(self, step):
        self.step = step

    def on_train_batch_start(self, trainer, module, batch, index):
        if trainer.global_step == self.step:
            raise InterruptedError


class Counting:
    """A loader whose epoch and place are nothing but its state."""

    def __init__(self):
        self.served = 0

    def __len__(self):
        return 6

    def __iter__(self):
        for _ in range(6):
            self.served += 1
            yield torch.tensor([self.served])

    def state_dict(self):
        return {"served": self.served}

    def load_state_dict(self, state):
        self.served = state["served"]


def count(name, epochs, resume=None):
    module = Items()
    Trainer(
        accelerator="cpu", max_epochs=epochs, logger=False, enable_progress_bar=False, enable_model_summary=False,
        callbacks=[ModelCheckpoint(name, "last", save_on_train_epoch_end=True, enable_version_counter=False)],
    ).fit(module, Counting(), ckpt_path=resume)
    return module.seen


def train(name, stop=None, resume=None):
    items = list(range(12))
    sampler = DistributedSampler(items, 1, 0, seed=5)
    module = Items()
    trainer = Trainer(
        accelerator="cpu", max_epochs=3, logger=False, enable_progress_bar=False, enable_model_summary=False,
        use_distributed_sampler=False,
        callbacks=[ModelCheckpoint(name, "last", every_n_train_steps=1, enable_version_counter=False), StopAt(stop)],
    )
    try:
        trainer.fit(module, StatefulDataLoader(items, 2, sampler=sampler), ckpt_path=resume)
    except InterruptedError:
        module.seen.pop() if len(module.seen) > (stop or 99) else None
    return module.seen


whole = train("whole")
for stop, expected in ((8, whole[2:6] + whole[12:]), (6, whole[12:])):
    first = train(f"stop{stop}", stop)
    second = train(f"rest{stop}", resume=f"stop{stop}/last.ckpt")
    print("stopped after step", stop, "then", second)
    assert first == whole[:stop] and second == expected != whole[stop:]
count("ends", 1)
loops = torch.load("ends/last.ckpt", weights_only=True)["loops"]["fit_loop"]["state_dict"]
second = count("ends", 2, resume="ends/last.ckpt")
print("kept", loops, "then", second)
assert loops == {"combined_loader": [{"served": 6}]} and second == [[n] for n in range(1, 7)]
PY
echo "as stated"
