"""The split of tables by file takes every tenth for validation and the next for testing."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "examples" / "split_litbank.py"


def test_files_are_split(tmp_path, monkeypatch, capsys):
    (tmp_path / "books").mkdir()
    for number in range(12):
        (tmp_path / "books" / f"{number:02}.tsv").write_text("Anna\tB-PER\n")
    monkeypatch.setattr(sys, "argv", ["split", str(tmp_path / "books"), "--out", str(tmp_path / "split")])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    found = {
        part: [path.stem for path in sorted((tmp_path / "split" / part).iterdir())] for part in ("train", "val", "test")
    }
    assert found == {"train": [f"{n:02}" for n in range(2, 10)], "val": ["00", "10"], "test": ["01", "11"]}
    assert capsys.readouterr().out.splitlines()[0] == "train: 8 texts, 8 entities"
