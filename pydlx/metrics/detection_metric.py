"""What the average-precision metrics share: batches of images in, rows of all images out."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from pydlx._checks import check_flag, check_one_of, check_type, described, listed, numbers
from pydlx.data.annotations import Id, in_order, warn_of
from pydlx.metrics.coco_protocol import Curves
from pydlx.metrics.coco_summary import by_category, summary, summary_text
from pydlx.metrics.image_batch import PROMISES, Image, ImageBatch
from pydlx.metrics.metric import Metric
from pydlx.metrics.plots import plot_precision_recall

Shapes = Mapping[str, tuple[int, ...]]  # state -> shape of one of its rows
Names = Mapping[int, str] | Sequence[str]  # of labels


class DetectionMetric(Metric):
    """Keeps the rows of every batch until ``compute``.

    Rows stay in the order of the images, process after process. Image ids, where given, sort the images, and an image
    that comes twice, since a distributed sampler fills up its last batch, counts once.

    A subclass names its states, a column of the detections or of the truths each, and the shapes of their rows in
    ``__init__``; ``found_labels`` and ``true_labels`` are among them. It makes the columns of a batch in `_found` and
    `_true`, and evaluates those of all batches, which `_joined` hands out, in `_evaluated`.

    Values on the CPU are checked in ``update``, values on a GPU in ``compute``, so that no update waits for the GPU.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    images: list[Tensor]  # number of detections, number of truths
    image_ids: list[Tensor]  # the id of each image as JSON, null where it has none, and a comma; as bytes
    right: list[Tensor]  # (1, P) for each batch on a GPU: whether each of the P promises holds

    promises: ClassVar[tuple[tuple[str, str, str], ...]]  # kind, key, and what its values must be, see PROMISES

    def __init__(
        self,
        found: Shapes,
        true: Shapes,
        *,
        by_limit: bool,
        class_metrics: bool,
        class_names: Names | None,
        only_images: Sequence[Id] | None,
        only_labels: Sequence[int] | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        name = self._name()
        check_flag(name, "class_metrics", class_metrics)
        self.class_metrics, self.class_names = class_metrics, _checked_names(name, class_names)
        self.only_images = None if only_images is None else _ids(name, "only_images", only_images)
        self.only_labels = None if only_labels is None else sorted(set(numbers(name, "only_labels", only_labels)))
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
        """COCO's numbers by name, float64; -1 where no truth counts. With ``class_metrics`` also AP of each class."""
        curves, labels = self._evaluated()
        values = summary(curves, by_limit=self._by_limit)
        if self.class_metrics:
            values |= {f"AP/{name}": value for name, value in self._by_class(curves, labels).items()}
        return {name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()}

    def curves(self) -> Curves:
        """Precision over recall of the states as they are: of this process, if not inside of ``sync_context``."""
        return self._evaluated()[0]

    def labels(self) -> Tensor:
        """The categories in the states as they are, ascending, in the order that the curves have them."""
        states, *_ = self._joined()
        return torch.from_numpy(self._categories(states)[0]).long()

    def per_class(self) -> dict[str, float]:
        """AP of each category by its name, of the states as they are; -1 where no truth counts."""
        curves, labels = self._evaluated()
        return by_category(curves, self._names_of(labels))

    def summary(self) -> str:
        """The numbers of the states as they are, in the lines that COCO's tools print."""
        return summary_text(self.curves(), by_limit=self._by_limit)

    def _evaluated(self) -> tuple[Curves, np.ndarray | None]:
        """The curves, and the label of each of their categories; None where all are taken for one."""
        raise NotImplementedError

    def _by_class(self, curves: Curves, labels: np.ndarray | None) -> dict[str, float]:
        """AP of each class by its name, ascending by labels; -1 for those that have a name and were not seen."""
        seen = by_category(curves, self._names_of(labels))
        if labels is None:
            return seen
        named = np.array([*(self.class_names or ())], dtype=np.float64)
        named = named if self.only_labels is None else named[np.isin(named, self.only_labels)]
        return {name: seen.get(name, -1.0) for name in self._names_of(np.union1d(labels, named))}

    def _names_of(self, labels: np.ndarray | None) -> list[str]:
        """A different name for each label: with the label beside it where several have it, the label where none is."""
        if labels is None:
            return ["all"]
        given = self.class_names or {}
        names = {label: given.get(label, f"{label:.17g}") for label in {*labels.tolist(), *given}}
        uses = Counter(names.values())
        return [
            f"{names[label]} ({label:.17g})" if uses[names[label]] > 1 else names[label] for label in labels.tolist()
        ]

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
        ids = [None] * len(target) if image_ids is None else _ids(name, "image_ids", image_ids)
        if len(ids) != len(target):
            raise ValueError(f"{name}: image_ids must name {len(target)} images, got {len(ids)}")
        if not ids:
            return
        found, true = ImageBatch(name, "preds", preds), ImageBatch(name, "target", target)
        columns = {**self._found(found), **self._true(true)}
        self._check_values({"preds": found, "target": true})
        for state_name, column in columns.items():
            state: list[Tensor] = getattr(self, state_name)
            state.append(column.to(found.device))
        counts = torch.tensor([found.counts, true.counts], dtype=torch.int64, device="cpu").T.contiguous()
        self.images.append(counts.to(found.device, non_blocking=True))
        text = f"{json.dumps(ids)[1:-1]},"
        self.image_ids.append(
            torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8).to(found.device, non_blocking=True)
        )

    def _found(self, batch: ImageBatch) -> dict[str, Tensor]:
        """The columns of the detections by the states of that kind."""
        raise NotImplementedError

    def _true(self, batch: ImageBatch) -> dict[str, Tensor]:
        """The columns of the truths by the states of that kind."""
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
        """The columns on the CPU; the image of every detection and of every truth; how many images there are."""
        counts = self._cat("images").numpy()
        self._check_noted()
        text = self._cat("image_ids").numpy().tobytes().decode()
        place = _places(self._name(), json.loads(f"[{text.rstrip(',')}]"), self.only_images)
        columns: dict[str, Tensor] = {}
        images = []
        for names, count, labels in zip(self._kinds, counts.T, ("found_labels", "true_labels"), strict=True):
            of_kind = {name: self._cat(name) for name in names}
            image = place.repeat(count)
            kept = image >= 0
            if self.only_labels is not None:
                kept &= np.isin(of_kind[labels].numpy(), self.only_labels)
            columns |= of_kind if kept.all() else self._chosen(of_kind, kept)
            images.append(torch.from_numpy(image if kept.all() else image[kept]))
        return columns, images[0], images[1], int((place >= 0).sum())

    def _chosen(self, columns: dict[str, Tensor], kept: np.ndarray) -> dict[str, Tensor]:
        """Some of the rows of one kind."""
        return {name: torch.from_numpy(column.numpy()[kept]) for name, column in columns.items()}

    def _cat(self, name: str) -> Tensor:
        """A state as one tensor on the CPU; torchmetrics has joined it already where it gathered processes."""
        state: Tensor | list[Tensor] = getattr(self, name)
        if isinstance(state, list):
            state = torch.cat(state) if len(state) > 1 else state[0] if state else self._nothing[name]
        return state.cpu()

    @staticmethod
    def _warn_of_tiny(area: Tensor, images: Tensor, effect: str) -> None:
        """Of truths whose area is no size of anything seen, as where coordinates are fractions of the image."""
        tiny = images.numpy()[area.numpy() < 1]
        warn_of(len(tiny), f"truths have an area below 1 square pixel{effect}", tiny.tolist(), "of images number")

    def _name(self) -> str:
        return type(self).__name__

    def _categories(self, columns: Mapping[str, Tensor]) -> tuple[np.ndarray, Tensor, Tensor]:
        """All labels, ascending, and the place of each row's among them. Where rows have none (NaN), all are alike."""
        found, true = columns["found_labels"].numpy(), columns["true_labels"].numpy()
        given = np.concatenate([found, true])
        unlabelled = np.isnan(given)
        if unlabelled.any():
            known = np.unique(given[~unlabelled])
            if len(known) > 1:
                raise ValueError(
                    f'{self._name()}: "labels" must be in all of preds and target where they differ, got '
                    f"{len(known)} labels and rows without; leave them out of both to take all categories for one"
                )
            given = np.where(unlabelled, known[0] if len(known) else 0, given)
        labels, places = _numbered(given, self.only_labels)
        return labels, torch.from_numpy(places[: len(found)]), torch.from_numpy(places[len(found) :])


