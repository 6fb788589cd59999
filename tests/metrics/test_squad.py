"""SQuAD's scores against published predictions, hand-computed numbers and torchmetrics."""

import copy
import json
import pickle
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from metrics.reading_samples import data_set

from pydlx.metrics import SquadScore, plot_answer_curves, squad_answer_scores, squad_curves, squad_score

# Official predictions of two systems on two parts of SQuAD 1.1's dev set, and what the official script says of them.
PUBLISHED = [
    ("r-net-plus", "expmrc-squad-dev", 80.23952, 87.51135),
    ("r-net-plus", "xquad.en", 72.77311, 83.40803),
    ("logistic-regression", "expmrc-squad-dev", 36.92615, 48.01021),
    ("logistic-regression", "xquad.en", 34.53782, 45.85233),
]


@pytest.mark.parametrize(("system", "part", "exact", "f1"), PUBLISHED)
def test_published_predictions(shared_data, system, part, exact, f1):
    files = shared_data / "squad" / f"{part}.json", shared_data / "squad" / f"predictions-{system}.json"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scores = squad_score(*files)
    assert scores == pytest.approx({"exact_match": exact, "f1": f1}, abs=1e-5)


@pytest.mark.parametrize(
    ("prediction", "golds", "expected"),
    [
        ("The Denver-Broncos!", ["denverbroncos"], (1, 1)),
        ("a  cat\tand the dog", ["cat and dog"], (1, 1)),
        ("theatre", ["atre"], (0, 0)),
        ("a\u2013b", ["b"], (0, 0)),  # the en dash stays: a word of one dash and a letter, without its article
        ("red red dog", ["red dog dog"], (0, 2 / 3)),
        ("dog", ["black dog", "dog house of mine"], (0, 2 / 3)),
        ("black dog", ["dog black", "black"], (0, 1)),
        ("", [""], (1, 0)),
        ("the", ["an"], (1, 0)),
        ("", ["x"], (0, 0)),
    ],
)
def test_answers_by_the_rules_of_1_1(prediction, golds, expected):
    assert squad_answer_scores(prediction, golds) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("prediction", "golds", "expected"),
    [
        ("", [], (1, 1)),
        ("the", [], (1, 1)),
        ("x", [], (0, 0)),
        ("", ["x"], (0, 0)),
        ("", ["the", "x"], (0, 0)),  # what is nothing after normalising is no right answer beside another one
        ("", ["the"], (1, 1)),
        ("red dog", ["dog"], (0, 2 / 3)),
    ],
)
def test_answers_by_the_rules_of_2_0(prediction, golds, expected):
    assert squad_answer_scores(prediction, golds, "2.0") == pytest.approx(expected)


GOLDS = {"q1": ["cat"], "q2": ["black dog"], "q3": [], "q4": [], "q5": ["red", "blue"]}
ANSWERS = {"q1": "a cat", "q2": "dog", "q3": "x", "q4": "", "q5": "", "of no question": "y"}
PROBS = {"q4": 0.9, "q2": 0.4, "q3": 0.4, "q1": 0.1, "q5": 0.2, "of no question": 0.0}


def test_version_2():
    scores = squad_score(data_set(GOLDS), ANSWERS, "2.0")
    expected = {
        "exact": 40,
        "f1": 160 / 3,
        "total": 5,
        "HasAns_exact": 100 / 3,
        "HasAns_f1": 500 / 9,
        "HasAns_total": 3,
    }
    expected |= {"NoAns_exact": 50, "NoAns_f1": 50, "NoAns_total": 2}
    assert scores == pytest.approx(expected)
    assert list(scores) == list(expected)


def test_version_2_with_no_answer_probabilities():
    scores = squad_score(data_set(GOLDS), ANSWERS, "2.0", na_probs=PROBS, na_threshold=0.3)
    assert (scores["exact"], scores["f1"]) == (60, 60)
    assert (scores["HasAns_exact"], scores["NoAns_exact"]) == pytest.approx((100 / 3, 100))
    assert (scores["best_exact"], scores["best_exact_thresh"]) == (60, 0.1)
    assert scores["pr_exact_ap"] == pytest.approx(100 / 3)
    assert scores["pr_f1_ap"] == pytest.approx(100 * (1 / 3 + 5 / 12 * 2 / 9))
    assert scores["pr_oracle_ap"] == pytest.approx(100 * (2 / 3 + 1 / 4))
    assert squad_score(data_set(GOLDS), ANSWERS, "2.0", na_probs=PROBS, na_threshold=0.4)["exact"] == 40


