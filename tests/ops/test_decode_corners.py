"""CornerNet's decoding against plain loops, the order of ties, and torch's own checks."""

from __future__ import annotations

import math

import pytest
import torch
from op_checks import FLOATS, native_op, same_on_one_and_two_threads, sliced

from pydlx.ops import decode_corners

NAN, INF = math.nan, math.inf
NAMES = ("heat_tl", "heat_br", "tag_tl", "tag_br", "offset_tl", "offset_br")


def draw_maps(*shape, seed=0, dtype=torch.float64, levels=None):
    """Random maps for heat maps of this shape; with `levels`, heat and tags have few distinct values, so many ties."""
    generator = torch.Generator().manual_seed(seed)
    batch, _, height, width = shape

    def draw(channels):
        x = torch.rand(batch, channels, height, width, generator=generator, dtype=torch.float64)
        return (x * levels).floor() / levels if levels else x

    heat = [draw(shape[1]) for _ in range(2)]
    return [x.to(dtype) for x in (*heat, draw(1), draw(1), draw(2), draw(2))]


def rank(scores):
    """Indices by descending score, NaN first, ties in order."""
    return sorted(range(len(scores)), key=lambda i: (not math.isnan(scores[i]), -scores[i], i))


def is_higher(a, b):
    return a > b or (math.isnan(a) and not math.isnan(b))


def corners_by_loops(heat, tag, offset, top_k, kernel_size):
    """(score, class, x, y, tag) of the best pixels of one image."""
    classes, height, width = heat.shape
    values, reach = heat.tolist(), kernel_size // 2
    cells = []
    for c in range(classes):
        for y in range(height):
            for x in range(width):
                window = [
                    values[c][v][u]
                    for v in range(max(0, y - reach), min(height, y + reach + 1))
                    for u in range(max(0, x - reach), min(width, x + reach + 1))
                ]
                peak = not any(is_higher(other, values[c][y][x]) for other in window)
                place = x + offset[0, y, x].item(), y + offset[1, y, x].item(), tag[0, y, x].item()
                cells.append((values[c][y][x] if peak else 0.0, c, *place))
    return [cells[i] for i in rank([cell[0] for cell in cells])[:top_k]]


def decode_by_loops(maps, top_k=100, kernel_size=3, tag_threshold=0.5, max_detections=1000):
    """Rows (box, score, corner scores, label) of one image's maps in float64."""
    heat_tl, heat_br, tag_tl, tag_br, offset_tl, offset_br = maps
    top_left = corners_by_loops(heat_tl, tag_tl, offset_tl, top_k, kernel_size)
    bottom_right = corners_by_loops(heat_br, tag_br, offset_br, top_k, kernel_size)
    rows = []
    for score, c, x, y, tag in top_left:
        for other_score, other_c, other_x, other_y, other_tag in bottom_right:
            rejected = c != other_c or abs(tag - other_tag) > tag_threshold or other_x < x or other_y < y
            mean = -1.0 if rejected else (score + other_score) / 2
            rows.append(((x, y, other_x, other_y), mean, (score, other_score), c))
    return [rows[i] for i in rank([row[1] for row in rows])[:max_detections]]


def assert_decoded(found, rows_of_images, dtype=torch.float64):
    boxes, scores, corner_scores, labels = found
    assert labels.dtype is torch.int64
    assert {x.dtype for x in (boxes, scores, corner_scores)} == {dtype}
    expected = zip(*(zip(*rows, strict=True) for rows in rows_of_images), strict=True)
    for actual, column in zip(found, expected, strict=True):
        wanted = torch.tensor(column, dtype=torch.float64).to(actual.dtype)
        torch.testing.assert_close(actual, wanted, rtol=0, atol=0, equal_nan=True)


def assert_same(found, expected):
    for actual, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(actual, wanted, rtol=0, atol=0, equal_nan=True)


