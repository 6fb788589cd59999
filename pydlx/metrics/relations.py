"""Precision, recall and F1 of relations between the entities of documents, as DocRED's script has them.

A fact is (document, head, tail, relation), each counted once; relation 0, ``"Na"``, is none. Over all facts together:

    precision = right / submitted        recall = right / true        F1 = 2 right / (submitted + true)

each 0 where it would be 0 / 0. Ign F1 leaves out what could be known by heart: `seen` of the right facts are between
names that the training data has in the same relation, for any mention of either entity. Recall stays, and

    Ign precision = (right − seen) / (submitted − seen + 1e-5)        Ign F1 = their harmonic mean

F1 of `frequent` relations, the most common ones of the training data, and of the others, `long_tail`, is over the facts
of those relations alone.
"""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Union

import torch
from torch import Tensor

from pydlx._checks import check_bool, check_flag, check_type, described, is_whole, listed, whole
from pydlx.metrics.metric import Metric
from pydlx.metrics.scores import Scores
from pydlx.metrics.set_counts import different_names, precision_recall_f1
from pydlx.metrics.sources import content_of

if TYPE_CHECKING:
    from pydlx.data.relations import RelationDocument

DocumentSource = Union[str, os.PathLike[str], Iterable["RelationDocument"]]  # noqa: UP007 - a name for type checkers
SubmissionSource = str | os.PathLike[str] | Sequence[Mapping[str, Any]]

_Fact = tuple[str, int, int, str]  # title, head, tail, relation


