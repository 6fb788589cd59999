"""DREAM's multiple-choice questions, and the examples made of them."""

import gzip
import json

import pytest
import torch

from pydlx.data.reading import (
    AnswerReport,
    ChoiceQuestion,
    ChoiceSet,
    Featurizer,
    TokenisedChoices,
    Vocabulary,
    create_tokeniser,
    read_dream,
)

pytest.importorskip("msgspec")

ASKED = {"question": "Who won?", "choice": ["Ann.", "Bob."], "answer": "Bob."}
SPACES = create_tokeniser("spaces")
FEATURIZER = Featurizer(SPACES, Vocabulary(["a", "b"]))


def write(path, *dialogues):
    path.write_text(json.dumps(dialogues))
    return path


def test_dialogues_become_questions(tmp_path):
    path = write(tmp_path / "x.json", [["M: Hi.", "W: Bob won."], [ASKED, {**ASKED, "answer": "Ann."}], "4-12"])
    report = AnswerReport()
    first, second = read_dream(path, report)
    assert first == ChoiceQuestion("4-12-0", "M: Hi.\nW: Bob won.", "Who won?", ("Ann.", "Bob."), 1)
    assert (second.id, second.answer) == ("4-12-1", 0)
    assert str(report) == "2 questions, 2 answers"
    zipped = tmp_path / "x.json.gz"
    zipped.write_bytes(gzip.compress(path.read_bytes()))
    assert list(read_dream(zipped)) == [first, second]


def test_questions_without_a_right_choice_are_counted(tmp_path):
    """The answer is not among the choices, missing, or there are no choices; C3's ids may be numbers."""
    nothing = {"question": "Who?", "choice": ["Ann."]}
    asked = [{**ASKED, "answer": "Carl."}, nothing, {**ASKED, "choice": []}]
    path = write(tmp_path / "x.json", [["a"], asked, 7], [["b"], [ASKED], 7])
    report = AnswerReport()
    questions = list(read_dream(path, report))
    assert [(q.id, q.answer) for q in questions] == [("7-0", -1), ("7-1", -1), ("7-2", -1), ("7-0", 1)]
    assert [id for id, _ in report.lost] == ["7-0", "7-2"]
    assert [id for id, _ in report.repeated] == ["7-0"]
    training, others = (ChoiceSet(questions, FEATURIZER, training=flag) for flag in (True, False))
    assert training.owners.tolist() == [3]
    assert [reason for _, reason in training.report.left_out] == [
        "none of its choices is right",
        "none of its choices is right",
        "it has no choices",
    ]
    assert others.owners.tolist() == [0, 1, 3]
    assert others.report.left_out == [("7-2", "it has no choices")]
    assert not len(ChoiceSet([ChoiceQuestion("1", "a", "b", ("a", "b"), 2)], FEATURIZER))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[", "is no JSON"),
        ('{"a": 1}', "expected `array`, got `object`"),
        ("[[[], []]]", r"\[0\]"),
        ('[[["a"], [{"question": 3, "choice": []}], "x"]]', r"\[0\]\[1\]\[0\]\.question|\[0\].*question"),
        ('[[["a"], [{"question": "b"}], "x"]]', "missing required field `choice`"),
    ],
)
def test_bad_files_are_refused_with_name_and_place(tmp_path, text, message):
    path = tmp_path / "dream.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"^read_dream: '.*dream.json'.*{message}"):
        list(read_dream(path))


def test_features_say_what_is_compared_with_what():
    passage, question, choice = "a b c a", "who b c", "a z"
    examples = ChoiceSet([ChoiceQuestion("1", passage, question, (choice, "b"), 1)], FEATURIZER)
    [example] = examples
    assert examples.features == 9
    read, asked = example.passages[0], example.questions[0]
    against_question, against_choice = FEATURIZER(passage, question), FEATURIZER(passage, choice)
    assert torch.equal(read.features[..., :4], against_question.passage.features)
    assert torch.equal(read.features[..., 4:8], against_choice.passage.features)
    assert not read.features[..., 8].any()
    assert torch.equal(asked.features[:, :3, :4], against_question.question.features)
    assert torch.equal(asked.features[:, 3:, 4:8], against_choice.question.features)
    assert not asked.features[:, :3, 4:].any()
    assert not asked.features[:, 3:, :4].any()
    assert asked.features[0, :, 8].tolist() == [0, 0, 0, 1, 1]
    assert torch.equal(asked.words[:, :3], against_question.question.words)
    assert torch.equal(asked.words[:, 3:], against_choice.question.words)


def test_choices_of_a_batch_lie_side_by_side():
    questions = [
        ChoiceQuestion("1", "a b", "a", ("a", "b b", "z"), 2),
        ChoiceQuestion("2", "b", "", ("b", "a"), 0),
        ChoiceQuestion("3", "b", "", ("b", ""), 0),
    ]
    examples = ChoiceSet(questions, Featurizer(SPACES, Vocabulary(["a", "b"]), Vocabulary(["a"])))
    assert examples.report.left_out == [("3", "the question and a choice hold no token")]
    batch = ChoiceSet.collate(list(examples))
    assert (batch.counts.tolist(), batch.answer.tolist()) == ([3, 2], [2, 0])
    assert batch.passage.lengths.tolist() == [2, 2, 2, 1, 1]
    assert batch.question.lengths.tolist() == [2, 3, 2, 1, 1]
    assert batch.question.characters.shape == (5, 3, 16)
    with pytest.raises(ValueError, match=r"ChoiceSet\.collate: examples must hold at least one, got none"):
        ChoiceSet.collate([])
    with pytest.raises(ValueError, match="ChoiceSet: source must be tokenised by 'spaces', got 'words'"):
        ChoiceSet(TokenisedChoices(questions, create_tokeniser("words")), FEATURIZER)


@pytest.mark.parametrize(("part", "count"), [("train", 6116), ("dev", 2040), ("test", 2041)])
def test_dream_is_read_whole(shared_data, part, count):
    report = AnswerReport()
    questions = list(read_dream(shared_data / "multiple_choice" / f"dream_{part}.json", report))
    assert len(questions) == count
    assert all(len(question.choices) == 3 and question.answer >= 0 for question in questions)
    assert str(report) == f"{count} questions, {count} answers"
