"""CMRC2018's scores against hand-computed numbers and a slow form of its script."""

import importlib.util
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metrics.reading_samples import data_set, slow_cmrc

from pydlx.metrics import CmrcScore, cmrc_answer_scores, cmrc_score
from pydlx.metrics.reading.cmrc import _splitter


@pytest.mark.parametrize(
    ("prediction", "golds", "expected"),
    [
        ("光荣公司", ["光荣和ω-force", "光荣"], (0, 2 / 3)),
        ("《光荣》，和！", ["光荣和"], (1, 1)),
        (" ABC ", ["abc"], (1, 1)),
        ("中文 1,234 年", ["中文1,234年"], (0, 1)),  # EM minds spaces inside, F1 does not
        ("上下左右", ["上左右下"], (0, 1 / 2)),  # a run, not a subsequence: 左右
        ("", [""], (1, 0)),
        ("。", ["……", ""], (1, 0)),  # the ellipsis stays: it is on the list as two characters
        ("a……b", ["ab"], (0, 0)),
        ("一…", ["一"], (0, 2 / 3)),
        ("一,二.", ["一二"], (0, 1 / 3)),  # ASCII comma and full stop are not on the list; 一 , 二 . against 一 二
        ("‘一’", ["一"], (0, 2 / 3)),  # of these two quotation marks only the second one is
        ("a-b c_d", ["ab cd"], (1, 1)),
        ("ab cd", ["cd ab"], (0, 1 / 2)),
        ("\u9fa6\u9fa6", ["\u9fa6"], (0, 0)),  # beyond the range: two of them are one word
        ("\u9fa6 \u9fa6", ["\u9fa6"], (0, 2 / 3)),
        ("- 一", ["一"], (0, 1)),  # stripped before the hyphen goes, so that a space stays
    ],
)
@pytest.mark.parametrize("words", ["builtin", "nltk"])
def test_answers(prediction, golds, expected, words):
    if words == "nltk":
        pytest.importorskip("nltk.tokenize")
    assert cmrc_answer_scores(prediction, golds, words=words) == pytest.approx(expected)


TEXTS = st.text("一二三，。…’‘《-ab1 .,(（", max_size=9)


@settings(max_examples=150, deadline=None)
@given(TEXTS, st.lists(TEXTS, min_size=1, max_size=3))
def test_against_the_slow_form(prediction, golds):
    expected = slow_cmrc(prediction, golds, _splitter("", "builtin"))
    assert cmrc_answer_scores(prediction, golds, words="builtin") == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,234.5 km", ["1,234.5", "km"]),
        ("u.s. team, 2nd.", ["u.s.", "team", ",", "2nd", "."]),
        ("(3rd)", ["(", "3rd", ")"]),
        ("5% of $3; r&b", ["5", "%", "of", "$", "3", ";", "r", "&", "b"]),
        ("so... what?!", ["so", "...", "what", "?", "!"]),
        ("end.)", ["end", ".", ")"]),
        ("カタカナ ω", ["カタカナ", "ω"]),
        ("a,", ["a", ","]),
        (",,b,,,c,,", [",", ",b", ",", ",", ",", "c", ",", ","]),
    ],
)
def test_built_in_words(text, expected):
    assert _splitter("", "builtin")(text) == expected
    if importlib.util.find_spec("nltk"):
        assert _splitter("", "nltk")(text) == expected


@settings(max_examples=200, deadline=None)
@given(st.text("ab1.,(%?) ωé…", max_size=10))
def test_built_in_words_are_nltks_but_for_quotes_and_contractions(text):
    pytest.importorskip("nltk.tokenize")
    if ".." not in text:
        assert _splitter("", "builtin")(text) == _splitter("", "nltk")(text)


def test_data_set():
    data = data_set({" q1 ": ["光荣", "光荣公司"], "q2": ["一二三"], "q3": ["四"]})
    scores = cmrc_score(data, {"q1": "光荣公司", "q2": "二三四", "of no question": "x"})
    f1 = 100 * (1 + 2 / 3) / 3
    expected = {"AVERAGE": (f1 + 100 / 3) / 2, "F1": f1, "EM": 100 / 3, "TOTAL": 3, "SKIP": 1}
    assert scores == pytest.approx(expected)
    assert list(scores) == list(expected)


def test_the_first_form_of_the_data(tmp_path):
    passages = [{"context_id": "TRIAL_1", "context_text": "...", "qas": [{"query_id": "a", "answers": ["一", "二"]}]}]
    (tmp_path / "trial.json").write_text(json.dumps(passages, ensure_ascii=False), encoding="utf-8")
    assert cmrc_score(tmp_path / "trial.json", {"a": "二"})["EM"] == 100


def test_real_questions(shared_data):
    """Each answer of the first of three people by those of all three, and of the second by the same."""
    path = shared_data / "cmrc2018" / "cmrc2018_dev.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    questions = [qa for article in content["data"] for passage in article["paragraphs"] for qa in passage["qas"]]
    answers = {qa["id"]: qa["answers"][1]["text"] for qa in questions}
    assert cmrc_score(path, answers) == {"AVERAGE": 100, "F1": 100, "EM": 100, "TOTAL": 3219, "SKIP": 0}
    for qa in questions[::40]:
        gold = [qa["answers"][0]["text"]]
        expected = slow_cmrc(answers[qa["id"]], gold, _splitter("", "builtin"))
        assert cmrc_answer_scores(answers[qa["id"]], gold, words="builtin") == pytest.approx(expected)


def test_metric():
    metric = CmrcScore()
    metric.update(["光荣公司"], [["光荣", "光荣公司"]])
    metric.update(preds=["二三四", ""], target=[["一二三"], ["四"]])
    scores = {key: value.item() for key, value in metric.compute().items()}
    f1 = 100 * (1 + 2 / 3) / 3
    assert scores == pytest.approx({"AVERAGE": (f1 + 100 / 3) / 2, "F1": f1, "EM": 100 / 3, "TOTAL": 3})
    metric.reset()
    metric.update([], [])
    assert metric.compute()["F1"].isnan()


def test_bad_input():
    with pytest.raises(ValueError, match=r"^cmrc_score: data must have an answer for every question, got none for 'a'"):
        cmrc_score(data_set({"a": []}), {"a": ""})
    with pytest.raises(TypeError, match=r"^cmrc_score: predictions must be strings, got 5 for question 'a'"):
        cmrc_score(data_set({"a": ["x"]}), {"a": 5})
    with pytest.raises(ValueError, match=r"^CmrcScore: target must have a string for each text, got none at place 1"):
        CmrcScore().update(["x", "y"], [["x"], []])


def test_nltk_is_not_needed(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert cmrc_answer_scores("a b", ["b"]) == pytest.approx((0, 2 / 3))
