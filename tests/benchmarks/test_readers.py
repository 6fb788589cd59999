"""The parts of the leaderboard of readers: its plan, its processes, its tables and its picture."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("lightning")
pytest.importorskip("tokenizers")

from reader_samples import squad_file

from pydlx.benchmarks.readers import board, parallel, picture, plan
from pydlx.benchmarks.readers.memory import TrainingMemory
from pydlx.benchmarks.readers.single import Result
from pydlx.benchmarks.readers.speed import TEXTS, Speed
from pydlx.models.readers import BiDAF, Reader

ROOT = Path(__file__).resolve().parents[2]
MACHINE = {"cpu": "Z80", "cores": 1, "threads": 1, "torch": "3", "build_info": {"version": "1", "simd": "none"}}


@pytest.fixture
def files(tmp_path):
    return {part: str(squad_file(tmp_path / f"{part}.json")) for part in ("data", "val")}


def planned(files, settings=None, *, readers=("bidaf",), given=None, seeds=1, minutes=1.0, **of_data):
    data = {"anna": {**files, **of_data}}
    return plan.plan_runs(settings or plan.Settings(), data, readers, given=given or {}, seeds=seeds, minutes=minutes)


def options(run):
    return plan.assigned(run.words)


def test_the_readers_are_those_of_the_registry():
    assert {"bidaf", "match_lstm", "r_net", "qanet", "fusionnet"} <= set(plan.known_readers())
    assert issubclass(BiDAF, Reader)
    assert "fcn8s" not in plan.known_readers()


def test_there_is_a_run_of_each_reader_and_seed_the_first_seed_first(files):
    runs = planned(files, readers=["bidaf", "qanet"], seeds=2, minutes=0.5)
    assert [(run.data, run.reader, run.seed) for run in runs] == [
        ("anna", "bidaf", 0), ("anna", "qanet", 0), ("anna", "bidaf", 1), ("anna", "qanet", 1)
    ]  # fmt: skip
    assert len({run.name for run in runs}) == 4
    assert [(options(run)["model"], options(run)["seed"], options(run)["budget"]) for run in runs[1:3]] == [
        ("qanet", "0", "0.5"), ("bidaf", "1", "0.5")
    ]  # fmt: skip
    assert runs[0].questions == files["val"]


def test_more_specific_options_take_precedence(files):
    settings = plan.Settings(
        all={"hidden": 1, "lr": 0.5, "clip": 1, "no_answer": True},
        data={"anna": {"lr": 0.25, "clip": 2}},
        readers={"bidaf": {"clip": None, "further": ["a=1", "b=2"]}, "qanet": {"hidden": 7}},
    )
    found = options(planned(files, settings, given={"hidden": "3", "lr": "0.1"}, clip="9")[0])
    assert {name: found[name] for name in ("hidden", "lr", "clip", "further", "no_answer")} == {
        "hidden": "3", "lr": "0.25", "clip": "none", "further": "a=1,b=2", "no_answer": "true"
    }  # fmt: skip


def test_data_sets_of_the_settings_are_taken_where_none_is_named(files):
    settings = plan.Settings(data={"one": files, "two": files})
    runs = plan.plan_runs(settings, {}, ["bidaf"], given={}, seeds=1, minutes=1.0)
    assert [run.data for run in runs] == ["one", "two"]
    assert [run.data for run in planned(files, settings)] == ["anna"]


def test_a_run_is_another_one_for_whatever_changes_its_result(files, tmp_path):
    def name(**changes):
        return planned(files, **changes)[0].name

    first = name()
    assert name() == first == name(cache="elsewhere")
    assert len({first, name(minutes=2.0), name(hidden="8"), name(given={"lr": "0.1"}), name(readers=["qanet"])}) == 5
    (tmp_path / "copy.json").write_bytes((tmp_path / "data.json").read_bytes())
    assert name(data=str(tmp_path / "copy.json")) == first
    assert name(data=str(squad_file(tmp_path / "other.json", 7))) != first


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"readers": ["bidaff"]}, "readers must be of bidaf, .*, got 'bidaff'"),
        ({"given": {"seed": "3"}}, "option seed for all runs must be left to the leaderboard, got '3'"),
        ({"given": {"data": "x"}}, "option data for all runs must be left to the leaderboard, got 'x'"),
        ({"epochs": "3"}, "option epochs for anna must be left to the leaderboard, got '3'"),
        ({"given": {"hiden": "3"}}, "option 'hiden' is not one of this recipe; did you mean 'hidden'?"),
        ({"hidden": "many"}, "option hidden cannot be 'many'"),
        ({"val": "missing.json"}, "data set 'anna': no such file: 'missing.json'"),
        ({"settings": plan.Settings(readers={"nobody": {}})}, "readers must be of .*, got 'nobody'"),
    ],
)
def test_bad_plans_are_refused(files, changes, message):
    with pytest.raises((ValueError, OSError), match=message):
        planned(files, changes.pop("settings", None), **changes)


def test_data_sets_must_be_whole_and_have_a_name(files):
    def refused(data):
        with pytest.raises(ValueError) as error:
            plan.plan_runs(plan.Settings(), data, ["bidaf"], given={}, seeds=1, minutes=1.0)
        return str(error.value)

    assert refused({}) == "a data set must be named, by --data NAME KEY=VALUE ... or in the file of --settings"
    assert refused({"a": {"data": files["data"]}}) == "data set 'a' must have data= and val=, got no val="
    assert refused({"a/b": files}) == "a data set's name must be of letters, digits, _ and -, got 'a/b'"


def test_settings_come_from_json(tmp_path):
    path = tmp_path / "settings.json"
    path.write_text(json.dumps({"all": {"hidden": 8}, "readers": {"qanet": {"lr": 1e-3}}}))
    assert plan.read_settings(path) == plan.Settings(all={"hidden": 8}, readers={"qanet": {"lr": 1e-3}})
    for text in ('{"al": {}}', "{", '{"readers": {"qanet": 3}}'):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"--settings: '.*' must hold all, data and readers as in the guide: "):
            plan.read_settings(path)


def test_the_shipped_settings_fit_every_reader(files):
    settings = plan.read_settings(ROOT / "examples/reader_settings.json")
    data = dict.fromkeys(settings.data, files)
    runs = plan.plan_runs(settings, data, plan.known_readers(), given={}, seeds=1, minutes=1.0)
    assert {(run.reader, options(run)["tokeniser"]) for run in runs if run.data == "cmrc2018"} == {
        (reader, "characters") for reader in plan.known_readers()
    }
    assert {options(run)["hidden"] for run in runs} == {"64"}


def sleeper(seconds):
    return subprocess.Popen(["sleep", str(seconds)])


def test_tasks_run_several_at_once_and_none_is_lost():
    at_work, most = set(), []

    def start(task):
        at_work.add(task)
        most.append(len(at_work))
        return subprocess.Popen(["sh", "-c", f"sleep 0.05; exit {task}"])

    done = []
    for task, code in parallel.run_parallel(range(5), start, 2):
        at_work.discard(task)
        done.append((task, code))
    assert sorted(done) == [(task, task) for task in range(5)]
    assert max(most) == 2


def test_a_caller_that_stops_ends_the_processes():
    started = []

    def start(task):
        started.append(sleeper(task))
        return started[-1]

    work = parallel.run_parallel([0, 60, 60, 60], start, 3)
    assert next(work) == (0, 0)
    before = time.monotonic()
    work.close()
    assert time.monotonic() - before < 10
    assert [process.returncode for process in started] == [0, -15, -15]


def result(reader="bidaf", seed=0, f1=50.0, data="anna", **changes):
    values = {
        "exact_match": f1 / 2, "parameters": 1_234_567, "questions": 300, "epochs": 12.5, "steps": 100,
        "seconds": 60.25, "memory": 1024.0, "memory_before": 512.0, "words": ("hidden=8",), **changes,
    }  # fmt: skip
    return Result(data=data, reader=reader, seed=seed, f1=f1, **values)


def timed(**speeds):
    rounds = {name: Speed(speed, 0.9 * speed, 5) for name, speed in {**speeds, TEXTS: 500.0}.items()}
    return board.Timed({reader: f"anna.{reader}.0" for reader in speeds}, rounds)


def test_tables_hold_means_and_standard_deviations():
    results = [result(seed=seed, f1=f1) for seed, f1 in enumerate((40.0, 50.0, 60.0))]
    results += [result("qanet", f1=55.0, seconds=61.5, epochs=0.25, memory=2048.0)]
    text = board.markdown(results, {"anna": timed(bidaf=123.4, qanet=7.891)}, 1.0, MACHINE)
    assert text == (
        "### anna\n\n"
        "The steps of each training may take 1 min of processor time on one thread, and took 60.2 to 61.5 s; "
        "1 to 3 seeds, mean ± standard deviation. Scores are those of the weights that were best in validation, on all "
        "validation questions. Memory is the most that the process held; 0.50 GiB were held before the first step. "
        "Answering is timed on numbers; making them of a text takes 2.0 ms more.\n\n"
        "| reader | exact match | F1 | parameters | epochs | learned per second | answered per second | memory |\n"
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n"
        "| `qanet` | 27.5 | 55.0 | 1.23 M | 0.25 | 1.22 | 7.89 | 2.00 GiB |\n"
        "| `bidaf` | 25.0 ± 5.0 | 50.0 ± 10.0 | 1.23 M | 12.5 | 62.2 | 123 | 1.00 GiB |\n\n"
        "Z80, 1 cores · 1 thread · torch 3 · pydlx 1 (none)\n"
    )


def test_what_was_timed_is_read_again(tmp_path):
    assert board.read_timed(tmp_path) == {}
    known = {"anna": timed(bidaf=100.0)}
    board.write_board(tmp_path, [result()], known, 1.0, MACHINE)
    assert board.read_timed(tmp_path) == known
    (run,) = json.loads((tmp_path / "leaderboard.json").read_text())["runs"]
    assert (run["f1"], run["memory"], run["words"]) == (50.0, 1024.0, ["hidden=8"])
    (tmp_path / "leaderboard.json").write_text("{}")
    assert board.read_timed(tmp_path) == {}


def crowd(seed, spread):
    """Twelve readers, whose points lie close together for a small spread."""
    draw = random.Random(seed)
    names = ("match_lstm", "dcn", "fastqa", "fastqa_ext", "bidaf", "rasor", "drqa", "mpcm", "mnemonic_reader", "r_net")
    rows = []
    for name in (*names, "fusionnet", "qanet"):
        f1, speed = draw.gauss(50, 20 * spread), 10 ** draw.uniform(2 - spread, 2 + spread)
        results = tuple(result(name, seed, f1 + draw.gauss(0, 1)) for seed in range(3))
        rows.append(board.Standing(name, results, Speed(speed, speed, 5)))
    return rows


@pytest.mark.parametrize("spread", [0.2, 0.5, 1.0])
def test_names_in_the_picture_cover_no_other_and_no_point(monkeypatch, tmp_path, spread):
    pytest.importorskip("matplotlib")
    kept = []
    monkeypatch.setattr(picture, "save_figure", lambda figure, path: kept.append(figure))
    rows = crowd(seed=3, spread=spread)
    picture.write_picture(tmp_path / "board.png", {"anna": rows}, 3.0, "Z80")
    (axes,) = kept[0].axes
    names = [text for text in axes.texts if text.get_text()]
    assert {text.get_text() for text in names} == {row.reader for row in rows}
    boxes = [text.get_window_extent() for text in names]
    points = axes.transData.transform([(row.speed.best, row.f1) for row in rows])
    assert not [(one, other) for place, one in enumerate(boxes) for other in boxes[:place] if one.overlaps(other)]
    assert not [(box, point) for box in boxes for point in points if box.contains(*point)]
    assert all(
        axes.bbox.containsx(end[0]) and axes.bbox.containsy(end[1]) for box in boxes for end in (box.min, box.max)
    )


def test_the_best_and_the_fastest_stand_out():
    rows = [
        board.Standing(name, (result(name, f1=f1),), Speed(speed, speed, 5))
        for name, f1, speed in (("a", 60, 10.0), ("b", 50, 100.0), ("c", 50, 20.0), ("d", 40, 90.0))
    ]
    assert [row.reader for row in rows if picture.unbeaten(row, rows)] == ["a", "b", "c"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere a peak is not forgotten")
def test_memory_is_that_of_the_training_alone():
    spent = bytearray(b"1") * 2**28  # before it
    memory = TrainingMemory()
    del spent
    memory.on_train_start()
    kept = bytearray(b"1") * 2**27
    del kept
    memory.measure()
    assert 120 < memory.most - memory.before < 200
    resumed = TrainingMemory()
    resumed.load_state_dict(memory.state_dict())
    resumed.on_train_start()
    resumed.measure()
    assert (resumed.before, resumed.most) == (memory.before, memory.most)
