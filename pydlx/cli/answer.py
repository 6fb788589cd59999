"""``pydlx answer``: answer questions about passages with a trained reader."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from pydlx.cli.progress import counting
from pydlx.data.reading import AnswerReport, read_squad
from pydlx.files import replacing
from pydlx.models import load_model
from pydlx.models.readers import Asked, FoundAnswer, Reader, ask, ask_all

_EXAMPLE = """\
example:
  pydlx answer --checkpoint runs/bidaf/best.ckpt --passage article.txt --question "Who won?"
  pydlx answer --checkpoint runs/bidaf/best.ckpt --passage "The Broncos won in 2016." --question "Who won?" --top 3
  pydlx answer --checkpoint runs/bidaf/best.ckpt --data dev.json --out predictions.json
  pydlx eval squad dev.json predictions.json

Shows the passage with the best answer marked, and the best answers with their probability and their score, which also
compares answers from several passages. With --data it answers a file of SQuAD's form, and writes {id: answer}.
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
    parser.add_argument("--top", type=int, default=1, metavar="N", help="show the N best answers (default 1)")
    parser.add_argument("--max-length", type=int, metavar="N", help="most tokens of an answer (default: as trained)")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--json", action="store_true", help="print the answers as JSON, without the passage")
    return parser


def run(args: argparse.Namespace) -> int:
    """Answers one question, or those of a file."""
    alone = {"--passage": args.passage, "--question": args.question}
    if args.data is None and (missing := [name for name, value in alone.items() if value is None]):
        raise ValueError(f"{missing[0]} must be given, or --data and --out")
    if args.data is not None and (given := [name for name, value in alone.items() if value is not None]):
        raise ValueError(f"{given[0]} must not be given with --data")
    if (args.data is None) != (args.out is None):
        raise ValueError("--data and --out must be given together")
    model: Any = load_model(args.checkpoint)
    if not isinstance(model, Reader):
        raise ValueError(f"--checkpoint must hold a reader, got {model.model_name}")
    model.to(args.device)
    if args.data is not None:
        return _answer_file(model, args)
    asked = ask(model, _text(args.passage), args.question, top_k=args.top, max_length=args.max_length)
    print(json.dumps(_plain(asked), ensure_ascii=False) if args.json else _shown(asked, sys.stdout.isatty()))
    return 0


def _text(given: str) -> str:
    """The passage: what the file of this name holds, if there is one, or the words themselves."""
    if given == "-":
        return sys.stdin.read()
    try:
        is_file = Path(given).is_file()
    except (OSError, ValueError):  # too long for a name, or with a character that names cannot hold
        is_file = False
    if not is_file:
        return given
    try:
        return Path(given).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"'{given}' must be UTF-8 text: {error.reason} at byte {error.start}") from None


def _answer_file(model: Reader, args: argparse.Namespace) -> int:
    report = AnswerReport()
    questions = list(read_squad(args.data, report))
    answers: dict[str, str] = {}
    nulls: dict[str, float] = {}
    found = ask_all(model, questions, max_length=args.max_length)
    for question, _ in zip(questions, counting(questions, "answering"), strict=True):
        asked = next(found)
        answers[question.id] = _best_text(asked)
        nulls[question.id] = asked.null_probability
    for path, content in ((args.out, answers), (args.na_probs, nulls)):
        if path is not None:
            with replacing(path) as temporary:
                temporary.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    empty = sum(not text for text in answers.values())
    print(f"{len(answers)} questions answered, {empty} of them by no answer, written to {args.out}")
    return 0


def _best_text(asked: Asked) -> str:
    """ "" where no answer is likelier than the best one."""
    if not asked.answers or asked.null_probability > asked.answers[0].probability:
        return ""
    return asked.answers[0].text


def _plain(asked: Asked) -> dict[str, Any]:
    null = {"probability": asked.null_probability, "score": asked.null_score} if asked.null_probability else None
    return {"answers": [answer._asdict() for answer in asked.answers], "no_answer": null}


def _shown(asked: Asked, colour: bool) -> str:
    """The passage with the best answer marked, and all answers below."""
    rows = [(f"{answer.probability:.3f}", f"{answer.score:.2f}", _line(answer.text)) for answer in asked.answers]
    if asked.null_probability:
        rows.append((f"{asked.null_probability:.3f}", f"{asked.null_score:.2f}", "(no answer)"))
        rows.sort(key=lambda row: -float(row[0]))
    table = [("probability", "score", "answer"), *rows]
    lines = [f"{first:>11}  {second:>7}  {text}" for first, second, text in table]
    if not asked.answers:
        return "\n".join(lines)
    return f"{_marked(asked.question.passage, asked.answers[0], colour)}\n\n" + "\n".join(lines)


def _marked(passage: str, answer: FoundAnswer, colour: bool) -> str:
    """The answer's surroundings, and the answer in reverse video, or in brackets where there are no colours."""
    first, past = max(0, answer.start - _CONTEXT), min(len(passage), answer.end + _CONTEXT)
    before, behind = passage[first : answer.start], passage[answer.end : past]
    marks = ("\033[7m", "\033[0m") if colour else ("[[", "]]")
    return "".join(
        ["… " if first else "", before, marks[0], answer.text, marks[1], behind, " …" if past < len(passage) else ""]
    )


def _line(text: str) -> str:
    return " ".join(text.split())
