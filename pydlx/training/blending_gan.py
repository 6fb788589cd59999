"""Recipe ``blending_gan``: the network of GP-GAN on pasted photographs."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F
from torch.optim import Adam, Optimizer, RMSprop
from torch.utils.data import DataLoader, Dataset, Subset

from pydlx._checks import check_one_of, whole, whole_or_none
from pydlx._optional import needed_for
from pydlx.data import Composite, Photographs, RandomComposites, RandomRegions, ScenePairs
from pydlx.models import create_model
from pydlx.training.batch_norm import share_batch_norm
from pydlx.training.gan import BlendingGANTask, CriticRule, Turns
from pydlx.training.options import option
from pydlx.training.reproducible import Augmented
from pydlx.training.trainer import (
    TrainerOptions,
    build_trainer,
    check_clip,
    checkpoint_to_resume,
    processes,
    steps_of,
    training_loader,
)

with needed_for("training", extra="train"):
    from lightning.pytorch import Trainer

Scenes = Sequence[tuple[np.ndarray, np.ndarray]]


@dataclasses.dataclass
class BlendingGANOptions(TrainerOptions):
    """Options of the recipe."""

    data: str = option("photographs", "folder of photographs, or of a folder for each scene")
    val_data: str | None = option(None, "the same for validation; by default every tenth photograph, or 5 % of scenes")
    layout: str = option("photographs", "photographs; or scenes, which hold several exposures each")
    pairs: int | None = option(None, "composites of an epoch; by default one per photograph, or 150000 of scenes")
    regions: str = option("centre", "what is pasted: centre, rectangles or masks")
    masks: str | None = option(None, "folder of object masks, for regions=masks")
    zoom: float = option(1.0, "largest zoom into a picture: crops are up to this factor smaller than it")
    light: float = option(1.0, "strength of the change of light in a pasted photograph")
    scene_light: float = option(0.0, "strength of a change of light of the whole scene")
    image_size: int = option(64, "side of the network's pictures")
    width: int = option(64, "channels after the first downsampling")
    critic_width: int | None = option(None, "the same for the critic")
    bottleneck: int = option(4000, "size of the code between encoder and decoder")
    noise: int | None = option(None, "size of the noise vector (100): trains the unsupervised network")
    skips: bool = option(False, "concatenate the encoder's features to the decoder's, as in a U-Net")
    output: str = option("picture", "what the decoder predicts: picture, change, or transform of colours")
    mask_input: bool = option(False, "give the network the mask, too")
    l2: float = option(0.999, "weight of the squared error against the critic's; 1 trains without a critic")
    lr: float = option(2e-3, "learning rate of the generator; with noise, of both networks: use 5e-5")
    critic_lr: float = option(2e-4, "learning rate of the critic")
    decay: bool = option(False, "let the learning rates fall to 0")
    critic_steps: int = option(5, "critic steps before each step of the generator")
    critic_long: int = option(100, "the same before the generator's first 25 steps and every 500th")
    clamp: float = option(0.01, "largest absolute weight of the critic")
    penalty: float = option(0.0, "weight of a gradient penalty, such as 10; replaces the clamp")
    epochs: int = option(25, "epochs to train")
    batch_size: int = option(64, "composites per step and process")


def train(options: BlendingGANOptions) -> Trainer:
    """Train, and write ``best.ckpt`` and ``last.ckpt`` to ``options.out``.

    Each batch trains either the critic or the generator. With the paper's schedule the generator gets about one batch
    in six: 25 epochs of 150,000 pairs are 58,600 batches but only about 9,100 generator steps.

    Raises:
        ValueError: If an option is out of range, or a checkpoint does not fit.
        OSError: If data or a checkpoint cannot be read.
    """
    if options.accumulate != 1:
        raise ValueError(
            f"blending_gan: accumulate must be 1, as critic and generator take turns, got {options.accumulate}"
        )
    whole("blending_gan", "batch_size", options.batch_size, 2)  # batch norm needs two codes for a variance
    whole_or_none("blending_gan", "pairs", options.pairs, 2)
    check_clip(options)
    scenes, held_out = _scenes(options)
    torch.manual_seed(options.seed)
    model = _model(options)
    path = checkpoint_to_resume(options, model)
    if processes(options)[0] > 1:
        share_batch_norm(model)
    regions = RandomRegions(options.regions, options.masks)
    light = options.light if options.layout == "photographs" else 0.0
    loader = training_loader(
        options,
        scenes,
        RandomComposites(regions, options.image_size, zoom=options.zoom, light=light, scene_light=options.scene_light),
    )
    task = BlendingGANTask(
        model,
        lambda network: _optimizers(network, options),
        l2=options.l2,
        turns=Turns(options.critic_steps, options.critic_long),
        rule=CriticRule(options.clamp, options.penalty),
        clip=options.clip,
        decay=steps_of(options, len(loader)) if options.decay else None,
    )
    supervised = options.noise is None
    trainer = build_trainer(
        dataclasses.replace(options, clip=None),  # Lightning cannot clip with manual optimisation
        monitor="val/foreground_error" if supervised else "val/distance",
        mode="min",
        batches=len(loader),
        all_used=False,
    )
    fixed = _Fixed(held_out, RandomComposites(regions, options.image_size, light=light), options.seed)
    trainer.fit(task, loader, DataLoader(fixed, options.batch_size), ckpt_path=path)
    return trainer


class _SinglePhotographs(Sequence[tuple[np.ndarray, np.ndarray]]):
    """Photographs as pairs of source and target, which are the same picture, downsampled if it is large.

    Args:
        photographs: The pictures.
        pairs: Number of items; each photograph is used about equally often.
        side: Pictures whose shorter side is longer than this are downsampled to it.
    """

    def __init__(self, photographs: Sequence[np.ndarray], pairs: int, side: int) -> None:
        self.photographs, self.pairs, self.side = photographs, pairs, side
        self._make_cache()

    def _make_cache(self) -> None:
        self._reduced = functools.lru_cache(maxsize=4096)(self._read)  # at most 1 GB at the default size

    def __getstate__(self) -> dict[str, Any]:  # for spawned workers: the cache cannot be pickled
        return {name: value for name, value in self.__dict__.items() if name != "_reduced"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._make_cache()

    def __len__(self) -> int:
        return self.pairs

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[override]
        picture = self._reduced(index % len(self.photographs))
        return picture, picture

    def _read(self, index: int) -> np.ndarray:
        picture = self.photographs[index]
        shorter = min(picture.shape[:2])
        if shorter <= self.side:
            return picture
        size = [max(1, round(length * self.side / shorter)) for length in picture.shape[:2]]
        planes = torch.from_numpy(picture).movedim(2, 0)[None].float()
        planes = F.interpolate(planes, size=size, mode="bilinear", antialias=True)
        return planes[0].round().byte().movedim(0, 2).numpy()


class _Fixed(Dataset[Composite]):
    """Composites that are the same at every validation, one for each scene."""

    def __init__(self, scenes: Scenes, change: RandomComposites, seed: int) -> None:
        self.items = Augmented(scenes, change, seed)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Composite:
        return self.items[0, index]


def _scenes(options: BlendingGANOptions) -> tuple[Scenes, Scenes]:
    """Return the scenes to train and to validate on."""
    check_one_of("blending_gan", "layout", options.layout, ("photographs", "scenes"))
    return _exposures(options) if options.layout == "scenes" else _photographs(options)


def _exposures(options: BlendingGANOptions) -> tuple[Scenes, Scenes]:
    """Return pairs of exposures, from folders that each hold several exposures of one scene."""
    pairs = 150_000 if options.pairs is None else options.pairs
    if options.val_data is not None:
        training, held_out = (options.data, "all"), (options.val_data, "all")
    else:
        training, held_out = (options.data, "train"), (options.data, "val")
    return (
        ScenePairs(training[0], pairs, seed=options.seed, part=training[1]),
        ScenePairs(held_out[0], 256, seed=options.seed, part=held_out[1]),
    )


def _photographs(options: BlendingGANOptions) -> tuple[Scenes, Scenes]:
    """Return pairs made of single photographs; by default every tenth is held out."""
    found = Photographs(options.data)
    training: Any = found
    if options.val_data is not None:
        held_out: Any = Photographs(options.val_data)
    else:
        numbers = range(len(found))
        training = Subset(found, [n for n in numbers if n % 10 != 9])  # type: ignore[arg-type]
        held_out = Subset(found, [n for n in numbers if n % 10 == 9])  # type: ignore[arg-type]
        if not len(held_out):
            raise ValueError(f"blending_gan: data must hold 10 photographs or val_data be given, got {len(found)}")
    side = 2 * round(options.zoom * options.image_size)
    pairs = len(training) if options.pairs is None else options.pairs
    return _SinglePhotographs(training, pairs, side), _SinglePhotographs(held_out, len(held_out), side)


def _model(options: BlendingGANOptions) -> Any:
    names = ("image_size", "width", "critic_width", "bottleneck", "noise", "skips", "output", "mask_input")
    chosen = {name: getattr(options, name) for name in names}
    return create_model("blending_gan", **chosen, critic=options.l2 < 1 or options.noise is not None)


def _optimizers(model: Any, options: BlendingGANOptions) -> list[Optimizer]:
    """Return the paper's Adam with β1 = 0.5, or RMSprop for the unsupervised network."""
    if options.noise is not None:
        return [RMSprop(part.parameters(), options.lr) for part in (model.generator, model.critic)]
    made: list[Optimizer] = [Adam(model.generator.parameters(), options.lr, (0.5, 0.999))]
    if model.critic is not None:
        made.append(Adam(model.critic.parameters(), options.critic_lr, (0.5, 0.999)))
    return made
