"""Compiles the CUDA launchers and kernels with g++ and the emulator, into a library that stands in for the CPU one.

    python tests/cuda_on_cpu/build.py [--sanitize]      prints the path of the library

The result is kept under .cache/ and named after its sources, flags and torch, so it is built once per change.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch.utils import cpp_extension

ROOT = Path(__file__).resolve().parents[2]
EMULATOR = Path(__file__).resolve().parent
FLAGS = [
    "-std=c++17",
    "-fPIC",
    "-g1",
    "-fvisibility=hidden",
    "-DTORCH_TARGET_VERSION=0x020a000000000000",
    f"-I{ROOT / 'csrc'}",
    f"-I{EMULATOR}",
]
PLAIN = ["-O2"]
SANITIZED = ["-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer"]


def sources() -> list[Path]:
    """The schema table, every op's CUDA launcher, the CPU code of ops that have none, and the emulator itself."""
    launchers = sorted((ROOT / "csrc").glob("*/*_cuda.cu"))
    rooms = {path.parent for path in launchers}
    on_cpu_only = sorted(path for path in (ROOT / "csrc").glob("*/*_cpu.cpp") if path.parent not in rooms)
    return [ROOT / "csrc" / "library.cpp", *launchers, *on_cpu_only, *sorted(EMULATOR.glob("*.cpp"))]


def _fingerprint(flags: list[str]) -> str:
    digest = hashlib.sha256(f"{torch.__version__} {flags}".encode())
    files = [*(ROOT / "csrc").rglob("*"), *EMULATOR.glob("*.h"), *EMULATOR.glob("*.cpp")]
    for path in sorted(path for path in files if path.is_file()):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def emulated_library(*, sanitize: bool = False) -> Path:
    """Build the library if it is not there yet; return its path."""
    compiler = os.environ.get("CXX") or shutil.which("g++") or "c++"
    flags = [*FLAGS, *(SANITIZED if sanitize else PLAIN)]
    flags += [f"-isystem{path}" for path in cpp_extension.include_paths()]
    library = ROOT / ".cache" / "cuda_on_cpu" / f"libpydlx_emulated_{_fingerprint(flags)}.so"
    if library.exists():
        return library
    library.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:

        def compile_one(source: Path) -> Path:
            target = Path(folder) / f"{source.stem}.o"
            subprocess.run([compiler, *flags, "-x", "c++", "-c", str(source), "-o", str(target)], check=True)
            return target

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = list(pool.map(compile_one, sources()))
        libraries = [f"-L{path}" for path in cpp_extension.library_paths()]
        finished = Path(folder) / library.name
        link = ["-shared", *flags, *map(str, objects), *libraries, "-ltorch_cpu", "-o", str(finished)]
        subprocess.run([compiler, *link], check=True)
        finished.replace(library)
    return library


def sanitizer_environment() -> dict[str, str]:
    """What a Python process needs in its environment to load a library built with ``sanitize=True``."""
    compiler = os.environ.get("CXX") or shutil.which("g++") or "c++"

    def runtime(name: str) -> str:
        return subprocess.run(
            [compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=True
        ).stdout.strip()

    return {
        "LD_PRELOAD": f"{runtime('libasan.so')} {runtime('libubsan.so')} {runtime('libstdc++.so')}",
        # Python keeps memory to the end on purpose; torch's allocator hands out memory of its own making.
        "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0:abort_on_error=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }


if __name__ == "__main__":
    print(emulated_library(sanitize="--sanitize" in sys.argv[1:]))
