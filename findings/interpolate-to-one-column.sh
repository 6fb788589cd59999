#!/usr/bin/env bash
# torch 2.13.0 on the CPU: F.interpolate(antialias=True) to pictures one column wide gives wrong values wherever the
# height changes, too: all rows come from the first ones.
#
# One would guess: the two axes are resampled one after the other, so that a picture of one column is resampled as each
# column of a wider one is. Seen, 90x1 with ones in the upper third, to 64x1: ones everywhere (bilinear and bicubic);
# 90x2 to 64x2 is right, with zeros from row 22 on. 90x3 to 64x1 is wrong as well, 1x90 to 1x64 right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy
"$folder/venv/bin/python" - <<'PY'
import torch
from torch.nn import functional as F


def resampled(width, mode):
    picture = torch.zeros(1, 1, 90, width)
    picture[:, :, :30] = 1
    return F.interpolate(picture, size=(64, width), mode=mode, antialias=True)[0, 0, :, 0]


for mode in ("bilinear", "bicubic"):
    one, two = resampled(1, mode), resampled(2, mode)
    print(mode, one[40].item(), two[40].item())
    assert (one - 1).abs().max() < 1e-6
    assert two[24:].abs().max() < 1e-6 and (two[:18] - 1).abs().max() < 1e-6

noise = torch.rand(1, 1, 90, 3, generator=torch.Generator().manual_seed(0))
at_once = F.interpolate(noise, size=(64, 1), mode="bilinear", antialias=True)
in_turn = F.interpolate(F.interpolate(noise, size=(64, 3), mode="bilinear", antialias=True), size=(64, 1), mode="bilinear", antialias=True)
print((at_once - in_turn).abs().max().item())
assert (at_once - in_turn).abs().max() > 0.1

lying = torch.zeros(1, 1, 1, 90)
lying[..., :30] = 1
assert F.interpolate(lying, size=(1, 64), mode="bilinear", antialias=True)[0, 0, 0, 40] == 0
PY
echo "as stated"
