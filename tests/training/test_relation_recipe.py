"""The recipe for relations learns documents, resumes, and leaves models that score as in validation."""

from __future__ import annotations

import csv
import json
import re

import numpy as np
import pytest
import torch

pytest.importorskip("lightning")
pytest.importorskip("tokenizers")

from relation_samples import ALONE, BARE, DOCUMENTS, RELATIONS, document, document_file, relation_set

from pydlx.cli import main
from pydlx.data import Fact, RelationDocument, read_docred
from pydlx.metrics import relation_score
from pydlx.models import load_model
from pydlx.models.relations import find_all_relations, find_relations
from pydlx.training import relation as recipe
from pydlx.training.numbered import NumberedExamples
from pydlx.training.options import parse_options
from pydlx.training.relating import (
    ThresholdSearch,
    binary_cross_entropy,
    frequent_relations,
    named_facts,
)

TINY = ["hidden=8", "word_dim=8", "pair_size=16", "block=8", "further=character_filters=4,joint=16", "batch_size=4"]
FAST = ["lr=0.02", "dropout=0", "word_dropout=0", "decay=none"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return document_file(tmp_path_factory.mktemp("documents") / "documents.json")


def train(data, out, *words):
    fixed = [f"data={data}", f"out={out}", *TINY, "progress=false", "accelerator=cpu"]
    return main(["train", "relation", *fixed, *words])


def logged(out, column):
    """Returns the logged values of a score, by step."""
    rows = [row for path in sorted(out.glob("csv/*/metrics.csv")) for row in csv.DictReader(path.open())]
    return {int(row["step"]): float(row[column]) for row in rows if row.get(column)}


def facts(found):
    return {(each.head, each.tail, each.relation) for each in found}


@pytest.mark.parametrize("loss", ["adaptive_threshold", "adaptive_focal", "cross_entropy"])
def test_it_learns_documents_by_heart(data, tmp_path, capsys, loss):
    """The saved model finds the relations of other documents of the same kind, too."""
    words = [f"val={data}", f"loss={loss}", "epochs=20", "val_every=20"]
    assert train(data, tmp_path, *FAST, *words) == 0
    shown = capsys.readouterr().out
    read = f"read {data}: 8 documents, 24 entities, 32 mentions, 24 facts\n"
    assert shown.startswith(f"{read * 2}train: 8 examples of 8 documents, 48 pairs\nval: 8 examples of 8 documents")
    assert logged(tmp_path, "val/f1") == logged(tmp_path, "val/frequent_f1") == {39: 1}
    assert logged(tmp_path, "val/ign_f1") == {39: 0}  # validated on the training documents, all facts are seen
    assert logged(tmp_path, "val/long_tail_f1") == {39: 0}  # all relations are among the ten most common
    assert bool(logged(tmp_path, "val/threshold")) == (loss == "cross_entropy")
    model = load_model(tmp_path / "best.ckpt")
    for one, found in zip(DOCUMENTS, find_all_relations(model, DOCUMENTS), strict=True):
        assert facts(found) == {fact[:3] for fact in one.facts}
    assert facts(find_relations(model, document(12))) == {fact[:3] for fact in document(12).facts}


def test_it_validates_by_documents_that_it_holds_back(data, tmp_path, capsys):
    assert train(data, tmp_path, "hold_out=2", "max_steps=1", "train_limit=5") == 0
    shown = capsys.readouterr().out
    assert "train: 5 examples of 5 documents, 30 pairs\nval: 2 examples of 2 documents, 12 pairs\n" in shown
    options = parse_options(recipe.RelationOptions, [f"data={data}", "hold_out=2"])
    training, held_out = recipe._documents(options, None)
    assert [one.title for one in held_out] == ["Anna 2", "Anna 6"]
    assert [one.title for one in training] == [f"Anna {number}" for number in (0, 1, 3, 4, 5, 7)]


def test_it_goes_on_where_it_stopped(data, tmp_path):
    words = [f"val={data}", "loss=cross_entropy", "decay=none", "warmup=0"]
    assert train(data, tmp_path / "whole", *words, "epochs=3") == 0
    for epochs in (2, 3):
        assert train(data, tmp_path / "parts", *words, f"epochs={epochs}") == 0
    whole, parts = (load_model(tmp_path / name / "last.ckpt") for name in ("whole", "parts"))
    # Also the threshold, which is not trained by gradient.
    for name, weight in whole.state_dict().items():
        assert torch.equal(parts.state_dict()[name], weight), name


def test_averaged_weights_have_the_threshold_that_they_were_validated_with(data, tmp_path):
    assert train(data, tmp_path, f"val={data}", "loss=cross_entropy", "epochs=3", "lr=0.02", "ema=0.5") == 0
    thresholds = logged(tmp_path, "val/threshold")
    assert len(set(thresholds.values())) > 1
    assert load_model(tmp_path / "last.ckpt").threshold.item() == pytest.approx(thresholds[5])


def test_options_reach_the_model(data, tmp_path):
    names = tmp_path / "rel2id.json"
    names.write_text(json.dumps({"Na": 0, "lives in": 1, "born in": 2, "home of": 3, "eats": 4}))
    words = [f"relations={names}", "entity_types=false", "entity_numbers=3", "context=attention", "mention=mean"]
    further = ["top_k=4", "max_length=12", "characters=false", "max_steps=1", "hold_out=1", "layers=2"]
    assert train(data, tmp_path, *words, *further) == 0
    model = load_model(tmp_path / "last.ckpt")
    wanted = {"relations": 5, "types": 0, "numbers": 3, "context": "attention", "mention": "mean", "layers": 2}
    assert {name: model.model_options[name] for name in wanted} == wanted
    assert model.model_options["character_count"] == 0
    assert model.companion["relations"] == ["Na", "lives in", "born in", "home of", "eats"]
    assert (model.companion["top_k"], model.companion["max_length"]) == (4, 12)


def test_words_that_no_document_has_keep_their_vectors(data, tmp_path):
    glove = tmp_path / "glove.txt"
    glove.write_text("in 1 2\nvienna 3 4\nanna 5 6\nbaku 7 8\n")
    assert train(data, tmp_path, f"vectors={glove}", "vector_words=2", "max_steps=2", "hold_out=1", "lr=1") == 0
    model = load_model(tmp_path / "last.ckpt")
    assert model.companion["featurizer"]["vocabulary"] == ["in", "Anna", "vienna"]
    assert model.encoder.words.fixed.tolist() == [[0, 0], [0, 0], [1, 2], [5, 6], [3, 4]]
    assert (
        train(data, tmp_path / "tuned", f"vectors={glove}", "further=tune_partial=2", "max_steps=1", "hold_out=1") == 0
    )
    assert load_model(tmp_path / "tuned" / "last.ckpt").encoder.words.tuned.shape == (2, 2)


def test_what_is_found_is_scored_as_in_the_validation(data, tmp_path, capsys):
    test = document_file(tmp_path / "test.json", [*(document(number) for number in range(9, 13)), ALONE, BARE])
    words = [f"val={test}", "loss=cross_entropy", "epochs=2", "val_every=2", "lr=0.02"]
    assert train(data, tmp_path, *words) == 0
    out = tmp_path / "facts.json"
    assert main(["predict", "--checkpoint", str(tmp_path / "best.ckpt"), "--data", str(test), "--out", str(out)]) == 0
    assert re.search(r"6 documents: \d+ relations, written to", capsys.readouterr().out)
    found = relation_score(list(read_docred(test)), json.loads(out.read_text()), train=list(read_docred(data)))
    assert found["predicted"] > 0
    for name in ("f1", "precision", "recall", "ign_f1", "frequent_f1", "long_tail_f1"):
        assert next(iter(logged(tmp_path, f"val/{name}").values())) == pytest.approx(found[name], abs=1e-6)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["loss=focal"], "relation: loss must be one of 'cross_entropy', 'adaptive_threshold', 'adaptive_focal'"),
        (["top_k=0"], "relation: top_k must be positive, got 0"),
        (["gamma=-1"], "relation: gamma must be zero or positive"),
        (["hold_out=8"], "relation: hold_out must leave some of the 8 documents of data, got 8"),
        (["val=none.json"], "relation: val: no such file: 'none.json'"),
        (["relations=none.json"], "relation: relations: no such file: 'none.json'"),
        (["encoder_lr=0"], "relation: encoder_lr must be positive, got 0.0"),
        (
            ["further=bigram_count=3", "hold_out=1"],
            "relation: further must not hold bigram_count, which follows from the texts",
        ),
    ],
)
def test_options_that_do_not_fit_are_refused(data, tmp_path, capsys, words, message):
    assert train(data, tmp_path, *words) == 2
    assert message in capsys.readouterr().err


