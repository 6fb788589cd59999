"""``pydlx answer``: answer questions about passages with a trained reader."""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

from pydlx.cli.device import add_device, device_of
from pydlx.cli.progress import counting
from pydlx.cli.texts import given_text
from pydlx.data.reading import AnswerReport, read_squad
from pydlx.files import check_writable, replacing
from pydlx.models import load_model
from pydlx.models.readers import Asked, FoundAnswer, Reader, ask, ask_all

_EXAMPLE = """\
example:
  pydlx answer --checkpoint runs/bidaf/best.ckpt --passage article.txt --question "Who won?"
  pydlx answer --checkpoint runs/bidaf/best.ckpt --passage "The Broncos won in 2016." --question "Who won?" --top 3
  pydlx answer --checkpoint runs/bidaf/best.ckpt --data dev.json --out predictions.json
  pydlx eval squad dev.json predictions.json

Shows the passage with the best answer marked, and the best answers with their probability and their score, which also
compares answers from several passages. With --data it answers a file of SQuAD's form, and writes {id: answer}, ""
where no answer is likelier.
"""

_CONTEXT = 400  # characters of a long passage that are shown before and behind the answer


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the command ``answer`` to the command line."""
    parser = subparsers.add_parser(
        "answer",
        help="answer questions about a passage",
        description="Find the answer to a question in a passage, with a trained reader.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--checkpoint", type=Path, required=True, help="of pydlx train reader, or of save_model")
    parser.add_argument("--passage", help="a text, the name of a text file, or - for standard input")
    parser.add_argument("--question", help="what is asked")
    parser.add_argument("--data", type=Path, metavar="FILE", help="answer all questions of a file of SQuAD's form")
    parser.add_argument("--out", type=Path, metavar="FILE", help="with --data: where {id: answer} is written")
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
    model.to(device_of(args))
    if args.data is not None:
        return _answer_file(model, args)
    asked = ask(
        model, given_text(args.passage, "--passage"), args.question, top_k=args.top or 1, max_length=args.max_length
    )
    print(json.dumps(_plain(asked), ensure_ascii=False) if args.json else _shown(asked, sys.stdout.isatty()))
    return 0


def _check(args: argparse.Namespace) -> None:
    """Refuses options that are missing, left over or out of range."""
    if args.data is None:
        wanted, refused, hint = ["passage", "question"], ["out", "na-probs"], "without --data"
    else:
        wanted, refused, hint = ["out"], ["passage", "question", "top", "json"], "with --data"
    given = {name.replace("_", "-") for name, value in vars(args).items() if value not in (None, False)}
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


def _answer_file(model: Reader, args: argparse.Namespace) -> int:
    report = AnswerReport()
    questions = list(read_squad(args.data, report))
    found = ask_all(model, questions, max_length=args.max_length)
    asked = [next(found) for _ in counting(questions, "answering")]
    answers = {each.question.id: each.best for each in asked}
    _write(args.out, answers)
    if args.na_probs is not None:
        _write(args.na_probs, {each.question.id: each.null_probability for each in asked})
    empty = sum(not text for text in answers.values())
    again = f", {len(report.repeated)} repeat the id of another" if report.repeated else ""
    print(f"{len(questions)} questions{again}: {len(answers)} answers, {empty} of them empty, written to {args.out}")
    return 0


def _write(path: Path, content: dict[str, Any]) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _plain(asked: Asked) -> dict[str, Any]:
    null = {"probability": asked.null_probability, "score": asked.null_score} if _knows_none(asked) else None
    return {"answers": [answer._asdict() for answer in asked.answers], "no_answer": null}


def _knows_none(asked: Asked) -> bool:
    """Whether the reader has learned that a passage may hold no answer."""
    return math.isfinite(asked.null_score)


def _shown(asked: Asked, colour: bool) -> str:
    """The passage with the best answer marked, unless no answer is likelier, and all answers below."""
    rows = [(answer.score, answer.probability, " ".join(answer.text.split())) for answer in asked.answers]
    if _knows_none(asked):
        rows.append((asked.null_score, asked.null_probability, "(no answer)"))
        rows.sort(key=lambda row: -row[0])
    lines = [f"{'probability':>11}  {'score':>7}  answer"]
    lines += [f"{probability:>11.3f}  {score:>7.2f}  {text}" for score, probability, text in rows]
    if asked.best:
        lines = [_marked(asked.question.passage, asked.answers[0], colour), "", *lines]
    return "\n".join(lines)


def _marked(passage: str, answer: FoundAnswer, colour: bool) -> str:
    """The answer's surroundings, and the answer in reverse video, or in brackets where there are no colours."""
    first, past = max(0, answer.start - _CONTEXT), min(len(passage), answer.end + _CONTEXT)
    begin, end = ("\033[7m", "\033[0m") if colour else ("[[", "]]")
    shown = f"{passage[first : answer.start]}{begin}{answer.text}{end}{passage[answer.end : past]}".strip("\n")
    return f"{'… ' if first else ''}{shown}{' …' if past < len(passage) else ''}"
