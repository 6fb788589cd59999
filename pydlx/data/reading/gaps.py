"""Further cloze questions, made from those that there are."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator

from pydlx._checks import check_type, whole
from pydlx.data.reading.cloze import BLANK
from pydlx.data.reading.questions import Answer, Question


def further_gaps(questions: Iterable[Question], count: int, seed: int = 0) -> Iterator[Question]:
    """Makes gaps elsewhere in the passages of cloze questions, as CMRC2017's own were made.

    Cui and others, "Dataset for the first evaluation on Chinese machine reading comprehension", arXiv 1709.08299,
    section 3: a noun that a passage holds more than once is left out of one sentence, which is asked about. Words that
    are answers to any of the questions are such nouns. The gap that was there is filled with its word.

    Args:
        questions: Of ``read_cmrc2017`` with answers.
        count: Most gaps to make in a passage; fewer where it holds no more places.
        seed: Of the choice of places.

    Returns:
        Questions whose ids are those they were made of with ``-1``, ``-2`` and so on behind.
    """
    count, seed = whole("further_gaps", "count", count, 0), whole("further_gaps", "seed", seed, 0)
    check_type("further_gaps", "questions", questions, Iterable, "cloze questions")
    questions = list(questions)
    for question in questions:
        check_type("further_gaps", "questions", question, Question, "cloze questions")
    nouns = {answer.text for question in questions for answer in question.answers} - {""}
    draw = random.Random(seed)
    return (made for question in questions if question.answers for made in _made(question, nouns, count, draw))


def _made(question: Question, nouns: set[str], count: int, draw: random.Random) -> Iterator[Question]:
    """Questions with a gap at another place of the same passage."""
    word = question.answers[0].text
    old = next((place for place, line in enumerate(question.passage.split("\n")) if BLANK in line.split(" ")), -1)
    lines = [[word if token == BLANK else token for token in line.split(" ")] for line in question.passage.split("\n")]
    stands: dict[str, list[tuple[int, int]]] = {}
    for row, line in enumerate(lines):
        for column, token in enumerate(line):
            if token in nouns:
                stands.setdefault(token, []).append((row, column))
    places = [place for found in stands.values() if len(found) > 1 for place in found if place[0] != old]
    draw.shuffle(places)
    for number, (row, column) in enumerate(places[:count], 1):
        asked = " ".join([*lines[row][:column], BLANK, *lines[row][column + 1 :]])
        passage = "\n".join(
            [*(" ".join(line) for line in lines[:row]), asked, *(" ".join(ln) for ln in lines[row + 1 :])]
        )
        answer = lines[row][column]
        padded = f" {passage} ".replace("\n", " ")
        yield Question(f"{question.id}-{number}", passage, asked, (Answer(answer, padded.index(f" {answer} ")),))
