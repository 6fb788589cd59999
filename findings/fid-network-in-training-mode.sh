#!/usr/bin/env bash
# torchmetrics 1.9.0: FrechetInceptionDistance(feature=module) runs the network it is given in training mode if that is
# how it comes, and puts it back there: batch norm then normalises by each batch and goes on learning from what is
# measured.
#
# One would guess: a metric evaluates, so a network inside it is in evaluation mode, as its own Inception is. Seen: the
# distance of the same pictures is another one after module.eval(), and running statistics have moved.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 torchmetrics==1.9.0 scipy numpy
"$folder/venv/bin/python" - <<'PY'
import torch
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance


def network():
    torch.manual_seed(0)
    made = nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.BatchNorm1d(8))
    made.num_features = 8
    forward = made.forward
    made.forward = lambda pictures: forward(pictures.float() / 255)
    return made


def distance(module):
    fid = FrechetInceptionDistance(feature=module)
    draw = torch.Generator().manual_seed(1)
    real, made = (torch.randint(256, (64, 3, 8, 8), dtype=torch.uint8, generator=draw) for _ in range(2))
    fid.update(real, real=True)
    fid.update(made // 4, real=False)
    return fid.compute().item(), module[2].running_mean.abs().max().item()


as_it_comes, evaluated = distance(network()), distance(network().eval())
print(as_it_comes, evaluated)
assert abs(as_it_comes[0] - evaluated[0]) > 0.05
assert as_it_comes[1] > 0.01 and evaluated[1] == 0
PY
echo "as stated"
