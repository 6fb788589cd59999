"""The commonest mistakes in every command: one line that is true and names the file or argument, nothing half-written.

The exit code is 2. An interruption is no mistake: its code is 130, which shells and make understand.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

pytest.importorskip("PIL")
pytest.importorskip("matplotlib")
pytest.importorskip("msgspec")
pytest.importorskip("tokenizers")
pytest.importorskip("torchmetrics")

from bad_input.commands import CALLS, write_files

from pydlx.cli import COMMANDS, main
from pydlx.cli.eval import KINDS


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    write_files(folder)
    return folder


@pytest.fixture(autouse=True)
def place(files, tmp_path, monkeypatch):
    """The working directory, with everything that the calls read."""
    shutil.copytree(files, tmp_path / "here", copy_function=_link)
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path / "here"


def _link(source, target):
    Path(target).hardlink_to(source)


def everything() -> dict[Path, float]:
    return {path: path.stat().st_mtime_ns for path in Path().rglob("*")}


def refused(capsys, call, words, named):
    """Runs a call that is wrong, and holds what it says and leaves behind against the promise."""
    capsys.readouterr()
    before = everything()
    code = main(words)
    out, err = capsys.readouterr()
    assert code == 2, f"exit code of {' '.join(words)}: {out}{err}"
    lines = [line for line in err.splitlines() if not line.startswith("warning: ")]
    assert len(lines) == 1, err
    assert lines[0].startswith(f"pydlx {call}: "), err
    assert named in lines[0], f"{err} does not name {named}"
    assert everything() == before, f"{' '.join(words)} left something behind"
    return lines[0]


def replaced(name: str, content: bytes) -> None:
    """Writes a file anew; the one it was linked to stays."""
    Path(name).unlink()
    Path(name).write_bytes(content)


CASES = pytest.mark.parametrize("call", CALLS, ids=lambda call: call.words)


def cases(what):
    """A test for each call and one of its files."""
    pairs = [(call, name) for call in CALLS for name in what(call)]
    return pytest.mark.parametrize(("call", "name"), pairs, ids=[f"{c.command} {n}" for c, n in pairs])


def test_every_command_is_here():
    """completion writes nothing and reads nothing; it is tested by itself."""
    known = {call.command for call in CALLS}
    assert known == {*COMMANDS, *(f"eval {kind}" for kind in KINDS)} - {"eval", "completion"}


@pytest.mark.parametrize("call", [call for call in CALLS if call.runs], ids=lambda call: call.words)
def test_as_it_is_the_call_succeeds(call, capsys):
    before = everything()
    assert main(call.given()) == 0, capsys.readouterr().err
    assert {Path(name) for name in call.outputs()} <= everything().keys() - before.keys()


@cases(lambda call: call.inputs())
def test_a_missing_file(call, name, capsys):
    missing = f"nowhere{Path(name).suffix}"
    refused(capsys, call.command, call.given(**{name.replace(".", "_"): missing}), missing)


@cases(lambda call: call.data)
def test_a_folder_for_a_file(call, name, capsys):
    Path("a.folder").mkdir()
    refused(capsys, call.command, call.given(**{name.replace(".", "_"): "a.folder"}), "a.folder")


@pytest.mark.parametrize("call", [call for call in CALLS if call.swapped], ids=lambda call: call.words)
def test_swapped_arguments(call, capsys):
    first, second = call.swapped
    words = call.given(**{first.replace(".", "_"): second, second.replace(".", "_"): first})
    line = refused(capsys, call.command, words, "")
    assert first in line or second in line


@pytest.mark.parametrize(
    ("call", "words", "named"),
    [(call.command, words, named) for call in CALLS for words, named in call.strange.items()],
)
def test_a_wrong_size_or_ids_of_another_kind(call, words, named, capsys):
    refused(capsys, call, words.split(), named)


@cases(lambda call: call.outputs())
def test_an_output_that_cannot_be_written(call, name, capsys):
    """Below a file, which fails for root, too; and a folder where a file is to be, or the other way round."""
    below = f"text.txt/{name}"
    refused(capsys, call.command, call.given(**{name.replace(".", "_"): below}), "text.txt")
    if "." in name:
        wrong = f"folder{Path(name).suffix}"
        Path(wrong).mkdir()
    else:
        wrong = "text.txt"
    refused(capsys, call.command, call.given(**{name.replace(".", "_"): wrong}), wrong)


@cases(lambda call: [name for name in call.outputs() if "." in name and call.command not in ("predict", "answer")])
def test_a_wrong_extension(call, name, capsys):
    refused(capsys, call.command, call.given(**{name.replace(".", "_"): "r.xyz"}), "r.xyz")


@cases(lambda call: call.data)
@pytest.mark.parametrize("damage", ["truncated", "empty"])
def test_a_damaged_file(call, name, damage, capsys):
    whole = Path(name).read_bytes()
    replaced(name, whole[: len(whole) * 2 // 5] if damage == "truncated" else b"")
    refused(capsys, call.command, call.given(), name)


@cases(lambda call: call.json)
@pytest.mark.parametrize("content", ['"text"', '{"a": [1]}', "[1]", "null"])
def test_json_of_another_kind(call, name, content, capsys):
    replaced(name, content.encode())
    line = refused(capsys, call.command, call.given(), "")
    argument = ("TRUTH", "PREDICTIONS")[call.inputs().index(name) % 2]  # where the library knows no file any more
    assert name in line or argument in line


@pytest.mark.parametrize(
    ("package", "words", "extra"),
    [
        ("matplotlib.figure", "eval keypoints people.json poses.json --plot r.png", "plot"),
        ("PIL.Image", "eval images a.png b.png --json r.json", "images"),
        ("PIL.Image", "blend --source a.png --target b.png --mask mask.png --out r.png", "images"),
        ("PIL.Image", "predict --checkpoint fcn.pt a.png --out found", "images"),
        ("argcomplete", "completion bash", "cli"),
        ("onnxscript", "export --checkpoint fcn.pt --size 32,32 --out r.onnx", "export"),
        ("matplotlib.figure", "models --fusions --plot r.png", "plot"),
    ],
)
def test_an_optional_package_that_is_not_there(package, words, extra, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    call = " ".join(words.split()[: 2 if words.startswith("eval") else 1])
    refused(capsys, call, words.split(), f'pip install "pydlx[{extra}]"')


@pytest.mark.parametrize("call", [call for call in CALLS if call.runs and call.outputs()], ids=lambda call: call.words)
def test_an_interruption_leaves_nothing_behind(call, capsys, monkeypatch):
    """In the worst moment, when a file is written but does not have its name yet."""

    def interrupted(*_):
        raise KeyboardInterrupt

    before = everything()
    monkeypatch.setattr(Path, "replace", interrupted)
    assert main(call.given()) == 130
    assert capsys.readouterr().err == f"pydlx {call.command}: interrupted\n"
    assert [path for path in everything().keys() - before.keys() if path.is_file()] == []
