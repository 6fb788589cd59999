"""Compiles the CUDA launchers and kernels with g++ and the emulator, into a library that stands in for the CPU one.

    python tests/cuda_on_cpu/build.py [--sanitize]               prints the path of the library
    python tests/cuda_on_cpu/build.py [--sanitize] pytest ...    runs a command with that library in the CPU one's place

What is compiled is kept between runs (``tests/compiled.py``).
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from torch.utils import cpp_extension

ROOT = Path(__file__).resolve().parents[2]
EMULATOR = Path(__file__).resolve().parent
sys.path.insert(0, str(EMULATOR.parent))

from compiled import compile_objects, cxx, link  # noqa: E402

FLAGS = [
    "-std=c++17",
    "-fPIC",
    "-g1",
    "-fvisibility=hidden",
    "-DTORCH_TARGET_VERSION=0x020a000000000000",
]
PLAIN = ["-O2"]
SANITIZED = ["-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer"]


def sources(root: Path) -> list[Path]:
    """The schema table, every CUDA launcher, the CPU code of ops without one, and the emulator."""
    launchers = sorted((root / "csrc").glob("*/*_cuda.cu"))
    rooms = {path.parent for path in launchers}
    on_cpu_only = sorted(path for path in (root / "csrc").glob("*/*_cpu.cpp") if path.parent not in rooms)
    emulator = sorted((root / EMULATOR.relative_to(ROOT)).glob("*.cpp"))
    return [root / "csrc" / "library.cpp", *launchers, *on_cpu_only, *emulator]


def emulated_library(*, sanitize: bool = False, root: Path = ROOT) -> Path:
    """Build the library from the sources below ``root`` unless it is cached; return its path."""
    kind = SANITIZED if sanitize else PLAIN
    flags = [*FLAGS, *kind, f"-I{root / 'csrc'}", f"-I{root / EMULATOR.relative_to(ROOT)}"]
    flags += [f"-isystem{path}" for path in cpp_extension.include_paths()]
    objects = compile_objects(sources(root), flags, root)
    libraries = [*(f"-L{path}" for path in cpp_extension.library_paths()), "-ltorch_cpu"]
    return link("libpydlx_emulated.so", objects, ["-shared", *kind, *libraries])


def sanitizer_environment() -> dict[str, str]:
    """The environment variables with which a Python process can load a library built with ``sanitize=True``."""

    def runtime(name: str) -> str:
        return subprocess.run(
            [cxx(), f"-print-file-name={name}"], capture_output=True, text=True, check=True
        ).stdout.strip()

    return {
        "LD_PRELOAD": f"{runtime('libasan.so')} {runtime('libubsan.so')} {runtime('libstdc++.so')}",
        # Python keeps memory to the end on purpose; torch's allocator hands out memory of its own making.
        "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0:abort_on_error=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }


def main(arguments: list[str]) -> None:
    """Print the library's path, or replace this process by the given command."""
    sanitize = arguments[:1] == ["--sanitize"]
    command = arguments[sanitize:]
    library = str(emulated_library(sanitize=sanitize))
    if not command:
        print(library)
        return
    environment = sanitizer_environment() if sanitize else {}
    os.execvpe(command[0], command, {**os.environ, "PYDLX_LIBRARY": library, **environment})


if __name__ == "__main__":
    main(sys.argv[1:])
