#!/usr/bin/env bash
# torch 2.11.0 with CUDA 13 (cuFFT 12.0, seen on an H100): in a batch of real lines, a NaN in one spoils the next one.
# Needs an NVIDIA GPU; without one this says so and shows nothing.
#
# One would guess: transforms of a batch are independent. Seen, 70 lines, NaN in lines 3, 20 and 69: rfft of 131, 1021
# or 1055 = 5 * 211 samples, along either axis, gives NaN in lines 2, 3, 20, 21, 68 and 69, in float32 and float64; so
# does irfft to 253 samples. Complex transforms, even lengths, and odd ones up to 127 keep lines apart.
set -euo pipefail
command -v nvidia-smi > /dev/null || { echo "no GPU here: nothing shown"; exit 0; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.11.0 numpy
"$folder/venv/bin/python" - <<'PY'
import torch

OWN, PAIRS = [3, 20, 69], [2, 3, 20, 21, 68, 69]


def spoiled(transform, samples, dtype):
    x = torch.randn(70, samples, dtype=dtype)
    x[OWN, 1] = torch.nan
    return torch.view_as_real(transform(x.cuda()) + 0j).isnan().flatten(1).any(1).nonzero().flatten().tolist()


for dtype in (torch.float32, torch.float64):
    for samples in (97, 127, 128, 262, 1055, 131, 1021):
        found = spoiled(torch.fft.rfft, samples, dtype)
        print(dtype, samples, found)
        assert found == (PAIRS if samples in (131, 1021, 1055) else OWN)
    assert spoiled(lambda x: torch.fft.fft(x + 0j), 1021, dtype) == OWN
    assert spoiled(lambda x: torch.fft.irfft(torch.complex(x, x), n=253), 128, dtype) == PAIRS
PY
echo "as stated"
