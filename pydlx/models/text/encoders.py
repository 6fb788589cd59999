"""Encoders of sequences (B, n, d) with a mask (B, n), True at tokens. Values in padding never change a result."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pydlx._autograd import is_exporting_to_onnx
from pydlx._checks import check_one_of, whole


def flip(x: Tensor, mask: Tensor) -> Tensor:
    """Reverse each sequence of x (B, n, d) within its own length; padding stays in place."""
    batch, length = mask.shape
    place = torch.arange(length, device=x.device)
    last = mask.sum(1, keepdim=True) - 1
    source = torch.where(mask, last - place, place) + length * torch.arange(batch, device=x.device).unsqueeze(1)
    return x.flatten(0, 1).index_select(0, source.flatten()).view(x.shape)


def last_states(states: Tensor, mask: Tensor) -> Tensor:
    """Return the states (B, h) at the last token, of states (B, n, h); for an empty sequence, at position 0."""
    last = (mask.sum(1) - 1).clamp(min=0)[:, None, None].expand(-1, 1, states.shape[-1])
    return states.gather(1, last).squeeze(1)


def final_states(states: Tensor, mask: Tensor) -> Tensor:
    """Return final states (B, 2h) of states (B, n, 2h): forward half at the last token, backward half at the first."""
    forwards, backwards = states.chunk(2, -1)
    return torch.cat([last_states(forwards, mask), backwards[:, 0]], -1)


class VariationalDropout(nn.Module):
    """Dropout with one mask per sequence: the same elements are dropped at all tokens of a sequence (B, n, d).

    Gal and Ghahramani, "A theoretically grounded application of dropout in recurrent neural networks".
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor (B, n, d) like x."""
        if not self.training or self.probability == 0:
            return x
        return x * F.dropout(x.new_ones(x.shape[0], 1, x.shape[2]), self.probability)

    def extra_repr(self) -> str:
        """Show the probability in the model's ``repr``."""
        return str(self.probability)


class RNN(nn.Module):
    """Stacked LSTM or GRU layers: (B, n, size) to (B, n, output), zeros in padding.

    The backward direction reads each sequence from its own last token. Sequences are not packed: unpacked layers take a
    third of the time on a CPU, do not wait for the lengths on a GPU, and can be compiled and exported.

    Args:
        size: Size of an input vector.
        hidden: Units per direction.
        layers: Number of layers.
        cell: ``"lstm"`` or ``"gru"``.
        bidirectional: Whether to read in both directions. Their states are concatenated, forward first.
        dropout: Of the input of each layer; one mask per sequence.
        concatenate: Return the states of all layers concatenated, not only those of the last.

    Attributes:
        output: Size of an output vector.
    """

    def __init__(
        self,
        size: int,
        hidden: int,
        layers: int = 1,
        *,
        cell: str = "lstm",
        bidirectional: bool = True,
        dropout: float = 0.0,
        concatenate: bool = False,
    ) -> None:
        super().__init__()
        check_one_of("RNN", "cell", cell, ("lstm", "gru"))
        kind = nn.LSTM if cell == "lstm" else nn.GRU
        width = (2 if bidirectional else 1) * whole("RNN", "hidden", hidden, 1)
        sizes = [size] + [width] * (whole("RNN", "layers", layers, 1) - 1)
        self.forwards = nn.ModuleList(kind(size, hidden, batch_first=True) for size in sizes)
        self.backwards = nn.ModuleList(kind(size, hidden, batch_first=True) for size in sizes if bidirectional)
        self.dropout = VariationalDropout(dropout)
        self.concatenate = concatenate
        self.output = width * layers if concatenate else width

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return states (B, n, output) of x (B, n, size)."""
        layers = []
        for index, forwards in enumerate(self.forwards):
            backwards = self.backwards[index] if self.backwards else None
            states = _onnx_states if is_exporting_to_onnx() else _states
            x = states(forwards, backwards, self.dropout(x), mask).masked_fill(~mask.unsqueeze(-1), 0)
            layers.append(x)
        return torch.cat(layers, -1) if self.concatenate else x


def _states(forwards: nn.Module, backwards: nn.Module | None, x: Tensor, mask: Tensor) -> Tensor:
    """Return one layer's states, with arbitrary values in padding."""
    states = forwards(x)[0]
    if backwards is None:
        return states
    return torch.cat([states, flip(backwards(flip(x, mask))[0], mask)], -1)


