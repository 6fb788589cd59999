"""``pydlx answer``: answer questions about passages with a trained reader."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from pydlx.cli.answer import choice, cloze, documents, spans
from pydlx.cli.device import add_device, device_of
from pydlx.cli.texts import given_text
from pydlx.data.reading.documents import FREE_FORMATS
from pydlx.files import check_writable
from pydlx.models import load_model
from pydlx.models.readers import Reader
from pydlx.models.readers.settings import task_of

_EXAMPLE = """\
example:
  pydlx answer --checkpoint runs/bidaf/best.ckpt --passage article.txt --question "Who won?"
  pydlx answer --checkpoint runs/bidaf/best.ckpt --passage "The Broncos won in 2016." --question "Who won?" --top 3
  pydlx answer --checkpoint runs/bidaf/best.ckpt --data dev.json --out predictions.json
  pydlx eval squad dev.json predictions.json
  pydlx answer --checkpoint runs/cloze/best.ckpt --passage story.txt --question "XXXXX 跑 了" --top 3
  pydlx answer --checkpoint runs/cloze/best.ckpt --data valid.doc_query --out predictions.txt
  pydlx answer --checkpoint runs/dream/best.ckpt --passage talk.txt --question "Who won?" --choices Ann Bob Carl
  pydlx answer --checkpoint runs/dream/best.ckpt --data dream_test.json --out predictions.json
  pydlx answer --checkpoint runs/dureader/best.ckpt --data search.dev.jsonl --out predictions.jsonl

Shows the passage with the best answer marked, and the best answers with their probability and their score, which also
compares answers from several passages. What the reader was trained for decides what it is asked: pydlx train reader's
answers from a passage, cloze's fills XXXXX with a word of it, choice's chooses, free_answer's answers from documents.

With --data it answers a file: of SQuAD's form, and writes {id: answer}, "" where no answer is likelier; of CMRC2017's,
and writes lines "<qid_0> ||| word"; of DREAM's, and writes {id: choice}; of DuReader's or MS MARCO's, and writes a JSON
object in each line. pydlx eval scores them all.
"""

# Options that only readers trained for some tasks understand.
_ONLY = {
    "top": ("span", "free_answer", "cloze"),
    "max-length": ("span", "free_answer"),
    "na-probs": ("span",),
    "choices": ("choice",),
    "format": ("span", "free_answer"),
}


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the command ``answer`` to the command line."""
    parser = subparsers.add_parser(
        "answer",
        help="answer questions about a passage",
        description="Find the answer to a question in a passage, with a trained reader.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--checkpoint", type=Path, required=True, help="of pydlx train reader and its kind, or of save_model"
    )
    parser.add_argument("--passage", help="a text, the name of a text file, or - for standard input")
    parser.add_argument("--question", help="what is asked")
    parser.add_argument("--choices", nargs="+", metavar="TEXT", help="what may be chosen")
    parser.add_argument("--data", type=Path, metavar="FILE", help="answer all questions of a file")
    parser.add_argument("--format", choices=tuple(FREE_FORMATS), help="of --data, if it holds documents")
    parser.add_argument("--out", type=Path, metavar="FILE", help="with --data: where the answers are written")
    parser.add_argument(
        "--na-probs", type=Path, metavar="FILE", help="with --data: also write {id: probability of no answer}"
    )
    parser.add_argument("--top", type=int, metavar="N", help="show the N best answers (default: 1)")
    parser.add_argument("--max-length", type=int, metavar="N", help="most tokens of an answer (default: as trained)")
    add_device(parser)
    parser.add_argument("--json", action="store_true", help="print the answers as JSON, without the passage")
    return parser


def run(args: argparse.Namespace) -> int:
    """Answers one question, or those of a file."""
    _check(args)
    model: Any = load_model(args.checkpoint)
    if not isinstance(model, Reader):
        raise ValueError(f"--checkpoint must hold a reader, got {model.model_name}")
    task = task_of(model)
    _check_task(args, task)
    model.to(device_of(args))
    if args.data is not None:
        print(_answer_file(model, task, args))
        return 0
    passage = given_text(args.passage, "--passage")
    if task == "cloze":
        plain, shown = cloze.answer(model, passage, args.question, args.top or 1)
    elif task == "choice":
        plain, shown = choice.answer(model, passage, args.question, args.choices)
    else:
        top, colour = args.top or 1, sys.stdout.isatty()
        plain, shown = spans.answer(model, passage, args.question, top, args.max_length, colour)
    print(json.dumps(plain, ensure_ascii=False) if args.json else shown)
    return 0


def _answer_file(model: Reader, task: str, args: argparse.Namespace) -> str:
    """Answers a file's questions, and says how many."""
    if task == "cloze":
        return cloze.answer_file(model, args.data, args.out)
    if task == "choice":
        return choice.answer_file(model, args.data, args.out)
    if task == "free_answer" or args.format is not None:
        return documents.answer_file(model, args.data, args.out, args.format or "dureader", args.max_length)
    return spans.answer_file(model, args.data, args.out, args.na_probs, args.max_length)


def _check(args: argparse.Namespace) -> None:
    """Refuses options that are missing, left over or out of range."""
    if args.data is None:
        wanted, refused, hint = ["passage", "question"], ["out", "na-probs", "format"], "without --data"
    else:
        wanted, refused, hint = ["out"], ["passage", "question", "choices", "top", "json"], "with --data"
    given = _given(args)
    for name in refused:
        if name in given:
            raise ValueError(f"--{name} must not be given {hint}")
    for name in wanted:
        if name not in given:
            raise ValueError(f"--{name} must be given {hint}")
    for name in ("top", "max-length"):
        if (number := getattr(args, name.replace("-", "_"))) is not None and number < 1:
            raise ValueError(f"--{name} must be positive, got {number}")
    taken = {} if args.data is None else {args.data.resolve(): "data"}
    for name in ("out", "na-probs"):
        if (path := getattr(args, name.replace("-", "_"))) is None:
            continue
        if (other := taken.setdefault(path.resolve(), name)) != name:
            raise ValueError(f"--{name} must be another file than --{other}, got {path}")
        check_writable(path)


def _check_task(args: argparse.Namespace, task: str) -> None:
    """Refuses options that the reader does not understand, and a reader that chooses without choices."""
    given = _given(args)
    for name, tasks in _ONLY.items():
        if name in given and task not in tasks:
            raise ValueError(f"--{name} needs a reader trained for {' or '.join(tasks)}, got one for {task}")
    if "na-probs" in given and "format" in given:
        raise ValueError("--na-probs must not be given with --format")
    if task == "choice" and args.data is None and args.choices is None:
        raise ValueError("--choices must be given for a reader trained for choice")


def _given(args: argparse.Namespace) -> set[str]:
    return {name.replace("_", "-") for name, value in vars(args).items() if value not in (None, False)}
