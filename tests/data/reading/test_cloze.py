"""CMRC2017's cloze questions."""

import numpy as np
import pytest

from pydlx.data.reading import Answer, AnswerReport, Question, TokenisedQuestions, create_tokeniser, read_cmrc2017

PASSAGES = "1 ||| 大 树 旁 有 树 \n2 ||| XXXXX 跑 了\n<qid_0> ||| XXXXX 跑 了\n1 ||| a\n<qid_1> ||| XXXXX b\n"
ANSWERS = "<qid_1> ||| c\n<qid_0> ||| 树\n"


def read(folder, passages=PASSAGES, answers=ANSWERS, report=None, encoding="utf-8"):
    places = []
    for name, text in (("doc_query", passages), ("answer", answers)):
        places.append(folder / name)
        places[-1].write_bytes(text.encode(encoding))
    return list(read_cmrc2017(*places, report))


def test_items_follow_each_other(tmp_path):
    report = AnswerReport()
    assert read(tmp_path, report=report) == [
        Question("qid_0", "大 树 旁 有 树\nXXXXX 跑 了", "XXXXX 跑 了", (Answer("树", 2),)),
        Question("qid_1", "a", "XXXXX b", (Answer("c", -1),)),
    ]
    assert (report.questions, report.answers) == (2, 2)
    assert report.lost == [("qid_1", "the passage does not hold the word 'c'")]
    assert read(tmp_path, encoding="utf-8-sig") == read(tmp_path, PASSAGES.replace("\n", "\r\n"))


def test_a_word_is_found_whole(tmp_path):
    [question, _] = read(tmp_path, PASSAGES.replace("大 树", "大树"))
    assert question.answers == (Answer("树", 7),)


def test_without_answers(tmp_path):
    path = tmp_path / "doc_query"
    path.write_text(PASSAGES, encoding="utf-8")
    assert [question.answers for question in read_cmrc2017(path)] == [(), ()]


@pytest.mark.parametrize(
    ("passages", "answers", "message"),
    [
        ("1 a b\n", ANSWERS, r"doc_query', line 1: must be a label, '\|\|\|' and text, got '1 a b'"),
        ("<qid_0> ||| XXXXX\n", ANSWERS, "doc_query', line 1: a question must follow sentences and hold XXXXX"),
        ("1 ||| a\n<qid_0> ||| b\n", ANSWERS, "doc_query', line 2: a question must follow sentences and hold XXXXX"),
        (PASSAGES + "1 ||| a\n", ANSWERS, "doc_query' ends with sentences that no question follows"),
        (PASSAGES + PASSAGES, ANSWERS, "doc_query', line 8: <qid_0> comes twice"),
        (PASSAGES, ANSWERS + ANSWERS, "answer', line 3: <qid_1> comes twice"),
        (PASSAGES, ANSWERS[:14], "doc_query', line 3: <qid_0> has no line in the file of answers"),
        (PASSAGES, ANSWERS + "<qid_7> ||| d", "the answers to <qid_7> have no question in '.*doc_query'"),
    ],
)
def test_bad_files_are_refused_with_name_and_line(tmp_path, passages, answers, message):
    with pytest.raises(ValueError, match=f"^read_cmrc2017: .*{message}"):
        read(tmp_path, passages, answers)


def test_other_encodings_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"^read_cmrc2017: '.*answer' must be UTF-8, got other bytes after line 0"):
        read(tmp_path, encoding="gb18030")


def test_real_file(shared_data):
    folder, report = shared_data / "cloze", AnswerReport()
    questions = read_cmrc2017(folder / "cmrc2017_valid.doc_query", folder / "cmrc2017_valid.answer", report)
    tokenised = TokenisedQuestions(questions, create_tokeniser("spaces"))
    lengths = np.diff(tokenised.texts.bounds)[tokenised.passages]
    assert (report.questions, report.answers, report.lost) == (2000, 2000, [])
    assert (round(lengths.mean()), lengths.max()) == (322, 481)
