"""Making more cloze questions from the passages of given ones."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator

from pydlx._checks import check_type, whole
from pydlx.data.reading.cloze import BLANK
from pydlx.data.reading.questions import Answer, Question


def further_gaps(questions: Iterable[Question], count: int, seed: int = 0) -> Iterator[Question]:
    """Make gaps at other places in the passages of cloze questions, in the way CMRC2017's own were made.

    Cui and others, "Dataset for the first evaluation on Chinese machine reading comprehension", arXiv 1709.08299,
    section 3: a noun that occurs more than once in a passage is removed from one sentence, which becomes the question.
    Here, nouns are the words that are answers to any of the given questions. The original gap is filled with its word.

    Args:
        questions: Questions with answers, such as ``read_cmrc2017`` returns.
        count: Maximum number of gaps to make in a passage.
        seed: Seed of the choice of places.

    Returns:
        An iterator of questions, whose ids are those of the original with ``-1``, ``-2`` and so on appended.
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
    """Yield questions with a gap at another place of the same passage."""
    word = question.answers[0].text
    old = next((place for place, line in enumerate(question.passage.split("\n")) if BLANK in line.split(" ")), -1)
    lines = [[word if token == BLANK else token for token in line.split(" ")] for line in question.passage.split("\n")]
    positions: dict[str, list[tuple[int, int]]] = {}
    for row, line in enumerate(lines):
        for column, token in enumerate(line):
            if token in nouns:
                positions.setdefault(token, []).append((row, column))
    places = [place for found in positions.values() if len(found) > 1 for place in found if place[0] != old]
    draw.shuffle(places)
    for number, (row, column) in enumerate(places[:count], 1):
        asked = " ".join([*lines[row][:column], BLANK, *lines[row][column + 1 :]])
        passage = "\n".join(
            [*(" ".join(line) for line in lines[:row]), asked, *(" ".join(ln) for ln in lines[row + 1 :])]
        )
        answer = lines[row][column]
        padded = f" {passage} ".replace("\n", " ")
        yield Question(f"{question.id}-{number}", passage, asked, (Answer(answer, padded.index(f" {answer} ")),))
