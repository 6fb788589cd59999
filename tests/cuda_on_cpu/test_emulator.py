"""The CUDA emulator, tested with kernels of known results and kernels with planted faults (planted_faults.cuh)."""

import importlib.util
import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest
from compiled import compile_objects, link

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TORCH = Path(importlib.util.find_spec("torch").origin).parent
INCLUDES = [f"-I{ROOT / 'csrc'}", f"-I{HERE}", "-isystem", str(TORCH / "include")]
COMMON = ["-std=c++17", "-DTORCH_TARGET_VERSION=0x020a000000000000", *INCLUDES]
COMPILE = [*COMMON, "-g1", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas", "-pthread"]
# Inline functions of torch's headers refer to libtorch, but nothing here calls them.
LINK = ["-pthread", "-Wl,--unresolved-symbols=ignore-in-object-files"]
BUILDS = {
    "plain": ["-O2"],
    "ucontext": ["-O1", "-DPYDLX_EMULATOR_UCONTEXT"],
    "sanitized": ["-O1", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"],
}
SCHEDULES = ["forward", "reverse", "shuffle:1", "shuffle:2"]
RIGHT = ["block_sum", "block_scan", "transpose", "shuffles", "block_votes", "twice", "large_shared", "concurrently"]
FINISHED, RAISED = 0, 3

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="the emulator is built with g++, which is not here")


def sanitizers_installed():
    found = subprocess.run(["g++", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True).stdout
    return Path(found.strip()).is_absolute()


@cache
def program(kind):
    """The program with the planted faults, in one of the build variants."""
    if kind == "sanitized" and not sanitizers_installed():
        pytest.skip("g++ has no address sanitizer here")
    sources = [HERE / "planted_faults.cu", *sorted(HERE.glob("*.cpp"))]
    objects = compile_objects(sources, [*COMPILE, *BUILDS[kind]], ROOT)
    return link("planted_faults", objects, [*LINK, *BUILDS[kind]])


def run(program, case, schedule="forward"):
    environment = {
        **os.environ,
        "PYDLX_EMULATOR_SCHEDULE": schedule,
        "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=1",
    }
    return subprocess.run([program, case], capture_output=True, text=True, env=environment, timeout=60, check=False)


def output(program, case, schedule):
    result = run(program, case, schedule)
    assert result.returncode == FINISHED, result.stderr
    return [float(word) for word in result.stdout.split()]


@pytest.mark.parametrize("case", RIGHT)
@pytest.mark.parametrize("kind", BUILDS)
def test_right_kernels_are_right_under_every_schedule(kind, case):
    for schedule in SCHEDULES:
        result = run(program(kind), case, schedule)
        assert (result.returncode, result.stderr) == (FINISHED, ""), schedule


@pytest.mark.parametrize(
    ("case", "report"),
    [
        ("global_overrun", r"heap-buffer-overflow.*(\n.*)*planted_faults.cuh.*global_overrun"),
        ("shared_overrun", r"use-after-poison.*(\n.*)*planted_faults.cuh.*shared_overrun"),
        ("local_overrun", r"stack-buffer-overflow(.*\n)*.*'values' .* overflows this variable"),
        ("misaligned_vector", r"misaligned address .* requires 16 byte alignment"),
    ],
)
def test_sanitizers_see_accesses_out_of_place(case, report):
    result = run(program("sanitized"), case)
    assert result.returncode not in (FINISHED, RAISED)
    assert re.search(report, result.stderr), result.stderr


@pytest.mark.parametrize(
    ("case", "right"),
    [
        ("missing_barrier", [*range(2, 129), 1]),
        ("missing_warp_barrier", [*range(2, 33), 1]),
    ],
)
def test_a_missing_barrier_changes_the_result_with_the_schedule(case, right):
    forward, reverse = (output(program("plain"), case, schedule) for schedule in ("forward", "reverse"))
    assert forward != reverse
    # Each of the two orders is right where the neighbour happens to have run before.
    assert forward[-1] == right[-1]
    assert reverse[:-1] == right[:-1]


def test_blocks_that_rely_on_their_order_are_found():
    forward, reverse = (output(program("plain"), "block_order", schedule) for schedule in ("forward", "reverse"))
    assert forward == [0, 1, 2, 3, 4, 5, 6, 7, 8]
    assert reverse == [0, 1, 1, 1, 1, 1, 1, 1, 1]


def test_shuffled_schedules_differ_by_seed_and_repeat_for_one():
    first, again, other = (output(program("plain"), "missing_barrier", f"shuffle:{seed}") for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_shared_memory_is_poisoned_before_every_block():
    forward, reverse = (
        output(program("plain"), "uninitialised_shared", schedule) for schedule in ("forward", "reverse")
    )
    assert all(value != value for value in forward)
    assert all(value > 1e38 for value in reverse)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (
            "divergent_barrier",
            "kernel divergent_barrier, block (1, 0, 0): divergent barrier: threads 0-63 wait at __syncthreads "
            "(planted_faults.cuh:N); threads 64-127 returned without coming",
        ),
        (
            "different_barriers",
            "block (0, 0, 0): divergent barrier: threads 0-63 wait at __syncthreads (planted_faults.cuh:N); "
            "threads 64-127 wait at __syncthreads (planted_faults.cuh:N); all threads wait",
        ),
        (
            "divergent_shuffle",
            "divergent warp collective: threads 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30 "
            "wait at __shfl_xor_sync (planted_faults.cuh:N, mask 0xffffffff); threads 1, 3, 5, ",
        ),
        ("lane_not_in_mask", "__shfl_sync (planted_faults.cuh:N, mask 0x0000ffff) called by thread 16, whose lane"),
        ("trap", "kernel trap, block (0, 0, 0): __trap() called"),
        ("too_many_threads", "kernel trap: block (32, 33, 1) has more than 1024 threads"),
        ("too_deep", "kernel trap: block (1, 1, 65) is more than 64 deep"),
        ("too_much_shared", "kernel trap: 49153 bytes of shared memory, more than the limit of 49152"),
        ("too_much_shared_in_all", "49660 bytes of shared memory, more than the limit of 49152"),
        ("no_threads", "kernel trap: block (0, 1, 1) is empty"),
    ],
)
@pytest.mark.parametrize("kind", BUILDS)
def test_faults_reach_the_caller_by_name(kind, case, message):
    result = run(program(kind), case)
    assert result.returncode == RAISED, result.stderr
    assert message in re.sub(r"\.cuh:\d+", ".cuh:N", result.stderr)


def test_an_unknown_schedule_is_refused():
    result = run(program("plain"), "block_sum", "sideways")
    assert result.returncode != FINISHED
    assert "must be forward, reverse, shuffle or shuffle:<seed>, got 'sideways'" in result.stderr


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("__shared__ float tile[32];", "declare shared memory with PYDLX_SHARED"),
        ("int64_t total = 0; atomicAdd(&total, int64_t(1));", "conversion from"),
        ("__shfl_sync(0xffffffffu, true, 0);", "CUDA shuffles 4 or 8 byte numbers"),
    ],
)
def test_what_cuda_lacks_does_not_compile(tmp_path, statement, error):
    source = tmp_path / "kernel.cpp"
    source.write_text(f'#include "cuda_emulator.h"\n__global__ void kernel() {{ {statement} }}\n')
    command = ["g++", "-std=c++17", "-fsyntax-only", *INCLUDES, source]
    english = {**os.environ, "LC_ALL": "C"}
    result = subprocess.run(command, capture_output=True, text=True, env=english, check=False)
    assert result.returncode != 0
    assert error in result.stderr


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not on PATH")
def test_the_planted_kernels_are_real_cuda(tmp_path):
    target = tmp_path / "planted_faults.o"
    subprocess.run(["nvcc", "-arch=sm_90", *COMMON, "-c", HERE / "planted_faults.cu", "-o", target], check=True)
    assert target.stat().st_size > 0