def test_a_box_is_found():
    """One object of class 1, from (2, 1) to (5, 4), among corners with lower scores that do not match."""
    heat_tl, heat_br, tag_tl, tag_br, offset_tl, offset_br = (torch.zeros_like(x) for x in draw_maps(1, 2, 6, 8))
    heat_tl[0, 1, 1, 2], heat_br[0, 1, 4, 5] = 0.9, 0.7
    heat_tl[0, 0, 1, 5], heat_tl[0, 1, 5, 7] = 0.8, 0.8
    tag_tl[..., 1, 2], tag_br[..., 4, 5] = 3.0, 3.25
    offset_tl[0, :, 1, 2], offset_br[0, :, 4, 5] = torch.tensor([[0.5, 0.25], [0.125, 0.75]]).double()
    maps = (heat_tl, heat_br, tag_tl, tag_br, offset_tl, offset_br)
    boxes, scores, corner_scores, labels = decode_corners(*maps, top_k=3, max_detections=2)
    assert boxes[0, 0].tolist() == [2.5, 1.25, 5.125, 4.75]
    assert scores[0].tolist() == [pytest.approx(0.8), -1]
    assert corner_scores[0, 0].tolist() == [0.9, 0.7]
    assert labels[0, 0] == 1
    assert decode_corners(*maps, tag_threshold=0.25)[1].max() == pytest.approx(0.8)
    assert decode_corners(*maps, top_k=1, tag_threshold=0.2)[1].tolist() == [[-1]]


@pytest.mark.parametrize("levels", [None, 3])
@pytest.mark.parametrize(
    "shape", [(1, 1, 1, 1), (2, 3, 5, 7), (1, 2, 1, 17), (2, 1, 9, 1), (3, 4, 8, 8), (1, 3, 40, 45), (1, 1, 1, 2053)]
)
def test_every_row_is_right(shape, levels):
    maps = draw_maps(*shape, levels=levels)
    options = {"top_k": 12, "max_detections": 70}
    assert_decoded(
        decode_corners(*maps, **options), [decode_by_loops(image, **options) for image in zip(*maps, strict=True)]
    )


@pytest.mark.parametrize(
    "options",
    [
        {"top_k": 1},
        {"top_k": 9},
        {"top_k": 1000, "max_detections": 7},  # more corners than cells
        {"max_detections": 1},
        {"max_detections": 10**9},  # more than pairs
        {"kernel_size": 1},
        {"kernel_size": 5},
        {"kernel_size": 99},
        {"tag_threshold": 0},
        {"tag_threshold": INF},
        {"tag_threshold": -1},  # rejects all
    ],
)
@pytest.mark.parametrize("levels", [None, 4])
def test_options(options, levels):
    maps = draw_maps(2, 2, 5, 6, seed=1, levels=levels)
    options = {"top_k": 20} | options
    assert_decoded(
        decode_corners(*maps, **options), [decode_by_loops(image, **options) for image in zip(*maps, strict=True)]
    )


def test_defaults():
    maps = draw_maps(1, 6, 20, 20, seed=2)
    found = decode_corners(*maps)
    assert found[0].shape == (1, 1000, 4)
    assert_decoded(found, [decode_by_loops([x[0] for x in maps])])


@pytest.mark.parametrize("dtype", FLOATS)
def test_dtypes_are_computed_in_float32_at_least(dtype):
    maps = draw_maps(2, 3, 30, 31, seed=3, dtype=dtype)
    wide = torch.float64 if dtype is torch.float64 else torch.float32
    options = {"top_k": 40, "max_detections": 200}
    found = decode_corners(*maps, **options)
    assert_same(found, decode_corners(*(x.to(wide) for x in maps), **options))
    assert found[0].dtype is wide


def test_maps_of_several_dtypes_are_promoted():
    maps = draw_maps(1, 2, 9, 9, dtype=torch.float32)
    mixed = [maps[0].half(), maps[1].half(), maps[2].bfloat16(), *maps[3:]]
    assert_same(decode_corners(*mixed), decode_corners(*(x.float() for x in mixed)))


