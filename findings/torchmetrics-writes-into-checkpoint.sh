#!/usr/bin/env bash
# torchmetrics 1.9.0: a metric with persistent states works on in the tensors of the checkpoint that it has loaded.
#
# One would guess: load_state_dict copies, as it does for every parameter and buffer of a module. Seen: a MeanMetric
# keeps the checkpoint's own tensors and adds to them in place. Two metrics loaded from one dict are one metric: after
# one was shown 100, both give 34.67, and the dict says 104 in 3 values where it said 4 in 2. A batch norm beside it
# leaves the dict as it is.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 torchmetrics==1.9.0 numpy
"$folder/venv/bin/python" - <<'PY'
import warnings

warnings.simplefilter("ignore")
import torch
from torch import nn
from torchmetrics import MeanMetric


def model():
    metric = MeanMetric()
    metric.persistent(True)
    return nn.ModuleDict({"mean": metric, "norm": nn.BatchNorm1d(1)})


trained = model()
trained["mean"].update(torch.tensor([1.0, 3.0]))
checkpoint = {name: value.clone() for name, value in trained.state_dict().items()}
before = {name: value.clone() for name, value in checkpoint.items()}
first, second = model(), model()
first.load_state_dict(checkpoint)
second.load_state_dict(checkpoint)
first["mean"].update(torch.tensor(100.0))
first["norm"](torch.tensor([[5.0], [7.0]]))

changed = [name for name in checkpoint if not torch.equal(checkpoint[name], before[name])]
means = [round(m["mean"].compute().item(), 2) for m in (first, second)]
print("both means:", means, "the checkpoint:", checkpoint)
assert means == [34.67, 34.67]
assert changed == ["mean.mean_value", "mean.weight"]
assert checkpoint["mean.mean_value"] == 104 and checkpoint["mean.weight"] == 3
PY
echo "as stated"
