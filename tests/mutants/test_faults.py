"""The list of planted faults keeps up with the kernels."""

import pytest
from mutants.faults import FAULTS, ROOT


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.effect)
def test_a_fault_can_still_be_planted(fault):
    text = (ROOT / "csrc" / fault.file).read_text()
    assert text.count(fault.old) == 1
    assert fault.old != fault.new
    assert (ROOT / fault.test_file).exists()
