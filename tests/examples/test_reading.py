"""The examples about readers: clauses that share words, questions split by passage, results of a run."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest

pytest.importorskip("tokenizers")
pytest.importorskip("msgspec")

import pydlx
from pydlx.data.reading import Featurizer, TokenisedQuestions, create_tokeniser, read_squad
from pydlx.data.text.vocabulary import Vocabulary
from pydlx.models import save_model

EXAMPLES = Path(__file__).parents[2] / "examples"
PASSAGES = {
    "The red fox sleeps in a den. A grey owl hunts at night, but the hare eats grass.": {
        "Where does the red fox sleep?": "den",
        "When does the grey owl hunt?": "night",
    },
    "Snow fell in May. Rain came in June; the sun shone in July.": {"When did the sun shine?": "July"},
}


@pytest.fixture
def questions(tmp_path):
    paragraphs = []
    for passage, asked in PASSAGES.items():
        qas = [
            {"id": text, "question": text, "answers": [{"text": answer, "answer_start": passage.index(answer)}]}
            for text, answer in asked.items()
        ]
        paragraphs.append({"context": passage, "qas": qas})
    path = tmp_path / "questions.json"
    path.write_text(json.dumps({"version": "1.1", "data": [{"paragraphs": paragraphs}]}))
    return path


def run(monkeypatch, script, *words):
    monkeypatch.setattr(sys, "argv", [script, *map(str, words)])
    runpy.run_path(str(EXAMPLES / script), run_name="__main__")


def test_the_clause_that_shares_words_is_found(questions, monkeypatch, capsys):
    example = runpy.run_path(str(EXAMPLES / "reading_baselines.py"))
    words = create_tokeniser("words")
    for similarity in ("sliding_window", "tf_idf"):
        found = [example["best_clause"](q, example[similarity], words) for q in read_squad(questions)]
        assert found == ["The red fox sleeps in a den", "A grey owl hunts at night", "the sun shone in July"]
    run(monkeypatch, "reading_baselines.py", questions)
    # Of 6, 5 and 4 words, without articles, one is right: F1 of 2/6, 2/5 and 2/5.
    assert capsys.readouterr().out.count("exact match 0.0, F1") == 2


def test_questions_are_split_by_passage_whatever_the_order(questions, monkeypatch, tmp_path):
    for name in ("a", "b"):
        run(monkeypatch, "split_questions.py", questions, questions, "--share", 0.5, "--out", tmp_path / name)
    parts = [[{q.passage for q in read_squad(tmp_path / n / f"{p}.json")} for p in ("train", "val")] for n in "ab"]
    assert parts[0] == parts[1]
    assert not parts[0][0] & parts[0][1]
    assert parts[0][0] | parts[0][1] == set(PASSAGES)
    ids = [q.id for part in ("train", "val") for q in read_squad(tmp_path / "a" / f"{part}.json")]
    assert sorted(ids) == sorted(text for asked in PASSAGES.values() for text in asked)


def test_results_of_a_run_are_written(questions, monkeypatch, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    tokenised = TokenisedQuestions(questions, create_tokeniser("words"))
    featurizer = Featurizer(tokenised.tokeniser, Vocabulary.from_counts(tokenised.word_counts()), features=())
    model = pydlx.create_model("match_lstm", vocabulary_size=len(featurizer.vocabulary), word_dim=4, hidden=4)
    model.companion = {"featurizer": featurizer.state(), "max_passage": 400, "answer_length": 3}
    run_folder, out = tmp_path / "run", tmp_path / "out"
    (run_folder / "csv" / "version_0").mkdir(parents=True)
    (run_folder / "csv" / "version_0" / "metrics.csv").write_text("step,val/f1\n3,10.0\n7,20.0\n")
    save_model(model, run_folder / "best.ckpt")
    run(monkeypatch, "reading_results.py", questions, run_folder, "--answers", 2, "--out", out)
    size = sum(weights.numel() for weights in model.parameters())
    assert (out / "scores.md").read_text().splitlines()[2].startswith(f"| run | {size:,} | ")
    assert len((out / "answers.md").read_text().splitlines()) == 4
    assert (out / "curves.png").stat().st_size > 1000
