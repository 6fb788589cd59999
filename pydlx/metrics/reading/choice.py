"""Accuracy of multiple choice on files of DREAM's form."""

from __future__ import annotations

from collections.abc import Mapping

from pydlx._checks import described
from pydlx.metrics.reading.sources import predictions_of
from pydlx.metrics.sources import Source, content_of


def dream_score(data: Source, predictions: Source) -> dict[str, float]:
    """How many of the questions' right choices were chosen, in percent.

    A choice is right if its text is the answer's. Questions without prediction are wrong, as are those whose answer is
    none of their choices, which then cannot be right.

    Args:
        data: the questions, ``[turns, [{question, choice, answer}], id]`` each: a path, or what was loaded.
        predictions: the text of the choice for each question, whose id is the dialogue's, a hyphen and the question's
            number in it, from 0: ``{"14-349-0": "To change her job."}``: a path, or a dict.

    Returns:
        ``accuracy``, of the ``total`` questions, and how many are ``right``.

    Raises:
        ValueError: a file is not UTF-8 or no JSON, a question occurs twice, there is none, or a prediction is of an
            unknown question or not one of its choices.
        TypeError: something is not what its field must be.
        OSError: a file cannot be read.
    """
    name = "dream_score"
    truth, place = _questions(*content_of(name, "data", data))
    given = predictions_of(name, predictions)
    for id, text in given.items():
        if id not in truth:
            raise ValueError(f"{name}: predictions must have ids of the data, got {id!r}")
        if text and text not in truth[id]["choice"]:
            raise ValueError(f"{name}: predictions must be choices of their question or empty, got {text!r} for {id!r}")
    if not truth:
        raise ValueError(f"{place} must have a question, got none")
    right = sum(given.get(id) == asked["answer"] in asked["choice"] for id, asked in truth.items())
    return {"accuracy": 100 * right / len(truth), "right": right, "total": len(truth)}


def _questions(content: object, place: str) -> tuple[dict[str, Mapping], str]:
    """The questions by id, and how errors begin."""
    if not isinstance(content, list | tuple):
        raise TypeError(f"{place} must be a path or a list of dialogues, got {described(content)}")
    truth: dict[str, Mapping] = {}
    for number, dialogue in enumerate(content):
        spot = f"{place}[{number}]"
        if not isinstance(dialogue, list | tuple) or len(dialogue) != 3 or not isinstance(dialogue[1], list | tuple):
            raise TypeError(f"{spot} must be [turns, questions, id], got {described(dialogue)}")
        for which, asked in enumerate(dialogue[1]):
            _check_question(f"{spot}[1][{which}]", asked)
            if (id := f"{dialogue[2]}-{which}") in truth:
                raise ValueError(f"{place} must have each question once, got {id!r} twice")
            truth[id] = asked
    return truth, place


def _check_question(spot: str, asked: object) -> None:
    choices = asked.get("choice") if isinstance(asked, Mapping) else None
    if not isinstance(choices, list | tuple) or not all(isinstance(text, str) for text in choices):
        raise TypeError(f"{spot} must be a question with a list of strings 'choice', got {described(asked)}")
    if not isinstance(asked, Mapping) or not isinstance(asked.get("answer"), str):
        raise TypeError(f"{spot} must have a string 'answer', got {described(asked)}")
