"""BLEU-4 and ROUGE-L of free answers, as DuReader 2.0's script has them.

Texts are compared by characters: all but whitespace, with a space between each two.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pydlx._checks import check_one_of, described
from pydlx.metrics.reading.bleu import bleu
from pydlx.metrics.reading.rouge import rouge_l
from pydlx.metrics.sources import Source, place_of, records_of

TASKS = ("main", "all", "yesno", "entity", "description")
SOURCES = ("search", "zhidao")
LABELS = ("Yes", "No", "Depends")

_TYPES = {"yesno": "YES_NO", "entity": "ENTITY", "description": "DESCRIPTION"}
_NONE = [""]

Records = dict[str, Mapping[str, Any]]
Pairs = dict[tuple[str, str], tuple[str, list[str]]]  # (question, label): the text given and its references


def dureader_score(data: Source, predictions: Source, task: str = "main") -> dict[str, float]:
    """BLEU-4 and ROUGE-L of a file of answers, in percent; the official script rounds to two decimals.

    Both files have a JSON object in each line with ``question_id`` and ``answers``, a list of strings of which the
    first one of a prediction counts; as the task needs it ``question_type`` (in the data), ``yesno_answers`` (a label
    for each answer) and ``entity_answers`` (lists of strings: one in a prediction).

    A question without prediction has the empty answer. A question without references, or with the empty one alone, is
    left out. Predictions of questions that the data does not have are not looked at.

    Args:
        data: the right answers: a path, or a list of such records.
        predictions: the answers given, likewise.
        task: ``"main"``: all questions alike. ``"yesno"``: questions of that type; each label's answer is compared
            with the references of that label. ``"all"``: yes/no questions that way, the others as in main.
            ``"description"``, ``"entity"``: questions of that type; the latter also compares sets of entities, over
            all questions.

    Returns:
        ``Bleu-4`` and ``Rouge-L``. In the tasks main and all also of each source, as ``search|Bleu-4`` and
        ``zhidao|Bleu-4``, where the data has a field ``source``; of yes/no questions of each label, as
        ``Yes|Bleu-4``; NaN where there is nothing to compare. Of the entity task also ``Precision``, ``Recall`` and
        ``F1``: pooled over questions, each with the reference list that fits best, or the shortest if none does.

    Raises:
        ValueError: a file is not UTF-8 or no JSON, a question occurs twice, nothing is left to score, or a predicted
            label is none of ``Yes``, ``No``, ``Depends``.
        TypeError: a field is missing or not what it must be.
        OSError: a file cannot be read.
    """
    name = "dureader_score"
    check_one_of(name, "task", task, TASKS)
    truth, given = _records(name, "data", data, task), _records(name, "predictions", predictions, task)
    places = place_of(name, "data", data), place_of(name, "predictions", predictions)
    pairs: Pairs = {}
    for key, record in truth.items():
        if record.get("question_type") == "YES_NO" and task in ("yesno", "all"):
            pairs |= _by_label(places, key, record, given.get(key))
        elif task not in _TYPES or record["question_type"] == _TYPES[task]:
            answers = given[key]["answers"] if key in given else []
            pairs[key, ""] = ((answers or _NONE)[0], record["answers"])
    # By the texts as they are: references of blanks alone, or of two empty ones, stay.
    pairs = {key: pair for key, pair in pairs.items() if pair[1] not in ([], _NONE)}
    if not pairs:
        raise ValueError(f"{places[0]} must have a question with an answer for task {task!r}, got none")
    results = _texts_compared(list(pairs.values()))
    for part, chosen in _parts(task, truth, pairs).items():
        results |= {f"{part}|{key}": value for key, value in _texts_compared(chosen).items()}
    return results | (_entities_compared(truth, given) if task == "entity" else {})


def _parts(task: str, truth: Records, pairs: Pairs) -> dict[str, list[tuple[str, list[str]]]]:
    """What is also scored on its own: labels of yes/no questions, sources of all."""
    if task == "yesno":
        return {part: [pair for (_, label), pair in pairs.items() if label == part] for part in LABELS}
    if task in _TYPES or not all("source" in record for record in truth.values()):
        return {}
    return {part: [pair for (key, _), pair in pairs.items() if truth[key]["source"] == part] for part in SOURCES}


def _records(name: str, argument: str, source: Source, task: str) -> Records:
    records: Records = {}
    for spot, record in records_of(name, argument, source):
        key = record.get("question_id")
        if not isinstance(key, str | int) or isinstance(key, bool):
            raise TypeError(f"{spot} must have a 'question_id', got {described(key)}")
        _check_strings(spot, record, "answers")
        if argument == "data" and task != "main" and not isinstance(record.get("question_type"), str):
            raise TypeError(f"{spot} must have a 'question_type', got {described(record.get('question_type'))}")
        if task == "entity":
            _check_entities(spot, record, alone=argument == "predictions")
        if str(key) in records:
            raise ValueError(f"{spot} must be of a question of its own, got {key!r} again")
        records[str(key)] = record
    return records


def _check_strings(spot: str, record: Mapping[str, Any], field: str) -> None:
    value = record.get(field)
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise TypeError(f"{spot} must have a list of strings {field!r}, got {described(value)}")


def _check_entities(spot: str, record: Mapping[str, Any], alone: bool) -> None:
    lists = record.get("entity_answers")
    wanted = "a list 'entity_answers' of one list of strings" if alone else "lists of strings 'entity_answers'"
    if not isinstance(lists, list) or not lists or (alone and len(lists) > 1):
        raise TypeError(f"{spot} must have {wanted}, got {described(lists)}")
    if not all(isinstance(names, list) and all(isinstance(text, str) for text in names) for names in lists):
        raise TypeError(f"{spot} must have {wanted}, got {described(lists)}")


def _by_label(places: tuple[str, str], key: str, truth: Mapping[str, Any], given: Mapping[str, Any] | None) -> Pairs:
    """Of a yes/no question: for each label its first predicted text and all its references."""
    references: dict[str, list[str]] = {label: [] for label in LABELS}
    data, predictions = (f"{place}, question {key!r}," for place in places)
    for label, text in _labelled(data, truth):
        references.setdefault(label, []).append(text)
    spoken: dict[str, str] = {}
    for label, text in _labelled(predictions, given) if given else ():
        if label not in references:
            raise ValueError(f"{predictions} must have labels of {', '.join(LABELS)}, got {label!r}")
        spoken.setdefault(label, text)
    return {(key, label): (spoken.get(label, ""), golds) for label, golds in references.items()}


def _labelled(spot: str, record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Labels and texts, as many as there are of both."""
    _check_strings(spot, record, "yesno_answers")
    return list(zip(record["yesno_answers"], record["answers"], strict=False))


