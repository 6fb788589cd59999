"""Training of the Blending GAN: the Lightning task with its losses, and the schedule of critic and generator steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import ModuleDict
from torch.optim import Optimizer

from pydlx._checks import check_not_negative, whole
from pydlx._optional import needed_for
from pydlx.data import Composite
from pydlx.models.gan import BlendingGAN
from pydlx.training.samples import SHOWN, show_samples

with needed_for("training", extra="train"):
    from lightning.pytorch import LightningModule
    from torchmetrics import MeanMetric

Optimizers = Callable[[BlendingGAN], list[Optimizer]]  # of the generator and, if there is one, of the critic


class Turns:
    """The schedule of batches: several for the critic, then one for the generator.

    As in WGAN's code (arXiv 1701.07875), the critic gets more batches before each of the generator's first steps, and
    before every 500th.

    Args:
        steps: Critic steps before a generator step; 0 for a generator without critic.
        long: Critic steps before each of the first generator steps, and before every `every`-th.
        first: Number of first generator steps with `long` critic steps.
        every: Period of later generator steps with `long` critic steps.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(self, steps: int = 5, long: int = 100, first: int = 25, every: int = 500) -> None:
        self.steps, self.long = whole("Turns", "steps", steps, 0), whole("Turns", "long", long, 0)
        self.first, self.every = whole("Turns", "first", first, 0), whole("Turns", "every", every, 1)
        self.generator_steps = self.critic_steps = 0  # critic steps are counted since the generator's last step

    def next_is_critic(self) -> bool:
        """Return whether the next batch is for the critic, and count it as taken."""
        long = self.steps and (self.generator_steps < self.first or self.generator_steps % self.every == 0)
        if self.critic_steps < (self.long if long else self.steps):
            self.critic_steps += 1
            return True
        self.generator_steps, self.critic_steps = self.generator_steps + 1, 0
        return False

    def state_dict(self) -> dict[str, int]:
        """Return the counts, for checkpoints."""
        return {"generator_steps": self.generator_steps, "critic_steps": self.critic_steps}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue from the counts of a checkpoint."""
        self.generator_steps, self.critic_steps = state["generator_steps"], state["critic_steps"]


class CriticRule(NamedTuple):
    """How the critic's Lipschitz constant is bounded: by clamping its weights, or by a gradient penalty."""

    clamp: float = 0.01  # largest absolute weight, batch norm's included; not used with a penalty
    penalty: float = 0.0  # weight of the gradient penalty (arXiv 1704.00028, where it is 10); 0 for none


