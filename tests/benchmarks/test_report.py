"""Tables, JSON and pictures of outcomes with known numbers."""

import json

import pytest
import torch

from pydlx.benchmarks import plot, report
from pydlx.benchmarks.case import Case, Quantity, Setting, at_least, at_most
from pydlx.benchmarks.catalogue import CATALOGUE
from pydlx.benchmarks.harness import Finding, Race, Timing
from pydlx.benchmarks.headlines import HEADLINES
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
    assert report.read_json(path) == document
    assert document["machine"] == MACHINE
    (result,) = document["results"]
    assert result["seconds"]["native"] == {"min": 0.002, "median": 0.0025, "rounds": 2}
    assert result["times_native"]["peer"] == {"of_minima": pytest.approx(5), "median_of_rounds": pytest.approx(7.5)}
    assert [target["met"] for target in result["targets"]] == [True, False]
    assert [target["against"] for target in result["targets"]] == ["peer", "copy"]
    assert [target["asked"] for target in result["targets"]] == [pytest.approx(4), pytest.approx(1 / 1.5)]


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


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"machine": {}}'])
def test_other_files_are_no_documents(tmp_path, text):
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"other.json' must be a file that `pydlx bench --json` wrote"):
        report.read_json(path)


def results(*outcomes):
    return report.as_document(MACHINE, outcomes)["results"]


@pytest.mark.parametrize(("suffix", "signature"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_plot_is_drawn(tmp_path, suffix, signature):
    pytest.importorskip("matplotlib")
    path = tmp_path / f"bench{suffix}"
    check_figure_path(path)
    races = results(("op", make_race(targets=ASKED)), ("op2", make_race(missing=("peer",))))
    plot.write_long_plot(path, "Model T", races)
    assert path.read_bytes().startswith(signature)
    assert list(tmp_path.iterdir()) == [path]
    plot.write_short_plot(tmp_path / f"short{suffix}", "Model T", races)  # none of its rows: all of them
    assert (tmp_path / f"short{suffix}").stat().st_size == pytest.approx(path.stat().st_size, rel=0.01)


def test_short_plot_has_the_headlines_that_were_measured(tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "bench.svg"
    times = {"native": Timing({0: 1.0}), "eager": Timing({0: 24.0}), "max_pool": Timing({0: 6.7})}
    race = Race(Case("k2 s2 16×64×112×112 forward+backward", dict), times)
    with pytest.importorskip("matplotlib").rc_context({"svg.fonttype": "none"}):  # text stays text
        plot.write_short_plot(path, "Model T", results(("soft_pool", race), ("op", make_race())))
    text = path.read_text()
    assert "SoftPool2d, with gradient" in text and "24×" in text and "6.7× max_pool" in text
    assert "small" not in text and "Model T" in text


def test_headlines_are_cases_of_the_catalogue():
    setting = Setting(torch.device("cpu"), 2)
    for line in HEADLINES:
        assert line.case in [item.label for item in CATALOGUE[line.op](setting)], line
    assert len(HEADLINES) == 16


def test_plot_refuses_what_it_cannot_draw(tmp_path):
    pytest.importorskip("matplotlib")
    with pytest.raises(ValueError, match=r"the suffix must be one of .*png.*, got 'bench.json'"):
        check_figure_path(tmp_path / "bench.json")
    quantity = Finding(Quantity("error", "", 1, float), 0.0)
    for write in (plot.write_short_plot, plot.write_long_plot):
        with pytest.raises(ValueError, match="nothing to draw"):
            write(tmp_path / "bench.png", "", results(("op", quantity)))
    assert not list(tmp_path.iterdir())
