r"""Baselines without a network for questions about texts: overlap of words, TF-IDF, and the most frequent answer.

    python examples/reading_baselines.py cmrc2018_dev.json --tokeniser characters
    python examples/reading_baselines.py xquad.en.json
    python examples/reading_baselines.py val.doc_query --kind cloze --answers val.answer \
        --train train.doc_query train.answer
    python examples/reading_baselines.py dream_test.json --kind choice --train dream_train.json
    python examples/reading_baselines.py dureader_search_dev.jsonl --kind free_answer

The file decides with --kind what is answered:

- span: the answer is the clause of the passage that is most like the question. ``sliding_window`` scores a clause by
  its best window as long as the question, where each token shared with the question counts log(1 + 1 / its count in the
  passage) (Richardson, Burges and Renshaw, EMNLP 2013, algorithm 1, without its distance term). ``tf_idf`` scores it by
  the cosine of TF-IDF vectors, where the clauses of the passage are the documents.
- choice: the same two scores compare the passage with the words of the question and one choice. A third baseline takes
  the position (A, B, C) that is right most often in the training file.
- cloze: the gap is filled with the word of the passage, of two characters or more, that is most frequent, has the
  highest TF-IDF, or is the answer to most training questions.
- free_answer: the answer is a whole paragraph.
"""

from __future__ import annotations

import argparse
import math
import re
from collections import Counter
from collections.abc import Iterable

import pydlx.metrics
from pydlx.data.reading import (
    BLANK,
    ChoiceQuestion,
    Question,
    as_question,
    create_tokeniser,
    read_cmrc2017,
    read_dream,
    read_dureader,
    read_squad,
)

CLAUSE = re.compile(r"[^,.;:!?，。；：！？、\n]+")


def words_of(text: str, tokeniser) -> list[str]:
    """The tokens of a text in lower case, without punctuation."""
    return [word for start, end in tokeniser(text) if (word := text[start:end].lower()).isalnum()]


def sliding_window(clause: list[str], asked: list[str], passage: list[str], clauses: list[list[str]]) -> float:
    """Returns the overlap with the question of the clause's best window."""
    counts, wanted = Counter(passage), set(asked)
    weights = [math.log(1 + 1 / counts[word]) if word in wanted else 0.0 for word in clause]
    size = max(1, len(asked))
    return max(sum(weights[first : first + size]) for first in range(max(1, len(weights) - size + 1)))


def tf_idf(clause: list[str], asked: list[str], passage: list[str], clauses: list[list[str]]) -> float:
    """Returns the cosine of the TF-IDF vectors of clause and question."""
    containing = Counter(word for words in clauses for word in set(words))

    def weighted(words: list[str]) -> dict[str, float]:
        return {word: n * math.log((1 + len(clauses)) / (1 + containing[word])) for word, n in Counter(words).items()}

    a, b = weighted(clause), weighted(asked)
    lengths = math.hypot(*a.values()) * math.hypot(*b.values())
    return sum(value * b.get(word, 0.0) for word, value in a.items()) / lengths if lengths else 0.0


def best_clause(question: Question, similarity, tokeniser) -> str:
    """Returns the clause with the highest score; the first of those with equal scores."""
    texts = CLAUSE.findall(question.passage) or [question.passage]
    clauses = [words_of(text, tokeniser) for text in texts]
    asked = words_of(question.question, tokeniser)
    passage = [word for clause in clauses for word in clause]
    scores = [similarity(clause, asked, passage, clauses) if clause else -1.0 for clause in clauses]
    return texts[scores.index(max(scores))].strip()


def best_choice(question: ChoiceQuestion, similarity, tokeniser) -> int:
    """Returns the position of the choice whose words, with the question's, score highest against the passage."""
    clauses = [words_of(text, tokeniser) for text in question.passage.split("\n")]
    passage = [word for clause in clauses for word in clause]
    asked = words_of(question.question, tokeniser)
    wanted = [asked + words_of(choice, tokeniser) for choice in question.choices]
    if similarity is sliding_window:
        scores = [sliding_window(passage, words, passage, clauses) for words in wanted]
    else:
        scores = [max(tf_idf(clause, words, passage, clauses) for clause in clauses) for words in wanted]
    return scores.index(max(scores))


