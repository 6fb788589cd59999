"""Small questions to train and ask readers."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from pydlx.data.reading import Featurizer, Vocabulary, character_counts, create_tokeniser
from pydlx.models import create_model

PLACES = ("Rome", "Oslo", "New York", "Lima", "Delhi", "Quito", "Paris", "Seoul")
WORDS = "Our year was . Anna lives in with one cat It rains there May Where does live ?"
TINY = {
    "bidaf": {"hidden": 8, "character_filters": 4},
    "drqa": {"hidden": 8},
    "mnemonic_reader": {"hidden": 8, "character_hidden": 4},
    "mpcm": {"hidden": 8, "character_hidden": 4, "perspectives": 4},
    "rasor": {"hidden": 8, "max_length": 6, "initial_range": None},
    "dcn": {"hidden": 8, "pool": 2, "iterations": 2},
    "fastqa": {"hidden": 8, "beam": 30},
    "fastqa_ext": {"hidden": 8, "beam": 30},
    "fusionnet": {"hidden": 8, "attention_size": 8},
    "match_lstm": {"hidden": 8},
    "qanet": {"hidden": 8, "heads": 2, "blocks": 1},
    "r_net": {"hidden": 8, "character_hidden": 4},
}


def passage(number: int) -> str:
    place = PLACES[number % len(PLACES)]
    return f"Our year was {1900 + number}. Anna{number} lives in {place} with one cat. It rains there in May."


def squad_file(path: Path, count: int = 8, unanswerable: int = 0, around: int = 0) -> Path:
    """Questions of SQuAD's form, the last of which have no answer; before and behind what they ask for stand others."""
    paragraphs = []
    for n in range(count):
        context, place = " ".join(passage(abs(m)) for m in range(n - around, n + around + 1)), PLACES[n % len(PLACES)]
        start = context.index(place, context.index(passage(n)))
        answers = [{"text": place, "answer_start": start}] if n < count - unanswerable else []
        question = f"Where does Anna{n} {'live' if answers else 'sleep'}?"
        qa = {"id": f"q{n}", "question": question, "answers": answers, "is_impossible": not answers}
        paragraphs.append({"context": context, "qas": [qa]})
    path.write_text(json.dumps({"version": "1.1", "data": [{"title": "Anna", "paragraphs": paragraphs}]}))
    return path


def tiny_reader(name="bidaf", *, no_answer=False, characters=True, max_passage=None, seed=0, columns=0, **options):
    """An untrained reader with a vocabulary, in evaluation mode; the scores of its spans differ clearly.

    `columns` are those that a task adds to the featurizer's.
    """
    words = Vocabulary([*dict.fromkeys(" ".join([WORDS, *PLACES]).split())])
    letters = Vocabulary.from_counts(character_counts(dict.fromkeys(words.words, 1))) if characters else None
    featurizer = Featurizer(create_tokeniser("words"), words, letters)
    torch.manual_seed(seed)
    model = create_model(
        name,
        word_dim=8,
        tune_partial=None,
        character_count=len(letters) if letters else 0,
        features=len(featurizer.features) + columns,
        no_answer=no_answer,
        **{"vocabulary_size": len(words), **TINY[name], **options},
    )
    with torch.no_grad():
        for weights in model.parameters():
            weights.mul_(2)
    model.companion = {"featurizer": featurizer.state(), "max_passage": max_passage, "answer_length": 4}
    return model.eval()


def task_reader(task, name="fastqa", **options):
    """An untrained reader of a task beyond spans, with the features that this adds."""
    model = tiny_reader(name, columns={"cloze": 1, "choice": 5}.get(task, 0), **options)
    held = {} if task == "free_answer" else {"max_passage": None, "answer_length": None}
    model.companion = {"task": task, **{key: value for key, value in model.companion.items() if key not in held}}
    return model
