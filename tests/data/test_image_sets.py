"""Folders of photographs, and the official binary files of CIFAR-10 and STL-10."""

from __future__ import annotations

import numpy as np
import pytest

from pydlx.data import AnnotationWarning, PhotographFolders, Photographs, cifar10, stl10

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


def test_folders_are_classes(tmp_path):
    expected = {
        (name, n): picture(tmp_path / name / "deeper" / f"{n}.png", 5, 6, 3, seed=n) for name in "ba" for n in range(2)
    }
    found = PhotographFolders(tmp_path)
    assert found.class_names == ("a", "b")
    assert found.labels.tolist() == [0, 0, 1, 1]
    assert len(found) == 4
    for number, (image, label) in enumerate(found):
        assert label == number // 2
        assert (image == expected["ab"[label], number % 2]).all()


def test_a_folder_without_subfolders_has_no_classes(tmp_path):
    picture(tmp_path / "a.png", 5, 6, 3)
    found = PhotographFolders(tmp_path)
    assert (found.class_names, found.labels, found[0].label) == ((), None, None)
    picture(tmp_path / "sub/b.png", 5, 6, 3)
    with pytest.raises(
        ValueError, match=r"must have all pictures in subfolders or none, got 1 of 2 in '.*first 'a\.png'"
    ):
        PhotographFolders(tmp_path)


def test_classes_of_unreadable_pictures_are_none(tmp_path):
    picture(tmp_path / "b/one.png", 5, 6, 3)
    (tmp_path / "a").mkdir()
    (tmp_path / "a/bad.png").write_text("no picture")
    with pytest.warns(AnnotationWarning, match=r"1 pictures of .* \(files a/bad\.png\)"):
        found = PhotographFolders(tmp_path)
    assert found.class_names == ("b",) and len(found) == 1
    assert len(PhotographFolders(tmp_path, check=False)) == 2


@pytest.fixture
def cifar(tmp_path):
    """Two training batches and a test batch, written record by record: a label, then the red, green and blue rows."""
    draw = np.random.default_rng(0)
    images, labels = draw.integers(0, 256, (7, 32, 32, 3), np.uint8), [3, 9, 0, 1, 1, 2, 4]
    for name, chosen in (("data_batch_1", range(3)), ("data_batch_2", range(3, 5)), ("test_batch", range(5, 7))):
        with (tmp_path / f"{name}.bin").open("wb") as file:
            for n in chosen:
                file.write(bytes([labels[n]]))
                for channel in range(3):
                    for row in range(32):
                        file.write(bytes(images[n, row, :, channel].tolist()))
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    (tmp_path / "batches.meta.txt").write_text("\n".join(names) + "\n\n")  # as in the official file
    return tmp_path, images, labels


def test_cifar10(cifar):
    folder, images, labels = cifar
    training, test = cifar10(folder, "train"), cifar10(folder, "test")
    assert (len(training), len(test), training.class_names[3]) == (5, 2, "cat")
    for data, first in ((training, 0), (test, 5)):
        assert data.labels.tolist() == labels[first : first + len(data)]
        for n, (image, label) in enumerate(data, first):
            assert image.dtype == np.uint8 and label == labels[n]
            assert (image == images[n]).all()
    assert (training[-1].image == images[4]).all()
    with pytest.raises(IndexError):
        training[5]


def test_broken_cifar10_is_refused(cifar):
    folder = cifar[0]
    file = folder / "data_batch_2.bin"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    with pytest.raises(
        ValueError, match=r"^cifar10: '.*data_batch_2\.bin' must hold whole records of 3073 bytes, got 6145"
    ):
        cifar10(folder, "train")
    file.write_bytes(b"")
    with pytest.raises(ValueError, match="must hold whole records of 3073 bytes, got 0 bytes"):
        cifar10(folder, "train")
    file.write_bytes(whole[:3073] + b"\x0a" + whole[3074:])
    with pytest.raises(ValueError, match=r"data_batch_2\.bin' must hold labels from 0 to 9, got 10 of picture 1$"):
        cifar10(folder, "train")
    (folder / "batches.meta.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"cifar10: no such file: '.*batches\.meta\.txt'"):
        cifar10(folder, "test")
    with pytest.raises(FileNotFoundError, match=r"cifar10: '.*nowhere' holds no data_batch_\*\.bin"):
        cifar10(folder / "nowhere", "train")


@pytest.fixture
def stl(tmp_path):
    """Images are stored column by column in each channel; labels begin at 1."""
    draw = np.random.default_rng(1)
    images, labels = draw.integers(0, 256, (3, 96, 96, 3), np.uint8), [10, 1, 2]
    with (tmp_path / "train_X.bin").open("wb") as file:
        for image in images:
            for channel in range(3):
                for column in range(96):
                    file.write(bytes(image[:, column, channel].tolist()))
    (tmp_path / "train_y.bin").write_bytes(bytes(labels))
    (tmp_path / "unlabeled_X.bin").write_bytes((tmp_path / "train_X.bin").read_bytes()[: 2 * 27648])
    (tmp_path / "class_names.txt").write_text("airplane\nbird\ncar\ncat\ndeer\ndog\nhorse\nmonkey\nship\ntruck\n")
    return tmp_path, images


def test_stl10(stl):
    folder, images = stl
    training, unlabelled = stl10(folder, "train"), stl10(folder, "unlabeled")
    assert training.labels.tolist() == [9, 0, 1]
    assert (training.class_names[9], unlabelled.class_names, unlabelled.labels) == ("truck", (), None)
    assert [item.label for item in unlabelled] == [None, None]
    for data in (training, unlabelled):
        assert all((item.image == image).all() for item, image in zip(data, images[: len(data)], strict=True))


def test_broken_stl10_is_refused(stl):
    folder = stl[0]
    (folder / "train_y.bin").write_bytes(bytes([10, 1, 0]))
    with pytest.raises(
        ValueError, match=r"^stl10: '.*train_y\.bin' must hold labels from 1 to 10, got 0 of picture 2$"
    ):
        stl10(folder, "train")
    (folder / "train_y.bin").write_bytes(bytes([10, 1]))
    with pytest.raises(ValueError, match=r"train_y\.bin' must hold a label for each of 3 pictures, got 2$"):
        stl10(folder, "train")
    (folder / "unlabeled_X.bin").write_bytes(b"x" * 27647)
    with pytest.raises(ValueError, match=r"unlabeled_X\.bin' must hold whole records of 27648 bytes, got 27647 bytes$"):
        stl10(folder, "unlabeled")
    with pytest.raises(FileNotFoundError, match=r"stl10: no such file: '.*test_X\.bin'"):
        stl10(folder, "test")
    (folder / "class_names.txt").write_text("")
    with pytest.raises(ValueError, match=r"class_names\.txt' must hold the names of classes"):
        stl10(folder, "train")
