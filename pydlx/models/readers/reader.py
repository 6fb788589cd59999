"""What all readers have in common: words, characters and features come in; scores go out and are learned from."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from pydlx._checks import check_flag, check_number, whole
from pydlx.data.text.tokens import Tokens
from pydlx.models.readers.fusions import fuses
from pydlx.models.readers.scores import Scores, SpanScores
from pydlx.models.text.embedding import CharacterCNN, CharacterRNN, TokenEmbedding, WordEmbedding
from pydlx.models.text.hugging_face import HuggingFaceEncoder


class Reader(nn.Module):
    """A model that maps a passage and a question to the scores of where the answer begins and ends.

    Args:
        vocabulary_size: Words, ``PADDING`` and ``UNKNOWN`` included; 0 for none, with a pretrained encoder.
        word_dim: Size of a word's vector.
        tune_partial: How many words are trained, from number 2 on; None trains all. See `WordEmbedding`.
        characters: What encodes the characters of a word, if anything does; readers build it if their
            ``character_count``, padding and the unknown character included, is not 0.
        features: Numbers that come with each token.
        dropout: Probability at the reader's sites.
        no_answer: Whether trainable scores stand for no answer: with `SpanScores` two, of beginning and of ending
            nowhere, with other kinds one.
        encoder_config: The text of a pretrained encoder's configuration. Its vectors stand beside the words', or in
            their place. This and what follows are options of every reader, which hands them on as ``**encoder``.
        pooling, freeze_encoder: See `HuggingFaceEncoder`.

    Attributes:
        embed: Tokens to a list of their vectors.
        reads_question_features: Whether the features of questions, if there are any, are used.
        features_in_paper: Whether the paper gives tokens features that compare both texts.
        scores_type: The kind of scores that the reader gives.
        longest_answer: Tokens of the longest answer that it gives and learns from; None for no limit.
        companion: Plain data that belongs to the reader and stays with it in files: how text becomes numbers.
    """

    companion: dict[str, Any] | None = None
    reads_question_features: ClassVar[bool] = True
    features_in_paper: ClassVar[bool] = False
    scores_type: type[Scores] = SpanScores
    longest_answer: int | None = None

    def __init__(
        self,
        vocabulary_size: int,
        word_dim: int,
        tune_partial: int | None,
        characters: CharacterCNN | CharacterRNN | None,
        features: int,
        dropout: float,
        no_answer: bool,
        /,
        *,
        encoder_config: str | None = None,
        pooling: str = "first",
        freeze_encoder: bool = False,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        check_flag(name, "no_answer", no_answer)
        check_number(name, "dropout", dropout)
        if not 0 <= dropout < 1:
            raise ValueError(f"{name}: dropout must be at least 0 and below 1, got {dropout}")
        whole(name, "features", features, 0)
        encoder = None if encoder_config is None else HuggingFaceEncoder(encoder_config, pooling, freeze_encoder)
        without = encoder is not None and vocabulary_size == 0
        words = None if without else WordEmbedding(vocabulary_size, word_dim, tune_partial)
        embed = TokenEmbedding(words, characters, features, encoder)
        self.embed = fuses(embed, "word") if features else embed
        self.null = nn.Parameter(torch.zeros(2 if self.scores_type is SpanScores else 1)) if no_answer else None

    def load_vectors(self, vectors: Tensor) -> None:
        """Start from these vectors of the words, (vocabulary_size, word_dim)."""
        if self.embed.words is None:
            raise ValueError(f"{type(self).__name__}: vocabulary_size must be positive to load vectors, got 0")
        self.embed.words.load_vectors(vectors)

    def load_pretrained(self, weights: dict[str, Tensor]) -> None:
        """Start from these weights of a pretrained encoder."""
        if self.embed.pretrained is None:
            raise ValueError(f"{type(self).__name__}: encoder_config must be given to load its weights, got None")
        self.embed.pretrained.load_state_dict(weights)

    def forward(self, passage: Tokens, question: Tokens) -> Scores:
        """Scores of where a passage's n tokens answer, of kind `scores_type`."""
        raise NotImplementedError

    def scores(self, start: Tensor, end: Tensor, mask: Tensor) -> SpanScores:
        """What most readers return: their scores (B, n), -inf in padding, and those of no answer if it learns them."""
        start, end = (scores.masked_fill(~mask, -torch.inf) for scores in (start, end))
        return SpanScores(start, end, None if self.null is None else self.null.expand(start.shape[0], 2))

    def loss(self, passage: Tokens, question: Tokens, start: Tensor, end: Tensor) -> Tensor:
        """What training makes small: the mean over the batch of -log p(answer).

        Args:
            passage: B of them.
            question: B of them.
            start: (B,): the answer's first token; -1 for none, if the reader was built with ``no_answer=True``.
            end: (B,): its last token, inclusive; -1 likewise.

        Raises:
            ValueError: If there is no answer, and the reader does not learn that, or one that ends before it begins.
        """
        self.check_answers(start, end)
        return self(passage, question).loss(start, end)

    def check_answers(self, start: Tensor, end: Tensor) -> None:
        """Refuses first and last tokens (B,) that are no span, and -1 if the reader does not learn of no answer."""
        if torch.compiler.is_compiling():
            return
        if self.null is None and bool((start < 0).any()):
            name = type(self).__name__
            raise ValueError(f"{name}: start must be a token of the passage, got -1, which needs no_answer=True")
        if bool(((end < start) | ((start < 0) & (end >= 0))).any()):
            raise ValueError(f"{type(self).__name__}: end must be start or a later token, or -1 as start is")
