"""What readers and metrics know of annotations: their ids, and warnings of those that are probably mistakes."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence

Id = int | str  # of an image, a category or an annotation; numbers may have any size


class AnnotationWarning(UserWarning):
    """Something in a data set that is allowed, and probably a mistake."""


def in_order(ids: Iterable[Id]) -> list[Id]:
    """The different ids: numbers ascending, then strings in alphabetical order."""
    return sorted(set(ids), key=lambda key: (isinstance(key, str), key))


def warn_of(count: int, what: str, names: Sequence[Id], kind: str = "ids") -> None:
    """Warns of so many records, naming the first few."""
    if count:
        shown = ", ".join(map(str, names[:3])) + (", ..." if len(names) > 3 else "")
        warnings.warn(f"{count} {what} ({kind} {shown})", AnnotationWarning, stacklevel=2)
