"""``pydlx eval entities | relations``: what they print and refuse."""

import json

import pytest

from pydlx.cli import main
from pydlx.metrics import entity_score, relation_score

pytest.importorskip("msgspec")


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A folder to work in, with truths and predictions."""
    monkeypatch.chdir(tmp_path)

    def write(name, *lines):
        (tmp_path / name).write_text("\n".join(map(json.dumps, lines)))

    write("truth.json", {"text": "Ann in Rome", "label": {"PER": {"Ann": [[0, 2]]}, "LOC": {"Rome": [[7, 10]]}}})
    write("found.json", {"text": "Ann in Rome", "label": {"PER": {"Ann": [[0, 2]], "in": [[4, 5]]}}})
    (tmp_path / "truth.tsv").write_text("Ann\tB-PER\nin\tO\nRome\tB-LOC\n")
    entities = [
        [{"name": name, "sent_id": 0, "pos": [n, n + 1], "type": "X"}] for n, name in enumerate(("Ann", "Rome"))
    ]
    labels = [{"h": 0, "t": 1, "r": "P1"}, {"h": 1, "t": 0, "r": "P2"}]
    write("docs.json", [{"title": "a", "sents": [["Ann", "Rome"]], "vertexSet": entities, "labels": labels}])
    write("facts.json", [{"title": "a", "h_idx": 0, "t_idx": 1, "r": relation} for relation in ("P1", "P2")])
    write("strange.json", [{"title": "b", "h_idx": 0, "t_idx": 1, "r": "P1"}])
    return tmp_path


def printed(capsys, *words):
    """The exit code, stdout and stderr of a command."""
    code = main(["eval", *words])
    out, err = capsys.readouterr()
    return code, out, err


def test_entities(files, capsys):
    code, out, err = printed(capsys, "entities", "truth.json", "found.json")
    assert (code, err) == (0, "")
    assert [line.split() for line in out.splitlines()] == [
        ["type", "precision", "recall", "f1", "right", "predicted", "true"],
        ["LOC", "0.0000", "0.0000", "0.0000", "0", "0", "1"],
        ["PER", "0.5000", "1.0000", "0.6667", "1", "2", "1"],
        ["all", "0.5000", "0.5000", "0.5000", "1", "2", "2"],
        ["macro", "F1", "0.3333,", "1", "texts"],
    ]
    code, out, _ = printed(capsys, "entities", "truth.json", "found.json", "--json")
    assert (code, json.loads(out)) == (0, {"results": entity_score("truth.json", "found.json")})
    assert printed(capsys, "entities", "truth.tsv", "truth.tsv", "--json")[1].count('"f1": 1.0') == 3


def test_relations(files, capsys):
    code, out, err = printed(capsys, "relations", "docs.json", "facts.json")
    assert (code, err) == (0, "")
    assert dict(line.split() for line in out.splitlines()) == {
        "precision": "0.5000", "recall": "0.5000", "f1": "0.5000", "right": "1", "predicted": "2", "true": "2"
    }  # fmt: skip
    words = "relations", "docs.json", "facts.json", "--train", "docs.json", "--frequent", "1", "--per-relation"
    code, out, err = printed(capsys, *words)
    table, numbers = out.split("\n\n")
    assert [line.split()[0] for line in table.splitlines()] == ["relation", "P1", "P2", "all"]
    assert {"ign_f1  0.0000", "frequent_f1  1.0000"} <= {"  ".join(line.split()) for line in numbers.splitlines()}
    expected = relation_score("docs.json", "facts.json", train="docs.json", frequent=1)
    content = json.loads(printed(capsys, *words, "--json")[1])
    assert content["per_relation"] == expected.pop("relations")
    assert content["results"] == expected
    code, _, err = printed(capsys, "relations", "docs.json", "strange.json")
    assert (code, err) == (0, "warning: 1 of 1 submitted facts are of no entities of the truth, and wrong\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("entities truth.json nowhere.json", "PREDICTIONS: no such file or folder: 'nowhere.json'"),
        ("entities truth.json truth.tsv", "PREDICTIONS must have the texts of the truth, got ('Ann', 'in', 'Rome')"),
        ("entities docs.json docs.json", "'docs.json': line 1: expected `object`, got `array`"),
        ("relations docs.json facts.json --frequent 3", "--frequent needs --train"),
        (
            "relations docs.json facts.json --train docs.json --frequent 0",
            "argument --frequent: must be a positive whole number, got '0'",
        ),
        ("relations docs.json truth.json", "PREDICTIONS must be a path or a list of facts"),
        ("relations truth.json facts.json", "'truth.json': expected `array`, got `object`"),
    ],
)
def test_bad_input_in_one_line(files, capsys, words, message):
    code, out, err = printed(capsys, *words.split())
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert message in err
