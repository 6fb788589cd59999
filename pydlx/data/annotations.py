"""What readers and metrics know of annotations: their ids, and warnings of those that are probably mistakes."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence

import numpy as np

Id = int | str  # of an image, a category or an annotation; numbers may have any size


class AnnotationWarning(UserWarning):
    """Something in a data set that is allowed, and probably a mistake."""


def in_order(ids: Iterable[Id]) -> list[Id]:
    """The different ids: numbers ascending, then strings in alphabetical order."""
    different = set(ids)
    try:
        return sorted(different)
    except TypeError:  # numbers and strings
        return sorted(different, key=lambda key: (isinstance(key, str), key))


def places_of(values: np.ndarray, ids: Sequence[Id]) -> np.ndarray:
    """Where ids stand among those in order, as int64; -1 where they do not.

    Args:
        values: (n,) int64, or objects.
        ids: what `in_order` gives.
    """
    known = np.array(ids)
    if values.dtype == known.dtype == np.int64:
        places = np.minimum(np.searchsorted(known, values), len(ids) - 1)
        return np.where(known[places] == values, places, -1)
    place = {key: place for place, key in enumerate(ids)}
    return np.array([place.get(value, -1) for value in values.tolist()], dtype=np.int64)


def warn_of(count: int, what: str, names: Sequence[Id], kind: str = "ids") -> None:
    """Warns of so many records, naming the first few."""
    if count:
        shown = ", ".join(map(str, names[:3])) + (", ..." if len(names) > 3 else "")
        warnings.warn(f"{count} {what} ({kind} {shown})", AnnotationWarning, stacklevel=2)