class BlendingGANTask(LightningModule):
    """The Wasserstein GAN of GP-GAN with its squared error; arXiv 1703.07195, equations 2 to 4.

        generator   l2 * mean (G(x) - y)^2 + (1 - l2) * mean D(G(x))
        critic      mean D(y) - mean D(G(x))                            D is low for real pictures

    Batches are stacked :class:`pydlx.data.Composite`. For the unsupervised model, x is normal noise and l2 is 0.

    Args:
        model: A BlendingGAN of ``create_model``.
        optimizers: Builds the optimisers.
        l2: Weight of the squared error.
        turns: Schedule of critic and generator steps.
        rule: How the critic is bounded.
        clip: Largest norm of a gradient; None for no clipping.
        decay: Number of steps over which the learning rates fall to 0; None for constant rates.
    """

    def __init__(
        self,
        model: Any,
        optimizers: Optimizers,
        *,
        l2: float = 0.999,
        turns: Turns | None = None,
        rule: CriticRule = CriticRule(),  # noqa: B008
        clip: float | None = None,
        decay: int | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        if not 0 <= l2 <= 1:
            raise ValueError(f"BlendingGANTask: l2 must lie in [0, 1], got {l2}")
        check_not_negative("BlendingGANTask", "penalty", rule.penalty)
        self.model, self.make_optimizers, self.rule, self.clip, self.decay = model, optimizers, rule, clip, decay
        self.l2 = l2 if model.noise is None else 0.0
        self.turns = turns or Turns()
        self.errors: Any = ModuleDict({name: MeanMetric() for name in self._measured()})
        self.samples: list[np.ndarray] = []

    def training_step(self, batch: Composite, batch_idx: int) -> Tensor:
        """Called by Lightning."""
        generator, *critic = self._optimizers()
        if critic and self.turns.next_is_critic():
            return self._step("critic", self._critic_loss(batch), critic[0])
        self.toggle_optimizer(generator)
        loss = self._step("generator", self._generator_loss(batch), generator)
        self.untoggle_optimizer(generator)
        return loss

    def _optimizers(self) -> list[Any]:
        found: Any = self.optimizers()
        return found if isinstance(found, list) else [found]

    def _step(self, name: str, loss: Tensor, optimizer: Any) -> Tensor:
        self._set_rates()
        optimizer.zero_grad()
        self.manual_backward(loss)
        if self.clip is not None:
            self.clip_gradients(optimizer, self.clip, "norm")
        optimizer.step()
        self.log(f"train/{name}", loss, prog_bar=True, sync_dist=True)
        return loss.detach()

    def _set_rates(self) -> None:
        """Set the learning rates to initial rate * (1 - step / decay)^0.9."""
        if self.decay is None:
            return
        left = max(0.0, 1 - self.global_step / self.decay)
        for optimizer in self._optimizers():
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * left**0.9

    def _generated(self, batch: Composite) -> Tensor:
        """Return the generator's pictures for a batch."""
        if self.model.noise is not None:
            return self.model(torch.randn(len(batch.target), self.model.noise, device=batch.target.device))
        return self.model(2 * batch.pasted - 1, batch.mask)

    def _generator_loss(self, batch: Composite) -> Tensor:
        pictures = self._generated(batch)
        loss = pictures.new_zeros(())
        if self.l2 > 0:
            loss = loss + self.l2 * (pictures - (2 * batch.target - 1)).square().mean()
        if self.l2 < 1 and self.model.critic is not None:
            loss = loss + (1 - self.l2) * self.model.score(pictures)
        return loss

    def _critic_loss(self, batch: Composite) -> Tensor:
        real = 2 * batch.target - 1
        if self.rule.penalty == 0:
            with torch.no_grad():
                for weight in self.model.critic.parameters():
                    weight.clamp_(-self.rule.clamp, self.rule.clamp)
        with torch.no_grad():
            fake = self._generated(batch)
        loss = self.model.score(real) - self.model.score(fake)
        if self.rule.penalty > 0:
            loss = loss + self.rule.penalty * self._gradient_penalty(real, fake)
        return loss

    def _gradient_penalty(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return mean (norm - 1)^2, for the norm of the critic's gradient at random points between real and fake."""
        between = torch.lerp(real, fake, torch.rand(len(real), 1, 1, 1).to(real)).requires_grad_()
        scores = self.model.critic(between)[-1]
        (gradient,) = torch.autograd.grad(scores.sum(), between, create_graph=True)
        return (gradient.flatten(1).norm(dim=1) - 1).square().mean()

    def _measured(self) -> tuple[str, ...]:
        return ("error", "foreground_error") if self.model.noise is None else ("distance",)

    def validation_step(self, batch: Composite, batch_idx: int) -> None:
        """Called by Lightning."""
        pictures = self._generated(batch)
        if self.model.noise is None:
            wrong = ((pictures + 1) / 2 - batch.target).square().mean(1, keepdim=True)
            self.errors["error"].update(wrong)
            self.errors["foreground_error"].update(wrong, batch.mask)
        else:
            self.errors["distance"].update(self.model.score(pictures) - self.model.score(2 * batch.target - 1))
        for one in range(min(SHOWN - len(self.samples), len(pictures))):
            self.samples.append(_sample(batch, pictures, one))

    def on_validation_epoch_end(self) -> None:
        """Called by Lightning."""
        for name, mean in self.errors.items():
            error = mean.compute()
            self.log(f"val/{name}", error, prog_bar=name != "error", sync_dist=True)
            if name == "foreground_error":
                self.log("val/foreground_psnr", -10 * torch.log10(error), prog_bar=True, sync_dist=True)
            mean.reset()
        show_samples(self, self.samples)
        self.samples.clear()

    def configure_optimizers(self) -> list[Optimizer]:
        """Called by Lightning."""
        made = self.make_optimizers(self.model)
        for group in (group for optimizer in made for group in optimizer.param_groups):
            group.setdefault("initial_lr", group["lr"])
        return made

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Called by Lightning."""
        checkpoint["turns"] = self.turns.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Called by Lightning."""
        self.turns.load_state_dict(checkpoint["turns"])


def _sample(batch: Composite, pictures: Tensor, one: int) -> np.ndarray:
    """Return pasted picture, generated picture and target, side by side."""
    row = torch.cat([batch.pasted[one], (pictures[one] + 1) / 2, batch.target[one]], 2)
    return (255 * row.clamp(0, 1)).round().byte().movedim(0, 2).cpu().numpy()
