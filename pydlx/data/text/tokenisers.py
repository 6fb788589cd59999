"""Tokenisers that return the offsets of tokens in the unchanged text."""

from __future__ import annotations

import re
import unicodedata
from typing import Protocol

from pydlx._checks import check_one_of, described
from pydlx._optional import needed_for

Offsets = list[tuple[int, int]]
_SURROGATES = re.compile("[\ud800-\udfff]")


class Tokeniser(Protocol):
    """The interface of tokenisers.

    Attributes:
        name: Name, for checkpoints and caches.
        version: Version of the implementation; caches of other versions are rebuilt.
    """

    name: str
    version: str

    def __call__(self, text: str) -> Offsets:
        """Return first character of each token and the one past its last, ascending and without white space."""


class Words:
    """Words, numbers and single symbols, by Hugging Face's ``tokenizers``; for English and similar languages.

    A word is a run of letters, digits and combining marks. Endings such as ``n't``, ``'s`` and ``'re`` are tokens of
    their own, as in GloVe's vocabulary. Numbers keep their separators (``1,000.5``). Each punctuation mark, symbol,
    emoji and Chinese character is a token.
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
    """Single Chinese, Japanese and Korean characters; runs of letters and digits of other scripts; single symbols.

    Examples: ``a～b`` has three tokens, ``二〇〇八年`` five, ``々カタ한국`` five, ``2008年`` two.
    """

    name = "characters"
    version = unicodedata.unidata_version
    _EAST_ASIAN = (
        # Radicals, iteration marks and zero, kana, bopomofo, hangul, ideographs, half-width forms, and planes 2 and 3.
        "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3038-\u303c\u3040-\u312f\u3131-\u318e\u31a0-\u31bf"
        "\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f\u1100-\u11ff\uac00-\ud7ff\uf900-\ufaff\uff66-\uffdc"
        "\U00020000-\U0003ffff"
    )
    _TOKEN = re.compile(rf"(?:(?![{_EAST_ASIAN}])[^\W_][\u0300-\u036f]*)+|\S")

    def __call__(self, text: str) -> Offsets:
        """The tokens' places."""
        return [found.span() for found in self._TOKEN.finditer(text)]


class Spaces:
    """Runs of characters without white space; for text that is already segmented into words."""

    name = "spaces"
    version = unicodedata.unidata_version
    _TOKEN = re.compile(r"\S+")

    def __call__(self, text: str) -> Offsets:
        """The tokens' places."""
        return [found.span() for found in self._TOKEN.finditer(text)]


class Spacy:
    """spaCy's rule-based tokeniser for English, without a trained pipeline."""

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
    """Create a tokeniser by its name.

    Args:
        name: ``"words"`` for English and similar languages, ``"characters"`` for Chinese, Japanese and Korean,
            ``"spaces"`` for segmented text, ``"spacy"`` for spaCy's English tokeniser.

    Raises:
        ImportError: If the library that it needs is not installed.
    """
    check_one_of("create_tokeniser", "name", name, TOKENISERS)
    return TOKENISERS[name]()


def _encodable(text: str) -> str:
    """Replace lone surrogates, which UTF-8 cannot encode, by U+FFFD; the length stays the same."""
    return _SURROGATES.sub("\ufffd", text)


def check_same_tokeniser(name: str, source: Tokeniser, wanted: Tokeniser) -> None:
    """Require that `source` was tokenised by the featurizer's tokeniser."""
    if source.name != wanted.name:
        raise ValueError(f"{name}: source must be tokenised by {wanted.name!r}, got {source.name!r}")


def check_tokeniser(name: str, argument: str, value: object) -> None:
    """Require a tokeniser."""
    if not (callable(value) and isinstance(getattr(value, "name", None), str)):
        raise TypeError(f"{name}: {argument} must be a tokeniser, as of create_tokeniser, got {described(value)}")
