"""The training batch of span readers."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from pydlx.data.text.tokens import Tokens


class ReadingBatch(NamedTuple):
    """A training batch of a span reader.

    Attributes:
        passage: B passages of up to n tokens.
        question: B questions of up to m tokens.
        start: (B,) int64, the answer's first token; -1 if the passage holds no answer.
        end: (B,) int64, its last token, inclusive; -1 if the passage holds no answer.
    """

    passage: Tokens
    question: Tokens
    start: Tensor
    end: Tensor
