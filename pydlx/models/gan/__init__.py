"""Generative networks."""

from pydlx.models.gan.blending_gan import BlendingGAN
from pydlx.models.gan.lapgan import LAPGAN, PyramidLevel

__all__ = ["LAPGAN", "BlendingGAN", "PyramidLevel"]