def spans(args: argparse.Namespace) -> None:
    """Prints exact match and F1 of the best clauses."""
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


def cloze(args: argparse.Namespace) -> None:
    """Prints the accuracy of three ways to choose the missing word."""
    trained = list(read_cmrc2017(*args.train))
    spread = Counter(word for question in trained for word in set(question.passage.split()))
    known = Counter(question.answers[0].text for question in trained)
    asked = list(read_cmrc2017(args.data, args.answers))

    def counts(question: Question) -> Counter[str]:
        words = question.passage.split()
        return Counter(word for word in words if word != BLANK and word.isalnum() and len(word) > 1)

    ways = {
        "answer of most training questions": lambda found: max(found, key=lambda word: known[word]),
        "most frequent word": lambda found: found.most_common(1)[0][0],
        "tf_idf": lambda found: max(found, key=lambda w: found[w] * math.log((1 + len(trained)) / (1 + spread[w]))),
    }
    for name, way in ways.items():
        right = [way(counts(question)) == question.answers[0].text for question in asked]
        show(name, right)


def choice(args: argparse.Namespace) -> None:
    """Prints the accuracy of the position that is most often right, and of choices by overlap and by TF-IDF."""
    tokeniser = create_tokeniser(args.tokeniser)
    [place] = Counter(question.answer for path in args.train for question in read_dream(path)).most_common(1)
    asked = list(read_dream(args.data))
    show("place that is right most often", [question.answer == place[0] for question in asked])
    for similarity in (sliding_window, tf_idf):
        right = [best_choice(question, similarity, tokeniser) == question.answer for question in asked]
        show(similarity.__name__, right)


def free_answer(args: argparse.Namespace) -> None:
    """Prints BLEU-4 and ROUGE-L of the first paragraph, that with most words of the question, and TF-IDF's best."""
    tokeniser = create_tokeniser("characters")
    questions = list(read_dureader(args.data))
    truth = [{"question_id": q.id, "question_type": q.kind, "answers": list(q.references)} for q in questions]

    def best_by_tf_idf(question: Question) -> str:
        texts = question.passage.split("\n")
        lines = [words_of(text, tokeniser) for text in texts]
        asked = words_of(question.question, tokeniser)
        scores = [tf_idf(line, asked, [], lines) for line in lines]
        return texts[scores.index(max(scores))]

    ways = {
        "first paragraph": lambda q: next((text for d in q.documents for text in d.paragraphs), ""),
        "of the first document, the paragraph with most of the question": lambda q: (
            as_question(q, tokeniser, documents=1).passage
        ),
        "the two with most": lambda q: as_question(q, tokeniser, documents=1, paragraphs=2).passage,
        "tf_idf": lambda q: best_by_tf_idf(as_question(q, tokeniser, paragraphs=1000)),
    }
    for name, way in ways.items():
        given = [{"question_id": q.id, "question_type": q.kind, "answers": [way(q)]} for q in questions]
        scores = pydlx.metrics.dureader_score(truth, given)
        print(f"{name}: ROUGE-L {scores['Rouge-L']:.1f}, BLEU-4 {scores['Bleu-4']:.1f} on {len(questions)} questions")


def show(name: str, right: Iterable[bool]) -> None:
    """Prints a line with the accuracy."""
    values = list(right)
    print(f"{name}: {100 * sum(values) / len(values):.1f} % right of {len(values)} questions", flush=True)


def main() -> None:
    """Prints the scores of each baseline."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", help="a file of SQuAD's, CMRC2017's, DREAM's or DuReader's form")
    parser.add_argument(
        "--kind", default="span", choices=("span", "cloze", "choice", "free_answer"), help="kind of questions"
    )
    parser.add_argument("--answers", help="of cloze: the words that are missing")
    parser.add_argument("--train", nargs="+", help="of cloze and choice: the file, or both files, to learn from")
    parser.add_argument("--tokeniser", default="words", choices=("words", "characters"))
    args = parser.parse_args()
    {"span": spans, "cloze": cloze, "choice": choice, "free_answer": free_answer}[args.kind](args)


if __name__ == "__main__":
    main()
