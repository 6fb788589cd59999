"""The cache of tokens."""

import numpy as np
import pytest

from pydlx.data.reading import Question, TokenisedQuestions
from pydlx.data.text import cache as cache_module
from pydlx.data.text import create_tokeniser


class Counting:
    """The tokeniser of words, counting the texts it has split."""

    name, version = "words", "1"

    def __init__(self):
        self.texts, self._inner = 0, create_tokeniser("words")

    def __call__(self, text):
        self.texts += 1
        return self._inner(text)


QUESTIONS = [Question("1", "Ünï \ud83d code 二.", "Who?"), Question("2", "", "Who?"), Question("3", "a a b", "Why so?")]


@pytest.fixture
def cached(tmp_path):
    path = tmp_path / "tokens.npz"

    def read(questions=QUESTIONS, **changes):
        """Returns the tokens and the number of texts that were split."""
        tokeniser = Counting()
        vars(tokeniser).update(changes)
        return TokenisedQuestions(questions, tokeniser, cache=path).texts, tokeniser.texts

    read.path = path
    return read


def equal(a, b):
    return a.words == b.words and all(
        np.array_equal(getattr(a, n), getattr(b, n)) for n in ("bounds", "tokens", "offsets")
    )


def test_texts_are_cut_once(cached):
    plain = TokenisedQuestions(QUESTIONS, Counting()).texts
    first, cut = cached()
    again, cut_again = cached()
    assert (cut, cut_again) == (5, 0)
    assert equal(first, plain) and equal(again, plain)
    assert again.tokens.dtype == plain.tokens.dtype and again.offsets.dtype == plain.offsets.dtype


@pytest.mark.parametrize("change", ["text", "order", "fewer", "name", "version", "form"])
def test_it_is_made_again_when_something_changed(cached, change, monkeypatch):
    cached()
    questions, options = QUESTIONS, {}
    if change == "text":
        questions = [*QUESTIONS[:2], Question("3", "a a b!", "Why so?")]
    elif change == "order":
        questions = QUESTIONS[::-1]
    elif change == "fewer":
        questions = QUESTIONS[:2]
    elif change == "form":
        monkeypatch.setattr(cache_module, "_FORMAT", 99)
    else:
        options = {change: "other"}
    texts, cut = cached(questions, **options)
    assert cut > 0
    assert equal(texts, TokenisedQuestions(questions, Counting()).texts)
    assert cached(questions, **options)[1] == 0


@pytest.mark.parametrize(
    "damage", [lambda data: b"", lambda data: data[:-30], lambda data: b"x" * 99, lambda data: data[:200]]
)
def test_a_damaged_file_is_made_again(cached, damage):
    first, _ = cached()
    cached.path.write_bytes(damage(cached.path.read_bytes()))
    again, cut = cached()
    assert cut == 5 and equal(first, again)


def test_the_same_characters_in_other_texts_are_cut_again(cached):
    cached([Question("1", "ab", "c")])
    texts, cut = cached([Question("1", "a", "bc")])
    assert cut == 2 and texts.words == ["a", "bc"]


def test_a_flipped_byte_is_seen(cached):
    first, _ = cached()
    data = bytearray(cached.path.read_bytes())
    place = data.index(first.offsets.tobytes())
    data[place] ^= 1
    cached.path.write_bytes(data)
    again, cut = cached()
    assert cut == 5 and equal(first, again)


def test_nothing_is_left_of_a_failed_write(cached, monkeypatch):
    def fail(*args, **arrays):
        args[0].write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(OSError, match=r"tokens\.npz': No space left"):
        cached()
    assert list(cached.path.parent.iterdir()) == []
