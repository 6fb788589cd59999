#!/usr/bin/env bash
# torch 2.13.0: where an autograd.Function with two outputs has a vmap rule that returns them as a list instead of a
# tuple, vmap(grad(f)) gives gradients of 0 and says nothing.
#
# One would guess: an error, or the same gradient as with a tuple. Seen: the tuple gives 2 x and 3, the list gives zeros.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy
"$folder/venv/bin/python" - <<'PY'
import torch


def two_outputs(kind):
    class Two(torch.autograd.Function):
        @staticmethod
        def forward(x):
            return x * x, 3 * x

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(inputs[0])

        @staticmethod
        def backward(ctx, a, b):
            (x,) = ctx.saved_tensors
            return 2 * x * a + 3 * b

        @staticmethod
        def vmap(info, in_dims, x):
            return kind(Two.apply(x)), 0

    return Two


def gradient(kind):
    function = two_outputs(kind)
    return torch.func.vmap(torch.func.grad(lambda x: sum(y.sum() for y in function.apply(x))))(torch.tensor([1.0, 2.0]))


print("tuple:", gradient(tuple), "list:", gradient(list))
assert gradient(tuple).tolist() == [5.0, 7.0]
assert gradient(list).tolist() == [0.0, 0.0]
PY
echo "as stated"
