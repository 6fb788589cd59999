"""Questions, answers and predictions from files or from memory, with errors that say what is wrong and where."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pydlx._checks import described, is_number, listed
from pydlx.metrics.sources import Source, content_of


class Truth(NamedTuple):
    """What a data set says.

    Attributes:
        golds: the right answers of each question by its id, in the file's order. Ids that are numbers are strings here.
        version: as the file states it, if it does.
    """

    golds: dict[str, list[str]]
    version: str | None


def truth_of(name: str, source: Source) -> Truth:
    """The questions of a data set and their right answers.

    Args:
        name: of the function that is called.
        source: SQuAD's JSON (``data``, ``paragraphs``, ``qas``, ``answers`` with ``text``) or CMRC2018's first form
            (a list of passages with ``qas``, ``query_id`` and ``answers`` of strings): a path, or what was loaded.

    Raises:
        ValueError: a file is not UTF-8 or no JSON, a question occurs twice, or there is none.
        TypeError: something is not what its field must be.
    """
    content, place = content_of(name, "data", source)
    golds: dict[str, list[str]] = {}
    for spot, question in _questions(content, place):
        key = question.get("id", question.get("query_id"))
        if not isinstance(key, str | int) or isinstance(key, bool):
            raise TypeError(f"{spot} must have an 'id' that is a string, got {described(key)}")
        key = str(key)  # as read_squad has it, too: keys of a file of predictions are strings
        if key in golds:
            raise ValueError(f"{place} must have each question once, got {key!r} twice")
        golds[key] = _answers(spot, question)
    if not golds:
        raise ValueError(f"{place} must have a question, got none")
    version = content.get("version") if isinstance(content, Mapping) else None
    return Truth(golds, None if version is None else str(version))


def _questions(content: Any, place: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if isinstance(content, Mapping) and "data" in content:
        content, place = content["data"], f"{place} ['data']"
    if not isinstance(content, list | tuple):
        raise TypeError(f"{place} must be a path, SQuAD's dict with 'data', or its list, got {described(content)}")
    for number, article in enumerate(content):
        spot = f"{place}[{number}]"
        passages = article.get("paragraphs", [article]) if isinstance(article, Mapping) else None
        if not isinstance(passages, list | tuple):
            raise TypeError(f"{spot} must be an article with 'paragraphs', got {described(article)}")
        for paragraph in passages:
            questions = paragraph.get("qas") if isinstance(paragraph, Mapping) else None
            if not isinstance(questions, list | tuple) or not all(isinstance(qa, Mapping) for qa in questions):
                raise TypeError(f"{spot} must have paragraphs with a list 'qas', got {described(paragraph)}")
            for question in questions:
                yield spot, question


def _answers(spot: str, question: Mapping[str, Any]) -> list[str]:
    answers = question.get("answers")
    if not isinstance(answers, list | tuple):
        raise TypeError(f"{spot} must have questions with a list 'answers', got {described(answers)}")
    golds = []
    for answer in answers:
        text = answer.get("text") if isinstance(answer, Mapping) else answer
        if not isinstance(text, str):
            raise TypeError(f"{spot} must have answers that are strings, got {described(text)}")
        golds.append(text)
    return golds


def predictions_of(name: str, source: Source) -> dict[str, str]:
    """The predicted answer of each question: a JSON object of strings by id, as a path or a dict."""
    content, place = content_of(name, "predictions", source)
    if not isinstance(content, Mapping):
        raise TypeError(f"{place} must be answers by question, as a path or a dict, got {described(content)}")
    for key, answer in content.items():
        if not isinstance(key, str) or not isinstance(answer, str):
            raise TypeError(f"{place} must be strings, got {described(answer)} for question {key!r}")
    return dict(content)


def probabilities_of(name: str, source: Source) -> dict[str, float]:
    """How probable it is that a question has no answer: a JSON object of numbers by id, as a path or a dict."""
    content, place = content_of(name, "na_probs", source)
    if not isinstance(content, Mapping):
        raise TypeError(f"{place} must be probabilities by question, as a path or a dict, got {described(content)}")
    for key, value in content.items():
        if not is_number(value) or value != value:
            raise TypeError(f"{place} must be numbers, got {described(value)} for question {key!r}")
    try:
        return {key: float(value) for key, value in content.items()}
    except OverflowError:
        raise ValueError(f"{place} must be numbers that float64 can hold, got a larger one") from None


def texts(name: str, argument: str, value: Any) -> list[str]:
    """A list of strings."""
    found = listed(name, argument, value, "a list of strings")
    for entry in found:
        if not isinstance(entry, str):
            raise TypeError(f"{name}: {argument} must be a list of strings, got {described(entry)} in it")
    return found


def references_of(name: str, argument: str, value: Any, count: int) -> list[list[str]]:
    """`count` lists of strings."""
    wanted = "a list of strings for each text"
    found = listed(name, argument, value, wanted)
    if len(found) != count:
        raise ValueError(f"{name}: {argument} must be {wanted}, {count} in all, got {len(found)}")
    return [texts(name, argument, entry) for entry in found]


def at_least_one(name: str, argument: str, golds: Sequence[Sequence[str]]) -> None:
    """Requires that no question is without a reference."""
    for number, entry in enumerate(golds):
        if not entry:
            raise ValueError(f"{name}: {argument} must have a string for each text, got none at place {number}")
