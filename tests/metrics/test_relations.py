"""Scores of relations against counts by hand and a slow form of DocRED's script."""

import json
import random
import warnings
from collections import Counter
from dataclasses import replace

import pytest
import torch

from pydlx.data import Fact, Mention, RelationDocument, read_docred, write_facts
from pydlx.metrics import RelationScore, relation_score

pytest.importorskip("msgspec")

NAMES = ("Na", "P1", "P2", "P3")


def document(title, entities, *facts):
    """One word for each name of an entity."""
    mentions = tuple(tuple(Mention(0, n, n, name, "X") for n, name in enumerate(names)) for names in entities)
    return RelationDocument(title, (("w",) * 9,), mentions, tuple(Fact(*fact) for fact in facts))


TRUTH = [
    document("a", [["Ann", "Anna"], ["Rome"], ["Oslo"]], (0, 1, "P1"), (0, 2, "P1"), (2, 1, "P2"), (1, 2, "P3")),
    document("b", [["Ann"], ["Rome"]], (0, 1, "P1")),
    document("c", []),
]
TRAIN = [document("t", [["Anna"], ["Rome", "Roma"], ["Oslo"]], (0, 1, "P1"), (1, 2, "P3"), (0, 2, "P3"))]


def submitted(*facts):
    return [{"title": title, "h_idx": head, "t_idx": tail, "r": relation} for title, head, tail, relation in facts]


FOUND = submitted(("a", 0, 1, "P1"), ("a", 0, 1, "P1"), ("a", 0, 2, "P2"), ("a", 1, 2, "P3"), ("b", 0, 1, "P1"))


def test_by_hand():
    scores = relation_score(TRUTH, FOUND)
    assert list(scores) == ["precision", "recall", "f1", "right", "predicted", "true", "relations"]
    assert (scores["right"], scores["predicted"], scores["true"]) == (3, 4, 5)
    assert (scores["precision"], scores["recall"]) == (0.75, 0.6)
    assert scores["f1"] == pytest.approx(2 / 3)
    assert list(scores["relations"]) == ["P1", "P2", "P3"]
    assert scores["relations"]["P1"] == {
        "precision": 1, "recall": 2 / 3, "f1": pytest.approx(0.8), "right": 2, "predicted": 2, "true": 3
    }  # fmt: skip
    assert scores["relations"]["P2"] == {"precision": 0, "recall": 0, "f1": 0, "right": 0, "predicted": 1, "true": 1}


def test_what_training_data_has_is_left_out_of_the_precision():
    """Seen are (a, 0, 1, P1), by the second name of its head, and (a, 1, 2, P3); Ann in b has no such name."""
    scores = relation_score(TRUTH, FOUND, train=TRAIN, frequent=1)
    assert scores["seen"] == 2
    precision = (3 - 2) / (4 - 2 + 1e-5)
    assert scores["ign_precision"] == pytest.approx(precision, rel=1e-15)
    assert scores["ign_f1"] == pytest.approx(2 * precision * 0.6 / (precision + 0.6), rel=1e-15)
    assert scores["frequent_f1"] == 1  # of P3, which is twice in the training data
    assert scores["long_tail_f1"] == pytest.approx(2 * 2 / (3 + 4))
    all_frequent = relation_score(TRUTH, FOUND, train=TRAIN, frequent=2)  # P2 is not in it
    assert all_frequent["frequent_f1"] == pytest.approx(2 * 3 / (3 + 4))
    assert all_frequent["long_tail_f1"] == 0


def test_nothing_submitted_is_zero():
    scores = relation_score(TRUTH, [], train=TRAIN)
    keys = "precision", "recall", "f1", "ign_precision", "ign_f1", "frequent_f1", "long_tail_f1", "predicted"
    assert [scores[key] for key in keys] == [0] * 8
    assert relation_score([document("c", [])], [], train=[])["ign_f1"] == 0
    all_seen = relation_score(TRUTH, submitted(("a", 0, 1, "P1")), train=TRAIN)
    assert (all_seen["ign_f1"], all_seen["precision"]) == (0, 1)


def test_no_relation_and_unknown_entities():
    strange = submitted(("z", 0, 1, "P1"), ("b", 0, 2, "P1"), ("b", -1, 0, "P1"))
    with pytest.warns(UserWarning, match="3 of 7 submitted facts are of no entities of the truth, and wrong"):
        scores = relation_score(TRUTH, FOUND + strange + strange[:1])
    assert (scores["right"], scores["predicted"]) == (3, 7)
    with pytest.warns(UserWarning, match="1 of 5 submitted facts are 'Na' and left out"):
        assert relation_score(TRUTH, submitted(("a", 0, 1, "Na")) + FOUND)["predicted"] == 4


def slow(truth, found, train):
    """DocRED's evaluation, fact by fact."""
    in_train = {
        (one.name, other.name, f.relation)
        for d in train
        for f in d.facts
        for one in d.entities[f.head]
        for other in d.entities[f.tail]
    }
    gold = {(d.title, f.relation, f.head, f.tail) for d in truth for f in d.facts}
    entities = {d.title: d.entities for d in truth}
    answers = sorted({(x["title"], x["h_idx"], x["t_idx"], x["r"]) for x in found})
    correct = known = 0
    for title, head, tail, relation in answers:
        if (title, relation, head, tail) in gold:
            correct += 1
            known += any(
                (one.name, other.name, relation) in in_train
                for one in entities[title][head]
                for other in entities[title][tail]
            )
    precision, recall = correct / len(answers), correct / len(gold)
    ign = (correct - known) / (len(answers) - known + 1e-5)
    return 2 * precision * recall / (precision + recall), 2 * ign * recall / (ign + recall)


