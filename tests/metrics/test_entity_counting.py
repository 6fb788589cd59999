"""How packages count the same entities: the table of docs/entities.md, each cell of which is computed here."""

import importlib.metadata
import random
import warnings
from pathlib import Path

import pytest

from pydlx.data import AnnotatedText, Entity, entities_of_tags
from pydlx.metrics import entity_score

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "entities.md"
COLUMNS = ("pydlx", "seqeval", "seqeval, strict IOB2", "nervaluate, strict", "nervaluate, ent_type")
VERSIONS = {"seqeval": "1.2.2", "nervaluate": "1.2.1"}
NESTED = [("A", 0, 3), ("A", 1, 2)]
WIDE = ("A", 0, 2)

# what, truth, predictions, F1 in each column; tags as text, or spans where tags cannot say it ("–": not possible)
TAGS = [
    ("nothing true, nothing predicted", "O O O", "O O O", "0", "0", "0", "0", "0"),
    ("the same, and one more text with `B-A` true and found", "O O / B-A", "O O / B-A", "1", "1", "1", "1", "1"),
    ("nothing predicted", "B-A O O", "O O O", "0", "0", "0", "0", "0"),
    ("right type, wrong end", "B-A I-A O", "B-A O O", "0", "0", "0", "0", "1"),
    ("right ends, wrong type", "B-A I-A O", "B-B I-B O", "0", "0", "0", "0", "0"),
    ("two that touch, found as one", "B-A I-A B-A I-A", "B-A I-A I-A I-A", "0", "0", "0", "0", "0.67"),
    ("`I-A I-A O` found for `B-A I-A O`", "B-A I-A O", "I-A I-A O", "1", "1", "0", "1", "1"),
    ("`I-A I-A O` on both sides", "I-A I-A O", "I-A I-A O", "1", "1", "0", "1", "1"),
    ("`B-A I-B O` found for `B-A B-B O`", "B-A B-B O", "B-A I-B O", "1", "1", "0.67", "1", "1"),
    ("a predicted type that the truth does not have", "B-A O O", "B-A O B-C", "0.67", "0.67", "0.67", "1", "1"),
    ("tags without prefix, `A A O`, on both sides", "A A O", "A A O", "error", "0", "error", "error", "error"),
]
SPANS = [
    ("nested, both found", NESTED, NESTED, "1", "–", "–", "1", "1"),
    ("nested, both found behind a wrong one that overlaps", NESTED, [WIDE, *NESTED], "0.8", "–", "–", "0", "0.8"),
    ("the same with the wrong one last", NESTED, [*NESTED, WIDE], "0.8", "–", "–", "0.8", "0.8"),
    ("one found, twice", [("A", 0, 3)], [("A", 0, 3)] * 2, "1", "–", "–", "0.67", "0.67"),
    ("(0, 3) true, (3, 6) found", [("A", 0, 3)], [("A", 3, 6)], "0", "–", "–", "0", "1"),
    ("(3, 0), which ends before it starts, on both sides", [("A", 3, 0)], [("A", 3, 0)], "error", "–", "–", "1", "0"),
]
CASES = [*TAGS, *SPANS]


def both(case):
    """Truth and predictions: lists of tags, or of spans, for each text."""
    _, truth, predictions, *_ = case
    if isinstance(truth, list) and isinstance(truth[0], list):
        return truth, predictions
    if isinstance(truth, str):
        return [[part.split() for part in side.split("/")] for side in (truth, predictions)]
    return [truth], [predictions]


def shown(score):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return f"{score():.2f}".rstrip("0").rstrip(".")
    except (ValueError, KeyError):
        return "error"


def texts(side):
    for number, item in enumerate(side):
        entities = entities_of_tags(item) if isinstance(item[0], str) else [Entity(*span) for span in item]
        yield AnnotatedText(str(number), tuple("abcdefgh"), tuple(entities))


def of_pydlx(case):
    return entity_score(*map(texts, both(case)))["f1"]


def of_seqeval(case, **options):
    return pytest.importorskip("seqeval.metrics").f1_score(*both(case), **options)


def of_nervaluate(case, strategy):
    evaluator = pytest.importorskip("nervaluate.evaluator").Evaluator
    truth, predictions = both(case)
    loader, tags = "list", ["A", "B"]
    if not isinstance(case[1], str):
        loader = "dict"
        truth, predictions = (
            [[dict(zip(("label", "start", "end"), span, strict=True)) for span in item] for item in side]
            for side in (truth, predictions)
        )
    return evaluator(truth, predictions, tags=tags, loader=loader).evaluate()["overall"][strategy].f1


@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
def test_pydlx(case):
    assert shown(lambda: of_pydlx(case)) == case[3]


@pytest.mark.parametrize("case", TAGS, ids=[case[0] for case in TAGS])
def test_seqeval(case):
    needs("seqeval")
    strict = {"mode": "strict", "scheme": pytest.importorskip("seqeval.scheme").IOB2}
    assert [shown(lambda: of_seqeval(case)), shown(lambda: of_seqeval(case, **strict))] == list(case[4:6])
    assert shown(lambda: of_seqeval(case, mode="strict")) == case[4]  # either option alone changes nothing
    assert shown(lambda: of_seqeval(case, scheme=strict["scheme"])) == case[4]


def test_tags_at_random_count_as_in_seqeval():
    pytest.importorskip("seqeval")
    for seed in range(20):
        draw = random.Random(seed)
        truth, predictions = ([draw.choices(["O", "B-A", "I-A", "B-B", "I-B"], k=8) for _ in "abcd"] for _ in "ab")
        case = "", truth, predictions
        ours = entity_score(*map(texts, (truth, predictions)))
        assert ours["f1"] == pytest.approx(of_seqeval(case))
        assert ours["macro_f1"] == pytest.approx(of_seqeval(case, average="macro"))


@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
def test_nervaluate(case):
    needs("nervaluate")
    assert shown(lambda: of_nervaluate(case, "strict")) == case[6]
    assert shown(lambda: of_nervaluate(case, "ent_type")) == case[7]


def needs(package):
    pytest.importorskip(package)
    if importlib.metadata.version(package) != VERSIONS[package]:
        pytest.skip(f"the table is of {package} {VERSIONS[package]}")


def test_the_document_has_these_rows():
    lines = DOCUMENT.read_text().splitlines()
    header = " | ".join(f"{name}" for name in ("F1", *COLUMNS))
    start = lines.index(f"| {header} |")
    rows = [f"| {' | '.join((case[0], *case[3:]))} |" for case in CASES]
    assert lines[start + 2 : start + 2 + len(rows)] == rows
    for package, version in VERSIONS.items():
        assert f"{package} {version}" in DOCUMENT.read_text()
