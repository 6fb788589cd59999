"""The confusion matrix against counting pixel by pixel, and against ``torch.argmax`` where predictions are logits."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from op_checks import FLOATS, native_op, same_on_one_and_two_threads, sliced

import pydlx
from pydlx.ops import confusion_matrix

LABELS = (torch.uint8, torch.uint16, torch.int16, torch.int32, torch.int64)


def count(pred, target, classes, ignore=None):
    """(C, C) by a plain loop; labels that are no classes are skipped."""
    counts = torch.zeros(classes, classes, dtype=torch.int64)
    for p, t in zip(pred.flatten().tolist(), target.flatten().tolist(), strict=True):
        if t != ignore and 0 <= t < classes and 0 <= p < classes:
            counts[t, p] += 1
    return counts


def random_labels(shape, classes, dtype=torch.int64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, classes, shape, generator=generator).to(dtype)


def map_like(shape, classes, seed=0):
    """Labels with large constant regions, a disturbed pixel here and there."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randint(0, classes, [-(-size // 16) for size in shape], generator=generator)
    for axis, size in enumerate(shape):
        coarse = coarse.repeat_interleave(16, axis).narrow(axis, 0, size)
    noise = torch.rand(shape, generator=generator) < 0.02
    return torch.where(noise, torch.randint(0, classes, shape, generator=generator), coarse)


