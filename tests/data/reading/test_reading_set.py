"""Examples of questions about passages."""

import json
import pickle

import numpy as np
import pytest
import torch
from encoder_samples import piece_json

from pydlx.data.reading import (
    Answer,
    AnswerReport,
    Featurizer,
    Question,
    ReadingSet,
    TokenisedQuestions,
    Vocabulary,
    create_tokeniser,
    length_buckets,
    read_squad,
)
from pydlx.data.text import PieceTokeniser

PASSAGE = "a b c d e f g h i j k l"
WORDS = create_tokeniser("words")
FEATURIZER = Featurizer(WORDS, Vocabulary([*"abcdefghijkl?"]))


def asked(id, answer=None, start=None, passage=PASSAGE, question="a ?"):
    if answer is None:
        return Question(id, passage, question)
    return Question(id, passage, question, (Answer(answer, passage.find(answer) if start is None else start),))


def test_examples_to_train_on():
    examples = ReadingSet([asked("1", "c d"), asked("2", "l", question="l k j")], FEATURIZER)
    assert [(example.start, example.end) for example in examples] == [(2, 3), (11, 11)]
    batch = FEATURIZER.collate(list(examples))
    assert batch.passage.words.shape == (2, 12) and batch.question.lengths.tolist() == [2, 3]
    assert torch.equal(examples[0].passage.features, FEATURIZER(PASSAGE, "a ?").passage.features)
    assert examples.lengths.tolist() == [12, 12]
    assert [examples.question(i).id for i in range(2)] == ["1", "2"]
    assert [examples.answer(0, 2, 3), examples.answer(1, 0, 0)] == ["c d", "a"]


def test_what_is_left_out_is_listed():
    questions = [
        asked("empty", "c", passage=" "),
        asked("silent", "c", question="\n"),
        asked("none"),
        asked("lost", "z"),
        asked("long", "a b c d e"),
        asked("good", "b"),
    ]
    examples = ReadingSet(questions, FEATURIZER, max_answer=4)
    assert [examples.question(i).id for i in range(len(examples))] == ["good"]
    assert examples.report.left_out == [
        ("empty", "the passage holds no token"),
        ("silent", "the question holds no token"),
        ("none", "it has no answer in the passage"),
        ("lost", "it has no answer in the passage"),
        ("long", "its answer has 5 tokens, more than 4"),
    ]
    assert len(ReadingSet(questions, FEATURIZER, max_answer=5)) == 2
    assert len(examples.questions) == 6


def test_the_first_answer_that_the_passage_holds_is_trained_on():
    question = Question("1", PASSAGE, "?", (Answer("x"), Answer("b", 2), Answer("a", 0)))
    [example] = ReadingSet([question], FEATURIZER)
    assert (example.start, example.end) == (1, 1)


def test_unanswerable_questions_come_when_asked_for():
    examples = ReadingSet([asked("none"), asked("lost", "z"), asked("good", "b")], FEATURIZER, unanswerable=True)
    assert [(examples.question(i).id, examples[i].start) for i in range(2)] == [("none", -1), ("good", 1)]
    assert [id for id, _ in examples.report.left_out] == ["lost"]


def test_questions_to_answer_need_no_answers():
    questions = [asked("none"), asked("lost", "z"), asked("good", "b"), asked("silent", "b", question="")]
    examples = ReadingSet(questions, FEATURIZER, training=False)
    assert [(window.question, window.start, window.end) for window in examples.windows] == [
        (0, -1, -1),
        (1, -1, -1),
        (2, 1, 1),
    ]
    assert examples.report.left_out == [("silent", "the question holds no token")]


