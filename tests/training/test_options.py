"""Command line words become typed options, or a one-sentence error."""

from __future__ import annotations

import dataclasses

import pytest

pytest.importorskip("msgspec")

from pydlx.training.options import described_options, option, parse_options


@dataclasses.dataclass
class Recipe:
    lr: float = option(0.1, "learning rate")
    epochs: int = option(3, "rounds")
    clip: float | None = option(None, "largest norm")
    flip: bool = option(True, "mirror images")
    name: str = option("a", "of the run")
    size: tuple[int, int] = option((2, 3), "height and width")
    scales: tuple[float, ...] = option((1.0,), "of the test")


def test_recipes_begin_with_the_sizes_of_their_data():
    """Sizes of the reduced CamVid, and the square of CornerNet's paper."""
    fcn = pytest.importorskip("pydlx.training.fcn").FCNOptions()
    cornernet = pytest.importorskip("pydlx.training.cornernet").CornerNetOptions()
    assert (fcn.size, cornernet.size, cornernet.stride) == ((180, 240), 511, 8)


def test_every_type_is_read():
    words = ["lr=1e-3", "epochs=7", "clip=5", "flip=false", "name=b=c", "size=4,5", "scales=0.5,1,2"]
    assert parse_options(Recipe, words) == Recipe(1e-3, 7, 5.0, False, "b=c", (4, 5), (0.5, 1.0, 2.0))
    assert parse_options(Recipe, ["clip=none"]).clip is None
    assert parse_options(Recipe, ["lr=.5", "clip=-.5", "scales=.5,1"]) == Recipe(0.5, clip=-0.5, scales=(0.5, 1.0))
    assert parse_options(Recipe, []) == Recipe()


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("lr", "must be KEY=VALUE, got 'lr'"),
        ("rl=1", "option 'rl' is not one of this recipe"),
        ("epoch=1", "did you mean 'epochs'"),
        ("epochs=1.5", "option epochs cannot be '1.5'"),
        ("epochs=none", "option epochs cannot be 'none'"),
        ("flip=maybe", "option flip cannot be 'maybe'"),
        ("size=1,2,3", "option size cannot be '1,2,3'"),
        ("lr=fast", "option lr cannot be 'fast'"),
    ],
)
def test_wrong_arguments_are_refused(word, message):
    with pytest.raises(ValueError, match=message):
        parse_options(Recipe, [word])


def test_options_are_described():
    assert described_options(Recipe)[5] == ("size", "2,3", "height and width")
