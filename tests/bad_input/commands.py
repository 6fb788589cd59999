"""Each command with files that it takes, from which the mistakes are made that users make most.

A word ``<NAME`` of a call is a file or folder that is read, ``>NAME`` one that is written.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from entity_samples import entity_file, tiny_tagger
from metrics.coco_samples import data_set, found, person
from metrics.reading_samples import data_set as squad_set
from reader_samples import passage, squad_file, tiny_reader
from relation_samples import DOCUMENTS, document_file

from pydlx.models import create_model, save_model


@dataclass(frozen=True)
class Call:
    """A call that succeeds, and which mistakes can be made in it.

    Attributes:
        words: of the call.
        data: names of the inputs that have a content which can be cut short, emptied or replaced.
        json: those among them that are one JSON document.
        swapped: two inputs that can stand in each other's place.
        runs: whether the tests run it as it is.
        strange: other calls with files of the wrong size or with ids of another kind, and what is said of them.
    """

    words: str
    data: tuple[str, ...] = ()
    json: tuple[str, ...] = ()
    swapped: tuple[str, ...] = ()
    runs: bool = True
    strange: dict[str, str] = field(default_factory=dict)

    @property
    def command(self) -> str:
        """The command, and of eval the kind."""
        first, second, *_ = [*self.words.split(), ""]
        return f"{first} {second}" if first == "eval" or second == "readers" else first

    def inputs(self) -> list[str]:
        return [word[1:] for word in self.words.split() if word.startswith("<")]

    def outputs(self) -> list[str]:
        return [word[1:] for word in self.words.split() if word.startswith(">")]

    def given(self, **others: str) -> list[str]:
        """The words, with other files in place of some."""
        return [
            others.get(word[1:].replace(".", "_"), word[1:]) if word[0] in "<>" else word for word in self.words.split()
        ]


def both(*names: str) -> dict[str, tuple[str, ...]]:
    """Two JSON files, which can be swapped."""
    return {"data": names, "json": names, "swapped": names}


CALLS = (
    Call(
        "eval keypoints <people.json <poses.json --json >r.json --plot >r.png",
        **both("people.json", "poses.json"),
        strange={"eval keypoints people.json poses_by_name.json": "image_id"},
    ),
    Call(
        "eval boxes <people.json <boxes.json --json >r.json --plot >r.svg",
        **both("people.json", "boxes.json"),
        strange={"eval boxes people.json boxes_by_name.json": "image_id"},
    ),
    Call(
        "eval masks <outlines.json <masks.json --json >r.json --plot >r.png",
        **both("outlines.json", "masks.json"),
        strange={
            "eval masks outlines.json masks_by_name.json": "image_id",
            "eval masks people.json masks.json": "segmentation",
        },
    ),
    Call(
        "eval segmentation <maps <found_maps --classes 3 --json >r.json --plot >r.png",
        strange={
            "eval segmentation maps small_maps --classes 3": "small_maps/a.png",
            "eval segmentation maps maps/a.png --classes 3": "PREDICTIONS: must be a folder",
            "eval segmentation maps found_maps --classes 2": "a: ",
            "eval segmentation maps photographs --classes 3": "photographs/a.png",
        },
    ),
    Call(
        "eval images <a.png <b.png --json >r.json",
        data=("a.png", "b.png"),
        strange={"eval images a.png small.png": "small.png", "eval images a.png maps": "maps"},
    ),
    Call(
        "eval squad <squad.json <answers.json --json >r.json",
        **both("squad.json", "answers.json"),
        strange={"eval squad squad.json numbers.json": "numbers.json"},
    ),
    Call(
        "eval squad <squad2.json <answers.json --version 2.0 --na-probs <probs.json --json >r.json --plot >r.svg",
        data=("probs.json",),
        json=("probs.json",),
        strange={"eval squad squad2.json answers.json --version 2.0 --na-probs numbers.json": "numbers.json"},
    ),
    Call(
        "eval cmrc <squad.json <answers.json --words builtin --json >r.json",
        **both("squad.json", "answers.json"),
        strange={"eval cmrc squad.json numbers.json": "numbers.json"},
    ),
    Call(
        "eval answers <free.jsonl <free_found.jsonl --format dureader --json >r.json",
        **both("free.jsonl", "free_found.jsonl") | {"swapped": ()},
        strange={"eval answers free.jsonl cloze.txt --format dureader": "cloze.txt"},
    ),
    Call(
        "eval answers <marco.jsonl <marco_found.jsonl --format marco --json >r.json",
        **both("marco.jsonl", "marco_found.jsonl") | {"swapped": ()},
        runs=False,  # it needs spacy
        strange={"eval answers marco.jsonl free.jsonl --format marco": "query_id"},
    ),
    Call(
        "eval answers <cloze.txt <cloze_found.txt --format cmrc2017 --json >r.json",
        strange={"eval answers cloze.txt answers.json --format cmrc2017": "answers.json"},
    ),
    Call(
        "eval entities <texts.json <texts_found.json --json >r.json",
        data=("texts.json", "texts_found.json"),
        strange={"eval entities texts.json other_texts.json": "text"},
    ),
    Call(
        "eval relations <documents.json <facts.json --json >r.json",
        **both("documents.json", "facts.json"),
        strange={"eval relations documents.json facts_by_number.json": "facts_by_number.json"},
    ),
    Call(
        "blend --source <a.png --target <b.png --mask <mask.png --out >r.png",
        data=("a.png", "b.png", "mask.png"),
        strange={"blend --source a.png --target b.png --mask small.png --out r.png": "mask"},
    ),
    Call(
        "predict --checkpoint <fcn.pt <a.png --out >found",
        data=("fcn.pt", "a.png"),
        swapped=("fcn.pt", "a.png"),
    ),
    Call(
        "predict --checkpoint <tagger.pt --data <texts.json --out >r.json",
        data=("tagger.pt", "texts.json"),
        swapped=("tagger.pt", "texts.json"),
    ),
    Call(
        "answer --checkpoint <reader.pt --data <asked.json --out >r.json",
        data=("reader.pt", "asked.json"),
        json=("asked.json",),
        swapped=("reader.pt", "asked.json"),
    ),
    Call(
        "answer --checkpoint <reader.pt --passage <text.txt --question who --json >r.json",
        data=("reader.pt",),
        swapped=("reader.pt", "text.txt"),
    ),
    Call(
        "sample --checkpoint <lapgan.pt --count 2 --out >found",
        data=("lapgan.pt",),
        strange={"sample --checkpoint lapgan.pt --count 0 --out found": "--count"},
    ),
    Call(
        "export --checkpoint <fcn.pt --size 32,32 --no-check --out >r.onnx",
        data=("fcn.pt",),
        runs=False,
        strange={
            "export --checkpoint fcn.pt --size 0,32 --out r.onnx": "--size",
            "export --checkpoint fcn.pt --size 32 --out r.onnx": "--size",
        },
    ),
    Call("models fcn* --json >r.json", strange={"models bert*": "bert*"}),
    Call("models --fusions --json >r.json --plot >r.svg"),
    Call("info --json >r.json"),
    Call("bench import --quick --json >r.json --plot >r.svg", runs=False, strange={"bench paint": "OP"}),
    Call(
        "bench readers --settings <settings.json --data one data=squad.json val=squad.json --out >found",
        data=("settings.json",),
        json=("settings.json",),
        runs=False,
        strange={"bench readers --seeds 0": "--seeds", "bench readers --readers nobody": "nobody"},
    ),
    Call(
        "train fcn data=<maps out=>found",
        runs=False,
        strange={
            "train fcn data=nowhere out=found": "nowhere",
            "train fcn data=a.png out=found": "a.png",
            "train fcn size=1 out=found": "size",
            "train fcn dta=maps": "dta",
            "train fcn maps": "maps",
            "train fcn out=a.png": "out",
            "train nothing": "RECIPE",
        },
    ),
)


def write_files(folder: Path) -> None:
    """Everything that the calls read."""
    from PIL import Image

    rng = np.random.default_rng(0)

    def picture(name, *shape, most=256):
        (folder / name).parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, most, shape).astype(np.uint8)).save(folder / name)

    for name in ("a.png", "b.png", "photographs/a.png"):
        picture(name, 24, 32, 3)
    picture("small.png", 12, 16, 3)
    Image.fromarray(np.pad(np.full((20, 28), 255, np.uint8), 2)).save(folder / "mask.png")
    for name in ("maps", "found_maps"):
        picture(f"{name}/a.png", 24, 32, most=3)
    picture("small_maps/a.png", 12, 16, most=3)
    for name, content in _documents().items():
        (folder / name).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    for name, lines in _lines().items():
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    squad_file(folder / "asked.json", 2)
    entity_file(folder / "texts.json", 2)
    entity_file(folder / "texts_found.json", 2)
    entity_file(folder / "other_texts.json", 3)
    document_file(folder / "documents.json", DOCUMENTS[:1])
    (folder / "text.txt").write_text(passage(1))
    save_model(create_model("fcn8s", num_classes=3, backbone="slim_vgg"), folder / "fcn.pt")
    save_model(tiny_tagger(), folder / "tagger.pt")
    save_model(tiny_reader(), folder / "reader.pt")
    small = {"sizes": [4, 8], "base_units": 8, "base_discriminator_units": 8, "width": 4}
    save_model(create_model("lapgan_cifar10", **small), folder / "lapgan.pt")


def _documents() -> dict[str, object]:
    """Files of one JSON document."""
    box, outline = [90.0, 90.0, 80.0, 80.0], [[90.0, 90.0, 170.0, 90.0, 170.0, 170.0]]
    golds = {"a": ["red dog"], "c": ["一二三"]}
    fact = {"h_idx": 0, "t_idx": 1, "r": "born in"}
    return {
        "people.json": data_set(person(1)),
        "poses.json": [found()],
        "poses_by_name.json": [found(image="one")],
        "boxes.json": [found(bbox=box)],
        "boxes_by_name.json": [found(image="one", bbox=box)],
        "outlines.json": data_set(person(1, segmentation=outline)),
        "masks.json": [found(segmentation=outline)],
        "masks_by_name.json": [found(image="one", segmentation=outline)],
        "squad.json": squad_set(golds),
        "squad2.json": squad_set(golds | {"b": []}, "v2.0"),
        "answers.json": {"a": "a dog", "b": "", "c": "一二"},
        "numbers.json": {"a": 1, "b": None, "c": 3},
        "probs.json": {"a": 0.1, "b": 0.9, "c": 0.3},
        "facts.json": [{"title": "Anna 0", **fact}],
        "facts_by_number.json": [{"title": 0, **fact}],
        "settings.json": {"all": {"hidden": 8}},
    }


def _lines() -> dict[str, list[str]]:
    """Files of a record in each line."""
    free = {"question_id": 1, "question_type": "ENTITY", "answers": ["天气 好"], "source": "search"}
    marco = {"query_id": 1, "answers": ["red dog"]}
    dumped = {name: json.dumps(record, ensure_ascii=False) for name, record in (("free", free), ("marco", marco))}
    return {
        "free.jsonl": [dumped["free"]],
        "free_found.jsonl": [dumped["free"]],
        "marco.jsonl": [dumped["marco"]],
        "marco_found.jsonl": [dumped["marco"]],
        "cloze.txt": ["<qid_0> ||| 老虎"],
        "cloze_found.txt": ["<qid_0> ||| 老虎"],
    }
