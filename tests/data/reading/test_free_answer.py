"""Reading the files of DuReader and MS MARCO."""

import json

import pytest

from pydlx.data.reading import Answer, AnswerReport, Document, read_dureader, read_marco

DUREADER = {
    "question_id": 7,
    "question": "几 天?",
    "question_type": "ENTITY",
    "answers": ["三天"],
    "answer_spans": [[1, 2]],
    "answer_docs": [1],
    "documents": [
        {
            "title": "a",
            "paragraphs": ["无"],
            "segmented_paragraphs": [["无"]],
            "is_selected": False,
            "most_related_para": 0,
        },
        {
            **{"title": "b", "paragraphs": ["", "要 三 天。"], "segmented_paragraphs": [[], ["要", "三", "天", "。"]]},
            **{"is_selected": True, "most_related_para": 1},
        },
    ],
}
PASSAGES = [
    {"passage_text": "It is 5.", "is_selected": 0, "url": "u"},
    {"passage_text": "Or 5 it is.", "is_selected": 1},
]
MARCO = {"query_id": 3, "query": "how many", "query_type": "NUMERIC", "passages": PASSAGES, "answers": ["five", "5"]}
NONE = {"query_id": 4, "query": "who", "passages": PASSAGES, "answers": ["No Answer Present."]}


def lines(path, *items):
    path.write_text("\n".join(json.dumps(item) for item in items) + "\n\n", encoding="utf-8")
    return path


def test_dureader_has_documents_references_and_a_span(tmp_path):
    [item] = read_dureader(lines(tmp_path / "a.json", DUREADER))
    assert (item.id, item.question, item.kind, item.references) == ("7", "几 天?", "ENTITY", ("三天",))
    assert item.documents == (Document("a", ("无",), False), Document("b", ("", "要 三 天。"), True))
    assert (item.training.passage, item.training.answers) == ("要 三 天。", (Answer("三 天", 2),))
    assert item.training.title == "b"


@pytest.mark.parametrize("change", [{"answer_spans": [[1, 9]]}, {"answer_spans": [[2, 1]]}, {"answer_docs": [5]}])
def test_dureader_spans_that_are_nowhere_are_noted(tmp_path, change):
    report = AnswerReport()
    [item] = read_dureader(lines(tmp_path / "a.json", DUREADER | change), report)
    assert item.training is None
    assert report.lost == [("7", "its answer span is not in its document")]


def test_dureader_test_files_have_no_answers(tmp_path):
    bare = {"question_id": 7, "question": "几", "documents": [{"title": "a", "paragraphs": ["无"]}]}
    report = AnswerReport()
    [item] = read_dureader(lines(tmp_path / "a.json", bare), report)
    assert (item.references, item.training, report.lost) == ((), None, [])


@pytest.mark.parametrize("columns", [False, True])
def test_marco_has_both_forms(tmp_path, columns):
    if columns:
        names = ("query_id", "query", "query_type", "passages", "answers")
        table = {name: {str(k): item[name] for k, item in enumerate((MARCO, NONE)) if name in item} for name in names}
        path = lines(tmp_path / "a.json", table)
    else:
        path = lines(tmp_path / "a.json", MARCO, NONE)
    report = AnswerReport()
    item, none = read_marco(path, report)
    assert (item.id, item.question, item.kind, item.references) == ("3", "how many", "NUMERIC", ("five", "5"))
    assert item.documents == (Document("", ("It is 5.",), False), Document("", ("Or 5 it is.",), True))
    assert (item.training.passage, item.training.answers) == ("Or 5 it is.", (Answer("5", 3),))
    assert (none.references, none.training) == (("No Answer Present.",), None)
    assert (report.questions, report.lost) == (2, [])


def test_marco_answers_in_no_passage_are_noted(tmp_path):
    report = AnswerReport()
    [item] = read_marco(lines(tmp_path / "a.json", MARCO | {"answers": ["six"]}), report)
    assert item.training is None
    assert report.lost == [("3", "no passage holds any of its answers word for word")]


@pytest.mark.parametrize(
    ("read", "content", "message"),
    [
        (read_dureader, {"question": "?"}, "line 1: object missing required field `question_id`"),
        (read_dureader, DUREADER | {"answer_spans": [[1]]}, r"line 1\.answer_spans\[0\]: expected `array` of length 2"),
        (read_marco, {"answers": 3}, r"line 1\.answers: expected `array`, got `int`"),
        (read_marco, {"query": {"0": "a"}}, "object missing required field `query_id`"),
        (
            read_marco,
            {"query": {"0": "a"}, "query_id": {}, "passages": {}},
            "query.'0'. must have query_id and passages",
        ),
    ],
)
def test_bad_files_are_refused_with_name_and_line(tmp_path, read, content, message):
    with pytest.raises(ValueError, match=rf"^{read.__name__}: '.*a\.json': {message}"):
        list(read(lines(tmp_path / "a.json", content)))


@pytest.mark.parametrize(("part", "spans"), [("train", 95), ("dev", 99), ("test", 0)])
def test_real_spans_are_the_files_own_answers(shared_data, part, spans):
    path = shared_data / "free_answer" / f"dureader_search_{part}.jsonl"
    report = AnswerReport()
    trained = {item.id: item.training for item in read_dureader(path, report) if item.training}
    assert (report.questions, len(trained), report.lost) == (100, spans, [])
    for record in map(json.loads, path.read_text(encoding="utf-8").rstrip().split("\n")):
        if question := trained.get(str(record["question_id"])):
            [answer] = question.answers
            assert question.passage[answer.start :].startswith(answer.text)
            assert "".join(answer.text.split()) == "".join(record["fake_answers"][0].split())