def _onnx_states(forwards: Any, backwards: Any, x: Tensor, mask: Tensor) -> Tensor:
    """Compute the same by ONNX's LSTM or GRU, which take lengths: torch exports its own layers for one length only."""
    directions = [forwards] if backwards is None else [forwards, backwards]
    # Reorder the gates. LSTM: torch has i, f, g, o, ONNX i, o, f, c. GRU: torch has r, z, n, ONNX z, r, h.
    lstm = isinstance(forwards, nn.LSTM)
    order = torch.tensor([0, 3, 1, 2] if lstm else [1, 0, 2], device=x.device)

    def stacked(*names: str) -> Tensor:
        gates = (getattr(cell, f"{name}_l0").unflatten(0, (len(order), -1)) for cell in directions for name in names)
        gathered = torch.stack([gate.index_select(0, order) for gate in gates])  # (directions names, gates, h, ...)
        return gathered.unflatten(0, (len(directions), -1)).flatten(1, 3)

    attributes: dict[str, Any] = {"hidden_size": forwards.hidden_size}
    attributes["direction"] = "forward" if backwards is None else "bidirectional"
    if not lstm:
        attributes["linear_before_reset"] = 1
    lengths = mask.sum(1).clamp(min=1).to(torch.int32)  # the states of an empty sequence are masked later
    weights = [stacked("weight_ih"), stacked("weight_hh"), stacked("bias_ih", "bias_hh")]
    states = torch.onnx.ops.symbolic(
        "LSTM" if lstm else "GRU",
        [x.transpose(0, 1), *weights, lengths],
        attributes,
        dtype=x.dtype,
        shape=(x.shape[1], len(directions), x.shape[0], forwards.hidden_size),
    )
    return states.permute(2, 0, 1, 3).flatten(2)  # from (n, directions, B, hidden)


