"""Every op test again, on the CUDA kernels' own code, in two scheduling orders."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]


def run_op_tests(*options: str, **environment: str) -> None:
    command = [sys.executable, "-m", "pytest", str(TESTS / "ops"), "--kernels=emulated", "-q", "-x"]
    run = subprocess.run(
        [*command, "-p", "no:cacheprovider", *options],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        cwd=TESTS.parent,
        timeout=1800,
    )
    assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-4000:]


@pytest.fixture(autouse=True)
def _only_once(kernels, request):
    if kernels != "native":
        pytest.skip("starts the emulated run itself")
    if shutil.which(os.environ.get("CXX", "g++")) is None:
        pytest.skip("no C++ compiler")


# gradcheck calls kernels that other tests call as well, some thousand times over. The solves take minutes of that.
WITHOUT_LONG_GRADCHECKS = ("-k", "not (poisson and gradients)")
WITHOUT_GRADCHECKS = ("-k", "not gradients and not gradcheck")


@pytest.mark.parametrize(("schedule", "tests"), [("forward", WITHOUT_LONG_GRADCHECKS), ("reverse", WITHOUT_GRADCHECKS)])
def test_ops(schedule, tests):
    run_op_tests(*tests, PYDLX_EMULATOR_SCHEDULE=schedule)


@pytest.mark.slow
def test_ops_under_sanitizers():
    from cuda_on_cpu.build import emulated_library, sanitizer_environment

    library = str(emulated_library(sanitize=True))
    run_op_tests(*WITHOUT_GRADCHECKS, PYDLX_LIBRARY=library, **sanitizer_environment())
