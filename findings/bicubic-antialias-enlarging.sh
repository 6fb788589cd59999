#!/usr/bin/env bash
# torch 2.13.0 on the CPU: F.interpolate(mode="bicubic") takes another cubic with antialias=True than without, so that
# the flag changes pictures that are enlarged, where nothing can alias.
#
# One would guess: antialias widens the filter where a picture shrinks and does nothing where it grows, as with bilinear.
# Seen, one pixel of 1 enlarged twice: 0.8789 beside its centre without (Keys' cubic with a = -3/4), 0.8672 with
# (a = -1/2, Pillow's); a random picture differs by up to 0.07. Bilinear gives the same numbers with and without.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy pillow==12.0.0
"$folder/venv/bin/python" - <<'PY'
import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F


def enlarged(picture, mode, antialias):
    return F.interpolate(picture, scale_factor=2, mode=mode, antialias=antialias)[0, 0]


point = torch.zeros(1, 1, 9, 9)
point[0, 0, 4, :] = 1
plain, smooth = (enlarged(point, "bicubic", flag)[:, 8] for flag in (False, True))
print(plain[8].item(), smooth[8].item())
assert abs(plain[8] - 0.87890625) < 1e-6 and abs(smooth[8] - 0.8671875) < 1e-6
pillow = np.asarray(Image.fromarray(point[0, 0].numpy()).resize((18, 18), Image.BICUBIC))[:, 8]
assert np.abs(pillow - smooth.numpy()).max() < 1e-5

noise = torch.rand(1, 1, 30, 30, generator=torch.Generator().manual_seed(0))
cubic = (enlarged(noise, "bicubic", True) - enlarged(noise, "bicubic", False)).abs().max().item()
linear = (enlarged(noise, "bilinear", True) - enlarged(noise, "bilinear", False)).abs().max().item()
print(cubic, linear)
assert cubic > 0.02 and linear < 1e-6
PY
echo "as stated"
