"""BLEU and ROUGE-L against hand-computed numbers and slow forms of their formulas."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metrics.reading_samples import slow_bleu, slow_rouge

from pydlx.metrics import BleuScore, RougeLScore, bleu, rouge_l


def test_clipped_counts():
    """The paper's example: "the" counts twice, as in the reference that has it most."""
    values = bleu(["the the the the the the the"], [["the cat is on the mat", "there is a cat on the mat"]], n=2)
    assert values[0] == pytest.approx(2 / 7)
    assert values[1] == pytest.approx(math.sqrt(2 / 7 * 1e-15 / 6), rel=1e-6)


def test_counts_are_those_of_one_reference():
    """Each reference has it once; together they have it twice."""
    assert bleu(["a a"], [["a b", "b a"]], n=1)[0] == pytest.approx(1 / 2)


def test_reference_length_is_the_closest_and_the_shorter_of_two():
    """Of 2 and 4 words 2 counts for a candidate of 3, which takes no penalty; of 4 alone, or of 4 and 1, it does."""
    assert bleu(["a b c"], [["a b c d", "a b"]], n=1)[0] == pytest.approx(1)
    assert bleu(["a b c"], [["a b", "a b c d"]], n=1)[0] == pytest.approx(1)
    assert bleu(["a b c"], [["a", "a b c d"]], n=1)[0] == pytest.approx(math.exp(1 - 4 / 3))


def test_of_a_corpus_not_of_its_items():
    values = bleu(["a b c d e", "x"], [["a b c d e"], ["y"]])
    assert values == pytest.approx([5 / 6, math.sqrt(5 / 6), (5 / 6) ** (1 / 3), (5 / 6) ** (1 / 4)], rel=1e-6)


def test_nothing_in_common():
    assert bleu([""], [["a b"]]) == [0] * 4, "the penalty is exp(1 - 2e15)"
    assert bleu(["x y"], [["a b"]])[0] == pytest.approx(1e-15 / 2)


def test_rouge_takes_precision_and_recall_from_any_reference():
    """P = 3/3 from the first one, R = 2/2 from the second one: 1, where no single pair gives it."""
    assert rouge_l(["a b c"], [["a b c d e f", "a c"]]) == pytest.approx(1)
    assert rouge_l(["a b c"], [["a b c d e f"]]) == pytest.approx(2.44 * 0.5 / (0.5 + 1.44))
    assert rouge_l(["a b c"], [["a c"]]) == pytest.approx(2.44 * 2 / 3 / (1 + 1.44 * 2 / 3))


def test_rouge_of_empty_texts():
    """An empty text is one empty token."""
    assert rouge_l([""], [[""]]) == pytest.approx(1)
    assert rouge_l(["", "a"], [["a"], ["a"]]) == pytest.approx(1 / 2)
    assert rouge_l(["a  b"], [["a b"]]) == pytest.approx(2.44 * (2 / 3) / (1 + 1.44 * 2 / 3)), "two spaces hold a token"


TEXTS = st.lists(st.sampled_from(["a", "b", "b", "字", "cc"]), max_size=9).map(" ".join)
ITEMS = st.lists(st.tuples(TEXTS, st.lists(TEXTS, min_size=1, max_size=3)), min_size=1, max_size=4)


@settings(max_examples=80, deadline=None)
@given(ITEMS, st.integers(1, 5))
def test_against_the_slow_forms(items, n):
    candidates, references = [text for text, _ in items], [golds for _, golds in items]
    assert bleu(candidates, references, n) == pytest.approx(slow_bleu(candidates, references, n), rel=1e-9)
    assert rouge_l(candidates, references) == pytest.approx(slow_rouge(candidates, references), rel=1e-12)
    of_n, of_l = BleuScore(n), RougeLScore()
    for metric in (of_n, of_l):
        metric.update(candidates[:1], references[:1])
        metric.update(preds=candidates[1:], target=references[1:])
    values = [value.item() for value in of_n.compute().values()]
    assert values == pytest.approx(bleu(candidates, references, n), rel=1e-12)
    assert list(of_n.compute()) == [f"bleu_{k}" for k in range(1, n + 1)]
    assert of_l.compute().item() == pytest.approx(rouge_l(candidates, references), rel=1e-12)


def test_subsequences_of_long_texts():
    """More tokens than a machine word has bits."""
    text = " ".join(str(k * k % 97) for k in range(300))
    other = " ".join(str(k * 7 % 97) for k in range(250))
    assert rouge_l([text], [[other]]) == pytest.approx(slow_rouge([text], [[other]]), rel=1e-12)


def test_nothing_seen():
    assert RougeLScore().compute().isnan()
    assert BleuScore(2).compute()["bleu_2"] == 0


def test_bad_input():
    for score in (bleu, rouge_l):
        with pytest.raises(ValueError, match="candidates must hold a text, got none"):
            score([], [])
        with pytest.raises(ValueError, match="references must have a string for each text, got none at place 1"):
            score(["a", "b"], [["a"], []])