def _texts_compared(pairs: Sequence[tuple[str, list[str]]]) -> dict[str, float]:
    if not pairs:
        return {"Bleu-4": math.nan, "Rouge-L": math.nan}
    candidates = [" ".join(characters(text)) for text, _ in pairs]
    references = [[" ".join(characters(text)) for text in golds] for _, golds in pairs]
    return {"Bleu-4": 100 * bleu(candidates, references)[3], "Rouge-L": 100 * rouge_l(candidates, references)}


def characters(text: str) -> str:
    """What the script compares: the characters of a text that are not blank."""
    return "".join(text.split())


def _entities_compared(truth: Records, given: Records) -> dict[str, float]:
    right = found = wanted = 0
    for key, record in truth.items():
        names = given[key]["entity_answers"][0] if key in given else []
        best = _best_list(names, record["entity_answers"])
        right += len(set(names) & set(best))
        found += len(set(names))
        wanted += len(set(best))
    if not right:
        return {"Precision": 0.0, "Recall": 0.0, "F1": 0.0}
    precision, recall = right / found, right / wanted
    return {"Precision": 100 * precision, "Recall": 100 * recall, "F1": 200 * precision * recall / (precision + recall)}


def _best_list(names: list[str], golds: list[list[str]]) -> list[str]:
    best = max(golds, key=lambda gold: _entity_f1(names, gold))
    return best if _entity_f1(names, best) else min(golds, key=len)


def _entity_f1(names: list[str], gold: list[str]) -> float:
    common = sum((Counter(names) & Counter(gold)).values())
    if not common:
        return 0.0
    precision, recall = common / len(names), common / len(gold)  # in these steps, which decide between equal lists
    return 2 * precision * recall / (precision + recall)
