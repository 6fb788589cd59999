"""Options and loading of a pretrained encoder, for recipes whose models can use one."""

from __future__ import annotations

import dataclasses

from pydlx._checks import check_one_of, check_positive
from pydlx.models.text.hugging_face import POOLINGS, Pretrained, load_pretrained
from pydlx.training.options import option
from pydlx.training.trainer import TrainerOptions
from pydlx.training.words import say


@dataclasses.dataclass
class PretrainedOptions(TrainerOptions):
    """Options for a pretrained encoder."""

    encoder: str | None = option(None, "minilm, or another pretrained encoder: folder, zip file or name")
    pooling: str = option("first", "a word's vector from its wordpieces: first or mean")
    encoder_lr: float = option(5e-5, "learning rate of the pretrained encoder")
    freeze_encoder: bool = option(False, "do not train the pretrained encoder")


def check_pretrained_options(name: str, options: PretrainedOptions) -> None:
    """Refuse options that are out of range; `name` is the recipe's."""
    check_one_of(name, "pooling", options.pooling, POOLINGS)
    check_positive(name, "encoder_lr", options.encoder_lr)


def read_encoder(name: str, options: PretrainedOptions, argument: str, most: int | None) -> Pretrained:
    """Load the pretrained encoder and check that it takes `most` wordpieces, the value of the option `argument`."""
    assert options.encoder is not None
    say(options, f"reading encoder: {options.encoder}")
    pretrained = load_pretrained(options.encoder)
    check_longest(name, argument, most, pretrained.max_length)
    return pretrained


def check_longest(name: str, argument: str, most: int | None, longest: int) -> None:
    """Refuse windows of more wordpieces than a pretrained encoder takes."""
    if most is not None and most > longest:
        raise ValueError(f"{name}: {argument} must be at most {longest} wordpieces with this encoder, got {most}")


def is_pretrained(weight: str) -> bool:
    """Return whether a model's weight of this name belongs to its pretrained encoder."""
    return ".pretrained." in weight
