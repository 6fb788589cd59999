#!/usr/bin/env bash
# lightning 2.6.6, torch 2.13.0: a training that a callback stops in the middle of an epoch validates once more, and one
# that max_steps stops at the same step does not.
#
# One would guess: either both end at once, without a validation, or both validate before they end. Seen, with three of
# ten batches done: after ``trainer.should_stop = True`` the validation runs right away, if check_val_every_n_epoch makes
# this epoch one to validate in, and not otherwise; after max_steps=3 it never runs, so that a ModelCheckpoint which
# watches a validation's score has written nothing.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy lightning==2.6.6
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import logging
import warnings

warnings.simplefilter("ignore")
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


class Model(LightningModule):
    def __init__(self):
        super().__init__()
        self.layer, self.seen = torch.nn.Linear(1, 1), []

    def training_step(self, batch, index):
        self.seen.append(f"step {index}")
        return self.layer(batch).sum()

    def validation_step(self, batch, index):
        self.seen.append("validation")

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


class Stop(Callback):
    def on_train_batch_end(self, trainer, module, outputs, batch, index):
        trainer.should_stop = index == 2


def seen(**options):
    model, data = Model(), torch.utils.data.DataLoader(torch.zeros(10, 1))
    quiet = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    options |= dict.fromkeys(quiet, False)
    Trainer(
        accelerator="cpu", max_epochs=3, num_sanity_val_steps=0, limit_val_batches=1, **options
    ).fit(model, data, data)
    return model.seen


steps = ["step 0", "step 1", "step 2"]
for name, options, wanted in (
    ("should_stop", {"callbacks": [Stop()]}, [*steps, "validation"]),
    ("should_stop, every second epoch", {"callbacks": [Stop()], "check_val_every_n_epoch": 2}, steps),
    ("max_steps", {"max_steps": 3}, steps),
):
    found = seen(**options)
    print(f"{name}: {found}")
    assert found == wanted
PY
echo "as stated"
