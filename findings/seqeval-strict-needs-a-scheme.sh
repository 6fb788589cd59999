#!/usr/bin/env bash
# seqeval 1.2.2: mode="strict" without a scheme, or a scheme without mode="strict", changes nothing and says nothing.
#
# One would guess: mode="strict" is strict, and scheme=IOB2 reads tags as IOB2, where an entity begins with B. Seen: each
# alone gives the lenient F1, 1 for I-A against B-A; only both together give 0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check seqeval==1.2.2
cat > "$folder/strict.py" <<'PY'
import warnings

from seqeval.metrics import f1_score
from seqeval.scheme import IOB2

truth, found = [["B-A", "I-A", "O"]], [["I-A", "I-A", "O"]]
with warnings.catch_warnings():
    warnings.simplefilter("error")
    lenient = [f1_score(truth, found, **options) for options in ({}, {"mode": "strict"}, {"scheme": IOB2})]
both = f1_score(truth, found, mode="strict", scheme=IOB2, zero_division=0)
print("lenient, strict, IOB2:", *lenient, "both:", both)
assert lenient == [1, 1, 1]
assert both == 0
PY
"$folder/venv/bin/python" "$folder/strict.py"
echo "as stated"
