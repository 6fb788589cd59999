"""DuReader's, MS MARCO's and CMRC2017's scores by hand."""

import json
import math
import sys

import pytest

from pydlx.metrics import bleu, cmrc2017_score, dream_score, dureader_score, marco_score, rouge_l


def record(key, *answers, kind="DESCRIPTION", labels=(), entities=((),), **more):
    lists = {"answers": list(answers), "yesno_answers": list(labels), "entity_answers": [list(e) for e in entities]}
    return {"question_id": key, "question_type": kind, **lists, **more}


def spaced(text):
    return " ".join(text)


def expected(pairs):
    """Of pairs of a text and its references, as they are after normalising."""
    candidates, references = (
        [spaced(text) for text, _ in pairs],
        [[spaced(gold) for gold in golds] for _, golds in pairs],
    )
    return {"Bleu-4": 100 * bleu(candidates, references)[3], "Rouge-L": 100 * rouge_l(candidates, references)}


def test_dureader_main():
    """Blanks go, the first answer counts, one without references is dropped, one without prediction is empty."""
    truth = [record(1, "天气 很好\u3000啊", "好"), record(2), record(3, ""), record(4, "今天 下雨"), record(5, "", "")]
    given = [record(1, " 天气很\n好", "好"), record(3, "x"), record(9, "y")]
    pairs = [("天气很好", ["天气很好啊", "好"]), ("", ["今天下雨"]), ("", ["", ""])]
    assert dureader_score(truth, given) == pytest.approx(expected(pairs))
    assert dureader_score(truth[:1], given)["Rouge-L"] == pytest.approx(100)


def test_only_line_feeds_end_records(tmp_path):
    """U+2028 and U+0085 may stand in answers."""
    text = json.dumps(record(1, "一\u2028二\u0085三"), ensure_ascii=False) + "\r\n" + json.dumps(record(2, "四"))
    (tmp_path / "lines.jsonl").write_bytes(text.encode())
    assert dureader_score(tmp_path / "lines.jsonl", [record(1, "一二三"), record(2, "四")])["Rouge-L"] == 100


def test_dureader_by_source():
    truth = [record("a", "一二三四五", source="search"), record("b", "五", source="search")]
    scores = dureader_score(truth, [record("a", "一二三四六"), record("b", "五")])
    for key, value in expected([("一二三四六", ["一二三四五"]), ("五", ["五"])]).items():
        assert scores[key] == scores[f"search|{key}"] == pytest.approx(value)
        assert math.isnan(scores[f"zhidao|{key}"])


def test_dureader_yes_and_no():
    """Each label on its own: references of one label are merged, the first prediction of a label counts."""
    truth = [
        record("a", "可以的", "不可以", "可以", kind="YES_NO", labels=["Yes", "No", "Yes"]),
        record("b", "好", kind="YES_NO", labels=["Depends"]),
        record("c", "一二三四"),
    ]
    given = [record("a", "可以", "不行", "不可以", labels=["Yes", "Yes", "Depends"]), record("c", "一二三")]
    yes, no, depends = ("可以", ["可以的", "可以"]), ("", ["不可以"]), ("", ["好"])
    scores = dureader_score(truth, given, "yesno")
    assert {key: scores[key] for key in ("Bleu-4", "Rouge-L")} == pytest.approx(expected([yes, no, depends]))
    for label, pair in (("Yes", yes), ("No", no), ("Depends", depends)):
        own = {key: scores[f"{label}|{key}"] for key in ("Bleu-4", "Rouge-L")}
        assert own == pytest.approx(expected([pair]))
    rest = ("一二三", ["一二三四"])
    assert dureader_score(truth, given, "all") == pytest.approx(expected([yes, no, depends, rest]))
    assert dureader_score(truth, given, "description") == pytest.approx(expected([rest]))
    assert math.isnan(dureader_score(truth[1:], given, "yesno")["Yes|Bleu-4"])
    with pytest.raises(
        ValueError, match=r"predictions, question 'a', must have labels of Yes, No, Depends, got 'No idea'"
    ):
        dureader_score(truth, [record("a", "x", labels=["No idea"])], "yesno")


