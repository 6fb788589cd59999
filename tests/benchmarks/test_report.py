"""Tables, JSON and pictures of outcomes with known numbers."""

import json

import pytest

from pydlx.benchmarks import plot, report
from pydlx.benchmarks.case import Case, Quantity, at_least, at_most
from pydlx.benchmarks.harness import Finding, Race, Timing
from pydlx.figures import check_figure_path
from pydlx.files import check_writable, replacing

MACHINE = {"cpu": "Model T", "threads": 2}


def make_race(label="small", native=(0.002, 0.003), peer=(0.010, 0.030), copy=(0.001, 0.001), missing=(), targets=()):
    laps = {"native": native, "peer": peer, "copy": copy}
    timings = {name: Timing(dict(enumerate(seconds))) for name, seconds in laps.items() if name not in missing}
    return Race(Case(label, dict, tuple(targets)), timings, missing)


ASKED = (at_least(4, "peer"), at_most(1.5, "copy"))


def printed(capsys, *outcomes):
    """The lines of one op's table."""
    report.print_outcomes("op", outcomes)
    return capsys.readouterr().out.splitlines()


def test_table_shows_ratios_beside_what_is_asked(capsys):
    head, row = printed(capsys, make_race(targets=ASKED))
    assert head.split() == ["op", "native", "ms", "(median)", "×", "peer", "copies"]
    assert row.split() == ["small", "2", "(2.5)", "5", "(≥", "4)", "2", "(≤", "1.5)", "MISSED"]


def test_table_names_missing_peers(capsys):
    _, row, note = printed(capsys, make_race(missing=("peer",), targets=ASKED[:1]))
    assert row.split() == ["small", "2", "(2.5)", "-", "2", "not", "measured"]
    assert note == "  not installed, left out: peer"


def test_table_of_a_quantity(capsys):
    quantity = Quantity("error", "grey levels", 0.01, lambda: 0.0)
    lines = printed(capsys, Finding(quantity, 0.02))
    assert lines == ["op", "  error: 0.02 grey levels (≤ 0.01 grey levels)  MISSED"]


def test_summary_counts_and_names_what_was_missed():
    outcomes = [("op", make_race(targets=ASKED)), ("op", make_race("other", missing=("peer",), targets=ASKED[:1]))]
    assert report.format_summary(outcomes).splitlines() == [
        "targets met: 1 of 3",
        "  MISSED: op small: ≤ 1.5 × copy",
        "  not measured: op other: ≥ 4 × as fast as peer",
    ]


def test_json_holds_times_and_ratios(tmp_path):
    path = tmp_path / "bench.json"
    report.write_json(path, MACHINE, [("op", make_race(targets=ASKED))])
    document = json.loads(path.read_text())
    assert document["machine"] == MACHINE
    (result,) = document["results"]
    assert result["seconds"]["native"] == {"min": 0.002, "median": 0.0025, "rounds": 2}
    assert result["times_native"]["peer"] == {"of_minima": pytest.approx(5), "median_of_rounds": pytest.approx(7.5)}
    assert [target["met"] for target in result["targets"]] == [True, False]


def test_files_appear_whole_or_not_at_all(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("before")

    def fail_halfway():
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError, match="interrupted"):
        fail_halfway()
    assert path.read_text() == "before"
    with replacing(path) as temporary:
        temporary.write_text("after")
    assert path.read_text() == "after"
    assert list(tmp_path.iterdir()) == [path]


def test_unwritable_paths_are_refused_in_one_sentence(tmp_path):
    with pytest.raises(OSError, match=r"cannot write '.*missing/a.json': No such file or directory"):
        check_writable(tmp_path / "missing" / "a.json")
    with pytest.raises(OSError, match="it exists and is not a regular file"):
        check_writable(tmp_path)
    check_writable(tmp_path / "fine.json")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("suffix", "signature"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_plot_is_drawn(tmp_path, suffix, signature):
    pytest.importorskip("matplotlib")
    path = tmp_path / f"bench{suffix}"
    check_figure_path(path)
    plot.write_plot(path, "Model T", [("op", make_race(targets=ASKED)), ("op2", make_race(missing=("peer",)))])
    assert path.read_bytes().startswith(signature)
    assert list(tmp_path.iterdir()) == [path]


def test_plot_refuses_what_it_cannot_draw(tmp_path):
    pytest.importorskip("matplotlib")
    with pytest.raises(ValueError, match=r"the suffix must be one of .*png.*, got 'bench.json'"):
        check_figure_path(tmp_path / "bench.json")
    quantity = Finding(Quantity("error", "", 1, float), 0.0)
    with pytest.raises(ValueError, match="nothing to draw"):
        plot.write_plot(tmp_path / "bench.png", "", [("op", quantity)])
