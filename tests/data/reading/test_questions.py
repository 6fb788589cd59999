"""Files in SQuAD's format: reading, positions of answers, and errors of bad files."""

import gzip
import json
import tracemalloc

import pytest

from pydlx.data.reading import Answer, AnswerReport, Question, read_squad
from pydlx.data.reading.questions import find_answer


def squad(*questions, context="Anna met Anna and Bob.", **paragraph):
    return {"data": [{"paragraphs": [{"context": context, "qas": list(questions), **paragraph}]}]}


def asked(id="q", question="Who?", **more):
    return {"id": id, "question": question, **more}


def placed(text, start):
    return {"text": text, "answer_start": start}


@pytest.fixture
def file(tmp_path):
    def write(content, name="file.json"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return path

    return write


def test_questions_come_with_passage_answers_and_title(file):
    content = squad(asked(answers=[placed("Bob", 18), placed("Anna", 9)]), asked("r", "Why?", answers=[]))
    content["data"][0]["title"] = "People"
    context = "Anna met Anna and Bob."
    assert list(read_squad(file(content))) == [
        Question("q", context, "Who?", (Answer("Bob", 18), Answer("Anna", 9)), "People"),
        Question("r", context, "Why?", (), "People"),
    ]


@pytest.mark.parametrize(
    ("question", "answers"),
    [
        (asked(is_impossible=True, answers=[], plausible_answers=[placed("Bob", 18)]), ()),  # SQuAD 2.0
        (asked(answers=[placed("Bob", 18)], evidences=[["Bob"]]), (Answer("Bob", 18),)),  # ExpMRC
        (asked(answers=[{"id": "1", **placed("Bob", 18)}]), (Answer("Bob", 18),)),  # DRCD
        (asked(answers=[placed("Bob", "18")]), (Answer("Bob", 18),)),
        (asked(), ()),  # a test set
    ],
)
def test_forms_that_add_fields_or_leave_some_out(file, question, answers):
    [read] = read_squad(file(squad(question, id="DEV_0", document_id=3)))
    assert read.answers == answers


def test_ids_may_be_numbers(file):  # COVID-QA
    assert [question.id for question in read_squad(file(squad(asked(262))))] == ["262"]


@pytest.mark.parametrize("change", [gzip.compress, lambda data: b"\xef\xbb\xbf" + data])
def test_gzip_and_byte_order_mark(file, change):
    [question] = read_squad(file(change(json.dumps(squad(asked("é"), context="Ａ二")).encode())))
    assert (question.id, question.passage) == ("é", "Ａ二")


def test_answers_are_moved_to_the_nearest_occurrence_or_else_lost(file):
    answers = [
        placed("Anna", 8),
        placed("Anna", 1),
        placed("Anna", -1),
        placed("Eve", 3),
        placed(" ", 4),
        placed("Bob", 99),
    ]
    report = AnswerReport()
    [question] = read_squad(file(squad(asked(answers=answers))), report)
    assert [answer.start for answer in question.answers] == [9, 0, 0, -1, -1, 18]
    assert [answer.text for answer in question.answers] == ["Anna", "Anna", "Anna", "Eve", " ", "Bob"]
    assert (report.questions, report.answers, report.misplaced) == (1, 6, 6)
    assert report.moved[0] == ("q", "the answer 'Anna' is at 9, not at 8")
    assert report.lost[0] == ("q", "the passage does not hold the answer 'Eve'")
    assert str(report) == "1 questions, 6 answers, 4 moved, 2 lost"


@pytest.mark.parametrize(("near", "place"), [(-1, 0), (0, 0), (2, 2), (3, 2), (4, 5), (5, 5), (50, 5)])
def test_nearest_occurrence(near, place):
    assert find_answer("abab.ab", "ab", near) == place
    assert find_answer("abab.ab", "ba", near) == 1
    assert find_answer("abab.ab", "c", near) == -1
    assert find_answer("a---a", "a", 2) == 0


def test_a_repeated_id_is_noted_and_kept(file):
    report = AnswerReport()
    assert len(list(read_squad(file(squad(asked(), asked())), report))) == 2
    assert report.repeated == [("q", "an earlier question has the same id")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is no JSON: Input data was truncated"),
        (b'{"data": [', "the file is no JSON"),
        ({"data": {}}, r"data: expected `array`, got `object`"),
        ({}, "object missing required field `data`"),
        (squad(asked(question=None)), r"data\[0\]\.paragraphs\[0\]\.qas\[0\]\.question: expected `str`, got `null`"),
        (squad(asked(answers=[{"answer_start": 1}])), r"qas\[0\]\.answers\[0\]: object missing required field `text`"),
        ({"data": [{"paragraphs": 3}]}, r"data\[0\]\.paragraphs: expected `array`"),
        (json.dumps(squad(asked("é")), ensure_ascii=False).encode("latin-1"), "must be UTF-8, got other bytes"),
        (json.dumps(squad(asked())).encode("utf-16"), "must be UTF-8, got other bytes at about 0"),
        (b"\x1f\x8b broken", "is damaged gzip data"),
    ],
)
def test_bad_files_are_refused_with_name_and_place(file, content, message):
    with pytest.raises(ValueError, match=rf"^read_squad: '.*file\.json'.*{message}"):
        list(read_squad(file(content)))


def test_a_missing_file_is_refused_at_once(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"read_squad: no such file: '.*absent\.json'"):
        read_squad(tmp_path / "absent.json")


def test_reading_holds_one_paragraph_at_a_time(file):
    question = asked(answers=[placed("Bob", 18)])
    paragraphs = squad(question, context="Anna met Anna and Bob." + "x" * 20_000)["data"][0]["paragraphs"]
    path = file({"data": [{"paragraphs": paragraphs * 100}]})
    next(read_squad(path))  # imports
    tracemalloc.start()
    try:
        assert sum(len(question.passage) for question in read_squad(path)) == 100 * 20_022
        assert tracemalloc.get_traced_memory()[1] < 200_000  # of 2 MB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("name", "questions", "answers", "moved", "lost"),
    [
        ("squad/xquad.en", 1190, 1190, 0, 0),
        ("squad/expmrc-squad-dev", 501, 1673, 0, 0),
        ("cmrc2018/cmrc2018_trial", 1002, 1002, 5, 0),
        ("cmrc2018/cmrc2018_dev", 3219, 9657, 7, 193),
        ("cmrc2018/cmrc2018_train", 10142, 10142, 21, 0),
    ],
)
def test_real_files(shared_data, name, questions, answers, moved, lost):
    report = AnswerReport()
    for question in read_squad(shared_data / f"{name}.json", report):
        for answer in question.answers:
            assert answer.start < 0 or question.passage[answer.start :].startswith(answer.text)
    assert (report.questions, report.answers) == (questions, answers)
    assert (len(report.moved), len(report.lost), len(report.repeated)) == (moved, lost, 0)
