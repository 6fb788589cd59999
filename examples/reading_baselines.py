"""What answers are worth that no network gives: whole clauses of the passage that share words with the question.

    python examples/reading_baselines.py cmrc2018_dev.json --tokeniser characters
    python examples/reading_baselines.py xquad.en.json

Sliding window: of each clause the best overlap of any window as long as the question, each shared token counting
log(1 + 1 / its count in the passage) (Richardson, Burges and Renshaw, EMNLP 2013, algorithm 1, without its distance
term). TF-IDF: the cosine between clause and question, the clauses of the passage being the documents.
"""

from __future__ import annotations

import argparse
import math
import re
from collections import Counter

import pydlx.metrics
from pydlx.data.reading import Question, create_tokeniser, read_squad

CLAUSE = re.compile(r"[^,.;:!?，。；：！？、\n]+")


def words_of(text: str, tokeniser) -> list[str]:
    """The tokens of a text in lower case, without punctuation."""
    return [word for start, end in tokeniser(text) if (word := text[start:end].lower()).isalnum()]


def sliding_window(clause: list[str], asked: list[str], passage: list[str], clauses: list[list[str]]) -> float:
    """The best window's overlap with the question."""
    counts, wanted = Counter(passage), set(asked)
    weights = [math.log(1 + 1 / counts[word]) if word in wanted else 0.0 for word in clause]
    size = max(1, len(asked))
    return max(sum(weights[first : first + size]) for first in range(max(1, len(weights) - size + 1)))


def tf_idf(clause: list[str], asked: list[str], passage: list[str], clauses: list[list[str]]) -> float:
    """The cosine of the two weighted counts."""
    spread = Counter(word for words in clauses for word in set(words))

    def weighted(words: list[str]) -> dict[str, float]:
        return {word: n * math.log((1 + len(clauses)) / (1 + spread[word])) for word, n in Counter(words).items()}

    a, b = weighted(clause), weighted(asked)
    lengths = math.hypot(*a.values()) * math.hypot(*b.values())
    return sum(value * b.get(word, 0.0) for word, value in a.items()) / lengths if lengths else 0.0


def best_clause(question: Question, similarity, tokeniser) -> str:
    """The clause most like the question; the first of equal ones."""
    texts = CLAUSE.findall(question.passage) or [question.passage]
    clauses = [words_of(text, tokeniser) for text in texts]
    asked = words_of(question.question, tokeniser)
    passage = [word for clause in clauses for word in clause]
    scores = [similarity(clause, asked, passage, clauses) if clause else -1.0 for clause in clauses]
    return texts[scores.index(max(scores))].strip()


def main() -> None:
    """Prints exact match and F1 of each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", help="a JSON file of SQuAD's form")
    parser.add_argument("--tokeniser", default="words", choices=("words", "characters"))
    args = parser.parse_args()
    tokeniser = create_tokeniser(args.tokeniser)
    scores_of = (
        pydlx.metrics.cmrc_answer_scores if args.tokeniser == "characters" else pydlx.metrics.squad_answer_scores
    )
    questions = list(read_squad(args.data))
    for similarity in (sliding_window, tf_idf):
        answers = [best_clause(question, similarity, tokeniser) for question in questions]
        golds = [[answer.text for answer in question.answers] for question in questions]
        scores = [scores_of(answer, texts) for answer, texts in zip(answers, golds, strict=True)]
        exact, f1 = (100 * sum(column) / len(scores) for column in zip(*scores, strict=True))
        print(f"{similarity.__name__}: exact match {exact:.1f}, F1 {f1:.1f} on {len(scores)} questions", flush=True)


if __name__ == "__main__":
    main()