def position_code(length: int, size: int, like: Tensor) -> Tensor:
    """Return (length, size): sines, then cosines, of the position at wavelengths from 2π to 20000π.

    Vaswani and others, "Attention is all you need", section 3.5.
    """
    steps = -math.log(10000) / max(size // 2 - 1, 1)
    rates = torch.exp(steps * torch.arange(size // 2, device=like.device, dtype=torch.float32))
    angles = torch.arange(length, device=like.device, dtype=torch.float32).unsqueeze(1) * rates
    return torch.cat([angles.sin(), angles.cos()], 1).to(like.dtype)


class SeparableConvolution(nn.Module):
    """Depthwise convolution along the tokens, then a pointwise one across channels: (B, n, d) to (B, n, d)."""

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(size, size, width, padding=width // 2, groups=size, bias=False)
        self.pointwise = nn.Linear(size, size)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve x (B, n, d), which must be zero in padding: the convolution reads padding next to tokens."""
        return self.pointwise(self.depthwise(x.transpose(1, 2)).transpose(1, 2))


class SelfAttention(nn.Module):
    """Multi-head self-attention, (B, n, d) to (B, n, d)."""

    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.project = nn.Linear(size, 3 * size)
        self.merge = nn.Linear(size, size)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Attend from every token to all tokens; padding gets no weight."""
        query, key, value = self.project(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        # Each is (B, heads, n, d / heads).
        attended = F.scaled_dot_product_attention(query, key, value, mask[:, None, None])
        return self.merge(attended.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """Two linear layers with a relu between them, (B, n, d) to (B, n, d)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(size, size), nn.Linear(size, size)

    def forward(self, x: Tensor) -> Tensor:
        """Apply both layers to each token."""
        return self.outer(self.inner(x).relu())


class EncoderBlock(nn.Module):
    """QANet's encoder block, (B, n, d) to (B, n, d), zeros in padding: convolutions, self-attention, feed-forward.

    Yu and others, "QANet", arXiv 1804.09541, section 2.2. Each sublayer is x + f(layer_norm(x)).

    Args:
        size: d, even and a multiple of `heads`.
        convolutions: Number of convolutions in the block.
        width: Width of a convolution in tokens; odd.
        heads: Number of heads of the self-attention.
        dropout: Of the input of every second sublayer. Attention weights are not dropped.
        survival: Stochastic depth: probability that the last sublayer is kept in training. It falls linearly from 1
            over the sublayers. Each example drops sublayers on its own; a kept one is scaled by 1 / probability.
        sublayers: Number of sublayers before this block, and in the whole stack, where stochastic depth spans several
            blocks; by default this block is the whole stack.
        relu: Whether a convolution ends in relu.
        last_norm: Whether the block ends in another layer norm.
        position: Whether the position code is added to the input.
    """

    def __init__(
        self,
        size: int,
        convolutions: int,
        width: int,
        heads: int = 8,
        *,
        dropout: float = 0.1,
        survival: float = 0.9,
        sublayers: tuple[int, int] | None = None,
        relu: bool = True,
        last_norm: bool = False,
        position: bool = True,
    ) -> None:
        super().__init__()
        if whole("EncoderBlock", "size", size, 2) % 2 or size % whole("EncoderBlock", "heads", heads, 1):
            raise ValueError(f"EncoderBlock: size must be even and a multiple of the {heads} heads, got {size}")
        if whole("EncoderBlock", "width", width, 1) % 2 == 0:
            raise ValueError(f"EncoderBlock: width must be odd, got {width}")
        self.convolutions = nn.ModuleList(SeparableConvolution(size, width) for _ in range(convolutions))
        self.attention = SelfAttention(size, heads)
        self.feed_forward = FeedForward(size)
        self.norms = nn.ModuleList(nn.LayerNorm(size) for _ in range(convolutions + 2))
        self.last_norm = nn.LayerNorm(size) if last_norm else None
        self.dropout = nn.Dropout(dropout)
        before, total = sublayers or (0, convolutions + 2)
        self.kept = [1 - (before + index + 1) / total * (1 - survival) for index in range(convolutions + 2)]
        self.relu, self.position = relu, position

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Encode x (B, n, d), with its mask (B, n)."""
        real = mask.unsqueeze(-1)
        if self.position:
            x = x + position_code(x.shape[1], x.shape[2], x)
        sublayer = 0
        for convolution in self.convolutions:
            y = convolution(self._normed(x, sublayer).masked_fill(~real, 0))
            x = self._added(x, y.relu() if self.relu else y, sublayer)
            sublayer += 1
        x = self._added(x, self.attention(self._normed(x, sublayer), mask), sublayer)
        x = self._added(x, self.feed_forward(self._normed(x, sublayer + 1)), sublayer + 1)
        if self.last_norm is not None:
            x = self.last_norm(x)
        return x.masked_fill(~real, 0)

    def _normed(self, x: Tensor, sublayer: int) -> Tensor:
        x = self.norms[sublayer](x)
        return self.dropout(x) if sublayer % 2 == 0 else x

    def _added(self, x: Tensor, change: Tensor, sublayer: int) -> Tensor:
        """Return x + change, or x alone where stochastic depth drops the sublayer."""
        if not self.training or (kept := self.kept[sublayer]) == 1:
            return x + change
        alive = torch.rand(x.shape[0], 1, 1, device=x.device) < kept
        return x + change * (alive.to(change.dtype) / kept)
