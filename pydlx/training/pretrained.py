"""What recipes have in common whose models may read by a pretrained encoder: its options, its weights and its rate."""

from __future__ import annotations

import dataclasses

from pydlx._checks import check_one_of, check_positive
from pydlx.models.text.hugging_face import POOLINGS, Pretrained, load_pretrained
from pydlx.training.options import option
from pydlx.training.trainer import TrainerOptions
from pydlx.training.words import say


@dataclasses.dataclass
class PretrainedOptions(TrainerOptions):
    """Options of such recipes."""

    encoder: str | None = option(None, "read by minilm, too, or a pretrained encoder: folder, zip file or name")
    pooling: str = option("first", "a word's vector of its wordpieces: first or mean")
    encoder_lr: float = option(5e-5, "learning rate of a pretrained encoder")
    freeze_encoder: bool = option(False, "leave the pretrained encoder as it is")


def check_pretrained_options(name: str, options: PretrainedOptions) -> None:
    """Refuses what is out of range, for the recipe of this name."""
    check_one_of(name, "pooling", options.pooling, POOLINGS)
    check_positive(name, "encoder_lr", options.encoder_lr)


def read_encoder(name: str, options: PretrainedOptions, argument: str, most: int | None) -> Pretrained:
    """The pretrained encoder that is asked for, if it reads as many wordpieces as the argument of this name says."""
    assert options.encoder is not None
    say(options, f"reading encoder: {options.encoder}")
    pretrained = load_pretrained(options.encoder)
    check_longest(name, argument, most, pretrained.max_length)
    return pretrained


def check_longest(name: str, argument: str, most: int | None, longest: int) -> None:
    """Refuses windows that are longer than a pretrained encoder reads."""
    if most is not None and most > longest:
        raise ValueError(f"{name}: {argument} must be at most {longest} wordpieces with this encoder, got {most}")


def is_pretrained(weight: str) -> bool:
    """Whether the weight of this name in a model is its pretrained encoder's."""
    return ".pretrained." in weight