def random_logits(shape, dtype=torch.float32, seed=0):
    """Few distinct values, so that many are equal."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-4, 4, shape, generator=generator).to(dtype)


@pytest.mark.parametrize("classes", [1, 2, 19, 33, 110, 111, 254, 255, 300])
@pytest.mark.parametrize("draw", [random_labels, map_like])
def test_counts_each_pixel_once(draw, classes):
    """Class numbers around those where counters are kept elsewhere; sizes around those of strips and vectors."""
    for shape in [(1,), (31,), (3, 1025), (2, 61, 67)]:
        pred, target = draw(shape, classes, seed=1), draw(shape, classes, seed=2)
        assert torch.equal(confusion_matrix(pred, target, classes), count(pred, target, classes))


@pytest.mark.parametrize(("pred_type", "target_type"), list(itertools.product(LABELS, LABELS)))
def test_label_types_mix(pred_type, target_type):
    pred, target = (map_like((3, 400), 200, seed=seed) for seed in (1, 2))
    counts = confusion_matrix(pred.to(pred_type), target.to(target_type), 200)
    assert torch.equal(counts, count(pred, target, 200))


def at_address(labels, dtype, elements):
    """The same labels, so many elements behind an address that vectors can be read from."""
    return torch.cat((labels.new_zeros(elements), labels)).to(dtype)[elements:]


@pytest.mark.parametrize(("pred_type", "target_type"), [*zip(LABELS, LABELS, strict=True), (torch.int64, torch.uint8)])
@pytest.mark.parametrize("classes", [19, 150, 300])
def test_labels_begin_anywhere_in_a_vector(classes, pred_type, target_type):
    """Both maps at the same place, at different ones; less than a vector; the largest label ignored."""
    ignored = min(torch.iinfo(target_type).max, 65535)
    for size, before_pred, before_target in [(5, 0, 0), (7, 3, 3), (97, 1, 1), (97, 15, 15), (97, 0, 1), (203, 2, 7)]:
        pred, target = (random_labels((size,), min(classes, 250), seed=seed) for seed in (1, 2))
        target[::9] = ignored
        maps = at_address(pred, pred_type, before_pred), at_address(target, target_type, before_target)
        assert torch.equal(confusion_matrix(*maps, classes, ignored), count(pred, target, classes, ignored))


@pytest.mark.parametrize("per_image", [False, True])
@pytest.mark.parametrize("classes", [19, 150, 300])
def test_maps_of_several_parts(classes, per_image):
    """More pixels of one pair than 16 bits count, after some that differ."""
    pred, target = random_labels((2, 330_001), 3, torch.uint8), torch.full((2, 330_001), 2, dtype=torch.uint8)
    pred[:, 20_000:] = 1
    expected = torch.stack([torch.bincount(2 * classes + image.long(), minlength=classes**2) for image in pred])
    expected = expected.reshape(-1, classes, classes)
    found = confusion_matrix(pred, target, classes, per_image=per_image)
    assert torch.equal(found, expected if per_image else expected.sum(0))


def test_two_classes_may_be_bool():
    pred, target = (random_labels((50, 41), 2, seed=seed) for seed in (1, 2))
    assert torch.equal(confusion_matrix(pred.bool(), target.bool(), 2), count(pred, target, 2))


def test_thousands_of_classes():
    classes = 3001
    pred, target = (map_like((97, 101), classes, seed=seed) for seed in (1, 2))
    counts = confusion_matrix(pred, target, classes)
    pairs, times = torch.unique(target * classes + pred, return_counts=True)
    assert counts.sum() == times.sum()
    assert torch.equal(counts.flatten()[pairs.flatten()], times)


@pytest.mark.parametrize("ignore", [255, -1, 3, -100, 70000])
@pytest.mark.parametrize("target_type", [torch.uint8, torch.int16, torch.int64])
def test_ignored_targets_do_not_count_whatever_was_predicted(target_type, ignore):
    pred, target = (map_like((5, 700), 19, seed=seed) for seed in (1, 2))
    if torch.iinfo(target_type).min <= ignore <= torch.iinfo(target_type).max:
        hidden = random_labels(target.shape, 4, seed=3) == 0
        target = torch.where(hidden, ignore, target)
        pred = torch.where(hidden & (pred > 9), 999, pred).to(torch.int16)
        assert not confusion_matrix(pred, torch.full_like(target, ignore).to(target_type), 19, ignore).any()
    counts = confusion_matrix(pred, target.to(target_type), 19, ignore_index=ignore)
    assert torch.equal(counts, count(pred, target, 19, ignore))


@pytest.mark.parametrize("classes", [5, 300])
@pytest.mark.parametrize(
    ("label", "dtype"),
    [
        (301, torch.int64),
        (-1, torch.int64),
        (2**16 + 1, torch.int64),
        (2**40 + 1, torch.int64),
        (-(2**63) + 2, torch.int64),
        (-(2**31), torch.int32),
        (-1, torch.int16),
    ],
)
def test_invalid_labels_raise_or_are_left_out(label, dtype, classes):
    """The error names the map, the label and the first place, wherever strips begin."""
    valid = map_like((3, 2500), classes, seed=1)
    for places in ([(0, 0)], [(1, 1023), (1, 1024), (2, 7)], [(2, 2499)]):
        spoilt = valid.clone().to(dtype)
        for at in places:
            spoilt[at] = label
        message = rf"must hold labels in \[0, {classes}\), got {label} at \({places[0][0]}, {places[0][1]}\)"
        with pytest.raises(ValueError, match=f"^confusion_matrix: target {message}$"):
            confusion_matrix(valid, spoilt, classes)
        with pytest.raises(ValueError, match=f"^confusion_matrix: pred {message}$"):
            confusion_matrix(spoilt, valid, classes)
        for maps in ((valid, spoilt), (spoilt, valid)):
            assert torch.equal(confusion_matrix(*maps, classes, invalid="ignore"), count(*maps, classes))


@pytest.mark.parametrize("classes", [253, 254, 255, 256])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64])
def test_the_label_behind_the_last_class(classes, dtype):
    """Where classes fill a byte or nearly so, and labels are kept in one (kMostNarrowClasses)."""
    valid = map_like((2, 1100), classes, seed=1)
    for label in (classes, 255):
        if label < classes or label > torch.iinfo(dtype).max:
            continue
        spoilt = valid.clone()
        spoilt[1, 700:900] = label
        pred, target = valid.to(dtype), spoilt.to(dtype)
        for maps in ((pred, target), (target, pred)):
            assert torch.equal(confusion_matrix(*maps, classes, invalid="ignore"), count(*maps, classes))
            with pytest.raises(ValueError, match=rf"in \[0, {classes}\), got {label} at \(1, 700\)$"):
                confusion_matrix(*maps, classes)
        ignored = confusion_matrix(pred, target, classes, label)
        assert torch.equal(ignored, count(pred, target, classes, label))


@pytest.mark.parametrize("classes", [1, 19, 127, 128, 129, 255, 256, 300])
def test_every_byte(classes):
    """In each map, where the other one holds a class."""
    labels, zeros = torch.arange(255, -1, -1, dtype=torch.uint8), torch.zeros(256, dtype=torch.uint8)
    expected = torch.zeros(classes, classes, dtype=torch.int64)
    expected[: min(classes, 256), 0] = 1
    first_invalid = 0 if classes < 256 else -1
    for maps, counted, invalid in (
        ((zeros, labels), expected, [first_invalid, -1]),
        ((labels, zeros), expected.T, [-1, first_invalid]),
    ):
        counts, first = native_op("confusion_matrix")(*maps, classes, None, False)
        assert torch.equal(counts, counted)
        assert first.tolist() == invalid


EDGES = [sign * 2**bits for sign in (1, -1) for bits in (8, 15, 16, 31, 32, 48, 62)]


@pytest.mark.parametrize("classes", [5, 300])
@pytest.mark.parametrize("dtype", LABELS)
def test_labels_and_ignored_ones_are_compared_with_all_their_bits(dtype, classes):
    """Whatever a label's lower bits say, or those of the ignored one; 64 pixels are whole vectors everywhere.

    Labels meet ignored ones at the same distance from a power of two, for those share lower bits and are clipped alike.
    """
    place, ones = 5, torch.ones(64, dtype=dtype)
    pairs = []
    for step in (-2, -1, 0, 1, 2):
        edges = [edge + step for edge in EDGES]
        held = [edge for edge in edges if torch.iinfo(dtype).min <= edge <= torch.iinfo(dtype).max]
        pairs += itertools.product([0, *held], [None, *edges])
    for label, ignore in pairs:
        spoilt = ones.clone()
        spoilt[place] = label
        valid, ignored = 0 <= label < classes, label == ignore
        for pred, target in ((ones, spoilt), (spoilt, ones)):
            counts, invalid = native_op("confusion_matrix")(pred, target, classes, ignore, False)
            of_target = target is spoilt
            assert counts[1, 1] == 63
            assert counts.sum() == 63 + (valid and not (ignored and of_target))
            expected = -1 if valid or (ignored and of_target) else place
            assert invalid.tolist() == ([expected, -1] if of_target else [-1, expected])


def test_both_maps_may_be_invalid():
    pred, target = torch.tensor([[0, 9, 1]]), torch.tensor([[1, 0, 7]])
    with pytest.raises(ValueError, match=r"target must hold labels in \[0, 2\), got 7 at \(0, 2\)"):
        confusion_matrix(pred, target, 2)
    assert torch.equal(confusion_matrix(pred, target, 2, invalid="ignore"), torch.tensor([[0, 0], [1, 0]]))


def test_an_invalid_prediction_where_the_target_is_ignored_is_no_error():
    counts = confusion_matrix(torch.tensor([1, 200]), torch.tensor([0, 255]), 2, 255)
    assert torch.equal(counts, torch.tensor([[0, 1], [0, 0]]))


@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "sliced"])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("classes", [1, 2, 4, 19, 300])
def test_logits_count_as_their_argmax(classes, dtype, layout):
    """Ties and NaN among them."""
    for shape in [(2, classes, 9, 37), (1, classes, 33, 32), (3, classes, 1, 1)]:
        logits = random_logits(shape, dtype)
        logits.view(-1)[:: 7 * classes + 3] = math.nan
        expected = logits.argmax(1)
        if layout == "channels_last":
            logits = logits.to(memory_format=torch.channels_last)
        elif layout == "sliced":
            logits = sliced(logits)
        target = random_labels((shape[0], *shape[2:]), classes, torch.uint8 if classes < 256 else torch.int32)
        assert torch.equal(confusion_matrix(logits, target, classes), count(expected, target, classes))


def test_logits_of_any_number_of_dimensions():
    for size in [(), (70,), (3, 4, 5)]:
        logits = random_logits((600, 7, *size))
        target = random_labels((600, *size), 7)
        assert torch.equal(confusion_matrix(logits, target, 7), count(logits.argmax(1), target, 7))
    volume = random_logits((2, 7, 3, 4, 5)).to(memory_format=torch.channels_last_3d)
    target = random_labels((2, 3, 4, 5), 7)
    assert torch.equal(confusion_matrix(volume, target, 7), count(volume.argmax(1), target, 7))


def test_the_first_of_equal_logits_and_the_first_nan_win():
    inf, nan = math.inf, math.nan
    pixels = [([0.0, -0.0, 0.0], 0), ([-inf, -inf, -inf], 0), ([1, nan, inf], 1), ([nan, inf, nan], 0), ([1, 3, 3], 1)]
    for repeats in (1, 40):  # alone, and in whole vectors
        logits = torch.tensor([row for row, _ in pixels]).t().reshape(1, 3, -1).repeat(1, 1, repeats)
        winners = torch.tensor([winner for _, winner in pixels]).repeat(repeats)[None]
        for map_ in (logits[:, :, None], logits[:, :, None].to(memory_format=torch.channels_last)):
            assert torch.equal(confusion_matrix(map_, winners[:, None], 3).diag().sum(), torch.tensor(winners.numel()))


@pytest.mark.parametrize("classes", [3, 19, 280])
def test_one_matrix_for_each_image(classes):
    """Images so small that threads hold many, and so large that they share one."""
    for shape in [(37, 5, 7), (3, 61, 67)]:
        pred, target = map_like(shape, classes, seed=1), map_like(shape, classes, seed=2)
        target[1] = 255
        logits = random_logits((shape[0], classes, *shape[1:]))
        for given, labels in ((pred, pred), (logits, logits.argmax(1))):
            counts = confusion_matrix(given, target, classes, 255, per_image=True)
            assert counts.shape == (shape[0], classes, classes)
            for image, matrix in enumerate(counts):
                assert torch.equal(matrix, count(labels[image], target[image], classes, 255))
            assert torch.equal(counts.sum(0), confusion_matrix(given, target, classes, 255))


def test_invalid_labels_of_later_images_are_found():
    target = torch.zeros(4, 5, 6, dtype=torch.uint8)
    target[2, 3, 4] = 9
    for pred in (target * 0, torch.zeros(4, 2, 5, 6)):
        with pytest.raises(ValueError, match=r"target must hold .* got 9 at \(2, 3, 4\)"):
            confusion_matrix(pred, target, 2, per_image=True)


def test_labels_may_be_slices():
    pred, target = (map_like((4, 40, 50), 6, seed=seed) for seed in (1, 2))
    expected = count(pred, target, 6)
    assert torch.equal(confusion_matrix(sliced(pred), target.to(torch.uint8).mT.contiguous().mT, 6), expected)
    four = pred.view(2, 2, 40, 50).to(memory_format=torch.channels_last)
    assert torch.equal(confusion_matrix(four, target.view(2, 2, 40, 50), 6), expected)


@pytest.mark.parametrize("shape", [(0,), (0, 4), (3, 0)])
def test_empty(shape):
    target = torch.zeros(shape, dtype=torch.int64)
    for pred in (target, torch.zeros(shape[0], 5, *shape[1:])):
        assert torch.equal(confusion_matrix(pred, target, 5), torch.zeros(5, 5, dtype=torch.int64))
        assert not confusion_matrix(pred, target, 5, per_image=True).any()
        assert confusion_matrix(pred, target, 5, per_image=True).shape == (shape[0], 5, 5)


def test_a_single_pixel_needs_no_dimension():
    assert confusion_matrix(torch.tensor(1), torch.tensor(0), 2)[0, 1] == 1


def test_gradients_end_here():
    logits = random_logits((1, 3, 4, 5)).requires_grad_()
    counts = confusion_matrix(logits, random_labels((1, 4, 5), 3), 3)
    assert counts.dtype is torch.int64
    assert not counts.requires_grad


def test_same_on_one_and_two_threads():
    maps = [map_like((8, 128, 128), 19, seed=seed) for seed in (1, 2)]
    same_on_one_and_two_threads(lambda: confusion_matrix(*maps, 19))
    same_on_one_and_two_threads(lambda: confusion_matrix(*maps, 300))
    maps[1][5, 3, 3] = maps[1][0, 100, 100] = 20
    same_on_one_and_two_threads(lambda: native_op("confusion_matrix")(*maps, 19, None, True))


def test_inputs_are_left_alone():
    pred, target = (random_labels((4, 50), 3, seed=seed) for seed in (1, 2))
    before = pred.clone(), target.clone()
    confusion_matrix(pred, target, 3, ignore_index=1)
    assert torch.equal(pred, before[0])
    assert torch.equal(target, before[1])


def test_opcheck():
    target = random_labels((2, 6, 5), 4, torch.uint8)
    for pred in (random_labels((2, 6, 5), 4), random_logits((2, 4, 6, 5))):
        for options in ((None, False), (255, True)):
            torch.library.opcheck(native_op("confusion_matrix"), (pred, target, 4, *options))


@pytest.mark.parametrize("invalid", ["error", "ignore"])
def test_compiles_without_a_graph_break(invalid):
    def run(pred, target):
        return confusion_matrix(pred, target, 4, 255, invalid=invalid)

    compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
    target = random_labels((2, 6, 5), 4, torch.uint8)
    for pred in (random_labels((2, 6, 5), 4), random_logits((2, 4, 6, 5))):
        assert torch.equal(compiled(pred, target), run(pred, target))
        with pydlx.backend("reference"):
            assert torch.equal(compiled(pred, target), run(pred, target))
    target[0, 0, 0] = 4
    if invalid == "error":
        with pytest.raises(RuntimeError, match=r"holds labels outside of \[0, 4\)"):
            compiled(pred, target)


def test_exports():
    class Count(torch.nn.Module):
        def forward(self, pred, target):
            return confusion_matrix(pred, target, 4, invalid="ignore", per_image=True)

    maps = random_logits((2, 4, 6, 5)), random_labels((2, 6, 5), 4)
    batch = torch.export.Dim("batch")
    program = torch.export.export(Count(), maps, dynamic_shapes=({0: batch}, {0: batch}))
    more = random_logits((3, 4, 6, 5), seed=1), random_labels((3, 6, 5), 4, seed=1)
    assert torch.equal(program.module()(*more), Count()(*more))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((torch.zeros(2, 3), torch.zeros(2, 3), 2), TypeError, "target must hold labels .* got torch.float32"),
        (
            (torch.zeros(2, 3).cfloat(), torch.zeros(2, 3).int(), 2),
            TypeError,
            "pred must hold labels .* torch.complex64",
        ),
        (
            (torch.zeros(2, 3).int(), torch.zeros(3, 2).int(), 2),
            ValueError,
            r"pred must have .* \(3, 2\), got \(2, 3\)",
        ),
        (
            (torch.zeros(2, 3), torch.zeros(2, 3).int(), 2),
            ValueError,
            r"pred must have .* for logits, .* \(2, 2, 3\), got \(2, 3\)",
        ),
        (
            (torch.zeros(2, 4, 3), torch.zeros(2, 3).int(), 5),
            ValueError,
            r"pred must have .* for logits, .* \(2, 5, 3\), got \(2, 4, 3\)",
        ),
        ((torch.zeros(3), torch.tensor(1), 3), ValueError, r"pred must have shape \(N, C, \.\.\.\) for logits"),
        ((torch.zeros(2).int(), torch.zeros(2).int(), 0), ValueError, "num_classes must be from 1 to 32767, got 0"),
        ((torch.zeros(2).int(), torch.zeros(2).int(), 40000), ValueError, "num_classes must be from 1 to 32767"),
        (
            (torch.zeros(2).int(), torch.zeros(2).int(), 2, 1.5),
            TypeError,
            "ignore_index must be a whole number or None",
        ),
        ((torch.zeros(2).int(), torch.zeros(2, device="meta").int(), 2), ValueError, "pred must be on the device of"),
    ],
)
def test_bad_input(arguments, error, message):
    with pytest.raises(error, match=f"^confusion_matrix: {message}"):
        confusion_matrix(*arguments)


def test_bad_options():
    zero = torch.zeros(2).int()
    with pytest.raises(ValueError, match=r"^confusion_matrix: invalid must be one of 'error', 'ignore', got 'drop'"):
        confusion_matrix(zero, zero, 2, invalid="drop")
    with pytest.raises(ValueError, match=r"^confusion_matrix: target must have a batch dimension with per_image"):
        confusion_matrix(zero[0], zero[0], 2, per_image=True)


@pytest.mark.cuda
@pytest.mark.parametrize("classes", [2, 19, 110, 111, 300])
def test_cuda_agrees_with_the_cpu(classes):
    shape = (3, 257, 261)
    pred, target = map_like(shape, classes, seed=1), map_like(shape, classes, seed=2)
    target[1, 7:90] = 999
    logits = random_logits((3, classes, 257, 261))
    for given in (pred, pred.to(torch.int16), logits, logits.half(), logits.to(memory_format=torch.channels_last)):
        for per_image in (False, True):
            on_cpu = confusion_matrix(given, target, classes, 999, per_image=per_image)
            assert torch.equal(
                confusion_matrix(given.cuda(), target.cuda(), classes, 999, per_image=per_image).cpu(), on_cpu
            )
    with pytest.raises(ValueError, match=r"got 999 at \(1, 7, 0\)"):
        confusion_matrix(pred.cuda(), target.cuda(), classes)
