"""Registers, shared memory and spills of every CUDA kernel, as ptxas reports them.

    python tests/native/kernel_resources.py                 compare with the checked-in table
    python tests/native/kernel_resources.py --report FILE   the same, from the log of a build with PYDLX_PTXAS_VERBOSE=1
    python tests/native/kernel_resources.py --update        write the table anew

The table, csrc/kernel_resources.csv, holds for each kernel the most registers and the most static shared memory over
all architectures. A kernel that spills, but for those known to, or that needs more than its entry, fails.
"""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TABLE = ROOT / "csrc" / "kernel_resources.csv"
# Of 512 threads, which may have 128 registers each: on compute capability 12.0 that is a few too little.
KNOWN_TO_SPILL = ("solve_columns_kernel<FirstOrder<false>, 32,", "solve_columns_kernel<FirstOrder<true>, 32,")
KNOWN_TO_SPILL += ("solve_columns_kernel<SecondOrder, 32,",)
SPILLS_KNOWN = 288
ARCHITECTURES = ("75", "80", "86", "90", "100", "120")


@dataclass
class Resources:
    """The most that a kernel needs on any architecture."""

    registers: int = 0
    shared_bytes: int = 0
    spill_bytes: int = 0

    def include(self, other: Resources) -> None:
        """Take the maximum of each number and the other's."""
        self.registers = max(self.registers, other.registers)
        self.shared_bytes = max(self.shared_bytes, other.shared_bytes)
        self.spill_bytes = max(self.spill_bytes, other.spill_bytes)


def demangle(symbols: list[str]) -> list[str]:
    """Readable kernel names without their argument lists."""
    names = subprocess.run(["c++filt"], input="\n".join(symbols), capture_output=True, text=True, check=True).stdout
    ours = r"^void |pydlx::|c10::|\(anonymous namespace\)::"
    return [without_arguments(re.sub(ours, "", name)) for name in names.splitlines()]


def without_arguments(name: str) -> str:
    """A function's name up to its argument list; template arguments may hold brackets, too, as ``(Kind)1``."""
    depth = 0
    for place in range(len(name) - 1, -1, -1):
        depth += (name[place] == ")") - (name[place] == "(")
        if depth == 0:
            return name[:place] if name[place] == "(" else name
    return name


def parse(report: str) -> dict[str, Resources]:
    """Parse the output of `ptxas -v`: resources by mangled kernel name."""
    found: dict[str, Resources] = {}
    current = Resources()
    for line in report.splitlines():
        if match := re.search(r"Compiling entry function '(\w+)'", line):
            current = found.setdefault(match[1], Resources())
        elif match := re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", line):
            current.include(Resources(spill_bytes=int(match[1]) + int(match[2])))
        elif match := re.search(r"Used (\d+) registers", line):
            shared = re.search(r"(\d+) bytes smem", line)
            current.include(Resources(int(match[1]), int(shared[1]) if shared else 0))
    return found


def compile_report(source: Path) -> str:
    """Compile one file for every architecture and return what ptxas printed."""
    from torch.utils import cpp_extension

    command = ["nvcc", "-std=c++17", "-O3", "-DTORCH_TARGET_VERSION=0x020a000000000000", f"-I{ROOT / 'csrc'}"]
    command += [flag for path in cpp_extension.include_paths() for flag in ("-isystem", path)]
    command += [f"-gencode=arch=compute_{arch},code=sm_{arch}" for arch in ARCHITECTURES]
    with tempfile.TemporaryDirectory() as folder:
        command += ["-Xptxas", "-v", "-c", str(source), "-o", str(Path(folder) / "kernels.o")]
        run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        raise RuntimeError(f"nvcc failed on {source}:\n{run.stderr}")
    return run.stderr


def measure() -> dict[str, Resources]:
    """Resources of every kernel of every op, by readable name."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return by_name("".join(pool.map(compile_report, sorted((ROOT / "csrc").glob("*/*_cuda.cu")))))


def by_name(report: str) -> dict[str, Resources]:
    """The same by readable kernel name."""
    mangled = parse(report)
    found: dict[str, Resources] = {}
    for name, use in sorted(zip(demangle(list(mangled)), mangled.values(), strict=True), key=lambda pair: pair[0]):
        found.setdefault(name, Resources()).include(use)  # of one name, where files have their own each
    return found


def read_table() -> dict[str, Resources]:
    """The checked-in table."""
    with TABLE.open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    return {name: Resources(*map(int, numbers)) for name, *numbers in rows}


def write_table(measured: dict[str, Resources]) -> None:
    """Replace the checked-in table."""
    with TABLE.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["kernel", "registers", "shared_bytes", "spill_bytes"])
        writer.writerows([name, *astuple(found)] for name, found in measured.items())


def complaints(measured: dict[str, Resources], table: dict[str, Resources]) -> list[str]:
    """Messages for all kernels that spill, exceed the table, or are missing from it or from the build."""
    found = [
        f"{name} spills {use.spill_bytes} bytes"
        for name, use in measured.items()
        if use.spill_bytes > (SPILLS_KNOWN if name.startswith(KNOWN_TO_SPILL) else 0)
    ]
    found += [f"{name} is not in {TABLE.name}; run with --update" for name in measured.keys() - table.keys()]
    found += [f"{name} is in {TABLE.name} but not in the sources" for name in table.keys() - measured.keys()]
    for name in measured.keys() & table.keys():
        use, allowed = measured[name], table[name]
        if use.registers > allowed.registers or use.shared_bytes > allowed.shared_bytes:
            found.append(f"{name} needs {use}, the table allows {allowed}")
    return sorted(found)


if __name__ == "__main__":
    kernels = by_name(Path(sys.argv[2]).read_text()) if sys.argv[1:2] == ["--report"] else measure()
    for kernel, use in kernels.items():
        print(f"{use.registers:4} registers {use.shared_bytes:6} B shared {use.spill_bytes:4} B spilled  {kernel}")
    if "--update" in sys.argv[1:]:
        write_table(kernels)
    problems = complaints(kernels, read_table())
    print("\n".join(problems) or f"{len(kernels)} kernels within {TABLE.relative_to(ROOT)}")
    sys.exit(bool(problems))
