"""All that a machine with a GPU is asked, in one run of a few minutes: build, test, compare, measure.

    make gpu                                   writes to gpu_report/
    python tests/on_gpu/run.py --out FOLDER    the same

Needs torch with CUDA, nvcc, ninja, pybind11 and pytest in the Python that runs it, and no network: the build is for the
architecture of the GPU at hand, without isolation, into a folder of its own. Steps:

    build        the package, CPU and CUDA kernels
    tests        those marked ``cuda``
    cross-check  every op on drawn settings against its reference in float64 on the CPU
    bench        ``pydlx bench --device cuda``

FOLDER then holds ``report.json`` (the machine, and of each step its seconds and outcome), ``bench.json`` and
``bench.md`` (one table), and the output of each step. Later steps run also where earlier ones failed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
INSTALLED = ROOT / "build" / "on_gpu"


def main() -> int:
    """Run the requested steps; return 0 if all succeeded."""
    options = _options()
    if options.device == "cuda" and not torch.cuda.is_available():
        print("on_gpu: --device must be one that torch finds, got cuda where there is none", file=sys.stderr)
        return 2
    options.out.mkdir(parents=True, exist_ok=True)
    run = Run(options.out.resolve(), options.device, options.quick)
    for name in options.steps:
        run.step(name)
    (run.out / "report.json").write_text(json.dumps(run.report, indent=2) + "\n")
    print(f"written to {run.out}")
    return 0 if all(step["ok"] for step in run.report["steps"].values()) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "gpu_report", help="folder for the results")
    parser.add_argument("--steps", nargs="+", choices=list(Run.STEPS), default=list(Run.STEPS), metavar="STEP")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: to try the script itself")
    parser.add_argument("--quick", action="store_true", help="a glance at each step, to try the script itself")
    return parser.parse_args()


class Run:
    """The steps, their output files and their report."""

    STEPS = ("build", "tests", "cross-check", "bench")

    def __init__(self, out: Path, device: str, quick: bool) -> None:
        self.out, self.device, self.quick = out, device, quick
        self.report: dict[str, Any] = {"machine": _machine(device), "steps": {}}
        # What was built, if anything; the installed pydlx otherwise. Never the sources, which hold no kernels.
        self.environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        if INSTALLED.exists() or device == "cuda":
            self.environment["PYTHONPATH"] = str(INSTALLED)

    def step(self, name: str) -> None:
        """Run one step; record its seconds and outcome."""
        print(f"== {name}", flush=True)
        start = time.perf_counter()
        outcome = getattr(self, "_" + name.replace("-", "_"))()
        seconds = round(time.perf_counter() - start, 1)
        self.report["steps"][name] = {"seconds": seconds, **outcome}
        print(f"== {name}: {'ok' if outcome['ok'] else 'FAILED'} in {seconds:.0f} s", flush=True)

    def _build(self) -> dict[str, Any]:
        major, minor = torch.cuda.get_device_capability() if self.device == "cuda" else (9, 0)
        settings = {"TORCH_CUDA_ARCH_LIST": f"{major}.{minor}", "PYDLX_CUDA": "1", "MAX_JOBS": str(os.cpu_count())}
        command = ["-m", "pip", "install", "--no-index", "--no-deps", "--no-build-isolation", "--upgrade"]
        return {"ok": self._python(*command, "--target", str(INSTALLED), str(ROOT), log="build.log", **settings) == 0}

    def _tests(self) -> dict[str, Any]:
        found = self.out / "tests.xml"
        status = self._python("-m", "pytest", "-q", "-m", "cuda", f"--junitxml={found}", ".", log="tests.log")
        return {"ok": status == 0, **_counts(found)}

    def _cross_check(self) -> dict[str, Any]:
        found = self.out / "cross_check.json"
        command = [str(TESTS / "on_gpu" / "cross_check.py"), "--device", self.device, "--json", str(found)]
        effort = ["--count", "3"] if self.quick else ["--count", "300", "--seconds", "5"]
        status = self._python(*command, *effort, log="cross_check.log")
        return {"ok": status == 0, "ops": json.loads(found.read_text()) if found.exists() else {}}

    def _bench(self) -> dict[str, Any]:
        found = self.out / "bench.json"
        command = ["-m", "pydlx.cli", "bench", "--quick", "--device", self.device, "--json", str(found)]
        status = self._python(*command, *(["nms"] if self.quick else []), log="bench.log")
        if found.exists():
            (self.out / "bench.md").write_text(table(json.loads(found.read_text())))
        return {"ok": status == 0}

    def _python(self, *command: str, log: str, **settings: str) -> int:
        """Run Python in the tests' folder, where no package named pydlx can shadow the built one."""
        with (self.out / log).open("w", buffering=1) as file:  # line by line, for a run that is stopped
            process = subprocess.Popen(
                [sys.executable, *command],
                cwd=TESTS,
                env={**self.environment, **settings},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            assert process.stdout is not None
            for line in process.stdout:
                file.write(line)
                print(line, end="", flush=True)
        return process.wait()


def _machine(device: str) -> dict[str, Any]:
    facts: dict[str, Any] = {"python": sys.version.split()[0], "torch": torch.__version__, "cores": os.cpu_count()}
    if device == "cuda":
        facts |= {"gpu": torch.cuda.get_device_name(), "cuda": torch.version.cuda}
    return facts


def _counts(junit: Path) -> dict[str, Any]:
    """How many tests passed, failed and were skipped, and the names of those that failed."""
    if not junit.exists():
        return {"passed": 0, "failed": 0, "skipped": 0, "failures": []}
    cases = list(ElementTree.parse(junit).iter("testcase"))
    failures = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    skipped = [case for case in cases if case.find("skipped") is not None]
    names = [f"{case.get('classname')}::{case.get('name')}" for case in failures]
    passed = len(cases) - len(failures) - len(skipped)
    return {"passed": passed, "failed": len(failures), "skipped": len(skipped), "failures": names}


def table(bench: dict[str, Any]) -> str:
    """The cases as one Markdown table: native time, plain copies, and the other candidates' times as multiples."""
    machine = bench["machine"]
    lines = [
        f"{machine.get('gpu', machine['cpu'])}, torch {machine['torch']}; medians; n× takes n times as long as native.",
        "",
        "| op | case | native, µs | plain copies | other ways |",
        "|---|---|---|---|---|",
    ]
    for result in bench["results"]:
        if "seconds" not in result:
            continue
        native = result["seconds"]["native"]["median"]
        others = {name: seconds["median"] / native for name, seconds in result["seconds"].items() if name != "native"}
        copies = f"{1 / others.pop('copy'):.2f}" if "copy" in others else ""
        ways = ", ".join(f"{name} {ratio:.2g}×" for name, ratio in others.items())
        lines.append(f"| {result['op']} | {result['case']} | {native * 1e6:.4g} | {copies} | {ways} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
