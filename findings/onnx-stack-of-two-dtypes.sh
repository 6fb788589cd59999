#!/usr/bin/env bash
# torch 2.13.0, onnxscript 0.7.2, onnx 1.23.2, onnxruntime 1.32.0: what torch.stack makes of two dtypes is exported to a
# file that no one can load, without a word; torch.cat of the same is exported with the cast that it needs.
#
# One would guess: both promote in PyTorch, so the exporter does the same for both; or it fails where it cannot. Seen: of
# a bool and a float tensor torch.stack exports to Concat of bool and float, which onnxruntime refuses when the session is
# made ("Type parameter (T) of Optype (Concat) bound to different types"); torch.cat loads and gives the right numbers.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy onnxscript==0.7.2 onnx==1.23.2 \
  onnxruntime==1.32.0
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import warnings

warnings.simplefilter("ignore")
import onnxruntime
import torch


class Joined(torch.nn.Module):
    def __init__(self, join):
        super().__init__()
        self.join = join

    def forward(self, x, y):
        return self.join([x > 0, y], 1)


def session(join):
    x, y = torch.tensor([[1.0, -1.0]]), torch.tensor([[0.5, 0.25]])
    model = Joined(join)
    assert model(x, y).dtype == torch.float32
    torch.onnx.export(model, (x, y), "joined.onnx", dynamo=True, verbose=False)
    run = onnxruntime.InferenceSession("joined.onnx").run
    return run(None, {"x": x.numpy(), "y": y.numpy()})[0].tolist()


found = session(torch.cat)
print("cat:", found)
assert found == [[1.0, 0.0, 0.5, 0.25]]
try:
    session(torch.stack)
except Exception as error:
    print("stack:", error)
    assert "Optype (Concat) bound to different types (tensor(bool) and tensor(float)" in str(error)
else:
    raise SystemExit("stack is exported as it should be")
PY
echo "as stated"
