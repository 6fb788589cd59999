"""SoftPool layers, drop-in for ``torch.nn.MaxPool1d`` to ``MaxPool3d``.

Windows overlap if the kernel is larger than the stride: ``SoftPool2d(kernel_size=3, stride=2)`` has AlexNet's
overlapping windows, 55 pixels to 27 (Krizhevsky, Sutskever and Hinton, "ImageNet classification with deep convolutional
neural networks", 2012). `pydlx.nn.arithmetic.output_size` computes output sizes.
"""

from __future__ import annotations

from torch import Tensor, fx, nn

from pydlx.ops.soft_pool import Size, check_window, soft_pool1d, soft_pool2d, soft_pool3d

# torch.fx.symbolic_trace keeps each call as one node.
fx.wrap("soft_pool1d")
fx.wrap("soft_pool2d")
fx.wrap("soft_pool3d")


class _SoftPool(nn.Module):
    """Base class that holds the window."""

    _spatial: int

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        dilation: Size = 1,
        ceil_mode: bool = False,
        *,
        gradient: str = "exact",
    ) -> None:
        super().__init__()
        name = type(self).__name__
        check_window(name, self._spatial, kernel_size, stride, padding, dilation, ceil_mode, gradient)
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.ceil_mode = ceil_mode
        self.gradient = gradient

    def extra_repr(self) -> str:
        """The window, as torch's pooling layers print it."""
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}, gradient={self.gradient!r}"
        )


class SoftPool1d(_SoftPool):
    """(N, C, L) to (N, C, OL); see :func:`pydlx.ops.soft_pool1d`."""

    _spatial = 1

    def forward(self, x: Tensor) -> Tensor:
        """Pool x."""
        return soft_pool1d(
            x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, gradient=self.gradient
        )


class SoftPool2d(_SoftPool):
    """(N, C, H, W) to (N, C, OH, OW); see :func:`pydlx.ops.soft_pool2d`."""

    _spatial = 2

    def forward(self, x: Tensor) -> Tensor:
        """Pool x."""
        return soft_pool2d(
            x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, gradient=self.gradient
        )


class SoftPool3d(_SoftPool):
    """(N, C, D, H, W) to (N, C, OD, OH, OW); see :func:`pydlx.ops.soft_pool3d`."""

    _spatial = 3

    def forward(self, x: Tensor) -> Tensor:
        """Pool x."""
        return soft_pool3d(
            x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, gradient=self.gradient
        )
