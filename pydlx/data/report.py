"""What readers of data sets say of the files they read."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, fields
from typing import TypeVar

Note = tuple[str, str]  # id of a record, what is said of it
Own = TypeVar("Own", bound="Report")


@dataclass
class Report:
    """Counts of what was read, followed by lists of what was not as it should be."""

    def copy(self: Own) -> Own:
        """One that takes further notes by itself."""
        return deepcopy(self)

    def first_left_out(self) -> str:
        """What is said of the first of what was left out, to follow the counts; nothing where nothing was."""
        notes: list[Note] = getattr(self, "left_out", [])
        return f"; the first left out, in {notes[0][0]!r}: {notes[0][1]}" if notes else ""

    def __str__(self) -> str:
        parts = []
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, list):
                parts.append(f"{value} {field.name}")
            elif value:
                parts.append(f"{len(value)} {field.name.replace('_', ' ')}")
        return ", ".join(parts)
