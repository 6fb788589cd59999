#!/usr/bin/env bash
# torch 2.13.0, CPU build: under autocast torch.lerp raises for float32 beside bfloat16, where the sum that it stands for,
# addcmul, addcdiv, where and cat give float32.
#
# One would guess: a gate y + g (x - y) may be written as torch.lerp(y, x, g), in mixed precision too. Seen: in a highway
# layer, whose input is float32 and whose transformed input autocast made bfloat16, lerp raises "expected dtype float for
# `end` but got dtype c10::BFloat16"; the others promote.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy
cat > "$folder/gate.py" <<'PY'
import torch
from torch import nn

x, transform = torch.randn(4, 3), nn.Linear(3, 3)
with torch.autocast("cpu", torch.bfloat16):
    y = transform(x)
    assert (x.dtype, y.dtype) == (torch.float32, torch.bfloat16)
    gate = y.sigmoid()
    for name, found in {
        "sum": x + gate * (y - x),
        "addcmul": torch.addcmul(x, gate, y),
        "addcdiv": torch.addcdiv(x, gate, y),
        "where": torch.where(x > 0, x, y),
        "cat": torch.cat([x, y]),
    }.items():
        print(name, found.dtype)
        assert found.dtype == torch.float32
    try:
        torch.lerp(x, y, gate)
    except RuntimeError as error:
        print("lerp:", error)
        assert "expected dtype float for `end` but got dtype c10::BFloat16" in str(error)
    else:
        raise SystemExit("lerp takes them")
PY
"$folder/venv/bin/python" "$folder/gate.py"
echo "as stated"
