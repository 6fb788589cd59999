"""Embeddings of words and characters by their ids. Padding words get zeros."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pydlx._checks import check_floating, whole, whole_or_none
from pydlx.data.text.tokens import PADDING, UNKNOWN, Tokens
from pydlx.models.text.encoders import RNN, final_states, last_states
from pydlx.models.text.hugging_face import HuggingFaceEncoder


class WordEmbedding(nn.Module):
    """Word ids (B, n) to vectors (B, n, size).

    Args:
        count: Size of the vocabulary, ``PADDING`` and ``UNKNOWN`` included.
        size: Size of a vector.
        tune_partial: Number of words whose vectors are trained, from id ``UNKNOWN + 1`` on. All others keep the vectors
            that were loaded, and the unknown word keeps zeros. None trains all words, the unknown one too.
    """

    def __init__(self, count: int, size: int, tune_partial: int | None = 0) -> None:
        super().__init__()
        count = whole("WordEmbedding", "count", count, UNKNOWN + 1)
        size = whole("WordEmbedding", "size", size, 1)
        tune_partial = whole_or_none("WordEmbedding", "tune_partial", tune_partial, 0)
        self.count, self.size = count, size
        first = UNKNOWN if tune_partial is None else UNKNOWN + 1
        last = count if tune_partial is None else min(first + tune_partial, count)
        self.first, self.last = first, last  # ids first ≤ id < last are trained
        vectors = torch.randn(count, size) / size**0.5
        vectors[PADDING] = vectors[UNKNOWN] = 0
        self.tuned = nn.Parameter(vectors[first:last].clone()) if first < last else None
        self.register_buffer("fixed", vectors if last - first < count - first else None)
        self.fixed: Tensor | None

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the vectors."""
        vectors = self.fixed if self.tuned is None else self.tuned
        assert vectors is not None
        return vectors.dtype

    def load_vectors(self, vectors: Tensor) -> None:
        """Start from vectors (count, size). The row of ``PADDING`` is ignored, that of ``UNKNOWN`` unless trained."""
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
        """Return vectors (B, n, size) of word ids (B, n)."""
        if self.tuned is None:
            assert self.fixed is not None
            return F.embedding(words, self.fixed)
        trained = (words >= self.first) & (words < self.last)
        place = (words - self.first).clamp(0, self.last - self.first - 1)
        tuned = F.embedding(place, self.tuned)
        fixed = tuned.new_zeros(()) if self.fixed is None else F.embedding(words, self.fixed)
        return torch.where(trained.unsqueeze(-1), tuned, fixed)


