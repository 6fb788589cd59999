"""``pydlx eval squad | cmrc | answers``: what they print, draw and refuse."""

import json

import pytest
from metrics.reading_samples import data_set

from pydlx.cli import main
from pydlx.metrics import squad_score

GOLDS = {"a": ["red dog"], "b": [], "c": ["一二三"]}
ANSWERS = {"a": "a dog", "b": "", "c": "一二"}


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A folder to work in, with data sets and predictions."""
    monkeypatch.chdir(tmp_path)

    def write(name, content):
        (tmp_path / name).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")

    write("v2.json", data_set(GOLDS, "v2.0"))
    write("v1.json", data_set({key: golds for key, golds in GOLDS.items() if golds}))
    write("answers.json", ANSWERS)
    write("probs.json", {"a": 0.1, "b": 0.9, "c": 0.3})
    write("free.jsonl", {"question_id": 1, "query_id": 1, "answers": ["天气 好"], "source": "search"})
    write("marco.jsonl", {"query_id": 1, "answers": ["No Answer Present."]})
    (tmp_path / "cloze").write_text("<qid_0> ||| 老虎\n", encoding="utf-8")
    return tmp_path


def printed(capsys, *words):
    """The exit code, stdout and stderr of a command."""
    code = main(["eval", *words])
    out, err = capsys.readouterr()
    return code, out, err


def table(out):
    return dict(line.split() for line in out.splitlines())


def test_squad(files, capsys):
    code, out, err = printed(capsys, "squad", "v1.json", "answers.json")
    assert (code, err) == (0, "")
    assert table(out) == {"exact_match": "0.00000", "f1": "33.33333"}
    code, out, _ = printed(capsys, "squad", "v1.json", "answers.json", "--json")
    assert json.loads(out) == {"results": squad_score("v1.json", "answers.json")}


def test_squad_2(files, capsys):
    pytest.importorskip("matplotlib")
    words = "squad", "v2.json", "answers.json", "--version", "2.0", "--na-probs", "probs.json"
    code, out, err = printed(capsys, *words, "--na-threshold", "0.2", "--plot", "curves.svg")
    assert (code, err) == (0, "")
    assert out.endswith("drawn to curves.svg\n")
    assert (files / "curves.svg").exists()
    shown = table(out.rpartition("drawn")[0])
    assert (shown["exact"], shown["total"], shown["best_f1_thresh"]) == ("33.33333", "3", "0.10000")
    code, out, _ = printed(capsys, *words, "--json")
    assert json.loads(out)["results"] == squad_score("v2.json", "answers.json", "2.0", na_probs="probs.json")


def test_missing_predictions_are_told(files, capsys):
    (files / "answers.json").write_text('{"a": "red dog"}')
    code, out, err = printed(capsys, "squad", "v1.json", "answers.json")
    assert (code, table(out)["f1"]) == (0, "50.00000")
    assert err == "warning: 1 of 2 questions have no prediction and score 0: 'c'\n"
    assert printed(capsys, "squad", "v1.json", "answers.json", "--missing", "error")[0] == 2


def test_cmrc(files, capsys):
    code, out, err = printed(capsys, "cmrc", "v1.json", "answers.json", "--words", "builtin")
    assert (code, err) == (0, "")
    assert table(out) == {"AVERAGE": "32.500", "F1": "65.000", "EM": "0.000", "TOTAL": "2", "SKIP": "0"}
    assert json.loads(printed(capsys, "cmrc", "v1.json", "answers.json", "--json")[1])["results"]["TOTAL"] == 2


def test_answers(files, capsys):
    code, out, err = printed(capsys, "answers", "free.jsonl", "free.jsonl", "--format", "dureader")
    assert (code, err) == (0, "")
    shown = table(out)
    assert (shown["Rouge-L"], shown["search|Rouge-L"], shown["zhidao|Rouge-L"]) == ("100.00", "100.00", "nan")
    assert printed(capsys, "answers", "free.jsonl", "free.jsonl", "--format", "dureader", "--task", "all")[0] == 2
    code, out, _ = printed(capsys, "answers", "marco.jsonl", "marco.jsonl", "--format", "marco", "--json")
    assert (code, json.loads(out)["results"]["F1"], json.loads(out)["results"]["rouge_l"]) == (0, 1, None)
    code, out, _ = printed(capsys, "answers", "cloze", "cloze", "--format", "cmrc2017")
    assert (code, table(out)) == (0, {"accuracy": "100.0000", "right": "1", "total": "1"})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("squad v2.json answers.json", 'data must have an answer for every question in version "1.1"'),
        ("squad nowhere.json answers.json", "nowhere.json"),
        ("squad v1.json cloze", "predictions 'cloze' must be JSON"),
        ("squad v1.json answers.json --version 3", "invalid choice: '3'"),
        ("squad v1.json answers.json --plot a.png", "--plot needs --na-probs and --version 2.0"),
        ("squad v1.json answers.json --na-probs probs.json", '--na-probs must be None in version "1.1"'),
        ("squad v1.json answers.json --skip-bad", "unrecognized arguments: --skip-bad"),
        ("cmrc v1.json probs.json", "predictions 'probs.json' must be strings, got 0.1 for question 'a'"),
        ("answers cloze cloze", "--format"),
        ("answers cloze free.jsonl --format cmrc2017", "predictions 'free.jsonl' must have ids of the data"),
        ("answers marco.jsonl marco.jsonl --format marco --task main", "--task needs --format dureader"),
    ],
)
def test_bad_input_in_one_line(files, capsys, words, message):
    code, out, err = printed(capsys, *words.split())
    assert (code, out) == (2, "")
    line = [line for line in err.splitlines() if not line.startswith("warning")]
    assert len(line) == 1
    assert message in line[0]
