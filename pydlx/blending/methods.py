"""The table of blending methods: what each is called, what computes it, which options it takes."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch

from pydlx._checks import check_one_of
from pydlx.blending import gaussian_poisson, gp_gan, poisson
from pydlx.blending.scene import Scene
from pydlx.blending.solution import Solution

Method = Callable[..., Solution]


def copy_paste(scene: Scene, measure: bool) -> Solution:
    """m·S + (1 − m)·T: no blending, the baseline and the colours the others start from."""
    window = scene.window(scene.mask_box)
    weight = window.weight
    mixture = torch.lerp(window.target_where((weight > 0) & (weight < 1)), window.source, weight)
    return Solution(torch.where(weight == 1, window.source, mixture), window.box, inside=weight > 0)


_METHODS: Mapping[str, Method] = {
    "copy-paste": copy_paste,
    "poisson": poisson.poisson,
    "mixed": poisson.mixed,
    "average": poisson.average,
    "monochrome": poisson.monochrome,
    "modified-poisson": gaussian_poisson.modified_poisson,
    "gaussian-poisson": gaussian_poisson.gaussian_poisson,
    "gp-gan": gp_gan.gp_gan,
}

METHODS = tuple(_METHODS)


def find_method(name: str) -> Method:
    """The function behind a method's name."""
    check_one_of("blend", "method", name, METHODS)
    return _METHODS[name]


@functools.cache
def _options_of(name: str) -> tuple[str, ...]:
    parameters = inspect.signature(find_method(name)).parameters.values()
    return tuple(parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY)


def method_options(name: str) -> tuple[str, ...]:
    """Names of the options that a method takes on top of those of `blend`."""
    check_one_of("method_options", "name", name, METHODS)
    return _options_of(name)


def check_options(name: str, options: Mapping[str, Any]) -> None:
    """Refuses options that the method does not take, and names those it does."""
    known = method_options(name)
    for option in options:
        if option not in known:
            takes = f"its options are {', '.join(known)}" if known else "it has no options of its own"
            raise TypeError(f"blend: method {name!r} takes no option {option!r}; {takes}")
