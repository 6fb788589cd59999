"""``pydlx predict`` writes label maps, pictures and one JSON of everything, and says what it could not read."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import pydlx
from pydlx.cli import main
from pydlx.data import read_label_map
from pydlx.files import read_image
from pydlx.models import save_model
from pydlx.models.detection import detect
from pydlx.visualize import colour_labels, draw_boxes, label_colours

Image = pytest.importorskip("PIL.Image")


@pytest.fixture
def place(tmp_path):
    """A checkpoint that finds class 2 everywhere, and two pictures."""
    model = pydlx.create_model("fcn8s", num_classes=3, backbone="slim_vgg")
    with torch.no_grad():
        model.score_fr.bias[2] = 1  # all other scores are zero in a new model
    save_model(model, tmp_path / "model.pt")
    (tmp_path / "in").mkdir()
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(tmp_path / "in" / "a.b.jpg")
    Image.fromarray(np.zeros((9, 7), np.uint8)).save(tmp_path / "in" / "b.png")
    return tmp_path


def test_labels_are_written(place, capsys):
    out = place / "out"
    assert main(["predict", "--checkpoint", str(place / "model.pt"), str(place / "in"), "--out", str(out)]) == 0
    assert "2 of 2 pictures" in capsys.readouterr().out
    assert (read_label_map(out / "label_maps" / "a.b.png") == 2).all()
    assert read_image(out / "coloured" / "b.png").shape == (9, 7, 3)
    content = json.loads((out / "predictions.json").read_text())
    assert content == {str(place / "in" / name): {"2": 1.0} for name in ("a.b.jpg", "b.png")}


def test_label_maps_are_what_eval_takes(place, capsys):
    out, truth = place / "out", place / "truth"
    assert main(["predict", "--checkpoint", str(place / "model.pt"), str(place / "in"), "--out", str(out)]) == 0
    truth.mkdir()
    Image.fromarray(np.full((20, 30), 2, np.uint8)).save(truth / "a.b.png")
    Image.fromarray(np.full((9, 7), 1, np.uint8)).save(truth / "b.png")
    capsys.readouterr()
    assert main(["eval", "segmentation", str(truth), str(out / "label_maps"), "--classes", "3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["results"]["pixel_accuracy"] == pytest.approx(600 / 663)


def test_pictures_that_cannot_be_read_are_counted(place, capsys):
    (place / "in" / "a.png").write_bytes(b"no picture")  # the others come behind it
    words = ["predict", "--checkpoint", str(place / "model.pt"), str(place / "in"), "--out", str(place / "out")]
    assert main(words) == 2
    said = capsys.readouterr()
    assert "2 of 3 pictures" in said.out
    assert "1 of 3 pictures cannot be read, the first: read_image: cannot read" in said.err
    assert len(json.loads((place / "out" / "predictions.json").read_text())) == 2


def test_pictures_keep_their_own_results(place, capsys):
    """Results never take the place of a picture, and two pictures of one name are refused."""
    pictures = place / "in"
    before = {path.name: path.read_bytes() for path in pictures.iterdir()}
    assert main(["predict", "--checkpoint", str(place / "model.pt"), str(pictures), "--out", str(pictures)]) == 0
    assert {name: (pictures / name).read_bytes() for name in before} == before
    (pictures / "b.jpg").write_bytes(before["b.png"])
    assert main(["predict", "--checkpoint", str(place / "model.pt"), str(pictures), "--out", str(place / "out")]) == 2
    assert "different names without suffix, got 'b' twice" in capsys.readouterr().err
    assert not (place / "out").exists()


def test_a_device_that_is_not_there_is_said(place, capsys):
    words = [
        "predict",
        "--checkpoint",
        str(place / "model.pt"),
        str(place / "in"),
        "--out",
        str(place / "out"),
        "--device",
    ]
    for device, message in (
        ("gpu", "--device must be cpu, cuda or cuda:N, got 'gpu'"),
        ("cuda:99", "--device must be one that torch finds"),
    ):
        assert main([*words, device]) == 2
        assert message in capsys.readouterr().err
    assert not (place / "out").exists()


def test_a_missing_checkpoint_is_said(place, capsys):
    assert (
        main(["predict", "--checkpoint", str(place / "none.pt"), str(place / "in"), "--out", str(place / "out")]) == 2
    )
    assert "no such file" in capsys.readouterr().err
    assert not (place / "out").exists()


def test_boxes_are_found_at_a_scale(tmp_path, capsys):
    torch.manual_seed(0)
    model = pydlx.create_model("cornernet_squeeze", num_classes=2, width=0.05, stacks=1).eval()
    save_model(model, tmp_path / "model.pt")
    image = np.random.default_rng(0).integers(0, 256, (60, 90, 3)).astype(np.uint8)
    Image.fromarray(image).save(tmp_path / "a.png")
    words = ["--threshold", "0", "--scale", "0.5", "--out", str(tmp_path / "out")]
    assert main(["predict", "--checkpoint", str(tmp_path / "model.pt"), str(tmp_path / "a.png"), *words]) == 0
    (found,) = json.loads((tmp_path / "out" / "predictions.json").read_text()).values()
    expected = detect(model, image, scales=(0.5,))
    assert [entry["score"] for entry in found] == pytest.approx(expected.scores.tolist(), abs=1e-6)
    assert len(found) != len(detect(model, image).scores) or found[0]["box"] != detect(model, image).boxes[0].tolist()


@pytest.fixture
def detector(tmp_path):
    """A CornerNet of two classes, two pictures, and a COCO file that lists them, with all that the network finds."""
    torch.manual_seed(0)
    model = pydlx.create_model("cornernet_squeeze", num_classes=2, width=0.05, stacks=1).eval()
    save_model(model, tmp_path / "model.pt")
    rng = np.random.default_rng(0)
    images = {f"{name}.png": rng.integers(0, 256, (60, 90, 3)).astype(np.uint8) for name in "ab"}
    annotations = []
    for key, (name, image) in zip((70, "seven"), images.items(), strict=True):
        Image.fromarray(image).save(tmp_path / name)
        for box, label in zip(*detect(model, image)[::2], strict=True):
            x1, y1, x2, y2 = box.double().tolist()
            annotation = {"image_id": key, "category_id": (3, 90)[label], "bbox": [x1, y1, x2 - x1, y2 - y1]}
            annotations.append({"id": len(annotations) + 1, "iscrowd": 0, "area": 400, **annotation})
    truth = {
        "images": [{"id": 70, "file_name": "folder/a.png"}, {"id": "seven", "file_name": "b.png"}],
        "categories": [{"id": 90, "name": "dog"}, {"id": 3, "name": "cat"}],
        "annotations": annotations,
    }
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    return tmp_path


def find(place, *words):
    pictures = [str(place / name) for name in ("a.png", "b.png")]
    return main(["predict", "--checkpoint", str(place / "model.pt"), *pictures, "--out", str(place / "out"), *words])


def test_boxes_are_what_eval_takes(detector, capsys):
    """What a network finds is right where it is the truth, whatever is too unlikely to be drawn."""
    truth, out = detector / "truth.json", detector / "out"
    assert find(detector, "--annotations", str(truth), "--threshold", "1") == 0
    entries = json.loads((out / "coco_results.json").read_text())
    annotations = json.loads(truth.read_text())["annotations"]
    keys = ("image_id", "category_id", "bbox")
    assert [[entry[key] for key in keys] for entry in entries] == [[a[key] for key in keys] for a in annotations]
    assert {(entry["image_id"], entry["category_id"]) for entry in entries} == {
        (image, category) for image in (70, "seven") for category in (3, 90)
    }
    assert not any(json.loads((out / "predictions.json").read_text()).values())
    capsys.readouterr()
    assert main(["eval", "boxes", str(truth), str(out / "coco_results.json"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["results"]["AP50"] > 0.9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": [{"id": 1, "file_name": "a.png"}]}, "must list every picture once, got '{}/b.png' 0 times"),
        (
            {"images": [{"id": n, "file_name": f"{n}/a.png"} for n in (1, 2)]},
            "must list every picture once, got '{}/a.png' 2 times",
        ),
        ({"images": [{"id": 1}]}, "images[0]: object missing required field `file_name`"),
        ({"categories": [{"id": 1}]}, "--annotations must list 2 categories as the model, got 1"),
    ],
)
def test_files_that_do_not_list_what_is_needed(detector, capsys, change, message):
    truth = detector / "truth.json"
    truth.write_text(json.dumps(json.loads(truth.read_text()) | change))
    assert find(detector, "--annotations", str(truth)) == 2
    assert message.format(detector) in capsys.readouterr().err
    assert not (detector / "out").exists()


def test_without_annotations_there_are_no_results_of_coco(detector):
    assert find(detector) == 0
    assert {entry.name for entry in (detector / "out").iterdir()} == {"boxes", "predictions.json"}


def test_annotations_are_for_detectors(place, capsys):
    words = [
        "predict",
        "--checkpoint",
        str(place / "model.pt"),
        str(place / "in"),
        "--annotations",
        str(place / "model.pt"),
    ]
    assert main([*words, "--out", str(place / "out")]) == 2
    assert "--annotations must go with a detector, got fcn8s" in capsys.readouterr().err


def test_colours_are_those_of_voc():
    assert label_colours(6).tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128], [128, 0, 128]]
    assert label_colours(256)[255].tolist() == [224, 224, 192]
    assert len(np.unique(label_colours(256), axis=0)) == 256


def test_labels_lie_over_the_image():
    image = np.full((1, 3, 3), 100, np.uint8)
    labels = np.array([[0, 1, 255]])
    assert colour_labels(labels, 2, image, 0.5).tolist() == [[[50, 50, 50], [114, 50, 50], [100, 100, 100]]]
    assert colour_labels(labels, 2).tolist() == [[[0, 0, 0], [128, 0, 0], [255, 255, 255]]]
    with pytest.raises(ValueError, match=r"image must have shape \(1, 3, 3\), got \(2, 3, 3\)"):
        colour_labels(labels, 2, np.zeros((2, 3, 3), np.uint8))
    with pytest.raises(ValueError, match="opacity must be from 0 to 1, got 2"):
        colour_labels(labels, 2, image, 2)


def test_boxes_are_drawn_where_they_are():
    image = np.zeros((60, 80, 3), np.uint8)
    drawn = draw_boxes(image, np.array([[10.0, 20.0, 50.0, 40.0]]), [1], [0.5], ["a", "cat"])
    assert not image.any()
    colour = label_colours(256)[2]
    for row, column in ((40, 30), (30, 10), (30, 50)):
        assert drawn[row, column].tolist() == colour.tolist()
    assert not drawn[36, 30].any()
    assert not drawn[50:].any()
