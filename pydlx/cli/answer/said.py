"""What is written of answers to the questions of a file, and what is said of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydlx.cli.outputs import output_file, say, words_beside, write_text
from pydlx.data.reading import AnswerReport


def write_json(path: Path, content: Any) -> None:
    """Writes a JSON file, or prints it for ``-``."""
    write_answers(path, json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def write_answers(path: Path, text: str) -> None:
    """Writes a UTF-8 file, or prints it for ``-``."""
    with output_file(path) as place:
        write_text(place, text)


def say_count(report: AnswerReport, answers: Mapping[Any, str], path: Path) -> None:
    """Says how many questions were read and how many answers, by id, were written."""
    again = f", {len(report.repeated)} repeat the id of another" if report.repeated else ""
    empty = sum(not text for text in answers.values())
    where = "" if str(path) == "-" else f", written to {path}"
    text = f"{report.questions} questions{again}: {len(answers)} answers, {empty} of them empty{where}"
    say(text, words_beside(path))
