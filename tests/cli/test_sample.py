"""``pydlx sample``: what it writes, and that it follows from the seed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pydlx.cli import main
from pydlx.files import read_image
from pydlx.models import create_model, load_model, save_model

pytest.importorskip("PIL")

SMALL = {"sizes": [4, 8], "base_units": 8, "base_discriminator_units": 8, "width": 4}


@pytest.fixture
def checkpoint(tmp_path):
    """Of a LAPGAN with classes whose label maps are far from zero, so that classes differ."""
    torch.manual_seed(0)
    model = create_model("lapgan_cifar10", **SMALL, num_classes=3)
    model.generators[1].class_map.linear.weight.data *= 20
    save_model(model, tmp_path / "lapgan.pt")
    return tmp_path / "lapgan.pt"


def sample(checkpoint, out, *words):
    return main(["sample", "--checkpoint", str(checkpoint), "--out", str(out), *words])


def pictures(folder):
    return {path.name: read_image(path) for path in sorted(folder.iterdir())}


def test_it_writes_pictures_and_their_chains(checkpoint, tmp_path, capsys):
    assert sample(checkpoint, tmp_path / "out", "--count", "4", "--seed", "5", "--columns", "3") == 0
    assert capsys.readouterr().out == f"4 pictures of 8 x 8 pixels, written to {tmp_path / 'out'}\n"
    found = pictures(tmp_path / "out")
    assert list(found) == ["000.png", "001.png", "002.png", "003.png", "grid.png"]
    chain = load_model(checkpoint).sample(4, torch.tensor([0, 1, 2, 0]), torch.Generator().manual_seed(5))
    expected = [(level * 255).round().byte().movedim(1, 3).numpy() for level in chain]
    for number in range(4):
        assert (found[f"{number:03}.png"] == expected[1][number]).all()
    # Tiles of 64 pixels with gaps of 2; two rows of levels in a block, and 6 pixels more below it.
    grid = found["grid.png"]
    assert grid.shape == (2 + 2 * (2 * 66 + 6), 2 + 3 * 66, 3)
    for number in range(4):
        row, column = 2 + (number // 3) * 138, 2 + number % 3 * 66
        assert (grid[row : row + 64, column : column + 64] == expected[0][number].repeat(16, 0).repeat(16, 1)).all()
        assert (grid[row + 66 : row + 130, column : column + 64] == expected[1][number].repeat(8, 0).repeat(8, 1)).all()
    assert (grid[140:, 70:] == 255).all()


def test_the_seed_and_the_class_decide(checkpoint, tmp_path):
    runs = {
        "first": (), "again": (), "other": ("--seed", "1"), "class": ("--class", "2"), "same class": ("--class", "0"),
    }  # fmt: skip
    for name, words in runs.items():
        assert sample(checkpoint, tmp_path / name, "--count", "2", *words) == 0
    first, again, other, third, same = (pictures(tmp_path / name) for name in runs)
    assert all((first[name] == again[name]).all() for name in first)
    assert not (first["000.png"] == other["000.png"]).all()
    assert not (first["000.png"] == third["000.png"]).all()
    assert (first["000.png"] == same["000.png"]).all()
    assert not (first["001.png"] == same["001.png"]).all()  # of class 1 by default


def test_many_are_drawn_in_parts(checkpoint, tmp_path):
    assert sample(checkpoint, tmp_path / "out", "--count", "70") == 0
    assert len(list((tmp_path / "out").glob("0*.png"))) == 70


def test_a_blending_gan_makes_pictures_of_noise(tmp_path, capsys):
    torch.manual_seed(0)
    model = create_model("blending_gan", image_size=16, width=4, bottleneck=8, noise=10).eval()
    save_model(model, tmp_path / "gan.pt")
    assert sample(tmp_path / "gan.pt", tmp_path / "out", "--count", "3", "--seed", "2") == 0
    with torch.no_grad():
        made = model(torch.randn(3, 10, generator=torch.Generator().manual_seed(2)))
    expected = ((made + 1) * 127.5).round().byte().movedim(1, 3).numpy()
    for number in range(3):
        difference = read_image(tmp_path / "out" / f"{number:03}.png").astype(int) - expected[number]
        assert np.abs(difference).max() <= 1
    assert read_image(tmp_path / "out" / "grid.png").shape == (2 + 66 + 6, 2 + 10 * 66, 3)
    capsys.readouterr()
    assert sample(tmp_path / "gan.pt", tmp_path / "out", "--class", "0") == 2
    message = "pydlx sample: --class must not be given, as blending_gan was built without classes, got 0\n"
    assert capsys.readouterr().err == message


def test_what_is_wrong_is_said_in_a_line(checkpoint, tmp_path, capsys):
    save_model(create_model("fcn32s", backbone="slim_vgg", num_classes=2), tmp_path / "fcn.pt")
    save_model(create_model("blending_gan", image_size=16, width=4, bottleneck=8), tmp_path / "gan.pt")
    for file, words, message in (
        (
            checkpoint,
            ("--count", "0"),
            "argument --count: must be a positive whole number, got '0' (see pydlx sample --help)",
        ),
        (
            checkpoint,
            ("--columns", "0"),
            "argument --columns: must be a positive whole number, got '0' (see pydlx sample --help)",
        ),
        (checkpoint, ("--class", "3"), "--class must be from 0 to 2, got 3"),
        (checkpoint, ("--class", "-1"), "--class must be from 0 to 2, got -1"),
        (tmp_path / "fcn.pt", (), "--checkpoint must hold a model that makes pictures, got fcn32s"),
        (tmp_path / "gan.pt", (), "blending_gan makes pictures of noise only if it was built with noise=100 or so"),
        (tmp_path / "none.pt", (), f"--checkpoint: no such file: '{tmp_path / 'none.pt'}'"),
    ):
        assert sample(file, tmp_path / "out", *words) == 2
        assert capsys.readouterr().err == f"pydlx sample: {message}\n"
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").write_text("a file")
    assert sample(checkpoint, tmp_path / "out") == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
