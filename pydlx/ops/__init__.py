"""Operators, one file each: the public function, its PyTorch reference, and its registration with torch."""

from pydlx.ops.attention_rnn import attention_rnn
from pydlx.ops.box_iou import ragged_box_iou
from pydlx.ops.confusion_matrix import confusion_matrix
from pydlx.ops.corner_pool import bottom_right_pool, corner_pool, top_left_pool
from pydlx.ops.dct import dctn, dstn, idctn, idstn
from pydlx.ops.decode_corners import decode_corners
from pydlx.ops.decode_spans import decode_spans
from pydlx.ops.global_pointer_loss import global_pointer_loss
from pydlx.ops.mask_iou import ragged_mask_iou
from pydlx.ops.masked_poisson import solve_masked_poisson
from pydlx.ops.match_detections import match_detections, precision_curves
from pydlx.ops.nms import oks_nms, soft_nms, soft_oks_nms
from pydlx.ops.oks import oks, ragged_oks
from pydlx.ops.poisson import solve_gaussian_poisson, solve_poisson
from pydlx.ops.sequence_pool import sequence_pool
from pydlx.ops.soft_pool import soft_pool1d, soft_pool2d, soft_pool3d
from pydlx.ops.ssim import ms_ssim, ssim
from pydlx.ops.trilinear_attention import trilinear_attention
from pydlx.ops.zlpr_loss import zlpr_loss

__all__ = [
    "attention_rnn",
    "bottom_right_pool",
    "confusion_matrix",
    "corner_pool",
    "dctn",
    "decode_corners",
    "decode_spans",
    "dstn",
    "global_pointer_loss",
    "idctn",
    "idstn",
    "match_detections",
    "ms_ssim",
    "oks",
    "oks_nms",
    "precision_curves",
    "ragged_box_iou",
    "ragged_mask_iou",
    "ragged_oks",
    "sequence_pool",
    "soft_nms",
    "soft_oks_nms",
    "soft_pool1d",
    "soft_pool2d",
    "soft_pool3d",
    "solve_gaussian_poisson",
    "solve_masked_poisson",
    "solve_poisson",
    "ssim",
    "top_left_pool",
    "trilinear_attention",
    "zlpr_loss",
]
