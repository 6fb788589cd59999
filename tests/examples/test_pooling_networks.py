"""The experiments with pooling layers run from end to end, on whatever pictures there are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "pooling_networks"


def run(folder, *arguments, data):
    environment = {**os.environ, "PYDLX_SHARED_DATA": str(data)}
    command = [sys.executable, str(EXAMPLE), *arguments, "--folder", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(autouse=True)
def peers():
    for module in ("skimage", "PIL", "matplotlib"):
        pytest.importorskip(module)


def test_every_experiment_runs_without_shared_data_and_goes_on_where_it_was(tmp_path):
    said = run(tmp_path, "--quick", data=tmp_path)
    assert "pictures: scikit-image's" in said
    for variant in ("SoftPool, paper gradient", "pyramid, SoftPool", "TopLeftPool2d"):
        assert f"| {variant} | " in said
    assert (tmp_path / "pooling_quick.png").stat().st_size < 120_000

    path = tmp_path / "pooling_quick_pooling.json"
    found = json.loads(path.read_text())
    assert 0 <= found["max"]["0"]["accuracy"] <= 100
    kept = found["max"]["0"]
    del found["average"]
    path.write_text(json.dumps(found))
    said = run(tmp_path, "pooling", "--quick", data=tmp_path)
    assert "pooling 1/1, seed 0, average" in said
    again = json.loads(path.read_text())
    assert again["max"]["0"] == kept
    assert "average" in again
