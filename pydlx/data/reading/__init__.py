"""Questions about passages: file formats, tokens, answers, windows, batches and word vectors."""

from pydlx.data.reading.tokens import PADDING, UNKNOWN, ReadingBatch, Tokens

__all__ = ["PADDING", "UNKNOWN", "ReadingBatch", "Tokens"]
