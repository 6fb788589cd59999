"""The recipe for FCN trains from folders, resumes, and its checkpoints are models."""

from __future__ import annotations

import csv
import io
import re

import numpy as np
import pytest
import torch

pytest.importorskip("lightning")
pytest.importorskip("kornia")

from pydlx.cli import main
from pydlx.models import load_model
from pydlx.training.segmentation import AugmentLabels, SegmentationTask, street_scene_changes
from pydlx.visualize import colour_labels

Image = pytest.importorskip("PIL.Image")


def squares(folder, count, seed):
    """Grey images with a bright square, class 1, and a dark one, class 2; the border is void."""
    draw = np.random.default_rng(seed)
    for place in ("images", "labels"):
        (folder / place).mkdir(parents=True)
    for n in range(count):
        image, labels = np.full((32, 40, 3), 128, np.uint8), np.zeros((32, 40), np.uint8)
        for label, shade in ((1, 250), (2, 5)):
            row, column = draw.integers(0, 20), draw.integers(0, 28)
            image[row : row + 12, column : column + 12] = shade
            labels[row : row + 12, column : column + 12] = label
        labels[0] = 255
        Image.fromarray(image).save(folder / "images" / f"{n}.png")
        Image.fromarray(labels).save(folder / "labels" / f"{n}.png")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("squares")
    squares(folder / "train", 8, 0)
    squares(folder / "val", 3, 1)
    return folder


def train(data, out, *words):
    fixed = ["layout=folders", "num_classes=3", "backbone=slim_vgg", "size=32,32", "batch_size=4", "progress=false"]
    return main(["train", "fcn", f"data={data}", f"out={out}", *fixed, "dropout=0", "accelerator=cpu", *words])


def test_it_trains_resumes_and_leaves_a_model(data, tmp_path, capsys):
    assert train(data, tmp_path, "model=fcn32s", "epochs=1") == 0
    assert train(data, tmp_path, "model=fcn32s", "epochs=2") == 0
    rows = [row for path in sorted(tmp_path.glob("csv/*/metrics.csv")) for row in csv.DictReader(path.open())]
    assert [int(row["step"]) for row in rows if row.get("val/mean_iou")] == [1, 3]
    model = load_model(tmp_path / "best.ckpt")
    assert (model.model_name, model.model_options["num_classes"]) == ("fcn32s", 3)
    assert list(tmp_path.glob("logs/events*"))
    assert train(data, tmp_path, "model=fcn8s") == 2
    assert "holds model fcn32s, not fcn8s; give the same options" in capsys.readouterr().err


def test_tensorboard_shows_samples(data, tmp_path):
    """Image, truth and prediction, side by side; the truth is that of the file, its void as the image has it."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    assert train(data, tmp_path, "model=fcn32s", "epochs=2") == 0
    events = accumulator.EventAccumulator(str(tmp_path / "logs"), size_guidance={"images": 0}).Reload()
    assert sorted(events.Tags()["images"]) == [f"val/sample {n}" for n in range(3)]
    shown = events.Images("val/sample 1")
    assert [picture.step for picture in shown] == [2, 4]
    picture = np.asarray(Image.open(io.BytesIO(shown[0].encoded_image_string)))
    image, labels = (np.asarray(Image.open(data / "val" / part / "1.png")) for part in ("images", "labels"))
    assert picture.shape == (32, 120, 3)
    assert (picture[:, :40] == image).all()
    assert (picture[:, 40:80] == colour_labels(labels.astype(int), 3, image)).all()


def test_a_finer_network_starts_from_a_coarser_one(data, tmp_path):
    assert train(data, tmp_path / "32", "model=fcn32s", "epochs=1") == 0
    init = f"init={tmp_path / '32' / 'last.ckpt'}"
    assert train(data, tmp_path / "16", "model=fcn16s", "epochs=1", init, "lr=0", "weight_decay=0") == 0
    coarse, fine = (load_model(tmp_path / name / "last.ckpt").state_dict() for name in ("32", "16"))
    assert torch.equal(coarse["score_fr.weight"], fine["score_fr.weight"])
    assert coarse["score_fr.weight"].any()
    assert not fine["score_pool4.weight"].any()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["modle=fcn8s"], "option 'modle' is not one of this recipe; did you mean 'model'"),
        (["model=fcn9s"], "model must be one of 'fcn32s'"),
        (["data=nowhere"], "no such folder: 'nowhere"),
        (["num_classes=none"], "num_classes must be given for layout=folders"),
        (["init=nowhere.ckpt"], "no such file: 'nowhere.ckpt'"),
        (["num_classes=2"], r"must hold labels from 0 to 1, got [2]"),
    ],
)
def test_errors_are_one_line(data, tmp_path, capsys, words, message):
    assert train(data, tmp_path, "epochs=1", *words) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("pydlx train: ")
    assert message in error
    assert not list(tmp_path.glob("*.ckpt"))


def test_options_are_listed(capsys):
    assert main(["train", "fcn", "--options"]) == 0
    assert re.search(r"^size +180,240 +height and width", capsys.readouterr().out, re.MULTILINE)


def test_augmented_labels_stay_labels():
    """Pixels from outside the image are ignored, and labels stay aligned with their pixels."""
    labels = torch.arange(20 * 24).view(20, 24) % 7
    labels[3:6] = 255
    image = torch.where(labels == 255, 0.9, labels / 10 + 0.1).expand(3, -1, -1)
    changes = street_scene_changes((20, 24))[:3]
    change = AugmentLabels(changes, 255)
    seen_outside = False
    for seed in range(20):
        torch.manual_seed(seed)
        changed_image, changed = change(image.clone(), labels)
        assert changed_image.shape == (3, 20, 24)
        assert changed.dtype == torch.int64
        assert set(changed.unique().tolist()) <= {*range(7), 255}
        seen_outside |= bool(((changed == 255) & (changed_image[0] == 0)).any())
    assert seen_outside


@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 3.0, 0.5])])
def test_the_loss_is_that_of_torch(weights):
    task = SegmentationTask(torch.nn.Identity(), lambda model: None, 3, class_weights=weights)
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 5, 6, generator=generator)
    labels = torch.randint(0, 3, (2, 5, 6), generator=generator)
    labels[0, :2] = 255
    expected = torch.nn.functional.cross_entropy(logits, labels, weights, ignore_index=255)
    torch.testing.assert_close(task.loss(logits, labels), expected)
    assert task.loss(logits, torch.full_like(labels, 255)) == 0
