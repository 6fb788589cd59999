"""Generative networks."""

from pydlx.models.gan.blending_gan import BlendingGAN

__all__ = ["BlendingGAN"]
