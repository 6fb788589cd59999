"""What the average-precision metrics share: batches of images in, rows of all images out."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from pydlx._checks import check_one_of, described
from pydlx.metrics.coco_protocol import Curves, summary
from pydlx.metrics.image_batch import PROMISES, Image, ImageBatch
from pydlx.metrics.metric import Metric
from pydlx.metrics.plots import plot_precision_recall

if TYPE_CHECKING:
    from pydlx.data.annotations import Id

Shapes = Mapping[str, tuple[int, ...]]  # state -> shape of one of its rows


class DetectionMetric(Metric):
    """Keeps the rows of every batch until ``compute``.

    Rows stay in the order of the images, process after process. Image ids, where given, sort the images, and an image
    that comes twice, since a distributed sampler fills up its last batch, counts once.

    A subclass names its states and the shapes of their rows in ``__init__``, makes the rows of a batch in `_found` and
    `_true`, and evaluates those of all batches, which `_joined` hands out, in `curves`.

    Values on the CPU are checked in ``update``, values on a GPU in ``compute``, so that no update waits for the GPU.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    images: list[Tensor]  # number of detections, number of truths
    image_ids: list[Tensor]  # the id of each image as JSON, null where it has none, and a comma; as bytes
    right: list[Tensor]  # (1, P) for each batch on a GPU: whether each of the P promises holds

    promises: ClassVar[tuple[tuple[str, str, str], ...]]  # kind, key, and what its values must be, see PROMISES

    def __init__(self, found: Shapes, true: Shapes, *, by_limit: bool, box_format: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_one_of(self._name(), "box_format", box_format, ("xyxy", "xywh"))
        self.box_format = box_format
        self._kinds = (tuple(found), tuple(true))  # the states with rows of detections, and those with rows of truths
        self._by_limit = by_limit
        self._nothing = {
            "images": torch.zeros(0, 2, dtype=torch.int64),
            "image_ids": torch.zeros(0, dtype=torch.uint8),
            "right": torch.zeros(0, len(self.promises), dtype=torch.bool),
            **{name: torch.zeros(0, *shape, dtype=torch.float64) for name, shape in {**found, **true}.items()},
        }
        for name in self._nothing:
            self.add_state(name, [], dist_reduce_fx="cat")

    def compute(self) -> dict[str, Tensor]:
        """COCO's numbers by name, float64; -1 where no truth counts."""
        values = summary(self.curves(), by_limit=self._by_limit)
        return {name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()}

    def curves(self) -> Curves:
        """Precision over recall of the states as they are: of this process, if not inside of ``sync_context``."""
        raise NotImplementedError

    def plot(
        self, val: Any = None, ax: Any = None, *, path: str | os.PathLike[str] | None = None, **options: Any
    ) -> tuple[Any, Any]:
        """Draws precision over recall of the states as they are; or a result, or a row of them over time.

        Args:
            val: A result of ``compute`` or ``forward``, or a list of them, to draw instead.
            ax: matplotlib axes to draw into, instead of those of a new figure.
            path: Where to write the picture, as a whole or not at all; the suffix chooses the format.
            options: Without `val`, those of :func:`pydlx.metrics.plot_precision_recall`.

        Returns:
            matplotlib's figure and axes.

        Raises:
            ImportError: If matplotlib is not installed.
            OSError: If the file cannot be written.
        """
        if val is None:
            return plot_precision_recall(self.curves(), path, ax=ax, **options)
        return super().plot(val, ax, path=path, **options)

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """Joins the states of all processes, those without an image among them.

        torchmetrics gives an empty list the shape (0,) and its own dtype, which other processes cannot receive.
        """
        for name, nothing in self._nothing.items():
            if isinstance(state := getattr(self, name), list) and not state:
                state.append(nothing.to("cpu" if self.compute_on_cpu else self.device))
        super().sync(*args, **kwargs)

    def unsync(self, *args: Any, **kwargs: Any) -> None:
        """Gives this process its own states again."""
        super().unsync(*args, **kwargs)
        for name in self._nothing:
            if isinstance(state := getattr(self, name), list):
                state[:] = [part for part in state if len(part)]

    def update(
        self,
        preds: Sequence[Image],
        target: Sequence[Image],
        image_ids: Sequence[Id] | Tensor | None = None,
    ) -> None:
        """Takes in a batch of images.

        Args:
            preds: a dict of tensors for each image, see the class; other keys are ignored.
            target: likewise.
            image_ids: an id for each image, a whole number of any size or a string.
        """
        name = self._name()
        for argument, images in (("preds", preds), ("target", target)):
            if not isinstance(images, Sequence) or not all(isinstance(image, Mapping) for image in images):
                raise TypeError(
                    f"{name}: {argument} must be a list with a dict for each image, got {described(images)}"
                )
        if len(preds) != len(target):
            raise ValueError(f"{name}: preds and target must be of the same images, got {len(preds)} and {len(target)}")
        ids = [None] * len(target) if image_ids is None else _ids(name, image_ids)
        if len(ids) != len(target):
            raise ValueError(f"{name}: image_ids must name {len(target)} images, got {len(ids)}")
        if not ids:
            return
        found, true = ImageBatch(name, "preds", preds), ImageBatch(name, "target", target)
        rows = (*self._found(found), *self._true(true))
        self._check_values({"preds": found, "target": true})
        for state_name, tensor in zip((each for names in self._kinds for each in names), rows, strict=True):
            state: list[Tensor] = getattr(self, state_name)
            state.append(tensor.to(found.device))
        counts = torch.tensor([found.counts, true.counts], dtype=torch.int64, device="cpu").T.contiguous()
        self.images.append(counts.to(found.device, non_blocking=True))
        text = f"{json.dumps(ids)[1:-1]},"
        self.image_ids.append(
            torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8).to(found.device, non_blocking=True)
        )

    def _found(self, batch: ImageBatch) -> tuple[Tensor, ...]:
        """The rows of the detections, for each state of that kind."""
        raise NotImplementedError

    def _true(self, batch: ImageBatch) -> tuple[Tensor, ...]:
        """The rows of the truths, for each state of that kind."""
        raise NotImplementedError

    def _check_values(self, batches: Mapping[str, ImageBatch]) -> None:
        """Raises for values on the CPU that are not what they must be; notes on the GPU whether all are."""
        kept = [batches[kind].kept(key, promise) for kind, key, promise in self.promises]
        if any(rows.is_cuda for rows in kept):
            self.right.append(torch.stack([rows.all() for rows in kept])[None])
            return
        for rows, (kind, key, promise) in zip(kept, self.promises, strict=True):
            if not bool(rows.all()):
                number = batches[kind].image_of(int(rows.logical_not().nonzero()[0]))
                raise ValueError(f'{self._name()}: {kind}[{number}]["{key}"] {PROMISES[promise][1]}')

    def _check_noted(self) -> None:
        for rows, (kind, key, promise) in zip(self._cat("right").unbind(1), self.promises, strict=True):
            if not bool(rows.all()):
                raise ValueError(f'{self._name()}: {kind}["{key}"] {PROMISES[promise][1]}')

    def _joined(self) -> tuple[dict[str, Tensor], Tensor, Tensor, int]:
        """The states on the CPU; the image of every detection and of every truth; how many images there are."""
        counts = self._cat("images")
        self._check_noted()
        text = self._cat("image_ids").numpy().tobytes().decode()
        place = _places(json.loads(f"[{text.rstrip(',')}]"))
        rows = [place.repeat_interleave(count) for count in counts.unbind(1)]
        states = {name: self._cat(name) for names in self._kinds for name in names}
        if bool((place < 0).any()):
            for names, row in zip(self._kinds, rows, strict=True):
                states |= {name: states[name][row >= 0] for name in names}
            rows = [row[row >= 0] for row in rows]
        return states, rows[0], rows[1], int((place >= 0).sum())

    def _cat(self, name: str) -> Tensor:
        """A state as one tensor on the CPU; torchmetrics has joined it already where it gathered processes."""
        state: Tensor | list[Tensor] = getattr(self, name)
        if isinstance(state, list):
            state = torch.cat(state) if len(state) > 1 else state[0] if state else self._nothing[name]
        return state.cpu()

    @staticmethod
    def _warn_of_tiny(area: Tensor, images: Tensor, effect: str) -> None:
        """Of truths whose area is no size of anything seen, as where coordinates are fractions of the image."""
        from pydlx.data.annotations import warn_of  # here, since importing pydlx.data takes as long as pydlx.metrics

        tiny = images[area < 1]
        warn_of(len(tiny), f"truths have an area below 1 square pixel{effect}", tiny.tolist(), "of images number")

    def _name(self) -> str:
        return type(self).__name__

    def _categories(self, found: Tensor, true: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """All labels, ascending, and the place of each row's among them. Where rows have none (NaN), all are alike."""
        given = torch.cat([found, true])
        unlabelled = given.isnan()
        if bool(unlabelled.any()):
            known = given[~unlabelled].unique()
            if len(known) > 1:
                raise ValueError(
                    f'{self._name()}: "labels" must be in all of preds and target where they differ, got '
                    f"{len(known)} labels and rows without; leave them out of both to take all categories for one"
                )
            given = torch.where(unlabelled, known[0] if len(known) else 0, given)
        labels, places = given.unique(return_inverse=True)
        return labels, places[: len(found)], places[len(found) :]

    def _boxes(self, rows: Tensor) -> Tensor:
        """(n, 4) as x, y, width, height."""
        return torch.cat([rows[:, :2], rows[:, 2:] - rows[:, :2]], 1) if self.box_format == "xyxy" else rows


def _ids(name: str, image_ids: Iterable[Any]) -> list[Id]:
    """Numbers and strings as Python's own."""
    if isinstance(image_ids, str):
        raise ValueError(f"{name}: image_ids must be one for each image, got the string {image_ids!r}")
    keys = (key.item() if hasattr(key, "item") else key for key in image_ids)
    return [_id(name, key) for key in keys]


def _id(name: str, key: object) -> Id:
    if isinstance(key, int | str):
        return key
    if isinstance(key, float) and key.is_integer():
        return int(key)
    raise ValueError(f"{name}: image_ids must be whole numbers or strings, got {key!r}")


def _places(ids: Sequence[Id | None]) -> Tensor:
    """The number of each image in the order of ids, -1 where an id was met before; as they come without ids."""
    from pydlx.data.annotations import in_order

    known = [key for key in ids if key is not None]
    if not known:
        return torch.arange(len(ids))
    if len(known) < len(ids):
        raise ValueError("image_ids must be given in every update or in none")
    place = {key: place for place, key in enumerate(in_order(known))}
    return torch.tensor([place.pop(key, -1) for key in known])
