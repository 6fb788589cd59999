"""Precision, recall and F1 of entities: sets of (text, type, start, end), counted over the whole data set.

An entity is right if the target has one of the same type with the same start and end. Entities may be nested or
overlap. One that comes twice counts once. Over the counts of all types together:

    precision = right / predicted        recall = right / true        F1 = 2 right / (predicted + true)

each 0 where it would be 0 / 0. ``macro_f1`` is the mean of F1 over the types that are predicted or true.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Union

import torch
from torch import Tensor

from pydlx._checks import check_integers, check_type, described, is_whole, listed
from pydlx.metrics.metric import Metric
from pydlx.metrics.scores import Scores
from pydlx.metrics.set_counts import different_names, precision_recall_f1

if TYPE_CHECKING:
    from pydlx.data.entities import AnnotatedText, EntityReport

Spans = Tensor | Sequence[Iterable[Any]]  # (N, 4) rows, or the entities of each item
TextSource = Union[str, os.PathLike[str], Iterable["AnnotatedText"]]  # noqa: UP007 - a name for type checkers

_Key = tuple[int, int, int, int]  # item, type, start, end


class EntityScore(Metric):
    """Precision, recall and F1 of entities in a training or evaluation loop; a ``torchmetrics.Metric``.

    Counts over all batches and over the processes of ``torch.distributed``; see the module's description. What is kept
    does not grow with the number of texts, so a text that two processes see counts twice.

    Args:
        types: C different names.
        kwargs: Those of ``torchmetrics.Metric``.

    ``compute()`` gives scalars: ``precision``, ``recall``, ``f1`` and ``macro_f1``, and of each type
    ``type_precision/NAME``, ``type_recall/NAME``, ``type_f1/NAME`` and the counts ``right/NAME``, ``predicted/NAME``
    and ``true/NAME``. Those of all types as one tensor (C,) are ``compute()["type_f1"]``, and likewise the others.

    Example:
        >>> metric = EntityScore(["PER", "LOC"])
        >>> metric.update([[("PER", 0, 1), ("LOC", 3, 3)]], [[("PER", 0, 1), ("LOC", 3, 4)]])
        >>> scores = metric.compute()
        >>> scores["f1"].item(), scores["type_f1/PER"].item()
        (0.5, 1.0)
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    counts: Tensor

    def __init__(self, types: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.types = different_names("EntityScore", "types", types)
        self._numbers = {name: number for number, name in enumerate(self.types)}
        self.add_state("counts", torch.zeros(len(self.types), 3, dtype=torch.int64), dist_reduce_fx="sum")
        self._tell_apart("types")

    def update(self, preds: Spans, target: Spans) -> None:
        """Takes a batch in.

        Both may be (N, 4) rows of whole numbers (item, type, start, end), or a list with the entities of each item:
        (type, start, end), the type a name or its number; what follows, such as a score, is ignored.

        Args:
            preds: The entities found.
            target: The true ones.
        """
        (found, items), (true, of) = self._keys("preds", preds), self._keys("target", target)
        if None not in (items, of) and items != of:
            raise ValueError(f"EntityScore: preds and target must be of the same items, got {items} and {of}")
        counts = torch.zeros_like(self.counts, device="cpu")
        for column, keys in enumerate((found & true, found, true)):
            for _, kind, *_ in keys:
                counts[kind, column] += 1
        self.counts += counts.to(self.counts.device)

    def compute(self) -> Scores:
        """The scores of everything taken in."""
        precision, recall, f1 = precision_recall_f1(self.counts.sum(0))
        each = precision_recall_f1(self.counts)
        right, predicted, true = self.counts.unbind(1)
        occur = predicted + true > 0
        scores = {
            "precision": precision,
            "recall": recall,
            "f1": f1,
            "macro_f1": each[2].sum() / occur.sum().clamp(min=1),
            **dict(zip(("type_precision", "type_recall", "type_f1"), each, strict=True)),
            "right": right,
            "predicted": predicted,
            "true": true,
        }
        return Scores.by_class(scores, self.types)

    def _keys(self, argument: str, spans: Spans) -> tuple[set[_Key], int | None]:
        """The different entities, and of how many items they are, where the argument says so."""
        name = "EntityScore"
        if isinstance(spans, Tensor):
            check_integers(name, argument, spans)
            if spans.dim() != 2 or spans.shape[1] != 4 or spans.is_meta:
                raise ValueError(f"{name}: {argument} must have shape (N, 4), got {described(spans)}")
            rows, items = [(item, (kind, start, end)) for item, kind, start, end in spans.tolist()], None
        else:
            wanted = "(N, 4) rows or the entities of each item"
            lists = [listed(name, argument, entities, wanted) for entities in listed(name, argument, spans, wanted)]
            rows, items = [(item, entity) for item, entities in enumerate(lists) for entity in entities], len(lists)
        return {self._key(argument, *row) for row in rows}, items

    def _key(self, argument: str, item: int, entity: Any) -> _Key:
        try:
            kind, start, end, *_ = entity
        except (TypeError, ValueError):
            kind = start = end = None
        number = self._numbers.get(kind) if isinstance(kind, str) else kind
        if not is_whole(number) or not 0 <= number < len(self.types):
            wanted = f"entities (type, start, end) of the types {', '.join(self.types)}"
            raise ValueError(f"EntityScore: {argument} must be {wanted}, got {described(entity)}")
        if not (is_whole(start) and is_whole(end) and 0 <= start <= end):
            raise ValueError(f"EntityScore: {argument} must have spans with 0 <= start <= end, got {described(entity)}")
        return int(item), int(number), int(start), int(end)


def entity_score(truth: TextSource, predictions: TextSource) -> dict[str, Any]:
    """Precision, recall and F1 of the entities of a file; see the module's description.

    The n-th text of one side is compared with the n-th of the other. Spans of the truth that are none of their text are
    left out, with a warning.

    Args:
        truth: A path, read as :func:`pydlx.data.read_entities` does, or annotated texts.
        predictions: The same texts with the entities found, likewise.

    Returns:
        ``precision``, ``recall``, ``f1``, ``macro_f1``, the counts ``right``, ``predicted``, ``true`` and ``texts``,
        and in ``types`` the former three and the three counts of each type.

    Raises:
        ValueError: The sides differ in their texts, a predicted span is none of its text, or a file is not of its form.
        TypeError: An argument is neither a path nor annotated texts.
        OSError: A file cannot be read.
    """
    from pydlx.data.entities import EntityReport  # here, since metrics of a training need no pydlx.data

    name = "entity_score"
    notes = EntityReport(), EntityReport()
    sides = _texts(name, "truth", truth, notes[0]), _texts(name, "predictions", predictions, notes[1])
    counts: dict[str, list[int]] = {}
    texts = 0
    for true, found in zip_longest(*sides):
        texts += 1
        if true is None or found is None or true.text != found.text:
            raise ValueError(f"{name}: predictions must have the texts of the truth, {_difference(true, found)}")
        of_both = set(found.entities) & set(true.entities)
        for column, entities in enumerate((of_both, set(found.entities), set(true.entities))):
            for entity in entities:
                counts.setdefault(entity.type, [0, 0, 0])[column] += 1
        if wrong := notes[1].left_out:
            raise ValueError(f"{name}: predictions must have spans of their texts, got {': '.join(wrong[0])}")
    if left_out := notes[0].left_out:
        where, what = left_out[0]
        warnings.warn(f"{len(left_out)} spans of the truth are left out, the first in {where}: {what}", stacklevel=2)
    return {**_results(counts), "texts": texts}


def _texts(name: str, argument: str, source: TextSource, report: EntityReport) -> Iterator[AnnotatedText]:
    from pydlx.data.entities import AnnotatedText, read_entities

    if isinstance(source, str | os.PathLike):
        yield from read_entities(source, report)
        return
    check_type(name, argument, source, Iterable, "a path or annotated texts")
    for text in source:
        check_type(name, argument, text, AnnotatedText, "a path or annotated texts")
        yield text


def _difference(true: AnnotatedText | None, found: AnnotatedText | None) -> str:
    if true is None:
        return f"got one more at {found.id}" if found else ""
    if found is None:
        return f"got none for {true.id}"
    return f"got {found.text[:20]!r} at {found.id}, where the truth has {true.text[:20]!r}"


def _results(counts: dict[str, list[int]]) -> dict[str, Any]:
    kinds = sorted(counts)
    each = torch.tensor([counts[kind] for kind in kinds], dtype=torch.int64).reshape(-1, 3)
    total = each.sum(0)
    rows = torch.stack(precision_recall_f1(each), 1).tolist()
    keys, numbers = ("precision", "recall", "f1"), ("right", "predicted", "true")
    return {
        **dict(zip(keys, torch.stack(precision_recall_f1(total)).tolist(), strict=True)),
        "macro_f1": sum(row[2] for row in rows) / max(1, len(rows)),
        **dict(zip(numbers, total.tolist(), strict=True)),
        "types": {
            kind: dict(zip(keys + numbers, row + counts[kind], strict=True))
            for kind, row in zip(kinds, rows, strict=True)
        },
    }