class RelationScore(Metric):
    """Precision, recall and F1 of relations in a training or evaluation loop; a ``torchmetrics.Metric``.

    Counts over all batches and over the processes of ``torch.distributed``; see the module's description.

    Args:
        relations: C names, the first of which is that of no relation.
        frequent: Those that are common, for F1 of them and of all others.
        ignore_seen: Whether Ign F1 is computed, for which ``update`` needs `seen`.
        kwargs: Those of ``torchmetrics.Metric``.

    ``compute()`` gives scalars: ``precision``, ``recall`` and ``f1``, with `ignore_seen` ``ign_precision`` and
    ``ign_f1``, with `frequent` ``frequent_f1`` and ``long_tail_f1``, and of each relation ``relation_f1/NAME`` and the
    counts ``right/NAME``, ``predicted/NAME`` and ``true/NAME``. Those of all relations as one tensor (C,) are
    ``compute()["relation_f1"]``, and likewise the others.

    Example:
        >>> metric = RelationScore(["Na", "capital of", "born in"])
        >>> metric.update(torch.tensor([[False, True, True]]), torch.tensor([[False, True, False]]))
        >>> metric.compute()["precision"].item()
        0.5
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    counts: Tensor

    def __init__(
        self,
        relations: Sequence[str],
        *,
        frequent: Sequence[str] | None = None,
        ignore_seen: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        name = "RelationScore"
        self.relations = different_names(name, "relations", relations)
        check_flag(name, "ignore_seen", ignore_seen)
        self.ignore_seen = bool(ignore_seen)
        self.frequent = None if frequent is None else different_names(name, "frequent", frequent)
        for relation in self.frequent or ():
            if relation not in self.relations[1:]:
                raise ValueError(f"{name}: frequent must be some of relations, got {relation!r}")
        self.add_state("counts", torch.zeros(len(self.relations), 4, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor, seen: Tensor | None = None) -> None:
        """Takes a batch in.

        Args:
            preds: (N, C) bool: the relations predicted of N ordered pairs of entities, each pair in one row only.
                Column 0 is ignored.
            target: (N, C) bool: the true ones, likewise.
            seen: (N, C) bool: where the training data has names of the two entities in this relation.
        """
        name = "RelationScore"
        given = {"preds": preds, "target": target} | ({} if seen is None else {"seen": seen})
        for argument, value in given.items():
            check_bool(name, argument, value)
            if value.shape != preds.shape or value.shape[1:] != (len(self.relations),) or value.is_meta:
                wanted = f"(N, {len(self.relations)}), the same for all"
                raise ValueError(f"{name}: {argument} must have shape {wanted}, got {tuple(value.shape)}")
        if self.ignore_seen and seen is None:
            raise ValueError(f"{name}: seen must be a tensor with ignore_seen=True, got None")
        right = preds & target
        known = torch.zeros_like(right) if seen is None else right & seen
        counts = torch.stack([values.sum(0) for values in (right, preds, target, known)], 1)
        counts[0] = 0
        self.counts += counts.to(self.counts.device)

    def compute(self) -> Scores:
        """The scores of everything taken in."""
        common = None
        if self.frequent is not None:
            common = torch.tensor([relation in self.frequent for relation in self.relations])
        right, predicted, true, _ = self.counts.unbind(1)
        scores = {
            **_scores(self.counts, common, self.ignore_seen),
            "relation_f1": precision_recall_f1(self.counts[:, :3])[2],
            "right": right,
            "predicted": predicted,
            "true": true,
        }
        return Scores.by_class(scores, self.relations)


def relation_score(
    truth: DocumentSource,
    predictions: SubmissionSource,
    *,
    train: DocumentSource | None = None,
    frequent: int = 10,
) -> dict[str, Any]:
    """Precision, recall and F1 of submitted facts, by DocRED's rules; see the module's description.

    What is submitted of documents or entities that the truth does not have counts as wrong, with a warning; ``"Na"``
    is left out, with a warning. Facts submitted twice count once.

    Args:
        truth: A path of DocRED's form, or documents.
        predictions: DocRED's submission, a list of ``{"title", "h_idx", "t_idx", "r"}``: a path or what was loaded.
        train: The training data, as `truth`, for Ign F1 and for F1 of its most common relations and of the others.
        frequent: How many relations are the most common ones; of equally common ones those first in the alphabet.

    Returns:
        ``precision``, ``recall``, ``f1``; with `train` ``ign_precision``, ``ign_f1``, ``frequent_f1`` and
        ``long_tail_f1``; the counts ``right``, ``predicted``, ``true`` and, with `train`, ``seen``; and in
        ``relations`` precision, recall, F1, right, predicted and true of each relation that occurs.

    Raises:
        ValueError: A title occurs twice in the truth, or a file is not of its form.
        TypeError: An argument is something else, or a record lacks a field.
        OSError: A file cannot be read.
    """
    # Here, since metrics of a training need no pydlx.data.
    from pydlx.data.relations import frequent_relations, named_facts, names_of_fact

    name = "relation_score"
    frequent = whole(name, "frequent", frequent, 1)
    documents = _by_title(name, truth)
    submitted = _submitted(name, predictions, documents)
    true = {(d.title, f.head, f.tail, f.relation) for d in documents.values() for f in d.facts}
    known: set[tuple[str, str, str]] = set()
    common: list[str] = []
    if train is not None:
        of_training = list(_documents(name, "train", train))
        known, common = named_facts(of_training), frequent_relations(of_training, frequent)
    right = submitted & true
    seen = {fact for fact in right if not known.isdisjoint(names_of_fact(documents[fact[0]], *fact[1:]))}
    columns = [Counter(fact[3] for fact in facts) for facts in (right, submitted, true, seen)]
    relations = sorted(set().union(*columns))
    counts = torch.tensor([[c[relation] for c in columns] for relation in relations], dtype=torch.int64).reshape(-1, 4)
    total = counts.sum(0).tolist()
    mask = None if train is None else torch.tensor([relation in common for relation in relations], dtype=torch.bool)
    return {
        **{key: value.item() for key, value in _scores(counts, mask, train is not None).items()},
        **dict(zip(("right", "predicted", "true"), total[:3], strict=True)),
        **({} if train is None else {"seen": total[3]}),
        "relations": dict(zip(relations, _each(counts), strict=True)),
    }


def _scores(counts: Tensor, common: Tensor | None, ignore_seen: bool) -> dict[str, Tensor]:
    """The scores of counts (R, 4): right, predicted, true, seen; `common` (R,) says which relations are frequent."""
    total = counts.sum(0)
    precision, recall, f1 = precision_recall_f1(total[:3])
    scores = {"precision": precision, "recall": recall, "f1": f1}
    if ignore_seen:
        right, predicted, _, seen = total.double()
        own = (right - seen) / (predicted - seen + 1e-5)
        scores["ign_precision"] = own
        scores["ign_f1"] = torch.where(own + recall == 0, 0, 2 * own * recall / (own + recall))
    if common is not None:
        common = common.to(counts.device)
        for key, rows in (("frequent_f1", common), ("long_tail_f1", ~common)):
            scores[key] = precision_recall_f1(counts[rows, :3].sum(0))[2]
    return scores


def _each(counts: Tensor) -> list[dict[str, float]]:
    keys = ("precision", "recall", "f1", "right", "predicted", "true")
    values = torch.stack(precision_recall_f1(counts[:, :3]), 1).tolist()
    return [dict(zip(keys, row + own, strict=True)) for row, own in zip(values, counts[:, :3].tolist(), strict=True)]


def _documents(name: str, argument: str, source: DocumentSource) -> Iterator[RelationDocument]:
    from pydlx.data.relations import RelationDocument, RelationReport, read_docred

    if isinstance(source, str | os.PathLike):
        report = RelationReport()
        yield from read_docred(source, report)
        if report.left_out:
            where, what = report.left_out[0]
            count = len(report.left_out)
            warnings.warn(f"{count} parts of '{source}' are left out, the first in {where!r}: {what}", stacklevel=4)
        return
    check_type(name, argument, source, Iterable, "a path or documents")
    for document in source:
        check_type(name, argument, document, RelationDocument, "a path or documents")
        yield document


def _by_title(name: str, truth: DocumentSource) -> dict[str, RelationDocument]:
    documents: dict[str, RelationDocument] = {}
    for document in _documents(name, "truth", truth):
        if document.title in documents:
            raise ValueError(f"{name}: truth must have each title once, got {document.title!r} twice")
        documents[document.title] = document
    return documents


def _submitted(name: str, source: SubmissionSource, documents: Mapping[str, RelationDocument]) -> set[_Fact]:
    """The different facts, without those of no relation."""
    from pydlx.data.relations import NO_RELATION

    content, place = content_of(name, "predictions", source)
    facts = {
        _fact(f"{place}[{number}]", record)
        for number, record in enumerate(listed(name, "predictions", content, "a path or a list of facts"))
    }
    none = {fact for fact in facts if fact[3] == NO_RELATION}
    strange = sum(
        title not in documents or not all(0 <= entity < len(documents[title].entities) for entity in (head, tail))
        for title, head, tail, _ in facts - none
    )
    said = {f"{NO_RELATION!r} and left out": len(none), "of no entities of the truth, and wrong": strange}
    for what, count in said.items():
        if count:
            warnings.warn(f"{count} of {len(facts)} submitted facts are {what}", stacklevel=3)
    return facts - none


def _fact(spot: str, record: Any) -> _Fact:
    check = record if isinstance(record, Mapping) else {}
    title, head, tail, relation = (check.get(key) for key in ("title", "h_idx", "t_idx", "r"))
    if not (isinstance(title, str) and is_whole(head) and is_whole(tail) and isinstance(relation, str)):
        wanted = "a fact with a title, whole numbers h_idx and t_idx, and the name r of a relation"
        raise TypeError(f"{spot} must be {wanted}, got {described(record)}")
    return title, int(head), int(tail), relation