def as_xywh(boxes: Tensor, box_format: str) -> Tensor:
    """(n, 4) as x, y, width, height, from one of `BOX_FORMATS`."""
    if box_format == "xywh":
        return boxes
    first, second = boxes[:, :2], boxes[:, 2:]
    return torch.cat([first, second - first] if box_format == "xyxy" else [first - second / 2, second], 1)


BOX_FORMATS = ("xyxy", "xywh", "cxcywh")


def check_box_format(name: str, box_format: str) -> None:
    """Refuses what is no format of boxes."""
    check_one_of(name, "box_format", box_format, BOX_FORMATS)


_MOST_COUNTED = 1 << 20


def _numbered(given: np.ndarray, only: Sequence[float] | None) -> tuple[np.ndarray, np.ndarray]:
    """The different labels, ascending, those of `only` among them, and the place of each of the given ones."""
    every = given if only is None else np.concatenate([given, only])
    if (
        len(every)
        and every.min() >= 0
        and every.max() < _MOST_COUNTED
        and (every == (whole := every.astype(int))).all()
    ):
        there = np.bincount(whole) > 0  # a count instead of a sort, which would take half of the whole evaluation
        return np.flatnonzero(there).astype(float), (np.cumsum(there) - 1)[whole[: len(given)]]
    labels, places = np.unique(every, return_inverse=True)
    return labels, places[: len(given)].astype(np.int64)


