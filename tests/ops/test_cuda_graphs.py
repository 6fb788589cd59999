"""Capture in CUDA graphs: every op that does not wait for the host is captured once and replayed on other inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from pydlx import ops

SIGMAS = [0.1, 0.2, 0.1, 0.3]
Inputs = tuple[Tensor, ...]


def draw(*shape: int, seed: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def image(seed: int) -> Inputs:
    return (draw(2, 3, 24, 36, seed=seed),)


def images(seed: int) -> Inputs:
    return draw(2, 3, 24, 36, seed=seed), draw(2, 3, 24, 36, seed=seed + 100)


def large_images(seed: int) -> Inputs:
    return draw(1, 1, 176, 180, seed=seed), draw(1, 1, 176, 180, seed=seed + 100)


def sequences(seed: int) -> Inputs:
    return draw(3, 11, 8, seed=seed), (1 + 10 * draw(3, seed=seed + 100)).long()


READER = {"memory_weight": (6, 8), "input_weight": (6, 8), "bias": (6,), "score": (6,), "weight_ih": (12, 16)}
READER |= {"weight_hh": (12, 4), "bias_ih": (12,), "bias_hh": (12,), "state_weight": (6, 4), "gate_weight": (16, 16)}


def reading(seed: int) -> Inputs:
    return *sequences(seed), *(draw(*shape, seed=seed + i) - 0.5 for i, shape in enumerate(READER.values()))


def read(x: Tensor, lengths: Tensor, *weights: Tensor) -> Tensor:
    return ops.attention_rnn(x, x.flip(1), **dict(zip(READER, weights, strict=True)), lengths=lengths)


def poses(seed: int) -> Inputs:
    pred, truth = 90 * draw(2, 5, 4, 2, seed=seed), 90 * draw(2, 3, 4, 2, seed=seed + 100)
    return pred, truth, (draw(2, 3, 4, seed=seed + 200) > 0.3).int(), 900 * draw(2, 3, seed=seed + 300) + 90


def boxes(seed: int) -> Inputs:
    corners = 50 * draw(2, 40, 2, seed=seed)
    return torch.cat([corners, corners + 10 + 20 * draw(2, 40, 2, seed=seed + 100)], -1), draw(2, 40, seed=seed + 200)


def scored_poses(seed: int) -> Inputs:
    points = 20 * draw(2, 9, 4, 2, seed=seed)
    return points, draw(2, 9, seed=seed + 100), 300 + 90 * draw(2, 9, seed=seed + 200)


def labels(seed: int) -> Inputs:
    return (5 * draw(2, 30, 30, seed=seed)).long(), (5 * draw(2, 30, 30, seed=seed + 100)).long()


def masked(seed: int) -> Inputs:
    return draw(2, 3, 24, 36, seed=seed), draw(2, 24, 36, seed=seed + 100) > 0.3


def solve_masked(rhs: Tensor, mask: Tensor) -> Tensor:
    return torch.ops.pydlx.masked_poisson(rhs, mask, None, 1e-6, 20)[0]


def logits(seed: int) -> Inputs:
    return draw(2, 5, 30, 30, seed=seed), (5 * draw(2, 30, 30, seed=seed + 100)).long()


def corner_maps(seed: int) -> Inputs:
    return tuple(draw(2, channels, 40, 50, seed=seed + 100 * i) for i, channels in enumerate((3, 3, 1, 1, 2, 2)))


def scored_tokens(seed: int) -> Inputs:
    return draw(3, 40, seed=seed), draw(3, 40, seed=seed + 100)


def texts(seed: int) -> Inputs:
    return draw(2, 30, 6, seed=seed), draw(2, 9, 6, seed=seed + 100), draw(18, seed=seed + 200)


def compare_texts(context: Tensor, question: Tensor, weight: Tensor) -> Sequence[Tensor]:
    similarity, *softmaxes = ops.trilinear_attention(context, question, weight)
    return *softmaxes, similarity


def scored_labels(seed: int) -> Inputs:
    return draw(4, 900, seed=seed), draw(4, 900, seed=seed + 100) > 0.9


def tokens(seed: int) -> Inputs:
    ends = (70 * draw(9, 2, seed=seed + 200)).long().sort(1).values
    spans = torch.cat([torch.arange(9).view(9, 1) % 2, torch.arange(9).view(9, 1) % 3, ends], 1)
    return draw(2, 3, 70, 8, seed=seed), draw(2, 3, 70, 8, seed=seed + 100), spans


# Name -> (inputs from a seed, call, whether its gradient with respect to the first input is captured along).
CAPTURED: dict[str, tuple[Callable[[int], Inputs], Callable[..., object], bool]] = {
    "soft_pool1d": (lambda seed: (draw(2, 3, 40, seed=seed),), lambda x: ops.soft_pool1d(x, 3, 2, 1), True),
    "soft_pool2d": (image, lambda x: ops.soft_pool2d(x, 3, 2, 1), True),
    "soft_pool3d": (lambda seed: (draw(1, 2, 6, 8, 10, seed=seed),), lambda x: ops.soft_pool3d(x, 2), True),
    "corner_pool": (image, lambda x: ops.corner_pool(x, "top"), True),
    "top_left_pool": (images, ops.top_left_pool, True),
    "bottom_right_pool": (images, ops.bottom_right_pool, True),
    "attention_rnn": (reading, read, True),
    "sequence_pool, soft": (sequences, lambda x, n: ops.sequence_pool(x, "soft", lengths=n), True),
    "sequence_pool, k-max": (sequences, lambda x, n: ops.sequence_pool(x, "k-max", lengths=n, k=3), True),
    "dctn": (image, ops.dctn, True),
    "idctn": (image, ops.idctn, True),
    "dstn": (image, lambda x: ops.dstn(x, 1), True),
    "idstn": (image, lambda x: ops.idstn(x, 1), True),
    "solve_poisson, neumann": (image, ops.solve_poisson, True),
    "solve_poisson, dirichlet": (image, lambda x: ops.solve_poisson(x, "dirichlet"), True),
    "solve_gaussian_poisson": (images, ops.solve_gaussian_poisson, True),
    "masked_poisson": (masked, solve_masked, True),
    "ssim": (images, lambda x, y: ops.ssim(x, y, 1.0), True),
    "ssim, padded": (images, lambda x, y: ops.ssim(x, y, 1.0, convention="torchmetrics"), True),
    "ssim, far from 1": (images, lambda x, y: ops.ssim(x * 1e20, y * 1e20, 1e20), True),
    "ms_ssim": (large_images, lambda x, y: ops.ms_ssim(x, y, 1.0), True),
    "oks": (poses, lambda p, t, v, a: ops.oks(p, t, v, a, SIGMAS), True),
    "confusion_matrix, labels": (labels, lambda p, t: ops.confusion_matrix(p, t, 5, invalid="ignore"), False),
    "confusion_matrix, logits": (logits, lambda p, t: ops.confusion_matrix(p, t, 5, invalid="ignore"), False),
    "decode_corners": (corner_maps, ops.decode_corners, False),
    "decode_spans": (scored_tokens, ops.decode_spans, False),
    "trilinear_attention": (texts, compare_texts, True),
    "zlpr_loss": (scored_labels, ops.zlpr_loss, True),
    "global_pointer_loss": (tokens, ops.global_pointer_loss, True),
    "soft_nms": (boxes, ops.soft_nms, False),
    "oks_nms": (scored_poses, lambda p, s, a: ops.oks_nms(p, s, a, SIGMAS, 0.5), False),
    "soft_oks_nms": (scored_poses, lambda p, s, a: ops.soft_oks_nms(p, s, a, SIGMAS), False),
}
# Ops that cannot be captured, and why.
WAITING = {
    "confusion_matrix(invalid='error')": "reads back whether a label is invalid",
    "soft_nms, oks_nms, soft_oks_nms without a batch dimension": "the size of the result depends on the values",
    "ragged_oks": "reads the offsets, on which the size of the result depends",
    "solve_masked_poisson": "reads the residuals, to raise or to warn; the op below it is captured",
    "sequence_pool with lengths on the CPU": "copies from pageable memory",
    "ragged_box_iou, ragged_mask_iou, match_detections, precision_curves": "run on the CPU",
}


def results(call: Callable[..., object], inputs: Sequence[Tensor], with_gradient: bool) -> list[Tensor]:
    output = call(*inputs)
    outputs = [output] if isinstance(output, Tensor) else list(output)  # type: ignore[call-overload]
    if with_gradient:
        outputs += torch.autograd.grad(outputs[0].sum(), inputs[0])
    return [x.detach() for x in outputs]


def test_every_op_is_listed():
    names = {name.split(",")[0] for name in CAPTURED}
    waiting = " ".join(WAITING)
    callables = {name for name in ops.__all__ if callable(getattr(ops, name))}
    assert {name for name in callables if name not in names and name not in waiting} == set()


@pytest.mark.cuda
@pytest.mark.parametrize("name", CAPTURED)
def test_a_captured_op_follows_its_inputs(name):
    draw_inputs, call, with_gradient = CAPTURED[name]
    held = [x.cuda() for x in draw_inputs(0)]
    held[0].requires_grad_(with_gradient)

    # What is made once, constants and workspaces among it, is made before the capture.
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            results(call, held, with_gradient)
    torch.cuda.current_stream().wait_stream(side)
    torch.cuda.synchronize()

    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = results(call, held, with_gradient)
    for seed in (1, 2):
        fresh = [x.cuda() for x in draw_inputs(seed)]
        with torch.no_grad():
            for to, x in zip(held, fresh, strict=True):
                to.copy_(x)
        graph.replay()
        torch.cuda.synchronize()
        fresh[0].requires_grad_(with_gradient)
        expected = results(call, fresh, with_gradient)
        for actual, wanted in zip(captured, expected, strict=True):
            torch.testing.assert_close(actual, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.cuda
def test_sigmas_are_copied_to_the_gpu_once():
    inputs = [x.cuda() for x in poses(0)]
    ops.oks(*inputs, SIGMAS)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        ops.oks(*inputs, SIGMAS)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.cuda
def test_ignoring_invalid_labels_does_not_wait():
    pred, target = (x.cuda() for x in labels(0))
    ops.confusion_matrix(pred, target, 5, invalid="ignore")
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        ops.confusion_matrix(pred, target, 5, invalid="ignore")
    finally:
        torch.cuda.set_sync_debug_mode("default")
