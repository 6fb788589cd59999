"""``pydlx eval cmrc``."""

from __future__ import annotations

import argparse

from pydlx.cli.eval import report
from pydlx.cli.outputs import give_json
from pydlx.cli.progress import doing

_EXAMPLE = """\
example:
  pydlx eval cmrc cmrc2018_dev.json predictions.json

TRUTH is CMRC2018's JSON in either form, PREDICTIONS a JSON object with an answer for each question's id.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.epilog = _EXAMPLE
    parser.add_argument(
        "--words",
        choices=("nltk", "builtin"),
        help="what splits the words between Chinese characters (default: nltk if it is installed, builtin if not)",
    )


def run(args: argparse.Namespace) -> int:
    """Scores and shows; returns the exit code."""
    from pydlx.metrics import cmrc_score

    with doing(f"scoring {args.predictions}"):
        results = cmrc_score(args.truth, args.predictions, words=args.words)
    if not give_json(args.json, {"results": results}):
        report.print_table(
            (key, f"{value:.3f}" if key in ("AVERAGE", "F1", "EM") else value) for key, value in results.items()
        )
    return 0
