"""The small Blending GAN whose weights come with the package."""

from __future__ import annotations

import importlib.resources
import threading

import torch

from pydlx.models.checkpoint import load_model
from pydlx.models.gan.blending_gan import BlendingGAN

_FILE = "weights/blending_gan.pt"

_loaded: dict[torch.device, BlendingGAN] = {}
_loading = threading.Lock()


def shipped_blending_gan(device: str | torch.device = "cpu") -> BlendingGAN:
    """The network that ``blend(..., method="gp-gan")`` uses by default, in evaluation mode.

    Args:
        device: Device of the network.

    Returns:
        The network, loaded once per device and shared by all calls: copy it (``copy.deepcopy``) before you change it.

    Raises:
        FileNotFoundError: If this installation has no weights.
    """
    device = torch.device(device)
    with _loading:
        if device not in _loaded:
            _loaded[device] = _load().to(device)
        return _loaded[device]


def _load() -> BlendingGAN:
    resource = importlib.resources.files("pydlx").joinpath(_FILE)
    if not resource.is_file():
        raise FileNotFoundError(
            f"shipped_blending_gan: this installation has no file pydlx/{_FILE}; train a network "
            "(pydlx train blending_gan data=DIR) and give its checkpoint as network= (--checkpoint of pydlx blend)"
        )
    with importlib.resources.as_file(resource) as path:
        network = load_model(path)
    assert isinstance(network, BlendingGAN)
    return network
