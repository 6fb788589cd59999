"""The recipe for LAPGAN trains levels together or one by one, resumes exactly, and does not depend on processes."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from contextlib import suppress

import numpy as np
import pytest
import torch
from torch.nn import functional as F

pytest.importorskip("lightning")
pytest.importorskip("kornia")

from pydlx.cli import main
from pydlx.data import ClassifiedImage, PhotographFolders
from pydlx.models import create_model, load_model
from pydlx.training.generation import LapganTask, PreparedCrops, channel_statistics
from pydlx.training.lapgan import LapganOptions, _set_rates, train
from pydlx.training.options import parse_options
from pydlx.training.reproducible import TrainingLoader

Image = pytest.importorskip("PIL.Image")

SMALL = ["sizes=4,8", "base_units=8", "base_discriminator_units=8", "width=4"]
FIXED = [*SMALL, "batch_size=4", "val_images=4", "progress=false", "accelerator=cpu", "epochs=1"]
MODEL = {"sizes": [4, 8], "base_units": 8, "base_discriminator_units": 8, "width": 4}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Twelve pictures of two classes: reddish ones and bluish ones."""
    folder = tmp_path_factory.mktemp("pictures")
    draw = np.random.default_rng(0)
    for number in range(24):
        shade = (200, 60, 60) if number % 2 else (60, 60, 200)
        pixels = draw.normal(shade, 40, (10, 11, 3)).clip(0, 255).astype(np.uint8)
        path = folder / ("red" if number % 2 else "blue") / f"{number:02}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(path)
    return folder


def options(data, out, *words):
    return parse_options(LapganOptions, [*FIXED, f"data={data}", f"out={out}", *words])


def logged(folder):
    """All rows of the CSV files, without empty cells."""
    paths = sorted(folder.glob("csv/*/metrics.csv"), key=lambda path: int(path.parent.name.split("_")[1]))
    return [{k: float(v) for k, v in row.items() if v} for path in paths for row in csv.DictReader(path.open())]


class Stop(Exception):
    pass


def followed(monkeypatch, stop=None):
    """Records the losses of all further steps; interrupts the training at step `stop`, before the step is saved."""
    losses = []
    step = LapganTask.training_step

    def training_step(self, batch, batch_idx):
        losses.append(step(self, batch, batch_idx).item())
        if len(losses) == stop:
            raise Stop
        return torch.tensor(losses[-1])

    monkeypatch.setattr(LapganTask, "training_step", training_step)
    return losses


def weights(folder):
    return load_model(folder / "last.ckpt").state_dict()


def assert_equal(a, b, **tolerance):
    assert a.keys() == b.keys()
    for name in a:
        torch.testing.assert_close(a[name], b[name], **(tolerance or {"rtol": 0, "atol": 0}), msg=name)


def test_it_trains_resumes_and_leaves_a_model(data, tmp_path, capsys):
    words = [*FIXED, f"data={data}", f"out={tmp_path}", "classes=true"]
    assert main(["train", "lapgan", *words]) == 0
    assert main(["train", "lapgan", *words, "epochs=2"]) == 0
    rows = [row for row in logged(tmp_path) if "val/swd" in row]
    assert [row["epoch"] for row in rows] == [0, 1]
    for row in rows:
        assert row["val/swd"] == pytest.approx((row["val/chain_swd_4"] + row["val/chain_swd_8"]) / 2)
        assert row["val/swd_4"] == row["val/chain_swd_4"] and row["val/swd_8"] != row["val/chain_swd_8"]
    model = load_model(tmp_path / "best.ckpt")
    assert (model.model_name, model.sizes, model.num_classes) == ("lapgan_cifar10", [4, 8], 2)
    assert model.sample(2)[1].shape == (2, 3, 8, 8)
    assert main(["train", "lapgan", *words, "width=5"]) == 2
    assert "holds width=4, not 5; give the same options" in capsys.readouterr().err


