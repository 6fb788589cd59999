"""What an import brings along: packages that take long to import are imported when they are first used."""

import json
import subprocess
import sys

PROBE = """
import json, sys
import torch
import pydlx
alone = set(sys.modules)
import pydlx.metrics
print(json.dumps([sorted(name for name in modules if name.startswith(("pydlx", "torchmetrics")))
                  for modules in (alone, set(sys.modules))]))
pydlx.nn.SoftPool2d, pydlx.losses.OKSLoss, pydlx.data.read_docred
"""


def test_imports_bring_what_they_need():
    run = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    alone, metrics = map(set, json.loads(run.stdout))
    assert not alone & {"pydlx.nn", "pydlx.losses", "pydlx.metrics", "pydlx.data", "pydlx.models", "torchmetrics"}
    assert "torchmetrics" in metrics
    assert not metrics & {"pydlx.nn", "pydlx.losses", "pydlx.models", "pydlx.visualize"}
