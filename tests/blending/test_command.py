"""``pydlx blend`` from its arguments to the file it writes."""

import io
from pathlib import Path

import numpy as np
import pytest

from pydlx.blending import blend
from pydlx.cli import main
from pydlx.data import read_image, write_image
from pydlx.models import create_model, save_model

pytest.importorskip("PIL")


@pytest.fixture
def pydlx(tmp_path, picture, monkeypatch):
    """Runs a command line in a folder that holds source.png, target.png and mask.png; returns its exit code."""
    monkeypatch.chdir(tmp_path)
    sizes = {"source": (20, 24, 3), "target": (40, 70, 3), "mask": (20, 24), "other": (21, 24)}
    for name, size in sizes.items():
        write_image(f"{name}.png", (picture(*size) * 255).astype(np.uint8))

    def run(*arguments):
        files = ["--source", "source.png", "--target", "target.png", "--mask", "mask.png", "--out", "out.png"]
        return main(["blend", *files, *arguments])

    return run


def expected(*arguments, **options):
    return blend(*(read_image(f"{name}.png") for name in ("source", "target", "mask")), *arguments, **options)


@pytest.mark.parametrize("form", [["--offset", "-3,10"], ["--offset=-3,10"], ["--offset", " -3, 10"]])
def test_negative_offsets(pydlx, form):
    assert pydlx(*form) == 0
    np.testing.assert_array_equal(read_image("out.png"), expected((-3, 10)))


@pytest.mark.parametrize("word", ["center", "centre"])
def test_centre(pydlx, word):
    assert pydlx("--offset", word, "--method", "copy-paste") == 0
    np.testing.assert_array_equal(read_image("out.png"), expected((10, 23), "copy-paste"))


@pytest.mark.parametrize("word", ["--center", "--centre"])
def test_place_of_the_middle(pydlx, word):
    assert pydlx(word, "30,20", "--feather", "3") == 0
    np.testing.assert_array_equal(read_image("out.png"), expected(center=(30, 20), feather=3))


class Pipe:
    """Standard input or output with bytes behind it."""

    def __init__(self, content=b""):
        self.buffer = io.BytesIO(content)

    def isatty(self):
        return False

    def write(self, text):
        return len(text)

    def flush(self):
        pass


def test_pipes(pydlx, monkeypatch, capsys):
    pipe = Pipe()
    monkeypatch.setattr("sys.stdin", Pipe(Path("source.png").read_bytes()))
    monkeypatch.setattr("sys.stdout", pipe)
    assert pydlx("--source", "-", "--out", "-") == 0
    np.testing.assert_array_equal(read_image(pipe.buffer), expected())
    assert "poisson: 40 x 70 pixels" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bits_stay(pydlx, picture, suffix):
    pytest.importorskip("imagecodecs")
    write_image(f"deep.{suffix}", (picture(40, 70, 3) * 65535).astype(np.uint16))
    assert pydlx("--target", f"deep.{suffix}", "--out", f"out.{suffix}") == 0
    result = read_image(f"out.{suffix}")
    assert result.dtype == np.uint16
    images = (read_image(name) for name in ("source.png", f"deep.{suffix}", "mask.png"))
    np.testing.assert_array_equal(result, blend(*images))


def test_warnings_are_lines(pydlx, capsys):
    assert pydlx("--mask", "source.png") == 0
    error = capsys.readouterr().err
    assert error.startswith("warning: blend: mask is neither black nor white on ") and error.count("\n") == 1


def test_options_reach_the_method(pydlx):
    options = {"beta": 0.3, "sigma": 0.7, "formulation": "paper", "taps": "normalised", "pyramid": "square"}
    arguments = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    more = ["--levels", "1", "--colour", "target.png", "--rounding", "truncate", "--mask-threshold", "0.5"]
    assert pydlx("--method", "gaussian-poisson", *arguments, *more) == 0
    options |= {"levels": 1, "colour": read_image("target.png"), "rounding": "truncate", "threshold": 0.5}
    np.testing.assert_array_equal(read_image("out.png"), expected((0, 0), "gaussian-poisson", **options))


@pytest.mark.parametrize(
    ("network", "options"), [({"noise": 3}, {"iterations": 2, "seed": 4}), ({}, {"official_pyramid": True, "beta": 2})]
)
def test_options_reach_gp_gan(pydlx, network, options):
    save_model(create_model("blending_gan", image_size=8, width=2, bottleneck=3, **network), "network.pt")
    words = []
    for name, value in options.items():
        words += [f"--{name.replace('_', '-')}"] + ([] if value is True else [str(value)])
    assert pydlx("--method", "gp-gan", "--checkpoint", "network.pt", *words) == 0
    np.testing.assert_array_equal(read_image("out.png"), expected((0, 0), "gp-gan", network="network.pt", **options))


def test_says_what_it_did(pydlx, capsys):
    pydlx("--method", "gaussian-poisson")
    first, second = capsys.readouterr().out.splitlines()
    for fact in ("gaussian-poisson: 40 x 70 pixels", "2800 solved for", "2 levels", "relative residual", " s"):
        assert fact in first
    assert second == "written to out.png"


def test_a_terminal_sees_what_is_being_done(pydlx, monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    pydlx("--method", "copy-paste")
    assert "blending 40 x 70 pixels by copy-paste ..." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--method", "posson"], "argument --method: invalid choice: 'posson'"),
        (["--beta", "2"], "method 'poisson' takes no option 'beta'"),
        (["--source", "nothing.png"], "no such file: 'nothing.png'"),
        (
            ["--mask", "other.png"],
            "mask must have the height and width of the source, (20, 24), or of the target, (40, 70)",
        ),
        (["--offset", "40,0"], "the source lies wholly outside the target"),
        (["--out", "missing/out.png"], "cannot write 'missing/out.png'"),
        (["--out", "out.xyz"], "no suffix of a picture format"),
        (
            ["--source", "-", "--mask", "-"],
            "only one picture can come from standard input, got - for --source and --mask",
        ),
        (["--offset", "1,1", "--center", "3,3"], "not allowed with argument --offset"),
        (["--device", "tpu"], "--device must be cpu, cuda or cuda:N, got 'tpu'"),
        (["--feather", "-2"], "feather must be not negative, got -2"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(pydlx, capsys, arguments, message):
    assert pydlx(*arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("pydlx blend: ") and message in error and error.count("\n") == 1


@pytest.mark.parametrize("offset", ["3", "a,b", "1.5,2", "1,2,3"])
def test_bad_offsets(pydlx, capsys, offset):
    assert pydlx("--offset", offset) == 2
    assert "must be R,C in whole pixels" in capsys.readouterr().err


def test_help_has_an_example(pydlx, capsys):
    assert pydlx("--help") == 0
    assert "pydlx blend --source" in capsys.readouterr().out
