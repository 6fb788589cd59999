"""Tables, progress, pipes and completion of the command line, whatever the command."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys

import pytest

from pydlx.cli import main
from pydlx.cli.options import listed
from pydlx.cli.outputs import give_json
from pydlx.models.exporting import FORMATS
from pydlx.tables import format_table, print_table, print_text

ROWS = [("小军在台湾", 0.5, "a [bold]word[/] in the table " * 8), ("b", 22, "short")]
HEADING = ("name", "AP", "text")


def test_a_pipe_has_plain_lines_that_are_not_wrapped(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "30")
    print_table(ROWS, HEADING, left=(0, 2))
    first, second, third = capsys.readouterr().out.splitlines()
    assert first == "name         AP  text"
    assert second == f"小军在台湾  0.5  {ROWS[0][2].rstrip()}"
    assert third == "b            22  short"
    assert format_table(ROWS, HEADING, left=(0, 2)).splitlines() == [first, second, third]
    print_text("long " * 30, indent=2)
    assert capsys.readouterr().out == "  " + "long " * 30 + "\n"


@pytest.mark.parametrize("no_colour", [False, True])
def test_a_terminal_is_filled_and_not_more(capsys, monkeypatch, no_colour):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    for name, value in (("COLUMNS", "30"), ("TERM", "xterm-256color")):
        monkeypatch.setenv(name, value)
    if no_colour:
        monkeypatch.setenv("NO_COLOR", "1")
    print_table(ROWS, HEADING, left=(0, 2))
    print_text("long " * 30, indent=2)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 10
    assert not any("\033[3" in line for line in lines), "no colours, only weight"
    assert all(len(line.replace("\033[1m", "").replace("\033[0m", "")) <= 30 for line in lines)


def test_a_terminal_without_rich_has_plain_text(capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setitem(sys.modules, "rich", None)
    print_table(ROWS, HEADING, left=(0, 2))
    assert capsys.readouterr().out == format_table(ROWS, HEADING, left=(0, 2)) + "\n"


def test_json_has_numbers_or_null(capsys, tmp_path):
    content = {"a": float("nan"), "b": [float("inf"), -float("inf"), 1.5], 3: None}
    assert give_json("-", content)
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [None, None, 1.5], "3": None}
    place = tmp_path / "x.json"
    assert not give_json(str(place), content)
    assert json.loads(place.read_text())["b"] == [None, None, 1.5]
    assert not give_json(None, content)
    assert capsys.readouterr().out == ""


def test_json_beside_a_table(capsys, tmp_path):
    assert main(["info", "--json", str(tmp_path / "info.json")]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("version")
    assert json.loads((tmp_path / "info.json").read_text())["version"] in shown
    assert main(["models", "--json", "fcn*"]) == 2
    assert "must be the name of a .json file to write or -, got 'fcn*'" in capsys.readouterr().err


def test_standard_input_is_a_file_too(capsys, tmp_path, monkeypatch):
    truth = {"data": [{"paragraphs": [{"context": "", "qas": [{"id": "a", "answers": [{"text": "x"}]}]}]}]}
    (tmp_path / "truth.json").write_text(json.dumps(truth | {"version": "1.1"}))
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"a": "x"}'))
    assert main(["eval", "squad", str(tmp_path / "truth.json"), "-", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["results"]["f1"] == 100
    monkeypatch.setattr(sys, "stdin", io.StringIO("[1"))
    assert main(["eval", "squad", str(tmp_path / "truth.json"), "-"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("pydlx eval squad: PREDICTIONS: ") and "standard input" in error and error.count("\n") == 1
    assert main(["eval", "squad", "-", "-"]) == 2
    assert "only one of the files can be standard input" in capsys.readouterr().err


def test_quiet_leaves_out_what_was_written_where(capsys, tmp_path):
    pytest.importorskip("matplotlib")
    words = ["models", "--fusions", "bidaf", "--plot", str(tmp_path / "a.svg")]
    assert main(words) == 0
    table, _, said = capsys.readouterr().out.rpartition("drawn to ")
    assert said == f"{tmp_path / 'a.svg'}\n"
    assert main([*words, "--quiet"]) == 0
    assert capsys.readouterr().out == table


def test_progress_is_seen_in_a_terminal_alone():
    """And an error in the middle of it has a line of its own."""
    code = """
from pydlx.cli.progress import counting, doing, wipe
with doing("loading [it]", moving=False): pass
for number in counting(range(3), "counting"):
    if number == 1: break
wipe()
print("behind")
"""
    reading, writing = pty.openpty()
    run = subprocess.run([sys.executable, "-c", code], stderr=writing, stdout=subprocess.PIPE, text=True, check=True)
    os.close(writing)
    shown = os.read(reading, 100_000).decode()
    assert "loading [it] ..." in shown and "counting" in shown and "/3" in shown
    assert shown.endswith("\033[2K"), "the last line is wiped"
    assert run.stdout == "behind\n"


def test_the_formats_of_export_are_those_of_the_library(capsys):
    assert main(["export", "--help"]) == 0
    assert f"{{{','.join(FORMATS)}}}" in capsys.readouterr().out
    assert listed(("a", "b", "c")) == "a, b or c"


def test_completion_gives_a_script_for_each_shell(capsys):
    pytest.importorskip("argcomplete")
    for shell, part in (("bash", "complete "), ("zsh", "compdef"), ("fish", "complete --command pydlx")):
        assert main(["completion", shell]) == 0
        assert part in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("pydlx eva", {"eval"}),
        ("pydlx eval squad --vers", {"--version"}),
        ("pydlx eval squad --version ", {"1.1", "2.0"}),
        ("pydlx bench readers --min", {"--minutes"}),
        ("pydlx train corner", {"cornernet"}),
        ("pydlx sample --checkpoint sam", {"sample.ckpt"}),
    ],
)
def test_what_is_typed_is_completed(tmp_path, line, expected):
    pytest.importorskip("argcomplete")
    (tmp_path / "sample.ckpt").touch()
    (tmp_path / "answer").touch()
    asked = {"COMP_LINE": line, "COMP_POINT": str(len(line)), "_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": "\n"}
    words = [sys.executable, "-c", "import sys; from pydlx.cli import main; sys.exit(main())"]
    environment = os.environ | asked | {"_ARGCOMPLETE_STDOUT_FILENAME": str(tmp_path / "answer")}
    subprocess.run(
        words, cwd=tmp_path, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    assert {word.strip() for word in (tmp_path / "answer").read_text().split()} == expected
