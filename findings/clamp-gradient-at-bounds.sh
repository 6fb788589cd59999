#!/usr/bin/env bash
# torch 2.13.0 and 2.14.1, CPU: the gradient of clamp where a number equals a bound has changed.
#
# One would guess: the same gradient in neighbouring releases, and the same for bounds given as numbers and as tensors.
# Seen, clamp(0, 1) at -1, 0, .5, 1, 2:
#     2.13.0   0 1 1 1 0    with tensors as bounds 0 1 1 1 0
#     2.14.1   0 0 1 0 0    with tensors as bounds 0 .5 1 .5 0
# An alpha channel of 1, clipped to [0, 1], loses its gradient.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for version in 2.13.0 2.14.1; do
  python3 -m venv "$folder/$version"
  "$folder/$version/bin/pip" install --quiet --disable-pip-version-check "torch==$version" numpy
  "$folder/$version/bin/python" - <<'PY'
import torch

x = torch.tensor([-1.0, 0.0, 0.5, 1.0, 2.0], requires_grad=True)
numbers, tensors = x.clamp(0, 1), x.clamp(torch.zeros(5), torch.ones(5))
found = [torch.autograd.grad(y.sum(), x)[0].tolist() for y in (numbers, tensors)]
print(torch.__version__, *found)
before = [[0, 1, 1, 1, 0], [0, 1, 1, 1, 0]]
after = [[0, 0, 1, 0, 0], [0, 0.5, 1, 0.5, 0]]
assert found == (before if torch.__version__.startswith("2.13.0") else after)
PY
done
echo "as stated"
