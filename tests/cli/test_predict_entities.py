"""``pydlx predict`` marks and lists the entities of texts, and writes those of a file for ``pydlx eval entities``."""

from __future__ import annotations

import io
import json
import os
import sys

import pytest

pytest.importorskip("tokenizers")
pytest.importorskip("msgspec")
from entity_samples import annotated, entity_file, tiny_tagger
from reader_samples import tiny_reader

from pydlx.cli import main
from pydlx.cli.predict import entities as command
from pydlx.data import read_entities
from pydlx.models import create_model, save_model
from pydlx.models.entities import FoundEntity, find_entities

TEXT = annotated(0).text


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("predict")
    save_model(tiny_tagger(), folder / "model.pt")
    entity_file(folder / "data.json", 3)
    (folder / "text.txt").write_text(f"{TEXT}\n", encoding="utf-8-sig")
    (folder / "latin.txt").write_bytes(b"\xff")
    (folder / "book.tsv").write_text("Anna\tB-PER\nof\tO\nRome\tB-LOC\n")
    save_model(create_model("fcn8s", num_classes=2, backbone="slim_vgg"), folder / "pictures.pt")
    return folder


def found(start, end, kind, text):
    return FoundEntity(kind, start, end, text[start : end + 1], 0.9)


def test_entities_are_marked_one_in_another():
    text = "In Anna of Rome saw"
    nested = [found(3, 14, "PER", text), found(3, 6, "NAME", text), found(11, 14, "LOC", text)]
    assert plain(text, nested) == "In [[Anna|NAME] of [Rome|LOC]|PER] saw"
    crossing = [found(3, 9, "A", text), found(8, 14, "B", text)]
    assert plain(text, crossing) == "In [Anna [of|A] Rome|B] saw"


def plain(text, entities):
    pieces = command.marked(text, entities, dict.fromkeys(["A", "B", "LOC", "NAME", "PER"], "red"))
    return "".join(piece for piece, _ in pieces)


def test_colours_are_those_of_the_innermost():
    text = "Anna of Rome"
    shown = command.marked(text, [found(0, 11, "PER", text), found(8, 11, "LOC", text)], {"LOC": "red", "PER": "green"})
    assert shown == [
        ("[", "green"),
        ("Anna of ", "green"),
        ("[", "red"),
        ("Rome", "red"),
        ("|LOC]", "red"),
        ("|PER]", "green"),
    ]


@pytest.mark.parametrize("kind", ["text", "file", "stdin"])
def test_a_text_is_shown_with_its_entities(place, capsys, monkeypatch, kind):
    monkeypatch.setattr(sys, "stdin", io.StringIO(TEXT))
    given = {"text": TEXT, "file": str(place / "text.txt"), "stdin": "-"}[kind]
    assert main(["predict", "--checkpoint", str(place / "model.pt"), given]) == 0
    first, blank, head, *rows = capsys.readouterr().out.splitlines()
    entities = find_entities(tiny_tagger(), TEXT)
    assert first == plain(TEXT, entities)
    assert (blank, head.split()) == ("", ["score", "type", "from", "to", "text"])
    wanted = [[f"{e.score:.3f}", e.type, str(e.start), str(e.end), e.text] for e in entities]
    assert [row.split(maxsplit=4) for row in rows] == wanted


def test_json_lists_what_each_text_holds(place, capsys):
    words = ["predict", "--checkpoint", str(place / "model.pt"), TEXT, "無", "--json", "--flat", "--threshold", "0.6"]
    assert main(words) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [each["text"] for each in listed] == [TEXT, "無"]
    wanted = find_entities(tiny_tagger(), TEXT, flat=True, threshold=0.6)
    assert listed[0]["entities"] == [e._asdict() for e in wanted]


@pytest.mark.parametrize("name", ["data.json", "book.tsv"])
def test_a_file_becomes_one_that_eval_reads(place, tmp_path, capsys, name):
    data, out = place / name, tmp_path / "found.json"
    assert main(["predict", "--checkpoint", str(place / "model.pt"), "--data", str(data), "--out", str(out)]) == 0
    written, texts = list(read_entities(out)), list(read_entities(data))
    model = tiny_tagger()
    for text, own in zip(written, texts, strict=True):
        assert text.text == own.text
        assert {tuple(e) for e in text.entities} == {e[:3] for e in find_entities(model, own.text)}
    count = sum(len(text.entities) for text in written)
    assert capsys.readouterr().out == f"{len(texts)} texts: {count} entities, written to {out}\n"
    assert main(["eval", "entities", str(data), str(out)]) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "INPUT or --data must say what to look at"),
        (["txet.txt"], "INPUT: no such file: 'txet.txt'"),
        (["{}/latin.txt"], "must be UTF-8, got other bytes at 0"),
        ([TEXT, "--out", "{}/x.json"], "--out must not be given without --data"),
        (["--data", "{}/data.json"], "--out must be given with --data"),
        (["--data", "{}/data.json", "--out", "{}/data.json"], "--out must be another file than --data"),
        ([TEXT, "--data", "{}/data.json", "--out", "{}/x.json"], "INPUT must not be given with --data"),
        (["--data", "{}/data.json", "--out", "{}/x.json", "--json"], "--json must not be given with --data"),
        (["--data", "{}/none.json", "--out", "{}/x.json"], "{}/none.json"),
        (["--data", "{}/data.json", "--out", "{}/x.tsv"], "--out must name a file for lines of JSON, not a table"),
        (["{}/data.json"], "INPUT: '{}/data.json' looks like data; give it to --data"),
        ([TEXT, "--threshold", "2"], "--threshold must be from 0 to 1, got 2.0"),
        ([TEXT, "--scale", "2"], "--scale must not be given with global_pointer, which reads texts"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(place, capsys, words, message):
    here = str(place)
    assert (
        main(["predict", "--checkpoint", str(place / "model.pt"), *(word.replace("{}", here) for word in words)]) == 2
    )
    error = capsys.readouterr().err
    assert error.startswith("pydlx predict: ") and error.count("\n") == 1
    assert message.replace("{}", here) in error
    assert not (place / "x.json").exists()


def test_options_of_texts_are_refused_with_pictures(place, capsys):
    assert main(["predict", "--checkpoint", str(place / "pictures.pt"), "a.png", "--out", "x", "--flat"]) == 2
    assert "--flat must not be given with fcn8s, which reads pictures" in capsys.readouterr().err


def test_a_reader_is_asked_by_another_command(tmp_path, capsys):
    save_model(tiny_reader(), tmp_path / "reader.pt")
    assert main(["predict", "--checkpoint", str(tmp_path / "reader.pt"), TEXT]) == 2
    assert capsys.readouterr().err.endswith("; pydlx answer asks it\n")


def test_a_pipe_is_read_and_a_folder_is_no_text(place, capsys):
    reading, writing = os.pipe()
    os.write(writing, TEXT.encode())
    os.close(writing)
    assert main(["predict", "--checkpoint", str(place / "model.pt"), f"/dev/fd/{reading}", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["text"] == TEXT
    os.close(reading)
    assert main(["predict", "--checkpoint", str(place / "model.pt"), str(place)]) == 2
    assert f"INPUT: must be a text or a file, got the folder '{place}'" in capsys.readouterr().err
