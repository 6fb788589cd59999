"""The run for machines with a GPU also starts without one: its steps on the emulator and on the CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cuda_on_cpu.build import emulated_library

import pydlx

SCRIPT = Path(__file__).with_name("run.py")


def run(folder: Path, *arguments: str, **environment: str) -> dict:
    command = [sys.executable, SCRIPT, "--device", "cpu", "--quick", "--out", folder, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((folder / "report.json").read_text())


def test_cross_check_of_the_cuda_kernels_on_the_emulator(tmp_path, kernels):
    if kernels != "native":
        pytest.skip("once is enough")
    report = run(tmp_path, "--steps", "cross-check", PYDLX_LIBRARY=str(emulated_library()))
    ops = report["steps"]["cross-check"]["ops"]
    assert ops
    assert all(found["checked"] + found["undecided"] and not found["failures"] for found in ops.values())


def test_bench_leaves_json_and_one_table(tmp_path, kernels):
    if kernels != "native" or not pydlx.build_info()["native"]:
        pytest.skip("nothing to measure")
    assert run(tmp_path, "--steps", "bench")["steps"]["bench"]["ok"]
    assert json.loads((tmp_path / "bench.json").read_text())["results"]
    assert "| nms | hard 1000 boxes |" in (tmp_path / "bench.md").read_text()


def test_a_missing_gpu_is_named(tmp_path):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is one")
    done = subprocess.run([sys.executable, SCRIPT, "--out", tmp_path], capture_output=True, text=True)
    assert done.returncode == 2
    assert "--device must be one that torch finds, got cuda where there is none" in done.stderr