def test_the_best_threshold_is_looked_for_between_equal_probabilities():
    """q2 comes before q3 among those of 0.4, and no threshold parts them: 11/3 is out of reach."""
    scores = squad_score(data_set(GOLDS), ANSWERS, "2.0", na_probs=PROBS)
    assert (scores["best_f1"], scores["best_f1_thresh"]) == pytest.approx((100 * (3 + 2 / 3) / 5, 0.4))
    turned = {key: PROBS[key] for key in sorted(PROBS, reverse=True)}
    scores = squad_score(data_set(GOLDS), ANSWERS, "2.0", na_probs=turned)
    assert (scores["best_f1"], scores["best_f1_thresh"]) == (60, 0.1)


def test_the_best_threshold_is_the_first_and_none_may_be_best():
    golds, probs = {"a": ["x"], "b": []}, {"a": -3, "b": -2}
    scores = squad_score(data_set(golds), {"a": "y", "b": "y"}, "2.0", na_probs=probs, na_threshold=-4)
    assert (scores["best_exact"], scores["best_exact_thresh"]) == (50, 0)
    assert scores["exact"] == 50
    scores = squad_score(data_set(golds), {"a": "x", "b": ""}, "2.0", na_probs=probs)
    assert (scores["best_exact"], scores["best_exact_thresh"]) == (100, -3)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([[], ["x"], ["x y"]]), st.sampled_from(["", "x", "z"]), st.integers(-2, 3)),
        min_size=1,
        max_size=6,
        unique_by=lambda question: question[2],
    )
)
def test_the_best_threshold_is_the_best_of_all_where_no_two_probabilities_are_equal(questions):
    keys = [f"q{number}" for number in range(len(questions))]
    golds, answers, probs = (dict(zip(keys, column, strict=True)) for column in zip(*questions, strict=True))
    data = data_set(golds)
    scores = squad_score(data, answers, "2.0", na_probs=probs)
    tried = [squad_score(data, answers, "2.0", na_probs=probs, na_threshold=p) for p in (-9, *probs.values())]
    for kind in ("exact", "f1"):
        assert scores[f"best_{kind}"] == pytest.approx(max(one[kind] for one in tried))


def test_curves(tmp_path):
    curves = squad_curves(data_set(GOLDS), ANSWERS, PROBS)
    assert list(curves) == ["exact", "f1", "oracle"]
    np.testing.assert_allclose(curves["f1"].precision, [1, 1, 1 / 2, 5 / 12, 1 / 3])
    np.testing.assert_allclose(curves["f1"].recall, [0, 1 / 3, 1 / 3, 5 / 9, 5 / 9])
    np.testing.assert_allclose(curves["oracle"].precision, [1, 1, 1, 3 / 4, 3 / 5])
    pytest.importorskip("matplotlib")
    _, axes = plot_answer_curves(curves, tmp_path / "curves.png")
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "exact   0.333",
        "f1   0.426",
        "oracle   0.917",
    ]
    assert (tmp_path / "curves.png").stat().st_size > 1000


def test_data_of_unanswerable_questions_alone():
    scores = squad_score(data_set({"a": []}), {"a": ""}, "2.0", na_probs={"a": 0.5})
    assert scores.keys() == {
        "exact",
        "f1",
        "total",
        "NoAns_exact",
        "NoAns_f1",
        "NoAns_total",
        "best_exact",
        "best_exact_thresh",
        "best_f1",
        "best_f1_thresh",
    }
    with pytest.raises(ValueError, match="squad_curves: data must have a question with an answer, got none"):
        squad_curves(data_set({"a": []}), {"a": ""}, {"a": 0.5})


def test_missing_predictions():
    golds = {"a": ["x"], "b": ["y"], "c": ["z"]}
    with pytest.warns(UserWarning, match="1 of 3 questions have no prediction and score 0: 'c'"):
        assert squad_score(data_set(golds), {"a": "x", "b": "-"})["exact_match"] == pytest.approx(100 / 3)
    for version in ("1.1", "2.0"):
        with pytest.raises(ValueError, match=r"predictions must have every question .* got none for 'b', 'c'"):
            squad_score(data_set(golds), {"a": "x"}, version, missing="error")
    with pytest.raises(ValueError, match="predictions must have every question"):
        squad_score(data_set(golds), {"a": "x"}, "2.0")
    with pytest.warns(UserWarning, match="2 of 4"):
        scores = squad_score(
            data_set(golds | {"d": []}),
            {"a": "x", "b": "y"},
            "2.0",
            na_probs={"a": 0, "b": 0.5, "d": 1},
            missing="zero",
        )
    assert (scores["exact"], scores["HasAns_exact"], scores["NoAns_exact"]) == pytest.approx((50, 200 / 3, 0))
    assert (scores["best_exact"], scores["best_exact_thresh"]) == (50, 0.5)
    assert scores["pr_oracle_ap"] == pytest.approx(200 / 3), "recall is of all answerable questions"


