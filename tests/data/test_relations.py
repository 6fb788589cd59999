"""Files of documents with relations: reading, writing, and what is noted and left out."""

import json

import pytest

from pydlx.data import (
    NO_RELATION,
    Fact,
    Mention,
    RelationDocument,
    RelationReport,
    read_docred,
    read_relation_names,
    write_facts,
)

pytest.importorskip("msgspec")

SENTENCES = [["Anna", "Berg", "lives", "."], ["In", "Oslo", "."]]


def mention(name="Anna Berg", sentence=0, start=0, end=2, kind="PER", **more):
    return {"name": name, "sent_id": sentence, "pos": [start, end], "type": kind, **more}


OSLO = mention("Oslo", 1, 1, 2, "LOC")
ENTITIES = [mention(), mention("Berg", 0, 1, 2)], [OSLO]


def document(*facts, title="Anna", entities=ENTITIES):
    return {"title": title, "sents": SENTENCES, "vertexSet": entities, "labels": list(facts)}


def fact(head=0, tail=1, relation="P1", evidence=(0, 1)):
    return {"h": head, "t": tail, "r": relation, "evidence": list(evidence)}


@pytest.fixture
def file(tmp_path):
    def write(content):
        path = tmp_path / "file.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def test_documents(file):
    report = RelationReport()
    without_labels = document(title="B", entities=())
    del without_labels["labels"]
    [first, second] = read_docred(file([document(fact()), without_labels]), report)
    anna = Mention(0, 0, 1, "Anna Berg", "PER"), Mention(0, 1, 1, "Berg", "PER")
    sentences = tuple(map(tuple, SENTENCES))
    assert first == RelationDocument(
        "Anna", sentences, (anna, (Mention(1, 1, 1, "Oslo", "LOC"),)), (Fact(0, 1, "P1", (0, 1)),)
    )
    assert first.sentence_starts == (0, 4)
    assert second == RelationDocument("B", sentences, ())
    assert RelationDocument("", (), ()).sentence_starts == ()
    assert str(report) == ("2 documents, 2 entities, 3 mentions, 1 facts, 1 without entities, 1 without facts")


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        (fact(0, 2), "P1 of entities 0 and 2: there are 2 entities"),
        (fact(-1, 0), "P1 of entities -1 and 0: there are 2 entities"),
        (fact(1, 1), "P1 of entities 1 and 1: these are one entity"),
        (fact(relation="P9"), "P9 of entities 0 and 1: none of the relations"),
        (fact(relation="Na"), "Na of entities 0 and 1: none of the relations"),
    ],
)
def test_invalid_facts_are_left_out(file, wrong, what):
    report = RelationReport()
    [found] = read_docred(file([document(wrong, fact())]), report, relations=["Na", "P1"])
    assert found.facts == (Fact(0, 1, "P1", (0, 1)),)
    assert report.left_out == [("Anna", what)]


def test_without_relations_named_all_but_na_are_taken(file):
    [found] = read_docred(file([document(fact(relation="P9"), fact(relation=NO_RELATION))]))
    assert [fact.relation for fact in found.facts] == ["P9"]


def test_evidence_outside_is_left_out_and_facts_count_once(file):
    report = RelationReport()
    [found] = read_docred(file([document(fact(evidence=[0, 2, -1]), fact(), fact(1, 0))]), report)
    assert found.facts == (Fact(0, 1, "P1", (0,)), Fact(1, 0, "P1", (0, 1)))
    assert report.left_out == [("Anna", "P1 of entities 0 and 1: evidence [0, 2, -1] of 2 sentences")]
    assert report.repeated == [("Anna", "P1 of entities 0 and 1: comes twice")]


@pytest.mark.parametrize("place", [(2, 0, 1), (-1, 0, 1), (0, 1, 1), (0, 2, 1), (0, -1, 1), (0, 0, 5)])
def test_mentions_outside_are_left_out_and_entities_keep_their_numbers(file, place):
    report = RelationReport()
    entities = [[mention("x", *place)], [OSLO, OSLO, mention("Bergen", 1, 1, 2)]]
    [found] = read_docred(file([document(fact(), entities=entities)]), report)
    assert found.entities == ((), (Mention(1, 1, 1, "Oslo", "LOC"), Mention(1, 1, 1, "Bergen", "PER")))
    assert found.facts == (Fact(0, 1, "P1", (0, 1)),)
    sentence, start, end = place
    what = f"entity 0: 'x', words {start} to {end - 1} of sentence {sentence}"
    assert report.left_out == [("Anna", f"{what}: no span of the document")]
    assert report.without_mentions == [("Anna", "entity 0 has no mention")]
    assert report.repeated == [("Anna", "entity 1: 'Oslo', words 1 to 1 of sentence 1: comes twice")]
    assert report.renamed == [("Anna", "entity 1: 'Bergen', words 1 to 1 of sentence 1: reads 'Oslo'")]


def test_titles_that_come_twice_are_noted(file):
    report = RelationReport()
    assert len(list(read_docred(file([document(), document()]), report))) == 2
    assert report.repeated == [("Anna", "an earlier document has the same title")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, r"^read_docred: '.*file.json': expected `array`, got `object`"),
        ("[", "the file is no JSON"),
        ([document(), {"title": "x"}], r"\[1\]: object missing required field `sents`"),
        ([document(entities=[[mention() | {"pos": [1]}]])], r"\[0\].vertexSet\[.*\]\[.*\].pos: expected `array`"),
        ([document({"h": 0})], r"\[0\].labels\[0\]: object missing required field `t`"),
    ],
)
def test_other_files_are_refused(file, content, message):
    with pytest.raises(ValueError, match=message):
        list(read_docred(file(content)))


def test_names_of_relations(file):
    assert read_relation_names(file({"P2": 2, "Na": 0, "P1": 1})) == ("Na", "P1", "P2")
    for wrong in ({}, {"P1": 0, "Na": 1}, {"Na": 0, "P1": 2}, {"Na": 0, "P1": 0}, {"Na": "0"}, {"Na": False}, [], "x"):
        with pytest.raises(ValueError, match=r"^read_relation_names: '.*file.json' must "):
            read_relation_names(file(wrong))


def test_written_facts(tmp_path):
    path = tmp_path / "facts.json"
    write_facts(path, {"Anna": [Fact(0, 1, "P1", (0,)), Fact(1, 0, "P2")], "B": []})
    assert json.loads(path.read_text()) == [
        {"title": "Anna", "h_idx": 0, "t_idx": 1, "r": "P1", "evidence": [0]},
        {"title": "Anna", "h_idx": 1, "t_idx": 0, "r": "P2", "evidence": []},
    ]


def test_real_documents(shared_data):
    report = RelationReport()
    names = read_relation_names(shared_data / "re" / "rel2id.json")
    documents = list(read_docred(shared_data / "re" / "redocred_test.json", report, relations=names))
    assert (len(names), names[1]) == (97, "P17")
    assert (report.documents, report.facts, report.left_out) == (500, 17448, [])
    assert (len(report.repeated), len(report.renamed), len(report.without_facts)) == (66, 3, 1)
    assert sum(len(d.entities) * (len(d.entities) - 1) for d in documents) == 198670
