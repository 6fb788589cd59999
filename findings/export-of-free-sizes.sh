#!/usr/bin/env bash
# torch 2.13.0, onnxscript 0.7.2: two plain operations that export for fixed sizes and not for a free one.
#
# One would guess: what exports with a floor-mode pool exports with a ceil-mode one, and what exports with `x // n`
# exports with `x % n`. Seen:
# * torch.export of max_pool2d(x, 2, ceil_mode=True) with a named dimension of any range fails on a guard that holds for
#   every size, 2*((h - 1)//2) < h; the floor-mode pool exports from 4 rows on, and Dim.AUTO takes both;
# * torch.onnx.export of x % y.shape[0] fails to translate remainder by a size; x - x // n * n gives the same and exports.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy onnxscript==0.7.2
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import warnings

warnings.simplefilter("ignore")
import torch
from torch.export import Dim
from torch.nn import functional as F


class Module(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


def outcome(run):
    try:
        run()
        return "exports"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def pool(ceil_mode, rows):
    module = Module(lambda x: F.max_pool2d(x, 2, ceil_mode=ceil_mode)).eval()
    return outcome(lambda: torch.export.export(module, (torch.zeros(1, 1, 37, 41),), dynamic_shapes=(({2: rows},),)))


def divided(function):
    module = Module(lambda x, y: function(x, y.shape[0])).eval()
    shapes = ((None, {0: Dim("n", min=2)}),)
    inputs = (torch.arange(12), torch.zeros(5))
    return outcome(lambda: torch.onnx.export(module, inputs, dynamo=True, dynamic_shapes=shapes, verbose=False))


named = Dim("h", min=4, max=4000)
assert pool(False, named) == pool(False, Dim.AUTO) == pool(True, Dim.AUTO) == "exports"
failed = pool(True, named)
print(failed[:300])
assert "satisfy the generated guard" in failed and "2*" in failed
assert divided(lambda x, n: x - x // n * n) == "exports"
failed = divided(lambda x, n: x % n)
print(failed[:300])
assert "remainder" in failed
PY
echo "as stated"
