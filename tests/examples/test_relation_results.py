"""The example about relations: scores of runs by loss, over seeds."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

pytest.importorskip("tokenizers")
pytest.importorskip("matplotlib")

from relation_samples import DOCUMENTS, document_file, tiny_model

from pydlx.data import Fact
from pydlx.metrics import relation_score
from pydlx.models import save_model

SCRIPT = str(Path(__file__).parents[2] / "examples" / "relation_results.py")


def test_runs_that_differ_in_seed_share_a_row(tmp_path, monkeypatch, capsys):
    data = document_file(tmp_path / "documents.json")
    runs = [tmp_path / name for name in ("focal-0", "focal-1", "other-0")]
    for seed, run in enumerate(runs):
        (run / "csv" / "version_0").mkdir(parents=True)
        (run / "csv" / "version_0" / "metrics.csv").write_text("epoch,step,val/f1\n0,1,0.5\n")
        save_model(tiny_model(seed=seed), run / "best.ckpt")
    words = [SCRIPT, data, *runs, "--train", data, "--limit", "4", "--out", tmp_path / "out"]
    monkeypatch.setattr(sys, "argv", list(map(str, words)))
    runpy.run_path(SCRIPT, run_name="__main__")
    rows = (tmp_path / "out" / "scores.md").read_text().splitlines()
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]
    assert [cell[:2] for cell in cells] == [["focal", "2"], ["other", "1"]]
    assert "±" in cells[0][2] and "±" not in cells[1][2]
    scores = relation_score(DOCUMENTS[:4], str(tmp_path / "out" / "facts" / "other-0.json"))
    assert float(cells[1][2]) == pytest.approx(100 * scores["f1"], abs=0.051)
    assert (tmp_path / "out" / "curves.png").stat().st_size > 0
    assert "focal-1  F1 " in capsys.readouterr().out


def test_facts_count_apart_where_no_sentence_names_both():
    example = runpy.run_path(SCRIPT)
    facts = {"Anna 0": [Fact(0, 1, "born in")], "Anna 1": [Fact(1, 2, "born in")]}
    scores = example["scores_of"](DOCUMENTS[:2], facts, DOCUMENTS)
    assert (scores["together"], scores["apart"], scores["right"], scores["predicted"]) == (1 / 6, 0, 1, 2)
    assert example["spread"]([1.0]) == "1.0"
    assert example["spread"]([1.0, 3.0]) == "2.0 ± 1.4"
