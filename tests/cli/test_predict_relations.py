"""``pydlx predict`` shows and writes the relations of documents."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("tokenizers")

from relation_samples import ALONE, DOCUMENTS, UNNAMED, document_file, tiny_model

from pydlx.cli import main
from pydlx.cli.predict.relations import show
from pydlx.models import save_model
from pydlx.models.relations import FoundRelation, find_relations


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("relations")
    save_model(tiny_model(), folder / "model.pt")
    document_file(folder / "documents.json", [DOCUMENTS[0], ALONE, UNNAMED])
    (folder / "names.json").write_text(json.dumps({"lives in": "lives in the place of"}))
    return folder


def predict(folder, *words, file="documents.json"):
    given = ["--data", folder / file] if "--out" in words else [folder / file]
    return main(["predict", "--checkpoint", *map(str, [folder / "model.pt", *given, *words])])


def test_a_table_says_what_holds_and_where_both_are_named(capsys):
    found = [FoundRelation(0, 2, "P1", 0.91234, (1,)), FoundRelation(1, 2, "P22", 0.5, ())]
    show(DOCUMENTS[0], found, {"P1": "home"})
    assert capsys.readouterr().out == (
        "Anna 0\n"
        "score  head   relation  tail      sentences\n"
        "0.912  Anna0  P1 home   old Lima  1\n"
        "0.500  Rome   P22       old Lima  -\n"
    )
    show(ALONE, [], {})
    assert capsys.readouterr().out == "Alone\nno relations\n"


def test_what_is_shown_and_written_is_what_the_model_finds(folder, capsys):
    wanted = find_relations(tiny_model(), DOCUMENTS[0], threshold=0.45)
    assert predict(folder, "--threshold", 0.45) == 0
    tables = capsys.readouterr().out.split("\n\n")
    assert [table.partition("\n")[0] for table in tables] == ["Anna 0", "Alone", "Unnamed"]
    assert len(tables[0].splitlines()) == len(wanted) + 2
    assert tables[1] == "Alone\nno relations"
    assert predict(folder, "--threshold", 0.45, "--json", "--relation-names", folder / "names.json") == 0
    first, alone, _ = json.loads(capsys.readouterr().out)
    assert alone == {"title": "Alone", "relations": []}
    assert first["relations"][0]["score"] == pytest.approx(wanted[0].score)
    sides = {(each["head"], each["head_name"]) for each in first["relations"]}
    assert sides <= {(0, "Anna0"), (1, "Rome"), (2, "old Lima")}
    named = {each["relation"]: each.get("name") for each in first["relations"]}
    assert named.get("lives in", "lives in the place of") == "lives in the place of"
    assert named.get("born in") is None
    assert predict(folder, "--threshold", 0.45, "--out", folder / "facts.json") == 0
    written = json.loads((folder / "facts.json").read_text())
    assert f"3 documents: {len(written)} relations, written to" in capsys.readouterr().out
    assert [
        (row["h_idx"], row["t_idx"], row["r"], tuple(row["evidence"])) for row in written if row["title"] == "Anna 0"
    ] == [(each.head, each.tail, each.relation, each.evidence) for each in wanted]


def test_what_cannot_be_read_of_documents_is_said(folder, capsys):
    records = json.loads((folder / "documents.json").read_text())
    records[0]["vertexSet"][0][0]["pos"] = [7, 3]
    (folder / "wrong.json").write_text(json.dumps(records))
    assert predict(folder, file="wrong.json") == 0
    assert "warning: 1 parts of the documents are left out, the first in 'Anna 0': entity 0" in capsys.readouterr().err


def test_most_relations_of_a_pair(folder, capsys):
    assert predict(folder, "--threshold", 0.3, "--top-k", 1, "--json") == 0
    first = json.loads(capsys.readouterr().out)[0]
    assert len({(each["head"], each["tail"]) for each in first["relations"]}) == len(first["relations"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--threshold", "1"], "--threshold must be between 0 and 1, got 1.0"),
        (["--top-k", "0"], "--top-k: must be a positive whole number, got '0'"),
        (["--flat"], "--flat must not be given with document_relations, which reads documents"),
        (["--scale", "2"], "--scale must not be given with document_relations"),
        (["--json", "--out", "x.json"], "--json must not be given with --data"),
        (["--relation-names", "none.json"], "--relation-names: no such file: 'none.json'"),
    ],
)
def test_options_that_do_not_fit_are_refused(folder, capsys, words, message):
    assert predict(folder, *words) == 2
    assert message in capsys.readouterr().err


def test_files_that_do_not_fit_are_refused(folder, capsys):
    assert predict(folder, "--out", folder / "documents.json") == 2
    assert "--out must be another file than --data" in capsys.readouterr().err
    document_file(folder / "twice.json", [DOCUMENTS[0], DOCUMENTS[0]])
    assert predict(folder, "--out", folder / "new.json", file="twice.json") == 2
    assert "documents must have different titles to be written, got 'Anna 0' twice" in capsys.readouterr().err
    (folder / "list.json").write_text("[1]")
    for names, message in (("list.json", "must be a JSON object of names"), ("model.pt", "must be JSON in UTF-8")):
        assert predict(folder, "--relation-names", folder / names) == 2
        assert message in capsys.readouterr().err
    assert predict(folder, file="list.json") == 2
    assert "list.json" in capsys.readouterr().err
    assert not (folder / "new.json").exists()