def test_maps_of_many_chunks_and_rankings_that_overflow(kernels):
    """With increasing scores every peak is the best so far; each map is several times the part of one thread."""
    shape = (2, 3, 96, 120) if kernels != "emulated" else (2, 2, 60, 60)
    maps = draw_maps(*shape, seed=4, dtype=torch.float32)
    rising = torch.linspace(0, 1, maps[0].numel()).reshape(maps[0].shape)
    peaks = torch.zeros(shape[2:])
    peaks[1::2, 1::2] = 1
    for heat in (rising * peaks, rising.flip(0, 1, 2, 3) * peaks, maps[0].round(decimals=1)):
        again = [heat, heat.flip(1), *maps[2:]]
        found = decode_corners(*again, top_k=30, max_detections=300)
        assert_decoded(found, decoded_in_float32(again, 30, 300), torch.float32)


def decoded_in_float32(maps, top_k, max_detections):
    """The expected rows in float32, by loops over pairs and a stable sort of the pixels."""
    rows_of_images = []
    for heat_tl, heat_br, tag_tl, tag_br, offset_tl, offset_br in zip(*maps, strict=True):
        corners = []
        for heat, tag, offset in ((heat_tl, tag_tl, offset_tl), (heat_br, tag_br, offset_br)):
            padded = torch.nn.functional.pad(heat, (1, 1, 1, 1), value=-INF)
            highest = padded.unfold(1, 3, 1).unfold(2, 3, 1).amax((-2, -1))
            scores, cells = torch.where(heat == highest, heat, 0).flatten().sort(descending=True, stable=True)
            cells = cells[:top_k]
            c, y, x = torch.unravel_index(cells, heat.shape)
            columns = (scores[:top_k], c, x + offset[0, y, x], y + offset[1, y, x], tag[0, y, x])
            corners.append(list(zip(*(column.tolist() for column in columns), strict=True)))
        rows = []
        for score, label, x, y, tag in corners[0]:
            for other_score, other_label, other_x, other_y, other_tag in corners[1]:
                apart = abs(torch.tensor(tag) - torch.tensor(other_tag))
                fits = label == other_label and apart <= 0.5 and other_x >= x and other_y >= y
                mean = ((torch.tensor(score) + torch.tensor(other_score)) / 2).item()
                rows.append(((x, y, other_x, other_y), mean if fits else -1.0, (score, other_score), label))
        rows_of_images.append([rows[i] for i in rank([row[1] for row in rows])[:max_detections]])
    return rows_of_images


def test_fewer_peaks_than_corners():
    """If there are too few peaks, the first other pixels follow, with score 0."""
    maps = [torch.zeros_like(x) for x in draw_maps(1, 1, 4, 4)]
    maps[0][0, 0, 2, 2] = maps[1][0, 0, 2, 2] = 0.5
    maps[0][0, 0, 0, 0] = -0.25
    assert_decoded(decode_corners(*maps, top_k=4), [decode_by_loops([x[0] for x in maps], top_k=4)])


def test_equal_rows_come_by_their_corners_ranks():
    maps = [torch.zeros_like(x) for x in draw_maps(1, 2, 3, 3)]
    maps[0][:] = maps[1][:] = 0.5
    boxes, scores, _, labels = decode_corners(*maps, top_k=18)
    accepted = 2 * 6 * 6  # of each class, with x1 <= x2 and y1 <= y2
    assert (scores[0, :accepted] == 0.5).all()
    assert (scores[0, accepted:] == -1).all()
    rows = list(zip(labels[0].tolist(), boxes[0][:, [1, 0, 3, 2]].tolist(), strict=True))
    assert rows[:accepted] == sorted(rows[:accepted])


@pytest.mark.parametrize("value", [NAN, INF, -INF, -0.5, -1.0, 0.0])
def test_special_heat(value):
    maps = draw_maps(1, 2, 6, 7, seed=5)
    maps[0][0, 1, 2, 3], maps[1][0, 1, 4, 5] = value, value
    maps[0][0, 0, 0, 0] = maps[1][0, 0, 5, 6] = value
    found = decode_corners(*maps, top_k=30)
    assert_decoded(found, [decode_by_loops([x[0] for x in maps], top_k=30)])
    full = [torch.full_like(maps[0], value), torch.full_like(maps[1], value), *maps[2:]]
    assert_decoded(decode_corners(*full, top_k=9), [decode_by_loops([x[0] for x in full], top_k=9)])