def test_forms_of_data(tmp_path):
    whole = data_set({"a": ["x"]})
    (tmp_path / "data.json").write_text("\ufeff" + json.dumps(whole), encoding="utf-8")
    (tmp_path / "predictions.json").write_text('{"a": "x"}')
    paths = tmp_path / "data.json", str(tmp_path / "predictions.json")
    for data in (whole, whole["data"], tuple(whole["data"]), paths[0]):
        for predictions in ({"a": "x"}, paths[1]):
            assert squad_score(data, predictions) == {"exact_match": 100, "f1": 100}
    with pytest.warns(UserWarning, match=r"the data's version is 'v2.0', scored by the rules of 1.1"):
        squad_score(whole | {"version": "v2.0"}, {"a": "x"})


def test_ids_that_are_numbers(tmp_path):
    """COVID-QA has them, and read_squad reads them; keys of a JSON file are strings."""
    path = tmp_path / "data.json"
    path.write_text('{"data": [{"paragraphs": [{"context": "", "qas": [{"id": 7, "answers": [{"text": "x"}]}]}]}]}')
    assert squad_score(path, {"7": "x"}) == {"exact_match": 100, "f1": 100}
    with pytest.raises(TypeError, match="must have an 'id' that is a string, got True"):
        squad_score([{"qas": [{"id": True, "answers": ["x"]}]}], {})


@pytest.mark.parametrize(
    ("data", "predictions", "message"),
    [
        (b'{"data": []}', b"{}", "data '.*data.json' must have a question, got none"),
        (b"[{}", b"{}", r"data '.*data.json' must be JSON, got 'Expecting ',' delimiter' in line 1, column 4"),
        (b'["\xff"]', b"{}", r"data '.*data.json' must be UTF-8, got byte 0xff at position 2"),
        (b'{"a": 3}', b"{}", "data '.*data.json' must be a path, SQuAD's dict with 'data', or its list, got {'a': 3}"),
        (b"[3]", b"{}", r"data '.*'\[0\] must be an article with 'paragraphs', got 3"),
        (b'[{"paragraphs": [3]}]', b"{}", r"data '.*'\[0\] must have paragraphs with a list 'qas', got 3"),
        (b'[{"qas": [{"answers": []}]}]', b"{}", r"data '.*'\[0\] must have an 'id' that is a string, got None"),
        (b'[{"qas": [{"id": "a"}]}]', b"{}", r"data '.*'\[0\] must have questions with a list 'answers', got None"),
        (
            b'[{"qas": [{"id": "a", "answers": [5]}]}]',
            b"{}",
            r"data '.*'\[0\] must have answers that are strings, got 5",
        ),
        (
            b'[{"qas": [{"id": "a", "answers": []}, {"id": "a", "answers": []}]}]',
            b"{}",
            "each question once, got 'a' twice",
        ),
        (
            b'[{"qas": [{"id": "a", "answers": []}]}]',
            b"{}",
            'data must have an answer for every question in version "1.1"',
        ),
        (b"[" * 100_000, b"{}", "data '.*data.json' must be JSON of a few levels, got more"),
        (None, b"[]", r"predictions '.*' must be answers by question, as a path or a dict, got \[\]"),
        (None, b'{"a": 5}', "predictions '.*' must be strings, got 5 for question 'a'"),
        (None, b'{"a": null}', "predictions '.*' must be strings, got None for question 'a'"),
        (None, b'{"a": "x", "b": "", "a": "x"}', "predictions '.*' must have each key once, got 'a' twice"),
        (None, '{"a": "é"}'.encode("latin-1"), "predictions '.*' must be UTF-8, got byte 0xe9 at position 7"),
    ],
)
def test_bad_files(tmp_path, data, predictions, message):
    good = json.dumps(data_set({"a": ["x"]})).encode()
    (tmp_path / "data.json").write_bytes(good if data is None else data)
    (tmp_path / "predictions.json").write_bytes(predictions)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises((ValueError, TypeError), match=f"^squad_score: .*{message}"):
            squad_score(tmp_path / "data.json", tmp_path / "predictions.json")


