"""``pydlx bench``: what the compiled kernels buy on this machine."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydlx.cli.options import STANDARD, add_device, add_json, add_plot, count, device_of, new_command
from pydlx.cli.outputs import check_outputs, give_json, say
from pydlx.cli.progress import doing

if TYPE_CHECKING:
    import torch

    from pydlx.benchmarks.case import Setting
    from pydlx.benchmarks.harness import Effort, Outcome

_EXAMPLE = """\
example:
  pydlx bench soft_pool --quick
  pydlx bench --json bench.json --plot bench.png --plot-all bench_all.png
  pydlx bench --from bench.json --plot bench.svg

Without OP everything is measured, in a few minutes. On a busy machine times come and go; the ratios are the result.
`pydlx bench readers --help` tells of the leaderboard of readers.
"""


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the command ``bench`` to the command line."""
    parser = new_command(
        subparsers,
        "bench",
        "measure what the compiled kernels buy",
        "Time the native ops against their references, the best peers installed and a plain copy, interleaved in one "
        "run.",
        _EXAMPLE,
    )
    parser.add_argument("ops", nargs="*", metavar="OP", help="what to measure, see --list (default: everything)")
    parser.add_argument("--list", action="store_true", help="list the ops and their cases, and measure nothing")
    parser.add_argument("--threads", type=count, default=2, metavar="N", help="how many CPU threads (default: 2)")
    add_device(parser)
    parser.add_argument("--quick", action="store_true", help="take fewer rounds: a glance, not a measurement")
    parser.add_argument("--full", action="store_true", help="also check the accuracy of large grids, for minutes")
    add_json(parser, "everything measured")
    add_plot(parser, "the most telling ratios, on one screen,")
    parser.add_argument("--plot-all", type=Path, metavar="FILE", help="draw every ratio, one long picture, to FILE")
    parser.add_argument(
        "--from", dest="source", type=Path, metavar="FILE", help="draw what --json wrote to FILE, and measure nothing"
    )
    parser.add_argument("--check", action="store_true", help="exit with 1 unless every target is met")
    return parser


def run(args: argparse.Namespace) -> int:
    """Measures, shows and writes; returns the exit code."""
    import torch

    from pydlx.benchmarks import machine, report
    from pydlx.benchmarks.case import Setting

    if args.list:
        return _list(_chosen(args.ops), Setting(torch.device("cpu"), args.threads, args.full))
    if args.source:
        return _draw_earlier(args)
    _refuse_early(args)
    setting = Setting(_device(args.device), args.threads, args.full)
    facts = machine.describe_machine(setting)
    outcomes = _race(args, setting, facts)
    if args.plot or args.plot_all:
        _draw(args, report.as_document(facts, outcomes))
    all_met = all(verdict.met for _, outcome in outcomes for verdict in outcome.verdicts)
    return 1 if args.check and not all_met else 0


def _draw_earlier(args: argparse.Namespace) -> int:
    """Draws what an earlier run wrote."""
    from pydlx.benchmarks import report

    if not (args.plot or args.plot_all):
        raise ValueError("--from needs --plot FILE or --plot-all FILE: it draws and measures nothing")
    check_outputs({"--plot": args.plot, "--plot-all": args.plot_all})
    document = report.read_json(args.source)
    if args.ops:
        document["results"] = [result for result in document["results"] if result["op"] in _chosen(args.ops)]
    _draw(args, document)
    return 0


def _draw(args: argparse.Namespace, document: dict[str, Any]) -> None:
    """Draws the pictures that are asked for."""
    from pydlx.benchmarks import machine, plot

    subtitle = machine.machine_line(document["machine"])
    for path, write in ((args.plot, plot.write_short_plot), (args.plot_all, plot.write_long_plot)):
        if path:
            write(path, subtitle, document["results"])
            if args.json != STANDARD:
                say(f"drawn to {path}")


def _race(args: argparse.Namespace, setting: Setting, facts: dict[str, Any]) -> list[tuple[str, Outcome]]:
    """Measures op by op, and shows or writes what came out."""
    from pydlx.benchmarks import harness, machine, report

    tables = args.json != STANDARD
    if tables:
        print(machine.machine_line(facts))
        print(report.LEGEND)
    outcomes: list[tuple[str, Outcome]] = []
    with harness.pinned_threads(args.threads):
        for op in _chosen(args.ops):
            results = list(_measured(op, setting, harness.QUICK if args.quick else harness.THOROUGH))
            outcomes += [(op, outcome) for outcome in results]
            if tables:
                report.print_outcomes(op, results)
                print(flush=True)
            if args.json and tables:  # anew after each op, so that a run that is stopped leaves what it has measured
                report.write_json(Path(args.json), facts, outcomes)
    if tables:
        print(report.format_summary(outcomes))
        if args.json:
            say(f"written to {args.json}")
    else:
        give_json(args.json, report.as_document(facts, outcomes))
    return outcomes


def _chosen(names: list[str]) -> list[str]:
    """The ops to measure, each once, all where none is named."""
    from pydlx.benchmarks.catalogue import CATALOGUE

    unknown = [name for name in names if name not in CATALOGUE]
    if unknown:
        raise ValueError(f"OP must be one of {', '.join(CATALOGUE)}, got {unknown[0]!r}")
    return list(dict.fromkeys(names)) or list(CATALOGUE)


def _list(ops: list[str], setting: Setting) -> int:
    from pydlx.benchmarks.catalogue import CATALOGUE

    for op in ops:
        print(op)
        for item in CATALOGUE[op](setting):
            print(f"  {item.label}")
    return 0


def _refuse_early(args: argparse.Namespace) -> None:
    """What would fail after minutes fails now."""
    import pydlx

    _chosen(args.ops)
    if not pydlx.build_info()["native"]:
        raise ValueError("no compiled kernels here, nothing to measure; install a C++ compiler and reinstall pydlx")
    check_outputs({"--json": args.json, "--plot": args.plot, "--plot-all": args.plot_all})


def _device(name: str) -> torch.device:
    import pydlx

    device = device_of(name)
    if device.type == "cuda" and not pydlx.build_info()["cuda"]:
        raise ValueError(f"--device {name}: no CUDA kernels are compiled in, `pydlx info` says what is")
    return device


def _measured(op: str, setting: Setting, effort: Effort) -> Iterator[Outcome]:
    from pydlx.benchmarks.catalogue import CATALOGUE
    from pydlx.benchmarks.harness import measure

    items = list(CATALOGUE[op](setting))
    for number, item in enumerate(items, 1):
        with doing(f"{op} {number}/{len(items)}: {item.label}", moving=False):
            outcome = measure(item, setting, effort)
        yield outcome