def test_nan_is_a_peak_and_ranks_first(kernels):
    heat = torch.rand(1, 1, 70, 75, generator=torch.Generator().manual_seed(0))
    heat[0, 0, 60, 60] = NAN
    maps = [heat, heat, *(torch.zeros(1, n, 70, 75) for n in (1, 1, 2, 2))]
    boxes, scores, corner_scores, _ = decode_corners(*maps, top_k=20)
    assert boxes[0, 0].tolist() == [60] * 4
    assert scores[0, 0].isnan()
    assert corner_scores[0, 0].isnan().all()
    assert not corner_scores[0, 1:].isnan().all(-1).any()


def test_nan_tags_and_offsets_reject_nothing():
    maps = draw_maps(1, 1, 6, 6, seed=6)
    for x in maps[2:]:
        spoilt = [x.clone() for x in maps]
        place = next(i for i, y in enumerate(maps) if y is x)
        spoilt[place][:] = NAN
        found = decode_corners(*spoilt, top_k=10)
        assert_decoded(found, [decode_by_loops([y[0] for y in spoilt], top_k=10)])
        assert (found[1] > -1).sum() >= (decode_corners(*maps, top_k=10)[1] > -1).sum()


@pytest.mark.parametrize("shape", [(0, 3, 4, 5), (2, 0, 4, 5), (2, 3, 0, 5), (2, 3, 4, 0)])
def test_empty(shape):
    found = decode_corners(*draw_maps(*shape, dtype=torch.float16), top_k=5)
    rows = 25 if shape[0] == 0 else 0
    assert [tuple(x.shape) for x in found] == [
        (shape[0], rows, 4),
        (shape[0], rows),
        (shape[0], rows, 2),
        found[3].shape,
    ]
    assert [x.dtype for x in found] == [torch.float32] * 3 + [torch.int64]


def test_inputs_are_not_modified_and_may_have_any_strides():
    maps = draw_maps(2, 3, 20, 21)
    before = [x.clone() for x in maps]
    expected = decode_corners(*maps)
    assert all(torch.equal(x, y) for x, y in zip(maps, before, strict=True))
    assert_same(decode_corners(*map(sliced, maps)), expected)
    assert_same(decode_corners(*(x.contiguous(memory_format=torch.channels_last) for x in maps)), expected)
    assert_same(decode_corners(*(x.mT.contiguous().mT for x in maps)), expected)


def test_repeatable_to_the_bit():
    maps = draw_maps(3, 4, 80, 90, dtype=torch.float32, levels=50)
    same_on_one_and_two_threads(lambda: decode_corners(*maps))


def test_threads_that_share_a_map():
    """Three threads share both maps, whose best pixels include ties."""
    maps = draw_maps(1, 8, 128, 128, dtype=torch.float32, levels=5000)
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 3):
            torch.set_num_threads(threads)
            results.append(decode_corners(*maps))
    finally:
        torch.set_num_threads(before)
    assert_same(*results)


def test_opcheck():
    torch.library.opcheck(native_op("decode_corners"), (*draw_maps(2, 2, 5, 6), 6, 3, 0.5, 20))


class Decode(torch.nn.Module):
    def forward(self, *maps):
        return decode_corners(*maps, top_k=10, max_detections=60)


def test_compiles_and_exports():
    maps = draw_maps(2, 2, 9, 8)
    expected = Decode()(*maps)
    assert_same(torch.compile(Decode(), fullgraph=True, backend="aot_eager")(*maps), expected)
    assert_same(torch.export.export(Decode(), tuple(maps)).module()(*maps), expected)


