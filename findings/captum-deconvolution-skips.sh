#!/usr/bin/env bash
# captum 0.9.0: Deconvolution leaves out every path round a ReLU that takes the ReLU's own input.
#
# One would guess: it changes the gradient of ReLU modules and of nothing else. Seen: it changes the gradient at the
# tensor that enters the ReLU, with all that flows into that tensor by other ways. In x + 2 relu(x), the block of a
# pre-activation ResNet, the skip counts for nothing: 2 instead of 3, and 4 instead of 9 through two blocks. Where one
# ReLU module serves two branches, both get the signal of one of them: 4 for 2 relu(a) + 5 relu(b) instead of 7.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 captum==0.9.0 numpy
"$folder/venv/bin/python" - <<'PY'
import warnings

warnings.simplefilter("ignore")
import torch
from captum.attr import Deconvolution
from torch import nn


class Rule(torch.autograd.Function):
    """A ReLU whose gradient is the positive part of what arrives: the rule as it is defined."""

    @staticmethod
    def forward(ctx, x):
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx, gradient):
        return gradient.clamp(min=0)


class Block(nn.Module):
    def __init__(self, relu):
        super().__init__()
        self.relu = relu

    def forward(self, x):
        return x + 2 * self.relu(x)


class Branches(Block):
    def forward(self, x):
        a, b = x * 1, x * 1
        return 2 * self.relu(a) + 5 * self.relu(b)


def attribute(build):
    x = torch.tensor([[1.0]], requires_grad=True)
    defined = torch.autograd.grad(build(lambda: Rule.apply)(x * 1).sum(), x)[0].item()
    net = nn.Sequential(nn.Linear(1, 1, bias=False), build(nn.ReLU))
    nn.init.ones_(net[0].weight)
    return Deconvolution(net).attribute(x, target=0).item(), defined


one = attribute(lambda relu: Block(relu()))
two = attribute(lambda relu: nn.Sequential(Block(relu()), Block(relu())))
shared = attribute(lambda relu: Branches(relu()))
print("captum, and by definition: one block", one, "two blocks", two, "a shared ReLU", shared)
assert one == (2, 3)
assert two == (4, 9)
assert shared == (4, 7)
PY
echo "as stated"