def test_one_step_by_hand(data, tmp_path, monkeypatch):
    """Discriminator, then generator of each level from coarse to fine, by plain SGD."""
    losses = followed(monkeypatch)
    train(
        options(
            data,
            tmp_path,
            "classes=true",
            "dropout=0",
            "max_steps=1",
            "seed=3",
            "momentum=0",
            "lr=0.5",
            "checkpoint_steps=1",
        )
    )
    torch.manual_seed(3)
    model = create_model("lapgan_cifar10", **MODEL, num_classes=2, dropout=0)
    folders = PhotographFolders(data)
    items = [folders[n] for n in range(24) if n % 10 != 9]
    mean, std = channel_statistics(items, PreparedCrops(model, augment=False))
    model.mean.copy_(mean)
    model.std.copy_(std)
    batch = next(iter(TrainingLoader(items, PreparedCrops(model, augment=True), 4, seed=3, drop_last=True)))
    pictures, labels, noises = batch
    total = 0.0
    for level, real in enumerate(model.pyramid(pictures)):
        makes, tells = model.generators[level], model.discriminators[level]
        made = makes(noises[level][:, 0], real.coarse, labels).detach()
        real_scores = torch.sigmoid(tells(real.difference, real.coarse, labels))
        made_scores = torch.sigmoid(tells(made, real.coarse, labels))
        loss = -(real_scores.log().mean() + (1 - made_scores).log().mean()) / 2
        total += loss.item() + step_by_hand(loss, tells)
        loss = -torch.sigmoid(tells(makes(noises[level][:, 1], real.coarse, labels), real.coarse, labels)).log().mean()
        total += loss.item() + step_by_hand(loss, makes)
    assert losses == [pytest.approx(total, rel=1e-5)]
    assert_equal(weights(tmp_path), model.state_dict(), rtol=1e-4, atol=1e-6)


def step_by_hand(loss, network):
    gradients = torch.autograd.grad(loss, list(network.parameters()))
    with torch.no_grad():
        for parameter, gradient in zip(network.parameters(), gradients, strict=True):
            parameter -= 0.5 * gradient
    return 0.0


