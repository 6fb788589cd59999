"""``pydlx bench`` on a catalogue of one tiny case."""

import json

import pytest
import torch

import pydlx
from pydlx.benchmarks.case import Case, Quantity, at_least, copying
from pydlx.benchmarks.catalogue import CATALOGUE
from pydlx.cli import main


@pytest.fixture
def tiny(monkeypatch):
    """A catalogue with one race and one quantity."""
    if not pydlx.build_info()["native"]:
        pytest.skip("needs compiled kernels")

    def build():
        x = torch.ones(1, 1, 4, 4)
        return {
            "native": lambda: pydlx.ops.soft_pool2d(x, 2),
            "reference": lambda: x.exp(),
            "nothing.there": None,
            "copy": copying(x),
        }

    def cases(setting):
        yield Case("tiny", build, (at_least(1e-6, "copy"),))
        yield Quantity("answer", "", 42, lambda: 41.0)

    monkeypatch.setattr("pydlx.benchmarks.catalogue.CATALOGUE", {"tiny": cases, "hopeless": hopeless})


def hopeless(setting):
    """An op that misses its target."""
    yield Quantity("answer", "", 42, lambda: 43.0)


def test_list_names_ops_and_cases(capsys):
    assert main(["bench", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == list(CATALOGUE)
    assert "  k2 s2 16×64×112×112 forward" in lines


def test_unknown_op_lists_the_ops(capsys):
    assert main(["bench", "paint"]) == 2
    error = capsys.readouterr().err
    assert error == f"pydlx bench: OP must be one of {', '.join(CATALOGUE)}, got 'paint'\n"


def test_quick_run_shows_and_writes(tiny, capsys, tmp_path):
    json_path, plot_path = tmp_path / "bench.json", tmp_path / "bench.png"
    pytest.importorskip("matplotlib")
    assert main(["bench", "tiny", "--quick", "--json", str(json_path), "--plot", str(plot_path), "--check"]) == 0
    captured = capsys.readouterr()
    assert "targets met: 2 of 2" in captured.out
    assert "not installed, left out: nothing.there" in captured.out
    assert captured.err == "", "no progress where stderr is no terminal"
    document = json.loads(json_path.read_text())
    assert document["machine"]["threads"] == 2
    assert document["machine"]["build_info"] == pydlx.build_info()
    assert [result["op"] for result in document["results"]] == ["tiny", "tiny"]
    assert plot_path.stat().st_size > 1000


def test_an_earlier_run_is_drawn(tiny, capsys, monkeypatch, tmp_path):
    pytest.importorskip("matplotlib")
    source, short, everything = (tmp_path / name for name in ("bench.json", "short.png", "all.svg"))
    assert main(["bench", "tiny", "--quick", "--json", str(source)]) == 0
    monkeypatch.setattr("pydlx.benchmarks.harness.measure", lambda *_: pytest.fail("measured"))
    capsys.readouterr()
    assert main(["bench", "--from", str(source), "--plot", str(short), "--plot-all", str(everything)]) == 0
    assert capsys.readouterr().out == f"drawn to {short}\ndrawn to {everything}\n"
    assert short.stat().st_size > 1000 and everything.stat().st_size > 1000
    assert main(["bench", "--from", str(source)]) == 2
    assert "--from needs --plot FILE or --plot-all FILE" in capsys.readouterr().err
    assert main(["bench", "--from", str(short), "--plot", str(short)]) == 2
    assert "must be a file that `pydlx bench --json` wrote" in capsys.readouterr().err
    assert main(["bench", "--from", str(tmp_path / "none.json"), "--plot", str(short)]) == 2


def test_check_fails_on_a_missed_target(tiny, capsys):
    assert main(["bench", "hopeless"]) == 0
    assert main(["bench", "hopeless", "--check"]) == 1
    assert "MISSED: hopeless answer: ≤ 42" in capsys.readouterr().out


@pytest.mark.parametrize("option", ["--json", "--plot", "--plot-all"])
def test_bad_paths_are_refused_before_anything_is_measured(tiny, monkeypatch, capsys, tmp_path, option):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr("pydlx.benchmarks.harness.measure", lambda *_: pytest.fail("measured"))
    path = tmp_path / "missing" / ("bench.json" if option == "--json" else "bench.png")
    assert main(["bench", "tiny", option, str(path)]) == 2
    assert capsys.readouterr().err == f"pydlx bench: {option}: cannot write '{path}': No such file or directory\n"


def test_cuda_is_refused_where_there_is_none(tiny, capsys):
    if torch.cuda.is_available():
        pytest.skip("has a CUDA device")
    assert main(["bench", "tiny", "--device", "cuda"]) == 2
    message = "--device must be one that torch finds, got 'cuda' of 0 GPUs"
    assert capsys.readouterr().err == f"pydlx bench: {message}\n"


def test_cuda_is_refused_without_its_kernels(tiny, monkeypatch, capsys):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("pydlx.build_info", lambda: {"native": True, "cuda": False})
    assert main(["bench", "tiny", "--device", "cuda"]) == 2
    message = "--device cuda: no CUDA kernels are compiled in, `pydlx info` says what is"
    assert capsys.readouterr().err == f"pydlx bench: {message}\n"


def test_a_terminal_sees_what_is_measured(tiny, monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert main(["bench", "tiny", "--quick"]) == 0
    shown = capsys.readouterr().err
    assert "tiny 1/2: tiny ..." in shown
    assert "tiny 2/2: answer ..." in shown


def test_without_kernels_there_is_nothing_to_measure(tiny, monkeypatch, capsys):
    monkeypatch.setattr("pydlx.build_info", lambda: {"native": False, "cuda": False})
    assert main(["bench", "tiny"]) == 2
    assert "no compiled kernels" in capsys.readouterr().err
