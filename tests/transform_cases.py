"""Every op and layer as a function of one tensor, for the table of transforms."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from pydlx import losses, nn, ops


class Case(NamedTuple):
    """An op with all that is differentiable in one tensor, of one of two shapes.

    Attributes:
        run: The op as a function of that tensor.
        shape: The tensor's shape.
        larger: Another shape, for dynamic ones.
        name: Its row in the table.
    """

    run: Callable[[Tensor], Tensor]
    shape: tuple[int, ...]
    larger: tuple[int, ...]
    name: str = ""

    def draw(self, seed: int = 0, larger: bool = False) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(self.larger if larger else self.shape, dtype=torch.float64, generator=generator)


MAP, LARGER_MAP = (1, 2, 5, 4), (3, 2, 7, 6)
PAIR, LARGER_PAIR = (2, *MAP), (2, *LARGER_MAP)
POSES, LARGER_POSES = (2, 3, 5), (4, 3, 5)  # of each of three points: x and y predicted, true x and y, and the area
SIGMAS = (0.3, 0.5, 0.4)
OFFSETS = torch.tensor([0, 1, 3])  # two groups, of one row and of two


def on_maps(run: Callable[[Tensor], Tensor]) -> Case:
    return Case(run, MAP, LARGER_MAP)


def on_pairs(run: Callable[[Tensor, Tensor], Tensor], side: int = 0) -> Case:
    shape, larger = ((2, 1, 1, side, side), (2, 2, 1, side + 3, side + 1)) if side else (PAIR, LARGER_PAIR)
    return Case(lambda x: run(x[0], x[1]), shape, larger)


def on_sequences(mode: str, k: int | None = None, given: str | None = None, pool=ops.sequence_pool) -> Case:
    def run(x: Tensor) -> Tensor:
        arguments = {
            "lengths": {"lengths": torch.tensor([3, 4])},
            "mask": {"mask": torch.arange(x.shape[1]).remainder(3).ne(1).expand(x.shape[:2])},
            None: {},
        }[given]
        return pool(x, mode, k=k, **arguments)

    return Case(run, (2, 4, 3), (2, 6, 5))


def heat_like(x: Tensor) -> Tensor:
    """Heat of corners: 1 at some cells, less elsewhere."""
    return torch.where(x.detach() > 0.8, 1.0, 0.3).to(x.dtype)


def corner_loss(x: Tensor) -> Tensor:
    """Corner loss of maps of two classes, with two objects per image."""
    maps = losses.CornerMaps(*x.split([2, 2, 1, 1, 2, 2], 1))
    cells = torch.tensor([1, 6]).expand(x.shape[0], 2)
    offset = torch.full((2, 2), 0.25, dtype=x.dtype).expand(x.shape[0], 2, 2)
    mask = torch.ones(2, dtype=torch.bool).expand(x.shape[0], 2)
    none = torch.zeros((), dtype=torch.int64)
    heat_tl, heat_br = heat_like(maps.heat_tl), heat_like(maps.heat_br)
    targets = losses.CornerTargets(heat_tl, heat_br, cells, cells + 3, offset, offset, mask, none, none)
    return losses.CornerLoss()([maps], targets).total


def on_pairs_of_entities(run: Callable[..., Tensor], **options) -> Case:
    """Random relations; one pair has all of them and one none."""

    def flat(x: Tensor) -> Tensor:
        labels = torch.arange(x.numel()).remainder(3).reshape(x.shape).eq(1)
        return run(x, torch.cat([labels[:1] | True, labels[1:-1], labels[-1:] & False]), **options)

    return Case(flat, (3, 5), (4, 6))


def packed(x: Tensor) -> Tensor:
    ends = torch.tensor([2, 1, 3])
    return ops.sequence_pool(x, "soft", lengths=torch.cat([ends, (x.shape[0] - ends.sum()).view(1)]))


def reading(cell: str, gated: bool, layer: bool = False) -> Case:
    """A passage that attends to itself."""
    torch.manual_seed(0)
    rnn = nn.AttentionRNN(3, 3, 2, cell=cell, gated=gated, bidirectional=layer).double()
    weights = {name: None if w is None else w.detach() for name, w in rnn.weights(0).items()}

    def run(x: Tensor) -> Tensor:
        lengths = torch.tensor([3, 2])
        mask = torch.arange(x.shape[1]).remainder(3).ne(1).expand(x.shape[:2])
        if layer:
            parameters = {name: parameter.detach().to(x) for name, parameter in rnn.named_parameters()}
            return torch.func.functional_call(rnn, parameters, (x, x, lengths, mask))
        given = {name: None if w is None else w.to(x) for name, w in weights.items()}
        return ops.attention_rnn(x, x, **given, cell=cell, lengths=lengths, memory_mask=mask, reverse=True)

    return Case(run, (2, 3, 3), (2, 5, 3))


def reading_weights(x: Tensor) -> Tensor:
    """The attention RNN as a function of its weights."""
    width = x.shape[1]
    sequence = torch.linspace(-1, 1, 2 * width, dtype=x.dtype).view(1, 2, width)
    cell = x.sum(0).sin()
    return ops.attention_rnn(
        sequence,
        sequence.cos(),
        memory_weight=x,
        input_weight=x.sin(),
        bias=x[:, 0],
        score=x[:, 1],
        weight_ih=cell.repeat(6, 2),
        weight_hh=cell[:2].repeat(6, 1),
        bias_ih=cell[:1].repeat(6),
        bias_hh=cell[1:2].repeat(6),
        state_weight=x[:, :2],
        gate_weight=cell.repeat(2 * width, 2),
    )


def of_poses(run: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]) -> Case:
    """`run` takes pred, truth, visibility and area."""

    def flat(x: Tensor) -> Tensor:
        visible = torch.tensor([1, 0, 1]).expand(x.shape[:2])
        return run(x[..., :2], x[..., 2:4], visible, x[..., 0, 4].square() + 1)

    return Case(flat, POSES, LARGER_POSES)


def compare_poses(pred: Tensor, truth: Tensor, visible: Tensor, area: Tensor) -> Tensor:
    return ops.oks(pred, truth, visible, area, SIGMAS)


def compare_poses_by_boxes(pred: Tensor, truth: Tensor, visible: Tensor, area: Tensor) -> Tensor:
    boxes = truth.detach().flatten(-2)[..., :4].abs() / 4
    return ops.oks(pred, truth, visible * (area > 1.5).unsqueeze(-1), area, SIGMAS, boxes)


def masked_poisson(shared: bool) -> Case:
    def run(x: Tensor) -> Tensor:
        mask = torch.ones(x.shape[-2:], dtype=torch.bool)
        mask[0] = mask[2, 1] = False
        return ops.solve_masked_poisson(x, mask if shared else mask.expand(x.shape), tolerance=1e-12)[0]

    return Case(run, (2, 4, 5), (3, 6, 7))


def halves(run: Callable[..., Tensor], **options) -> Case:
    return Case(lambda x: run(x[0], x[1], **options), (2, 3, 4), (2, 5, 6))


def boxes_of(x: Tensor) -> tuple[Tensor, Tensor]:
    """Boxes and scores from rows of five numbers."""
    corner = x[..., :2]
    return torch.cat([corner, corner + 1 + x[..., 2:4].abs()], -1), x[..., 4].sigmoid()


def poses_of(x: Tensor) -> tuple[Tensor, Tensor, Tensor, tuple[float, ...]]:
    """Key points, scores, areas and sigmas from rows of six numbers."""
    return x.unflatten(-1, (3, 2)), x[..., 0].sigmoid(), 4 + x[..., 1].square(), SIGMAS


def count_classes(x: Tensor) -> Tensor:
    target = torch.arange(x[:, 0].numel()).remainder(4).reshape(x[:, 0].shape)
    return ops.confusion_matrix(x, target, 3, invalid="ignore")


def maps_of(x: Tensor) -> tuple[Tensor, ...]:
    """Heat maps of two classes, tags and offsets from maps of ten channels."""
    heat_tl, heat_br, *others = x.split((2, 2, 1, 1, 2, 2), 1)
    return heat_tl.sigmoid(), heat_br.sigmoid(), *others


def decode(x: Tensor) -> Tensor:
    boxes, scores, _, _ = ops.decode_corners(*maps_of(x), top_k=5, tag_threshold=9.0, max_detections=12)
    return torch.cat([boxes, scores.unsqueeze(-1)], -1)


def compare_texts(x: Tensor, padded: bool = False) -> Tensor:
    """A context, two tokens of a question, and three rows of weights."""
    context, question, weights = x.split((x.shape[1] - 5, 2, 3), 1)
    masks = {}
    if padded:
        masks["context_mask"] = torch.arange(context.shape[1]).ne(1).expand(context.shape[:2])
        masks["question_mask"] = torch.tensor([True, False]).expand(question.shape[:2])
    return torch.stack(ops.trilinear_attention(context, question, weights[0].flatten(), **masks))


def labels_like(x: Tensor, soft: bool = False) -> Tensor:
    """A label for every element, from its index."""
    numbers = torch.arange(x.numel()).view(x.shape)
    return (numbers % 5).to(x.dtype) / 4 if soft else numbers % 3 == 0


def compare_labels(x: Tensor, soft: bool = False) -> Tensor:
    mask = torch.arange(x.shape[2]).ne(1)
    return ops.zlpr_loss(x, labels_like(x, soft), mask, dim=(1, 2), reduction="none")


def span_loss(x: Tensor, shared: bool = False) -> Tensor:
    """Two items, with query and key of two types, or of one head with biases; spans of each kind."""
    spans = torch.tensor([[0, 0, 1, 2], [1, 1, 0, 0], [0, 1, 0, 2], [1, 1, 0, 0]])
    mask = torch.arange(x.shape[2]).ne(1).expand(x[:, :, :, 0].shape[::2]) if shared else None
    query, key = x.unflatten(-1, (2, 2)).unbind(-2)
    if not shared:
        return ops.global_pointer_loss(query, key, spans, reduction="none")
    biases = {"start_bias": x[..., 0].sin(), "end_bias": x[..., 1].cos()}
    return ops.global_pointer_loss(query[:, :1], key[:, :1], spans, mask, **biases, triangle=False, reduction="none")


class SpanHead(torch.nn.Module):
    """A head's scores of the spans that count, and its loss."""

    def __init__(self, head: torch.nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        spans = torch.tensor([[0, 0, 1, 2], [1, 1, 0, 0]])
        mask = torch.arange(x.shape[1]).ne(1).expand(x.shape[:2])
        return torch.cat([self.head(x, mask).clamp(min=-9).flatten(), self.head.loss(x, spans, mask).view(1)])


def span_head(head: type[torch.nn.Module]) -> Callable[[Tensor], Tensor]:
    torch.manual_seed(0)
    layer = SpanHead(head(3, 2, 2)).double()
    weights = {name: parameter.detach() for name, parameter in layer.named_parameters()}
    return lambda x: torch.func.functional_call(layer, {name: w.to(x) for name, w in weights.items()}, (x,))


def trilinear_layer(size: int) -> Callable[[Tensor], Tensor]:
    layer = nn.TrilinearAttention(size).double().requires_grad_(False)
    layer.weight.copy_(torch.linspace(-1, 1, 3 * size))
    return lambda x: torch.stack(layer(x[:, 2:], x[:, :2]))


def in_groups(x: Tensor) -> Tensor:
    area = torch.full(x.shape[:1], 4.0, dtype=x.dtype)
    return ops.ragged_oks(x, x.flip(0), torch.ones(x.shape[:2]), area, SIGMAS, None, OFFSETS, OFFSETS)


def overlaps(x: Tensor) -> Tensor:
    boxes = torch.cat([x[:, :2], 1 + x[:, 2:].abs()], 1)
    return ops.ragged_box_iou(boxes, boxes.flip(0), torch.zeros(3, dtype=torch.bool), OFFSETS, OFFSETS)


def mask_overlaps(x: Tensor) -> Tensor:
    first = x.abs().floor()
    spans, each = torch.cat([first, first + 2], 1).to(torch.int32), torch.arange(4)
    heights = torch.full((3,), 4)
    sides = (spans, each, heights, spans.flip(0), each, heights)
    return ops.ragged_mask_iou(*sides, torch.zeros(3, dtype=torch.bool), OFFSETS, OFFSETS)


def match(x: Tensor) -> Tensor:
    nothing = torch.zeros(1, 3, dtype=torch.bool)
    scores, thresholds = torch.tensor([0.5, 0.7, 0.2]).double(), torch.tensor([0.1, 0.4]).double()
    found, _ = ops.match_detections(x, scores, OFFSETS, OFFSETS, nothing, nothing, nothing[0], None, thresholds, 10)
    return found


def curves(x: Tensor) -> Tensor:
    outcome = torch.tensor([[[1, 0, 1]]], dtype=torch.uint8)
    recalls = torch.tensor([0.0, 0.5, 1.0]).double()
    categories, positives = torch.tensor([0, 3]), torch.tensor([[3]])
    return ops.precision_curves(outcome, torch.tensor([0, 0, 1]), x, categories, positives, recalls, [10])[2]


def pyramid(mode: str, form: str = "adaptive") -> Case:
    return on_maps(nn.SpatialPyramidPool2d((2, 1), mode, form))


_CASES = {
    "soft_pool1d": Case(lambda x: ops.soft_pool1d(x, 3, 2, 1), (2, 2, 7), (3, 2, 9)),
    "soft_pool2d": on_maps(lambda x: ops.soft_pool2d(x, 3, 2, 1, ceil_mode=True)),
    "soft_pool2d, paper": on_maps(lambda x: ops.soft_pool2d(x, 2, gradient="paper")),
    "soft_pool3d": Case(lambda x: ops.soft_pool3d(x, 2, 1), (1, 1, 2, 3, 4), (1, 2, 3, 4, 5)),
    "sequence_pool, max": on_sequences("max", given="lengths"),
    "sequence_pool, mean": on_sequences("mean", given="mask"),
    "sequence_pool, soft": on_sequences("soft", given="mask"),
    "sequence_pool, soft, packed": Case(packed, (7, 3), (9, 5)),
    "sequence_pool, k-max": on_sequences("k-max", 2, given="lengths"),
    "attention_rnn, GRU, gated": reading("gru", gated=True),
    "attention_rnn, LSTM": reading("lstm", gated=False),
    "attention_rnn, weights": Case(reading_weights, (3, 2), (4, 3)),
    "corner_pool": on_maps(lambda x: ops.corner_pool(x, "top") + 2 * ops.corner_pool(x, "right")),
    "top_left_pool": on_pairs(ops.top_left_pool),
    "bottom_right_pool": on_pairs(ops.bottom_right_pool),
    "dctn": on_maps(ops.dctn),
    "idctn": on_maps(lambda x: ops.idctn(x, norm="ortho")),
    "dctn, type 1": on_maps(lambda x: ops.dctn(x, 1)),
    "dstn": on_maps(lambda x: ops.dstn(x, 1, axes=-1)),
    "idstn": on_maps(ops.idstn),
    "solve_poisson": halves(lambda x, _: ops.solve_poisson(x, "dirichlet", 0.3)),
    "solve_gaussian_poisson": halves(ops.solve_gaussian_poisson, beta=0.2),
    "solve_masked_poisson": masked_poisson(shared=True),
    "solve_masked_poisson, mask of each": masked_poisson(shared=False),
    "ssim": on_pairs(lambda x, y: ops.ssim(x, y, 4.0, kernel_size=3), side=4),
    "ssim, map": on_pairs(lambda x, y: ops.ssim(x, y, 4.0, convention="skimage", kernel_size=3, reduction="map"), 4),
    "ssim, padded": on_pairs(lambda x, y: ops.ssim(x, y, 4.0, convention="torchmetrics", kernel_size=3), side=3),
    "ms_ssim": on_pairs(lambda x, y: ops.ms_ssim(x, y + 3 * x, 9.0, kernel_size=3, weights=(0.4, 0.6)), side=5),
    "oks": of_poses(compare_poses),
    "oks, boxes": of_poses(compare_poses_by_boxes),
    "nn.SoftPool2d": on_maps(nn.SoftPool2d(2)),
    "nn.SequencePool": on_sequences(
        "soft", given="lengths", pool=lambda x, mode, **o: nn.SequencePool(mode)(x, o["lengths"])
    ),
    "nn.TrilinearAttention": Case(trilinear_layer(3), (2, 6, 3), (3, 8, 3)),
    "nn.GlobalPointer": Case(span_head(nn.GlobalPointer), (2, 3, 3), (2, 5, 3)),
    "nn.EfficientGlobalPointer": Case(span_head(nn.EfficientGlobalPointer), (2, 3, 3), (2, 5, 3)),
    "nn.AttentionRNN": reading("gru", gated=True, layer=True),
    "nn.CornerPool2d": on_maps(nn.CornerPool2d("left")),
    "nn.TopLeftPool2d": on_pairs(nn.TopLeftPool2d()),
    "nn.BottomRightPool2d": on_pairs(nn.BottomRightPool2d()),
    "nn.SpatialPyramidPool2d, max": pyramid("max"),
    "nn.SpatialPyramidPool2d, average": pyramid("average", "sliding"),
    "nn.SpatialPyramidPool2d, soft": pyramid("soft"),
    "nn.BilinearUpsample2d": on_maps(nn.BilinearUpsample2d(2, 2, dtype=torch.float64)),
    "losses.corner_focal_loss": on_maps(lambda x: losses.corner_focal_loss(x, heat_like(x))),
    "losses.corner_tag_loss": Case(
        lambda x: sum(losses.corner_tag_loss(x[0], x[1], x[0].detach() > -1)), (2, 2, 4), (2, 3, 5)
    ),
    "losses.corner_offset_loss": Case(
        lambda x: losses.corner_offset_loss(x[0], x[1], x[0, ..., 0].detach() > -1), (2, 2, 4, 2), (2, 3, 5, 2)
    ),
    "losses.CornerLoss": Case(corner_loss, (2, 10, 4, 4), (3, 10, 6, 5)),
    "losses.adaptive_threshold_loss": on_pairs_of_entities(losses.adaptive_threshold_loss, reduction="none"),
    "losses.adaptive_focal_loss": on_pairs_of_entities(losses.adaptive_focal_loss, gamma=1.5, offset=1),
    "losses.AdaptiveThresholdLoss": on_pairs_of_entities(losses.AdaptiveThresholdLoss()),
    "losses.AdaptiveFocalLoss": on_pairs_of_entities(losses.AdaptiveFocalLoss(2.0)),
    "losses.threshold_labels": Case(lambda x: losses.threshold_labels(x, 2), (3, 5), (4, 6)),
    "losses.OKSLoss": of_poses(losses.OKSLoss(SIGMAS, "log")),
    "losses.ZLPRLoss": Case(lambda x: losses.ZLPRLoss()(x, labels_like(x)), (2, 5), (3, 7)),
    "losses.SSIMLoss": on_pairs(losses.SSIMLoss(4.0, kernel_size=3), side=4),
    "confusion_matrix": Case(count_classes, (2, 3, 4, 4), (3, 3, 5, 4)),
    "decode_corners": Case(decode, (2, 10, 5, 4), (3, 10, 6, 7)),
    "decode_spans": Case(lambda x: ops.decode_spans(x[0], x[1], 3, top_k=2)[2], (2, 3, 6), (2, 4, 9)),
    "trilinear_attention": Case(compare_texts, (2, 9, 3), (3, 11, 4)),
    "trilinear_attention, padded": Case(lambda x: compare_texts(x, padded=True), (2, 9, 3), (3, 11, 4)),
    "zlpr_loss": Case(compare_labels, (2, 2, 3), (3, 2, 5)),
    "zlpr_loss, soft": Case(lambda x: compare_labels(x, soft=True), (2, 2, 3), (3, 2, 5)),
    "global_pointer_loss": Case(span_loss, (2, 2, 3, 4), (2, 2, 5, 4)),
    "global_pointer_loss, shared": Case(lambda x: span_loss(x, shared=True), (2, 2, 3, 4), (2, 2, 5, 4)),
    "soft_nms": Case(lambda x: ops.soft_nms(*boxes_of(x))[1], (2, 4, 5), (3, 6, 5)),
    "oks_nms": Case(lambda x: ops.oks_nms(*poses_of(x), 0.5), (2, 4, 6), (3, 6, 6)),
    "soft_oks_nms": Case(lambda x: ops.soft_oks_nms(*poses_of(x), 0.5)[1], (2, 4, 6), (3, 6, 6)),
    "ragged_oks": Case(in_groups, (3, 3, 2), (3, 3, 2)),
    "ragged_box_iou": Case(overlaps, (3, 4), (3, 4)),
    "ragged_mask_iou": Case(mask_overlaps, (3, 1), (3, 1)),
    "match_detections": Case(match, (5,), (5,)),
    "precision_curves": Case(curves, (3,), (3,)),
}
CASES = {name: case._replace(name=name) for name, case in _CASES.items()}

# Ops that give whole numbers, which have no derivative, and ops that refuse to give one.
WITHOUT_DERIVATIVE = {
    "losses.threshold_labels": "–",
    "confusion_matrix": "–",
    "oks_nms": "–",
    "match_detections": "–",
    "ragged_mask_iou": "–",
    "decode_corners": "✗",
    "soft_nms": "✗",
    "soft_oks_nms": "✗",
    "ragged_oks": "✗",
    "ragged_box_iou": "✗",
    "precision_curves": "✗",
}

# Other cells that raise. An op with no row here works everywhere.
_GROUPS = ("compile", "dynamic", "export", "ONNX")  # offsets are looked at, and say how much there is to do
RAISES = {
    "solve_masked_poisson": ("ONNX",),
    "solve_masked_poisson, mask of each": ("ONNX",),
    "confusion_matrix": ("ONNX",),
    "soft_nms": ("ONNX",),
    "oks_nms": ("ONNX",),
    "soft_oks_nms": ("ONNX",),
    "ragged_oks": _GROUPS,
    "ragged_box_iou": _GROUPS,
    "ragged_mask_iou": _GROUPS,
    "match_detections": _GROUPS,
    "precision_curves": _GROUPS,
}
