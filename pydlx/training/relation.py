"""Recipe ``relation``: models that find relations between the entities of documents, on files in DocRED's format."""

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

    batch_size: int = option(4, "documents per step and process")
    epochs: int = option(30, "epochs to train")
    data: str = option("train.json", "training documents: a JSON file in DocRED's format")
    val: str | None = option(None, "validation documents, in the same format; by default some of data, see hold_out")
    hold_out: int = option(50, "number of documents of data, evenly spread, to validate on if val is none")
    relations: str | None = option(
        None, "JSON file of the relations' ids, as rel2id.json; by default those of the data"
    )
    train_limit: int | None = option(None, "train on this many documents only, the first ones")
    val_limit: int | None = option(None, "validate on this many documents only, the first ones")
    loss: str = option(
        "adaptive_threshold",
        "adaptive_threshold, ATLOP's; adaptive_focal, KD-DocRE's; or cross_entropy, binary, with one threshold for all "
        "pairs that the validation chooses",
    )
    gamma: float = option(1.0, "adaptive_focal: exponent γ of the weight")
    offset: float = option(0.0, "adaptive_focal: 0 as in the paper, 1 as in its code")
    top_k: int | None = option(None, "maximum number of relations of a pair; 4 in ATLOP")
    max_length: int | None = option(None, "number of tokens, or wordpieces, to read of a document; none: all")
    entity_types: bool = option(True, "give the encoder the type of the entity at each token")
    entity_numbers: int = option(40, "entities with an embedding of their own at their tokens; 0 for no such embedding")
    mention: str = option("first", "a mention's vector: first token or mean of its tokens")
    context: str = option("none", "context of a pair of entities: none, or attention as in ATLOP, which is much slower")
    pair_size: int = option(256, "size of the vectors of the bilinear layer")
    block: int = option(64, "size of its blocks")
    vector_words: int = option(
        100_000, "number of the vectors' first words in the vocabulary, even if no document has them: names of others"
    )
    hidden: int = option(128, "LSTM units per direction; size of the transformer")
    layers: int | None = option(1, "layers of the encoder; LSTM layers on a pretrained one")
    dropout: float = option(0.3, "dropout of each layer's input and of the output")


_MINIMA = {
    **dict.fromkeys(("hold_out", "train_limit", "val_limit", "top_k", "max_length", "pair_size", "block"), 1),
    "entity_numbers": 0,
}


def train(options: RelationOptions) -> Trainer:
    """Train, and write ``best.ckpt`` and ``last.ckpt`` to ``options.out``.

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
    """Refuse options that are out of range, before any file is read."""
    check_encoder_options("relation", options)
    check_one_of("relation", "loss", options.loss, LOSSES)
    for name, minimum in _MINIMA.items():
        whole_or_none("relation", name, getattr(options, name), minimum)
    for name in ("gamma", "offset"):
        check_not_negative("relation", name, getattr(options, name))
    for name in ("data", "val", "relations"):
        path = getattr(options, name)
        if path is not None and not Path(path).is_file():
            raise FileNotFoundError(f"relation: {name}: no such file: '{path}'")


def _documents(
    options: RelationOptions, names: tuple[str, ...] | None
) -> tuple[list[RelationDocument], list[RelationDocument]]:
    """Return the training documents and the validation documents."""
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
    """Refuse training data without a fact, and validation data that leaves a process without a document."""
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
    """Build the model, load word vectors or pretrained weights, and set its companion."""
    own: dict[str, Any] = {key: getattr(options, key) for key in ("mention", "context", "pair_size", "block")}
    if parts.vectors is not None:
        own["tune_partial"] = 0  # fixed vectors: names that are not in the training data stay comparable with others
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
