"""Frames of a video, or other pictures of one size, as the batches that `blend` works on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pydlx.blending.images import as_tensor
from pydlx.blending.pillow import from_pillow, in_colours_of, is_pillow

# Pixels blended at once: enough that preparing the mask costs next to nothing, few enough for the memory of a laptop.
_PIXELS_AT_ONCE = 1 << 23


def is_frames(image: Any) -> bool:
    """Whether this is a sequence of pictures."""
    return isinstance(image, (list, tuple))


def batches(source: Any, target: Sequence[Any], mask: Any) -> Iterator[tuple[Any, Any, Any]]:
    """Cuts frames into batches of (source, target, mask); what is no sequence itself goes with all of them."""
    if not target:
        raise ValueError("blend: target must hold frames, got an empty sequence")
    for name, given in (("source", source), ("mask", mask)):
        if is_frames(given) and len(given) != len(target):
            raise ValueError(f"blend: {name} must be one or one for each of {len(target)} frames, got {len(given)}")
    source = _in_colours_of_frames(source, target[0])
    mask = from_pillow("mask", mask).pixels if is_pillow(mask) else mask
    at_once = max(1, _PIXELS_AT_ONCE // _pixels(target[0]))
    for first in range(0, len(target), at_once):
        some = slice(first, first + at_once)
        yield (
            _batch("source", source[some]) if is_frames(source) else source,
            _batch("target", target[some]),
            _batch("mask", mask[some]) if is_frames(mask) else mask,
        )


def frames_of(blended: Sequence[np.ndarray | Tensor], given: Sequence[Any]) -> list[Any]:
    """Blended frames in the kind and layout in which they were given."""
    frames: list[Any] = []
    for result, frame in zip(blended, given, strict=True):
        if is_pillow(frame):
            picture = from_pillow("target", frame)
            frames.append(picture.with_pixels(np.asarray(result).reshape(picture.pixels.shape)))
        else:
            frames.append(result.reshape(frame.shape))
    return frames


def _in_colours_of_frames(source: Any, frame: Any) -> Any:
    """The source, or each of several, in the colours of the first frame's profile."""
    if is_frames(source):
        return [_in_colours_of_frames(one, frame) for one in source]
    if not is_pillow(source):
        return source
    return in_colours_of(from_pillow("target", frame) if is_pillow(frame) else None, from_pillow("source", source))


def _pixels(frame: Any) -> int:
    if is_pillow(frame):
        return frame.width * frame.height
    return max(1, as_tensor("target", frame).numel() // 3)


def _batch(name: str, frames: Sequence[Any]) -> np.ndarray | Tensor:
    """Frames as (n, h, w, C), or (n, C, h, w) of torch tensors."""
    if len({frame.info.get("icc_profile") for frame in frames if is_pillow(frame)}) > 1:
        raise ValueError(f"blend: frames of {name} must have one colour profile, got several")
    pictures: list[Any] = [from_pillow(name, frame).pixels if is_pillow(frame) else frame for frame in frames]
    first = pictures[0]
    for number, picture in enumerate(pictures):
        as_tensor(f"{name}[{number}]", picture)
        if type(picture) is not type(first) or picture.shape != first.shape or picture.dtype != first.dtype:
            raise ValueError(
                f"blend: frames of {name} must be alike, got {first.dtype} of shape {tuple(first.shape)} and "
                f"{picture.dtype} of shape {tuple(picture.shape)}"
            )
    if first.ndim not in (2, 3):
        raise ValueError(f"blend: frames of {name} must have 2 or 3 axes, got shape {tuple(first.shape)}")
    if isinstance(first, Tensor):
        batch = torch.stack(pictures)
        return batch[:, None] if first.ndim == 2 else batch
    stacked = np.stack(pictures)
    return stacked[..., None] if first.ndim == 2 else stacked
