"""The base class of all readers: embedding of tokens, checks, scores and the loss."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from pydlx._checks import check_flag, check_number, whole
from pydlx.data.text.tokens import Tokens
from pydlx.models.readers.fusions import mark_fusion
from pydlx.models.readers.scores import Scores, SpanScores
from pydlx.models.text.embedding import CharacterCNN, CharacterRNN, TokenEmbedding, WordEmbedding
from pydlx.models.text.hugging_face import HuggingFaceEncoder


class Reader(nn.Module):
    """A model that maps a passage and a question to scores of the answer's start and end.

    Args:
        vocabulary_size: Size of the word vocabulary, ``PADDING`` and ``UNKNOWN`` included; 0 for no word embedding,
            which needs a pretrained encoder.
        word_dim: Size of a word's vector.
        tune_partial: Number of words whose vectors are trained, from id 2 on; None trains all. See `WordEmbedding`.
        characters: Character encoder, or None; readers build it if their option ``character_count`` is not 0.
        features: Number of features of a token.
        dropout: Dropout probability, checked here and used by the subclasses.
        no_answer: Whether the reader can say that there is no answer, by trainable scores: two for `SpanScores` (for
            start and end), one for other kinds.
        encoder_config: Text of a pretrained encoder's ``config.json``. Its vectors are concatenated to the words', or
            replace them. This and the next two are options of every reader, which takes them as ``**encoder``.
        pooling, freeze_encoder: See `HuggingFaceEncoder`.

    Attributes:
        embed: `TokenEmbedding`, from tokens to a list of their vectors.
        reads_question_features: Whether the reader uses the features of question tokens.
        features_in_paper: Whether the paper's reader has token features that compare both texts.
        scores_type: Type of the scores that the reader returns.
        longest_answer: Maximum number of tokens of an answer in training and inference; None for no limit.
        companion: Plain data that is saved with the reader: how text becomes ids, and the settings of its training.
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
        self.embed = mark_fusion(embed, "word") if features else embed
        self.null = nn.Parameter(torch.zeros(2 if self.scores_type is SpanScores else 1)) if no_answer else None

    def load_vectors(self, vectors: Tensor) -> None:
        """Start from word vectors (vocabulary_size, word_dim)."""
        if self.embed.words is None:
            raise ValueError(f"{type(self).__name__}: vocabulary_size must be positive to load vectors, got 0")
        self.embed.words.load_vectors(vectors)

    def load_pretrained(self, weights: dict[str, Tensor]) -> None:
        """Start from the weights of a pretrained encoder, as ``load_pretrained`` reads them."""
        if self.embed.pretrained is None:
            raise ValueError(f"{type(self).__name__}: encoder_config must be given to load its weights, got None")
        self.embed.pretrained.load_state_dict(weights)

    def forward(self, passage: Tokens, question: Tokens) -> Scores:
        """Return scores of the answer's place among the passage's n tokens, of type `scores_type`."""
        raise NotImplementedError

    def scores(self, start: Tensor, end: Tensor, mask: Tensor) -> SpanScores:
        """Make `SpanScores` of start and end scores (B, n): -inf in padding, and null scores with `no_answer`."""
        start, end = (scores.masked_fill(~mask, -torch.inf) for scores in (start, end))
        return SpanScores(start, end, None if self.null is None else self.null.expand(start.shape[0], 2))

    def loss(self, passage: Tokens, question: Tokens, start: Tensor, end: Tensor) -> Tensor:
        """Return the training loss: the mean over the batch of -log p(answer).

        Args:
            passage: B passages.
            question: B questions.
            start: (B,) int64, the answer's first token; -1 for no answer, if the reader has ``no_answer=True``.
            end: (B,) int64, its last token, inclusive; -1 for no answer.

        Raises:
            ValueError: If there is no answer and the reader has no ``no_answer``, or an answer ends before it starts.
        """
        self.check_answers(start, end)
        return self(passage, question).loss(start, end)

    def check_answers(self, start: Tensor, end: Tensor) -> None:
        """Refuse starts and ends (B,) that are no span, and -1 if the reader has no ``no_answer``."""
        if torch.compiler.is_compiling():
            return
        if self.null is None and bool((start < 0).any()):
            name = type(self).__name__
            raise ValueError(f"{name}: start must be a token of the passage, got -1, which needs no_answer=True")
        if bool(((end < start) | ((start < 0) & (end >= 0))).any()):
            raise ValueError(f"{type(self).__name__}: end must be start or a later token, or -1 as start is")
