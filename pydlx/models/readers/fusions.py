"""Kinds of fusion: how a reader brings passage and question together, as FusionNet's paper names them.

Huang, Zhu, Shen and Chen, "FusionNet: fusing via fully-aware attention", arXiv 1711.07341, section 2. Each reader marks
the parts that it fuses by, so that its composition tells.
"""

from __future__ import annotations

from typing import TypeVar

from torch import nn

from pydlx._checks import check_type

FUSIONS = {
    "word": "(1) word level",
    "high": "(2) high level",
    "summary": "(2') high level, question summarised first",
    "self": "(3) self-boosted",
    "coattention": "(3') self-boosted, by coattention",
}

Part = TypeVar("Part", bound=nn.Module)


def fuses(part: Part, *kinds: str) -> Part:
    """A part of a reader, marked with the kinds of fusion that it is for, of those in ``FUSIONS``."""
    assert FUSIONS.keys() >= {*kinds}
    part.fuses = kinds  # type: ignore[assignment]
    return part


def fusion_kinds(model: nn.Module) -> tuple[str, ...]:
    """The kinds of fusion that a reader's parts are for, in the order of ``FUSIONS``."""
    check_type("fusion_kinds", "model", model, nn.Module, "a reader")
    found = {kind for part in model.modules() for kind in getattr(part, "fuses", ())}
    return tuple(kind for kind in FUSIONS if kind in found)
