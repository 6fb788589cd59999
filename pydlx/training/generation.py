"""Training of LAPGAN: the Lightning task, and the conversion of an image to a crop with noise."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pydlx._checks import whole_or_none
from pydlx._optional import needed_for
from pydlx.data import ClassifiedImage
from pydlx.metrics import sliced_wasserstein
from pydlx.models.gan import LAPGAN, PyramidLevel
from pydlx.training.samples import show_samples
from pydlx.visualize import chain_grid

with needed_for("training", extra="train"):
    from lightning.pytorch import LightningModule

Batch = tuple[Tensor, Tensor, list[Tensor]]
Optimizer = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]

_SHOWN = 8  # samples shown per validation
_MARGIN, _ALWAYS = 0.3, 0.7  # thresholds of `balance`, in nats


class LapganTask(LightningModule):
    """Adversarial training of LAPGAN's levels, each with real coarser pictures and so independently of the others.

    A step goes through the levels from coarse to fine and trains the discriminator, then the generator of each. The
    discriminator sees the batch's real pictures and as many fakes; the generator's update draws other noise.

    Batches are (pictures (N, C, S, S) in [0, 1], labels (N,), noise of every level (N, 2, ...)), with one noise for the
    discriminator's and one for the generator's update. As noise comes with the items, it does not depend on the number
    of processes.

    Args:
        model: A LAPGAN of ``create_model``.
        optimizer: Builds the optimiser of one network.
        levels: Levels to train, from coarse to fine.
        schedule: Called with (epoch, optimiser) at the beginning of each epoch.
        clip: Largest norm of a network's gradient, or None.
        balance: Whether to skip updates of the network that is ahead, as in the authors' code for LSUN.
        patches: Number of patches per picture, and of projections, in the validation's sliced Wasserstein distance.
    """

    def __init__(
        self,
        model: LAPGAN,
        optimizer: Optimizer,
        levels: list[int],
        *,
        schedule: Callable[[int, torch.optim.Optimizer], None] | None = None,
        clip: float | None = None,
        balance: bool = False,
        patches: int = 64,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model, self.optimizer, self.levels = model, optimizer, levels
        self.schedule, self.clip, self.balance, self.patches = schedule, clip, balance, patches
        # Pictures of the validation at each level, by batch: real; generated from real coarser pictures; from noise.
        self.real: list[list[Tensor]] = []
        self.made: list[list[Tensor]] = []
        self.chains: list[list[Tensor]] = []

    def configure_optimizers(self) -> Any:
        """Called by Lightning. Returns discriminator's and generator's optimiser for each trained level."""
        networks = [
            network
            for level in self.levels
            for network in (self.model.discriminators[level], self.model.generators[level])
        ]
        return [self.optimizer(network.parameters()) for network in networks]

    def on_train_epoch_start(self) -> None:
        """Called by Lightning."""
        if self.schedule is not None:
            for optimizer in _listed(self.optimizers(use_pl_optimizer=False)):
                self.schedule(self.current_epoch, optimizer)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Called by Lightning."""
        pictures, labels, noises = batch
        pyramid = self.model.pyramid(pictures)
        optimizers = _listed(self.optimizers())
        total = pictures.new_zeros(())
        for place, level in enumerate(self.levels):
            pair = optimizers[2 * place], optimizers[2 * place + 1]
            losses = self._train_level(level, pyramid[level], self._conditions(labels), noises[level], pair)
            for name, loss in zip(("discriminator", "generator"), losses, strict=True):
                key = f"train/{name}_{self.model.sizes[level]}"
                self.log(key, loss, prog_bar=True, batch_size=len(pictures), sync_dist=True)
                total += loss
        return total

    def _train_level(
        self, level: int, real: PyramidLevel, labels: Tensor | None, noise: Tensor, optimizers: tuple[Any, Any]
    ) -> tuple[Tensor, Tensor]:
        """Update both networks of a level, and return their losses."""
        generator, discriminator = self.model.generators[level], self.model.discriminators[level]
        with torch.no_grad():
            made = generator(noise[:, 0], real.coarse, labels)
        both = torch.cat([real.difference, made])
        twice = None if real.coarse is None else torch.cat([real.coarse] * 2), _twice(labels)
        logits = discriminator(both, *twice)
        targets = torch.cat([torch.ones(len(made)), torch.zeros(len(made))]).to(logits)
        errors = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        trains_discriminator, trains_generator = self._turns(errors)
        self._update(optimizers[0], errors.mean() if trains_discriminator else None)
        discriminator.requires_grad_(False)
        logits = discriminator(generator(noise[:, 1], real.coarse, labels), real.coarse, labels)
        loss = F.binary_cross_entropy_with_logits(logits, torch.ones_like(logits))
        self._update(optimizers[1], loss if trains_generator else None)
        discriminator.requires_grad_(True)
        return errors.detach().mean(), loss.detach()

    def _turns(self, errors: Tensor) -> tuple[bool, bool]:
        """Return whether to update the discriminator and whether to update the generator."""
        if not self.balance:
            return True, True
        real, made = errors.detach().view(2, -1).mean(1)
        real, made = (self.trainer.strategy.reduce(error, reduce_op="mean") for error in (real, made))
        generator_is_ahead = bool(made > real + _MARGIN)
        return generator_is_ahead or bool(real > _ALWAYS), not generator_is_ahead

    def _update(self, optimizer: Any, loss: Tensor | None) -> None:
        """Take one step; without a loss it changes no weights, but Lightning counts it."""
        optimizer.zero_grad()
        if loss is not None:
            self.manual_backward(loss)
            self.clip_gradients(optimizer, self.clip, "norm")
        optimizer.step()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Called by Lightning."""
        pictures, labels, noises = batch
        pyramid, conditions = self.model.pyramid(pictures), self._conditions(labels)
        self.real.append([self.model.pictures(level.image) for level in pyramid])
        made = []
        for level, real in enumerate(pyramid):
            difference = self.model.generate(level, noises[level][:, 0], real.coarse, conditions)
            made.append(self.model.pictures(difference if real.coarse is None else real.coarse + difference))
        self.made.append(made)
        self.chains.append(self.model([noise[:, 0] for noise in noises], conditions))

    def on_validation_epoch_end(self) -> None:
        """Called by Lightning. Every process has all validation pictures, so all compute the same scores."""
        real, made, chain = (_by_level(batches) for batches in (self.real, self.made, self.chains))
        alone, chained = ([self._distance(*pair) for pair in zip(real, sets, strict=True)] for sets in (made, chain))
        for size, first, second in zip(self.model.sizes, alone, chained, strict=True):
            self.log(f"val/swd_{size}", first, sync_dist=True)
            self.log(f"val/chain_swd_{size}", second, sync_dist=True)
        whole_chain = len(self.levels) == len(self.model.sizes)
        scores = chained if whole_chain else [alone[level] for level in self.levels]
        self.log("val/swd", sum(scores) / len(scores), prog_bar=True, sync_dist=True)
        show_samples(self, [chain_grid([level[:_SHOWN] for level in chain], scale=2)])
        for batches in (self.real, self.made, self.chains):
            batches.clear()

    def _distance(self, real: Tensor, made: Tensor) -> float:
        """Return the mean distance over the frequency bands, normalised by the real pictures so that blur counts."""
        smallest = min(8, real.shape[-1])
        bands = sliced_wasserstein(
            real,
            made,
            smallest=smallest,
            patch=min(7, smallest),
            patches=self.patches,
            projections=self.patches,
            normalise="real",
        )
        return sum(bands.values()) / len(bands)

    def _conditions(self, labels: Tensor) -> Tensor | None:
        return None if self.model.num_classes is None else labels


class PreparedCrops:
    """Converts an image to a crop of the network's size, its label, and noise.

    An image that is smaller than the crop is upsampled.

    Args:
        model: The LAPGAN to train.
        short_side: Shorter side in pixels to which images are resized before cropping; None for no resizing.
        levels: Levels that need noise, by default all.
        augment: Whether to crop at random places and flip with probability 1/2; otherwise crops are centred.
    """

    def __init__(
        self, model: LAPGAN, *, short_side: int | None = None, levels: Sequence[int] | None = None, augment: bool
    ) -> None:
        self.size, self.augment = model.sizes[-1], augment
        every = range(len(model.sizes))
        self.noise_shapes = [model.noise_shape(n) if levels is None or n in levels else (0,) for n in every]
        self.short_side = whole_or_none("lapgan", "short_side", short_side, self.size)

    def __call__(self, item: ClassifiedImage) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Return the crop (3, S, S) in [0, 1], the label (-1 for none), and two draws of noise for each level."""
        image = self._crop(torch.from_numpy(item.image).movedim(2, 0).float() / 255)
        label = torch.tensor(-1 if item.label is None else item.label)
        return image, label, [2 * torch.rand(2, *shape) - 1 for shape in self.noise_shapes]

    def _crop(self, image: Tensor) -> Tensor:
        height, width = image.shape[1:]
        side = max(self.size, self.short_side or min(height, width))
        if side != min(height, width):
            scale = side / min(height, width)
            to = (max(side, round(height * scale)), max(side, round(width * scale)))
            image = F.interpolate(image[None], to, mode="bilinear", antialias=True)[0].clamp(0, 1)
        free = image.shape[1] - self.size, image.shape[2] - self.size
        if not self.augment:
            return image[:, free[0] // 2 :, free[1] // 2 :][:, : self.size, : self.size]
        top, left = (int(torch.randint(room + 1, ())) for room in free)
        crop = image[:, top : top + self.size, left : left + self.size]
        return crop.flip(2) if torch.rand(()) < 0.5 else crop


def channel_statistics(items: Any, change: PreparedCrops, most: int = 1000) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each channel, (3,) each, over crops of about `most` items or fewer."""
    step = max(1, len(items) // most)
    crops = torch.stack([change(items[index])[0] for index in range(0, len(items), step)])
    deviation, mean = torch.std_mean(crops, (0, 2, 3), correction=0)
    return mean, deviation.clamp(min=1e-3)


def _listed(optimizers: Any) -> list[Any]:
    return optimizers if isinstance(optimizers, list) else [optimizers]


def _twice(labels: Tensor | None) -> Tensor | None:
    return None if labels is None else torch.cat([labels] * 2)


def _by_level(batches: list[list[Tensor]]) -> list[Tensor]:
    return [torch.cat(level) for level in zip(*batches, strict=True)]
