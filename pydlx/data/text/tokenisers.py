"""Tokenisers that say where in the text each token stands, by characters of the text as it came."""

from __future__ import annotations

import re
import unicodedata
from typing import Protocol

from pydlx._checks import check_one_of, described
from pydlx._optional import needed_for

Offsets = list[tuple[int, int]]
_SURROGATES = re.compile("[\ud800-\udfff]")


class Tokeniser(Protocol):
    """Cuts a text into tokens.

    Attributes:
        name: Says what it does, for checkpoints and caches.
        version: Of what cuts; caches of another one are rebuilt.
    """

    name: str
    version: str

    def __call__(self, text: str) -> Offsets:
        """First character of each token and the one past its last, ascending, not touching white space."""


class Words:
    """Words, numbers and single signs, by Hugging Face's ``tokenizers``; for English and the like.

    A word is a run of letters, digits and their combining marks. Cut off are ``n't``, ``'s``, ``'re`` and such, which
    word vectors know. Numbers keep what stands between their digits (``1,000.5``). Punctuation, symbols, emoji and
    Chinese characters are tokens each.
    """

    name = "words"

    def __init__(self) -> None:
        with needed_for("splitting text into words", extra="readers"):
            import tokenizers
        letter, end = r"[[\p{L}\p{M}\p{N}]&&[^\p{Han}]]", r"(?![\p{L}\p{M}\p{N}])"
        negation, ending = rf"[nN]['’][tT]{end}", rf"['’](?:[sSmMdD]|re|RE|ve|VE|ll|LL){end}"
        token = rf"\p{{N}}+(?:[.,]\p{{N}}+)+|{negation}|{ending}|(?:(?!{negation}){letter})+|\S"
        self.version = tokenizers.__version__
        self._split = tokenizers.pre_tokenizers.Split(tokenizers.Regex(token), behavior="removed", invert=True)

    def __call__(self, text: str) -> Offsets:
        """The tokens' places."""
        return [place for _, place in self._split.pre_tokenize_str(_encodable(text))]


class Characters:
    """Chinese, Japanese and Korean characters one by one; of other scripts runs of letters and digits; single signs.

    Of full width or not, ``a～b`` is three tokens, ``二〇〇八年`` five, ``々カタ한국`` five, ``2008年`` two.
    """

    name = "characters"
    version = unicodedata.unidata_version
    _EAST_ASIAN = (
        # Radicals, iteration marks and zero, kana, bopomofo, hangul, ideographs; those of half width; further planes.
        "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3038-\u303c\u3040-\u312f\u3131-\u318e\u31a0-\u31bf"
        "\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f\u1100-\u11ff\uac00-\ud7ff\uf900-\ufaff\uff66-\uffdc"
        "\U00020000-\U0003ffff"
    )
    _TOKEN = re.compile(rf"(?:(?![{_EAST_ASIAN}])[^\W_][\u0300-\u036f]*)+|\S")

    def __call__(self, text: str) -> Offsets:
        """The tokens' places."""
        return [found.span() for found in self._TOKEN.finditer(text)]


class Spaces:
    """What stands between white space; for text whose words are segmented already."""

    name = "spaces"
    version = unicodedata.unidata_version
    _TOKEN = re.compile(r"\S+")

    def __call__(self, text: str) -> Offsets:
        """The tokens' places."""
        return [found.span() for found in self._TOKEN.finditer(text)]


class Spacy:
    """SpaCy's tokeniser of English, without a trained pipeline."""

    name = "spacy"

    def __init__(self) -> None:
        with needed_for("spaCy's tokeniser", extra="spacy"):
            import spacy
        self.version = spacy.__version__
        self._language = spacy.blank("en")

    def __call__(self, text: str) -> Offsets:
        """The tokens' places."""
        return [
            (token.idx, token.idx + len(token))
            for token in self._language.make_doc(_encodable(text))
            if not token.is_space
        ]


TOKENISERS: dict[str, type[Tokeniser]] = {kind.name: kind for kind in (Words, Characters, Spaces, Spacy)}


def create_tokeniser(name: str) -> Tokeniser:
    """A tokeniser by its name.

    Args:
        name: ``"words"`` for English and the like, ``"characters"`` for Chinese, ``"spaces"`` for segmented text,
            ``"spacy"`` for spaCy's English.

    Raises:
        ImportError: The library that it needs is not installed.
    """
    check_one_of("create_tokeniser", "name", name, TOKENISERS)
    return TOKENISERS[name]()


def _encodable(text: str) -> str:
    """The text as UTF-8 can hold it and of the same length: halves of surrogate pairs become U+FFFD."""
    return _SURROGATES.sub("\ufffd", text)


def check_same_tokeniser(name: str, source: Tokeniser, wanted: Tokeniser) -> None:
    """Require that `source` was tokenised as a featurizer has it."""
    if source.name != wanted.name:
        raise ValueError(f"{name}: source must be tokenised by {wanted.name!r}, got {source.name!r}")


def check_tokeniser(name: str, argument: str, value: object) -> None:
    """Require a tokeniser."""
    if not (callable(value) and isinstance(getattr(value, "name", None), str)):
        raise TypeError(f"{name}: {argument} must be a tokeniser, as of create_tokeniser, got {described(value)}")