def _checked_names(name: str, class_names: Names | None) -> dict[float, str] | None:
    """Names by label."""
    if class_names is None:
        return None
    if isinstance(class_names, str):
        raise TypeError(f"{name}: class_names must be names of labels, got the string {class_names!r}")
    check_type(name, "class_names", class_names, (Mapping, Sequence), "a list of names, or names by label")
    items = class_names.items() if isinstance(class_names, Mapping) else enumerate(class_names)
    return {label: str(each) for label, each in items}


def _ids(name: str, argument: str, image_ids: Iterable[Any]) -> list[Id]:
    """Numbers and strings as Python's own."""
    if isinstance(image_ids, str):
        raise ValueError(f"{name}: {argument} must be one for each image, got the string {image_ids!r}")
    given = listed(name, argument, image_ids, "whole numbers or strings")
    keys = (key.item() if hasattr(key, "item") else key for key in given)
    return [_id(name, argument, key) for key in keys]


def _id(name: str, argument: str, key: object) -> Id:
    if isinstance(key, int | str):
        return key
    if isinstance(key, float) and key.is_integer():
        return int(key)
    raise ValueError(f"{name}: {argument} must be whole numbers or strings, got {key!r}")


def _places(name: str, ids: Sequence[Id | None], only: Collection[Id] | None) -> np.ndarray:
    """The number of each image in the order of ids, or as they come without; -1 where it was met before or is not
    among those that were asked for."""
    known = [key for key in ids if key is not None]
    if not known and only is None:
        return np.arange(len(ids))
    if len(known) < len(ids):
        asked = "" if only is None else " with only_images"
        raise ValueError(f"{name}: image_ids must be given in every update{asked or ' or in none'}")
    chosen = set(known) if only is None else set(known).intersection(only)
    place = {key: place for place, key in enumerate(in_order(chosen))}
    return np.array([place.pop(key, -1) for key in known], dtype=np.int64)
