"""Lists of tokens as strings with one character for each, whose comparing and searching is quick."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def lettered(lists: Iterable[Sequence[str]]) -> list[str]:
    """A string for each list; equal tokens have the same character in all of them."""
    letters: dict[str, str] = {}
    return ["".join([letters.setdefault(token, chr(len(letters))) for token in tokens]) for tokens in lists]