# Its facts remain, but it has no tokens.
WORDLESS = RelationDocument("Wordless", (), ((), ()), (Fact(0, 1, "born in"),))


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ([], "hold_out must leave some of the 0 documents"),
        ([ALONE] * 9, "data must hold a fact of a document with two entities and words, got none in 8 documents"),
        ([WORDLESS] * 9, "data must hold a fact of a document with two entities and words, got none in 8 documents"),
        (
            [DOCUMENTS[0], ALONE, DOCUMENTS[1]],
            "val must hold a fact, and a document with two entities for each process",
        ),
    ],
)
def test_data_without_facts_are_refused(tmp_path, capsys, documents, message):
    assert train(document_file(tmp_path / "documents.json", documents), tmp_path, "hold_out=1") == 2
    assert message in capsys.readouterr().err


def test_cross_entropy_is_summed_over_relations():
    logits, labels = torch.tensor([[9.0, 1.0, -2.0], [9.0, 0.5, 3.0]]), torch.tensor([[0, 1, 0], [1, 0, 0]])
    likely = logits[:, 1:].double().sigmoid()
    each = -torch.where(labels[:, 1:] == 1, likely.log(), (1 - likely).log())
    assert binary_cross_entropy(logits, labels.bool()).item() == pytest.approx(each.sum().item() / 2)
    assert binary_cross_entropy(logits[:0], labels[:0]).item() == 0


