"""``pydlx answer``: answer questions about passages with a trained reader."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import Any

from pydlx.cli.inputs import check_checkpoint, check_file, given_text, standard_input
from pydlx.cli.options import STANDARD, add_checkpoint, add_device, add_json, count, device_of, listed, new_command
from pydlx.cli.outputs import check_outputs, give_json

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

# As in pydlx.data.reading.documents, which imports torch.
_FORMATS = ("dureader", "marco")

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
    parser = new_command(
        subparsers,
        "answer",
        "answer questions about a passage",
        "Find the answer to a question in a passage, with a trained reader.",
        _EXAMPLE,
    )
    add_checkpoint(parser, "`pydlx train reader` and its kind, or of pydlx.models.save_model")
    parser.add_argument("--passage", metavar="TEXT", help="a text, the name of a text file, or - for standard input")
    parser.add_argument("--question", metavar="TEXT", help="what is asked")
    parser.add_argument(
        "--choices", nargs="+", metavar="TEXT", help="what may be chosen, for readers that were trained to choose"
    )
    parser.add_argument("--data", metavar="FILE", help="answer all questions of a file, or of - for standard input")
    parser.add_argument(
        "--format", choices=_FORMATS, help="with --data that holds documents, whose form it has (default: dureader)"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="with --data, where to write the answers, - for standard output"
    )
    parser.add_argument(
        "--na-probs", type=Path, metavar="FILE", help="with --data, also write {id: probability of no answer}"
    )
    parser.add_argument("--top", type=count, metavar="N", help="show the N best answers (default: 1)")
    parser.add_argument(
        "--max-length", type=count, metavar="N", help="how many tokens an answer may have (default: as trained)"
    )
    add_device(parser)
    add_json(parser, "the answers, without the passage,")
    return parser


def run(args: argparse.Namespace) -> int:
    """Answers one question, or those of a file."""
    _check(args)
    from pydlx.models import load_model
    from pydlx.models.readers import Reader
    from pydlx.models.readers.settings import task_of

    model: Any = load_model(args.checkpoint)
    if not isinstance(model, Reader):
        raise ValueError(f"--checkpoint must hold a reader, got {model.model_name}")
    task = task_of(model)
    _check_task(args, task)
    model.to(device_of(args.device))
    with ExitStack() as stack:
        if args.data is None:
            _answer(model, task, args)
        elif args.data == STANDARD:
            _answer_file(model, task, Path(stack.enter_context(standard_input("--data"))), args)
        else:
            _answer_file(model, task, Path(args.data), args)
    return 0


def _answer(model: Any, task: str, args: argparse.Namespace) -> None:
    """Answers one question, and shows the answers."""
    passage = given_text(args.passage, "--passage")
    if task == "cloze":
        answers = _of("cloze").Words(model, passage, args.question, args.top or 1)
    elif task == "choice":
        answers = _of("choice").Choices(model, passage, args.question, args.choices)
    else:
        answers = _of("spans").Spans(model, passage, args.question, args.top or 1, args.max_length)
    if not give_json(args.json, answers.plain()):
        answers.show()


def _answer_file(model: Any, task: str, data: Path, args: argparse.Namespace) -> None:
    """Answers a file's questions, and says how many."""
    if task == "cloze":
        _of("cloze").answer_file(model, data, args.out)
    elif task == "choice":
        _of("choice").answer_file(model, data, args.out)
    elif task == "free_answer" or args.format is not None:
        _of("documents").answer_file(model, data, args.out, args.format or "dureader", args.max_length)
    else:
        _of("spans").answer_file(model, data, args.out, args.na_probs, args.max_length)


def _of(kind: str) -> Any:
    """The module of a kind of answers; it imports torch."""
    return import_module(f"pydlx.cli.answer.{kind}")


def _check(args: argparse.Namespace) -> None:
    """Refuses options that are missing or left over, and files that cannot be read or written."""
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
    check_checkpoint(args.checkpoint)
    if args.data not in (None, STANDARD):
        check_file(args.data, "--data")
    outputs = {"--out": args.out, "--na-probs": args.na_probs, "--json": args.json}
    check_outputs(outputs, {"--checkpoint": args.checkpoint, "--data": args.data, "--passage": args.passage})


def _check_task(args: argparse.Namespace, task: str) -> None:
    """Refuses options that the reader does not understand, and a reader that chooses without choices."""
    given = _given(args)
    for name, tasks in _ONLY.items():
        if name in given and task not in tasks:
            raise ValueError(f"--{name} needs a reader trained for {listed(tasks)}, got one for {task}")
    if "na-probs" in given and "format" in given:
        raise ValueError("--na-probs must not be given with --format")
    if task == "choice" and args.data is None and args.choices is None:
        raise ValueError("--choices must be given for a reader trained for choice")


def _given(args: argparse.Namespace) -> set[str]:
    return {name.replace("_", "-") for name, value in vars(args).items() if value not in (None, False)}
