"""Measures of how good a model's output is, each by its published definition.

Classes follow ``torchmetrics.Metric``: ``update`` with each batch, ``compute`` at the end, ``reset`` to start again;
they sum over the processes of ``torch.distributed`` and go into a ``torchmetrics.MetricCollection``.
"""

from pydlx.metrics.images import mae, ms_ssim, mse, psnr, rmse, sd, ssim

__all__ = ["mae", "ms_ssim", "mse", "psnr", "rmse", "sd", "ssim"]
