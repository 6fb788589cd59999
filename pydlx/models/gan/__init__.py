"""Generative adversarial networks: the Blending GAN of GP-GAN, and LAPGAN."""

from pydlx.models.gan.blending_gan import BlendingGAN, transformed
from pydlx.models.gan.lapgan import LAPGAN, PyramidLevel
from pydlx.models.gan.shipped import shipped_blending_gan

__all__ = ["LAPGAN", "BlendingGAN", "PyramidLevel", "shipped_blending_gan", "transformed"]
