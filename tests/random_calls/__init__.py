"""Random calls of every op, each comparable with the float64 reference, on any device.

    for call in random_calls("soft_pool2d", count=100, seed=0):
        compare(call, "cuda")

needs torch and pydlx only. ``tests/ops/test_random_settings.py`` has hypothesis draw the same calls.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import partial

from random_calls import detections, entities, images, pooling, reading, transforms
from random_calls.call import Call, TooClose, compare
from random_calls.draw import Draw

__all__ = ["ON_GPU", "OPS", "Call", "Draw", "TooClose", "compare", "random_calls"]

# Every function of pydlx.ops, and what draws a call of it.
OPS: dict[str, Callable[[Draw], Call]] = {
    "attention_rnn": reading.attention_rnn,
    "bottom_right_pool": partial(pooling.corner_pair, op="bottom_right_pool", first="bottom", second="right"),
    "confusion_matrix": images.confusion_matrix,
    "corner_pool": pooling.corner_pool,
    "decode_corners": detections.decode_corners,
    "decode_spans": reading.decode_spans,
    "global_pointer_loss": entities.global_pointer_loss,
    "match_detections": detections.match_detections,
    "ms_ssim": images.ms_ssim,
    "oks": detections.oks,
    "oks_nms": detections.oks_nms,
    "precision_curves": detections.precision_curves,
    "ragged_box_iou": detections.ragged_box_iou,
    "ragged_mask_iou": detections.ragged_mask_iou,
    "ragged_oks": detections.ragged_oks,
    "sequence_pool": pooling.sequence_pool,
    "soft_nms": detections.soft_nms,
    "soft_oks_nms": detections.soft_oks_nms,
    "solve_gaussian_poisson": transforms.gaussian_poisson,
    "solve_masked_poisson": transforms.masked_poisson,
    "solve_poisson": transforms.poisson,
    "ssim": images.ssim,
    "top_left_pool": partial(pooling.corner_pair, op="top_left_pool", first="top", second="left"),
    "trilinear_attention": reading.trilinear_attention,
    "zlpr_loss": entities.zlpr_loss,
    **{f"soft_pool{spatial}d": partial(pooling.soft_pool, spatial=spatial) for spatial in (1, 2, 3)},
    **{op: partial(transforms.cosine, op=op) for op in ("dctn", "dstn", "idctn", "idstn")},
}

# Those that take CUDA tensors; the others evaluate on the CPU and say so.
_ON_CPU = ("match_detections", "precision_curves", "ragged_box_iou", "ragged_mask_iou")
ON_GPU = [op for op in OPS if op not in _ON_CPU]


def random_calls(op: str, count: int, seed: int = 0) -> Iterator[Call]:
    """So many calls of an op, the same ones for a seed."""
    for number in range(count):
        yield OPS[op](Draw(random.Random(f"{op} {seed} {number}")))