def test_the_threshold_is_the_best_one():
    random = np.random.default_rng(0)
    search, scores, target = (
        ThresholdSearch(),
        random.normal(-3, 2, (40, 5)).astype(np.float32),
        random.random((40, 5)) < 0.2,
    )
    scores[target] += 2
    for rows in (slice(0, 10), slice(10, 40)):
        search.update(torch.from_numpy(scores[rows]), torch.from_numpy(target[rows]))
    found = search.compute()

    def f1(threshold):
        taken = scores > np.float32(threshold)
        return 2 * (taken & target).sum() / max(1, taken.sum() + target.sum())

    assert f1(found) == max(f1(edge) for edge in search.edges.tolist())
    search.reset()
    search.update(torch.tensor([[11.0]]), torch.tensor([[False]]))
    assert search.compute() == -10  # there are no true facts: all thresholds are equally good


def test_every_process_has_its_own_documents():
    examples = relation_set([*DOCUMENTS, ALONE])
    parts = [NumberedExamples(examples, process, 3) for process in range(3)]
    assert sorted(number for part in parts for number in part.numbers) == list(range(8))
    batch, numbers = parts[1].collate([parts[1][0], parts[1][2]])
    assert len(batch.sizes) == 2 and numbers.tolist() == [parts[1].numbers[0], parts[1].numbers[2]]


def test_common_relations_and_names_are_those_of_the_training():
    assert frequent_relations(DOCUMENTS) == sorted(RELATIONS[1:])
    assert named_facts(DOCUMENTS[:1]) == {
        ("Anna0", "Rome", "born in"),
        ("Anna", "Rome", "born in"),
        ("Anna0", "old Lima", "lives in"),
        ("Anna", "old Lima", "lives in"),
        ("old Lima", "Anna0", "home of"),
        ("old Lima", "Anna", "home of"),
    }
