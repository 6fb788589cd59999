"""The span most like a free-form answer, and the passage selected from documents."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from pydlx.data.reading import (
    NO_ANSWER,
    Answer,
    AnswerReport,
    Document,
    Featurizer,
    FreeQuestion,
    Question,
    ReadingSet,
    Vocabulary,
    as_question,
    best_span,
    create_tokeniser,
    read_dureader,
    with_best_spans,
)

SPACES, CHARACTERS = create_tokeniser("spaces"), create_tokeniser("characters")


def f1(given, reference):
    shared = sum((Counter(given) & Counter(reference)).values())
    return 2 * shared / (len(given) + len(reference))


@pytest.mark.parametrize("longest", [None, 3])
def test_the_best_span_is_that_of_all(longest):
    draw = np.random.default_rng(0)
    for _ in range(100):
        tokens = list(map(str, draw.integers(0, 6, draw.integers(1, 14))))
        reference = list(map(str, draw.integers(0, 8, draw.integers(0, 7))))
        spans = [
            (first, last)
            for first in range(len(tokens))
            for last in range(first, min(len(tokens), first + (longest or 99)))
        ]
        best = max(spans, key=lambda span: (f1(tokens[span[0] : span[1] + 1], reference), -span[0], -span[1]))
        found = best_span(tokens, reference, longest)
        if not set(tokens) & set(reference):
            assert found is None
            continue
        assert found.f1 == pytest.approx(f1(tokens[best[0] : best[1] + 1], reference))
        assert (found.first, found.last) == best


def test_the_best_spans_are_dureaders_own(shared_data):
    """Best spans of segmented words against any reference equal all 95 and 99 spans of the files, and their F1."""
    for part, count in (("train", 95), ("dev", 99)):
        seen = 0
        for line in (shared_data / "free_answer" / f"dureader_search_{part}.jsonl").read_text("utf-8").split("\n"):
            record = json.loads(line or "{}")
            if not record.get("answer_spans"):
                continue
            document = record["documents"][record["answer_docs"][0]]
            words = document["segmented_paragraphs"][document["most_related_para"]]
            spans = [best_span(words, answer) for answer in record["segmented_answers"]]
            best = max((span for span in spans if span), key=lambda span: span.f1)
            assert [best.first, best.last] == record["answer_spans"][0]
            assert best.f1 == pytest.approx(record["match_scores"][0])
            seen += 1
        assert seen == count


DOCUMENTS = (
    Document("", ("x y", "where is it", "")),
    Document("", ()),
    Document("", ("a b c d", "where is it now then", "it is in a box")),
)
FREE = FreeQuestion("1", "where is it", DOCUMENTS, ("in the box", " ", NO_ANSWER))


def test_the_paragraphs_that_share_most_become_a_passage():
    asked = as_question(FREE, SPACES)
    assert asked == Question("1", "where is it\nwhere is it now then", "where is it", (Answer("in the box"),))
    assert as_question(FREE, SPACES, paragraphs=2).passage == "x y\nwhere is it\nwhere is it now then\nit is in a box"
    assert as_question(FreeQuestion("1", "a", ()), SPACES) == Question("1", "", "a")


def test_the_paragraph_to_train_on_is_among_them():
    trained = FreeQuestion("1", "where is it", DOCUMENTS, (), "", Question("1", "a b c d", "", (Answer("b c", 2),)))
    asked = as_question(trained, SPACES, training=True)
    assert asked.passage == "where is it\na b c d"
    assert asked.passage[asked.answers[0].start :].startswith("b c")
    both = as_question(trained, SPACES, paragraphs=2, training=True)
    assert both.passage == "x y\nwhere is it\na b c d\nwhere is it now then"
    assert both.answers == (Answer("b c", both.passage.index("b c")),)
    assert as_question(trained, SPACES, documents=1, training=True).passage == "a b c d"
    assert as_question(trained, SPACES, documents=1).passage == "where is it"
    assert as_question(FREE, SPACES, training=True).answers == ()
    for documents in (DOCUMENTS[:1], ()):  # none of which contains the answer
        lost = as_question(replace(trained, documents=documents), SPACES, documents=1, training=True)
        assert lost.answers == (Answer("b c", -1),)


def test_questions_without_a_span_get_the_best_one():
    report = AnswerReport()
    other = FreeQuestion("2", "who", DOCUMENTS, ("nobody knows",))
    none = FreeQuestion("3", "who", DOCUMENTS, ("", NO_ANSWER))
    found, lost, empty = with_best_spans([FREE, other, none], SPACES, report=report)
    assert found.training == Question("1", "it is in a box", "where is it", (Answer("in a box", 6),))
    assert lost.training is None
    assert empty.training is None
    assert report.lost == [("2", "no span of its documents has an F1 of 0.3 with an answer")]
    [short] = with_best_spans([FREE], SPACES, longest=2)
    assert short.training.answers[0].text == "in"
    [kept] = with_best_spans([found], SPACES)
    assert kept is found


def test_dureaders_questions_are_examples(shared_data):
    """95 of 100 have a span, which is in the passage at the example's position; the others are left out."""
    free = list(read_dureader(shared_data / "free_answer" / "dureader_search_train.jsonl"))
    questions = [as_question(question, CHARACTERS, training=True) for question in free]
    examples = ReadingSet(questions, Featurizer(CHARACTERS, Vocabulary([]), features=()))
    assert len(examples) == 95
    assert len(examples.report.left_out) == 5
    assert not examples.report.widened
    for index in range(0, 95, 10):
        window = examples.windows[index]
        spans = free[window.question].training.answers
        assert examples.answer(index, window.start, window.end) == spans[0].text
