"""Description of the machine of a run."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import torch

import pydlx
from pydlx.benchmarks.case import Setting


def describe_machine(setting: Setting) -> dict[str, Any]:
    """The machine, versions and settings of a measurement."""
    facts = {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": setting.threads,
        "device": str(setting.device),
        "build_info": pydlx.build_info(),
    }
    if setting.device.type == "cuda":
        facts["gpu"] = torch.cuda.get_device_name(setting.device)
    return facts


def machine_line(machine: dict[str, Any]) -> str:
    """The description as one readable line."""
    build = machine["build_info"]
    parts = [
        machine.get("gpu") or f"{machine['cpu']}, {machine['cores']} cores",
        f"{machine['threads']} thread{'s' if machine['threads'] != 1 else ''}",
        f"torch {machine['torch']}",
        f"pydlx {build['version']} ({build['simd']})",
    ]
    return " · ".join(parts)


def _cpu_name() -> str:
    """The processor's name from /proc/cpuinfo on Linux, else from Python's platform module."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
