"""The examples about gaps, choices and documents: questions split by story, and what no model is needed for."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

pytest.importorskip("tokenizers")
pytest.importorskip("msgspec")

from task_samples import ANIMALS, cloze_files, dream_file, dureader_file

from pydlx.data.reading import Question, read_cmrc2017

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(monkeypatch, script, *words):
    monkeypatch.setattr(sys, "argv", [script, *map(str, words)])
    runpy.run_path(str(EXAMPLES / script), run_name="__main__")


def test_questions_about_one_story_stay_together():
    stories = runpy.run_path(str(EXAMPLES / "split_cloze.py"))["stories"]
    lines = [" ".join(f"{letter}{n}" for n in range(8)) for letter in "abcdef"]
    parts = {"1": (0, 1), "2": (2,), "3": (3, 4), "4": (2, 3), "5": (1, 5)}
    questions = [Question(id, "\n".join([*(lines[n] for n in own), "short"]), "XXXXX") for id, own in parts.items()]
    assert [[q.id for q in story] for story in stories(questions)] == [["2", "3", "4"], ["1", "5"]]


def test_cloze_files_are_split(monkeypatch, tmp_path, capsys):
    passages, words = cloze_files(tmp_path)
    run(monkeypatch, "split_cloze.py", passages, words, "--held-out", 3, "--out", tmp_path / "out")
    assert capsys.readouterr().out == "train: 5 questions about 5 stories\nval: 3 questions about 3 stories\n"
    parts = [
        list(read_cmrc2017(tmp_path / "out" / f"{name}.doc_query", tmp_path / "out" / f"{name}.answer"))
        for name in ("train", "val")
    ]
    whole = {question.id: question for question in read_cmrc2017(passages, words)}
    assert {question.id: question for part in parts for question in part} == whole


def test_some_questions_must_be_left_to_train_on(monkeypatch, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run(monkeypatch, "split_cloze.py", *cloze_files(tmp_path), "--out", tmp_path / "out")
    assert "--held-out must leave questions to train on, got 400 of 8" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_what_stands_out_is_scored(monkeypatch, tmp_path, capsys):
    passages, words = cloze_files(tmp_path)
    given = [passages, "--kind", "cloze", "--answers", words, "--train", passages, words]
    run(monkeypatch, "reading_baselines.py", *given)
    lines = dict(line.split(": ") for line in capsys.readouterr().out.splitlines())
    # Of two animals that stand twice each the first one sleeps.
    assert lines["most frequent word"] == "100.0 % right of 8 questions"
    assert len(lines) == 3
    assert len(ANIMALS) == 8


def test_choices_and_paragraphs_are_scored(monkeypatch, tmp_path, capsys):
    data = dream_file(tmp_path / "dream.json")
    run(monkeypatch, "reading_baselines.py", data, "--kind", "choice", "--train", data)
    places, *alike = capsys.readouterr().out.splitlines()
    assert places.startswith("place that is right most often: ")
    assert [line.partition(":")[0] for line in alike] == ["sliding_window", "tf_idf"]
    run(monkeypatch, "reading_baselines.py", dureader_file(tmp_path / "dureader.jsonl"), "--kind", "free_answer")
    lines = capsys.readouterr().out.splitlines()
    # "听说狐狸住在森林里。" for "狐狸住在森林里": P = 7 / 10, R = 1; 7 6 5 4 of 10 9 8 7 runs.
    assert lines[-1] == "tf_idf: ROUGE-L 85.1, BLEU-4 63.9 on 8 questions"
    assert len(lines) == 4
