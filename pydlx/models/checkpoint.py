"""Saving and loading models: weights, with the name and the options that rebuild the model.

A file holds a dictionary that ``torch.load(weights_only=True)`` reads, with the keys ``model`` (the name), ``options``
and ``state_dict``. A model that has an attribute ``companion``, plain data such as a reader's vocabulary, has it saved
under that key. Training checkpoints hold these keys and more, so both kinds of file load alike.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pydlx._checks import check_path, check_type, described
from pydlx.files import replacing
from pydlx.models.registry import all_options, create_model, list_models


def describe_model(model: Any) -> dict[str, Any]:
    """Return what a checkpoint stores of a model: its name, options, weights and companion, if it has one.

    Raises:
        ValueError: If the model was not built by ``create_model``.
    """
    if not hasattr(model, "model_name"):
        raise ValueError(f"describe_model: model must come from create_model, got {type(model).__name__}")
    held = {"model": model.model_name, "options": dict(model.model_options), "state_dict": model.state_dict()}
    companion = getattr(model, "companion", None)
    return held if companion is None else {**held, "companion": companion}


def save_model(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Write a model to a file, as a whole or not at all.

    Raises:
        ValueError: If the model was not built by ``create_model``.
        OSError: If the file cannot be written; an existing file is then left as it was.
    """
    check_path("save_model", "path", path)
    content = describe_model(model)
    with replacing(path) as temporary:
        torch.save(content, temporary)


def load_model(path: str | os.PathLike[str], **options: Any) -> nn.Module:
    """Load a model with its weights, on the CPU and in evaluation mode.

    Args:
        path: A file written by ``save_model``, or a training checkpoint.
        options: Options that replace those in the file, such as another way of decoding. The weights must still fit.

    Raises:
        OSError: If the file is missing, cut short, or no checkpoint.
        ValueError: If it holds no model of pydlx, or the weights do not fit.
        TypeError: If the model has no such option.

    Example:
        >>> model = load_model("runs/camvid/best.ckpt")  # doctest: +SKIP
    """
    content = read_checkpoint(path)
    model: Any = create_model(content["model"], **{**content["options"], **options})
    load_weights(model, content, path)
    if "companion" in content:
        model.companion = content["companion"]
    return model.eval()


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a checkpoint, with its tensors on the CPU and named as in the model's ``state_dict``.

    Raises:
        OSError: If the file is missing, cut short, or no checkpoint.
        ValueError: If it holds no model of ``list_models()``.
    """
    check_path("load_model", "path", path)
    if not Path(path).is_file():
        hint = ", but a folder" if Path(path).is_dir() else ""
        hint += f"; did you mean '{best}'?" if (best := Path(path) / "best.ckpt").is_file() else ""
        raise FileNotFoundError(f"load_model: no such file: '{path}'{hint}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # torch's own message advises weights_only=False, which runs code
        raise OSError(f"load_model: '{path}' is no checkpoint, or holds more than weights and numbers") from error
    except Exception as error:  # torch.load raises many kinds for damaged files
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise OSError(f"load_model: cannot read '{path}' as a checkpoint: {reason}") from error
    known = isinstance(content, Mapping) and content.keys() >= {"model", "options", "state_dict"}
    if not known or content["model"] not in list_models():
        held = described(content.get("model", list(content))) if isinstance(content, Mapping) else described(content)
        raise ValueError(f"load_model: '{path}' must hold a model of pydlx.list_models(), got {held}")
    if "pytorch-lightning_version" in content:  # a training checkpoint: the task holds the model as self.model
        weights = {name.removeprefix("model."): tensor for name, tensor in content["state_dict"].items()}
        return {**content, "state_dict": weights}
    return dict(content)


def load_weights(model: nn.Module, content: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Copy a checkpoint's weights into a model.

    Raises:
        ValueError: If a weight is missing, left over, or of another shape; no weight is changed then.
    """
    weights: Mapping[str, Tensor] = content["state_dict"]
    check_type("load_model", "state_dict", weights, Mapping, "weights by name")
    own = model.state_dict()
    wrong = [
        f"{name} must have shape {tuple(tensor.shape)}, got {tuple(weights[name].shape)}"
        for name, tensor in own.items()
        if name in weights and weights[name].shape != tensor.shape
    ]
    wrong += [f"{name} is missing" for name in own.keys() - weights.keys()]
    wrong += [f"{name} is not part of it" for name in weights.keys() - own.keys()]
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        built = getattr(model, "model_name", type(model).__name__)
        raise ValueError(f"load_model: the weights of '{path}' do not fit {built}: {sorted(wrong)[0]}{more}")
    model.load_state_dict(dict(weights))


def differing_options(content: Mapping[str, Any], name: str, options: Mapping[str, Any]) -> list[str]:
    """List how a checkpoint differs from a model of this name and these options, one phrase per difference."""
    if content["model"] != name:
        return [f"model {content['model']}, not {name}"]
    wanted = all_options(name, dict(options))
    return [
        f"{key}={content['options'].get(key)!r}, not {value!r}"
        for key, value in wanted.items()
        if content["options"].get(key) != value
    ]


def differing_companions(content: Mapping[str, Any], companion: Mapping[str, Any]) -> list[str]:
    """List how a checkpoint's companion differs from this one, one phrase per difference; mappings are not shown."""
    held = content.get("companion") or {}
    return [
        f"another {key}" if isinstance(value, Mapping) else f"{key}={held.get(key)!r}, not {value!r}"
        for key, value in companion.items()
        if held.get(key) != value
    ]
