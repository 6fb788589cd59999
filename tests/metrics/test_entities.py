"""Scores of entities: sets over the whole data set, and how their counting differs from that of other packages."""

import json
import random

import pytest
import torch

from pydlx.data import AnnotatedText, Entity
from pydlx.metrics import EntityScore, entity_score

pytest.importorskip("msgspec")

KINDS = ["PER", "LOC", "ORG"]


def annotated(*items):
    return [AnnotatedText(str(n), "x" * 20, tuple(Entity(*e) for e in entities)) for n, entities in enumerate(items)]


def at_random(seed, items=30):
    """Lists of nested, overlapping and repeated entities."""
    draw = random.Random(seed)

    def spans():
        return [
            (draw.choice(KINDS), start := draw.randrange(4), start + draw.randrange(3))
            for _ in range(draw.randrange(6))
        ]

    return [spans() for _ in range(items)]


def counted(preds, target):
    """Right, predicted and true of each type, one comparison at a time."""
    counts = {kind: [0, 0, 0] for kind in KINDS}
    for found, true in zip(preds, target, strict=True):
        for n, (kind, *span) in enumerate(found):
            if (kind, *span) not in found[:n]:
                counts[kind][1] += 1
                counts[kind][0] += any([kind, *span] == list(other) for other in true)
        for n, entity in enumerate(true):
            counts[entity[0]][2] += entity not in true[:n]
    return counts


def rows(items):
    return torch.tensor([(n, KINDS.index(kind), start, end) for n, e in enumerate(items) for kind, start, end in e])


@pytest.mark.parametrize("form", ["names", "numbers", "rows"])
def test_against_a_slow_count(form):
    preds, target = at_random(0), at_random(1)
    counts = counted(preds, target)
    metric = EntityScore(KINDS)
    given = {
        "names": lambda items: items,
        "numbers": lambda items: [[(KINDS.index(kind), *span, 0.5) for kind, *span in e] for e in items],
        "rows": rows,
    }[form]
    for part in (slice(0, 7), slice(7, None)):
        metric.update(given(preds[part]), given(target[part]))
    scores = metric.compute()
    assert torch.stack([scores[key] for key in ("right", "predicted", "true")], 1).tolist() == list(counts.values())
    right, predicted, true = (sum(column) for column in zip(*counts.values(), strict=True))
    assert scores["precision"] == right / predicted
    assert scores["recall"] == right / true
    assert scores["f1"].item() == pytest.approx(2 / (predicted / right + true / right), rel=1e-15)
    each = [2 * r / (p + t) for r, p, t in counts.values()]
    assert scores["type_f1"].tolist() == pytest.approx(each)
    assert scores["macro_f1"].item() == pytest.approx(sum(each) / 3)
    shown = entity_score(annotated(*target), annotated(*preds))
    assert shown["f1"] == scores["f1"]
    assert shown["macro_f1"] == pytest.approx(scores["macro_f1"].item())
    assert {kind: [v[key] for key in ("right", "predicted", "true")] for kind, v in shown["types"].items()} == counts
    assert shown["texts"] == 30


@pytest.mark.parametrize(
    ("found", "true"), [([], []), ([], [("PER", 0, 0)]), ([("PER", 0, 0)], []), ([("PER", 0, 0)], [("LOC", 0, 0)])]
)
def test_nothing_right_is_zero(found, true):
    metric = EntityScore(KINDS)
    metric.update([found], [true])
    scores = metric.compute()
    assert all(not scores[key].any() for key in ("precision", "recall", "f1", "macro_f1", "type_f1", "right"))
    shown = entity_score(annotated(true), annotated(found))
    assert (shown["precision"], shown["recall"], shown["f1"], shown["macro_f1"]) == (0, 0, 0, 0)


def test_macro_f1_is_of_the_types_that_occur():
    metric = EntityScore(KINDS)
    metric.update([[("PER", 0, 0), ("LOC", 1, 1)]], [[("PER", 0, 0)]])
    assert metric.compute()["macro_f1"] == 0.5
    assert entity_score(annotated([("PER", 0, 0)]), annotated([("PER", 0, 0), ("LOC", 1, 1)]))["macro_f1"] == 0.5


def test_items_without_entities_and_empty_batches():
    metric = EntityScore(KINDS)
    metric.update([], [])
    metric.update(torch.zeros(0, 4, dtype=torch.int64), [[], [("PER", 0, 0)]])
    assert (metric.compute()["true"].tolist(), metric.compute()["recall"]) == ([1, 0, 0], 0)


