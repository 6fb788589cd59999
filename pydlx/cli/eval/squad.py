"""``pydlx eval squad``."""

from __future__ import annotations

import argparse

from pydlx.cli.eval import report
from pydlx.cli.options import add_plot
from pydlx.cli.outputs import give_json, say
from pydlx.cli.progress import doing

_EXAMPLE = """\
example:
  pydlx eval squad dev-v1.1.json predictions.json
  pydlx eval squad dev-v2.0.json predictions.json --version 2.0 --na-probs na_prob.json --plot curves.png

TRUTH is a data set in SQuAD's form, PREDICTIONS a JSON object with an answer for each question's id.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.epilog = _EXAMPLE
    parser.add_argument(
        "--version",
        default="1.1",
        choices=("1.1", "2.0"),
        help="whose rules count; 2.0 has questions without answer (default: 1.1)",
    )
    parser.add_argument(
        "--na-probs", metavar="FILE", help="with --version 2.0, a JSON object of the probability of no answer by id"
    )
    parser.add_argument(
        "--na-threshold",
        type=float,
        default=1.0,
        metavar="P",
        help='above this probability of no answer a prediction counts as "no answer" (default: 1)',
    )
    parser.add_argument(
        "--missing",
        choices=("zero", "error"),
        help="what a question without prediction is, wrong or an error (default: zero for 1.1, error for 2.0)",
    )
    add_plot(parser, "precision over recall, which needs --na-probs,")


def run(args: argparse.Namespace) -> int:
    """Scores, shows and draws; returns the exit code."""
    from pydlx.metrics import plot_answer_curves, squad_curves, squad_score

    if args.plot and (not args.na_probs or args.version == "1.1"):
        raise ValueError("--plot needs --na-probs and --version 2.0")
    with report.warnings_on_stderr(), doing(f"scoring {args.predictions}"):
        results = squad_score(
            args.truth,
            args.predictions,
            args.version,
            na_probs=args.na_probs,
            na_threshold=args.na_threshold,
            missing=args.missing,
        )
        if args.plot:
            curves = squad_curves(args.truth, args.predictions, args.na_probs, missing=args.missing)
            plot_answer_curves(curves, args.plot)
    if give_json(args.json, {"results": results}):
        return 0
    report.print_table((key, value if key.endswith("total") else f"{value:.5f}") for key, value in results.items())
    if args.plot:
        say(f"drawn to {args.plot}")
    return 0
