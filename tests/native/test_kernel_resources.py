"""CUDA kernels neither spill nor grow beyond the checked-in table."""

from __future__ import annotations

import shutil

import pytest
from native import kernel_resources
from native.kernel_resources import Resources

REPORT = """
ptxas info    : Compiling entry function '_ZN5pydlx4scanIfEEvPKT_' for 'sm_90'
ptxas info    : Function properties for _ZN5pydlx4scanIfEEvPKT_
    0 bytes stack frame, 8 bytes spill stores, 4 bytes spill loads
ptxas info    : Used 40 registers, used 1 barriers, 4224 bytes smem
ptxas info    : Compiling entry function '_ZN5pydlx4scanIfEEvPKT_' for 'sm_75'
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 48 registers, used 1 barriers
"""


def test_parses_the_worst_of_all_architectures():
    (resources,) = kernel_resources.parse(REPORT).values()
    assert resources == Resources(registers=48, shared_bytes=4224, spill_bytes=12)


def test_names_keep_their_template_arguments():
    for name in ("scan<float, (Kind)1>(float const*, int)", "scan<float, (Kind)1>"):
        assert kernel_resources.without_arguments(name) == "scan<float, (Kind)1>"
    twice = REPORT + REPORT.replace("scanI", "scamI").replace("40 reg", "50 reg")
    assert {name: use.registers for name, use in kernel_resources.by_name(twice).items()} == {
        "scam<float>": 50,
        "scan<float>": 48,
    }


def test_reports_spills_growth_and_unknown_kernels():
    table = {"a": Resources(32), "b": Resources(32), "gone": Resources(8)}
    measured = {"a": Resources(33), "b": Resources(30, 0, 4), "new": Resources(8)}
    found = "\n".join(kernel_resources.complaints(measured, table))
    assert "a needs" in found
    assert "b spills 4 bytes" in found
    assert "new is not in" in found
    assert "gone is in" in found
    assert kernel_resources.complaints({"a": Resources(32)}, {"a": Resources(40)}) == []


@pytest.mark.slow
def test_kernels_are_within_the_table():
    if shutil.which("nvcc") is None:
        pytest.skip("nvcc is not on PATH")
    assert kernel_resources.complaints(kernel_resources.measure(), kernel_resources.read_table()) == []
