"""Spatial pyramid pooling: feature maps of any size to vectors of one length.

He, Zhang, Ren and Sun, "Spatial pyramid pooling in deep convolutional networks for visual recognition", arXiv
1406.4729. A level divides each axis of the map into n bins and pools every bin. On an axis of size a, bin i covers

    adaptive    floor(i a / n)  to  ceil((i + 1) a / n)
    sliding     i floor(a / n)  to  i floor(a / n) + ceil(a / n)        as published

Adaptive bins exist for every a >= n and cover every pixel. The published window and stride may fit more than n times
(n = 4 and a = 6, 7 or 11), which is refused, or not cover the last pixels (n = 4 and a = 10: they cover 9). Both forms
agree if n divides a, and for the paper's a = 13 with n = 4, 3, 2, 1.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from pydlx import _autograd
from pydlx._checks import check_floating, check_one_of, check_tensor, is_whole, listed, whole
from pydlx.ops.soft_pool import soft_pool2d

Level = int | tuple[int, int]
Levels = tuple[tuple[int, int], ...]

_NAME = "SpatialPyramidPool2d"


def _soft_pool(x: Tensor, size: tuple[int, int], stride: tuple[int, int]) -> Tensor:
    """SoftPool in channels-last layout, which is faster here: there are few bins along a row and many channels."""
    return soft_pool2d(_channels_last(x), size, stride)


def _channels_last(x: Tensor) -> Tensor:
    """x in channels-last layout, or unchanged under ``torch.vmap``, which does not support memory formats."""
    if _autograd.is_transformed_by(_autograd.TransformType.Vmap):
        return x
    return x.contiguous(memory_format=torch.channels_last)


_WINDOW_POOLS: dict[str, Callable[..., Tensor]] = {"max": F.max_pool2d, "average": F.avg_pool2d, "soft": _soft_pool}
_ADAPTIVE_POOLS: dict[str, Callable[..., Tensor]] = {"max": F.adaptive_max_pool2d, "average": F.adaptive_avg_pool2d}


class SpatialPyramidPool2d(nn.Module):
    """(N, C, H, W) to (N, C * total bins), for any H and W.

    Each level is pooled to (N, C, rows, columns) and flattened; the levels are concatenated in the order given.

    Args:
        levels: For each level the number of bins along both axes, or a pair (rows, columns).
        mode: How a bin is pooled: ``"max"``, ``"average"`` or ``"soft"`` (SoftPool).
        form: Where the bins lie, ``"adaptive"`` or ``"sliding"``; the module's docstring has the formulas.

    Raises:
        ValueError: If an argument is not one of these.
    """

    def __init__(self, levels: Sequence[Level] = (4, 2, 1), mode: str = "max", form: str = "adaptive") -> None:
        super().__init__()
        self.levels = _pairs(levels)
        check_one_of(_NAME, "mode", mode, _WINDOW_POOLS)
        check_one_of(_NAME, "form", form, ("adaptive", "sliding"))
        self.mode = mode
        self.form = form

    def out_features(self, channels: int) -> int:
        """Length of an image's feature vector, for this number of channels."""
        return whole(f"{_NAME}.out_features", "channels", channels, 1) * sum(
            rows * columns for rows, columns in self.levels
        )

    def forward(self, x: Tensor | Sequence[Tensor]) -> Tensor:
        """Pool images of one size or of several.

        Args:
            x: (N, C, H, W); a single image (C, H, W); or a list of N images (C, H, W) with the same C and any sizes, of
                which those of equal size are pooled together.

        Returns:
            (N, features), or (features,) for a single image.

        Raises:
            TypeError: If the images are not floating-point tensors.
            ValueError: If a shape is wrong, or a level does not fit an image.
        """
        return _pooled(x, self.levels, self.mode, self.form)

    def check_size(self, height: int, width: int) -> None:
        """Require that all levels fit images of this size.

        Raises:
            ValueError: If a level has more bins than the image has pixels along an axis, or a different number of
                sliding windows than bins.
        """
        _check_size(self.levels, self.form, height, width)

    def extra_repr(self) -> str:
        """Levels, mode and form."""
        levels = ", ".join(str(rows) if rows == columns else f"({rows}, {columns})" for rows, columns in self.levels)
        return f"levels=({levels}{',' if len(self.levels) == 1 else ''}), mode={self.mode!r}, form={self.form!r}"


@fx.wrap
def _pooled(x: Tensor | Sequence[Tensor], levels: Levels, mode: str, form: str) -> Tensor:
    """The forward pass, as a function that ``torch.fx.symbolic_trace`` keeps as one node."""
    if isinstance(x, Tensor):
        return _features(x, levels, mode, form)
    x = listed(_NAME, "x", x, "a tensor or a list of tensors")
    for image in x:
        check_tensor(_NAME, "x", image)
    shapes = [tuple(image.shape) for image in x]
    if not shapes or any(len(shape) != 3 or shape[0] != shapes[0][0] for shape in shapes):
        raise ValueError(
            f"SpatialPyramidPool2d: x must list at least one (C, H, W) image, all of one C, got shapes {shapes}"
        )
    of_one_size: dict[tuple[int, ...], list[int]] = {}
    for i, shape in enumerate(shapes):
        of_one_size.setdefault(shape, []).append(i)
    rows: dict[int, Tensor] = {}
    for members in of_one_size.values():
        rows.update(
            zip(members, _features(torch.stack([x[i] for i in members]), levels, mode, form).unbind(), strict=True)
        )
    return torch.stack([rows[i] for i in range(len(shapes))])