def test_windows_to_train_on_hold_the_answer():
    examples = ReadingSet([asked("1", "f g"), asked("2", "e f g h")], FEATURIZER, max_passage=4, stride=3)
    assert [(w.question, w.first, w.past, w.start, w.end) for w in examples.windows] == [
        (0, 3, 7, 2, 3),
        (1, 4, 8, 0, 3),
    ]
    for i, window in enumerate(examples.windows):
        assert examples[i].passage.words.tolist() == [[*range(window.first + 2, window.past + 2)]]
        assert examples.answer(i, window.start, window.end) == ["f g", "e f g h"][i]
        assert torch.equal(examples[i].offsets, FEATURIZER(PASSAGE, "?").offsets[window.first : window.past])
    assert ReadingSet([asked("1", "a b c")], FEATURIZER, max_passage=2).report.left_out == [
        ("1", "its answer has 3 tokens, more than 2")
    ]


def test_windows_to_answer_hold_the_passage():
    examples = ReadingSet([asked("1", "f g")], FEATURIZER, training=False, max_passage=6)
    assert [window[1:] for window in examples.windows] == [(0, 6, -1, -1), (3, 9, 2, 3), (6, 12, -1, -1)]
    assert examples.lengths.tolist() == [6, 6, 6]


def test_cut_tokens_are_widened_and_noted():
    examples = ReadingSet([Question("1", "in 1990s here", "?", (Answer("1990", 3),))], FEATURIZER)
    assert examples.answer(0, 1, 1) == "1990s"
    assert examples.report.widened == [("1", "the answer '1990' cuts tokens: '1990s'")]


def test_a_file_of_any_writing(tmp_path):
    context = "\u3000Ｃafé 😀「二〇〇八年」 e\u0301nd"
    answers = [{"text": text, "answer_start": context.index(text)} for text in ("二〇〇八", "😀", "e\u0301nd")]
    qas = [{"id": str(i), "question": "ｗｈｅｎ？", "answers": [answer]} for i, answer in enumerate(answers)]
    path = tmp_path / "file.json"
    path.write_text(json.dumps({"data": [{"paragraphs": [{"context": context, "qas": qas}]}]}), encoding="utf-8-sig")
    for name in ("words", "characters"):
        examples = ReadingSet(path, Featurizer(create_tokeniser(name), Vocabulary(["年"])))
        assert [examples.answer(i, *examples.windows[i][3:]) for i in range(3)] == ["二〇〇八", "😀", "e\u0301nd"]
        assert examples.report.widened == []


def test_sets_share_tokens_but_not_reports():
    tokenised = TokenisedQuestions([asked("1", "c d"), asked("2")], WORDS)
    train, dev = ReadingSet(tokenised, FEATURIZER), ReadingSet(tokenised, FEATURIZER, training=False)
    assert (len(train), len(dev)) == (1, 2)
    assert (len(train.report.left_out), len(dev.report.left_out), len(tokenised.report.left_out)) == (1, 0, 0)
    assert tokenised.word_counts() == dict.fromkeys("bcdefghijkl?", 1) | {"a": 2}


def test_sets_go_to_the_workers_of_a_loader():
    examples = ReadingSet([asked(str(i), "c", passage=PASSAGE[: 7 + 2 * i]) for i in range(6)], FEATURIZER)
    again = pickle.loads(pickle.dumps(examples))
    batches = length_buckets(again.lengths, 2)
    loader = torch.utils.data.DataLoader(again, batch_sampler=batches, collate_fn=FEATURIZER.collate)
    assert [batch.passage.lengths.tolist() for batch in loader] == [[examples.lengths[i] for i in b] for b in batches]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ReadingSet([], FEATURIZER, stride=3), ValueError, "stride must be at most max_passage, None, got 3"),
        (
            lambda: ReadingSet([], FEATURIZER, max_passage=2, stride=3),
            ValueError,
            "stride must be at most max_passage, 2",
        ),
        (lambda: ReadingSet([], FEATURIZER, max_answer=0), ValueError, "max_answer must be positive, got 0"),
        (lambda: ReadingSet([], "words"), TypeError, "featurizer must be a Featurizer, got 'words'"),
        (lambda: ReadingSet([3], FEATURIZER), TypeError, "source must be a path or questions, got 3"),
        (lambda: ReadingSet(3, FEATURIZER), TypeError, "source must be a path or questions, got 3"),
        (
            lambda: ReadingSet(TokenisedQuestions([], create_tokeniser("spaces")), FEATURIZER),
            ValueError,
            "source must be tokenised by 'words', got 'spaces'",
        ),
        (lambda: ReadingSet([asked("1", "b")], FEATURIZER).answer(0, 0, 12), ValueError, "end must be from 0 to 11"),
    ],
)
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_real_questions_by_way_of_the_cache(shared_data, tmp_path):
    path, characters = shared_data / "cmrc2018" / "cmrc2018_trial.json", create_tokeniser("characters")
    for _ in range(2):
        tokenised = TokenisedQuestions(path, characters, cache=tmp_path / "tokens.npz")
        vocabulary = Vocabulary.from_counts(tokenised.word_counts(), min_count=2)
        examples = ReadingSet(tokenised, Featurizer(characters, vocabulary))
        assert str(examples.report) == "1002 questions, 1002 answers, 5 moved, 1 widened, 2 left out"
        wrong = [
            i
            for i, window in enumerate(examples.windows)
            if examples.answer(i, window.start, window.end) != examples.question(i).answers[0].text.strip()
        ]
        assert [examples.question(i).id for i in wrong] == [id for id, _ in examples.report.widened]


