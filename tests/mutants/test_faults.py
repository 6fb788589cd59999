"""The list of planted faults keeps up with the kernels, that of equivalent mutants with the Python half."""

import pytest
from mutants.cpu_faults import CPU_FAULTS
from mutants.cuda_faults import CUDA_FAULTS
from mutants.cuda_solve_faults import CUDA_SOLVE_FAULTS
from mutants.equivalent import EQUIVALENT
from mutants.fault import ROOT


@pytest.mark.parametrize("fault", CPU_FAULTS + CUDA_FAULTS + CUDA_SOLVE_FAULTS, ids=lambda fault: fault.effect)
def test_a_fault_can_still_be_planted(fault):
    text = (ROOT / "csrc" / fault.file).read_text()
    assert text.count(fault.old) == 1
    assert fault.old != fault.new
    assert (ROOT / fault.test_file).exists()


@pytest.mark.parametrize(("file", "line", "changed"), EQUIVALENT)
def test_an_equivalent_mutant_is_of_a_line_that_stands_there(file, line, changed):
    lines = [text.strip() for text in (ROOT / file).read_text().splitlines()]
    assert lines.count(line) == 1
    assert line != changed
