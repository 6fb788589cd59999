"""Splits cloze questions in CMRC2017's format into a training and a validation set, story by story.

    python examples/split_cloze.py cmrc2017_valid.doc_query cmrc2017_valid.answer --out cloze

Writes OUT/train.doc_query, train.answer, val.doc_query and val.answer. CMRC2017 asks several questions about one story,
each about another missing word, which the story's other copies show. So that no answer of the validation set is seen in
training, all questions whose passages share a sentence go into the same set.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

from pydlx.data.reading import BLANK, Question, read_cmrc2017
from pydlx.files import replacing


def main() -> None:
    """Reads the questions, splits them and writes both sets."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("doc_query", type=Path, help="passages and questions")
    parser.add_argument("answers", type=Path, help="the words that are missing")
    parser.add_argument("--held-out", type=int, default=400, help="questions to hold out, at least (default 400)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the draw of held-out stories (default 0)")
    parser.add_argument("--out", type=Path, default=Path("cloze"), help="output folder")
    options = parser.parse_args()
    groups = stories(list(read_cmrc2017(options.doc_query, options.answers)))
    random.Random(options.seed).shuffle(groups)
    held_out: list[Question] = []
    while groups and len(held_out) < options.held_out:
        held_out += groups.pop()
    if not groups:
        parser.error(f"--held-out must leave questions to train on, got {options.held_out} of {len(held_out)}")
    options.out.mkdir(parents=True, exist_ok=True)
    for name, part in (("train", [question for group in groups for question in group]), ("val", held_out)):
        write(options.out / f"{name}.doc_query", [line for question in part for line in lines_of(question)])
        write(options.out / f"{name}.answer", [f"<{q.id}> ||| {q.answers[0].text}" for q in part])
        print(f"{name}: {len(part)} questions about {len(stories(part))} stories")


def stories(questions: list[Question], min_words: int = 8) -> list[list[Question]]:
    """Groups questions by story: passages that share a sentence of ``min_words`` or more are of one story.

    Sharing is transitive: two passages that each share a sentence with a third are of one story too.
    """
    group_of: dict[str, list[Question]] = {}  # by sentence
    groups: dict[int, list[Question]] = {}
    for question in questions:
        lines = [line for line in question.passage.split("\n") if len(line.split()) >= min_words]
        sentences = [line for line in lines if BLANK not in line]
        met = {id(group): group for line in sentences if (group := group_of.get(line))}
        own = [each for group in met.values() for each in group] + [question]
        groups = {key: group for key, group in groups.items() if key not in met} | {id(own): own}
        group_of = {line: own if id(group) in met else group for line, group in group_of.items()} if met else group_of
        group_of |= dict.fromkeys(sentences, own)
    return list(groups.values())


def lines_of(question: Question) -> list[str]:
    """Returns the lines of the ``doc_query`` file for a question."""
    sentences = [f"{number} ||| {line}" for number, line in enumerate(question.passage.split("\n"), 1)]
    return [*sentences, f"<{question.id}> ||| {question.question}"]


def write(path: Path, lines: list[str]) -> None:
    """Writes the lines to a file."""
    with replacing(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