def test_real_windows_hold_the_same_answers(shared_data):
    report = AnswerReport()
    questions = list(read_squad(shared_data / "squad" / "xquad.en.json", report))
    tokenised = TokenisedQuestions(questions, WORDS, report=report)
    examples = ReadingSet(tokenised, FEATURIZER, max_passage=64, stride=40)
    assert np.unique([window.question for window in examples.windows]).size == 1190
    assert examples.lengths.max() == 64
    for i, window in enumerate(examples.windows):
        if "2,70" not in (text := examples.question(i).answers[0].text):  # this answer cuts a number
            assert examples.answer(i, window.start, window.end) == text.strip()


def test_questions_of_ones_own_are_counted_and_must_have_answers_that_stand_where_they_say():
    assert str(ReadingSet([asked("1", "c d"), asked("2")], FEATURIZER).report).startswith("2 questions, 1 answers")
    with pytest.raises(ValueError, match=r"the answer 'c d' of question '1' must stand at character 5 .*, got ' d '"):
        ReadingSet([asked("1", "c d", 5)], FEATURIZER)
    assert len(ReadingSet([asked("1", "c d", 5)], FEATURIZER, training=False)) == 1


def test_windows_of_wordpieces_hold_what_an_encoder_reads():
    """A word of k letters has k pieces; windows of eight pieces."""
    pytest.importorskip("tokenizers")
    featurizer = Featurizer(WORDS, Vocabulary([]), pieces=PieceTokeniser(piece_json()))
    passage = "aa bbb c dddd eeee ff g hhhhh i"
    short = asked("short", "dddd eeee", passage=passage, question="aa b")
    wide = asked("wide", "c dddd eeee", passage=passage)
    asks = asked("asks", "i", passage=passage, question="aaa bbb cc d")
    examples = ReadingSet([short, wide, asks], featurizer, max_passage=8)
    for number, example in enumerate(examples):
        assert example.passage.pieces.ids.shape[1] <= 8 + 2
        assert example.question.pieces.ids.shape[1] <= 8 + 2
        assert examples.answer(number, example.start, example.end) == examples.question(number).answers[0].text
    assert examples.report.left_out == [("wide", "its answer has 9 wordpieces, more than 8")]
    assert examples.report.shortened == [("asks", "of the question 3 tokens are read")]
    assert [example.question.words.shape[1] for example in examples] == [2, 3]
    found = ReadingSet([short], featurizer, training=False, max_passage=8).windows
    assert [(window.first, window.past) for window in found] == [(0, 3), (2, 4), (4, 7), (5, 8), (6, 9)]
    whole = ReadingSet([asks], featurizer)  # without a limit
    assert (len(whole), whole[0].question.words.shape[1], whole.report.shortened) == (1, 4, [])
