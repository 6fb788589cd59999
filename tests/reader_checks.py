"""Batches of random texts, and a check for all parts of readers: a padded batch against single examples."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from pydlx.data.text.tokens import Pieces, Tokens
from pydlx.models.text.encoders import RNN

WORDS, CHARACTERS, FEATURES = 30, 12, 3


def tokens(
    lengths: Sequence[int], *, characters: bool = True, features: bool = True, pieces: bool = False, seed: int = 0
) -> Tokens:
    """Random texts of these lengths, in words of one to five characters and one to three pieces."""
    draw = torch.Generator().manual_seed(seed)
    count, longest = len(lengths), max(lengths)
    mask = torch.arange(longest) < torch.tensor(lengths).unsqueeze(1)
    words = torch.randint(1, WORDS, (count, longest), generator=draw) * mask
    sizes = torch.randint(1, 6, (count, longest, 1), generator=draw) * mask.unsqueeze(-1)
    spelt = torch.randint(1, CHARACTERS, (count, longest, 5), generator=draw) * (torch.arange(5) < sizes)
    told = torch.rand(count, longest, FEATURES, generator=draw).double() * mask.unsqueeze(-1)
    cut = random_pieces(torch.randint(1, 4, (count, longest), generator=draw) * mask, draw) if pieces else None
    return Tokens(words, spelt if characters else None, told if features else None, cut)


def random_pieces(counts: Tensor, draw: torch.Generator) -> Pieces:
    """Random wordpieces of `encoder_samples.BERT`, so many (B, n) of each token, between marks 2 and 3."""
    sizes = counts.sum(1, keepdim=True) + 2
    place = torch.arange(int(sizes.max()))
    ids = torch.randint(4, 40, (len(counts), len(place)), generator=draw)
    ids = torch.where(place == 0, 2, torch.where(place == sizes - 1, 3, ids)) * (place < sizes)
    return Pieces(ids, place < sizes, (1 + counts.cumsum(1) - counts) * (counts > 0), counts)


def alone(text: Tokens, index: int) -> Tokens:
    """One example of a batch, without padding."""
    own = slice(index, index + 1), slice(int(text.lengths[index]))
    pieces = text.pieces
    if pieces is not None:
        read = slice(index, index + 1), slice(int(pieces.mask[index].sum()))
        pieces = Pieces(pieces.ids[read], pieces.mask[read], pieces.first[own], pieces.counts[own])
    return Tokens(*(None if part is None else part[own] for part in text[:3]), pieces)


def states(lengths: Sequence[int], size: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Random states (B, n, size) in float64, with numbers in padding that must not matter, and their mask."""
    draw = torch.Generator().manual_seed(seed)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths).unsqueeze(1)
    return torch.randn(*mask.shape, size, generator=draw, dtype=torch.float64), mask


def check_masks(module: nn.Module, run: Callable[..., Tensor], *texts: tuple[Tensor, Tensor]) -> None:
    """A batch gives what each example alone gives, and parameters and inputs the same gradients.

    Args:
        module: The part, in float64.
        run: From the states and masks of all texts to an output whose first dimension is the batch. An output that has
            the first text's tokens as its second dimension is compared there at its tokens.
        texts: States and masks.
    """
    module = module.double().eval()
    given = [x.clone().requires_grad_() for x, _ in texts]
    masks = [mask for _, mask in texts]
    out = run(*given, *masks)
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    by_token = out.dim() > 1 and out.shape[1] == masks[0].shape[1]
    if by_token:
        weights = weights * masks[0].view(*masks[0].shape, *[1] * (out.dim() - 2))
    wanted = list(module.parameters())
    padded = torch.autograd.grad(_dot(out, weights), [*given, *wanted])
    singles = [torch.zeros_like(x) for x in padded]
    for index in range(len(out)):
        lengths = [int(mask[index].sum()) for mask in masks]
        ones = [
            x[index : index + 1, :length].detach().requires_grad_() for x, length in zip(given, lengths, strict=True)
        ]
        one = run(*ones, *(mask[index : index + 1, :length] for mask, length in zip(masks, lengths, strict=True)))
        part = slice(0, lengths[0]) if by_token else slice(None)
        torch.testing.assert_close(out[index, part], one[0], rtol=0, atol=1e-10)
        gradients = torch.autograd.grad(_dot(one, weights[index : index + 1, part]), [*ones, *wanted])
        for total, gradient, length in zip(singles, gradients, lengths, strict=False):
            total[index, :length] += gradient[0]
        for total, gradient in zip(singles[len(given) :], gradients[len(given) :], strict=True):
            total += gradient
    for name, a, b in zip(
        ["input"] * len(given) + [n for n, _ in module.named_parameters()], padded, singles, strict=True
    ):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10, msg=lambda text, name=name: f"{name}: {text}")


def _dot(out: Tensor, weights: Tensor) -> Tensor:
    """A number that depends on all finite outputs."""
    return (torch.where(out.isfinite(), out, 0) * weights).sum()


def plain_rnn(part: RNN, plain: nn.RNNBase) -> nn.RNNBase:
    """PyTorch's module with the weights of a part."""
    plain = plain.double()
    with torch.no_grad():
        for suffix, directions in (("", part.forwards), ("_reverse", part.backwards)):
            for layer, direction in enumerate(directions):
                for name, weight in direction.named_parameters():
                    getattr(plain, name.replace("l0", f"l{layer}") + suffix).copy_(weight)
    return plain


def check_descends(model: nn.Module, loss: Callable[[], Tensor], step: float = 1e-6) -> None:
    """A small step against the gradient makes the loss smaller by as much as the gradient says."""
    before = loss()
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    found = torch.autograd.grad(before, weights, allow_unused=True)
    length = torch.stack([g.square().sum() for g in found if g is not None]).sum().sqrt()
    with torch.no_grad():
        for weight, gradient in zip(weights, found, strict=True):
            if gradient is not None:
                weight.sub_(step * gradient / length)
        torch.testing.assert_close(before - loss(), step * length, rtol=0.02, atol=0)
