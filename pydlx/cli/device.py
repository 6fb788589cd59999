"""The option ``--device``."""

from __future__ import annotations

import argparse

import torch


def add_device(parser: argparse.ArgumentParser) -> None:
    """Declares it."""
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")


def device_of(args: argparse.Namespace) -> torch.device:
    """The device that was asked for.

    Raises:
        ValueError: If there is no such device.
    """
    kind, _, number = args.device.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdecimal()):
        raise ValueError(f"--device must be cpu or cuda, got {args.device!r}")
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise ValueError(f"--device {args.device}: torch finds no such device")
    return torch.device(args.device)
