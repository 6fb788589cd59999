"""Learning curves join all logs of a run; the newest log wins."""

from __future__ import annotations

import pytest

from pydlx.training.curves import draw_learning_curves, learning_curve


@pytest.fixture
def run(tmp_path):
    """Interrupted after the second epoch and resumed from the first; ten other logs do not have the score."""
    for version, rows in {0: ["0,9,0.1,", "1,19,0.2,"], 2: ["0,15,,3.5"], 10: ["1,19,0.3,", "2,29,0.4,"]}.items():
        folder = tmp_path / "csv" / f"version_{version}"
        folder.mkdir(parents=True)
        (folder / "metrics.csv").write_text("\n".join(["epoch,step,val/f1,train/loss", *rows, ""]))
    return tmp_path


def test_a_resumed_run_is_one_curve(run):
    assert learning_curve(run, "val/f1") == ([1, 2, 3], [0.1, 0.3, 0.4])
    assert learning_curve(run, "val/f1", by="step") == ([10, 20, 30], [0.1, 0.3, 0.4])
    assert learning_curve(run, "val/other") == ([], [])


def test_curves_are_drawn(run, tmp_path):
    pytest.importorskip("matplotlib")
    draw_learning_curves([run], "val/f1", tmp_path / "curves.png", label="F1")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