class CharacterCNN(nn.Module):
    """Character ids (B, n, w) to (B, n, filters): convolution, relu, and the maximum over each word's characters.

    Kim, "Convolutional neural networks for sentence classification". The filter is centred on each character in turn
    and sees zeros beyond the ends of the word, so words may be shorter than the filter, and padding changes nothing.

    Args:
        count: Size of the character vocabulary, ``PADDING`` and ``UNKNOWN`` included.
        size: Size of a character's vector.
        filters: Number of filters of the convolution.
        width: Width of a filter in characters; odd.
    """

    def __init__(self, count: int, size: int, filters: int, width: int = 5) -> None:
        super().__init__()
        if whole("CharacterCNN", "width", width, 1) % 2 == 0:
            raise ValueError(f"CharacterCNN: width must be odd, got {width}")
        self.size = whole("CharacterCNN", "filters", filters, 1)
        self.vectors = _characters("CharacterCNN", count, size)
        self.convolution = nn.Conv1d(size, filters, width, padding=width // 2)

    def forward(self, characters: Tensor) -> Tensor:
        """Return vectors (B, n, filters) of character ids (B, n, w)."""
        words = characters.flatten(0, 1)  # (B n, w)
        found = self.convolution(self.vectors(words).transpose(1, 2)).relu()  # (B n, filters, w)
        # After relu nothing is below 0: zeros in padding never raise the maximum, and padding words get zeros.
        real = (words != PADDING).unsqueeze(1)
        return (found * real).amax(2).unflatten(0, characters.shape[:2])


class CharacterRNN(nn.Module):
    """Character ids (B, n, w) to the final states (B, n, 2 hidden) of an RNN that reads each word in both directions.

    Without `bidirectional`, it reads forwards only and returns (B, n, hidden).

    Args:
        count: Size of the character vocabulary, ``PADDING`` and ``UNKNOWN`` included.
        size: Size of a character's vector.
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
        """Return vectors (B, n, size) of character ids (B, n, w)."""
        words, places = _distinct(characters.flatten(0, 1))  # (u, w), (B n,)
        mask = words != PADDING
        states = self.final(self.rnn(self.vectors(words), mask), mask)  # (u, size)
        if places is not None:
            states = states.index_select(0, places)
        return states.unflatten(0, characters.shape[:2])


def _characters(name: str, count: int, size: int) -> nn.Embedding:
    return nn.Embedding(whole(name, "count", count, UNKNOWN + 1), whole(name, "size", size, 1), PADDING)


def _distinct(words: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return the u distinct words (u, w) of words (N, w), and the index (N,) of each word among them.

    While compiling, u must not depend on the data: the words come back as they are, with None.
    """
    if torch.compiler.is_compiling():
        return words, None
    return torch.unique(words, dim=0, return_inverse=True)


class TokenEmbedding(nn.Module):
    """Vectors of tokens: word embeddings, character embeddings if there are any, and features.

    A pretrained encoder adds contextual vectors of the words, concatenated to their embeddings or instead of them.

    Args:
        words: Word embedding; None if only the pretrained encoder gives vectors of words.
        characters: `CharacterCNN`, `CharacterRNN`, or None.
        features: Number of features of a token.
        pretrained: The pretrained encoder, or None.

    Attributes:
        word_size: Size of a word's vector, the pretrained encoder's included.
        size: Size of all vectors and features of a token together.
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
        """Return one to three tensors (B, n, ...): words, characters, features."""
        return self.vectors(tokens) + self.feature_vectors(tokens)

    def word_vectors(self, tokens: Tokens) -> Tensor:
        """Return the word vectors, (B, n, word_size)."""
        if self.pretrained is None:
            assert self.words is not None
            return self.words(tokens.words)
        if tokens.pieces is None or tokens.pieces.first.shape != tokens.words.shape:
            shape = None if tokens.pieces is None else tuple(tokens.pieces.first.shape)
            raise ValueError(f"TokenEmbedding: pieces must be of the words (B, n) for this model, got {shape}")
        read = self.pretrained(tokens.pieces)
        return read if self.words is None else torch.cat([self.words(tokens.words), read], -1)

    def vectors(self, tokens: Tokens) -> list[Tensor]:
        """Return the word vectors and, if there are any, the character vectors."""
        parts = [self.word_vectors(tokens)]
        if self.characters is not None:
            parts.append(self.characters(_part("characters", tokens.characters, tokens.words, None)))
        return parts

    def feature_vectors(self, tokens: Tokens) -> list[Tensor]:
        """Return the features (B, n, features) in the vectors' dtype, or an empty list if the model has none."""
        if not self.features:
            return []
        given = self.pretrained if self.words is None else self.words
        assert given is not None
        return [_part("features", tokens.features, tokens.words, self.features).to(given.dtype)]


def _part(argument: str, part: Tensor | None, words: Tensor, size: int | None) -> Tensor:
    """Return a part of the tokens after checking that it has shape (B, n, size), where words are (B, n)."""
    if part is None or part.shape[:-1] != words.shape or size not in (None, part.shape[-1]):
        wanted = f"(B, n, {size or 'characters'})"
        shape = "None" if part is None else tuple(part.shape)
        raise ValueError(f"TokenEmbedding: {argument} must have shape {wanted} for this model, got {shape}")
    return part
