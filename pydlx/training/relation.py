"""Recipe ``relation``: models that find relations between the entities of documents, on files of DocRED's form."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from pydlx._checks import check_not_negative, check_one_of, whole_or_none
from pydlx._optional import needed_for
from pydlx.data.relation_set import RelationSet, document_words
from pydlx.data.relations import NO_RELATION, RelationDocument, RelationReport, read_docred, read_relation_names
from pydlx.models import create_model
from pydlx.training.encoding import (
    EncoderOptions,
    EncoderParts,
    check_encoder_options,
    encoder_callbacks,
    encoder_model_options,
    encoder_optimizer,
    encoder_parts,
    load_parts,
    pretrained_encoder,
)
from pydlx.training.numbered import validation_loader
from pydlx.training.options import option
from pydlx.training.relating import LOSSES, RelationTask, relation_loss
from pydlx.training.trainer import build_trainer, checkpoint_to_resume, processes, steps_of, training_loader
from pydlx.training.words import say

with needed_for("training", extra="train"):
    from lightning.pytorch import Trainer


@dataclasses.dataclass
class RelationOptions(EncoderOptions):
    """Options of the recipe."""

    batch_size: int = option(4, "documents of one step and process")
    epochs: int = option(30, "how often to go through the data")
    data: str = option("train.json", "documents to train on: a JSON file of DocRED's form")
    val: str | None = option(None, "documents by which the best weights are chosen, likewise; none holds some back")
    hold_out: int = option(50, "documents of data, evenly spread, that are kept for the validation if val is none")
    relations: str | None = option(None, "JSON file of the relations' ids, as rel2id.json; none: those of the data")
    train_limit: int | None = option(None, "train on the first so many documents only")
    val_limit: int | None = option(None, "validate on the first so many documents only")
    loss: str = option(
        "adaptive_threshold",
        "adaptive_threshold, ATLOP's; adaptive_focal, KD-DocRE's; or cross_entropy, binary, with one threshold for all "
        "pairs that the validation chooses",
    )
    gamma: float = option(1.0, "of adaptive_focal: the power of the weight")
    offset: float = option(0.0, "of adaptive_focal: 0 as in the paper, 1 as in its code")
    top_k: int | None = option(None, "most relations of a pair; 4 in ATLOP")
    max_length: int | None = option(None, "tokens, or wordpieces, that are read of a document; none: all")
    entity_types: bool = option(True, "tell the encoder of which type the entity at each token is")
    entity_numbers: int = option(40, "tell it which entity, of so many that are told apart; 0 does not")
    mention: str = option("first", "a mention's vector: first token or mean of its tokens")
    context: str = option("none", "what two entities look at: none, or attention, ATLOP's, which takes much longer")
    pair_size: int = option(256, "size of the vectors of the bilinear form")
    block: int = option(64, "size of its blocks")
    vector_words: int = option(
        100_000, "so many of the vectors' first words are known even if no document has them, for names in other ones"
    )
    hidden: int = option(128, "units of an LSTM per direction; size of the transformer")
    layers: int | None = option(1, "of the encoder; LSTMs above a pretrained one")
    dropout: float = option(0.3, "of what goes into each layer and comes out of the last")


_LEAST = {
    **dict.fromkeys(("hold_out", "train_limit", "val_limit", "top_k", "max_length", "pair_size", "block"), 1),
    "entity_numbers": 0,
}


def train(options: RelationOptions) -> Trainer:
    """Trains, and leaves ``best.ckpt`` and ``last.ckpt`` in ``options.out``.

    Raises:
        ValueError: If an option is out of range, or a checkpoint does not fit.
        OSError: If data or a checkpoint cannot be read.
    """
    _check(options)
    names = None if options.relations is None else read_relation_names(options.relations)
    training, held_out = _documents(options, names)
    if names is None:
        names = (NO_RELATION, *sorted({fact.relation for doc in (*training, *held_out) for fact in doc.facts}))
    torch.manual_seed(options.seed)
    pretrained = pretrained_encoder("relation", options, options.max_length)
    counts = Counter(word for document in training for word in document_words(document))
    words = dict.fromkeys(word for document in held_out for word in document_words(document))
    parts = encoder_parts("relation", options, counts, words, pretrained)
    types = sorted({mention.type for doc in training for places in doc.entities for mention in places})
    limit = pretrained.max_length if options.max_length is None and pretrained is not None else options.max_length
    examples, asked = (
        RelationSet(part, parts.featurizer, names, types, max_length=limit) for part in (training, held_out)
    )
    _check_examples(options, examples, asked)
    model = _model(options, parts, names, types, limit)
    path = checkpoint_to_resume(options, model)
    loader = training_loader(
        options, examples, lambda example: example, collate=examples.collate, lengths=examples.lengths.tolist()
    )
    steps = steps_of(options, len(loader))
    task = RelationTask(
        model,
        lambda network: encoder_optimizer(network, options, steps),
        relation_loss(options.loss, options.gamma, options.offset),
        training,
        asked,
        options.top_k,
    )
    callbacks = encoder_callbacks(options)
    trainer = build_trainer(options, monitor="val/f1", batches=len(loader), all_used=False, callbacks=callbacks)
    validation = validation_loader(options, asked)
    for name, part in (("train", examples), ("val", asked)):
        say(options, f"{name}: {len(part)} examples of {part.report}")
    trainer.fit(task, loader, validation, ckpt_path=path)
    return trainer


def _check(options: RelationOptions) -> None:
    """Refuses what is out of range before anything is read."""
    check_encoder_options("relation", options)
    check_one_of("relation", "loss", options.loss, LOSSES)
    for name, least in _LEAST.items():
        whole_or_none("relation", name, getattr(options, name), least)
    for name in ("gamma", "offset"):
        check_not_negative("relation", name, getattr(options, name))
    for name in ("data", "val", "relations"):
        path = getattr(options, name)
        if path is not None and not Path(path).is_file():
            raise FileNotFoundError(f"relation: {name}: no such file: '{path}'")


def _documents(
    options: RelationOptions, names: tuple[str, ...] | None
) -> tuple[list[RelationDocument], list[RelationDocument]]:
    """The documents to train on and those to validate on."""
    training = _read(options, options.data, names)
    if options.val is not None:
        held_out = _read(options, options.val, names)
    else:
        if options.hold_out >= len(training):
            raise ValueError(
                f"relation: hold_out must leave some of the {len(training)} documents of data, got {options.hold_out}; "
                "or give other documents with val="
            )
        kept = {(2 * place + 1) * len(training) // (2 * options.hold_out) for place in range(options.hold_out)}
        held_out = [document for place, document in enumerate(training) if place in kept]
        training = [document for place, document in enumerate(training) if place not in kept]
    return training[: options.train_limit], held_out[: options.val_limit]


def _read(options: RelationOptions, path: str, names: tuple[str, ...] | None) -> list[RelationDocument]:
    report = RelationReport()
    documents = list(read_docred(path, report, relations=names))
    say(options, f"read {path}: {report}{report.first_left_out()}")
    return documents


def _check_examples(options: RelationOptions, examples: RelationSet, asked: RelationSet) -> None:
    """Refuses to train on nothing, and to validate by nothing in any process."""
    if not any(examples.documents[place].facts for place in examples.places):
        raise ValueError(
            "relation: data must hold a fact of a document with two entities and words, got none in "
            f"{len(examples.documents)} documents"
        )
    world, _ = processes(options)
    if len(asked) < world or not any(document.facts for document in asked.documents):
        raise ValueError(
            f"relation: val must hold a fact, and a document with two entities for each process, got {len(asked)} such "
            f"documents for {world}"
        )


def _model(
    options: RelationOptions, parts: EncoderParts, names: tuple[str, ...], types: list[str], limit: int | None
) -> Any:
    """The model, with words' vectors or pretrained weights, and what turns documents into numbers."""
    own: dict[str, Any] = {key: getattr(options, key) for key in ("mention", "context", "pair_size", "block")}
    if parts.vectors is not None:
        own["tune_partial"] = 0  # names that the training has not seen keep what they share with those that it has
    model: Any = create_model(
        "document_relations",
        relations=len(names),
        types=len(types) if options.entity_types else 0,
        numbers=options.entity_numbers,
        threshold="global" if options.loss == "cross_entropy" else "learned",
        **own | encoder_model_options("relation", options, parts),
    )
    load_parts(model, parts)
    model.companion = {
        "featurizer": parts.featurizer.state(),
        "relations": list(names),
        "types": types,
        "max_length": limit,
        "top_k": options.top_k,
    }
    return model
