"""``pydlx bench readers`` on a few questions, for fractions of a second."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("lightning")
pytest.importorskip("tokenizers")
pytest.importorskip("matplotlib")

from reader_samples import squad_file

from pydlx.benchmarks.harness import Effort
from pydlx.benchmarks.readers import leaderboard, single, speed
from pydlx.cli import main

SECONDS = 0.12


@pytest.fixture
def data(tmp_path):
    return squad_file(tmp_path / "questions.json")


@pytest.fixture(autouse=True)
def a_glance(monkeypatch):
    monkeypatch.setattr(speed, "_EFFORT", Effort(seconds=0.01, least=2, most=3))


@pytest.fixture
def trained(monkeypatch):
    """The runs that are started, which are done by this process and not by others."""
    seen = []

    class Done:
        def __init__(self, command, stdout, **_):
            folder, *words = command[3:]
            seen.append(Path(folder).stem)
            try:
                self.returncode = single.main([folder, *words])
            except RuntimeError as error:
                stdout.write(str(error).encode())
                self.returncode = 1

        def poll(self):
            return self.returncode

    monkeypatch.setattr(leaderboard.subprocess, "Popen", Done)
    return seen


def bench(data, out, *words, minutes=SECONDS / 60, readers="match_lstm,bidaf", seeds=2):
    fixed = [f"--minutes={minutes}", f"--readers={readers}", f"--seeds={seeds}", f"--out={out}"]
    small = ["hidden=8", "word_dim=8", "characters=false", "batch_size=4"]
    return main(["bench", "readers", *fixed, "--data", "anna", f"data={data}", f"val={data}", *words, "--", *small])


def read(out):
    return json.loads((out / "leaderboard.json").read_text())


def test_every_reader_gets_the_same_time_and_a_row(data, tmp_path, trained, capsys):
    out = tmp_path / "board"
    assert bench(data, out) == 0
    assert trained == ["anna.match_lstm.0", "anna.bidaf.0", "anna.match_lstm.1", "anna.bidaf.1"]
    said = capsys.readouterr().out
    assert "4 runs; 4 to do, 0.002 min of processor time each\n" in said
    assert "[3/4] anna match_lstm seed 1: exact match" in said
    table = (out / "leaderboard.md").read_text()
    assert table in said and said.endswith(f"written to {out}\n")
    assert table.count("| `match_lstm` |") == table.count("| `bidaf` |") == 1 and " ± " in table
    assert (out / "leaderboard.png").read_bytes().startswith(b"\x89PNG")
    runs, answering = read(out)["runs"], read(out)["answering"]["anna"]
    assert set(answering["speeds"]) == {"match_lstm", "bidaf", "texts"}
    for run in runs:
        assert SECONDS <= run["seconds"] < 2 * SECONDS  # the last step ends after the budget does
        assert run["epochs"] == run["steps"] / 2
        assert run["questions"] == 8 and run["parameters"] > 1000 and run["memory"] > 100
        assert 0 <= run["exact_match"] <= run["f1"] <= 100


def test_what_is_there_is_not_done_again(data, tmp_path, trained, capsys):
    out = tmp_path / "board"
    assert bench(data, out, readers="match_lstm", seeds=1) == 0
    timed = read(out)["answering"]
    del trained[:]
    assert bench(data, out, readers="match_lstm", seeds=1) == 0
    assert (trained, read(out)["answering"]) == ([], timed)
    assert "1 runs, 1 of which are there; 0 to do" in capsys.readouterr().out

    # A reader more is timed beside those that are there.
    assert bench(data, out, readers="match_lstm,bidaf", seeds=1) == 0
    assert trained == ["anna.bidaf.0"]
    assert set(read(out)["answering"]["anna"]["runs"]) == {"match_lstm", "bidaf"}

    # Another budget: another run.
    del trained[:]
    assert bench(data, out, readers="match_lstm", seeds=1, minutes=0.001) == 0
    assert trained == ["anna.match_lstm.0"]


def test_a_run_that_was_stopped_after_its_training_is_only_asked(data, tmp_path, trained):
    out = tmp_path / "board"
    assert bench(data, out, readers="match_lstm", seeds=1) == 0
    (before,) = read(out)["runs"]
    next((out / "runs").glob("*/result.json")).unlink()
    assert bench(data, out, readers="match_lstm", seeds=1) == 0
    assert trained == 2 * ["anna.match_lstm.0"]
    assert read(out)["runs"] == [before]


def test_a_run_that_fails_stops_no_other(data, tmp_path, trained, monkeypatch, capsys):
    out, run = tmp_path / "board", single.run

    def fail(folder, data, reader, *rest):
        if reader == "bidaf":
            raise RuntimeError("first line\nout of memory\n")
        return run(folder, data, reader, *rest)

    monkeypatch.setattr(single, "run", fail)
    assert bench(data, out, seeds=1, readers="bidaf,match_lstm") == 1
    assert "[1/2] anna bidaf seed 0: failed: out of memory; " in capsys.readouterr().out
    assert [result["reader"] for result in read(out)["runs"]] == ["match_lstm"]
    monkeypatch.setattr(single, "run", run)
    assert bench(data, out, seeds=1, readers="bidaf,match_lstm") == 0
    assert trained == ["anna.bidaf.0", "anna.match_lstm.0", "anna.bidaf.0"]


def test_settings_are_of_readers_and_data_sets(data, tmp_path, trained):
    settings = {"data": {"anna": {"word_dim": 6}}, "readers": {"match_lstm": {"hidden": 4}}}
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    assert bench(data, tmp_path, f"--settings={tmp_path}/settings.json", seeds=1, minutes=0.001) == 0
    words = {run["reader"]: set(run["words"]) for run in read(tmp_path)["runs"]}
    assert {"hidden=4", "word_dim=6"} <= words["match_lstm"]
    assert {"hidden=8", "word_dim=6"} <= words["bidaf"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--readers", "bidaff"], "--readers must be of bidaf, "),
        (["lr"], "options must be KEY=VALUE, got 'lr'"),
        (["--data", "anna", "data=x", "val=x"], "--data must have another name each time, got anna, anna"),
        (["--settings", "missing.json"], "--settings: no such file: 'missing.json'"),
        (["--out", "/dev/null/board"], "--out: must be a folder, but '/dev/null' is a file"),
        (["--minutes", "0"], "argument --minutes: must be a positive number, got '0'"),
        (["--minutes", "soon"], "argument --minutes: must be a positive number, got 'soon'"),
        (["--seeds", "0"], "argument --seeds: must be a positive whole number, got '0'"),
    ],
)
def test_bad_input_is_refused_before_anything_is_trained(data, tmp_path, trained, capsys, words, message):
    fixed = ["--out", str(tmp_path / "board"), "--data", "anna", f"data={data}", f"val={data}"]
    assert main(["bench", "readers", *fixed, *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"pydlx bench readers: {message}") and error.count("\n") == 1
    assert trained == []


def test_bad_input_of_one_run_is_said(data, tmp_path, trained, capsys):
    assert bench(data, tmp_path / "board", "further=wings=2", seeds=1, readers="bidaf") == 1
    error = capsys.readouterr()
    assert error.err.startswith("create_model: bidaf has no option 'wings', it takes ") and error.err.count("\n") == 1
    assert "[1/1] anna bidaf seed 0: failed: " in error.out


def test_who_ends_it_ends_the_trainings(data, tmp_path, monkeypatch, capsys):
    started, popen = [], subprocess.Popen

    def start(*_, **__):
        then = "kill -TERM $PPID; " if started else ""
        started.append(popen(["sh", "-c", f"sleep 0.1; {then}exec sleep 60"]))
        return started[-1]

    monkeypatch.setattr(leaderboard.subprocess, "Popen", start)
    before = signal.getsignal(signal.SIGTERM)
    assert bench(data, tmp_path, "--jobs=2") == 130
    assert [process.poll() for process in started] == [-15, -15]
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_run_is_a_process_of_its_own(data, tmp_path):
    out = tmp_path / "board"
    assert bench(data, out, seeds=1, readers="match_lstm") == 0
    (log,) = out.glob("runs/*/log.txt")
    assert "train: 8 examples of 8 questions" in log.read_text()
    assert len(read(out)["runs"]) == 1
