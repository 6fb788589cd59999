"""Word and character embeddings against their papers, whatever padding follows a text."""

from __future__ import annotations

import pytest
import torch
from reader_checks import CHARACTERS, FEATURES, WORDS, alone, plain_rnn, tokens
from torch import nn

from pydlx.data.text.tokens import Tokens
from pydlx.models.text.embedding import CharacterCNN, CharacterRNN, TokenEmbedding, WordEmbedding

LENGTHS = (6, 1, 4)


def close(a, b):
    torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def test_only_the_words_that_are_tuned_have_gradients():
    embedding = WordEmbedding(7, 3, tune_partial=2)
    vectors = torch.arange(21.0).view(7, 3)
    embedding.load_vectors(vectors)
    words = torch.tensor([[2, 3, 4, 6, 1, 0, 3]])
    found = embedding(words)
    assert torch.equal(found[0, :4], vectors[[2, 3, 4, 6]])
    assert not found[0, 4:6].any()  # the unknown word and padding
    found.sum().backward()
    assert torch.equal(embedding.tuned.grad, torch.tensor([[1.0] * 3, [2.0] * 3]))


@pytest.mark.parametrize(("tune_partial", "trained"), [(0, 0), (3, 3), (99, 5), (None, 6)])
def test_as_many_words_are_trained_as_asked_for(tune_partial, trained):
    embedding = WordEmbedding(7, 3, tune_partial)
    assert sum(x.numel() for x in embedding.parameters()) == 3 * trained
    vectors = torch.randn(7, 3)
    embedding.load_vectors(vectors)
    wanted = vectors.clone()
    wanted[0] = 0
    if tune_partial is not None:
        wanted[1] = 0
    assert torch.equal(embedding(torch.arange(7)[None])[0], wanted)


def test_a_convolution_sees_the_characters_of_its_word_and_zeros_beyond():
    part, text = CharacterCNN(CHARACTERS, 3, 4, 3).double(), tokens(LENGTHS)
    found = part(text.characters)
    kernel, bias = part.convolution.weight, part.convolution.bias  # (4, 3, 3)
    for b, t in ((0, 0), (0, 5), (2, 3)):
        spelt = text.characters[b, t][text.characters[b, t] > 0]
        vectors = nn.functional.pad(part.vectors(spelt), (0, 0, 1, 1))
        scores = [bias + sum(kernel[:, :, k] @ vectors[i + k] for k in range(3)) for i in range(len(spelt))]
        close(found[b, t], torch.stack(scores).relu().amax(0))
    assert not found[~text.mask].any()


@pytest.mark.parametrize(("cell", "kind"), [("gru", nn.GRU), ("lstm", nn.LSTM)])
def test_an_rnn_over_characters_ends_at_the_end_of_each_word(cell, kind):
    part, text = CharacterRNN(CHARACTERS, 3, 4, cell).double(), tokens(LENGTHS)
    found = part(text.characters)
    plain = plain_rnn(part.rnn, kind(3, 4, bidirectional=True, batch_first=True))
    for b, t in ((0, 0), (0, 5), (2, 3)):
        spelt = text.characters[b, t][text.characters[b, t] > 0]
        _, last = plain(part.vectors(spelt)[None])
        close(found[b, t], (last if cell == "gru" else last[0]).flatten())
    assert not found[~text.mask].any()


@pytest.mark.parametrize("kind", [CharacterCNN, CharacterRNN])
def test_characters_of_a_batch_are_read_as_those_of_single_texts(kind):
    part, text = kind(CHARACTERS, 3, 4).double(), tokens(LENGTHS)
    found = part(text.characters)
    weights = torch.randn_like(found)
    gradients = torch.autograd.grad((found * weights).sum(), list(part.parameters()))
    singles = [torch.zeros_like(x) for x in gradients]
    for index, length in enumerate(LENGTHS):
        one = part(alone(text, index).characters)
        close(one[0], found[index, :length])
        loss = (one * weights[index : index + 1, :length]).sum()
        for total, gradient in zip(singles, torch.autograd.grad(loss, list(part.parameters())), strict=True):
            total += gradient
    for a, b in zip(gradients, singles, strict=True):
        close(a, b)


def test_what_a_reader_needs_and_does_not_get_is_said():
    embed = TokenEmbedding(WordEmbedding(WORDS, 6), CharacterCNN(CHARACTERS, 3, 4), FEATURES)
    assert [x.shape[-1] for x in embed.double()(tokens(LENGTHS))] == [6, 4, 3]
    assert embed.size == 13
    with pytest.raises(ValueError, match=r"characters must have shape \(B, n, characters\) for this model, got None"):
        embed(tokens(LENGTHS, characters=False))
    with pytest.raises(ValueError, match=r"features must have shape \(B, n, 3\) for this model, got \(3, 6, 2\)"):
        embed(Tokens(*tokens(LENGTHS)[:2], torch.zeros(3, 6, 2)))
    with pytest.raises(ValueError, match=r"load_vectors: vectors must have shape \(30, 6\), got \(30, 5\)"):
        embed.words.load_vectors(torch.zeros(30, 5))
    with pytest.raises(ValueError, match="CharacterCNN: width must be odd, got 4"):
        CharacterCNN(5, 3, 4, 4)
