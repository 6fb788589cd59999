"""Every public function refuses a wrong argument with one sentence that names the function and the argument.

Each public name has an entry with a valid call, and for each of its arguments what is wrong in its place. A name, or an
argument, without an entry fails.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from typing import Any

import pytest
from bad_input import extraction, relations, tagging
from bad_input.arguments import Call, word
from bad_input.metrics import METRICS
from bad_input.operators import LOSSES, NN, OPS
from bad_input.reading import ASKING, READING
from bad_input.systems import BLENDING, DATA, MODELS, VISUALIZE

import pydlx
import pydlx.models.entities
import pydlx.models.readers
import pydlx.models.relations

PARTS = ("ops", "nn", "losses", "metrics", "blending", "data", "data.reading", "visualize")
MODULES = ("pydlx", *(f"pydlx.{part}" for part in PARTS))

# What functions and networks return, records that are checked where they are used, and warnings.
RESULTS = {
    "pydlx.data.AnnotatedText",
    "pydlx.data.AnnotationWarning",
    "pydlx.data.ImageWarning",
    "pydlx.data.BoxedImage",
    "pydlx.data.ClassifiedImage",
    "pydlx.data.Composite",
    *(f"pydlx.data.{name}" for name in ("Entity", "EntityReport", "Fact", "Mention")),
    *(f"pydlx.data.{name}" for name in ("AlignmentReport", "EntityBatch", "EntityExample", "PairReport")),
    *(f"pydlx.data.{name}" for name in ("RelationBatch", "RelationDocument", "RelationExample", "RelationReport")),
    "pydlx.data.Light",
    "pydlx.data.ImageSet",
    "pydlx.data.LabelledImage",
    *(f"pydlx.data.reading.{name}" for name in ("Answer", "AnswerReport", "Document", "Example", "FreeQuestion")),
    *(f"pydlx.data.reading.{name}" for name in ("Question", "ReadingBatch", "ReadingWindow", "TokenSpan", "Tokens")),
    *(f"pydlx.data.reading.{kind}{part}" for kind in ("Choice", "Cloze") for part in ("Batch", "Example")),
    *(f"pydlx.data.reading.{name}" for name in ("ChoiceQuestion", "SpanMatch", "WordVectors")),
    "pydlx.losses.CornerLosses",
    "pydlx.losses.CornerMaps",
    "pydlx.losses.CornerTargets",
    "pydlx.NativeLibraryWarning",
    "pydlx.nn.Geometry",
    "pydlx.nn.LayerGeometry",
    "pydlx.metrics.AnswerCurve",
    "pydlx.metrics.Evaluation",
    "pydlx.metrics.FeatureDistance",
    "pydlx.metrics.ParzenEstimate",
    "pydlx.blending.BlendReport",
    "pydlx.visualize.Excitation",
}

# Of packages with much else in them.
OTHERS = {
    **{f"models.readers.{name}": call for name, call in ASKING.items()},
    **{f"models.entities.{name}": call for name, call in tagging.FINDING.items()},
    **{f"models.relations.{name}": call for name, call in relations.FINDING.items()},
    **{f"data.text.{name}": call for name, call in {**tagging.TEXT, **relations.TEXT}.items()},
}

CALLS = {
    "pydlx.backend": Call({"name": word("native")}, run=lambda name: pydlx.backend(name).__enter__()),
    "pydlx.build_info": Call({}),
    **{f"pydlx.{name}": call for name, call in MODELS.items()},
    **{f"pydlx.ops.{name}": call for name, call in OPS.items()},
    **{f"pydlx.nn.{name}": call for name, call in NN.items()},
    **{f"pydlx.losses.{name}": call for name, call in LOSSES.items()},
    **{f"pydlx.metrics.{name}": call for name, call in {**METRICS, **extraction.METRICS}.items()},
    **{f"pydlx.blending.{name}": call for name, call in BLENDING.items()},
    **{
        f"pydlx.data.{name}": call
        for name, call in {**DATA, **extraction.DATA, **relations.DATA, **tagging.DATA}.items()
    },
    **{f"pydlx.data.reading.{name}": call for name, call in READING.items()},
    **{f"pydlx.{name}": call for name, call in OTHERS.items()},
    **{f"pydlx.visualize.{name}": call for name, call in VISUALIZE.items()},
}


def public_functions() -> dict[str, Any]:
    """Everything callable that the packages export, by its full name."""
    exported = {
        f"{module}.{name}": getattr(importlib.import_module(module), name)
        for module in MODULES
        for name in importlib.import_module(module).__all__
    }
    exported |= {f"pydlx.{name}": pkgutil.resolve_name(f"pydlx.{name}") for name in OTHERS}
    return {name: value for name, value in exported.items() if callable(value)}


PUBLIC = public_functions()


def call(name: str, change: dict[str, Any]) -> Any:
    entry = CALLS[name]
    given = {argument: known.value for argument, known in entry.arguments.items()} | change
    return (entry.run or PUBLIC[name])(**given)


def test_every_public_name_has_an_entry():
    assert set(PUBLIC) - RESULTS == set(CALLS)


@pytest.mark.parametrize("name", CALLS)
def test_every_argument_has_an_entry(name):
    parameters = inspect.signature(PUBLIC[name]).parameters.values()
    wanted = {p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
    assert wanted <= set(CALLS[name].arguments)


@pytest.mark.parametrize("name", CALLS)
def test_right_arguments_are_taken(name):
    call(name, {})
    for argument, known in CALLS[name].arguments.items():
        for value in known.right:
            call(name, {argument: value})


@pytest.mark.parametrize("name", CALLS)
def test_wrong_arguments_are_refused_in_one_sentence(name):
    function = name.rpartition(".")[2]
    speaks = "|".join(map(re.escape, (function, *CALLS[name].speaks)))
    unclear = []
    for argument, known in CALLS[name].arguments.items():
        for value in known.wrong:
            message = None
            try:
                call(name, {argument: value})
            except (TypeError, ValueError) as error:
                message = str(error)
            except Exception as error:
                message = repr(error)
            if message is None or not re.fullmatch(rf"({speaks}): .*\b{argument}\b.*", message):
                unclear.append(f"{argument}={str(value)[:40]!r} ({type(value).__name__}): {message}")
    assert not unclear, "\n".join(["", *unclear])
