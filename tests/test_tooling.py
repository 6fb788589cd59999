"""The parts of the test-suite whose faults would go unnoticed: sampling, and the compilation cache."""

from __future__ import annotations

import subprocess

import compiled
import pytest
from sampling import drawn

CASES = [f"tests/ops/test_{op}.py::test_{name}[{case}]" for op in "ab" for name in "xyz" for case in range(200)]
ALONE = "tests/ops/test_b.py::test_alone"


def test_a_sample_holds_its_share_of_every_test_and_at_least_one_case():
    sample = drawn([*CASES, ALONE], 4, "native")
    assert ALONE in sample
    for name in {case.partition("[")[0] for case in CASES}:
        assert 25 <= sum(case.startswith(f"{name}[") for case in sample) <= 80
        assert any(case.startswith(f"{name}[") for case in drawn(CASES, 10**6, "native"))
    assert drawn(CASES, 1, "native") == set(CASES)


def test_backends_draw_samples_of_their_own_each_time_the_same():
    first, again, other = (drawn(CASES, 4, backend) for backend in ("native", "native", "native avx2"))
    assert first == again
    assert len(first & other) < len(first) / 2


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """Two clones of a program with a header, and a cache of its own."""
    monkeypatch.setenv("PYDLX_CACHE", str(tmp_path / "cache"))
    clones = [tmp_path / "one", tmp_path / "two"]
    for clone in clones:
        clone.mkdir()
        (clone / "number.h").write_text("constexpr int kNumber = 1;\n")
        (clone / "main.cpp").write_text('#include "number.h"\nint main() { return kNumber; }\n')
    return clones


def program(clone):
    flags = [f"-I{clone}"]
    return compiled.link("main", compiled.compile_objects([clone / "main.cpp"], flags, clone), [])


def test_equal_sources_are_compiled_once_and_changed_headers_anew(sources):
    first, second = map(program, sources)
    assert first == second
    (sources[1] / "number.h").write_text("constexpr int kNumber = 2;\n")
    assert [subprocess.run([program(clone)]).returncode for clone in sources] == [1, 2]


def test_what_was_not_used_for_longest_is_deleted(sources, monkeypatch):
    first = program(sources[0])
    (sources[1] / "number.h").write_text("constexpr int kNumber = 2;\n")
    monkeypatch.setattr(compiled, "MOST_BYTES", first.stat().st_size * 3 // 2)
    second = program(sources[1])
    assert second.exists()
    assert not first.exists()
    assert program(sources[0]) == first