def test_dureader_entities():
    """Of a the second list fits best, 2 of 3 right; of b none does and the shortest counts; c was not answered."""
    truth = [
        record("a", "x", kind="ENTITY", entities=[["p"], ["q", "r", "s"]]),
        record("b", "y", kind="ENTITY", entities=[["p", "q"], ["r"]]),
        record("c", "z", entities=[["p"]]),
    ]
    given = [record("a", "x", entities=[["q", "r", "t", "t"]]), record("b", "y", entities=[["z"]])]
    scores = dureader_score(truth, given, "entity")
    precision, recall = 2 / 4, 2 / 5
    found = {
        "Precision": 100 * precision,
        "Recall": 100 * recall,
        "F1": 200 * precision * recall / (precision + recall),
    }
    assert scores == pytest.approx(expected([("x", ["x"]), ("y", ["y"])]) | found)
    nothing = dureader_score(truth, [record("a", "x", entities=[[]])], "entity")
    assert (nothing["Precision"], nothing["Recall"], nothing["F1"]) == (0, 0, 0)


@pytest.mark.parametrize(
    ("line", "task", "message"),
    [
        ("[]", "main", r"line 2 must be a record with fields, got \[\]"),
        ("{", "main", "line 2 must be JSON, got 'Expecting property name"),
        ("{}", "main", "line 2 must have a 'question_id', got None"),
        ('{"question_id": 7, "answers": "x"}', "main", "line 2 must have a list of strings 'answers', got 'x'"),
        ('{"question_id": 7, "answers": [5]}', "main", r"line 2 must have a list of strings 'answers', got \[5\]"),
        ('{"question_id": 1, "answers": []}', "main", "line 2 must be of a question of its own, got 1 again"),
        (
            '{"question_id": 7, "answers": []}',
            "entity",
            "line 2 must have a list 'entity_answers' of one list of strings",
        ),
        ('{"question_id": 2, "answers": ["x"]}', "yesno", "question '2', must have a list of strings 'yesno_answers'"),
    ],
)
def test_dureader_refuses(tmp_path, line, task, message):
    truth = [record(1, "x", entities=[[]]), record(2, "y", kind="YES_NO", labels=["Yes"])]
    (tmp_path / "given.jsonl").write_text(json.dumps(record(1, "x")) + "\n" + line + "\n\n")
    with pytest.raises(
        (ValueError, TypeError), match=f"^dureader_score: predictions '.*given.jsonl',? .*{message}|{message}"
    ):
        dureader_score(truth, tmp_path / "given.jsonl", task)
    with pytest.raises(ValueError, match="data must have a question with an answer for task 'entity', got none"):
        dureader_score(truth, [], "entity")
    with pytest.raises(TypeError, match=r"data\[0\] must have a 'question_type', got None"):
        dureader_score([{"question_id": 1, "answers": []}], [], "all")


def test_real_questions(shared_data):
    """Every answer against itself and the others of its question."""
    path = shared_data / "free_answer" / "dureader_search_dev.jsonl"
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    scores = dureader_score(path, records)
    assert scores["Rouge-L"] == pytest.approx(100)
    assert scores["Bleu-4"] == pytest.approx(100)


NONE = "No Answer Present."


def line(key, *answers):
    return {"query_id": key, "answers": list(answers)}


def test_marco():
    truth = [line(1, "It is Red .", "red"), line(2, NONE), line(3, NONE, "x"), line(4, "blue"), line(5, "a b"), line(6)]
    given = [line(1, "it is red"), line(2, "green", "two may be here"), line(3, NONE), line(4, NONE), line(5, "a c")]
    scores = marco_score(truth, given, tokenizer=str.split)
    assert scores.pop("F1") == pytest.approx(2 / 3), "TP 1 and 5; FN 4; FP 2"
    candidates, references = ["it is red", "", "a c"], [["it is red .", "red"], ["blue"], ["a b"]]
    values = bleu(candidates, references)
    assert scores == pytest.approx(
        {f"bleu_{k}": v for k, v in enumerate(values, 1)} | {"rouge_l": rouge_l(candidates, references)}
    )


def test_marco_where_something_is_nothing():
    assert marco_score([line(1, "x")], [line(1, NONE)], tokenizer=str.split)["F1"] == 0, "the script divides by zero"
    scores = marco_score([line(1, NONE)], [line(1, NONE)], tokenizer=str.split)
    assert scores["F1"] == 1
    assert math.isnan(scores["bleu_1"]) and math.isnan(scores["rouge_l"])