def _check_size(levels: Levels, form: str, height: int, width: int) -> None:
    for level in levels:
        got = f"got level {level[0]}×{level[1]} for an image of {height}×{width}"
        if level[0] > height or level[1] > width:
            raise ValueError(f"SpatialPyramidPool2d: levels must not have more bins than the image pixels, {got}")
        if form == "sliding":
            made = (_windows_that_fit(height, level[0]), _windows_that_fit(width, level[1]))
            if made != level:
                raise ValueError(
                    "SpatialPyramidPool2d: levels must have as many bins as sliding windows fit the image, "
                    f'{got}, where {made[0]}×{made[1]} fit (form="adaptive" has no such limit)'
                )


def _features(x: Tensor, levels: Levels, mode: str, form: str) -> Tensor:
    check_floating(_NAME, "x", x)
    if x.dim() not in (3, 4):
        raise ValueError(f"SpatialPyramidPool2d: x must have shape (N, C, H, W) or (C, H, W), got {x.dim()} dimensions")
    _check_size(levels, form, x.shape[-2], x.shape[-1])
    batch = x if x.dim() == 4 else x.unsqueeze(0)
    if mode == "soft":
        batch = _channels_last(batch)  # once, not in each level
    features = torch.cat([_pool(batch, level, mode, form).flatten(1) for level in levels], 1)
    return features if x.dim() == 4 else features.squeeze(0)


def _pool(x: Tensor, level: tuple[int, int], mode: str, form: str) -> Tensor:
    """Pool one level, (N, C, H, W) to (N, C, rows, columns)."""
    # ONNX cannot express adaptive pooling with uneven bins, and exports it wrongly for dynamic sizes.
    if form == "adaptive" and mode in _ADAPTIVE_POOLS and not _autograd.is_exporting_to_onnx():
        return _ADAPTIVE_POOLS[mode](x, level)
    pool, find_runs = _WINDOW_POOLS[mode], _adaptive_runs if form == "adaptive" else _sliding_run
    y = x.new_empty(*x.shape[:2], *level)
    for rows, columns in itertools.product(find_runs(x.shape[2], level[0]), find_runs(x.shape[3], level[1])):
        part = x[:, :, rows.pixels, columns.pixels]
        y[:, :, rows.bins, columns.bins] = pool(part, (rows.size, columns.size), (rows.stride, columns.stride))
    return y


def _pairs(levels: Sequence[Level]) -> Levels:
    entries = list(levels) if isinstance(levels, Sequence) else []
    pairs: list[Any] = [(level, level) if is_whole(level) else level for level in entries]
    if not pairs or not all(_is_pair(pair) for pair in pairs):
        wanted = "list at least one positive whole number or pair of such"
        raise ValueError(f"{_NAME}: levels must {wanted}, got {levels!r}")
    return tuple((int(rows), int(columns)) for rows, columns in pairs)


def _is_pair(level: Any) -> bool:
    return isinstance(level, Sequence) and len(level) == 2 and all(is_whole(bins) and bins > 0 for bins in level)


class _Run(NamedTuple):
    """Bins of an axis with equal sizes and distances, which one call can pool.

    Attributes:
        bins: Indices of these bins.
        pixels: The pixels from the start of the first bin to the end of the last.
        size: Pixels of each bin.
        stride: Pixels from one bin to the next.
    """

    bins: slice
    pixels: slice
    size: int
    stride: int


def _windows_that_fit(length: int, n: int) -> int:
    """How often the published window fits at the published stride: n times or more."""
    window, stride = -(-length // n), length // n
    return (length - window) // stride + 1


def _sliding_run(length: int, n: int) -> list[_Run]:
    size, stride = -(-length // n), length // n
    return [_Run(slice(0, n), slice(0, (n - 1) * stride + size), size, stride)]


def _adaptive_runs(length: int, n: int) -> list[_Run]:
    """The adaptive bins of an axis, in as few runs as found greedily: one or two for up to four bins."""
    bins = [(i * length // n, -(-(i + 1) * length // n)) for i in range(n)]
    left = list(range(n))
    runs = []
    while left:
        taken = sorted((_progression(bins, left, step) for step in range(1, n + 1)), key=len)[-1]
        left = [i for i in left if i not in taken]
        (start, stop), end = bins[taken[0]], bins[taken[-1]][1]
        step, stride = (taken[1] - taken[0], bins[taken[1]][0] - start) if len(taken) > 1 else (1, stop - start)
        runs.append(_Run(slice(taken[0], taken[-1] + 1, step), slice(start, end), stop - start, stride))
    return runs


def _progression(bins: list[tuple[int, int]], left: list[int], step: int) -> list[int]:
    """Every step-th bin from the first in `left` on, until one is not in `left` or has another size or distance."""
    taken = left[:1]
    stride = 0
    for i in range(left[0] + step, len(bins), step):
        start, stop = bins[taken[-1]]
        stride = stride or bins[i][0] - start
        if i not in left or bins[i] != (start + stride, stop + stride):
            break
        taken.append(i)
    return taken
