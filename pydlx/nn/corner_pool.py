"""Corner pooling layers, as CornerNet's corner modules use them."""

from __future__ import annotations

from torch import Tensor, fx, nn

from pydlx.ops.corner_pool import bottom_right_pool, check_direction, corner_pool, top_left_pool

# torch.fx.symbolic_trace keeps each call as one node.
fx.wrap("corner_pool")
fx.wrap("top_left_pool")
fx.wrap("bottom_right_pool")


class CornerPool2d(nn.Module):
    """The running maximum of (N, C, H, W) from one edge, in the same shape; see :func:`pydlx.ops.corner_pool`."""

    def __init__(self, direction: str) -> None:
        super().__init__()
        check_direction("CornerPool2d", direction)
        self.direction = direction

    def forward(self, x: Tensor) -> Tensor:
        """Pool x."""
        return corner_pool(x, self.direction)

    def extra_repr(self) -> str:
        """The direction."""
        return f"direction={self.direction!r}"


class TopLeftPool2d(nn.Module):
    """Two feature maps (N, C, H, W) to the sum of their pools; see :func:`pydlx.ops.top_left_pool`."""

    def forward(self, top: Tensor, left: Tensor) -> Tensor:
        """Pool both and add."""
        return top_left_pool(top, left)


class BottomRightPool2d(nn.Module):
    """Two feature maps (N, C, H, W) to the sum of their pools; see :func:`pydlx.ops.bottom_right_pool`."""

    def forward(self, bottom: Tensor, right: Tensor) -> Tensor:
        """Pool both and add."""
        return bottom_right_pool(bottom, right)
