"""Boxes of a COCO file are paired with their images; mismatches are refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("msgspec")

from pydlx.data import AnnotationWarning, CocoBoxes

Image = pytest.importorskip("PIL.Image")


@pytest.fixture
def coco(tmp_path):
    """Writes two images with boxes and one without; category ids have gaps, as COCO's do."""
    (tmp_path / "images").mkdir()
    for n in (7, 3, 5):
        Image.fromarray(np.full((20, 30, 3), n, np.uint8)).save(tmp_path / "images" / f"{n}.png")
    boxes = ((7, 90, [1, 2, 10, 5], 0), (3, 1, [0, 0, 30, 20], 0), (7, 1, [4, 4, 2, 2], 0), (3, 90, [0, 0, 9, 9], 1))
    content = {
        "images": [{"id": n, "file_name": f"{n}.png", "width": 30, "height": 20} for n in (7, 3, 5)],
        "categories": [{"id": 90, "name": "dog"}, {"id": 1, "name": "cat"}],
        "annotations": [
            {"id": n, "image_id": image, "category_id": category, "bbox": box, "iscrowd": crowd, "area": 1}
            for n, (image, category, box, crowd) in enumerate(boxes, 1)
        ],
    }
    (tmp_path / "boxes.json").write_text(json.dumps(content))
    return tmp_path


def test_boxes_come_with_their_images(coco):
    with pytest.warns(AnnotationWarning, match="1 crowd regions are left out"):
        data = CocoBoxes(coco / "boxes.json", coco / "images")
    assert (data.class_names, data.category_ids, data.image_ids) == (("cat", "dog"), [1, 90], [3, 5, 7])
    assert [item.name for item in data] == ["3.png", "5.png", "7.png"]
    assert [item.boxes.tolist() for item in data] == [[[0, 0, 30, 20]], [], [[1, 2, 11, 7], [4, 4, 6, 6]]]
    assert [item.labels.tolist() for item in data] == [[0], [], [1, 0]]
    assert (data[2].image == 7).all()


@pytest.mark.filterwarnings("ignore::pydlx.data.AnnotationWarning")
def test_images_without_boxes_can_be_left_out(coco):
    data = CocoBoxes(coco / "boxes.json", coco / "images", keep_empty=False)
    assert [item.name for item in data] == ["3.png", "7.png"]
    assert data[1].labels.tolist() == [1, 0]


@pytest.mark.filterwarnings("ignore::pydlx.data.AnnotationWarning")
def test_what_is_missing_is_said(coco):
    (coco / "images" / "5.png").write_bytes(b"no picture")
    with pytest.raises(OSError, match=r"cannot read .*5\.png"):
        CocoBoxes(coco / "boxes.json", coco / "images")[1]
    (coco / "images" / "5.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"no such file: '.*5\.png' \(and 0 more\)"):
        CocoBoxes(coco / "boxes.json", coco / "images")
    with pytest.raises(FileNotFoundError, match=r"none\.json"):
        CocoBoxes(coco / "none.json", coco / "images")
    (coco / "boxes.json").write_text("{")
    with pytest.raises(ValueError, match=r"boxes\.json"):
        CocoBoxes(coco / "boxes.json", coco / "images")
