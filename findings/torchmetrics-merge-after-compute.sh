#!/usr/bin/env bash
# torchmetrics 1.9.0: compute() after merge_state() returns what it returned before the merge.
#
# One would guess: merging drops the cached result, as update() and reset() do. Seen: a mean of 1 that was computed
# once, merged with one of 3, is still 1, though its states are those of 2; without the earlier compute() it is 2. The
# next update() brings what was merged to light.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 torchmetrics==1.9.0 numpy
"$folder/venv/bin/python" - <<'PY'
import warnings

warnings.simplefilter("error")
from torchmetrics import MeanMetric


def merged(look):
    a, b = MeanMetric(), MeanMetric()
    a.update(1.0)
    b.update(3.0)
    if look:
        a.compute()
    a.merge_state(b)
    states = [a.mean_value.item(), a.weight.item()]
    result = a.compute().item()
    a.update(8.0)
    return states, result, a.compute().item()


looked, unseen = merged(True), merged(False)
print("computed before:", looked, "not computed before:", unseen)
assert looked == ([4.0, 2.0], 1.0, 4.0)
assert unseen == ([4.0, 2.0], 2.0, 4.0)
PY
echo "as stated"
