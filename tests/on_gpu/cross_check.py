"""Every op on drawn settings, against its reference in float64 on the CPU.

    python tests/on_gpu/cross_check.py [--device cuda] [--count N] [--seconds S] [--seed K] [--json FILE]

Memory that kernels get is poisoned, so that an element that nobody wrote shows. Prints a line for each op and the calls
that went wrong, each as it can be written down; exits with 1 if there was one.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ["PYDLX_POISON"] = "1"  # read when pydlx loads its kernels
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from random_calls import ON_GPU, TooClose, compare, random_calls


def check(op: str, device: str, count: int, seconds: float, seed: int) -> dict[str, Any]:
    """Draw up to `count` calls of one op within the time limit; return the outcome."""
    start, checked, undecided, failures = time.perf_counter(), 0, 0, []
    for call in random_calls(op, count, seed):
        try:
            compare(call, device)
            checked += 1
        except TooClose:
            undecided += 1
        except Exception as error:
            failures.append(f"{type(error).__name__}: {error}" if str(call) in str(error) else f"{call}: {error!r}")
        if time.perf_counter() - start > seconds:
            break
    return {"checked": checked, "undecided": undecided, "failures": failures}


def main() -> int:
    """Check every op; return 0 if all calls were right."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--count", type=int, default=200, help="calls of each op")
    parser.add_argument("--seconds", type=float, default=10.0, help="time for each op")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    results = {}
    for op in ON_GPU:
        results[op] = found = check(op, options.device, options.count, options.seconds, options.seed)
        undecided = f", {found['undecided']} hang on rounding" if found["undecided"] else ""
        print(f"{op}: {found['checked']} right, {len(found['failures'])} wrong{undecided}", flush=True)
        for failure in found["failures"][:5]:
            print(f"  {failure}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")
    return 1 if any(found["failures"] for found in results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
