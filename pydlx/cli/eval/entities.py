"""``pydlx eval entities``."""

from __future__ import annotations

import argparse

from pydlx.cli.eval import report
from pydlx.cli.outputs import give_json
from pydlx.cli.progress import doing

_EXAMPLE = """\
example:
  pydlx eval entities cluener_dev.json predictions.json
  pydlx eval entities litbank_test/ predictions.json --json

Both are JSON lines {"text", "label": {type: {surface: [[start, end]]}}} of CLUENER's form, ends inclusive, or tables
of tokens and tags like LitBank's (*.tsv, or a folder of them). PREDICTIONS has the texts of TRUTH, in its order.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.epilog = _EXAMPLE


def run(args: argparse.Namespace) -> int:
    """Scores and shows; returns the exit code."""
    from pydlx.metrics import entity_score

    with report.warnings_on_stderr(), doing(f"scoring {args.predictions}"):
        results = entity_score(args.truth, args.predictions)
    if not give_json(args.json, {"results": results}):
        report.print_counts("type", results["types"], results)
        print(f"macro F1 {results['macro_f1']:.4f}, {results['texts']} texts")
    return 0
