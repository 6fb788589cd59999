"""Builds pydlx: the CPU op library, the CUDA op library for the GPU at hand, and the pybind11 module.

Environment:
    PYDLX_NATIVE=0          install pure Python (the references run)
    PYDLX_CUDA=0 | 1        leave the CUDA library out | build it for every architecture, fail where that is impossible
    TORCH_CUDA_ARCH_LIST    build the CUDA library for these architectures
    CUDA_HOME               the CUDA toolkit, if it is not the one nvcc on PATH belongs to
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from setuptools import Extension, setup

ROOT = Path(__file__).parent.resolve()
TORCH_TARGET = "0x020a000000000000"  # the stable ABI of torch 2.10
DEFAULT_ARCHS = "7.5;8.0;8.6;9.0;10.0;12.0+PTX"
OLDEST_ARCH = 7.5
TERMINAL = Path("/dev/tty")


def say(message: str) -> None:
    """Print to stderr, and also to the terminal, because without -v pip hides a build's output."""
    print(f"pydlx: {message}", file=sys.stderr, flush=True)
    if not sys.stderr.isatty():
        with suppress(OSError), TERMINAL.open("w") as terminal:
            terminal.write(f"\npydlx: {message}\n")


def compiles(command: list[str], suffix: str, source: str) -> str | None:
    """Compile a trial file; return the compiler's message if it fails, else None."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"trial{suffix}"
        path.write_text(source)
        try:
            run = subprocess.run(
                [*command, "-c", str(path), "-o", str(path.with_suffix(".o"))], capture_output=True, text=True
            )
        except OSError as error:
            return str(error)
        return None if run.returncode == 0 else run.stderr.strip() or f"exit code {run.returncode}"


def cxx_missing() -> str | None:
    """Why C++ cannot be compiled here, or None if it can."""
    from sysconfig import get_paths

    compiler = os.environ.get("CXX") or "c++"
    if shutil.which(compiler.split()[0]) is None:
        return f"no C++ compiler ({compiler}) on PATH"
    include = get_paths()["include"]
    # The kernels need features of g++ 12 or later.
    trial = (
        "#include <Python.h>\n#include <optional>\n"
        "typedef float Pair __attribute__((vector_size(8)));\n"
        "Pair swapped(Pair a) { return __builtin_shufflevector(a, a, 1, 0); }\n"
    )
    return compiles([*compiler.split(), "-std=c++17", f"-I{include}"], ".cpp", trial)


def toolkit_of(nvcc: str) -> Path | None:
    """The toolkit of an nvcc, as reported by nvcc itself, because the one on PATH may be a wrapper."""
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder) / "empty.cu"
        empty.touch()
        run = subprocess.run([nvcc, "--dryrun", "-c", str(empty), "-o", "empty.o"], capture_output=True, text=True)
    found = re.search(r"^#\$ TOP=(.+)$", run.stderr, re.MULTILINE)
    return Path(found[1].strip()).resolve() if found else Path(nvcc).resolve().parent.parent


def find_cuda() -> tuple[Path | None, str]:
    """The CUDA toolkit and an empty string, or None and what is missing."""
    home = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH")
    nvcc = str(Path(home) / "bin" / "nvcc") if home else shutil.which("nvcc")
    if nvcc is None:
        return None, "nvcc is not on PATH and CUDA_HOME is not set"
    try:
        toolkit = Path(home) if home else toolkit_of(nvcc)
    except OSError as error:
        return None, f"{nvcc} does not run ({error})"
    if toolkit is None or not (toolkit / "include" / "cuda_runtime.h").exists():
        return None, f"{toolkit} has no include/cuda_runtime.h"
    if static_runtime(toolkit) is None:
        return None, f"{toolkit} has no libcudart_static.a"
    failure = compiles([str(toolkit / "bin" / "nvcc")], ".cu", "__global__ void k() {}\n")
    return (toolkit, "") if failure is None else (None, f"nvcc does not compile: {failure.splitlines()[-1]}")


def gpu_archs() -> list[str]:
    """Compute capabilities of this machine's GPUs, without those that are too old for the kernels."""
    query = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
    try:
        found = subprocess.run(query, capture_output=True, text=True, timeout=60, check=True).stdout.split()
    except (OSError, subprocess.SubprocessError):  # no driver, or one too old for this query
        import torch

        gpus = range(torch.cuda.device_count())
        found = ["{}.{}".format(*torch.cuda.get_device_capability(gpu)) for gpu in gpus]
    known = [arch for arch in set(found) if re.fullmatch(r"\d+\.\d", arch) and float(arch) >= OLDEST_ARCH]
    return sorted(known, key=float)


def cuda_plan() -> tuple[Path | None, str, str]:
    """The toolkit and the architectures for CUDA kernels; the toolkit is None, with the reason, to leave them out."""
    switch, listed = os.environ.get("PYDLX_CUDA"), os.environ.get("TORCH_CUDA_ARCH_LIST", "")
    if switch == "0":
        return None, "", "PYDLX_CUDA=0"
    archs = listed.replace(" ", ";") or (DEFAULT_ARCHS if switch == "1" else ";".join(gpu_archs()))
    if not archs:
        return None, "", f"no GPU of compute capability {OLDEST_ARCH} or more; PYDLX_CUDA=1 builds for all of them"
    toolkit, missing = find_cuda()
    if toolkit is not None:
        return toolkit, archs, ""
    if switch == "1":
        raise SystemExit(f"pydlx: PYDLX_CUDA=1, but {missing}; unset it or set PYDLX_CUDA=0 to build for the CPU only")
    return None, "", missing


