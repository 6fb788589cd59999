"""Every op over random settings, sizes, strides and numbers: values and gradients of the reference in float64.

Memory that kernels are to fill is poisoned (``PYDLX_POISON``, set in conftest.py), so that an element that no kernel
wrote is wrong too. ``--examples 2000`` looks longer; ``tests/random_calls`` says what is drawn.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from random_calls import ON_GPU, OPS, Draw, TooClose, compare, random_calls

import pydlx


def test_every_op_is_here():
    assert set(OPS) == set(pydlx.ops.__all__)


@pytest.mark.parametrize("op", OPS)
def test_random_settings(op, examples):
    hypothesis = pytest.importorskip("hypothesis")
    limits = hypothesis.settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(hypothesis.HealthCheck),
    )

    @limits
    @hypothesis.given(hypothesis.strategies.randoms(use_true_random=False))
    def check(source):
        call = OPS[op](Draw(source))
        hypothesis.note(str(call))
        try:
            compare(call)
        except TooClose:
            hypothesis.reject()

    check()


@pytest.mark.cuda
@pytest.mark.parametrize("op", ON_GPU)
def test_random_settings_on_cuda(op, examples):
    for call in random_calls(op, examples):
        try:
            compare(call, "cuda")
        except TooClose:
            continue


@pytest.mark.parametrize("level", ["baseline", "avx2"])
def test_random_settings_on_lower_instruction_sets(level, examples, kernels):
    if kernels != "native" or "PYDLX_SIMD" in os.environ:
        pytest.skip("not on the best instruction set of this machine")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--examples={examples}"]
    run = subprocess.run(
        [*command, f"{__file__}::test_random_settings"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYDLX_SIMD": level},
        cwd=Path(__file__).parents[2],
    )
    assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-2000:]