@pytest.fixture(scope="module")
def whole_run(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        losses = followed(patch)
        train(resumable(data, folder))
    assert len(losses) == 15
    return folder, losses


def resumable(data, folder):
    return options(
        data, folder, "classes=true", "epochs=3", "checkpoint_steps=1", "momentum_growth=0.1", "lr_decay=1.5"
    )


@pytest.mark.parametrize("stop", [1, 5, 6, 13])
def test_a_resumed_training_is_the_uninterrupted_one(data, tmp_path, monkeypatch, whole_run, stop):
    """Stops within epochs and at their ends; momentum and rate change with each epoch."""
    with monkeypatch.context() as patch, suppress(Stop):
        first = followed(patch, stop)
        train(resumable(data, tmp_path))
    second = followed(monkeypatch)
    train(resumable(data, tmp_path))
    folder, losses = whole_run
    assert len(first) == stop
    assert first[:-1] + second == losses
    assert_equal(weights(tmp_path), weights(folder))


def test_two_processes_train_as_one_with_twice_the_batch(data, tmp_path):
    """Batch norm takes its statistics over the images of both processes."""
    words = [f"data={data}", *FIXED, "dropout=0", "refinement=large"]
    torchrun = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "-m",
        "pydlx.cli",
    ]
    command = [*torchrun, "train", "lapgan", *words, f"out={tmp_path}/two", "devices=2", "batch_size=2"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr[-3000:]
    assert main(["train", "lapgan", *words, f"out={tmp_path}/one"]) == 0
    # Rounding alone makes a difference of 1e-8 in the first step and 5e-5 after five.
    assert_equal(weights(tmp_path / "two"), weights(tmp_path / "one"), rtol=1e-3, atol=2e-4)
    swd = [[row["val/swd"] for row in logged(tmp_path / name) if "val/swd" in row] for name in ("one", "two")]
    assert swd[0] == pytest.approx(swd[1], rel=1e-2)


def test_levels_train_one_by_one(data, tmp_path):
    """Training one level changes only its own networks; the next level starts from its checkpoint."""
    train(options(data, tmp_path / "0", "level=0"))
    train(options(data, tmp_path / "1", "level=1", f"init={tmp_path / '0' / 'last.ckpt'}", "seed=1"))
    first, second = (weights(tmp_path / name) for name in "01")
    torch.manual_seed(0)
    new = create_model("lapgan_cifar10", **MODEL).state_dict()
    for name in first:
        part = name.split(".")
        if len(part) > 2:
            assert torch.equal(first[name], new[name]) == (part[1] == "1"), name
            assert torch.equal(second[name], first[name]) == (part[1] == "0"), name
    rows = [row for row in logged(tmp_path / "1") if "val/swd" in row]
    assert rows[-1]["val/swd"] == rows[-1]["val/swd_8"]
    assert not any("train/generator_4" in row for row in logged(tmp_path / "1"))


def test_levels_do_not_depend_on_one_another(data, tmp_path):
    """Without dropout a level gets the same weights alone as with the others."""
    train(options(data, tmp_path / "all", "dropout=0"))
    train(options(data, tmp_path / "one", "dropout=0", "level=0"))
    both = [{n: t for n, t in weights(tmp_path / name).items() if ".0." in n[:16]} for name in ("all", "one")]
    assert any(name.startswith("generators.0.") for name in both[0])
    assert_equal(*both)


def test_adam_clipping_and_averages(data, tmp_path):
    train(options(data, tmp_path / "plain", "optimizer=adam"))
    train(options(data, tmp_path / "clipped", "optimizer=adam", "clip=1e-12"))
    train(options(data, tmp_path / "averaged", "optimizer=adam", "ema=0.5"))
    plain, clipped, averaged = (weights(tmp_path / name) for name in ("plain", "clipped", "averaged"))
    name = "generators.1.layers.0.weight"
    torch.manual_seed(0)
    new = create_model("lapgan_cifar10", **MODEL).state_dict()[name]
    assert (plain[name] - new).abs().max() > 10 * (clipped[name] - new).abs().max()
    assert 0 < (averaged[name] - new).norm() < (plain[name] - new).norm()


def test_tensorboard_shows_chains(data, tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    train(options(data, tmp_path))
    events = accumulator.EventAccumulator(str(tmp_path / "logs"), size_guidance={"images": 0}).Reload()
    assert events.Tags()["images"] == ["val/sample 0"]
    picture = Image.open(io.BytesIO(events.Images("val/sample 0")[0].encoded_image_string))
    assert picture.size[0] > 4 * 16 and picture.size[1] > 2 * 16  # four samples of two levels, enlarged by two


def test_the_rule_that_leaves_out_updates():
    class Alone:
        class strategy:
            reduce = staticmethod(lambda value, reduce_op: value)

    task = LapganTask(create_model("lapgan_cifar10", **MODEL), torch.optim.SGD, [0], balance=True)
    task._trainer = Alone()
    task._fabric = None
    for real, made, turns in (
        (0.2, 0.6, (True, False)),  # generated images are taken for real: the generator is ahead
        (0.2, 0.4, (False, True)),
        (0.4, 0.2, (False, True)),
        (0.75, 0.2, (True, True)),  # real images are not recognised: the discriminator is trained in any case
        (0.75, 1.2, (True, False)),
    ):
        errors = torch.tensor([real - 0.1, real + 0.1, made - 0.1, made + 0.1])
        assert task._turns(errors) == turns
        task.balance = False
        assert task._turns(errors) == (True, True)
        task.balance = True


def test_balanced_training_runs(data, tmp_path, monkeypatch):
    """If the discriminator is never trained, its weights stay the same, and steps are counted as usual."""
    monkeypatch.setattr(LapganTask, "_turns", lambda self, errors: (False, True))
    train(options(data, tmp_path, "balance=true", "max_steps=3"))
    torch.manual_seed(0)
    new = create_model("lapgan_cifar10", **MODEL).state_dict()
    trained = weights(tmp_path)
    for name in new:
        if "discriminators" in name:
            assert torch.equal(new[name], trained[name])
    assert not torch.equal(new["generators.1.layers.0.weight"], trained["generators.1.layers.0.weight"])
    content = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert content["global_step"] == 3 * 4


def test_a_loss_that_is_not_finite_ends_the_training(data, tmp_path):
    with pytest.raises(ValueError, match=r"^training: the loss must be finite, got (nan|inf) in step \d+"):
        train(options(data, tmp_path, "lr=1e30", "epochs=3"))


def test_rates_follow_the_papers_schedule():
    chosen = LapganOptions()
    sgd = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 0.02, 0.5)
    for epoch, momentum in ((0, 0.5), (10, 0.508), (1000, 0.7)):
        _set_rates(epoch, sgd, chosen)
        assert sgd.param_groups[0]["momentum"] == pytest.approx(momentum)
        assert sgd.param_groups[0]["lr"] == pytest.approx(0.02 / 1.00004**epoch)
    _set_rates(10**6, sgd, chosen)
    assert sgd.param_groups[0]["lr"] == 1e-6


def test_crops():
    model = create_model("lapgan_cifar10", **MODEL)
    image = np.random.default_rng(0).integers(0, 256, (20, 12, 3), np.uint8)
    pixels = torch.from_numpy(image).movedim(2, 0).float() / 255
    middle, label, noises = PreparedCrops(model, augment=False)(ClassifiedImage(image, None))
    assert torch.equal(middle, pixels[:, 6:14, 2:10])
    assert label == -1
    assert [tuple(noise.shape) for noise in noises] == [(2, 100), (2, 1, 8, 8)]
    assert -1 <= min(noise.min() for noise in noises) < -0.5 and 0.5 < max(noise.max() for noise in noises) < 1
    change = PreparedCrops(model, levels=[1], augment=True)
    windows = {
        tuple(x.flatten().tolist()): (top, left, mirrored)
        for top in range(13)
        for left in range(5)
        for mirrored, x in enumerate(
            (pixels[:, top : top + 8, left : left + 8], pixels[:, top : top + 8, left : left + 8].flip(2))
        )
    }
    torch.manual_seed(0)
    found = [change(ClassifiedImage(image, 1)) for _ in range(200)]
    places = [windows[tuple(crop.flatten().tolist())] for crop, _, _ in found]
    assert {place[0] for place in places} == set(range(13)) and {place[1] for place in places} == set(range(5))
    assert {place[2] for place in places} == {0, 1}
    assert [tuple(noise.shape) for noise in found[0][2]] == [(2, 0), (2, 1, 8, 8)]
    assert found[0][1] == 1


def test_small_images_are_enlarged_and_large_ones_reduced():
    model = create_model("lapgan_cifar10", **MODEL)
    small = ClassifiedImage(np.full((5, 4, 3), 51, np.uint8), None)
    crop = PreparedCrops(model, augment=True)(small)[0]
    torch.testing.assert_close(crop, torch.full((3, 8, 8), 0.2))
    gradient = ClassifiedImage(np.tile(np.arange(0, 240, 5, np.uint8)[:, None, None], (1, 96, 3)), None)  # (48, 96)
    crop = PreparedCrops(model, short_side=8, augment=False)(gradient)[0]
    expected = F.avg_pool2d(torch.arange(0, 240, 5.0)[None, None, :, None], (6, 1))[0, 0, :, 0] / 255
    torch.testing.assert_close(crop[0, 1:-1, 0], expected[1:-1], rtol=0, atol=0.01)
    with pytest.raises(ValueError, match=r"^lapgan: short_side must be at least 8, got 7$"):
        PreparedCrops(model, short_side=7, augment=False)


def test_distances_tell_pictures_without_detail():
    """Normalised by the real images the distance shows missing detail; normalised by each set it would not."""
    task = LapganTask(create_model("lapgan_cifar10", **MODEL), torch.optim.SGD, [0])
    first, second = (torch.rand(32, 3, 16, 16, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    flat = 0.5 + 0.1 * (second - 0.5)
    assert task._distance(first, flat) > 3 * task._distance(first, second)


def test_statistics_are_those_of_the_crops(data):
    model = create_model("lapgan_cifar10", **MODEL)
    items = PhotographFolders(data)
    change = PreparedCrops(model, augment=False)
    mean, std = channel_statistics(items, change)
    pixels = np.stack([change(item)[0].numpy() for item in items])
    np.testing.assert_allclose(mean, pixels.mean((0, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(std, pixels.std((0, 2, 3)), rtol=1e-5)
    few = channel_statistics(items, change, most=6)[0]
    np.testing.assert_allclose(few, pixels[::4].mean((0, 2, 3)), rtol=1e-5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["level=2"], "level must be all or from 0 to 1, got '2'"),
        (["level=fine"], "level must be all or from 0 to 1, got 'fine'"),
        (["layout=mnist"], "layout must be one of 'folders'"),
        (["model=fcn8s"], "model must be one of 'lapgan_cifar10'"),
        (["optimizer=lion"], "optimizer must be one of 'sgd', 'adam', got 'lion'"),
        (["accumulate=2"], "accumulate must be 1, got 2"),
        (["momentum=1"], "momentum must be at least 0 and below 1, got 1.0"),
        (["lr=-1"], "lr must be zero or positive, and finite, got -1.0"),
        (["val_images=1"], "val_images must be at least 2, got 1"),
        (["sizes=8,4"], "sizes must grow from the first to the last, got [8, 4]"),
        (["balance=true", "precision=16-mixed"], "precision must be 32-true or bf16-mixed with balance, got 16-mixed"),
        (["data=nowhere"], "no such folder: 'nowhere'"),
        (["init=nowhere.ckpt"], "no such file: 'nowhere.ckpt'"),
    ],
)
def test_errors_are_one_line(data, tmp_path, capsys, words, message):
    assert main(["train", "lapgan", *FIXED, f"data={data}", f"out={tmp_path}", *words]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("pydlx train: ") and message in error
    assert not list(tmp_path.glob("*.ckpt"))


def test_data_without_classes_or_too_few(data, tmp_path):
    flat = tmp_path / "flat"
    flat.mkdir()
    for number in range(3):
        Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(flat / f"{number}.png")
    with pytest.raises(
        ValueError, match=r"^lapgan: data must have classes where classes is true, got '.*flat' without$"
    ):
        train(options(flat, tmp_path / "out", "classes=true"))
    with pytest.raises(ValueError, match=r"^lapgan: data must hold at least 20 images where val_data is none, got 3$"):
        train(options(flat, tmp_path / "out"))
    with pytest.raises(ValueError, match=r"^lapgan: val_data must have the classes of data, blue, red, got none$"):
        train(options(data, tmp_path / "out", "classes=true", f"val_data={flat}"))
    train(options(data, tmp_path / "out", f"val_data={flat}"))
