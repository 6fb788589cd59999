r"""What answers are worth that no network gives: what shares words with the question, or is the most frequent.

    python examples/reading_baselines.py cmrc2018_dev.json --tokeniser characters
    python examples/reading_baselines.py xquad.en.json
    python examples/reading_baselines.py val.doc_query --kind cloze --answers val.answer \
        --train train.doc_query train.answer
    python examples/reading_baselines.py dream_test.json --kind choice --train dream_train.json
    python examples/reading_baselines.py dureader_search_dev.jsonl --kind free_answer

Sliding window: of each clause the best overlap of any window as long as the question, each shared token counting
log(1 + 1 / its count in the passage) (Richardson, Burges and Renshaw, EMNLP 2013, algorithm 1, without its distance
term); of a choice, that of the passage with the words of the question and the choice. TF-IDF: the cosine between clause
and question, or between the passage and the question with the choice, the clauses of the passage being the documents.

Gaps are filled with the most frequent word of the passage, or the one of the highest TF-IDF, of two characters or more;
choices made are also the place that is right most often in the training file. Free answers are whole paragraphs.
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


def best_choice(question: ChoiceQuestion, similarity, tokeniser) -> int:
    """The choice whose words, with the question's, the passage is most like."""
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
    """Exact match and F1 of clauses."""
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
    """Accuracy of words that stand out."""
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
    """Accuracy of the place that is right most often, and of choices that share words with the passage."""
    tokeniser = create_tokeniser(args.tokeniser)
    [place] = Counter(question.answer for path in args.train for question in read_dream(path)).most_common(1)
    asked = list(read_dream(args.data))
    show("place that is right most often", [question.answer == place[0] for question in asked])
    for similarity in (sliding_window, tf_idf):
        right = [best_choice(question, similarity, tokeniser) == question.answer for question in asked]
        show(similarity.__name__, right)


def free_answer(args: argparse.Namespace) -> None:
    """BLEU-4 and ROUGE-L of paragraphs: the first one, that with most of the question, and that most like it."""
    tokeniser = create_tokeniser("characters")
    questions = list(read_dureader(args.data))
    truth = [{"question_id": q.id, "question_type": q.kind, "answers": list(q.references)} for q in questions]

    def alike(question: Question) -> str:
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
        "tf_idf": lambda q: alike(as_question(q, tokeniser, paragraphs=1000)),
    }
    for name, way in ways.items():
        given = [{"question_id": q.id, "question_type": q.kind, "answers": [way(q)]} for q in questions]
        scores = pydlx.metrics.dureader_score(truth, given)
        print(f"{name}: ROUGE-L {scores['Rouge-L']:.1f}, BLEU-4 {scores['Bleu-4']:.1f} on {len(questions)} questions")


def show(name: str, right: Iterable[bool]) -> None:
    """A line of accuracy."""
    values = list(right)
    print(f"{name}: {100 * sum(values) / len(values):.1f} % right of {len(values)} questions", flush=True)


def main() -> None:
    """Prints the scores of each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", help="a file of SQuAD's, CMRC2017's, DREAM's or DuReader's form")
    parser.add_argument(
        "--kind", default="span", choices=("span", "cloze", "choice", "free_answer"), help="of the file"
    )
    parser.add_argument("--answers", help="of cloze: the words that are missing")
    parser.add_argument("--train", nargs="+", help="of cloze and choice: the file, or both files, to learn from")
    parser.add_argument("--tokeniser", default="words", choices=("words", "characters"))
    args = parser.parse_args()
    {"span": spans, "cloze": cloze, "choice": choice, "free_answer": free_answer}[args.kind](args)


if __name__ == "__main__":
    main()