@pytest.mark.parametrize(
    ("preds", "target", "message"),
    [
        ([[]], [[], []], "preds and target must be of the same items, got 1 and 2"),
        (
            [[("GPE", 0, 0)]],
            [[]],
            r"preds must be entities \(type, start, end\) of the types PER, LOC, ORG, got \('GPE'",
        ),
        ([[]], [[(3, 0, 0)]], r"target must be entities .* got \(3, 0, 0\)"),
        ([[(True, 0, 0)]], [[]], r"preds must be entities .* got \(True"),
        ([["PER"]], [[]], "preds must be entities .* got 'PER'"),
        ([[("PER", 2, 1)]], [[]], r"preds must have spans with 0 <= start <= end, got \('PER', 2, 1\)"),
        ([[]], [[("PER", -1, 1)]], "target must have spans with 0 <= start <= end"),
        ([[("PER", 0, 1.5)]], [[]], "preds must have spans"),
        (torch.zeros(2, 3, dtype=torch.int64), [[]], r"preds must have shape \(N, 4\)"),
        (torch.zeros(1, 4), [[]], "preds must be integers"),
        ([[]], 5, r"target must be \(N, 4\) rows or the entities of each item, got 5"),
    ],
)
def test_wrong_batches(preds, target, message):
    metric = EntityScore(KINDS)
    with pytest.raises((TypeError, ValueError), match=f"^EntityScore: {message}"):
        metric.update(preds, target)
    assert not metric.counts.any()


def line(text, **label):
    return json.dumps({"text": text, "label": label})


def test_files(tmp_path):
    truth, found, table = tmp_path / "truth.json", tmp_path / "found.json", tmp_path / "truth.tsv"
    truth.write_text(line("Ann in Rome", PER={"Ann": [[0, 2]]}, LOC={"Rome": [[7, 10]]}) + "\n" + line("x") + "\n")
    found.write_text(line("Ann in Rome", PER={"Ann": [[0, 2]], "in": [[4, 5]]}) + "\n" + line("x") + "\n")
    scores = entity_score(truth, str(found))
    assert (scores["right"], scores["predicted"], scores["true"], scores["texts"]) == (1, 2, 2, 2)
    assert list(scores["types"]) == ["LOC", "PER"]
    table.write_text("Ann\tB-PER\nin\tO\nRome\tB-LOC\n\nx\tO\n")
    found.write_text(
        line(["Ann", "in", "Rome"], LOC={"in Rome": [[1, 2]], "Rome": [[2, 2]]}) + "\n" + line(["x"]) + "\n"
    )
    assert entity_score(table, found)["f1"] == 0.5


@pytest.mark.parametrize(
    ("predictions", "message"),
    [
        ([line("Ann")], "got none for line 2"),
        ([line("Ann"), line("y"), line("z")], "got one more at line 3"),
        ([line("Ann"), line("z")], "got 'z' at line 2, where the truth has 'y'"),
        ([line("Ann", PER={"An": [[0, 2]]}), line("y")], "spans of their texts, got line 1: PER from 0 to 2, 'Ann'"),
        ([line("Ann", PER={"": [[2, 1]]}), line("y")], "spans of their texts, got line 1: PER from 2 to 1, no span"),
    ],
)
def test_other_texts(tmp_path, predictions, message):
    truth, found = tmp_path / "truth.json", tmp_path / "found.json"
    truth.write_text(line("Ann") + "\n" + line("y"))
    found.write_text("\n".join(predictions))
    with pytest.raises(ValueError, match=rf"^entity_score: predictions must have .*{message}"):
        entity_score(truth, found)


def test_bad_spans_of_the_truth_are_told(tmp_path):
    path = tmp_path / "truth.json"
    path.write_text(line("Ann", PER={"Anna": [[0, 3]], "Ann": [[0, 2]]}))
    with pytest.warns(UserWarning, match="1 spans of the truth are left out, the first in line 1: PER from 0 to 3"):
        scores = entity_score(path, [AnnotatedText("", "Ann", (Entity("PER", 0, 2),))])
    assert (scores["true"], scores["f1"]) == (1, 1)


def test_real_texts(shared_data):
    path = shared_data / "ner" / "cluener_dev.json"
    scores = entity_score(path, path)
    assert (scores["f1"], scores["true"], scores["texts"], len(scores["types"])) == (1, 3072, 1343, 10)
