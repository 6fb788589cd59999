"""Kinds of fusion: how a reader combines passage and question, as the FusionNet paper names them.

Huang, Zhu, Shen and Chen, "FusionNet: fusing via fully-aware attention", arXiv 1711.07341, section 2. Each reader marks
its fusion layers, so that ``fusion_kinds`` can list them.
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


def mark_fusion(part: Part, *kinds: str) -> Part:
    """Mark a layer of a reader with its kinds of fusion, keys of ``FUSIONS``, and return it."""
    assert FUSIONS.keys() >= {*kinds}
    part.fuses = kinds  # type: ignore[assignment]
    return part


def fusion_kinds(model: nn.Module) -> tuple[str, ...]:
    """Return the kinds of fusion of a reader's layers, in the order of ``FUSIONS``."""
    check_type("fusion_kinds", "model", model, nn.Module, "a reader")
    found = {kind for part in model.modules() for kind in getattr(part, "fuses", ())}
    return tuple(kind for kind in FUSIONS if kind in found)
