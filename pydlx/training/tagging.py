"""Training of entity taggers: the Lightning task, and the scores of its validation."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from pydlx.data.entity_set import EntityBatch, EntitySet
from pydlx.metrics import EntityScore
from pydlx.models.entities import DecodedEntity, FoundEntity
from pydlx.models.entities.finding import decided_entities, entities_in_text
from pydlx.training.samples import show_table
from pydlx.training.task import Optimizer, Task

SHOWN = 8  # validation texts that are shown in TensorBoard


class TaggingTask(Task):
    """The tagger's loss, and precision, recall and F1 of the entities of the validation texts.

    Training batches are `EntityBatch`; validation batches are an `EntityBatch` and the indices (B,) of its examples,
    from `NumberedExamples`. Entities are compared by their offsets in the original text, so entities that tokenisation
    or windows made impossible to find count as missed.

    Args:
        model: A tagger.
        optimizer: Builds the optimiser and its schedule, which is stepped after every training step.
        held_out: The validation examples.
    """

    def __init__(self, model: Any, optimizer: Optimizer, held_out: EntitySet) -> None:
        super().__init__(model, optimizer)
        self.held_out, self.metric = held_out, EntityScore(held_out.types)
        self.found: dict[int, list[DecodedEntity]] = {}

    def training_step(self, batch: EntityBatch, batch_idx: int) -> Tensor:
        """Called by Lightning."""
        loss = self.model.loss(batch.text, batch.spans)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch.text.mask), sync_dist=True)
        return loss

    def validation_step(self, batch: tuple[EntityBatch, Tensor], batch_idx: int) -> None:
        """Called by Lightning."""
        examples, numbers = batch
        for number, entities in zip(numbers.tolist(), self.model.find(examples.text), strict=True):
            place, _ = self.held_out.windows[number]
            self.found.setdefault(place, []).extend(decided_entities(self.held_out, number, entities))

    def on_validation_epoch_end(self) -> None:
        """Called by Lightning."""
        # This includes texts without a token, which have no window.
        own = range(self.trainer.global_rank, len(self.held_out.source.texts), self.trainer.world_size)
        flat = not self.model.finds_nested
        found = [entities_in_text(self.held_out, place, self.found.get(place, []), flat) for place in own]
        self.metric.update(found, [self.held_out.source.texts[place].entities for place in own])
        scores = self.metric.compute()
        for name in ("f1", "precision", "recall"):
            self.log(f"val/{name}", scores[name].float(), prog_bar=name == "f1", sync_dist=True)
        for kind in self.held_out.types:
            self.log(f"val/f1_{kind}", scores[f"type_f1/{kind}"].float(), sync_dist=True)
        self._show(own, found)
        self.metric.reset()
        self.found.clear()

    def _show(self, places: range, found: list[list[FoundEntity]]) -> None:
        """Show some texts with found and true entities in TensorBoard."""
        rows: list[tuple[str, ...]] = [("text", "found", "true")]
        for place, entities in zip(places[:SHOWN], found, strict=False):
            text = self.held_out.source.texts[place]
            words = text.text if isinstance(text.text, str) else " ".join(text.text)
            right = [f"{entity.type} {text.surface(entity)}" for entity in text.entities]
            rows.append((words, "; ".join(f"{e.type} {e.text}" for e in entities), "; ".join(right)))
        show_table(self, "val/entities", rows)
