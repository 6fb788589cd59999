"""Training of relation models: losses, the Lightning task, and the scores of its validation."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pydlx.data.relation_batch import RelationBatch, ordered_pairs
from pydlx.data.relation_set import RelationSet
from pydlx.data.relations import RelationDocument, frequent_relations, named_facts, names_of_fact
from pydlx.losses.adaptive_threshold import adaptive_focal_loss, adaptive_threshold_loss, threshold_labels
from pydlx.metrics import RelationScore
from pydlx.metrics.metric import Metric
from pydlx.models.relations.finding import entity_name, found_relations
from pydlx.training.samples import show_table
from pydlx.training.task import Optimizer, Task

LOSSES = ("cross_entropy", "adaptive_threshold", "adaptive_focal")
SHOWN = 4  # validation documents that are shown in TensorBoard

Loss = Callable[[Tensor, Tensor], Tensor]


def relation_loss(name: str, gamma: float = 1.0, offset: float = 0.0) -> Loss:
    """Return the loss of this name, a function of logits (P, C) and labels (P, C).

    ``"cross_entropy"`` is the loss of DocRED's baselines: the binary cross-entropy of each relation, summed over
    relations. It ignores column 0, because the validation chooses one threshold for all pairs.
    """
    if name == "adaptive_threshold":
        return adaptive_threshold_loss
    if name == "adaptive_focal":
        return lambda logits, labels: adaptive_focal_loss(logits, labels, gamma, offset)
    return binary_cross_entropy


def binary_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy of logits (P, C) and labels (P, C): summed over all columns but 0, mean over pairs."""
    each = F.binary_cross_entropy_with_logits(logits[:, 1:], labels[:, 1:].to(logits.dtype), reduction="sum")
    return each / max(len(logits), 1)


class ThresholdSearch(Metric):
    """Finds the threshold with the best F1 over all pairs, in steps of 0.05, from counts summed over processes."""

    full_state_update = False
    counts: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.edges = torch.arange(-200, 201) / 20
        self.add_state("counts", torch.zeros(2, len(self.edges) + 1, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, scores: Tensor, target: Tensor) -> None:
        """Add scores (N, R) and whether each is of a fact, (N, R) bool."""
        place = torch.bucketize(scores.contiguous(), self.edges.to(scores.device))  # number of edges below each score
        size = self.counts.shape[1]
        counts = [torch.bincount(those.flatten(), minlength=size) for those in (place[target], place)]
        self.counts += torch.stack(counts).to(self.counts.device)

    def compute(self) -> float:
        """Return the best threshold; ties go to the lowest."""
        right, found = self.counts.flip(1).cumsum(1).flip(1)[:, 1:].double()  # above each edge
        best = (2 * right / (found + self.counts[0].sum()).clamp(min=1)).argmax()
        return self.edges[best].item()


class RelationTask(Task):
    """A loss over all pairs of entities, and precision, recall and F1 of the facts of the validation documents.

    Training batches are `RelationBatch`; validation batches are a `RelationBatch` and the indices (B,) of its examples.
    Each validation sets the threshold of a model with a global threshold to the one with the best F1.

    Args:
        model: `DocumentRelations`.
        optimizer: Builds the optimiser and its schedule, which is stepped after every training step.
        loss: Function of logits (P, C) and labels (P, C).
        training: The training documents, for their frequent relations and, for Ign F1, their facts.
        held_out: The validation examples.
        top_k: Maximum number of relations of a pair; None for no limit.
    """

    def __init__(
        self,
        model: Any,
        optimizer: Optimizer,
        loss: Loss,
        training: Iterable[RelationDocument],
        held_out: RelationSet,
        top_k: int | None = None,
    ) -> None:
        super().__init__(model, optimizer)
        self.loss, self.held_out, self.top_k = loss, held_out, top_k
        documents = list(training)
        self.metric = RelationScore(held_out.relations, frequent=frequent_relations(documents), ignore_seen=True)
        self.search = ThresholdSearch()
        self._known = named_facts(documents)
        self._found: dict[int, Tensor] = {}  # logits of each validation example

    def training_step(self, batch: RelationBatch, batch_idx: int) -> Tensor:
        """Called by Lightning."""
        assert batch.labels is not None
        loss = self.loss(self.model(batch), batch.labels)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch.sizes), sync_dist=True)
        return loss

    def validation_step(self, batch: tuple[RelationBatch, Tensor], batch_idx: int) -> None:
        """Called by Lightning."""
        examples, numbers = batch
        logits = self.model(examples)
        assert examples.labels is not None
        loss = self.loss(logits, examples.labels)
        self.log("val/loss", loss, batch_size=len(logits), sync_dist=True)
        if self.model.threshold is not None:
            self.search.update(logits[:, 1:].float(), examples.labels[:, 1:])
        rows = logits.float().cpu().split(examples.pair_counts)
        self._found |= dict(zip(numbers.tolist(), rows, strict=True))

    def on_validation_epoch_end(self) -> None:
        """Called by Lightning."""
        if self.model.threshold is not None:
            threshold = self.search.compute()
            self.model.set_threshold(threshold)
            self.log("val/threshold", threshold, sync_dist=True)
            for rows in self._found.values():
                rows[:, 0] = threshold
        for number, rows in self._found.items():
            labels = self.held_out[number].labels
            assert labels is not None
            self.metric.update(threshold_labels(rows, self.top_k), labels, self._seen(number))
        scores = self.metric.compute()
        for name in ("f1", "precision", "recall", "ign_f1", "frequent_f1", "long_tail_f1"):
            self.log(f"val/{name}", scores[name].float(), prog_bar=name == "f1", sync_dist=True)
        self._show()
        self.metric.reset()
        self.search.reset()
        self._found.clear()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Called by Lightning. Stores the current threshold, not the average of thresholds that ``ema`` would store."""
        if self.model.threshold is not None:
            checkpoint["state_dict"]["model.threshold"] = self.model.threshold.clone()

    def _seen(self, number: int) -> Tensor:
        """Return (P, C) bool, True at facts of an example that the training has with the same names."""
        document, relations = self.held_out.document(number), self.held_out.relations
        count = len(document.entities)
        table = torch.zeros(count, count, len(relations), dtype=torch.bool)
        for fact in document.facts:
            if not self._known.isdisjoint(names_of_fact(document, fact.head, fact.tail, fact.relation)):
                table[fact.head, fact.tail, relations.index(fact.relation)] = True
        return table[tuple(ordered_pairs(count).T)]

    def _show(self) -> None:
        """Show found and true relations of some documents in TensorBoard."""
        rows: list[tuple[str, ...]] = [("document", "found", "true")]
        for number in sorted(self._found)[:SHOWN]:
            document = self.held_out.document(number)
            found = found_relations(self._found[number], document, self.held_out.relations, top_k=self.top_k)
            sides = ("; ".join(_in_words(document, *fact[:3]) for fact in facts) for facts in (found, document.facts))
            rows.append((document.title, *sides))
        show_table(self, "val/relations", rows)


def _in_words(document: RelationDocument, head: int, tail: int, relation: str) -> str:
    return f"{entity_name(document, head)} {relation} {entity_name(document, tail)}"
