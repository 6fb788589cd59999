"""Pooling over time as a layer, for the outputs of ``torch.nn``'s recurrent and attention layers."""

from __future__ import annotations

from torch import Tensor, fx, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from pydlx.ops.sequence_pool import check_mode, sequence_pool

fx.wrap("sequence_pool")  # torch.fx.symbolic_trace keeps the call as one node


class SequencePool(nn.Module):
    """(B, T, C) to (B, C), or (B, k, C) for k-max; see :func:`pydlx.ops.sequence_pool`.

    Args:
        mode: ``"max"``, ``"mean"``, ``"soft"`` or ``"k-max"``.
        k: How many values ``"k-max"`` keeps.
    """

    def __init__(self, mode: str = "max", k: int | None = None) -> None:
        super().__init__()
        check_mode("SequencePool", mode, k)
        self.mode = mode
        self.k = k

    def forward(self, x: Tensor | PackedSequence, lengths: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Pool x over time.

        A ``PackedSequence`` has its own lengths and is padded first; the result is in the order of the batch before it
        was packed.
        """
        if isinstance(x, PackedSequence):
            if lengths is not None or mask is not None:
                raise ValueError("SequencePool: lengths and mask must be None for a PackedSequence, got one")
            x, lengths = pad_packed_sequence(x, batch_first=True)
        return sequence_pool(x, self.mode, lengths=lengths, mask=mask, k=self.k)

    def extra_repr(self) -> str:
        """Mode and k."""
        return f"mode={self.mode!r}" + (f", k={self.k}" if self.k is not None else "")
