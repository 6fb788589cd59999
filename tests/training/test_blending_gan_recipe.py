"""The recipe for the Blending GAN: alternation of critic and generator, losses, and resuming."""

from __future__ import annotations

import csv
import os
import pickle
import subprocess
import sys
from contextlib import suppress

import numpy as np
import pytest
import torch

pytest.importorskip("lightning")
pytest.importorskip("PIL")

from lightning.pytorch import Callback

import pydlx
from pydlx.cli import main
from pydlx.data import Composite
from pydlx.files import write_image
from pydlx.models import load_model
from pydlx.training import blending_gan
from pydlx.training.blending_gan import BlendingGANOptions
from pydlx.training.gan import BlendingGANTask, CriticRule, Turns
from pydlx.training.options import parse_options

SMALL = [
    "image_size=8",
    "width=4",
    "bottleneck=8",
    "regions=rectangles",
    "batch_size=4",
    "critic_long=3",
    "critic_steps=2",
]
SMALL += ["progress=false", "accelerator=cpu"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Photographs of smooth colour gradients, all different."""
    folder = tmp_path_factory.mktemp("photographs")
    y, x = np.mgrid[:20, :24] / 24
    for n, (a, b, c) in enumerate(np.random.default_rng(0).random((16, 3))):
        picture = np.stack([a * x + (1 - a) * y, b * y + 0.2, c * (1 - x)], 2)
        write_image(folder / f"{n:02}.png", (255 * picture.clip(0, 1)).astype(np.uint8))
    return folder


def command(data, out, *words):
    return ["train", "blending_gan", f"data={data}", f"out={out}", *SMALL, *words]


def logged(out, column):
    rows = [row for path in sorted(out.glob("csv/*/metrics.csv")) for row in csv.DictReader(path.open())]
    return {int(row["step"]): float(row[column]) for row in rows if row.get(column)}


def test_alternation_of_critic_and_generator_is_that_of_the_authors_code():
    """Before steps 0 to 24 of the generator and 500, 1000, ... the critic has 100 batches, before all others 5."""
    turns, critic, taken = Turns(), 0, []
    for _ in range(25 * 101 + 500 * 6 + 200):
        if turns.next_is_critic():
            critic += 1
        else:
            taken.append(critic)
            critic = 0
    assert taken[:25] == [100] * 25
    assert [n for n, batches in enumerate(taken) if batches == 100] == [*range(25), 500]
    assert set(taken) == {100, 5}


def test_25_epochs_are_9100_steps_of_the_generator():
    turns = Turns()
    for _ in range(25 * 150_000 // 64):
        turns.next_is_critic()
    assert 9000 < turns.generator_steps < 9200


def test_alternation_of_critic_and_generator_is_resumed():
    turns, again = Turns(2, 4, 2, 5), Turns(2, 4, 2, 5)
    first = [turns.next_is_critic() for _ in range(13)]
    again.load_state_dict(turns.state_dict())
    assert [turns.next_is_critic() for _ in range(40)] == [again.next_is_critic() for _ in range(40)]
    assert first == [True] * 4 + [False] + [True] * 4 + [False] + [True] * 2 + [False]


def batch():
    torch.manual_seed(1)
    target, mask = torch.rand(4, 3, 8, 8), torch.rand(4, 1, 8, 8)
    return Composite(torch.lerp(target, torch.rand(4, 3, 8, 8), mask), target, mask)


def task(l2=0.9, rule=CriticRule(), **options):  # noqa: B008
    torch.manual_seed(0)
    model = pydlx.create_model("blending_gan", image_size=8, width=4, bottleneck=8, **options)
    return BlendingGANTask(model, lambda _: [], l2=l2, rule=rule)


def test_losses_are_those_of_the_paper():
    one, x = task(), batch()
    made = one.model(2 * x.pasted - 1)
    squared = (made - (2 * x.target - 1)).square().mean()
    expected = 0.9 * squared + 0.1 * one.model.critic(made)[-1].mean()
    torch.testing.assert_close(one._generator_loss(x), expected)
    loss = one._critic_loss(x)
    largest = max(weight.abs().max().item() for weight in one.model.critic.parameters())
    assert largest == pytest.approx(0.01)  # also batch norm's weights, which start near 1
    real, fake = (one.model.critic(pictures)[-1].mean() for pictures in (2 * x.target - 1, made))
    torch.testing.assert_close(loss, real - fake)
    loss.backward()
    assert all(weight.grad is None for weight in one.model.generator.parameters())


def test_the_penalty_is_that_of_wgan_gp():
    """Against numerical derivatives of the critic, at the interpolated points that the seed gives."""
    one, x = task(rule=CriticRule(penalty=10.0)).double().eval(), batch()
    real, fake = (2 * picture.double() - 1 for picture in (x.target, x.pasted))
    torch.manual_seed(5)
    between = torch.lerp(real, fake, torch.rand(4, 1, 1, 1).double())
    directions = torch.eye(3 * 64).double().view(-1, 1, 3, 8, 8) * 1e-5
    with torch.no_grad():
        slopes = [
            one.model.critic(between + d)[-1].flatten() - one.model.critic(between - d)[-1].flatten()
            for d in directions
        ]
    norms = (torch.stack(slopes) / 2e-5).square().sum(0).sqrt()
    torch.manual_seed(5)
    torch.testing.assert_close(one._gradient_penalty(real, fake), (norms - 1).square().mean(), rtol=1e-5, atol=1e-8)
    before = [weight.clone() for weight in one.model.critic.parameters()]
    one._critic_loss(Composite(*(part.double() for part in x)))
    assert all(w.equal(b) for w, b in zip(one.model.critic.parameters(), before, strict=True))  # none is clamped


def test_it_trains_and_leaves_a_model(data, tmp_path, capsys):
    words = ["epochs=8", "val_every=4", "l2=1", "pairs=64", "decay=true", "skips=true"]
    assert main(command(data, tmp_path, *words, "mask_input=true")) == 0
    errors = list(logged(tmp_path, "val/foreground_error").values())
    assert len(errors) == 2 and errors[1] < errors[0]
    rates = list(logged(tmp_path, "lr-Adam").values())
    assert rates[0] > 5 * rates[-1] > 0
    model = load_model(tmp_path / "best.ckpt")
    assert model.model_options["skips"] and model.model_options["mask_input"] and model.critic is None
    assert main(command(data, tmp_path, *words)) == 2
    assert "holds mask_input=True, not False; give the same options" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["noise=5", "lr=5e-5"], ["penalty=10"], ["regions=centre", "clip=1.0", "ema=0.9"]])
def test_the_variants_train(data, tmp_path, words):
    assert main(command(data, tmp_path, "epochs=3", *words)) == 0
    assert logged(tmp_path, "train/critic") and logged(tmp_path, "train/generator")
    assert load_model(tmp_path / "last.ckpt").critic is not None


class Stop(Exception):
    pass


class Watched(Callback):
    """Records losses, and interrupts the training as a kill would, before the step is saved."""

    def __init__(self, stop=None):
        self.stop, self.losses = stop, []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.losses.append(outputs["loss"].item())
        if trainer.global_step == self.stop:
            raise Stop


def watched(data, out, monkeypatch, stop=None):
    watch = Watched(stop)
    build = blending_gan.build_trainer
    with monkeypatch.context() as patch:
        patch.setattr(blending_gan, "build_trainer", lambda *a, **k: build(*a, **k, callbacks=[watch]))
        words = command(data, out, "epochs=3", "checkpoint_steps=1", "pairs=20", "penalty=1")[2:]
        with suppress(Stop):
            blending_gan.train(parse_options(BlendingGANOptions, words))
    return watch.losses


@pytest.mark.parametrize("stop", [2, 4, 5, 9, 14])
def test_a_resumed_training_is_the_uninterrupted_one(data, tmp_path, monkeypatch, stop):
    """Stops during the critic's updates, at the generator's, and at an epoch's end."""
    whole = watched(data, tmp_path / "whole", monkeypatch)
    assert len(whole) == 15
    first = watched(data, tmp_path / "cut", monkeypatch, stop)
    second = watched(data, tmp_path / "cut", monkeypatch)
    assert first[:-1] + second == whole


def test_two_processes_train_as_one_with_twice_the_batch(data, tmp_path):
    words = ["epochs=4", "pairs=32", "regions=centre", "lr=1e-3", "precision=64-true"]
    assert main(command(data, tmp_path / "one", *words, "batch_size=8")) == 0
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "pydlx.cli"]
    subprocess.run(
        [sys.executable, *launch, *command(data, tmp_path / "two", *words, "devices=2")],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        check=True,
        timeout=300,
    )
    for column in ("train/critic", "train/generator", "val/error"):
        one, two = logged(tmp_path / "one", column), logged(tmp_path / "two", column)
        assert one
        assert two == pytest.approx(one, rel=1e-6, abs=1e-9), column
    one, two = (load_model(tmp_path / run / "last.ckpt").state_dict() for run in ("one", "two"))
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=1e-6, atol=1e-8, msg=name)