def test_real_documents(shared_data, tmp_path):
    """The facts of dev, a part of them wrong, where a part of test is the training data."""
    truth = list(read_docred(shared_data / "re" / "redocred_dev.json"))
    train = list(read_docred(shared_data / "re" / "redocred_test.json"))
    draw = random.Random(0)
    facts = {
        d.title: [fact._replace(tail=draw.choice((fact.tail, fact.head))) for fact in d.facts if draw.random() < 0.6]
        for d in truth
    }
    write_facts(tmp_path / "found.json", facts)
    found = json.loads((tmp_path / "found.json").read_text())
    scores = relation_score(shared_data / "re" / "redocred_dev.json", tmp_path / "found.json", train=train)
    f1, ign = slow(truth, found, train)
    assert 0.3 < scores["ign_f1"] < scores["f1"] < 0.5
    assert (scores["f1"], scores["ign_f1"]) == pytest.approx((f1, ign), rel=1e-12)
    assert scores["true"] == 17284
    amounts = Counter(fact.relation for d in train for fact in d.facts)
    common = {relation for relation, _ in amounts.most_common(10)}
    for key, frequent in (("frequent_f1", True), ("long_tail_f1", False)):
        part = [replace(d, facts=tuple(f for f in d.facts if (f.relation in common) == frequent)) for d in truth]
        own = [x for x in found if (x["r"] in common) == frequent]
        assert scores[key] == pytest.approx(slow(part, own, train)[0], rel=1e-12)


def test_metric_gives_the_same():
    """Rows of all ordered pairs with and without facts, of batches of documents."""
    metric = RelationScore(NAMES, frequent=["P3"], ignore_seen=True)
    found = {(x["title"], x["h_idx"], x["t_idx"], x["r"]) for x in FOUND}
    seen = {("a", 0, 1, "P1"), ("a", 1, 2, "P3"), ("b", 1, 0, "P1")}
    for d in TRUTH:
        pairs = [(h, t) for h in range(len(d.entities)) for t in range(len(d.entities)) if h != t]
        true = {(d.title, f.head, f.tail, f.relation) for f in d.facts}
        tables = [
            torch.tensor([[(d.title, *pair, name) in facts for name in NAMES] for pair in pairs]).reshape(-1, 4) > 0
            for facts in (found, true, seen)
        ]
        for table in tables:
            table[:, 0] = True  # is not looked at
        metric.update(*tables)
    scores = metric.compute()
    expected = relation_score(TRUTH, FOUND, train=TRAIN, frequent=1)
    for key in ("precision", "recall", "f1", "ign_precision", "ign_f1", "frequent_f1", "long_tail_f1"):
        assert scores[key].item() == pytest.approx(expected[key], rel=1e-15), key
    assert scores["relation_f1"].tolist() == [0, *(each["f1"] for each in expected["relations"].values())]
    assert [scores[key].tolist() for key in ("right", "predicted", "true")] == [
        [0, 2, 0, 1],
        [0, 2, 1, 1],
        [0, 3, 1, 1],
    ]


def test_metric_without_options_or_items():
    metric = RelationScore(NAMES)
    metric.update(torch.zeros(0, 4) > 0, torch.zeros(0, 4) > 0)
    scores = metric.compute()
    assert (scores["f1"], scores["relation_f1"].tolist()) == (0, [0] * 4)
    assert not {"ign_f1", "frequent_f1"} & set(scores)


TABLE = torch.zeros(2, 4) > 0


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ((TABLE, TABLE.int()), "target must be a bool tensor, got torch.int32"),
        ((TABLE, TABLE[:1]), r"target must have shape \(N, 4\), the same for all, got \(1, 4\)"),
        ((TABLE[:, :3], TABLE[:, :3]), r"preds must have shape \(N, 4\)"),
        ((TABLE, TABLE, TABLE[0]), r"seen must have shape \(N, 4\)"),
        ((TABLE, TABLE), "seen must be a tensor with ignore_seen=True, got None"),
    ],
)
def test_wrong_batches(tables, message):
    with pytest.raises((TypeError, ValueError), match=f"^RelationScore: {message}"):
        RelationScore(NAMES, ignore_seen=True).update(*tables)


def test_wrong_files(tmp_path):
    (tmp_path / "found.json").write_text('[{"title": "a"}]')
    wanted = (
        r"^relation_score: predictions '.*found.json'\[0\] must be a fact with a title, whole numbers h_idx and t_idx"
    )
    with pytest.raises(TypeError, match=wanted):
        relation_score(TRUTH, tmp_path / "found.json")
    with pytest.raises(ValueError, match=r"^relation_score: truth must have each title once, got 'a' twice"):
        relation_score([*TRUTH, TRUTH[0]], [])
    bad = {"title": "a", "sents": [["x"]], "vertexSet": [], "labels": [{"h": 0, "t": 0, "r": "P1"}]}
    (tmp_path / "truth.json").write_text(json.dumps([bad]))
    with pytest.warns(UserWarning, match=r"1 parts of '.*truth.json' are left out, the first in 'a': P1 of entities"):
        assert relation_score(tmp_path / "truth.json", [])["true"] == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        relation_score(TRUTH, FOUND, train=TRAIN)