def test_marco_tokens():
    assert (
        marco_score([line(1, "a-b")], [line(1, "A - B ")], tokenizer=lambda text: [c for c in text if c != " "])[
            "bleu_1"
        ]
        > 0.99
    )


def test_marco_by_spacy(monkeypatch):
    pytest.importorskip("spacy")
    scores = marco_score([line(1, "It isn't red.")], [line(1, "it is n't red .")])
    assert scores["bleu_4"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([line(1, "x")], "predictions must have the questions of the data, got none for question 2"),
        ([line(1, "x"), line(2)], "predictions must have the questions of the data, got none for question 2"),
        ([line(1, "x"), line(2, "y"), line(7, "z")], "predictions must .*, got an answer of the unknown question 7"),
        ([line(1, "x"), line(2, "y", "z")], "predictions must have one answer at most, got 2 for question 2"),
        ([line(1, "x"), line(1, "y")], r"predictions\[1\] must be of a question of its own, got 1 again"),
        ([{"answers": []}], r"predictions\[0\] must have a 'query_id', got None"),
        ([{"query_id": 1, "answers": [3]}], r"predictions\[0\] must have a list of strings 'answers', got \[3\]"),
        ([], "predictions must have a question, got none"),
    ],
)
def test_marco_refuses(given, message):
    with pytest.raises((ValueError, TypeError), match=f"^marco_score: {message}"):
        marco_score([line(1, "x"), line(2, "y")], given, tokenizer=str.split)


def test_marco_says_what_it_needs(monkeypatch):
    from pydlx.metrics.reading import marco

    marco._spacy_words.cache_clear()
    monkeypatch.setitem(sys.modules, "spacy", None)
    monkeypatch.setitem(sys.modules, "spacy.lang.en", None)
    with pytest.raises(ImportError, match=r'needs spacy: pip install "pydlx\[answers\]"'):
        marco_score([line(1, "x")], [line(1, "x")])


def test_cloze(tmp_path):
    (tmp_path / "truth").write_text(
        "<qid_0> ||| 老虎\n<qid_1> ||| 苹果 \n\n<qid_2>|||树\n<qid_3> |||\r\n", encoding="utf-8"
    )
    (tmp_path / "given").write_text("<qid_1> ||| 苹果\n<qid_0> ||| 虎\n<qid_3>\n", encoding="utf-8")
    scores = cmrc2017_score(tmp_path / "truth", tmp_path / "given")
    assert scores == {"accuracy": 50, "right": 2, "total": 4}
    assert cmrc2017_score({"a": "x ", "b": "y"}, {"a": "x"})["accuracy"] == 50


@pytest.mark.parametrize(
    ("truth", "given", "message"),
    [
        ("a ||| x", "b ||| x", "predictions '.*given' must have ids of the data, got 'b'"),
        ("a ||| x", "a ||| x\na ||| x", "predictions '.*given' must have each id once, got 'a' again in line 2"),
        ("a ||| x\na ||| y", "", "data '.*truth' must have each id once, got 'a' again in line 2"),
        ("", "", "data '.*truth' must have a word, got none"),
    ],
)
def test_cloze_refuses(tmp_path, truth, given, message):
    (tmp_path / "truth").write_text(truth)
    (tmp_path / "given").write_text(given)
    with pytest.raises(ValueError, match=f"^cmrc2017_score: {message}"):
        cmrc2017_score(tmp_path / "truth", tmp_path / "given")


def test_real_cloze_answers(shared_data):
    path = shared_data / "cloze" / "cmrc2017_valid.answer"
    assert cmrc2017_score(path, path) == {"accuracy": 100, "right": 2000, "total": 2000}


def dialogue(*answers):
    return [[["a"], [{"question": "b", "choice": ["x", "y"], "answer": answer} for answer in answers], "7"]]


def test_choices():
    """Those whose answer is none of the choices, an empty one too, are never right."""
    data = dialogue("x", "y", "z", "", "x")
    scores = dream_score(data, {"7-0": "x", "7-1": "x", "7-2": "y", "7-3": ""})
    assert scores == {"accuracy": 20, "right": 1, "total": 5}
    for given, message in (
        ({"7-5": "x"}, "predictions must have ids of the data, got '7-5'"),
        ({"7-2": "z"}, "predictions must be choices of their question or empty, got 'z' for '7-2'"),
    ):
        with pytest.raises(ValueError, match=f"^dream_score: {message}"):
            dream_score(data, given)
