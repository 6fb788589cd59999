"""From numbered words and characters to vectors. Padding words have zeros."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pydlx._checks import check_floating, whole, whole_or_none
from pydlx.data.text.tokens import PADDING, UNKNOWN, Tokens
from pydlx.models.text.encoders import RNN, final_states, last_states
from pydlx.models.text.hugging_face import HuggingFaceEncoder


class WordEmbedding(nn.Module):
    """(B, n) numbers of words to (B, n, size).

    Args:
        count: Words of the vocabulary, ``PADDING`` and ``UNKNOWN`` included.
        size: Of a vector.
        tune_partial: How many words are trained: those numbered from ``UNKNOWN + 1`` on. The rest stays as loaded, the
            unknown word at zeros. None trains all words, the unknown one too.
    """

    def __init__(self, count: int, size: int, tune_partial: int | None = 0) -> None:
        super().__init__()
        count = whole("WordEmbedding", "count", count, UNKNOWN + 1)
        size = whole("WordEmbedding", "size", size, 1)
        tune_partial = whole_or_none("WordEmbedding", "tune_partial", tune_partial, 0)
        self.count, self.size = count, size
        first = UNKNOWN if tune_partial is None else UNKNOWN + 1
        last = count if tune_partial is None else min(first + tune_partial, count)
        self.first, self.last = first, last  # the trained words
        vectors = torch.randn(count, size) / size**0.5
        vectors[PADDING] = vectors[UNKNOWN] = 0
        self.tuned = nn.Parameter(vectors[first:last].clone()) if first < last else None
        self.register_buffer("fixed", vectors if last - first < count - first else None)
        self.fixed: Tensor | None

    @property
    def dtype(self) -> torch.dtype:
        """Of the vectors."""
        vectors = self.fixed if self.tuned is None else self.tuned
        assert vectors is not None
        return vectors.dtype

    def load_vectors(self, vectors: Tensor) -> None:
        """Start from these, (count, size). That of ``PADDING`` is not used, of ``UNKNOWN`` if it is trained."""
        check_floating("load_vectors", "vectors", vectors)
        if vectors.shape != (self.count, self.size):
            wanted = (self.count, self.size)
            raise ValueError(f"load_vectors: vectors must have shape {wanted}, got {tuple(vectors.shape)}")
        with torch.no_grad():
            if self.tuned is not None:
                self.tuned.copy_(vectors[self.first : self.last])
            if self.fixed is not None:
                self.fixed[UNKNOWN + 1 :] = vectors[UNKNOWN + 1 :]

    def forward(self, words: Tensor) -> Tensor:
        """Words (B, n) to vectors (B, n, size)."""
        if self.tuned is None:
            assert self.fixed is not None
            return F.embedding(words, self.fixed)
        trained = (words >= self.first) & (words < self.last)
        place = (words - self.first).clamp(0, self.last - self.first - 1)
        tuned = F.embedding(place, self.tuned)
        fixed = tuned.new_zeros(()) if self.fixed is None else F.embedding(words, self.fixed)
        return torch.where(trained.unsqueeze(-1), tuned, fixed)


class CharacterCNN(nn.Module):
    """(B, n, w) characters to (B, n, filters): a convolution, relu, and the maximum over each word's characters.

    Kim, "Convolutional neural networks for sentence classification". The filter is centred on each character in turn,
    and sees zeros beyond the ends of its word, so that short words need no padding and long padding changes nothing.

    Args:
        count: Characters of the vocabulary, ``PADDING`` and ``UNKNOWN`` included.
        size: Of a character's vector.
        filters: Of the convolution.
        width: Characters that a filter sees; odd.
    """

    def __init__(self, count: int, size: int, filters: int, width: int = 5) -> None:
        super().__init__()
        if whole("CharacterCNN", "width", width, 1) % 2 == 0:
            raise ValueError(f"CharacterCNN: width must be odd, got {width}")
        self.size = whole("CharacterCNN", "filters", filters, 1)
        self.vectors = _characters("CharacterCNN", count, size)
        self.convolution = nn.Conv1d(size, filters, width, padding=width // 2)

    def forward(self, characters: Tensor) -> Tensor:
        """Characters (B, n, w) to vectors (B, n, filters)."""
        words = characters.flatten(0, 1)  # (B n, w)
        found = self.convolution(self.vectors(words).transpose(1, 2)).relu()  # (B n, filters, w)
        # No score is below zero after relu, so that zeros in padding never win and padding words have zeros.
        real = (words != PADDING).unsqueeze(1)
        return (found * real).amax(2).unflatten(0, characters.shape[:2])


class CharacterRNN(nn.Module):
    """(B, n, w) characters to (B, n, 2 hidden): the final states of an RNN that reads each word forwards and backwards.

    Or forwards alone, (B, n, hidden).

    Args:
        count: Characters of the vocabulary, ``PADDING`` and ``UNKNOWN`` included.
        size: Of a character's vector.
        hidden: Units per direction.
        cell: ``"gru"`` or ``"lstm"``.
        bidirectional: Whether to read backwards, too.
    """

    def __init__(self, count: int, size: int, hidden: int, cell: str = "gru", *, bidirectional: bool = True) -> None:
        super().__init__()
        self.vectors = _characters("CharacterRNN", count, size)
        self.rnn = RNN(size, hidden, cell=cell, bidirectional=bidirectional)
        self.final = final_states if bidirectional else last_states
        self.size = self.rnn.output

    def forward(self, characters: Tensor) -> Tensor:
        """Characters (B, n, w) to vectors (B, n, size)."""
        words, places = _distinct(characters.flatten(0, 1))  # (u, w), (B n,)
        mask = words != PADDING
        states = self.final(self.rnn(self.vectors(words), mask), mask)  # (u, size)
        if places is not None:
            states = states.index_select(0, places)
        return states.unflatten(0, characters.shape[:2])


def _characters(name: str, count: int, size: int) -> nn.Embedding:
    """The vectors of characters."""
    return nn.Embedding(whole(name, "count", count, UNKNOWN + 1), whole(name, "size", size, 1), PADDING)


def _distinct(words: Tensor) -> tuple[Tensor, Tensor | None]:
    """Words (N, w) without repetitions, (u, w), and the place of each in them; all, where a compiler must know u."""
    if torch.compiler.is_compiling():
        return words, None
    return torch.unique(words, dim=0, return_inverse=True)


class TokenEmbedding(nn.Module):
    """Tokens to their vectors: the words', the characters' if there are any, and the features.

    A pretrained encoder gives words vectors too, by their context, which stand beside their own or in place of these.

    Args:
        words: Of the words; None if an encoder alone gives them vectors.
        characters: `CharacterCNN`, `CharacterRNN`, or None.
        features: Numbers that each token brings along.
        pretrained: The encoder, or None.

    Attributes:
        word_size: Of a word's vector, the encoder's included.
        size: Of all that a token has.
    """

    def __init__(
        self,
        words: WordEmbedding | None,
        characters: CharacterCNN | CharacterRNN | None,
        features: int,
        pretrained: HuggingFaceEncoder | None = None,
    ) -> None:
        super().__init__()
        self.words, self.characters, self.features, self.pretrained = words, characters, features, pretrained
        self.word_size = (0 if words is None else words.size) + (0 if pretrained is None else pretrained.output)
        if not self.word_size:
            raise ValueError("TokenEmbedding: words must be given without a pretrained encoder, got None")
        self.size = self.word_size + (0 if characters is None else characters.size) + features

    def forward(self, tokens: Tokens) -> list[Tensor]:
        """One to three tensors (B, n, ...): words, characters, features."""
        return self.vectors(tokens) + self.told(tokens)

    def word_vectors(self, tokens: Tokens) -> Tensor:
        """The words' vectors, (B, n, word_size)."""
        if self.pretrained is None:
            assert self.words is not None
            return self.words(tokens.words)
        if tokens.pieces is None or tokens.pieces.first.shape != tokens.words.shape:
            shape = None if tokens.pieces is None else tuple(tokens.pieces.first.shape)
            raise ValueError(f"TokenEmbedding: pieces must be of the words (B, n) for this model, got {shape}")
        read = self.pretrained(tokens.pieces)
        return read if self.words is None else torch.cat([self.words(tokens.words), read], -1)

    def vectors(self, tokens: Tokens) -> list[Tensor]:
        """The words' vectors and, if there are any, the characters'."""
        parts = [self.word_vectors(tokens)]
        if self.characters is not None:
            parts.append(self.characters(_part("characters", tokens.characters, tokens.words, None)))
        return parts

    def told(self, tokens: Tokens) -> list[Tensor]:
        """The features, of the vectors' dtype, or nothing."""
        if not self.features:
            return []
        given = self.pretrained if self.words is None else self.words
        assert given is not None
        return [_part("features", tokens.features, tokens.words, self.features).to(given.dtype)]


def _part(argument: str, part: Tensor | None, words: Tensor, size: int | None) -> Tensor:
    """What belongs to the words (B, n), if it is (B, n, size)."""
    if part is None or part.shape[:-1] != words.shape or size not in (None, part.shape[-1]):
        wanted = f"(B, n, {size or 'characters'})"
        shape = "None" if part is None else tuple(part.shape)
        raise ValueError(f"TokenEmbedding: {argument} must have shape {wanted} for this model, got {shape}")
    return part
