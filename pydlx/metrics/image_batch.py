"""A batch of images' dicts as rows of all images at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

Image = Mapping[str, Any]  # what is known of one image: name -> tensor

# What values of a key may have to be: how to tell which rows are, and how to say that one is not.
PROMISES = {
    "finite": (torch.isfinite, "must be finite, got NaN or infinity"),
    "numbers": (lambda values: ~values.isnan(), "must be numbers, got NaN"),
    # Beyond them float64, in which labels are kept, takes neighbours for one.
    "labels": (lambda values: values.abs() < 2**53, "must be numbers below 2**53"),
}


class ImageBatch:
    """What a metric is given of one kind, key by key, float64, image after image.

    Only the shapes of single images are checked; their tensors are joined before anything is computed. A batch on a GPU
    so takes a few launches and never waits, where its images one by one would take dozens of both.

    Args:
        metric: The metric's name.
        kind: ``"preds"`` or ``"target"``.
        images: One dict each, at least one.
    """

    def __init__(self, metric: str, kind: str, images: Sequence[Image]) -> None:
        self.metric, self.kind, self.images = metric, kind, images
        self.counts: list[int] | None = None  # rows of each image, as the first key has them
        self.device = torch.device("cpu")  # of the first key
        self._values: dict[str, Tensor] = {}

    def rows(self, key: str, *trailing: int, widths: Sequence[int] = ()) -> Tensor:
        """(N, *trailing) of a key that every image must have.

        Args:
            key: The key.
            trailing: The shape of a row.
            widths: Further numbers that a row's last dimension may have, which is cut to the one wanted.
        """
        return self._joined(key, [self._value(i, key, trailing, widths) for i in range(len(self.images))])

    def rows_if_given(self, key: str, *trailing: int) -> Tensor:
        """The same of a key that images may lack, which have NaN then; after a key that they have."""
        return self._filled(key, trailing, torch.nan)

    def column(self, key: str, otherwise: float) -> Tensor:
        """(N,) of a key with a number for each row; `otherwise` for those of images without it."""
        return self._filled(key, (), otherwise)

    def is_given(self, key: str) -> Tensor:
        """(N,) bool, whether a row is of an image that has the key."""
        given = [torch.full((count,), key in image) for count, image in self._counted()]
        return torch.cat(given).to(self.device, non_blocking=True)

    def image_of(self, row: int) -> int:
        """The number of the image that a row is of."""
        for number, (count, _) in enumerate(self._counted()):
            if row < count:
                return number
            row -= count
        raise IndexError(row)

    def kept(self, key: str, promise: str) -> Tensor:
        """(N,) bool, whether a row's values are what they must be, see `PROMISES`; those not given are."""
        holds = PROMISES[promise][0](self._values[key])
        holds = holds.flatten(1).all(1) if holds.dim() > 1 else holds
        return holds if all(key in image for image in self.images) else holds | ~self.is_given(key)

    def _counted(self) -> zip[tuple[int, Image]]:
        assert self.counts is not None
        return zip(self.counts, self.images, strict=True)

    def _filled(self, key: str, trailing: tuple[int, ...], otherwise: float) -> Tensor:
        if not any(key in image for image in self.images):
            count = sum(count for count, _ in self._counted())
            self._values[key] = torch.full((count, *trailing), otherwise, dtype=torch.float64, device=self.device)
            return self._values[key]
        return self._joined(
            key,
            [
                self._value(i, key, trailing)
                if key in image
                else torch.full((count, *trailing), otherwise, dtype=torch.float64, device=self.device)
                for i, (count, image) in enumerate(self._counted())
            ],
        )

    def _value(self, number: int, key: str, trailing: tuple[int, ...], widths: Sequence[int] = ()) -> Tensor:
        """A tensor of one image, (n, *trailing); nothing at all is none of them."""
        image = self.images[number]
        if key not in image:
            raise ValueError(f'{self.metric}: {self._where(number)} must have "{key}", got {sorted(image)}')
        value = torch.as_tensor(image[key]).detach()
        if value.numel() == 0:
            return value.new_zeros(0, *trailing)
        wanted = _shape_of_rows(value, trailing, widths)
        if value.dim() == 0 or value.shape[1:] != wanted:
            rows = str(("n", *wanted)).replace("'", "")
            raise ValueError(
                f'{self.metric}: {self._where(number)}["{key}"] must have the shape {rows}, got {tuple(value.shape)}'
            )
        return value if wanted == trailing else value[..., : trailing[-1]]

    def _joined(self, key: str, parts: list[Tensor]) -> Tensor:
        counts = [len(part) for part in parts]
        if self.counts is None:
            self.counts, self.device = counts, parts[0].device
        if counts != self.counts:
            number = next(i for i, count in enumerate(counts) if count != self.counts[i])
            entries = "numbers" if parts[number].dim() == 1 else "rows"
            raise ValueError(
                f'{self.metric}: {self._where(number)}["{key}"] must have {self.counts[number]} {entries}, '
                f"got {counts[number]}"
            )
        parts = [part if part.device == self.device else part.to(self.device) for part in parts]
        if any(part.dtype != parts[0].dtype for part in parts):  # int64 beside float32 would be rounded to that
            parts = [part.to(torch.float64) for part in parts]
        self._values[key] = torch.cat(parts).to(torch.float64)
        return self._values[key]

    def _where(self, number: int) -> str:
        return f"{self.kind}[{number}]"


def _shape_of_rows(value: Tensor, trailing: tuple[int, ...], widths: Sequence[int]) -> tuple[int, ...]:
    """What the shape must be; where rows may have several widths, with theirs, or if it is none of these the widest."""
    if not widths:
        return trailing
    last = value.shape[-1] if value.dim() else 0
    return (*trailing[:-1], last if last in (trailing[-1], *widths) else max(widths))