def test_bad_probabilities():
    data = data_set({"a": ["x"], "b": []})
    for probs, message in (
        ({"a": 0.5}, "na_probs must have every answered question, got none for 'b'"),
        ({"a": 0.5, "b": "0.5"}, "na_probs must be numbers, got '0.5' for question 'b'"),
        ({"a": 0.5, "b": float("nan")}, "na_probs must be numbers, got nan for question 'b'"),
        ({"a": 0.5, "b": 10**400}, "na_probs must be numbers that float64 can hold, got a larger one"),
    ):
        with pytest.raises((ValueError, TypeError), match=f"^squad_score: {message}"):
            squad_score(data, {"a": "x", "b": ""}, "2.0", na_probs=probs)
    with pytest.raises(ValueError, match=r'na_probs must be None in version "1\.1"'):
        squad_score(data_set({"a": ["x"]}), {"a": "x"}, na_probs={"a": 0})


WORDS = st.lists(st.sampled_from(["the", "a", "cat", "dog.", "Red", "...", "é", "\u2014an\u2014"]), max_size=5).map(
    " ".join
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(WORDS, st.lists(WORDS, max_size=3)), min_size=1, max_size=6))
def test_the_metric_gives_what_the_function_gives(pairs):
    golds = {f"q{number}": entry for number, (_, entry) in enumerate(pairs)}
    answers = {f"q{number}": text for number, (text, _) in enumerate(pairs)}
    metric = SquadScore("2.0")
    half = len(pairs) // 2
    for part in (pairs[:half], pairs[half:]):
        metric.update([text for text, _ in part], [entry for _, entry in part])
    results = {key: value.item() for key, value in metric.compute().items()}
    expected = squad_score(data_set(golds), answers, "2.0")
    assert {key: results[key] for key in expected} == pytest.approx(expected)
    if all(golds.values()):
        metric = SquadScore()
        metric.update(preds=list(answers.values()), target=list(golds.values()))
        assert {key: value.item() for key, value in metric.compute().items()} == pytest.approx(
            squad_score(data_set(golds), answers)
        )


def test_what_was_not_seen_is_nan():
    scores = SquadScore("2.0")
    scores.update(["x"], [["x"]])
    values = scores.compute()
    assert values["NoAns_exact"].isnan() and values["NoAns_total"] == 0 and values["exact"] == 100
    empty = SquadScore()
    empty.update([], [])
    assert empty.compute()["f1"].isnan()


def test_life_of_a_metric():
    metric = SquadScore()
    assert metric(["x", "y"], [["x"], ["z"]])["exact_match"] == 50
    assert metric(["x"], [["x"]])["exact_match"] == 100, "forward gives the batch's score"
    for same in (metric, copy.deepcopy(metric), pickle.loads(pickle.dumps(metric))):
        assert same.compute()["exact_match"].item() == pytest.approx(200 / 3)
    metric.reset()
    assert not metric.sums.any()
    with pytest.raises(ValueError, match="target must be a list of strings for each text, 1 in all, got 2"):
        metric.update(["x"], [["x"], ["y"]])


def test_beside_torchmetrics():
    """Where every answer has words the numbers are equal; it has 2.0's rule for nothing, and no unanswerable ones."""
    peer = pytest.importorskip("torchmetrics.text").SQuAD

    def peers(predictions, golds):
        metric = peer()
        texts = [{"prediction_text": text, "id": str(number)} for number, text in enumerate(predictions)]
        target = [{"answers": {"text": gold, "answer_start": [0]}, "id": str(n)} for n, gold in enumerate(golds)]
        metric.update(texts, target)
        return {key: value.item() for key, value in metric.compute().items()}

    def ours(predictions, golds):
        metric = SquadScore()
        metric.update(predictions, golds)
        return {key: value.item() for key, value in metric.compute().items()}

    words = ["the red dog", "blue", "a cat!", "dog red"], [["red dog", "dog"], ["blue sky"], ["cat"], ["red dog house"]]
    assert ours(*words) == pytest.approx(peers(*words), rel=1e-6)
    assert (peers([""], [["the"]])["f1"], ours([""], [["the"]])["f1"]) == (100, 0)
    with pytest.raises(ValueError, match="empty"):
        peers(["x"], [[]])


def test_goes_into_a_metric_collection():
    peers = pytest.importorskip("torchmetrics")
    collection = peers.MetricCollection({"old": SquadScore(), "new": SquadScore("2.0")})
    collection.update(["", "x"], [["the"], ["x y"]])
    scores = collection.compute()
    assert scores["old_f1"].item() == pytest.approx(100 / 3)
    assert scores["new_f1"].item() == pytest.approx(100 * (1 + 2 / 3) / 2)
    assert torch.is_tensor(scores["new_HasAns_total"])
