"""Every code block of README.md and docs/ runs, on small files with the names that it uses."""

import gzip
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from entity_samples import tiny_tagger
from reader_samples import passage, task_reader, tiny_reader
from relation_samples import tiny_model
from task_samples import cloze_files, dream_file, dureader_file

from pydlx.cli import main
from pydlx.models import create_model, save_model

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

TASKS = {"cloze": "cloze", "dream": "choice", "dureader": "free_answer"}  # runs of readers beyond spans

# Commands that set up, build or install; .ci/run or another test does what they do.
NOT_RUN_HERE = (
    "make demo",
    "make gpu",
    "make test",
    'pip install "setuptools>=77" ninja pybind11',
    "pip install --no-build-isolation .",
    "cmake -S . -B build -G Ninja -DPython_EXECUTABLE=$PWD/.venv/bin/python",
    "cmake --build build",
    "ctest --test-dir build",
    # Trains for hours; tests/training does so on less.
    "pydlx train fcn data=camvid backbone=efficientnet_lite0 weights=imagenet out=runs/camvid",
    "pydlx train cornernet out=runs/corner",
    "pydlx train blending_gan data=photographs regions=masks masks=object_masks out=runs/blending",
    "pydlx train fcn data=camvid model=fcn8s backbone=efficientnet_lite0 weights=imagenet epochs=10 out=runs/fcn8s",
    "python examples/camvid_results.py camvid runs/fcn8s",
    "python examples/blending_gan_results.py --photographs held_out --masks object_masks --out results",
    "pydlx train lapgan data=crops/train val_data=crops/val classes=true out=runs/lapgan",
    "python examples/lapgan_crops.py camvid crops --classes sky building road tree car",
    "python examples/lapgan_results.py runs/lapgan/best.ckpt crops/val --out lapgan",
    "pydlx train reader model=bidaf data=train-v1.1.json val=dev-v1.1.json vectors=glove.6B.100d.txt out=runs/bidaf",
    "pydlx train reader model=r_net data=cmrc2018_train.json val=cmrc2018_dev.json tokeniser=characters "
    "answer_length=40",
    "pydlx train reader model=match_lstm data=cmrc2018_train.json val=cmrc2018_dev.json tokeniser=characters "
    "min_count=2    max_passage=512 answer_length=40 optimizer=adamax clip=5 hidden=64 word_dim=64 out=runs/cmrc",
    "pydlx train relation data=redocred_dev.json relations=rel2id.json vectors=glove loss=adaptive_focal "
    "out=runs/relations",
    "pydlx train relation data=redocred_dev.json relations=rel2id.json vectors=glove loss=adaptive_focal offset=1    "
    "seed=0 epochs=50 val_every=2 progress=false out=runs/adaptive_focal-0",
    # tests/examples/test_relation_results.py runs it.
    "python examples/relation_results.py redocred_test.json runs/adaptive_focal-0 --train redocred_dev.json",
    # tests/cli/test_bench.py runs it on a tiny case.
    "pydlx bench --json bench.json --plot bench.png --plot-all bench_all.png",
    # tests/cli/test_bench_readers.py runs it on less.
    "pydlx bench readers --settings examples/reader_settings.json --minutes 3 --seeds 3 --jobs 2 --out runs/readers    "
    "--data cmrc2018 data=cmrc2018_train.json val=cmrc2018_dev.json --data squad data=squad/train.json "
    "val=squad/val.json",
    # tests/training/test_reader_encoder.py trains with a tiny encoder.
    "pydlx train reader model=fusionnet data=squad/train.json val=squad/val.json encoder=minilm out=runs/minilm",
    "pydlx train reader model=fusionnet data=squad/train.json val=squad/val.json vectors=glove encoder=minilm    "
    "freeze_encoder=true precision=bf16-mixed optimizer=adamax clip=5 hidden=64 answer_length=30 out=runs/minilm",
    # tests/examples/test_reading.py runs them.
    "python examples/split_questions.py xquad.en.json expmrc-squad-dev.json --out squad",
    "python examples/reading_results.py cmrc2018_dev.json runs/cmrc --score cmrc",
    "python examples/reading_baselines.py cmrc2018_dev.json --tokeniser characters",
    # tests/training/test_reading_task_recipes.py and tests/examples/test_reading_tasks.py do so on less.
    "python examples/split_cloze.py cmrc2017_valid.doc_query cmrc2017_valid.answer --out cloze",
    "pydlx train cloze data=cloze/train.doc_query answers=cloze/train.answer val=cloze/val.doc_query "
    "val_answers=cloze/val.answer    model=fastqa gaps=8 hidden=64 word_dim=64 "
    "further=character_dim=16,character_filters=32 min_count=3 dropout=0.3 lr=2e-3    clip=5 budget=6 out=runs/cloze",
    "pydlx train choice data=dream_train.json val=dream_dev.json vectors=glove model=fastqa characters=false "
    "hidden=64    dropout=0.2 val_limit=500 lr=1e-3 batch_size=16 clip=5 budget=6 out=runs/dream",
    "pydlx train free_answer data=dureader_search_train.jsonl val=dureader_search_dev.jsonl documents=1 paragraphs=2 "
    "model=drqa    hidden=32 word_dim=16 min_count=5 dropout=0.4 further=layers=1 batch_size=8 clip=5 "
    "answer_length=400 epochs=10    out=runs/dureader",
    'pip install "pydlx[train]"',
    "pydlx train ner data=cluener_train.json val=cluener_dev.json tokeniser=characters bigrams=true out=runs/ner",
    "pydlx train ner model=global_pointer data=cluener_train.json val=cluener_dev.json tokeniser=characters "
    "bigrams=true    lr=2e-3 word_dropout=0.1 ema=0.999 decay=cosine epochs=20 progress=false out=runs/cluener",
    "pydlx train ner model=global_pointer data=litbank-split/train val=litbank-split/val encoder=minilm dropout=0.1    "
    "encoder_lr=1e-4 epochs=3 progress=false out=runs/litbank-gp",
    "python examples/split_litbank.py litbank --out litbank-split",
    "pydlx train ner data=litbank-split/train val=litbank-split/val encoder=minilm dropout=0.1 epochs=6 "
    "out=runs/litbank",
    "pydlx predict --checkpoint runs/litbank/best.ckpt --data litbank-split/test --out litbank_found.json",
    # tests/cli/test_blend_list.py starts torchrun.
    "torchrun --nproc-per-node 2 -m pydlx.cli blend --list pictures.txt --method gp-gan --out blended/",
)


