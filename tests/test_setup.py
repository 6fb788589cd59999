"""setup.py's choice of what to build, and for which GPUs."""

import importlib.util
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
EVERY_ARCH = "7.5;8.0;8.6;9.0;10.0;12.0+PTX"


@pytest.fixture
def setup(monkeypatch, tmp_path):
    """setup.py as a module, on a machine with a CUDA toolkit and without variables."""
    spec = importlib.util.spec_from_file_location("pydlx_setup", ROOT / "setup.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in ("PYDLX_CUDA", "PYDLX_NATIVE", "TORCH_CUDA_ARCH_LIST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(module, "find_cuda", lambda: (Path("/toolkit"), ""))
    monkeypatch.setattr(module, "TERMINAL", tmp_path / "terminal")
    return module


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch):
    """Put a program of that name on PATH that prints these lines."""

    def put(*capabilities, code=0):
        program = tmp_path / "nvidia-smi"
        program.write_text("#!/bin/sh\n" + "".join(f"echo {line}\n" for line in capabilities) + f"exit {code}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    return put


def test_cuda_is_built_for_the_gpus_that_are_there(setup, nvidia_smi):
    nvidia_smi("9.0", "8.6", "9.0")
    assert setup.cuda_plan() == (Path("/toolkit"), "8.6;9.0", "")


@pytest.mark.parametrize("capabilities", [[], ["6.1"], ["[N/A]"]])
def test_without_a_gpu_cuda_is_left_out_and_says_how_to_ask(setup, nvidia_smi, capabilities):
    nvidia_smi(*capabilities)
    toolkit, archs, reason = setup.cuda_plan()
    assert toolkit is None and archs == ""
    assert reason == "no GPU of compute capability 7.5 or more; PYDLX_CUDA=1 builds for all of them"


def test_torch_is_asked_where_the_driver_does_not_answer(setup, nvidia_smi, monkeypatch):
    import torch

    nvidia_smi("Field compute_cap is not a valid field", code=2)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda gpu: (8, 9) if gpu else (12, 0))
    assert setup.cuda_plan()[1] == "8.9;12.0"


def test_without_a_gpu_pydlx_cuda_1_builds_every_architecture(setup, nvidia_smi, monkeypatch):
    nvidia_smi()
    monkeypatch.setenv("PYDLX_CUDA", "1")
    assert setup.cuda_plan() == (Path("/toolkit"), EVERY_ARCH, "")


@pytest.mark.parametrize("switch", [None, "1"])
def test_listed_architectures_are_taken_as_they_are(setup, nvidia_smi, monkeypatch, switch):
    nvidia_smi("9.0")
    monkeypatch.setenv("TORCH_CUDA_ARCH_LIST", "8.0 8.6+PTX")
    if switch:
        monkeypatch.setenv("PYDLX_CUDA", switch)
    assert setup.cuda_plan() == (Path("/toolkit"), "8.0;8.6+PTX", "")


def test_cuda_can_be_left_out(setup, nvidia_smi, monkeypatch):
    nvidia_smi("9.0")
    monkeypatch.setenv("PYDLX_CUDA", "0")
    assert setup.cuda_plan() == (None, "", "PYDLX_CUDA=0")


def test_missing_cuda_compiler_is_an_error_only_with_pydlx_cuda_1(setup, nvidia_smi, monkeypatch):
    nvidia_smi("9.0")
    monkeypatch.setattr(setup, "find_cuda", lambda: (None, "nvcc is not on PATH and CUDA_HOME is not set"))
    assert setup.cuda_plan() == (None, "", "nvcc is not on PATH and CUDA_HOME is not set")
    monkeypatch.setenv("PYDLX_CUDA", "1")
    with pytest.raises(SystemExit, match="PYDLX_CUDA=1, but nvcc is not on PATH"):
        setup.cuda_plan()


def test_a_build_says_first_what_it_does(setup, nvidia_smi, capfd, monkeypatch):
    from setuptools import Distribution
    from torch.utils import cpp_extension

    nvidia_smi()
    command = setup.native_build()["cmdclass"]["build_ext"]
    assert capfd.readouterr().err == "", "pip runs setup.py for its metadata too"
    monkeypatch.setattr(cpp_extension.BuildExtension, "run", lambda self: print("ran"))
    command(Distribution()).run()
    captured = capfd.readouterr()
    first, second = captured.err.splitlines()
    assert first.startswith("pydlx: compiling the CPU kernels") and "minutes" in first
    assert second.startswith("pydlx: leaving the CUDA kernels out: no GPU") and captured.out == "ran\n"
    assert second in setup.TERMINAL.read_text(), "pip hides stderr"


@pytest.mark.parametrize(("command", "count"), [("dist_info", 0), ("egg_info", 0), ("bdist_wheel", 1)])
def test_a_missing_c_compiler_is_warned_of_once(setup, capfd, monkeypatch, command, count):
    monkeypatch.setattr(setup, "cxx_missing", lambda: "no C++ compiler (c++) on PATH")
    monkeypatch.setattr("sys.argv", ["setup.py", command])
    assert setup.native_build() == {}
    assert capfd.readouterr().err.count("warning: no C++ compiler (c++) on PATH; installing without") == count


@pytest.mark.parametrize("goal", ["demo", "test"])
def test_make_says_what_it_does_before_each_long_step(goal, tmp_path):
    run = subprocess.run(
        ["make", "--dry-run", goal, f"VENV={tmp_path}/new"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    lines = run.stdout.splitlines()
    slow = [number for number, line in enumerate(lines) if "pip install" in line or "/python " in line]
    assert len(slow) >= 3
    for number in slow:
        assert lines[number - 1].startswith('echo "== '), lines[number]
