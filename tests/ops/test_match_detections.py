"""The native code against its reference; the metrics' tests compare both with pycocotools."""

import pytest
import torch
from op_checks import native_op, same_on_one_and_two_threads

import pydlx
from pydlx.ops.match_detections import FALSE, IGNORED, TRUE, match_detections, precision_curves


def ragged(seed, groups=60, most=12):
    """Groups of random size, some empty, with tied scores and similarities."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*size, high):
        return torch.randint(0, high, size, generator=generator)

    found, true = draw(groups, high=most), draw(groups, high=most)
    offsets = [torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)]) for counts in (found, true)]
    detections, truths = int(found.sum()), int(true.sum())
    return {
        "similarity": draw(int((found * true).sum()), high=11) / 10.0,
        "scores": draw(detections, high=6) / 5.0,
        "detection_offsets": offsets[0],
        "truth_offsets": offsets[1],
        "detection_outside": draw(3, detections, high=3) == 0,
        "truth_ignored": draw(3, truths, high=3) == 0,
        "truth_crowd": draw(truths, high=8) == 0,
        "truth_unrecorded": draw(truths, high=8) == 0,
        "thresholds": torch.tensor([0.5, 0.75, 1.0], dtype=torch.float64),
        "max_detections": 7,
    }


def doubles(arguments):
    return {k: v.double() if torch.is_tensor(v) and v.is_floating_point() else v for k, v in arguments.items()}


def curves_of(arguments, outcome, rank, categories=4):
    every = (len(arguments["detection_offsets"]) - 1) // categories
    positives = torch.randint(0, 30, (3, categories), generator=torch.Generator().manual_seed(1))
    recalls = torch.linspace(0, 1, 11, dtype=torch.float64)
    offsets = arguments["detection_offsets"][::every].contiguous()
    return precision_curves(outcome, rank, arguments["scores"], offsets, positives, recalls, [1, 3, 7])


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("recorded", [True, False])
def test_native_is_the_reference(seed, recorded):
    arguments = doubles(ragged(seed))
    if recorded:
        arguments["truth_unrecorded"] = None
    found = match_detections(**arguments)
    curves = curves_of(arguments, *found)
    with pydlx.backend("reference"):
        expected = match_detections(**arguments)
        expected_curves = curves_of(arguments, *expected)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    torch.testing.assert_close(curves, expected_curves, rtol=0, atol=0)
    assert {FALSE, TRUE, IGNORED} == set(found[0].unique().tolist())


def test_nan_matches_nothing():
    arguments = doubles(ragged(0, groups=1))
    arguments |= {
        "similarity": torch.tensor([torch.nan, 0.6], dtype=torch.float64),
        "scores": torch.ones(2, dtype=torch.float64),
        "detection_offsets": torch.tensor([0, 2]),
        "truth_offsets": torch.tensor([0, 1]),
        "detection_outside": torch.zeros(1, 2, dtype=torch.bool),
        "truth_ignored": torch.zeros(1, 1, dtype=torch.bool),
        "truth_crowd": torch.zeros(1, dtype=torch.bool),
        "truth_unrecorded": None,
        "thresholds": torch.tensor([0.5], dtype=torch.float64),
    }
    assert match_detections(**arguments)[0].flatten().tolist() == [FALSE, TRUE]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores": torch.zeros(3, dtype=torch.float64)}, "detection_offsets must rise from 0 to .* rows, 3"),
        ({"similarity": torch.zeros(1, dtype=torch.float64)}, "similarity must be torch.float64 of"),
        ({"truth_crowd": torch.zeros(0, dtype=torch.bool)}, "truth_offsets must rise from 0"),
        ({"truth_offsets": torch.tensor([0])}, "truth_offsets must rise from 0"),
        ({"truth_offsets": torch.tensor([0, 353])}, "truth_offsets must be of the other offsets"),
        ({"thresholds": torch.tensor([0.5])}, "thresholds must be torch.float64"),
    ],
)
def test_rows_that_do_not_fit_are_refused(change, message):
    with pytest.raises(ValueError, match=f"^match_detections: {message}"):
        match_detections(**(doubles(ragged(0)) | change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"outcome": torch.zeros(3, dtype=torch.uint8)}, "outcome must be torch.uint8 of"),
        ({"rank": torch.zeros(2)}, "rank must be torch.int64 of"),
        ({"category_offsets": torch.tensor([0, 3])}, "category_offsets must rise from 0 to the number of rows, 2"),
        ({"positives": torch.ones(1, 2, dtype=torch.int64)}, "positives must be torch.int64 of"),
        ({"recall_thresholds": torch.zeros(3)}, "recall_thresholds must be torch.float64 of"),
    ],
)
def test_outcomes_that_do_not_fit_are_refused(change, message):
    fitting = {
        "outcome": torch.zeros(1, 4, 2, dtype=torch.uint8),
        "rank": torch.zeros(2, dtype=torch.int64),
        "scores": torch.zeros(2, dtype=torch.float64),
        "category_offsets": torch.tensor([0, 2]),
        "positives": torch.ones(1, 1, dtype=torch.int64),
        "recall_thresholds": torch.zeros(3, dtype=torch.float64),
        "max_detections": [1],
    }
    precision_curves(**fitting)
    with pytest.raises(ValueError, match=f"^precision_curves: {message}"):
        precision_curves(**(fitting | change))


def test_no_rows():
    arguments = doubles(ragged(0, groups=4, most=1))
    outcome, rank = match_detections(**arguments)
    assert outcome.shape == (3, 3, 0)
    precision, recall, _ = curves_of(arguments, outcome, rank)
    assert precision.shape == (3, 11, 4, 3, 3)
    assert set(recall.unique().tolist()) <= {-1.0, 0.0}


def test_threads_change_nothing():
    arguments = doubles(ragged(3, groups=600))
    same_on_one_and_two_threads(lambda: curves_of(arguments, *match_detections(**arguments)))


def test_opcheck(kernels):
    if kernels == "reference":
        pytest.skip("the dispatcher knows the native ops")
    arguments = doubles(ragged(1))
    outcome, rank = match_detections(**arguments)
    torch.library.opcheck(native_op("match_detections"), tuple(arguments.values()))
    offsets = torch.tensor([0, len(rank)])
    recalls = torch.linspace(0, 1, 5, dtype=torch.float64)
    positives = torch.ones(3, 1, dtype=torch.int64)
    torch.library.opcheck(
        native_op("precision_curves"), (outcome, rank, arguments["scores"], offsets, positives, recalls, [3, 7])
    )
