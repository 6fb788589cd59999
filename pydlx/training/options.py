"""Options of a recipe: the fields of a dataclass, given as ``key=value`` on the command line."""

from __future__ import annotations

import dataclasses
import difflib
import re
import typing
from collections.abc import Iterable
from typing import Any, TypeVar

from pydlx._optional import needed_for

Options = TypeVar("Options")


def parse_options(kind: type[Options], words: Iterable[str]) -> Options:
    """Parse the options of a recipe from words of the command line.

    Args:
        kind: A dataclass whose fields are numbers, strings, bools, paths, or tuples of these, all with defaults.
        words: Words ``key=value``. Entries of a tuple are separated by commas, ``scales=0.5,1,2``; ``none`` is None.

    Raises:
        ValueError: If a word is not ``key=value``, there is no such field, or the value does not fit it.

    Example:
        >>> @dataclasses.dataclass
        ... class Recipe:
        ...     lr: float = 0.1
        ...     size: tuple[int, int] = (180, 240)
        >>> parse_options(Recipe, ["lr=1e-3", "size=90,120"])
        Recipe(lr=0.001, size=(90, 120))
    """
    with needed_for("training", extra="train"):
        import msgspec
    kinds = typing.get_type_hints(kind)
    given: dict[str, Any] = {}
    for word in words:
        key, sign, text = word.partition("=")
        if not sign:
            raise ValueError(f"options must be KEY=VALUE, got {word!r}")
        if key not in kinds:
            close = difflib.get_close_matches(key, kinds, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(kinds)}"
            raise ValueError(f"option {key!r} is not one of this recipe; {hint}")
        try:
            given[key] = msgspec.convert(_parsed(text, kinds[key]), kinds[key], strict=False)
        except msgspec.ValidationError as error:
            raise ValueError(f"option {key} cannot be {text!r}: {str(error).partition(' - at')[0]}") from None
    return kind(**given)


def _parsed(text: str, kind: Any) -> Any:
    """Return the input of msgspec's conversion: None, the entries of a tuple, or the text."""
    members = typing.get_args(kind) if typing.get_origin(kind) is not tuple else ()
    if text.lower() == "none" and type(None) in members:
        return None
    if any(typing.get_origin(member) is tuple for member in (kind, *members)):
        return [_with_zero(entry) for entry in text.split(",") if entry]
    return _with_zero(text) if float in (kind, *members) else text


def _with_zero(text: str) -> str:
    """Turn .5 into 0.5, because msgspec does not parse .5 as a number."""
    return re.sub(r"^([+-]?)\.(?=\d)", r"\g<1>0.", text)


def described_options(kind: type) -> list[tuple[str, str, str]]:
    """Return (name, default, help) of every field; help comes from the field's metadata."""
    rows = []
    for field in dataclasses.fields(kind):
        default = field.default
        shown = ",".join(map(str, default)) if isinstance(default, tuple) else str(default)
        rows.append((field.name, shown, field.metadata.get("help", "")))
    return rows


def option(default: Any, help: str) -> Any:
    """Return a dataclass field for an option, with its default and one line of help."""
    return dataclasses.field(default=default, metadata={"help": help})
