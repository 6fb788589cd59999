"""Plants each fault of the lists beside this file in a copy of csrc, and runs the op's tests on what comes of it.

    python tests/mutants/planted.py [WORD ...]      all, or those whose file or effect holds one of the words

Fails if a fault survives. What does not change is compiled once (``tests/compiled.py``).
"""

from __future__ import annotations

import runpy
import shutil
import sys
import tempfile
from pathlib import Path

from torch.utils import cpp_extension

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "mutants")]

from compiled import compile_objects, link  # noqa: E402
from cuda_on_cpu.build import emulated_library  # noqa: E402
from judging import judge_all, tests_see_it  # noqa: E402
from mutants.cpu_faults import CPU_FAULTS  # noqa: E402
from mutants.cuda_faults import CUDA_FAULTS  # noqa: E402
from mutants.cuda_solve_faults import CUDA_SOLVE_FAULTS  # noqa: E402
from mutants.fault import Fault  # noqa: E402

TIMEOUT = 1200.0


def cpu_library(root: Path) -> Path:
    """The CPU library of the sources below ``root``, compiled as setup.py does it."""
    setup = runpy.run_path(str(ROOT / "setup.py"), run_name="setup")
    flags = [flag for flag in setup["CPU_FLAGS"] if flag != setup["PREFIX_MAP"]]
    flags += ["-fPIC", f"-I{root / 'csrc'}", *(f"-isystem{path}" for path in cpp_extension.include_paths())]
    sources = [root / "csrc" / "library.cpp", *sorted((root / "csrc").glob("*/*_cpu.cpp"))]
    libraries = [*(f"-L{path}" for path in cpp_extension.library_paths()), "-ltorch_cpu"]
    return link("libpydlx_cpu.so", compile_objects(sources, flags, root), ["-shared", *libraries])


def library_with(fault: Fault | None, kernels: str) -> Path:
    """The library of the sources with this fault, or of the sources as they are."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        shutil.copytree(ROOT / "csrc", root / "csrc")
        (root / "tests").symlink_to(ROOT / "tests")
        if fault:
            fault.plant(root / "csrc")
        return emulated_library(root=root) if kernels == "emulated" else cpu_library(root)


def is_seen(fault: Fault) -> bool:
    """Whether the op's tests see a fault; if not in one order of the emulator's threads, then in the other."""
    environment = {"PYDLX_LIBRARY": str(library_with(fault, fault.kernels))}
    if fault.simd:
        environment["PYDLX_SIMD"] = fault.simd
    options = [fault.test_file, f"--kernels={fault.kernels}"]
    if fault.kernels == "native":
        return tests_see_it(options, TIMEOUT, **environment)
    orders = ("forward", "reverse")
    options += ["-m", "not gradcheck"]
    return any(tests_see_it(options, TIMEOUT, PYDLX_EMULATOR_SCHEDULE=order, **environment) for order in orders)


def main(words: list[str]) -> int:
    """Judge the faults; 1 if one survives."""
    faults = [
        fault
        for fault in CPU_FAULTS + CUDA_FAULTS + CUDA_SOLVE_FAULTS
        if not words or any(word in fault.file + fault.effect for word in words)
    ]
    for kernels in sorted({fault.kernels for fault in faults}):
        print(f"compiling the {kernels} library without faults", flush=True)
        library = str(library_with(None, kernels))
        if tests_see_it(
            ["tests/ops/test_dct.py", f"--kernels={kernels}", "-k", "layouts"], TIMEOUT, PYDLX_LIBRARY=library
        ):
            raise SystemExit(f"tests fail without a fault on the {kernels} library {library}")
    return min(1, judge_all(faults, is_seen))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
