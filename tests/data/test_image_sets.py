"""Folders of photographs, and the official binary files of CIFAR-10 and STL-10."""

from __future__ import annotations

import numpy as np
import pytest

from pydlx.data import AnnotationWarning, Photographs

Image = pytest.importorskip("PIL.Image")


def picture(path, *shape, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def test_photographs_are_read_in_order_as_rgb(tmp_path):
    colours = picture(tmp_path / "b/one.png", 5, 7, 3)
    grey = picture(tmp_path / "a.PNG", 4, 6)
    alpha = picture(tmp_path / "b/two.png", 3, 3, 4)
    for other in ("notes.txt", ".hidden.png", ".cache/x.png"):
        (tmp_path / other).parent.mkdir(exist_ok=True)
        (tmp_path / other).write_text("no picture")
    found = Photographs(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in found.paths] == ["a.PNG", "b/one.png", "b/two.png"]
    assert len(found) == 3 and found.skipped == {}
    for image, expected in zip(found, (np.repeat(grey[..., None], 3, 2), colours, alpha[..., :3]), strict=True):
        assert image.dtype == np.uint8
        assert (image == expected).all()


def test_photographs_are_read_when_asked_for(tmp_path):
    picture(tmp_path / "a.png", 4, 4, 3)
    found = Photographs(tmp_path)
    later = picture(tmp_path / "a.png", 4, 4, 3, seed=1)
    assert (found[0] == later).all()


def test_pictures_that_cannot_be_read_are_skipped_named_and_counted(tmp_path):
    for name in "abc":
        picture(tmp_path / f"{name}.png", 40, 40, 3)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:900])
    (tmp_path / "text.jpg").write_text("no picture")
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(tmp_path / "deep.png")
    with pytest.warns(
        AnnotationWarning, match=r"^3 pictures of '.*' cannot be read and are skipped \(files deep.png, "
    ):
        found = Photographs(tmp_path)
    assert [path.name for path in found.paths] == ["a.png", "b.png", "c.png"]
    assert sorted(path.name for path in found.skipped) == ["cut.png", "deep.png", "text.jpg"]
    assert "must be a picture of 8 bits, got uint16" in found.skipped[tmp_path / "deep.png"]
    trusting = Photographs(tmp_path, check=False)
    assert len(trusting) == 6 and trusting.skipped == {}
    with pytest.raises(OSError, match=r"cannot read '.*cut\.png'"):
        trusting[trusting.paths.index(tmp_path / "sub/cut.png")]


def test_folders_without_photographs_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"Photographs: no such folder: '.*nowhere'"):
        Photographs(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"holds no files of the kind \.png"):
        Photographs(tmp_path)
    (tmp_path / "text.jpg").write_text("no picture")
    with pytest.raises(OSError, match=r"folder must hold pictures of 8 bits, got 1 in '.*the first 'text.jpg': "):
        Photographs(tmp_path)
