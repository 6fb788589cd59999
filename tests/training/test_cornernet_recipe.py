"""The recipe for CornerNet: boxes follow their objects through augmentation, and training leaves a model."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

pytest.importorskip("lightning")
pytest.importorskip("kornia")

from pydlx.cli import main
from pydlx.data import BoxedImage
from pydlx.models import create_model, load_model
from pydlx.models.detection import detect
from pydlx.training import cornernet as recipe
from pydlx.training.detection import PreparedBoxes
from pydlx.training.options import parse_options

Image = pytest.importorskip("PIL.Image")


def network():
    """Maps of 32 cells for images of 127 pixels."""
    return create_model("cornernet_squeeze", num_classes=1, width=0.05, stacks=1, stride=4)


def scene(height=60, width=90, box=(20, 10, 50, 34)):
    """A black picture with one white box."""
    x1, y1, x2, y2 = box
    picture = np.zeros((height, width, 3), np.uint8)
    picture[y1:y2, x1:x2] = 255
    return BoxedImage("scene", picture, np.array([box], np.float64), np.array([0]))


def corners(targets, cells, size):
    """Both corners in pixels of the network's input, (2, 2) as x, y."""
    found = []
    for cell, offset in ((targets.cell_tl, targets.offset_tl), (targets.cell_br, targets.offset_br)):
        at = torch.tensor([int(cell[0]) % cells, int(cell[0]) // cells])
        found.append((at + offset[0]) * size / cells)
    return torch.stack(found)


def test_boxes_stay_on_their_objects():
    prepare = PreparedBoxes(network(), 127, augment=True)
    prepare.colours = torch.nn.Identity()
    seen = 0
    for seed in range(30):
        torch.manual_seed(seed)
        image, targets = prepare(scene())
        assert image.shape == (3, 127, 127)
        bright = (image[0] > image[0].mean()).nonzero()
        if bright.numel() == 0 or bright.min() == 0 or bright.max() == 126:
            continue
        seen += 1
        assert targets.mask[0]
        edges = torch.stack([bright.amin(0).flip(0), bright.amax(0).flip(0) + 1]).float()
        assert (corners(targets, 32, 127) - edges).abs().max() < 1.6  # each edge is blurred by half a pixel
    assert seen > 10


@pytest.mark.parametrize("size", [127, None])
def test_without_augmentation_pictures_are_as_in_the_test(size):
    item, model = scene(254, 128, (10, 20, 60, 100)), network().eval()
    image, targets = PreparedBoxes(model, size, scale=0.5, augment=False)(item)
    left = (image.shape[2] - 64) // 2
    assert image.shape == (3, 127, size or 127)
    torch.testing.assert_close(corners(targets, 32, 127), torch.tensor([[5.0 + left, 10.0], [30.0 + left, 50.0]]))
    seen = []
    model.register_forward_pre_hook(lambda _, args: seen.append(args[0][0]))
    detect(model, item.image, flip=False, scales=(0.5,))
    assert (seen[0] - image).abs().max() < 0.6 / 255 / 0.27  # in training it is rounded to bytes


def test_whole_pictures_are_not_augmented():
    with pytest.raises(ValueError, match="augment must be False for whole pictures"):
        PreparedBoxes(network(), None, augment=True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["size=none", "augment=false"], "batch_size must be 1 for whole pictures (size=none), got 2"),
        (["size=none", "batch_size=1"], "augment must be False for whole pictures"),
        (["size=0"], "size must be positive, got 0"),
        (["scale=0"], "scale must be positive, got 0.0"),
    ],
)
def test_bad_options(data, tmp_path, capsys, words, message):
    assert train(data, tmp_path / "out", *words) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("boxes")
    (folder / "images").mkdir()
    draw = np.random.default_rng(0)
    annotations = []
    for n in range(4):
        x, y = draw.integers(5, 60, 2)
        item = scene(127, 127, (x, y, x + 40, y + 30))
        Image.fromarray(item.image).save(folder / "images" / f"{n}.png")
        annotations.append(
            {"id": n + 1, "image_id": n, "category_id": 5, "bbox": [int(x), int(y), 40, 30], "area": 1200}
        )
    content = {
        "images": [{"id": n, "file_name": f"{n}.png", "width": 127, "height": 127} for n in range(4)],
        "categories": [{"id": 5, "name": "square"}],
        "annotations": [{**annotation, "iscrowd": 0} for annotation in annotations],
    }
    (folder / "boxes.json").write_text(json.dumps(content))
    return folder


def command(data, out, *words):
    files = [f"{part}_annotations={data / 'boxes.json'}" for part in ("train", "val")]
    files += [f"{part}_images={data / 'images'}" for part in ("train", "val")]
    fixed = ["width=0.125", "norm=group", "size=127", "batch_size=2", "progress=false", "accelerator=cpu", f"out={out}"]
    return ["train", "cornernet", *files, *fixed, *words]


def train(data, out, *words):
    return main(command(data, out, *words))


def test_it_trains_and_leaves_a_model_that_predicts(data, tmp_path, capsys):
    _, _, *words = command(data, tmp_path, "epochs=1")
    trainer = recipe.train(parse_options(recipe.CornerNetOptions, words))
    assert trainer.progress_bar_metrics.keys() == {"train/total", "val/AP50"}
    model = load_model(tmp_path / "last.ckpt")
    assert (model.model_name, model.model_options["num_classes"]) == ("cornernet_squeeze", 1)
    words = ["predict", "--checkpoint", str(tmp_path / "best.ckpt"), str(data / "images"), "--threshold", "0"]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    assert len(json.loads((tmp_path / "out" / "predictions.json").read_text())) == 4
    assert (tmp_path / "out" / "boxes" / "0.png").is_file()
    assert train(data, tmp_path, "epochs=2", "norm=batch") == 2
    assert "holds norm='group', not 'batch'" in capsys.readouterr().err


def logged(out, column):
    """Returns the logged values of a score, by step."""
    rows = [row for path in sorted(out.glob("csv/*/metrics.csv")) for row in csv.DictReader(path.open())]
    return {int(row["step"]): float(row[column]) for row in rows if row.get(column)}


def test_two_processes_are_as_good_as_one(data, tmp_path):
    """Each step averages two batches of two, in one process or in two, and all images are scored together.

    In float64: Adam makes steps of what float32's rounding leaves of a gradient, which differs from machine to machine.
    """
    steps = ["epochs=10", "val_every=5", "lr=1e-3", "augment=false", "precision=64-true"]
    assert train(data, tmp_path / "one", *steps, "accumulate=2") == 0
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "pydlx.cli"]
    subprocess.run(
        [sys.executable, *launch, *command(data, tmp_path / "two", *steps, "devices=2")],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        check=True,
        timeout=300,
    )
    for column in ("val/AP50", "val/AP"):
        one, two = logged(tmp_path / "one", column), logged(tmp_path / "two", column)
        assert list(one) == [4, 9]
        assert two == pytest.approx(one, rel=1e-6), column
    one, two = (load_model(tmp_path / run / "last.ckpt").state_dict() for run in ("one", "two"))
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=1e-6, atol=1e-6, msg=name)
