"""Examples of cloze questions, and further questions generated from the passages."""

import itertools

import numpy as np
import pytest
import torch

from pydlx.data.reading import (
    BLANK,
    Answer,
    ClozeSet,
    Featurizer,
    Question,
    TokenisedQuestions,
    Vocabulary,
    create_tokeniser,
    further_gaps,
    read_cmrc2017,
)
from pydlx.data.reading.cloze_set import runs_around

SPACES = create_tokeniser("spaces")
FEATURIZER = Featurizer(SPACES, Vocabulary(["a", "b", "c"]))
TEXT = "a b XXXXX b c a"


def cloze(id, passage, question, word=""):
    place = f" {passage} ".find(f" {word} ") if word else -1
    return Question(id, passage, question, (Answer(word, place),) if word else ())


def test_candidates_are_first_places_and_never_the_gap():
    [example] = ClozeSet([cloze("1", TEXT, "XXXXX b c", "c")], FEATURIZER)
    assert example.candidates.tolist() == [0, 1, -1, 1, 4, 0]
    assert example.answer == 4
    batch = ClozeSet.collate([example, *ClozeSet([cloze("2", "b", "XXXXX", "b")], FEATURIZER)])
    assert batch.candidates.tolist() == [[0, 1, -1, 1, 4, 0], [0, -1, -1, -1, -1, -1]]
    assert batch.answer.tolist() == [4, 0]
    assert batch.passage.words[1, 1:].sum() == 0


def test_a_gap_is_never_the_answer():
    examples = ClozeSet([cloze("1", TEXT, "XXXXX b", BLANK)], FEATURIZER)
    assert not examples
    assert examples.report.left_out == [("1", "the passage does not hold its word")]


def test_questions_without_an_example_are_counted():
    questions = [
        cloze("absent", "a b", "XXXXX c", "z"),
        cloze("part", "ab c", "XXXXX c"),
        cloze("blanks", "XXXXX", "XXXXX", "a"),
        cloze("silent", "a b", " ", "a"),
    ]
    training, asked = (ClozeSet(questions, FEATURIZER, training=flag) for flag in (True, False))
    assert not training
    assert [id for id, _ in training.report.left_out] == ["absent", "part", "blanks", "silent"]
    assert asked.owners.tolist() == [0, 1]
    assert [example.answer for example in asked] == [-1, -1]
    assert asked.report.left_out == [("blanks", "the passage holds no word"), ("silent", "the question holds no token")]
    assert asked.word(0, 1) == "b"


def test_a_part_of_a_word_is_not_an_answer():
    question = Question("1", "ab c", "XXXXX c", (Answer("b", 1),))
    assert [example.answer for example in ClozeSet([question], FEATURIZER, training=False)] == [-1]


def test_features_are_the_featurizers_and_what_stands_around_the_gap():
    examples = ClozeSet([cloze("1", TEXT, "a b XXXXX c", "c")], FEATURIZER)
    [example] = examples
    assert examples.features == example.passage.features.shape[2] == example.question.features.shape[2] == 5
    plain = FEATURIZER(TEXT, "a b XXXXX c")
    assert torch.equal(example.passage.features[..., :4], plain.passage.features)
    # "a b" precedes XXXXX; c follows the second b; b precedes c, but no a precedes that b.
    assert (8 * example.passage.features[0, :, 4]).tolist() == [0, 0, 2, 1, 1, 0]
    assert not example.question.features[..., 4].any()
    [bare] = ClozeSet([cloze("1", TEXT, "XXXXX", "c")], Featurizer(SPACES, Vocabulary(["a"]), features=()))
    assert bare.passage.features is None


def test_runs_around_a_gap_are_those_of_a_loop():
    draw = np.random.default_rng(0)
    for _ in range(50):
        tokens, asked = draw.integers(1, 4, 12), draw.integers(1, 4, draw.integers(1, 14))
        gap = draw.integers(len(asked))
        asked[gap] = 0
        wanted = []
        for place in range(len(tokens)):
            count = 0
            for step in (-1, 1):
                far = 1
                while 0 <= place + far * step < len(tokens) and 0 <= gap + far * step < len(asked) and far <= 8:
                    if tokens[place + far * step] != asked[gap + far * step]:
                        break
                    count, far = count + 1, far + 1
            wanted.append(min(count, 8) / 8)
        assert runs_around(tokens, asked, 0).tolist() == wanted
    assert not runs_around(tokens, np.array([1, 2]), 0).any()


def test_further_gaps_replace_repeated_nouns_of_other_sentences():
    story = "狐狸 看见 乌鸦\n乌鸦 飞 走 了\nXXXXX 很 生气"
    questions = [cloze("1", story, "XXXXX 很 生气", "狐狸"), cloze("2", "乌鸦 XXXXX", "XXXXX", "乌鸦")]
    found = list(further_gaps(questions, 9, seed=3))
    assert sorted((q.passage, q.answers[0].text) for q in found) == [
        ("XXXXX 看见 乌鸦\n乌鸦 飞 走 了\n狐狸 很 生气", "狐狸"),
        ("狐狸 看见 XXXXX\n乌鸦 飞 走 了\n狐狸 很 生气", "乌鸦"),
        ("狐狸 看见 乌鸦\nXXXXX 飞 走 了\n狐狸 很 生气", "乌鸦"),
    ]
    assert [q.id for q in found] == ["1-1", "1-2", "1-3"]
    for q in found:
        assert q.question in q.passage.split("\n")
        assert q.question.count(BLANK) == 1
        assert q.passage.startswith(q.answers[0].text, q.answers[0].start)
    assert len(list(further_gaps(questions, 1))) == 1
    assert len(ClozeSet(found, FEATURIZER)) == 3
    nothing = Question("1", "乌鸦  飞  走\nXXXXX 很", "XXXXX 很", (Answer(""),))
    assert not list(further_gaps([nothing], 9))  # nor between two spaces


def test_real_questions_are_examples(shared_data):
    folder = shared_data / "cloze"
    questions = read_cmrc2017(folder / "cmrc2017_valid.doc_query", folder / "cmrc2017_valid.answer")
    source = TokenisedQuestions(itertools.islice(questions, 400), SPACES)
    examples = ClozeSet(source, Featurizer(SPACES, Vocabulary([]), features=()))
    assert len(examples) == 400
    again = 0
    for index in range(0, 400, 20):
        example, [answer] = examples[index], examples.questions[index].answers
        assert examples.word(index, example.answer) == answer.text
        again += int((example.candidates == example.answer).sum() > 1)
    assert again >= 15  # the answer occurs at least twice in 1,745 of 2,000 passages


WRONG = [Question("1", "a b c", "XXXXX c", (Answer("b", 0),))]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ClozeSet.collate([]), "ClozeSet.collate: examples must hold"),
        (
            lambda: ClozeSet(TokenisedQuestions(WRONG, create_tokeniser("words")), FEATURIZER),
            "ClozeSet: source must be tokenised by 'spaces', got 'words'",
        ),
        (
            lambda: ClozeSet(WRONG, FEATURIZER),
            "ClozeSet: the answer 'b' of question '1' must stand at character 0 of its passage, got 'a'",
        ),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()