@pytest.mark.filterwarnings("ignore")
def test_onnx_gives_the_same_boxes(tmp_path):
    """At any size; with ties, which torch.topk and ONNX's TopK order differently, and with few peaks."""
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    maps = draw_maps(2, 3, 12, 13, dtype=torch.float32)
    any_size = {"maps": tuple(dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC) for _ in maps)}
    program = torch.onnx.export(Decode(), tuple(maps), dynamo=True, verbose=False, dynamic_shapes=any_size)
    program.save(tmp_path / "decode.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "decode.onnx", providers=["CPUExecutionProvider"])
    for seed in range(8):
        shape = (3, 3, 16, 11) if seed < 4 else (2, 3, 12, 13)
        maps = draw_maps(*shape, seed=seed, dtype=torch.float32, levels=4 if seed % 2 else None)
        maps[0][1] *= maps[0][1] > 0.9
        given = {argument.name: x.numpy() for argument, x in zip(session.get_inputs(), maps, strict=True)}
        assert_same(map(torch.from_numpy, session.run(None, given)), Decode()(*maps))


HEAT, TAG, OFFSET = (torch.zeros(2, channels, 4, 5) for channels in (3, 1, 2))
FITTING = dict(zip(NAMES, (HEAT, HEAT, TAG, TAG, OFFSET, OFFSET), strict=True))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"heat_tl": HEAT.int()}, TypeError, "heat_tl must be a floating-point tensor, got torch.int32"),
        ({"tag_br": 3}, TypeError, "tag_br must be a tensor, got int"),
        ({"heat_tl": HEAT[0]}, ValueError, r"heat_tl must have shape \(B, C, H, W\), got \(3, 4, 5\)"),
        (
            {"heat_br": HEAT[:1]},
            ValueError,
            r"heat_br must have shape \(2, 3, 4, 5\) to go with heat_tl, got \(1, 3, 4, 5\)",
        ),
        (
            {"tag_tl": OFFSET},
            ValueError,
            r"tag_tl must have shape \(2, 1, 4, 5\) to go with heat_tl, got \(2, 2, 4, 5\)",
        ),
        (
            {"offset_br": TAG},
            ValueError,
            r"offset_br must have shape \(2, 2, 4, 5\) to go with heat_tl, got \(2, 1, 4, 5\)",
        ),
        ({"offset_tl": OFFSET.to("meta")}, ValueError, "offset_tl must be on the device of heat_tl, cpu, got meta"),
        ({"top_k": 0}, ValueError, "top_k must be positive, got 0"),
        ({"max_detections": -1}, ValueError, "max_detections must be positive, got -1"),
        ({"kernel_size": 4}, ValueError, "kernel_size must be odd, got 4"),
        ({"kernel_size": 3.0}, TypeError, "kernel_size must be a whole number, got 3.0"),
        ({"tag_threshold": NAN}, ValueError, "tag_threshold must be a number, got NaN"),
        *(
            ({name: FITTING[name].clone().requires_grad_()}, ValueError, "inputs must not require a gradient")
            for name in NAMES
        ),
    ],
)
def test_bad_arguments(change, error, message):
    with pytest.raises(error, match=f"^decode_corners: {message}"):
        decode_corners(**FITTING | change)


def test_inputs_that_require_grad_are_accepted_under_no_grad():
    with torch.no_grad():
        decode_corners(*(x.requires_grad_() for x in draw_maps(1, 2, 4, 4)))


@pytest.mark.cuda
@pytest.mark.parametrize("levels", [None, 50])
@pytest.mark.parametrize("dtype", FLOATS)
def test_cuda_agrees_with_the_cpu(dtype, levels):
    maps = draw_maps(3, 80, 128, 128, dtype=dtype, levels=levels)
    assert_same([x.cpu() for x in decode_corners(*(x.cuda() for x in maps))], decode_corners(*maps))


@pytest.mark.cuda
def test_does_not_wait_for_the_gpu():
    maps = [x.cuda() for x in draw_maps(2, 3, 40, 40, dtype=torch.float32)]
    decode_corners(*maps)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        decode_corners(*maps)
    finally:
        torch.cuda.set_sync_debug_mode("default")
