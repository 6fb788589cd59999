#!/usr/bin/env bash
# nervaluate 1.2.1: its strict F1 of nested entities depends on the order of the predictions, from 0 to 0.8.
#
# One would guess: a strict score counts the predictions that are equal to a true entity, whatever else was predicted.
# Seen: a wrong prediction takes the first true entity that it overlaps as "incorrect", which then is not found any more,
# even by a prediction that is equal to it. With the wrong prediction last, both true entities are found.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check nervaluate==1.2.1
cat > "$folder/order.py" <<'PY'
from nervaluate.evaluator import Evaluator


def f1(*predictions):
    truth = [(0, 3), (1, 2)]
    sides = [[[{"label": "A", "start": a, "end": b} for a, b in side]] for side in (truth, predictions)]
    return Evaluator(*sides, tags=["A"], loader="dict").evaluate()["overall"]["strict"].f1


first, last = f1((0, 2), (0, 3), (1, 2)), f1((0, 3), (1, 2), (0, 2))
print("wrong one first:", first, "last:", last)
assert (first, round(last, 9)) == (0, 0.8)
PY
"$folder/venv/bin/python" "$folder/order.py"
echo "as stated"
