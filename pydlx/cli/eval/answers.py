"""``pydlx eval answers``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from pydlx.cli.eval import report
from pydlx.cli.outputs import give_json
from pydlx.cli.progress import doing

_EXAMPLE = """\
example:
  pydlx eval answers references.jsonl predictions.jsonl --format dureader --task main
  pydlx eval answers references.jsonl predictions.jsonl --format marco
  pydlx eval answers cmrc2017_valid.answer predictions.txt --format cmrc2017
  pydlx eval answers dream_test.json predictions.json --format dream

dureader, marco: a JSON object in each line; cmrc2017: lines "<qid_0> ||| word"; dream: {"14-349-0": choice}.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.epilog = _EXAMPLE
    parser.add_argument(
        "--format",
        required=True,
        choices=("dureader", "marco", "cmrc2017", "dream"),
        help="whose form both files have; the form says what is measured",
    )
    parser.add_argument(
        "--task",
        choices=("main", "all", "yesno", "entity", "description"),
        help="with --format dureader, which questions are scored, and how (default: main)",
    )


def run(args: argparse.Namespace) -> int:
    """Scores and shows; returns the exit code."""
    if args.task and args.format != "dureader":
        raise ValueError("--task needs --format dureader")
    with doing(f"scoring {args.predictions}"):
        results, decimals = _score(args)
    if give_json(args.json, {"results": results}):
        return 0
    report.print_table(
        (key, f"{value:.{decimals}f}" if isinstance(value, float) else value) for key, value in results.items()
    )
    return 0


def _score(args: argparse.Namespace) -> tuple[Mapping[str, object], int]:
    """The results, and with how many decimals the official script prints them."""
    from pydlx import metrics

    if args.format == "marco":
        return metrics.marco_score(args.truth, args.predictions), 4
    if args.format == "cmrc2017":
        return metrics.cmrc2017_score(args.truth, args.predictions), 4
    if args.format == "dream":
        return metrics.dream_score(args.truth, args.predictions), 4
    return metrics.dureader_score(args.truth, args.predictions, args.task or "main"), 2
