"""Files of answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydlx.data.reading import AnswerReport
from pydlx.files import replacing


def write_json(path: Path, content: Any) -> None:
    """Writes a JSON file."""
    write_text(path, json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes a UTF-8 file."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def said(report: AnswerReport, answers: Mapping[Any, str], path: Path) -> str:
    """How many questions were read and how many answers, by id, were written."""
    again = f", {len(report.repeated)} repeat the id of another" if report.repeated else ""
    empty = sum(not text for text in answers.values())
    return f"{report.questions} questions{again}: {len(answers)} answers, {empty} of them empty, written to {path}"
