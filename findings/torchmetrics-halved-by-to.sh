#!/usr/bin/env bash
# torchmetrics 1.9.0 (torch 2.13.0): model.to(torch.bfloat16) makes a metric inside count in bfloat16, to 256 and no
# further; model.bfloat16() does not.
#
# One would guess: the two are the same, and a metric's states are guarded from both, as they are from half(),
# bfloat16() and double(). Seen: after to() the states are bfloat16. The mean of 500 zeros and 500 ones then is 1,
# without a word, and a sum of a thousand ones 256.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 torchmetrics==1.9.0 numpy
"$folder/venv/bin/python" - <<'PY'
import warnings

warnings.simplefilter("error")
import torch
from torch import nn
from torchmetrics import MeanMetric, SumMetric


def measure(convert):
    model = convert(nn.ModuleDict({"net": nn.Linear(1, 1), "mean": MeanMetric(), "sum": SumMetric()}))
    for i in range(1000):
        model["mean"].update(torch.tensor(float(i >= 500)))
        model["sum"].update(torch.tensor(1.0))
    assert model["net"].weight.dtype == torch.bfloat16
    return model["mean"].mean_value.dtype, model["mean"].compute().item(), model["sum"].compute().item()


by_to, by_name = measure(lambda m: m.to(torch.bfloat16)), measure(lambda m: m.bfloat16())
print("to(torch.bfloat16):", by_to, "bfloat16():", by_name)
assert by_to == (torch.bfloat16, 1.0, 256.0)
assert by_name == (torch.float32, 0.5, 1000.0)
PY
echo "as stated"
