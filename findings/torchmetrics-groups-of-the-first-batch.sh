#!/usr/bin/env bash
# torchmetrics 1.9.0: in a MetricCollection, metrics of one class with different options may share one state for good.
#
# One would guess: metrics whose options differ count for themselves. Seen: after the first batch those whose states
# are equal by value become one group, of which only the first goes on counting. Accuracy at 0.5 and at 0.7 agree on a
# first batch of sure predictions; three right ones at 0.6 later, both are 1, where 0.7 alone gives 0.4. No warning;
# compute_groups=False gives the right numbers.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 torchmetrics==1.9.0 numpy
"$folder/venv/bin/python" - <<'PY'
import warnings

warnings.simplefilter("error")
import torch
from torchmetrics import MetricCollection
from torchmetrics.classification import BinaryAccuracy

batches = [
    (torch.tensor([0.9, 0.1]), torch.tensor([1, 0])),
    (torch.tensor([0.6, 0.6, 0.6]), torch.tensor([1, 1, 1])),
]


def measure(order, **options):
    metrics = MetricCollection({"lenient": BinaryAccuracy(0.5), "severe": BinaryAccuracy(0.7)}, **options)
    for i in order:
        metrics.update(*batches[i])
    return {name: round(value.item(), 4) for name, value in metrics.compute().items()}


grouped, turned, single = measure([0, 1]), measure([1, 0]), measure([0, 1], compute_groups=False)
print("as by default:", grouped, "batches turned round:", turned, "without groups:", single)
assert grouped == {"lenient": 1.0, "severe": 1.0}
assert turned == single == {"lenient": 1.0, "severe": 0.4}
PY
echo "as stated"
