"""``pydlx eval relations``."""

from __future__ import annotations

import argparse

from pydlx.cli.eval import report
from pydlx.cli.options import count
from pydlx.cli.outputs import give_json
from pydlx.cli.progress import doing

_EXAMPLE = """\
example:
  pydlx eval relations redocred_test.json predictions.json
  pydlx eval relations redocred_test.json predictions.json --train redocred_dev.json --per-relation

TRUTH is of DocRED's form, PREDICTIONS a submission: a JSON list of {"title", "h_idx", "t_idx", "r"}. With --train also
Ign F1, which leaves out what the training data says of the same names, and F1 of common and of other relations.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.epilog = _EXAMPLE
    parser.add_argument(
        "--train", metavar="FILE", help="the training data, of DocRED's form, of which Ign F1 leaves out what it says"
    )
    parser.add_argument(
        "--frequent", type=count, metavar="N", help="with --train, how many relations are common ones (default: 10)"
    )
    parser.add_argument("--per-relation", action="store_true", help="give the scores of each relation, too")


def run(args: argparse.Namespace) -> int:
    """Scores and shows; returns the exit code."""
    from pydlx.metrics import relation_score

    if args.frequent is not None and not args.train:
        raise ValueError("--frequent needs --train")
    frequent = 10 if args.frequent is None else args.frequent
    with report.warnings_on_stderr(), doing(f"scoring {args.predictions}"):
        results = relation_score(args.truth, args.predictions, train=args.train, frequent=frequent)
    each = results.pop("relations")
    if give_json(args.json, {"results": results} | ({"per_relation": each} if args.per_relation else {})):
        return 0
    if args.per_relation:
        report.print_counts("relation", each, results)
        print()
    report.print_table(results.items())
    return 0
