"""Splits questions about passages into some to train on and some to validate by, passage by passage.

    python examples/split_questions.py xquad.en.json expmrc-squad-dev.json --out squad

Files of SQuAD's form come in; OUT/train.json and OUT/val.json go out. A question that several files hold is taken once.
Which passages are held out follows from their text alone, so that it is the same for every order and choice of files.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

from pydlx.data.reading import Question, read_squad
from pydlx.files import replacing


def main() -> None:
    """Reads, splits and writes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("files", type=Path, nargs="+", help="JSON files of SQuAD's form")
    parser.add_argument("--share", type=float, default=0.2, help="of the passages that are held out (default 0.2)")
    parser.add_argument("--out", type=Path, default=Path("squad"), help="folder that is written to")
    options = parser.parse_args()
    questions: dict[str, Question] = {}
    for path in options.files:
        for question in read_squad(path):
            questions.setdefault(question.id, question)
    options.out.mkdir(parents=True, exist_ok=True)
    for name, held_out in (("train", False), ("val", True)):
        part = [q for q in questions.values() if (drawn(q.passage) < options.share) == held_out]
        with replacing(options.out / f"{name}.json") as temporary:
            temporary.write_text(json.dumps(in_squads_form(part), ensure_ascii=False), encoding="utf-8")
        print(f"{name}: {len(part)} questions about {len({q.passage for q in part})} passages")


def drawn(passage: str) -> float:
    """A number from 0 to 1 that the text alone decides."""
    return int.from_bytes(hashlib.sha256(passage.encode()).digest()[:8], "big") / 2**64


def in_squads_form(questions: list[Question]) -> dict[str, Any]:
    """What a JSON file of SQuAD 1.1 holds."""
    paragraphs: dict[str, list[dict[str, Any]]] = {}
    for question in questions:
        answers = [{"text": answer.text, "answer_start": answer.start} for answer in question.answers]
        entry = {"id": question.id, "question": question.question, "answers": answers}
        paragraphs.setdefault(question.passage, []).append(entry)
    listed = [{"context": passage, "qas": entries} for passage, entries in paragraphs.items()]
    return {"version": "1.1", "data": [{"title": "", "paragraphs": listed}]}


if __name__ == "__main__":
    main()
