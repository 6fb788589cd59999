"""Random choices for a call: sizes, settings, strides and numbers."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from random_calls.call import LAYOUTS, as_expanded

T = TypeVar("T")

FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


class Draw:
    """Everything is drawn from one ``random.Random``: a seeded one, or the one that hypothesis serves and shrinks."""

    def __init__(self, source: random.Random):
        self.source = source
        self.layouts: dict[str, str] = {}

    def whole(self, low: int, high: int) -> int:
        """Of [low, high]."""
        return self.source.randint(low, high)

    def choice(self, options: Sequence[T]) -> T:
        """One of them."""
        return options[self.source.randint(0, len(options) - 1)]

    def chance(self, one_in: int) -> bool:
        """True once in so many."""
        return self.source.randint(1, one_in) == one_in

    def seed(self) -> int:
        """For a torch.Generator."""
        return self.source.randint(0, 2**31 - 1)

    def size(self, usual: int, *limits: int, least: int = 1) -> int:
        """A size up to `usual`; once in five one of `limits`, at which kernels go another way, or next to one."""
        if limits and self.chance(5):
            return max(least, self.choice(limits) + self.whole(-1, 1))
        return self.whole(least, usual)

    def sizes(self, most: int, *usual: tuple[int, ...]) -> list[int]:
        """A size for each of `usual`, the arguments of `size`, whose product is at most `most`."""
        order = list(range(len(usual)))
        found = [1] * len(usual)
        for axis in sorted(order, key=lambda _: self.source.randint(0, 99)):
            found[axis] = min(self.size(*usual[axis]), max(1, most))
            most //= found[axis]
        return found

    def numbers(
        self,
        name: str,
        shape: Sequence[int],
        dtype: torch.dtype,
        layouts: Sequence[str] = tuple(LAYOUTS),
        special: Sequence[float] = (),
    ) -> Tensor:
        """Normal numbers, of a scale; once in four multiples of a half, many of which are equal.

        Once in six a few of them are of `special` instead.
        """
        generator = torch.Generator().manual_seed(self.seed())
        x = torch.randn(tuple(shape), generator=generator, dtype=torch.float64)
        x = (2 * x).round() / 2 if self.chance(4) else x * self.choice((1.0, 0.1, 8.0))
        if special and self.chance(6):
            x[self.true(shape, 40)] = self.choice(special)
        return self.laid_out(name, x.to(dtype), layouts)

    def laid_out(self, name: str, x: Tensor, layouts: Sequence[str] = tuple(LAYOUTS)) -> Tensor:
        """x, with its numbers repeated if the layout drawn for it is to expand them."""
        self.layouts[name] = self.choice(layouts)
        return as_expanded(x) if self.layouts[name] == "expanded" else x

    def uniform(self, shape: Sequence[int], low: float = 0.0, high: float = 1.0) -> Tensor:
        """Of [low, high), float64."""
        generator = torch.Generator().manual_seed(self.seed())
        return low + (high - low) * torch.rand(tuple(shape), generator=generator, dtype=torch.float64)

    def labels(self, shape: Sequence[int], low: int, high: int) -> Tensor:
        """Of [low, high), int64."""
        return torch.randint(low, high, tuple(shape), generator=torch.Generator().manual_seed(self.seed()))

    def true(self, shape: Sequence[int], one_in: float) -> Tensor:
        """Bools of which about one in so many is True."""
        return self.uniform(shape) < 1 / one_in

    def offsets(self, groups: int, most: int) -> Tensor:
        """The ends of groups of up to `most` rows each, behind a 0."""
        counts = self.labels((groups,), 0, most + 1)
        return torch.cat([counts.new_zeros(1), counts.cumsum(0)])

    def gradient(self) -> dict[str, Any]:
        """What a call that is differentiated needs as well."""
        return {"seed": self.seed(), "grad_layout": self.choice(("contiguous", "sliced", "expanded", "channels_last"))}
