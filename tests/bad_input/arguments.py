"""Kinds of arguments: a right value, and what is wrong for the kind. A call is a function's arguments by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

NAN = math.nan


@dataclass
class Argument:
    """A valid value, what is wrong in its place, and what else is right."""

    value: Any
    wrong: list[Any]
    right: list[Any] = field(default_factory=list)

    def without_none(self) -> Argument:
        """The same, where None is right."""
        return Argument(self.value, [w for w in self.wrong if w is not None], [*self.right, None])


@dataclass
class Call:
    """How a public name is called; `speaks` are other names that its messages may begin with."""

    arguments: dict[str, Argument]
    run: Callable[..., Any] | None = None
    speaks: tuple[str, ...] = ()


def tensor(x: Tensor, *wrong: Any, alone: bool = False) -> Argument:
    """A floating-point tensor; not on another device than the call's others, if there are others."""
    return Argument(
        x, [None, "x", 3, x.long(), x > 0, x.to(torch.complex64), *([] if alone else [x.to("meta")]), *wrong]
    )


def image(x: Any, *wrong: Any) -> Argument:
    """An image of numbers."""
    return Argument(x, [None, "x", 3, [1.0], x.to(torch.complex64), x.to("meta"), x[..., :-1], *wrong])


def labels(x: Tensor, *wrong: Any) -> Argument:
    return Argument(x, [None, "x", 3, x + 0.5, x.to(torch.complex64), x.to("meta"), *wrong], [x.int()])


def whole(value: int, *wrong: Any) -> Argument:
    return Argument(
        value, [None, "2", 1.5, NAN, True, torch.ones(2), [1, 2], *wrong], [np.int64(value), np.uint8(value)]
    )


def count(value: int, *wrong: Any) -> Argument:
    """A positive whole number."""
    return whole(value, 0, -1, *wrong)


def number(value: float, *wrong: Any) -> Argument:
    return Argument(
        value, [None, "0.5", NAN, True, 1j, torch.ones(2), [0.5], *wrong], [np.float64(value), np.float32(value)]
    )


def word(value: str) -> Argument:
    return Argument(value, ["no such word", "", 7, NAN, [value], torch.ones(2), np.ones(2)])


def flag(value: bool) -> Argument:
    return Argument(value, [None, "yes", 2, NAN, torch.ones(2)], [np.bool_(value)])


def numbers(value: Any, *wrong: Any) -> Argument:
    return Argument(value, [None, "0.5", 1j, ["a"], [None], {}, *wrong], [np.array(value), torch.tensor(value)])


def sizes(value: Any, least: int) -> Argument:
    wrong = [None, "2", 1.5, True, NAN, least - 1, (1,) * 4, (), torch.ones(2), (1.5, 2), ("1", 2), 2**40]
    return Argument(value, wrong, [np.int64(value), torch.Size([value] * 2), [value, np.int32(value)]])


def path(value: Any) -> Argument:
    return Argument(value, [None, 5, NAN, ["a"], torch.ones(2)], [str(value)])


def anything(value: Any, *wrong: Any) -> Argument:
    return Argument(value, list(wrong))


torch.manual_seed(0)