def static_runtime(toolkit: Path) -> Path | None:
    """The folder that holds libcudart_static.a."""
    for folder in ("lib64", "lib", "targets/x86_64-linux/lib", "targets/sbsa-linux/lib"):
        if (toolkit / folder / "libcudart_static.a").exists():
            return toolkit / folder
    return None


def sources(suffix: str) -> list[str]:
    """Every op's file with this suffix, relative to the root."""
    return sorted(str(path.relative_to(ROOT)) for path in (ROOT / "csrc").glob(f"*/*{suffix}"))


COMMON_FLAGS = [
    "-std=c++17",
    "-O3",
    "-g0",
    "-fvisibility=hidden",
    f"-DTORCH_TARGET_VERSION={TORCH_TARGET}",
]
# Paths in error messages start at the root of the project.
PREFIX_MAP = f"-ffile-prefix-map={ROOT}/="
# No -ffast-math, because NaN and infinity matter; but errno and floating-point traps are not used.
CPU_FLAGS = [
    *COMMON_FLAGS,
    PREFIX_MAP,
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=fast",
    "-fopenmp-simd",
]


def cpu_library(cpp_extension) -> Extension:
    return cpp_extension.CppExtension(
        "pydlx._ops_cpu",
        ["csrc/library.cpp", *sources("_cpu.cpp")],
        include_dirs=[str(ROOT / "csrc")],
        extra_compile_args={"cxx": CPU_FLAGS},
        extra_link_args=["-Wl,--as-needed"],
    )


def cuda_library(cpp_extension, toolkit: Path) -> Extension:
    # Not CUDAExtension, which links the shared CUDA runtime: with the static one the library loads under any torch.
    cpp_extension.CUDA_HOME = str(toolkit)
    nvcc = [*COMMON_FLAGS, "--threads", "2", "-Xcompiler", f"-fvisibility=hidden,{PREFIX_MAP}"]
    nvcc = [flag for flag in nvcc if flag not in ("-g0", "-fvisibility=hidden")]
    if os.environ.get("PYDLX_PTXAS_VERBOSE"):
        nvcc += ["-Xptxas", "-v"]
    return cpp_extension.CppExtension(
        "pydlx._ops_cuda",
        sources("_cuda.cu"),
        include_dirs=[str(ROOT / "csrc"), str(toolkit / "include")],
        library_dirs=[str(static_runtime(toolkit))],
        libraries=["cudart_static", "rt", "pthread", "dl"],
        extra_compile_args={"cxx": COMMON_FLAGS, "nvcc": nvcc},
        extra_link_args=["-Wl,--as-needed", "-Wl,--exclude-libs,ALL"],
    )


def host_module(torch_version: str, archs: str) -> Extension:
    import pybind11

    return Extension(
        "pydlx._host",
        ["csrc/host_module.cpp", *sources("_host.cpp")],
        include_dirs=[pybind11.get_include(), str(ROOT / "csrc")],
        language="c++",
        define_macros=[("PYDLX_TORCH_BUILT", f'"{torch_version}"'), ("PYDLX_CUDA_ARCHS", f'"{archs}"')],
        extra_compile_args=["-std=c++17", "-O2", "-g0", "-fvisibility=hidden", "-pthread", PREFIX_MAP],
        extra_link_args=["-pthread"],
    )


def build_command(cpp_extension, steps: list[str]):
    """Torch's build_ext with a persistent folder of objects, which first prints its steps.

    Because the folder persists, only changed files are compiled; pip would use a new folder for every install. The
    command itself prints the steps, because pip also runs this file for other reasons.
    """

    class BuildExtension(cpp_extension.BuildExtension.with_options(no_python_abi_suffix=True, use_ninja=True)):
        def finalize_options(self) -> None:
            super().finalize_options()
            self.build_temp = str(ROOT / "build" / "objects")

        def run(self) -> None:
            for step in steps:
                say(step)
            super().run()

    return BuildExtension


def native_build() -> dict:
    """The arguments of setup() that compile the native part."""
    if os.environ.get("PYDLX_NATIVE") == "0":
        return {}
    if reason := cxx_missing():
        if not {"dist_info", "egg_info"}.intersection(sys.argv):  # once, not also when pip asks for the metadata
            say(f"warning: {reason.splitlines()[0]}; installing without compiled kernels, the references will run")
        return {}
    import torch
    from torch.utils import cpp_extension

    extensions = [cpu_library(cpp_extension)]
    steps = [f"compiling the CPU kernels against torch {torch.__version__}, about 2 minutes on two cores"]
    toolkit, archs, missing = cuda_plan()
    if toolkit is None:
        steps.append(f"leaving the CUDA kernels out: {missing}")
    else:
        os.environ["TORCH_CUDA_ARCH_LIST"] = archs
        extensions.append(cuda_library(cpp_extension, toolkit))
        minutes = max(1, len(archs.split(";")) - 1)  # parsing is shared between architectures
        steps.append(f"compiling the CUDA kernels for {archs}, about {minutes} min on two cores")
    extensions.append(host_module(torch.__version__, archs))
    return {"ext_modules": extensions, "cmdclass": {"build_ext": build_command(cpp_extension, steps)}}


if __name__ == "__main__":
    setup(**native_build())
