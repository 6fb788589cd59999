"""``pydlx bench``: what the compiled kernels buy on this machine."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydlx.cli.progress import doing

if TYPE_CHECKING:
    from pydlx.benchmarks.case import Setting
    from pydlx.benchmarks.harness import Effort, Outcome

_EXAMPLE = """\
example:
  pydlx bench soft_pool --quick
  pydlx bench --json bench.json --plot bench.png --plot-all bench_all.png
  pydlx bench --from bench.json --plot bench.svg

Without OP everything is measured, in a minute or two. On a busy machine times come and go; the ratios are the result.
`pydlx bench readers --help` tells of the leaderboard of readers.
"""


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the command ``bench`` to the command line."""
    parser = subparsers.add_parser(
        "bench",
        help="measure what the compiled kernels buy",
        description="Time the native ops against their references, the best peers installed and a plain copy, "
        "interleaved in one run.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("ops", nargs="*", metavar="OP", help="what to measure, see --list (default: everything)")
    parser.add_argument("--list", action="store_true", help="list the ops and their cases, and measure nothing")
    parser.add_argument("--threads", type=positive, default=2, metavar="N", help="CPU threads (default: 2)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where to run (default: cpu)")
    parser.add_argument("--quick", action="store_true", help="fewer rounds: a glance, not a measurement")
    parser.add_argument("--full", action="store_true", help="also check the accuracy of large grids, for minutes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured to FILE")
    parser.add_argument(
        "--plot",
        type=Path,
        metavar="FILE",
        help="draw the most telling ratios on one screen, to FILE (.png, .svg, .pdf)",
    )
    parser.add_argument("--plot-all", type=Path, metavar="FILE", help="draw every ratio, one long picture, to FILE")
    parser.add_argument(
        "--from", dest="source", type=Path, metavar="FILE", help="draw what --json wrote, and measure nothing"
    )
    parser.add_argument("--check", action="store_true", help="exit with 1 unless every target is met")
    return parser


def run(args: argparse.Namespace) -> int:
    """Measures, shows and writes; returns the exit code."""
    import torch

    from pydlx.benchmarks import harness, machine, report
    from pydlx.benchmarks.case import Setting

    setting = Setting(torch.device(args.device), args.threads, args.full)
    ops = _chosen(args.ops)
    if args.list:
        return _list(ops, setting)
    _refuse_early(args)
    if args.source:
        return _draw_earlier(args)

    facts = machine.describe_machine(setting)
    print(machine.machine_line(facts))
    print(report.LEGEND)
    outcomes: list[tuple[str, Outcome]] = []
    with harness.pinned_threads(args.threads):
        for op in ops:
            results = list(_measured(op, setting, harness.QUICK if args.quick else harness.THOROUGH))
            print(report.format_table(op, results) + "\n", flush=True)
            outcomes += [(op, outcome) for outcome in results]
            if args.json:  # anew after each op, so that a run that is stopped leaves what it has measured
                report.write_json(args.json, report.as_document(facts, outcomes))
    print(report.format_summary(outcomes))
    if args.json:
        print(f"written to {args.json}")
    _draw(args, report.as_document(facts, outcomes))
    all_met = all(verdict.met for _, outcome in outcomes for verdict in outcome.verdicts)
    return 1 if args.check and not all_met else 0


def _draw_earlier(args: argparse.Namespace) -> int:
    """Draws what an earlier run wrote."""
    from pydlx.benchmarks import report

    if not (args.plot or args.plot_all):
        raise ValueError("--from needs --plot FILE or --plot-all FILE: it draws and measures nothing")
    document = report.read_json(args.source)
    if args.ops:
        document["results"] = [result for result in document["results"] if result["op"] in args.ops]
    _draw(args, document)
    return 0


def _draw(args: argparse.Namespace, document: dict[str, Any]) -> None:
    """Draws the pictures that are asked for."""
    if not (args.plot or args.plot_all):
        return
    from pydlx.benchmarks import machine, plot

    subtitle = machine.machine_line(document["machine"])
    for path, write in ((args.plot, plot.write_short_plot), (args.plot_all, plot.write_long_plot)):
        if path:
            write(path, subtitle, document["results"])
            print(f"drawn to {path}")


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
    import torch

    import pydlx
    from pydlx.files import check_writable

    if args.plot or args.plot_all:
        from pydlx.figures import check_figure_path

        for path in filter(None, (args.plot, args.plot_all)):
            check_figure_path(path)
    if args.source:
        return
    if not pydlx.build_info()["native"]:
        raise ValueError("no compiled kernels here, nothing to measure; install a C++ compiler and reinstall pydlx")
    if args.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: torch finds no CUDA device")
    if args.device == "cuda" and not pydlx.build_info()["cuda"]:
        raise ValueError("--device cuda: no CUDA kernels are compiled in, `pydlx info` says what is")
    if args.json:
        check_writable(args.json)


def _measured(op: str, setting: Setting, effort: Effort) -> Iterator[Outcome]:
    from pydlx.benchmarks.catalogue import CATALOGUE
    from pydlx.benchmarks.harness import measure

    items = list(CATALOGUE[op](setting))
    for number, item in enumerate(items, 1):
        with doing(f"{op} {number}/{len(items)}: {item.label}"):
            outcome = measure(item, setting, effort)
        yield outcome


def positive(text: str) -> int:
    """A number of the command line that must be positive and whole."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a positive whole number, got {text!r}")
    return int(text)
