"""Images and label maps are paired in every layout; mismatches are refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pydlx.data import ImageLabelFolders, camvid, class_pixels, median_frequency_weights, voc

Image = pytest.importorskip("PIL.Image")

PIXELS = {  # of CamVid, void last
    "train": (2655759, 3682975, 156038, 5040098, 710515, 1539084, 185523, 178727, 929651, 101362, 46192, 628476),
    "val": (398283, 1128455, 24608, 1269605, 380337, 712482, 38813, 134859, 76359, 28314, 96668, 74417),
    "test": (1708023, 2474575, 118487, 2609234, 933119, 1130253, 101637, 119001, 400141, 63700, 19053, 388377),
}


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array, np.uint8)).save(path)


def pair(root, image, labels, shade=7, values=((0, 1), (1, 2))):
    save(root / image, np.full((2, 2, 3), shade))
    save(root / labels, values)


def test_nested_folders_pair_by_path(tmp_path):
    pair(tmp_path, "images/a/1.jpg", "labels/a/1.png", 10)
    pair(tmp_path, "images/b/1.jpg", "labels/b/1.png", 200, ((2, 2), (2, 2)))
    data = ImageLabelFolders(tmp_path / "images", tmp_path / "labels", 3)
    assert [item.name for item in data] == ["a/1", "b/1"]
    assert data[1].labels.tolist() == [[2, 2], [2, 2]]
    assert data[1].labels.dtype == np.int64
    assert abs(int(data[1].image[0, 0, 0]) - 200) < 3


def test_the_names_of_cityscapes(tmp_path):
    pair(tmp_path, "leftImg8bit/aachen_1_leftImg8bit.png", "gtFine/aachen_1_gtFine_labelTrainIds.png")
    save(tmp_path / "gtFine/aachen_1_gtFine_instanceIds.png", [[9, 9], [9, 9]])
    data = ImageLabelFolders(tmp_path / "leftImg8bit", tmp_path / "gtFine", 19)
    assert [item.name for item in data] == ["aachen_1"]
    assert data[0].labels.tolist() == [[0, 1], [1, 2]]


def test_voc_reads_the_listed_images(tmp_path):
    for name in ("2007_1", "2007_2"):
        pair(tmp_path, f"JPEGImages/{name}.jpg", f"SegmentationClass/{name}.png", values=((0, 20), (255, 1)))
    (tmp_path / "ImageSets/Segmentation").mkdir(parents=True)
    (tmp_path / "ImageSets/Segmentation/val.txt").write_text("2007_2\n")
    data = voc(tmp_path, "val")
    assert [item.name for item in data] == ["2007_2"]
    assert data[0].labels.tolist() == [[0, 20], [255, 1]]
    assert data.class_names[20] == "tvmonitor"


@pytest.mark.parametrize("channels", [None, 1, 2, 4])
def test_images_have_three_channels(tmp_path, channels):
    pair(tmp_path, "images/a.png", "labels/a.png")
    shape = (2, 2) if channels is None else (2, 2, channels)
    picture = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    save(tmp_path / "images/a.png", picture.squeeze(-1) if channels == 1 else picture)
    image = ImageLabelFolders(tmp_path / "images", tmp_path / "labels", 3)[0].image
    assert image.shape == (2, 2, 3)
    expected = picture[..., :3] if channels == 4 else np.repeat(picture.reshape(2, 2, -1)[..., :1], 3, 2)
    np.testing.assert_array_equal(image, expected)


def test_void_becomes_the_ignore_index(tmp_path):
    pair(tmp_path, "images/a.png", "labels/a.png", values=((0, 11), (1, 0)))
    data = ImageLabelFolders(tmp_path / "images", tmp_path / "labels", 2, void=(11,), ignore_index=-1)
    assert data[0].labels.tolist() == [[0, -1], [1, 0]]
    assert class_pixels(data, 2).tolist() == [2, 1]


def test_mismatched_inputs_are_refused(tmp_path):
    images, labels = tmp_path / "images", tmp_path / "labels"
    with pytest.raises(FileNotFoundError, match="no such folder"):
        ImageLabelFolders(images, labels, 3)
    pair(tmp_path, "images/a.png", "labels/a.png")
    with pytest.raises(ValueError, match=r"must hold labels from 0 to 1, got \[2\]"):
        ImageLabelFolders(images, labels, 2)[0]
    save(labels / "a.png", [[0, 0, 0]])
    with pytest.raises(ValueError, match=r"must have the size of its image, \(2, 2\), got \(1, 3\)"):
        ImageLabelFolders(images, labels, 2)[0]
    (labels / "a.png").write_bytes(b"not a picture")
    with pytest.raises(OSError, match=r"cannot read .*a\.png"):
        ImageLabelFolders(images, labels, 2)[0]
    save(images / "b.png", np.zeros((2, 2, 3)))
    with pytest.raises(FileNotFoundError, match="labels' has no file called 'b'"):
        ImageLabelFolders(images, labels, 2)
    save(images / "b.jpg", np.zeros((2, 2, 3)))
    with pytest.raises(ValueError, match="have the same name"):
        ImageLabelFolders(images, labels, 2)


def test_median_frequency_weights():
    weights = median_frequency_weights(torch.tensor([10, 40, 20, 0]))
    assert weights.tolist() == [2, 0.5, 1, 0]


@pytest.mark.slow
@pytest.mark.parametrize("split", PIXELS)
def test_camvid_has_the_known_pixels(shared_data, split):
    data = camvid(shared_data / "camvid", split)
    assert tuple(class_pixels(data, 11).tolist()) == PIXELS[split][:-1]
    assert sum(int((item.labels == 255).sum()) for item in data) == PIXELS[split][-1]
