"""``pydlx train``: train a model by a recipe."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from pydlx.cli.options import add_json, new_command
from pydlx.cli.outputs import check_folder, check_outputs, give_json, say
from pydlx.cli.progress import doing
from pydlx.tables import print_table
from pydlx.training import RECIPES

_EXAMPLE = """\
example:
  pydlx train fcn --options
  pydlx train fcn data=camvid model=fcn8s backbone=slim_vgg out=runs/camvid epochs=40
  pydlx train blending_gan data=photographs regions=masks masks=object_masks out=runs/blending
  pydlx train lapgan data=crops classes=true out=runs/lapgan
  pydlx train reader data=train-v1.1.json val=dev-v1.1.json vectors=glove out=runs/bidaf
  pydlx train relation data=redocred_dev.json vectors=glove loss=adaptive_focal out=runs/relations
  pydlx train ner data=litbank/train val=litbank/val encoder=minilm out=runs/ner
  torchrun --nproc-per-node 2 -m pydlx train fcn data=camvid devices=2

RECIPE --options lists what can be chosen. The same command again goes on where the training stopped. --quiet is
progress=false, too.
"""


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the command ``train`` to the command line."""
    parser = new_command(
        subparsers,
        "train",
        "train a model by a recipe",
        "Train a model; TensorBoard and CSV logs and checkpoints go to the folder out=.",
        _EXAMPLE,
    )
    kinds = "; ".join(f"{name}: {what}" for name, (_, _, what) in RECIPES.items())
    parser.add_argument("recipe", choices=tuple(RECIPES), metavar="RECIPE", help=f"what to train. {kinds}")
    parser.add_argument("assignments", nargs="*", metavar="KEY=VALUE", help="options of the recipe")
    parser.add_argument("--options", action="store_true", help="list the options of the recipe and their defaults")
    add_json(parser, "the list of --options")
    return parser


def run(args: argparse.Namespace) -> int:
    """Trains, or lists what can be chosen."""
    module, kind, _ = RECIPES[args.recipe]
    if args.json is not None and not args.options:
        raise ValueError("--json must come with --options")
    check_outputs({"--json": args.json})
    with doing("loading the recipe"):
        from pydlx.training.options import described_options, parse_options

        recipe = import_module(module)
    options = getattr(recipe, kind)
    if args.options:
        return _list(described_options(options), args.json)
    chosen = parse_options(options, ["progress=false"] * args.quiet + args.assignments)
    check_folder(Path(chosen.out), "out")
    try:
        trainer = recipe.train(chosen)
    except (KeyboardInterrupt, SystemExit) as stop:
        if isinstance(stop, SystemExit) and not isinstance(stop.__context__, KeyboardInterrupt):
            raise
        # Lightning would exit with 1 and say nothing.
        print(f"pydlx train: interrupted; {_how_to_go_on(chosen)}", file=sys.stderr)
        return 130
    say(f"{_best(trainer)}written to {chosen.out}")
    return 0


def _list(rows: list[tuple[str, str, str]], json: str | None) -> int:
    content = {name: {"default": default, "meaning": meaning} for name, default, meaning in rows}
    if not give_json(json, content):
        print_table(rows, left=(0, 1, 2))
    return 0


def _best(trainer: Any) -> str:
    """The best score of the validations, which ``best.ckpt`` has, or that there was none."""
    for callback in trainer.checkpoint_callbacks:
        if callback.monitor is not None and callback.best_model_score is not None:
            return f"best {callback.monitor} {float(callback.best_model_score):.4f}; "
        if callback.monitor is not None and not Path(callback.dirpath, "best.ckpt").exists():
            return "stopped before a validation, so there is last.ckpt but no best.ckpt; "
    return ""


def _how_to_go_on(options: Any) -> str:
    last = Path(options.out) / "last.ckpt"
    if not last.exists():
        return "there is no checkpoint yet, the same command begins anew"
    return f"the same command goes on from '{last}'" if options.resume == "auto" else f"the last checkpoint is '{last}'"
