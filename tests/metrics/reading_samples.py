"""Small data sets of questions, and slow scores that follow the definitions word by word."""

from __future__ import annotations

import itertools
import math


def data_set(golds, version="1.1"):
    """SQuAD's JSON with a question for each id, two in a paragraph."""
    questions = [
        {"id": key, "question": "?", "answers": [{"text": text, "answer_start": 0} for text in texts]}
        for key, texts in golds.items()
    ]
    paragraphs = [{"context": "...", "qas": questions[start : start + 2]} for start in range(0, len(questions), 2)]
    return {"version": version, "data": [{"title": "a", "paragraphs": paragraphs[:1]}, {"paragraphs": paragraphs[1:]}]}


def slow_bleu(candidates, references, n):
    """BLEU-1 to BLEU-n by the formulas, with n-grams counted one by one."""
    hits, guesses, length, reference = [0] * n, [0] * n, 0, 0
    for candidate, golds in zip(candidates, references, strict=True):
        words, others = candidate.split(), [gold.split() for gold in golds]
        length += len(words)
        best = None
        for other in others:
            distance = abs(len(other) - len(words))
            if best is None or distance < best[0] or (distance == best[0] and len(other) < best[1]):
                best = distance, len(other)
        reference += best[1]
        for k in range(n):
            grams = [words[i : i + k + 1] for i in range(len(words) - k)]
            guesses[k] += max(0, len(words) - k)
            for place, gram in enumerate(grams):
                if gram in grams[:place]:
                    continue
                most = max(sum(other[i : i + k + 1] == gram for i in range(len(other) - k)) for other in others)
                hits[k] += min(grams.count(gram), most)
    shares = [(hit + 1e-15) / (guess + 1e-9) for hit, guess in zip(hits, guesses, strict=True)]
    ratio = (length + 1e-15) / (reference + 1e-9)
    penalty = math.exp(1 - 1 / ratio) if ratio < 1 else 1
    return [math.prod(shares[:k]) ** (1 / k) * penalty for k in range(1, n + 1)]


def slow_rouge(candidates, references):
    """Mean ROUGE-L, with the longest common subsequence from its table."""

    def common(a, b):
        table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
        for i, j in itertools.product(range(len(a)), range(len(b))):
            same = table[i][j] + 1 if a[i] == b[j] else 0
            table[i + 1][j + 1] = max(same, table[i][j + 1], table[i + 1][j])
        return table[-1][-1]

    total = 0
    for candidate, golds in zip(candidates, references, strict=True):
        words, others = candidate.split(" "), [gold.split(" ") for gold in golds]
        precision = max(common(words, other) / len(words) for other in others)
        recall = max(common(words, other) / len(other) for other in others)
        if precision and recall:
            total += (1 + 1.44) * precision * recall / (recall + 1.44 * precision)
    return total / len(candidates)


LISTED = [*"-:_*^/\\~`+=", *"，。：？！“”；’《》", "……", *"·、「」（）－～『』"]


def slow_cmrc(prediction, golds, split):
    """Exact match and F1 of one answer, with the longest common run from its table."""

    def kept(text):
        return "".join(character for character in text.lower().strip() if character not in LISTED)

    def segments(text):
        found, run = [], ""
        for character in [*kept(text), None]:
            if character is None or 0x4E00 <= ord(character) <= 0x9FA5:
                found += split(run) if run else []
                run = ""
                found += [character] if character else []
            else:
                run += character
        return found

    def f1(a, b):
        run = max(
            (
                length
                for length in range(min(len(a), len(b)) + 1)
                for i in range(len(a))
                for j in range(len(b))
                if i + length <= len(a) and a[i : i + length] == b[j : j + length]
            ),
            default=0,
        )
        return 2 * (run / len(a)) * (run / len(b)) / (run / len(a) + run / len(b)) if run else 0

    exact = any(kept(prediction) == kept(gold) for gold in golds)
    return float(exact), max(f1(segments(prediction), segments(gold)) for gold in golds)
