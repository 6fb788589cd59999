"""The frame: help, exit codes, one line on bad input."""

import subprocess
import sys
import types

import pytest

import pydlx.cli
from pydlx.cli import COMMANDS, main
from pydlx.cli.eval import KINDS


def test_help_lists_the_commands(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(command in text for command in COMMANDS)
    assert main([]) == 0
    assert capsys.readouterr().out == text


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(capsys, command):
    assert main([command, "--help"]) == 0
    assert f"example:\n  pydlx {command}" in capsys.readouterr().out


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"pydlx {pydlx.__version__}\n"


@pytest.mark.parametrize("words", [["paint"], ["--loud"], ["info", "--loud"], ["bench", "--threads", "0"]])
def test_bad_words_give_one_line_and_2(capsys, words):
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("pydlx")
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "command"),
    [("info --loud", "info"), ("eval boxes a b --loud", "eval boxes"), ("bench readers --loud", "bench readers")],
)
def test_unknown_options_point_to_the_help_of_the_command(capsys, words, command):
    assert main(words.split()) == 2
    expected = f"pydlx {command}: unrecognized arguments: --loud (see pydlx {command} --help)\n"
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize("error", [ValueError("too small\nby far"), TypeError("too small"), OSError("too small")])
def test_errors_of_the_library_give_one_line_and_2(capsys, monkeypatch, error):
    def run(args):
        raise error

    command = types.SimpleNamespace(add_parser=lambda subparsers: subparsers.add_parser("info"), run=run)
    monkeypatch.setattr(pydlx.cli, "_module", lambda name: command)
    assert main(["info"]) == 2
    assert capsys.readouterr().err == "pydlx info: too small\n"


def test_runs_as_a_module():
    run = subprocess.run([sys.executable, "-m", "pydlx", "info"], capture_output=True, text=True)
    assert run.returncode == 0
    assert "version" in run.stdout


def test_a_reader_that_has_enough_ends_it_silently():
    run = subprocess.Popen(
        [sys.executable, "-m", "pydlx.cli", "models"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    run.stdout.close()
    assert run.stderr.read() == ""
    assert run.wait() == 141


HELP = [["--help"], *([*command.split(), "--help"] for command in COMMANDS if command != "blend")]


def test_help_does_not_wait_for_torch():
    """For blend's it does, whose methods it lists."""
    probe = f"""
import sys
from pydlx.cli import main
for words in {HELP + [["eval", kind, "--help"] for kind in KINDS]}:
    assert main(words) == 0
print({{"torch", "numpy", "rich"}} & sys.modules.keys())
"""
    run = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True)
    assert run.stdout.splitlines()[-1] == "set()", run.stderr


def test_a_missing_file_is_said_in_words(capsys):
    assert main(["eval", "squad", "none.json", "none.json"]) == 2
    assert capsys.readouterr().err == "pydlx eval squad: TRUTH: no such file: 'none.json'\n"