def test_a_loss_that_is_not_finite_stops_the_training(data, tmp_path, capsys):
    assert (
        main(command(data, tmp_path, "epochs=4", "lr=1e30", "critic_steps=1", "critic_long=1", "checkpoint_steps=1"))
        == 2
    )
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("pydlx train: training: the loss must be finite, got ") and "in step " in error
    weights = load_model(tmp_path / "last.ckpt")
    assert weights.model_name == "blending_gan"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data=nowhere"], "no such folder: 'nowhere'"),
        (["regions=masks"], "masks must be a folder with kind='masks' alone, got None"),
        (["layout=pictures"], "layout must be one of 'photographs', 'scenes'"),
        (["image_size=50"], "image_size must be a power of two from 8, got 50"),
        (["accumulate=2"], "accumulate must be 1, as critic and generator take turns, got 2"),
        (["l2=2"], "l2 must lie in [0, 1], got 2.0"),
    ],
)
def test_errors_are_one_line(data, tmp_path, capsys, words, message):
    assert main(command(data, tmp_path, "epochs=1", *words)) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("pydlx train: ") and message in error
    assert not list(tmp_path.glob("*.ckpt"))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("batch_size=1", "batch_size must be at least 2, got 1"),
        ("pairs=0", "pairs must be at least 2, got 0"),
        ("clip=1 precision=16-mixed", "precision must be 32-true or bf16-mixed with clip, got 16-mixed"),
    ],
)
def test_unusable_training_options_are_refused(tmp_path, more, message):
    options = parse_options(BlendingGANOptions, [f"data={tmp_path}", f"out={tmp_path / 'run'}", *more.split()])
    with pytest.raises(ValueError, match=message):
        blending_gan.train(options)


def test_reduced_photographs_go_to_workers_that_are_not_forked():
    """Workers started by spawn receive the data set by pickle."""
    scenes = blending_gan._SinglePhotographs([np.full((40, 50, 3), 7, np.uint8)], pairs=2, side=16)
    scenes = pickle.loads(pickle.dumps(scenes))
    assert len(scenes) == 2
    assert scenes[1][0].shape == (16, 20, 3)
