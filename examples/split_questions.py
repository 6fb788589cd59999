"""Splits questions in SQuAD's format into a training and a validation set, passage by passage.

    python examples/split_questions.py xquad.en.json expmrc-squad-dev.json --out squad

Reads one or more files and writes OUT/train.json and OUT/val.json. A question that is in several files is taken once. A
hash of the passage decides whether it is held out, so that the split does not depend on the order or choice of files.
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
    """Reads the questions, splits them and writes both sets."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("files", type=Path, nargs="+", help="JSON files in SQuAD's format")
    parser.add_argument("--share", type=float, default=0.2, help="share of the passages to hold out (default 0.2)")
    parser.add_argument("--out", type=Path, default=Path("squad"), help="output folder")
    options = parser.parse_args()
    questions: dict[str, Question] = {}
    for path in options.files:
        for question in read_squad(path):
            questions.setdefault(question.id, question)
    options.out.mkdir(parents=True, exist_ok=True)
    for name, held_out in (("train", False), ("val", True)):
        part = [q for q in questions.values() if (hash_to_unit(q.passage) < options.share) == held_out]
        with replacing(options.out / f"{name}.json") as temporary:
            temporary.write_text(json.dumps(in_squad_format(part), ensure_ascii=False), encoding="utf-8")
        print(f"{name}: {len(part)} questions about {len({q.passage for q in part})} passages")


def hash_to_unit(passage: str) -> float:
    """Returns a number from 0 to 1 computed from the text, SHA-256 scaled."""
    return int.from_bytes(hashlib.sha256(passage.encode()).digest()[:8], "big") / 2**64


def in_squad_format(questions: list[Question]) -> dict[str, Any]:
    """Returns the questions as the object that a JSON file of SQuAD 1.1 holds."""
    paragraphs: dict[str, list[dict[str, Any]]] = {}
    for question in questions:
        answers = [{"text": answer.text, "answer_start": answer.start} for answer in question.answers]
        entry = {"id": question.id, "question": question.question, "answers": answers}
        paragraphs.setdefault(question.passage, []).append(entry)
    listed = [{"context": passage, "qas": entries} for passage, entries in paragraphs.items()]
    return {"version": "1.1", "data": [{"title": "", "paragraphs": listed}]}


if __name__ == "__main__":
    main()