def blocks(document):
    """(language, line of the document, text) of each block, in order."""
    text = document.read_text()
    for found in BLOCK.finditer(text):
        yield found[1], text.count("\n", 0, found.start(2)), found[2]


def commands(text):
    """The commands of a shell block, without comments, those joined by && one by one."""
    for line in text.replace("\\\n", " ").splitlines():
        yield from (part.strip() for part in re.sub(r"\s+#.*", "", line).split(" && ") if part.strip())


def coco_files(keypoints, rng):
    """Annotations of three images with two objects each, and results that find them roughly."""
    annotations, results = [], []
    for number in range(6):
        corner, size = rng.integers(0, 200, 2), rng.integers(40, 200, 2)
        points = corner + rng.random((keypoints, 2)) * size
        common = {"image_id": number // 2, "category_id": 1}
        box = [*corner.tolist(), *size.tolist()]
        triples = np.column_stack([points, np.full(keypoints, 2)]).ravel().tolist()
        area = float(size.prod()) / 2
        extra = {"id": number + 1, "iscrowd": 0, "area": area, "num_keypoints": keypoints}
        x, y, width, height = box
        outline = {"segmentation": [[x, y, x + width, y, x + width, y + height]]}
        annotations.append({**common, **extra, **outline, "bbox": box, "keypoints": triples})
        near = np.column_stack([points + rng.normal(0, 2, points.shape), np.ones(keypoints)]).ravel().tolist()
        shifted, score = [x + 1 for x in box], float(rng.random())
        results.append({**common, **outline, "bbox": shifted, "keypoints": near, "score": score})
    images = [{"id": n, "file_name": f"{n}.jpg", "width": 400, "height": 400, "crowdIndex": 0.1} for n in range(3)]
    categories = [{"id": 1, "name": "person"}, {"id": 3, "name": "car"}]
    return {"images": images, "categories": categories, "annotations": annotations}, results


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with the files that the documents mention."""
    pillow = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    monkeypatch.chdir(tmp_path)

    def picture(name, *shape, most=256):
        Path(name).parent.mkdir(exist_ok=True)
        pillow.fromarray(rng.integers(0, most, shape).astype(np.uint8)).save(name)

    picture("bear.jpg", 40, 50, 3)
    picture("lake.jpg", 400, 480, 3)
    pillow.fromarray(np.pad(np.full((36, 46), 255, np.uint8), 2)).save("bear_mask.png")
    for name in ("photo.png", "restored.png", "photos/a.png", "restored/a.png"):
        picture(name, 30, 40, 3)
    for name in ("truth/a.png", "predictions/a.png"):
        picture(name, 30, 40, most=21)

    Path("pictures.txt").write_text("bear.jpg;lake.jpg;bear_mask.png;332,404\n")
    save_model(create_model("blending_gan", width=2, bottleneck=3), "blending_gan.pt")
    for name in ("street.jpg", "photographs/a.jpg", *(f"val2017/{n}.jpg" for n in range(3))):
        picture(name, 30, 40, 3)
    for run in ("camvid", "bidaf", "corner", "lapgan", "ner", *TASKS):
        Path("runs", run).mkdir(parents=True)
    save_model(create_model("fcn8s", num_classes=11, backbone="slim_vgg"), "runs/camvid/best.ckpt")
    save_model(create_model("lapgan_cifar10", num_classes=5, base_units=60, width=8), "runs/lapgan/best.ckpt")
    save_model(create_model("cornernet_squeeze", num_classes=2, width=0.05), "runs/corner/best.ckpt")
    save_model(tiny_reader(), "runs/bidaf/best.ckpt")
    for run, task in TASKS.items():
        save_model(task_reader(task), f"runs/{run}/best.ckpt")
    Path("cloze").mkdir()
    for path, name in zip(cloze_files(tmp_path), ("doc_query", "answer"), strict=True):
        path.rename(f"cloze/val.{name}")
    dream_file(Path("dream_test.json"))
    dureader_file(Path("dureader_search_dev.jsonl"))
    save_model(tiny_tagger(), "runs/ner/best.ckpt")
    Path("article.txt").write_text(passage(0))

    truth, results = coco_files(17, rng)
    for name in ("person_keypoints_val2017.json", "instances_val2017.json", "truth.json"):
        Path(name).write_text(json.dumps(truth))
    Path("annotations").mkdir()
    Path("annotations", "instances_val2017.json").write_text(json.dumps(truth))
    for name in ("detections.json", "boxes.json", "segments.json"):
        Path(name).write_text(json.dumps(results))
    Path("detections.json.gz").write_bytes(gzip.compress(json.dumps(results).encode()))
    for truth_name, found_name, keypoints in (("hands", "hands", 21), ("crowdpose_test", "crowdpose", 14)):
        truth, results = coco_files(keypoints, rng)
        Path(f"{truth_name}.json").write_text(json.dumps(truth))
        Path(f"{found_name}_found.json").write_text(json.dumps(results))
    write_answers()
    write_annotated()
    return tmp_path


def write_answers():
    """Write data sets of questions, and predictions that are partly right."""
    answers = {"a": ["Denver", "Denver Broncos"], "b": ["308"]}

    def squad(golds):
        questions = [
            {"id": key, "question": "Who?", "answers": [{"text": text} for text in texts]}
            for key, texts in golds.items()
        ]
        return {"data": [{"paragraphs": [{"context": "...", "qas": questions}]}]}

    def write(name, *records):
        Path(name).write_text("\n".join(json.dumps(record) for record in records))

    write("dev-v1.1.json", squad(answers))
    write("dev-v2.0.json", squad(answers | {"c": []}))
    write("cmrc2018_dev.json", squad({"DEV_0_QUERY_0": ["光荣和ω-force"]}))
    write("predictions.json", {"a": "Denver", "b": "309", "c": ""})
    write("na_prob.json", {"a": 0.1, "b": 0.5, "c": 0.9})
    write("cmrc_predictions.json", {"DEV_0_QUERY_0": "光荣"})
    for name in ("references.jsonl", "answers.jsonl"):
        write(name, {"question_id": 1, "answers": ["天气很好"]})
    for name in ("gaps.txt", "words.txt"):
        Path(name).write_text("<qid_0> ||| 老虎\n", encoding="utf-8")


def write_annotated():
    """Write texts with entities and documents with relations, and predictions for them."""
    line = json.dumps({"text": "Ann in Rome", "label": {"PER": {"Ann": [[0, 2]]}}})
    for name in ("cluener_dev.json", "entities_found.json"):
        Path(name).write_text(f"{line}\n")
    for name in ("litbank", "litbank-split/test"):
        Path(name).mkdir(parents=True)
        Path(name, "a.tsv").write_text("Ann\tB-PER\tO\nin\tO\tO\nRome\tB-GPE\tO\n")
    Path("litbank_found.json").write_text('{"text": ["Ann", "in", "Rome"], "label": {}}\n')
    entities = [
        [{"name": name, "sent_id": 0, "pos": [n, n + 1], "type": "X"}] for n, name in enumerate(("Ann", "Rome"))
    ]
    document = {
        "title": "a",
        "sents": [["Ann", "Rome"]],
        "vertexSet": entities,
        "labels": [{"h": 0, "t": 1, "r": "P19"}],
    }
    for name in ("redocred_dev.json", "redocred_test.json", "documents.json"):
        Path(name).write_text(json.dumps([document]))
    Path("rel_info.json").write_text('{"P19": "place of birth"}')
    Path("runs/relations").mkdir()
    save_model(tiny_model(), "runs/relations/best.ckpt")
    Path("rel2id.json").write_text('{"Na": 0, "P19": 1}')
    Path("facts.json").write_text('[{"title": "a", "h_idx": 0, "t_idx": 1, "r": "P19"}]')


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_code_blocks_run(document, folder):
    namespace = {}
    for language, line, text in blocks(document):
        if language == "python":
            # The line numbers of an error are those of the document.
            exec(compile("\n" * line + text, str(document), "exec"), namespace)
            continue
        if language == "json":
            json.loads(text)
        if language in ("json", "tsv"):  # what a file looks like
            continue
        for command in commands(text):
            if command not in NOT_RUN_HERE:
                program, *words = shlex.split(command)
                assert program == "pydlx", f"{document.name}:{line}: run it here, or list it: {command}"
                assert main(words) == 0, f"{document.name}:{line}: {command}"


def test_what_is_not_run_is_there():
    written = {
        c for document in DOCUMENTS for language, _, text in blocks(document) if not language for c in commands(text)
    }
    assert set(NOT_RUN_HERE) <= written
