"""BLEU and ROUGE-L of free answers and F1 of answerability, as MS MARCO v2's script has them."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

from pydlx._checks import described
from pydlx._optional import needed_for
from pydlx.metrics.reading.bleu import bleu
from pydlx.metrics.reading.rouge import rouge_l
from pydlx.metrics.sources import Source, place_of, records_of

Tokenizer = Callable[[str], Iterable[str]]


class _Answers(NamedTuple):
    """Texts by question, and the questions said to have no answer, whose text is empty."""

    texts: dict[str | int, list[str]]
    without: set[str | int]


def marco_score(data: Source, predictions: Source, *, tokenizer: Tokenizer | None = None) -> dict[str, float]:
    """BLEU-1 to BLEU-4 and ROUGE-L of answers, and F1 of saying whether there is one, from 0 to 1.

    Both files have a JSON object in each line, with ``query_id`` and ``answers``, a list of strings: one at most in a
    prediction. ``"No Answer Present."`` among them says that there is none. BLEU and ROUGE-L are of the questions whose
    references have an answer. A record with an empty list is taken for absent, as in the official script.

    Args:
        data: the references: a path, or a list of such records.
        predictions: the answers given, likewise.
        tokenizer: splits a text into strings; by default spaCy's English rules (``pip install "pydlx[answers]"``),
            as the official script. Tokens are stripped and lower-cased, then compared.

    Returns:
        ``F1``, ``bleu_1`` to ``bleu_4`` and ``rouge_l``, the latter NaN where no reference has an answer. The script's
        similarity of word vectors is left out. Where it divides by zero, for nothing answerable was answered, F1 is 0.

    Raises:
        ValueError: a file is not UTF-8 or no JSON, a question occurs twice, a prediction has two answers, or a question
            with an answer is in one of the files alone.
        TypeError: a field is missing or not what it must be, or `tokenizer` cannot be called.
        ImportError: spaCy is not installed, and no tokenizer given.
        OSError: a file cannot be read.
    """
    name = "marco_score"
    if tokenizer is not None and not callable(tokenizer):
        raise TypeError(f"{name}: tokenizer must be a function, got {described(tokenizer)}")
    truth, given = _answers(name, "data", data), _answers(name, "predictions", predictions)
    answerable = [key for key in truth.texts if key not in truth.without]
    _check_questions(place_of(name, "predictions", predictions), truth, given)
    results = {"F1": _answerability(truth, given)}
    if not answerable:
        return results | {f"bleu_{k}": math.nan for k in range(1, 5)} | {"rouge_l": math.nan}
    split = _spacy_words() if tokenizer is None else tokenizer
    candidates = [_joined(given.texts[key][0], split) for key in answerable]
    references = [[_joined(text, split) for text in truth.texts[key]] for key in answerable]
    results |= {f"bleu_{k}": value for k, value in enumerate(bleu(candidates, references), 1)}
    return results | {"rouge_l": rouge_l(candidates, references)}


def _answers(name: str, argument: str, source: Source) -> _Answers:
    from pydlx.data.reading import NO_ANSWER  # here, since metrics of a training need no pydlx.data

    found = _Answers({}, set())
    seen: set[str | int] = set()
    for spot, record in records_of(name, argument, source):
        key, answers = record.get("query_id"), record.get("answers")
        if not isinstance(key, str | int) or isinstance(key, bool):
            raise TypeError(f"{spot} must have a 'query_id', got {described(key)}")
        if not isinstance(answers, list) or not all(isinstance(text, str) for text in answers):
            raise TypeError(f"{spot} must have a list of strings 'answers', got {described(answers)}")
        if key in seen:
            raise ValueError(f"{spot} must be of a question of its own, got {key!r} again")
        seen.add(key)
        if NO_ANSWER in answers:
            found.without.add(key)
            answers = [""]
        if answers:
            found.texts[key] = answers
    if not found.texts:
        raise ValueError(f"{place_of(name, argument, source)} must have a question, got none")
    return found


def _check_questions(place: str, truth: _Answers, given: _Answers) -> None:
    asked = {key for key in truth.texts if key not in truth.without}
    answered = {key for key in given.texts if key not in truth.without}
    for key in given.texts:
        if key in answered and len(given.texts[key]) > 1:
            raise ValueError(f"{place} must have one answer at most, got {len(given.texts[key])} for question {key!r}")
    for keys, what in ((asked - answered, "none for"), (answered - asked, "an answer of the unknown")):
        if keys:
            raise ValueError(f"{place} must have the questions of the data, got {what} question {min(keys, key=str)!r}")


def _answerability(truth: _Answers, given: _Answers) -> float:
    asked, answered = truth.texts.keys() - truth.without, given.texts.keys() - given.without
    right = len(asked & answered)
    wrong = len(truth.without) - len(truth.without & given.without)
    precision = right / (right + wrong) if right + wrong else 1.0
    recall = right / len(asked) if asked else 1.0
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _joined(text: str, split: Tokenizer) -> str:
    return " ".join(token.strip().lower() for token in split(text))


@functools.cache
def _spacy_words() -> Tokenizer:
    with needed_for("splitting words as MS MARCO's script does", extra="answers"):
        from spacy.lang.en import English
    rules = English().tokenizer
    return lambda text: [token.text for token in rules(text)]
