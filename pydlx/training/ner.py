"""Recipe ``ner``: taggers of named entities, nested or flat, in any language."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import torch

from pydlx._checks import check_one_of, whole_or_none
from pydlx._optional import needed_for
from pydlx.data.entities import EntityReport, read_entities
from pydlx.data.entity_set import EntitySet, TokenisedEntities
from pydlx.data.text.featurizer import bigram_counts
from pydlx.data.text.tokenisers import TOKENISERS, create_tokeniser
from pydlx.data.text.vocabulary import Vocabulary
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
from pydlx.training.tagging import TaggingTask
from pydlx.training.trainer import build_trainer, checkpoint_to_resume, processes, steps_of, training_loader
from pydlx.training.words import say

with needed_for("training", extra="train"):
    from lightning.pytorch import Trainer


@dataclasses.dataclass
class NerOptions(EncoderOptions):
    """Options of the recipe."""

    batch_size: int = option(32, "texts per step and process")
    epochs: int = option(30, "epochs to train")
    data: str = option(
        "train.json", "training texts: JSON lines in CLUENER's format; or LitBank's tables, file or folder"
    )
    val: str = option("dev.json", "validation texts, in the same format")
    train_limit: int | None = option(None, "train on this many texts only, the first ones")
    val_limit: int | None = option(None, "validate on this many texts only, the first ones")
    tokeniser: str = option(
        "words", "words; characters, for Chinese and Japanese; spaces; or spacy. Texts given as tokens keep theirs"
    )
    bigrams: bool = option(False, "read bigrams of tokens, too, which helps much with Chinese characters")
    bigram_count: int = option(2, "minimum count of bigrams in the vocabulary")
    max_length: int = option(256, "tokens, or wordpieces, of a window; longer texts are read in overlapping windows")
    model: str = option("global_pointer", "global_pointer, efficient_global_pointer, bio_tagger or crf_tagger")


MODELS = ("global_pointer", "efficient_global_pointer", "bio_tagger", "crf_tagger")


def train(options: NerOptions) -> Trainer:
    """Train, and write ``best.ckpt`` and ``last.ckpt`` to ``options.out``.

    Raises:
        ValueError: If an option is out of range, or a checkpoint does not fit.
        OSError: If data or a checkpoint cannot be read.
    """
    _check(options)
    training, held_out = (_texts(options, part) for part in ("data", "val"))
    types = sorted({*training.types(), *held_out.types()})
    if not training.types():
        raise ValueError(f"ner: data must hold an entity, got none in {len(training.texts)} texts")
    torch.manual_seed(options.seed)
    parts = _parts(options, training, held_out)
    examples = EntitySet(training, parts.featurizer, types, max_length=options.max_length)
    longest = examples.longest()  # the model has not learned spans across more tokens than in training
    asked = EntitySet(held_out, parts.featurizer, types, max_length=longest)
    if not len(examples):
        raise ValueError(f"ner: data must hold a token, got none in {len(training.texts)} texts")
    _check_validation(options, asked)
    model: Any = create_model(options.model, types=len(types), **encoder_model_options("ner", options, parts))
    load_parts(model, parts)
    model.companion = {"featurizer": parts.featurizer.state(), "types": types, "max_length": longest}
    path = checkpoint_to_resume(options, model)
    loader = training_loader(
        options, examples, lambda example: example, collate=examples.collate, lengths=examples.lengths.tolist()
    )
    steps = steps_of(options, len(loader))
    task = TaggingTask(model, lambda network: encoder_optimizer(network, options, steps), asked)
    callbacks = encoder_callbacks(options)
    trainer = build_trainer(options, monitor="val/f1", batches=len(loader), all_used=False, callbacks=callbacks)
    validation = validation_loader(options, asked)
    for name, part in (("train", examples), ("val", asked)):
        flat = 0 if model.finds_nested else part.overlapped()
        untagged = f", {flat} that overlap others, for which {options.model} has no tags" if flat else ""
        say(options, f"{name}: {len(part)} examples of {part.report}{untagged}")
    trainer.fit(task, loader, validation, ckpt_path=path)
    return trainer


def _check(options: NerOptions) -> None:
    """Refuse options that are out of range, before any file is read."""
    check_one_of("ner", "model", options.model, MODELS)
    check_one_of("ner", "tokeniser", options.tokeniser, tuple(TOKENISERS))
    for name in ("train_limit", "val_limit", "bigram_count", "max_length"):
        whole_or_none("ner", name, getattr(options, name), 1)
    check_encoder_options("ner", options)
    for name in ("data", "val"):
        if not Path(getattr(options, name)).exists():
            raise FileNotFoundError(f"ner: {name}: no such file or folder: '{getattr(options, name)}'")


def _check_validation(options: NerOptions, asked: EntitySet) -> None:
    """Refuse validation data that leaves a process without a text."""
    world, _ = processes(options)
    if len({place % world for place, _ in asked.windows}) < world:
        count = len({place for place, _ in asked.windows})
        raise ValueError(f"ner: val must hold a text with a token for each process, got {count} for {world}")


def _texts(options: NerOptions, part: str) -> TokenisedEntities:
    """Read a file's texts and tokenise them."""
    path, limit = getattr(options, part), options.train_limit if part == "data" else options.val_limit
    report = EntityReport()
    texts = TokenisedEntities(itertools.islice(read_entities(path, report), limit), create_tokeniser(options.tokeniser))
    say(options, f"read {path}: {report}{report.first_left_out()}")
    return texts


def _parts(options: NerOptions, training: TokenisedEntities, held_out: TokenisedEntities) -> EncoderParts:
    """Build the vocabularies and, if asked for, load the pretrained encoder."""
    pairs = None
    if options.bigrams:
        pairs = Vocabulary.from_counts(bigram_counts(training.tokens), min_count=options.bigram_count)
    return encoder_parts(
        "ner",
        options,
        training.tokens.word_counts(),
        held_out.tokens.word_counts(),
        pretrained_encoder("ner", options, options.max_length),
        tokeniser=options.tokeniser,
        bigrams=pairs,
    )
