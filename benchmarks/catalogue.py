"""The benchmarks that ``pydlx bench`` can run, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pydlx.benchmarks import import_time
from pydlx.benchmarks.blending import blend, gp_gan
from pydlx.benchmarks.case import Item, Setting
from pydlx.benchmarks.metrics import box_ap, keypoint_ap, mask_ap
from pydlx.benchmarks.models import cornernet, dynamic_decoder, span_scores
from pydlx.benchmarks.nn import pyramid_pool
from pydlx.benchmarks.ops import (
    attention_rnn,
    confusion_matrix,
    corner_pool,
    dct,
    decode_corners,
    decode_spans,
    global_pointer_loss,
    masked_poisson,
    nms,
    oks,
    poisson,
    sequence_pool,
    soft_pool,
    ssim,
    trilinear_attention,
    zlpr_loss,
)

CATALOGUE: dict[str, Callable[[Setting], Iterable[Item]]] = {
    "soft_pool": soft_pool.cases,
    "sequence_pool": sequence_pool.cases,
    "attention_rnn": attention_rnn.cases,
    "corner_pool": corner_pool.cases,
    "pyramid_pool": pyramid_pool.cases,
    "confusion_matrix": confusion_matrix.cases,
    "oks": oks.cases,
    "nms": nms.cases,
    "decode_corners": decode_corners.cases,
    "decode_spans": decode_spans.cases,
    "trilinear_attention": trilinear_attention.cases,
    "zlpr_loss": zlpr_loss.cases,
    "global_pointer_loss": global_pointer_loss.cases,
    "dct": dct.cases,
    "poisson": poisson.cases,
    "masked_poisson": masked_poisson.cases,
    "ssim": ssim.cases,
    "blend": blend.cases,
    "gp_gan": gp_gan.cases,
    "cornernet": cornernet.cases,
    "dynamic_decoder": dynamic_decoder.cases,
    "span_scores": span_scores.cases,
    "keypoint_ap": keypoint_ap.cases,
    "box_ap": box_ap.cases,
    "mask_ap": mask_ap.cases,
    "import": import_time.cases,
}
