"""Importing the package: parts that are imported on first use, and a library that does not load."""

from __future__ import annotations

import importlib

import pytest

import pydlx
from pydlx import _native


@pytest.mark.parametrize("part", ["blending", "data", "metrics", "visualize"])
def test_parts_are_imported_when_used(part, monkeypatch):
    module = importlib.import_module(f"pydlx.{part}")
    monkeypatch.delattr(pydlx, part)  # as before the first use
    assert getattr(pydlx, part) is module


def test_unknown_names_are_no_attributes():
    with pytest.raises(AttributeError, match=r"^module 'pydlx' has no attribute 'nothing'$"):
        _ = pydlx.nothing
    assert not hasattr(pydlx, "cli.main")


def test_a_library_that_does_not_load_is_no_crash(tmp_path):
    """The reason is returned, and given in the warning that the references are used."""
    assert isinstance(_native._load(tmp_path / "missing.so"), FileNotFoundError)
    (tmp_path / "broken.so").write_text("no library")
    error = _native._load(tmp_path / "broken.so")
    assert isinstance(error, OSError) and "broken.so" in str(error)
