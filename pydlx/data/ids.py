"""The ids of images, categories and annotations: whole numbers of any size, or strings."""

from __future__ import annotations

from collections.abc import Iterable

Id = int | str


def in_order(ids: Iterable[Id]) -> list[Id]:
    """The different ids: numbers ascending, then strings in alphabetical order."""
    return sorted(set(ids), key=lambda key: (isinstance(key, str), key))
