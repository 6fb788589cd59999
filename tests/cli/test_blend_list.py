"""``pydlx blend --list``: every picture once and whole, whatever stops the processes or stands in the files."""

import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

import pydlx
from pydlx.blending import blend
from pydlx.cli import main
from pydlx.data import read_image, write_image
from pydlx.models import save_model

pytest.importorskip("PIL")


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """No process of another launcher, and as many threads afterwards as before."""
    for variable in ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR"):
        monkeypatch.delenv(variable, raising=False)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Three scenes in a folder, s0.png to m2.png; the working directory is another one."""
    rng = np.random.default_rng(0)
    for number in range(3):
        for name, size in (("s", (20, 24, 3)), ("t", (40, 50, 3))):
            write_image(tmp_path / f"{name}{number}.png", rng.integers(0, 256, size).astype(np.uint8))
        write_image(tmp_path / f"m{number}.png", np.pad(np.full((16, 20), 255, np.uint8), 2))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path


def listed(folder, *lines):
    (folder / "list.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return ["blend", "--list", str(folder / "list.txt"), "--out", str(folder / "out")]


def line(number, *more):
    return ";".join([f"s{number}.png", f"t{number}.png", f"m{number}.png", *more])


def written(folder):
    """Everything in the folder of results, hidden files too."""
    return sorted(path.name for path in (folder / "out").iterdir())


def scene(folder, number):
    return [read_image(folder / f"{name}{number}.png") for name in "stm"]


def test_every_line_is_blended_with_its_offset(folder, capsys):
    words = listed(folder, "# pictures", line(0), "", f" {line(1, ' -3, 5 ')} ", line(2, "centre"), line(2))
    assert main([*words, "--offset", "7,8", "--method", "modified-poisson", "--beta", "0.01"]) == 0
    places = {"000002_t0_s0": (7, 8), "000004_t1_s1": (-3, 5), "000005_t2_s2": (10, 13), "000006_t2_s2": (7, 8)}
    assert written(folder) == [f"{name}.png" for name in places]
    for name, place in places.items():
        expected = blend(*scene(folder, name[-1]), place, "modified-poisson", beta=0.01)
        np.testing.assert_array_equal(read_image(folder / "out" / f"{name}.png"), expected)
    assert capsys.readouterr().out == f"blended 4 of 4 pictures, 0 were there, written to {folder / 'out'}\n"


def test_floating_pictures_become_npy(folder):
    for name, image in zip("stm", scene(folder, 0), strict=True):
        np.save(folder / f"{name}.npy", image / 255)
    words = listed(folder, "s.npy;t.npy;m.npy")
    for _ in range(2):  # the second time it is there
        assert main(words) == 0
        assert written(folder) == ["000001_t_s.npy"]


def test_what_is_there_is_not_made_again(folder, capsys):
    words = listed(folder, *map(line, range(3)))
    assert main(words) == 0
    kept, gone = folder / "out" / "000001_t0_s0.png", folder / "out" / "000002_t1_s1.png"
    kept.write_bytes(b"kept")
    gone.unlink()
    capsys.readouterr()
    assert main(words) == 0
    assert capsys.readouterr().out.startswith("blended 1 of 3 pictures, 2 were there, ")
    assert kept.read_bytes() == b"kept" and gone.is_file()


def test_pictures_that_fail_are_named_and_counted(folder, capsys):
    (folder / "bad.png").write_bytes((folder / "s0.png").read_bytes()[:200])
    write_image(folder / "odd.png", np.full((7, 9), 255, np.uint8))
    lines = [
        line(0),
        "bad.png;t0.png;m0.png",
        "none.png;t0.png;m0.png",
        "s0.png;t0.png;odd.png",
        line(1, "99,0"),
        line(2),
    ]
    assert main(listed(folder, *lines)) == 2
    said = capsys.readouterr()
    assert written(folder) == ["000001_t0_s0.png", "000006_t2_s2.png"]
    assert said.out.startswith("blended 2 of 6 pictures, 0 were there, ")
    errors = said.err.splitlines()
    for error, (number, reason) in zip(
        errors,
        [
            (2, f"read_image: cannot read '{folder / 'bad.png'}' as a picture: "),
            (3, f"read_image: no such file: '{folder / 'none.png'}'"),
            (4, "mask must have the height and width of the source, (20, 24), or of the target, (40, 50), got (7, 9)"),
            (5, "the source lies wholly outside the target"),
        ],
        strict=False,
    ):
        assert error.startswith(f"pydlx blend: line {number}: {reason}")
    assert errors[4:] == ["pydlx blend: 4 of 6 pictures could not be blended"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["s0.png;t0.png"], "line 1: must be source;target;mask[;row,col], got 's0.png;t0.png'"),
        (["", "s0.png;;m0.png"], "line 2: must be source;target;mask[;row,col]"),
        ([line(0, "1,2", "3")], "line 1: must be source;target;mask[;row,col]"),
        ([line(0, "1.5,2")], "line 1: offset must be R,C in whole pixels"),
        (["# nothing"], "must hold lines source;target;mask, got none"),
        (["\udcff"], "must be text in UTF-8"),
    ],
)
def test_lists_that_are_none_are_refused_before_anything_is_done(folder, capsys, lines, message):
    words = listed(folder)
    (folder / "list.txt").write_text("\n".join(lines), errors="surrogateescape")
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("pydlx blend: ") and message in error and error.count("\n") == 1
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--source", "s0.png"], "needs --list alone to say which pictures, got --source"),
        (["--method", "posson"], "argument --method: invalid choice: 'posson'"),
        (["--tolerance", "1", "--method", "gp-gan"], "method 'gp-gan' takes no option 'tolerance'"),
        (["--checkpoint", "none.pt", "--method", "gp-gan"], "network cannot be loaded: no such file: 'none.pt'"),
        (["--threads", "0"], "threads must be positive, got 0"),
    ],
)
def test_what_no_picture_could_be_blended_with_is_refused_at_once(folder, capsys, more, message):
    assert main([*listed(folder, line(0)), *more]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (folder / "out").exists()


def test_without_a_list_all_three_pictures_are_needed(folder, capsys):
    assert main(["blend", "--source", "a.png", "--out", "b.png"]) == 2
    message = "pydlx blend: needs --source, --target and --mask to say which pictures, got --source\n"
    assert capsys.readouterr().err == message
    files = [word for name in ("source", "target", "mask") for word in (f"--{name}", "a.png")]
    assert main(["blend", *files, "--out", "b.png", "--threads", "2"]) == 2
    assert capsys.readouterr().err == "pydlx blend: --threads goes with --list only\n"


def test_a_network_is_read_once(folder, monkeypatch):
    network = pydlx.create_model("blending_gan", image_size=8, width=2, bottleneck=3)
    save_model(network, folder / "network.pt")
    loads = []

    def load(path, load_model=pydlx.models.load_model):
        loads.append(path)
        return load_model(path)

    monkeypatch.setattr(pydlx.models, "load_model", load)
    words = [*listed(folder, *map(line, range(3))), "--method", "gp-gan", "--checkpoint", str(folder / "network.pt")]
    assert main([*words, "--official-pyramid", "--beta", "2"]) == 0
    assert len(loads) == 1
    for number in range(3):
        expected = blend(*scene(folder, number), (0, 0), "gp-gan", network=network, official_pyramid=True, beta=2)
        result = read_image(folder / "out" / f"00000{number + 1}_t{number}_s{number}.png")
        np.testing.assert_array_equal(result, expected)


def test_processes_share_the_lines_and_the_cores(folder, monkeypatch, capsys):
    """Also if one comes after the other has finished, and there were results before."""
    words = listed(folder, *[line(number % 3) for number in range(7)])
    assert main(words) == 0
    names = written(folder)
    (folder / "out" / names[3]).unlink()
    monkeypatch.setattr("pydlx.cli.blend_list._cores", lambda: 6)
    monkeypatch.setenv("WORLD_SIZE", "3")
    for rank, (mine, threads) in enumerate([(3, 3), (2, 6), (2, 2)]):
        for name in names[rank::3]:
            (folder / "out" / name).unlink(missing_ok=True)
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("LOCAL_WORLD_SIZE", str(6 // threads))
        torch.set_num_threads(6)
        before = {name: (folder / "out" / name).stat().st_mtime_ns for name in written(folder)}
        capsys.readouterr()
        assert main(words) == 0
        assert capsys.readouterr().out.startswith(f"blended {mine} of {mine} pictures, 0 were there, ")
        assert torch.get_num_threads() == threads
        made = [name for name in written(folder) if name not in before]
        assert made == names[rank::3]
        assert all((folder / "out" / name).stat().st_mtime_ns == time for name, time in before.items())
    assert written(folder) == names
    assert main([*words, "--threads", "5"]) == 0
    assert torch.get_num_threads() == 5


@pytest.mark.parametrize(
    ("rank", "processes", "message"),
    [("2", "2", "RANK must be less than WORLD_SIZE, got 2 and 2"), ("x", "2", "RANK must be a whole number, got 'x'")],
)
def test_an_environment_that_makes_no_sense(folder, monkeypatch, capsys, rank, processes, message):
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", processes)
    assert main(listed(folder, line(0))) == 2
    assert capsys.readouterr().err == f"pydlx blend: {message}\n"


def program(folder, *launcher):
    """The command in processes of its own, one thread each."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", *launcher, "pydlx.cli", "blend", "--list", str(folder / "list.txt")]
    return subprocess.Popen(
        [*command, "--out", str(folder / "out")],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_killed_half_way_and_started_again(folder, capsys):
    words = listed(folder, *[line(number % 3) for number in range(400)])
    running = program(folder)
    deadline = time.monotonic() + 120
    while not list((folder / "out").glob("[!.]*")) and time.monotonic() < deadline and running.poll() is None:
        time.sleep(0.005)
    running.send_signal(signal.SIGKILL)
    running.communicate()
    begun = [name for name in written(folder) if not name.startswith(".")]
    assert 0 < len(begun) < 400, "it was stopped half-way"
    # What a process leaves that is killed as it writes, of a line to come and of something else.
    leavings = [f".000400_t0_s0-{'0a' * 16}.png", f".000400_other-{'0a' * 16}.png"]
    for name in leavings:
        (folder / "out" / name).write_bytes(b"half")
    before = {name: (folder / "out" / name).stat().st_mtime_ns for name in begun}
    assert main(words) == 0
    assert f"blended {400 - len(begun)} of 400 pictures, {len(begun)} were there" in capsys.readouterr().out
    names = [f"{number + 1:06d}_t{number % 3}_s{number % 3}.png" for number in range(400)]
    assert written(folder) == [leavings[1], *names]
    expected = [blend(*scene(folder, number)) for number in range(3)]
    for number, name in enumerate(names):
        np.testing.assert_array_equal(read_image(folder / "out" / name), expected[number % 3])
    assert all((folder / "out" / name).stat().st_mtime_ns == time for name, time in before.items())


def test_two_processes_of_torchrun(folder):
    """The one that fails at once waits for the other, which torchrun would end."""
    (folder / "bad.png").write_bytes(b"no picture")
    listed(folder, "bad.png;t0.png;m0.png", *[line(number % 3) for number in range(1, 200)])
    running = program(folder, "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m")
    try:
        out, err = running.communicate(timeout=240)
    finally:
        running.terminate()
    assert running.returncode != 0
    assert (
        f"blended 199 of 200 pictures, 0 were there, written to {folder / 'out'}\n" in out and out.count("blended") == 1
    )
    assert re.search(r"^pydlx blend: line 1: read_image: cannot read '.*bad.png'", err, re.MULTILINE)
    assert "pydlx blend: 1 of 200 pictures could not be blended" in err
    assert written(folder) == [f"{number + 1:06d}_t{number % 3}_s{number % 3}.png" for number in range(1, 200)]


def test_a_terminal_sees_how_far_it_is(folder, monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert main(listed(folder, *map(line, range(3)))) == 0
    assert re.search("blending .*3/3", capsys.readouterr().err)


def test_long_names_in_any_script_fit_a_file_system(folder):
    """It counts bytes: 255 at most."""
    names = [letter * 80 + ".npy" for letter in "景図"]
    for number, name in enumerate(names):
        np.save(folder / name, np.full((4, 5, 3), 100 + number, np.uint8))
    np.save(folder / "m.npy", np.eye(4, 5))
    command = listed(folder, ";".join([*names, "m.npy"]))
    assert main([*command, "--method", "copy-paste"]) == 0


def test_a_byte_order_mark_is_no_part_of_a_name(folder):
    command = listed(folder, line(0))
    entries = folder / "list.txt"
    entries.write_bytes(b"\xef\xbb\xbf" + entries.read_bytes())
    assert main([*command, "--method", "copy-paste"]) == 0
