"""Fixtures for all tests: the kernels to run on, the shared sample data, a CUDA device."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # so that tests share helpers without being a package

# Tests of what reads COCO's files, for machines without the package that reads them.
if importlib.util.find_spec("msgspec") is None:
    collect_ignore = [
        "cli/test_eval.py",
        "data/test_coco.py",
        "metrics/test_average_precision_distributed.py",
        "metrics/test_box_ap.py",
        "metrics/test_keypoint_ap.py",
        "metrics/test_keypoint_ap_input.py",
        "metrics/test_keypoint_layouts.py",
        "test_bad_input.py",
    ]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kernels",
        choices=("native", "reference", "emulated"),
        default="native",
        help="what the op tests run: the CPU kernels, the PyTorch references, or the CUDA kernels on the CPU emulator",
    )
    parser.addoption(
        "--examples", type=int, default=20, help="random calls of each op (tests/ops/test_random_settings.py)"
    )
    parser.addoption("--slow", action="store_true", help="also run tests that take more than ten seconds each")
    parser.addoption(
        "--sample",
        type=int,
        default=1,
        metavar="N",
        help="run one in N of each test's parameters, and at least one; other kernels and instruction sets draw others",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Divide the cores among workers and select pydlx's kernels, before anything imports it."""
    if worker := getattr(config, "workerinput", None):
        threads = max(1, (os.cpu_count() or 1) // worker["workercount"])
        os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    if "pydlx" in sys.modules and "PYDLX_LIBRARY" not in os.environ:
        raise pytest.UsageError("pydlx was imported before --kernels could choose what it loads")
    if config.getoption("--kernels") == "emulated" and "PYDLX_LIBRARY" not in os.environ:
        from cuda_on_cpu.build import emulated_library

        os.environ["PYDLX_LIBRARY"] = str(emulated_library())
    os.environ.setdefault("PYDLX_POISON", "1")  # read when the libraries are loaded
    # Not in pyproject.toml: pytest imports a warning's module when it reads that, and so too early.
    config.addinivalue_line("filterwarnings", "error::pydlx.NativeLibraryWarning")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    import torch
    from sampling import drawn

    backend = f"{config.getoption('--kernels')} {os.environ.get('PYDLX_SIMD')}"
    sample = drawn([item.nodeid for item in items], config.getoption("--sample"), backend)
    items[:] = [item for item in items if item.nodeid in sample]
    no_cuda = pytest.mark.skip(reason="no CUDA device")
    slow = pytest.mark.skip(reason="slow; run with --slow")
    for item in items:
        if {"gradcheck", "gradgradcheck"} & set(item.function.__code__.co_names):
            item.add_marker("gradcheck")
        if "cuda" in item.keywords and not torch.cuda.is_available():
            item.add_marker(no_cuda)
        if "slow" in item.keywords and not config.getoption("--slow"):
            item.add_marker(slow)


@pytest.fixture(autouse=True)
def chosen_kernels(request: pytest.FixtureRequest):
    """Run each test on the kernels chosen by --kernels."""
    import pydlx

    if request.config.getoption("--kernels") == "reference":
        with pydlx.backend("reference"):
            yield
    else:
        yield


@pytest.fixture
def kernels(request: pytest.FixtureRequest) -> str:
    """The kernels that ops use: native, reference or emulated."""
    return request.config.getoption("--kernels")


@pytest.fixture
def examples(request: pytest.FixtureRequest) -> int:
    """How many random calls to try."""
    return request.config.getoption("--examples")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of sample data, which is not part of the package."""
    folder = Path(os.environ.get("PYDLX_SHARED_DATA") or HERE.parent.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no sample data at {folder} (set PYDLX_SHARED_DATA)")
    return folder
