"""What the average-precision metrics share: batches of images in, rows of all images out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pydlx._checks import check_one_of
from pydlx.metrics.coco_protocol import Curves, summary
from pydlx.metrics.metric import Metric

Image = Mapping[str, Any]  # what is known of one image: name -> tensor

_NO_ID = torch.iinfo(torch.int64).min


class DetectionMetric(Metric):
    """Keeps the rows of every batch until ``compute``.

    Every image's rows stay together and in the order of the images, process after process; image ids, where given,
    put the images in their order, and an image met twice (a sampler that fills up its last batch) counts once.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    images: list[Tensor]  # id, number of detections, number of truths

    def __init__(self, states: Mapping[str, int], *, by_limit: bool, box_format: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_one_of(self._name(), "box_format", box_format, ("xyxy", "xywh"))
        self._box_format = box_format
        self._kinds = dict(states)  # state -> 0 for rows of detections, 1 for rows of truths
        self._by_limit = by_limit
        for name in ("images", *states):
            self.add_state(name, [], dist_reduce_fx="cat")

    def compute(self) -> dict[str, Tensor]:
        """COCO's numbers by name, float64; -1 where no truth counts."""
        values = summary(self.curves(), by_limit=self._by_limit)
        return {name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()}

    def curves(self) -> Curves:
        """Precision over recall of what this process has seen."""
        raise NotImplementedError

    def update(
        self,
        predictions: Sequence[Image],
        targets: Sequence[Image],
        image_ids: Sequence[int] | Tensor | None = None,
    ) -> None:
        """Takes in a batch of images, a dict of tensors each, see the class."""
        if len(predictions) != len(targets):
            raise ValueError(
                f"{self._name()}: predictions and targets must be of the same images, "
                f"got {len(predictions)} and {len(targets)}"
            )
        ids = [_NO_ID] * len(targets) if image_ids is None else [int(key) for key in image_ids]
        if len(ids) != len(targets):
            raise ValueError(f"{self._name()}: image_ids must name {len(targets)} images, got {len(ids)}")
        if not ids:
            return
        found = [self._found(image, f"predictions[{i}]") for i, image in enumerate(predictions)]
        true = [self._true(image, f"targets[{i}]") for i, image in enumerate(targets)]
        images = [(key, len(rows[0]), len(truths[0])) for key, rows, truths in zip(ids, found, true, strict=True)]
        self.images.append(torch.tensor(images, dtype=torch.int64, device=found[0][0].device))
        for side, parts in enumerate((found, true)):
            names = [name for name, kind in self._kinds.items() if kind == side]
            for name, tensors in zip(names, zip(*parts, strict=True), strict=True):
                state: list[Tensor] = getattr(self, name)
                state.append(torch.cat(tensors))

    def _found(self, image: Image, where: str) -> tuple[Tensor, ...]:
        """The rows of an image's detections, for each state of that kind."""
        raise NotImplementedError

    def _true(self, image: Image, where: str) -> tuple[Tensor, ...]:
        """The rows of an image's truths, for each state of that kind."""
        raise NotImplementedError

    def _joined(self) -> tuple[dict[str, Tensor], Tensor, Tensor, int]:
        """The states on the CPU; the image of every detection and of every truth; how many images there are."""
        if not len(self.images):
            raise ValueError(f"{self._name()}: compute needs at least one image, call update first")
        ids, *counts = _cat(self.images).unbind(1)
        place = _places(ids)
        rows = [place.repeat_interleave(count) for count in counts]
        states = {name: _cat(getattr(self, name)) for name in self._kinds}
        if int(place.min()) < 0:
            states = {name: values[rows[self._kinds[name]] >= 0] for name, values in states.items()}
            rows = [row[row >= 0] for row in rows]
        return states, rows[0], rows[1], int(place.max()) + 1

    def _name(self) -> str:
        return type(self).__name__

    @staticmethod
    def _categories(found: Tensor, true: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """All labels, ascending, and the place of each row's among them."""
        labels, places = torch.cat([found, true]).unique(return_inverse=True)
        return labels, places[: len(found)], places[len(found) :]

    def _get(self, image: Image, where: str, key: str, *trailing: int) -> Tensor:
        """A tensor of one image as float64 (n, *trailing); nothing at all is none of them."""
        if key not in image:
            raise ValueError(f'{self._name()}: {where} must have "{key}", got {sorted(image)}')
        value = torch.as_tensor(image[key]).detach().to(torch.float64)
        if value.numel() == 0:
            return value.new_zeros(0, *trailing)
        if value.shape[1:] != trailing or value.dim() == 0:
            raise ValueError(
                f'{self._name()}: {where}["{key}"] must have the shape {("n", *trailing)}, got {tuple(value.shape)}'
            )
        return value

    def _column(self, image: Image, where: str, key: str, count: int, otherwise: float | None = None) -> Tensor:
        """One number for each of `count` rows of an image; `otherwise` where there are none."""
        if key not in image and otherwise is not None:
            return self._anything(image).new_full((count,), otherwise, dtype=torch.float64)
        value = self._get(image, where, key)
        if len(value) != count:
            raise ValueError(f'{self._name()}: {where}["{key}"] must have {count} numbers, got {len(value)}')
        return value

    def _scores(self, image: Image, where: str) -> Tensor:
        scores = self._get(image, where, "scores")
        if bool(scores.isnan().any()):
            raise ValueError(f'{self._name()}: {where}["scores"] must be numbers, got NaN')
        return scores

    def _boxes(self, image: Image, where: str, count: int) -> Tensor:
        """(n, 4) as x, y, width, height."""
        boxes = self._get(image, where, "boxes", 4)
        if len(boxes) != count:
            raise ValueError(f'{self._name()}: {where}["boxes"] must have {count} rows, got {len(boxes)}')
        if self._box_format == "xyxy":
            return torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1)
        return boxes

    @staticmethod
    def _anything(image: Image) -> Tensor:
        """Some tensor of the image, for its device."""
        return next(torch.as_tensor(value) for value in image.values())


def _cat(state: Tensor | list[Tensor]) -> Tensor:
    """A state as one tensor on the CPU; torchmetrics has joined it already where it gathered processes."""
    return (state if isinstance(state, Tensor) else state[0] if len(state) == 1 else torch.cat(state)).cpu()


def _places(ids: Tensor) -> Tensor:
    """The number of each image in the order of ids, -1 where an id was met before; as they come without ids."""
    known = ids != _NO_ID
    if not bool(known.any()):
        return torch.arange(len(ids))
    if not bool(known.all()):
        raise ValueError("image_ids must be given in every update or in none")
    unique, place = ids.unique(return_inverse=True)
    first = torch.full((len(unique),), len(ids)).scatter_reduce(0, place, torch.arange(len(ids)), "amin")
    return torch.where(first[place] == torch.arange(len(ids)), place, -1)
