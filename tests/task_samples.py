"""Small files of the tasks beyond spans: gaps, choices and several documents."""

from __future__ import annotations

import json
from pathlib import Path

ANIMALS = ("狐狸", "老虎", "猴子", "小熊", "乌鸦", "大象", "小狗", "山羊")
CITIES = ("Rome", "Oslo", "Lima", "Delhi", "Quito", "Paris", "Seoul", "Cairo")


def cloze_files(folder: Path, count: int = 8) -> tuple[Path, Path]:
    """Stories in which an animal sleeps, of CMRC2017's form: passages with questions, and the missing words."""
    lines, answers = [], []
    for n in range(count):
        animal, other = ANIMALS[n % 8], ANIMALS[(n + 3) % 8]
        story = (f"{animal} 和 {other} 住 在 一起", f"{other} 吃 水果", f"今天 {animal} 很 累", "XXXXX 在 家里 睡觉")
        lines += [f"{number} ||| {line}" for number, line in enumerate(story, 1)]
        lines.append(f"<qid_{n}> ||| {story[-1]}")
        answers.append(f"<qid_{n}> ||| {animal}")
    for name, content in (("doc_query", lines), ("answer", answers)):
        (folder / f"cloze.{name}").write_text("\n".join(content) + "\n", encoding="utf-8")
    return folder / "cloze.doc_query", folder / "cloze.answer"


def dream_file(path: Path, count: int = 8) -> Path:
    """Dialogues about where people live, of DREAM's form, with a question each."""
    dialogues = []
    for n in range(count):
        right, other, third = (CITIES[(n + k) % 8] for k in (0, 2, 5))
        turns = [f"M: Where do you live, Anna{n}?", f"W: I live in {right}. My brother works in {other}."]
        choice = [f"In {city}." for city in sorted((right, other, third))]
        asked = {"question": "Where does the woman live?", "choice": choice, "answer": f"In {right}."}
        dialogues.append([turns, [asked], f"1-{n}"])
    path.write_text(json.dumps(dialogues))
    return path


def dureader_file(path: Path, count: int = 8, spans: bool = True) -> Path:
    """Questions over two documents, of DuReader's form."""
    lines = []
    for n in range(count):
        animal = ANIMALS[n % 8]
        words = ["听说", animal, "住", "在", "森林", "里", "。"]
        record = {
            "question_id": n,
            "question": f"{animal}住在哪里?",
            "question_type": "ENTITY",
            "documents": [
                {
                    "title": "a",
                    "paragraphs": ["今天天气很好。"],
                    "segmented_paragraphs": [["今天", "天气", "很", "好"]],
                },
                {
                    **{"title": "b", "paragraphs": ["无关。", "".join(words)], "most_related_para": 1},
                    "segmented_paragraphs": [["无关", "。"], words],
                },
            ],
            "answers": [f"{animal}住在森林里"],
        }
        lines.append(record | ({"answer_spans": [[1, 5]], "answer_docs": [1]} if spans else {}))
    path.write_text("\n".join(json.dumps(line, ensure_ascii=False) for line in lines), encoding="utf-8")
    return path
