"""The encoder of entity taggers and relation models: words, bigrams, characters and wordpieces, read in context."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pydlx._checks import check_number, check_one_of, whole, whole_or_none
from pydlx.data.text.batch import TextBatch
from pydlx.data.text.tokens import UNKNOWN
from pydlx.models.text.embedding import CharacterCNN, WordEmbedding
from pydlx.models.text.encoders import RNN, EncoderBlock
from pydlx.models.text.hugging_face import HuggingFaceEncoder

ENCODERS = ("lstm", "transformer", "hugging_face")


class TextEncoder(nn.Module):
    """Texts of n tokens to vectors (B, n, output), zeros in padding.

    All embeddings of a token are concatenated, and one of three encoders reads them: ``"lstm"``, bidirectional LSTMs;
    ``"transformer"``, QANet's blocks of convolutions, self-attention and feed-forward layers, since attention alone
    learns little from small data; ``"hugging_face"``, a pretrained encoder, whose vectors are concatenated to the other
    embeddings, with LSTMs on top if `layers` is given.

    Args:
        beside: Size of an extra vector of each token, given to `forward`; 0 for none.
        encoder: ``"lstm"``, ``"transformer"`` or ``"hugging_face"``.
        vocabulary_size: Size of the word vocabulary, ``PADDING`` and ``UNKNOWN`` included; 0, the default, for none.
        word_dim: Size of a word's vector.
        tune_partial: Number of words whose vectors are trained; None for all. See `WordEmbedding`.
        bigram_count: Size of the vocabulary of bigrams; 0 for none. A token has two: with the token before and after.
        bigram_dim: Size of a bigram's vector.
        character_count: Size of the character vocabulary; 0 for none.
        character_dim: Size of a character's vector.
        character_filters: Filters of the character CNN.
        hidden: LSTM units per direction; size of the transformer.
        layers: Number of layers, two by default; on top of hugging_face, number of LSTM layers, none by default.
        heads: Heads of the transformer's attention.
        dropout: Of each layer's input and of the output.
        word_dropout: Share of words and bigrams that are replaced by the unknown one in training, so that it learns a
            vector.
        encoder_config: Text of a pretrained encoder's ``config.json``.
        pooling, freeze_encoder: See `HuggingFaceEncoder`.

    Attributes:
        output: Size of an output vector.
    """

    def __init__(
        self,
        beside: int = 0,
        /,
        *,
        encoder: str = "lstm",
        vocabulary_size: int = 0,
        word_dim: int = 100,
        tune_partial: int | None = None,
        bigram_count: int = 0,
        bigram_dim: int = 50,
        character_count: int = 0,
        character_dim: int = 30,
        character_filters: int = 50,
        hidden: int = 200,
        layers: int | None = None,
        heads: int = 8,
        dropout: float = 0.5,
        word_dropout: float = 0.0,
        encoder_config: str | None = None,
        pooling: str = "first",
        freeze_encoder: bool = False,
    ) -> None:
        super().__init__()
        name = "TextEncoder"
        check_one_of(name, "encoder", encoder, ENCODERS)
        for argument, share in (("dropout", dropout), ("word_dropout", word_dropout)):
            check_number(name, argument, share)
            if not 0 <= share < 1:
                raise ValueError(f"{name}: {argument} must be at least 0 and below 1, got {share}")
        if (encoder_config is None) == (encoder == "hugging_face"):
            raise ValueError(
                f"{name}: encoder_config must come with encoder hugging_face and no other, got {encoder!r}"
            )
        layers = whole_or_none(name, "layers", layers, 0 if encoder == "hugging_face" else 1)
        if layers is None:
            layers = 0 if encoder == "hugging_face" else 2
        self.words = WordEmbedding(vocabulary_size, word_dim, tune_partial) if vocabulary_size else None
        self.bigrams = WordEmbedding(bigram_count, bigram_dim, None) if bigram_count else None
        self.characters = None
        if character_count:
            self.characters = CharacterCNN(character_count, character_dim, character_filters, 3)
        self.pretrained = None
        if encoder_config is not None:
            self.pretrained = HuggingFaceEncoder(encoder_config, pooling, freeze_encoder)
        self.beside = whole(name, "beside", beside, 0)
        size = 0 if self.words is None else self.words.size
        size += 0 if self.bigrams is None else 2 * self.bigrams.size
        size += 0 if self.characters is None else self.characters.size
        size += 0 if self.pretrained is None else self.pretrained.output
        if not size:
            raise ValueError(f"{name}: vocabulary_size must be positive where nothing else is read, got 0")
        size += beside
        self.rnn = self.project = None
        self.blocks = nn.ModuleList()
        if encoder == "transformer":
            self.project = nn.Linear(size, whole(name, "hidden", hidden, 1))
            # Stochastic depth is five times weaker than dropout. A block has four sublayers: two convolutions,
            # attention and feed-forward.
            survival, count = 1 - dropout / 5, 4 * layers
            self.blocks.extend(
                EncoderBlock(
                    hidden,
                    2,
                    5,
                    heads,
                    dropout=dropout,
                    survival=survival,
                    sublayers=(4 * i, count),
                    last_norm=i == layers - 1,
                )
                for i in range(layers)
            )
        elif layers:
            self.rnn = RNN(size, hidden, layers, dropout=dropout)
        self.output = size if layers == 0 else hidden if self.rnn is None else self.rnn.output
        self.word_dropout = word_dropout
        self.dropout = nn.Dropout(dropout)

    def load_vectors(self, vectors: Tensor) -> None:
        """Start from word vectors (vocabulary_size, word_dim)."""
        if self.words is None:
            raise ValueError("TextEncoder: vocabulary_size must be positive to load vectors, got 0")
        self.words.load_vectors(vectors)

    def load_pretrained(self, weights: dict[str, Tensor]) -> None:
        """Start from the weights of a pretrained encoder, as ``load_pretrained`` reads them."""
        if self.pretrained is None:
            raise ValueError("TextEncoder: encoder must be hugging_face to load pretrained weights")
        self.pretrained.load_state_dict(weights)

    def forward(self, text: TextBatch, beside: Tensor | None = None) -> Tensor:
        """Return vectors (B, n, output) of the tokens, given their extra vectors (B, n, beside), if there are any."""
        if (0 if beside is None else beside.shape[-1]) != self.beside:
            shape = None if beside is None else tuple(beside.shape)
            raise ValueError(f"TextEncoder: beside must have shape (B, n, {self.beside}), got {shape}")
        x = torch.cat([*self._parts(text), *([] if beside is None else [beside])], -1)
        if self.project is not None:
            x = self.project(self.dropout(x))
        for block in self.blocks:
            x = block(x, text.mask)
        if self.rnn is not None:  # applies dropout to its input itself
            x = self.rnn(x, text.mask)
        return self.dropout(x).masked_fill(~text.mask.unsqueeze(-1), 0)

    def _parts(self, text: TextBatch) -> list[Tensor]:
        parts = []
        if self.pretrained is not None:
            parts.append(self.pretrained(_given("pieces", text.pieces)))
        if self.words is not None:
            parts.append(self.words(self._known(_given("words", text.words))))
        if self.bigrams is not None:
            before = self.bigrams(self._known(_given("bigrams", text.bigrams)))
            after = torch.cat([before[:, 1:], torch.zeros_like(before[:, :1])], 1)  # padding has zeros
            parts += [before, after]
        if self.characters is not None:
            parts.append(self.characters(_given("characters", text.characters)))
        return parts

    def _known(self, numbers: Tensor) -> Tensor:
        """Return the ids; in training, some are replaced by ``UNKNOWN`` (word dropout)."""
        if not self.training or self.word_dropout == 0:
            return numbers
        dropped = torch.rand(numbers.shape, device=numbers.device) < self.word_dropout
        return numbers.masked_fill(dropped & (numbers > UNKNOWN), UNKNOWN)


def _given(argument: str, part: Any) -> Any:
    """Return a part of the texts that the model needs, or raise if it is missing."""
    if part is None:
        raise ValueError(f"TextEncoder: {argument} must be part of the texts for this model, got None")
    return part
