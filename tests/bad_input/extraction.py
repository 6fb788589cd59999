"""Calls of what reads and writes entities and relations."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from bad_input.arguments import NAN, Argument, Call, anything, count, flag, path
from pydlx.data import AnnotatedText, Entity, EntityReport, Fact, RelationReport, read_docred

FOLDER = tempfile.TemporaryDirectory()  # goes with this module
TEXTS, TABLE, DOCUMENTS, NAMES, NEW = (
    Path(FOLDER.name, name) for name in ("texts.json", "table.tsv", "documents.json", "rel2id.json", "new.json")
)
TEXTS.write_text(json.dumps({"text": "Anna", "label": {"PER": {"Anna": [[0, 3]]}}}))
TABLE.write_text("Anna\tB-PER\n")
ANNA = {"name": "Anna", "sent_id": 0, "pos": [0, 1], "type": "PER"}
DOCUMENTS.write_text(
    json.dumps([{"title": "a", "sents": [["Anna"]], "vertexSet": [[ANNA]], "labels": [{"h": 0, "t": 0, "r": "P1"}]}])
)
NAMES.write_text('{"Na": 0, "P1": 1}')

KINDS = anything(["PER"], 5, "PER", [3], {"PER": 1})
ENTITY_REPORT = Argument(EntityReport(), ["x", 5, NAN, {}, RelationReport()], [None])
TRUTH = anything(list(read_docred(DOCUMENTS)), None, 5, ["a"], [3])
ANNOTATED = anything([AnnotatedText("1", "Anna")], None, 5, ["a"], [3])
METRICS = {
    "EntityScore": Call({"types": anything(["PER"], None, 5, "PER", [], [3], ["a", "a"])}),
    "RelationScore": Call(
        {
            "relations": anything(["Na", "P1"], None, 5, "P1", [], [3], ["a", "a"]),
            "frequent": anything(["P1"], 5, "P1", [3], ["Na"], ["P1", "P1"]),
            "ignore_seen": flag(False),
        }
    ),
    "entity_score": Call({"truth": ANNOTATED, "predictions": ANNOTATED}),
    "relation_score": Call(
        {
            "truth": TRUTH,
            "predictions": anything([], None, 5, {"title": "a"}, [3], [{"title": "a"}], [{"title": "a", "h_idx": "0"}]),
            "train": Argument(TRUTH.value, [5, ["a"], [3]], [None]),
            "frequent": count(3),
        }
    ),
}
DATA = {
    "entities_of_tags": Call({"tags": anything(["O", "B-A"], None, 5, "O", ["B"], [None], [3], ["S-A"], [["O"]])}),
    "read_cluener": Call({"path": path(TEXTS), "report": ENTITY_REPORT, "types": KINDS}),
    "read_litbank": Call({"path": path(TABLE), "report": ENTITY_REPORT, "types": KINDS}),
    "read_entities": Call(
        {"path": path(TEXTS), "report": ENTITY_REPORT, "types": KINDS}, speaks=("read_cluener", "read_litbank")
    ),
    "write_entities": Call(
        {
            "path": path(NEW),
            "texts": anything([AnnotatedText("1", "Anna", (Entity("PER", 0, 3),))], None, 5, ["Anna"]),
        }
    ),
    "read_docred": Call(
        {
            "path": path(DOCUMENTS),
            "report": Argument(RelationReport(), ["x", 5, NAN, {}, EntityReport()], [None]),
            "relations": anything(["Na", "P1"], 5, "P1", [3], {"P1": 1}),
        }
    ),
    "read_relation_names": Call({"path": path(NAMES)}),
    "write_facts": Call(
        {"path": path(NEW), "facts": anything({"a": [Fact(0, 0, "P1")]}, None, 5, "a", ["a"], {"a": 3}, {"a": [3]})}
    ),
}
