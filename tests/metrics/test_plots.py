"""Pictures of confusion matrices: what stands where, in which colour; how the file appears."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from pydlx.metrics import ConfusionMetrics, KeypointAP, plot_confusion_matrix, plot_precision_recall

pytest.importorskip("matplotlib")

MATRIX = torch.tensor([[999_000, 1_000, 0], [0, 3, 1], [0, 0, 0]])


def numbers(axes):
    """{(truth, prediction): text}."""
    return {tuple(reversed(text.get_position())): text.get_text() for text in axes.texts}


@pytest.mark.parametrize(
    ("normalize", "expected"),
    [
        ("truth", {(0, 0): "100", (0, 1): "<1", (1, 1): "75", (1, 2): "25"}),
        ("prediction", {(0, 0): "100", (0, 1): "100", (1, 1): "<1", (1, 2): "100"}),
        (None, {(0, 0): "999k", (0, 1): "1k", (1, 1): "3", (1, 2): "1"}),
    ],
)
def test_cells_hold_shares_or_counts(normalize, expected):
    _, axes = plot_confusion_matrix(MATRIX, ["road", "car", "sky"], normalize)
    assert numbers(axes) == expected
    assert [label.get_text() for label in axes.get_yticklabels()] == ["road", "car", "sky"]
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("truth", "predicted")


def test_more_pixels_are_darker_and_none_is_no_colour():
    for normalize in ("truth", None):
        _, axes = plot_confusion_matrix(torch.tensor([[90, 10], [0, 5]]), normalize=normalize)
        image = axes.images[0]
        drawn = image.cmap(image.norm(image.get_array())).mean(-1)
        assert drawn[0, 0] < drawn[0, 1]
        assert image.get_array().mask.tolist() == [[False, False], [True, False]]


def test_counts_are_shortened_to_four_characters():
    counts = torch.tensor([[9_949, 9_951, 10_400], [1_250_000, 999_499, 999_501], [12_345_678, 2_000_000_000, 950]])
    _, axes = plot_confusion_matrix(counts, normalize=None)
    expected = ["9.9k", "10k", "10k", "1.2M", "999k", "1M", "12M", "2G", "950"]
    assert list(numbers(axes).values()) == expected


def test_numbers_are_white_on_dark_cells_and_dark_on_light_ones():
    _, axes = plot_confusion_matrix(torch.tensor([[95, 5], [10, 90]]))
    assert [text.get_color() == "white" for text in axes.texts] == [True, False, False, True]


def test_the_longest_name_has_room_on_the_figure():
    figure, axes = plot_confusion_matrix(MATRIX, ["a rather long name of a class", "car", "sky"])
    figure.draw_without_rendering()
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        box = label.get_window_extent()
        assert figure.bbox.contains(box.x0, box.y0) and figure.bbox.contains(box.x1, box.y1)
    cells = axes.get_window_extent()
    assert cells.width == pytest.approx(cells.height)


def test_precision_is_drawn_from_zero_to_one():
    metric = KeypointAP([0.1])
    points = torch.zeros(1, 1, 3)
    points[..., 2] = 2
    metric.update([{"keypoints": points, "scores": torch.ones(1)}], [{"keypoints": points, "area": torch.ones(1)}])
    _, axes = plot_precision_recall(metric.curves())
    place = axes.get_position()
    assert 0 < place.x0 < place.x1 < 1 and 0 < place.y0 < place.y1 < 1
    assert axes.get_xlim() == (0, 1)
    low, high = axes.get_ylim()
    assert low == 0 and 1 < high < 1.1  # a line at 1 is not cut in half
    assert len(axes.lines) == 10
    assert all(line.get_ydata() == pytest.approx(1) for line in axes.lines)


def test_large_matrices_have_no_numbers_and_a_bounded_size():
    sizes = []
    for classes in (30, 31, 150, 400):
        figure, axes = plot_confusion_matrix(torch.eye(classes))
        assert bool(axes.texts) == (classes <= 30)
        sizes.append(max(figure.get_size_inches()))
    assert max(sizes[:3]) < 17


def test_written_as_a_whole_or_not_at_all(tmp_path):
    image = pytest.importorskip("PIL.Image")
    for name in ("a.png", "a.pdf", "a.svg"):
        plot_confusion_matrix(MATRIX, path=tmp_path / name)
    with image.open(tmp_path / "a.png") as picture:
        assert np.ptp(np.array(picture.convert("L"))) > 100
    with pytest.raises(OSError, match=r"cannot write '.*nowhere/a.png'"):
        plot_confusion_matrix(MATRIX, path=tmp_path / "nowhere" / "a.png")
    with pytest.raises(ValueError, match="xyz"):
        plot_confusion_matrix(MATRIX, path=tmp_path / "a.xyz")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pdf", "a.png", "a.svg"]


def test_metrics_plot_what_they_counted(tmp_path):
    metrics = ConfusionMetrics(2, class_names=["left", "right"])
    metrics.update(torch.tensor([0, 1, 1]), torch.tensor([0, 1, 0]))
    _, axes = metrics.plot(normalize=None, path=tmp_path / "a.png")
    assert numbers(axes) == {(0, 0): "1", (0, 1): "1", (1, 1): "1"}
    assert [label.get_text() for label in axes.get_xticklabels()] == ["left", "right"]
    figure, _ = plot_confusion_matrix(MATRIX)
    assert metrics.plot(torch.eye(2), figure.add_subplot())[0] is figure
    _, axes = metrics.plot([metrics.compute()] * 2, path=tmp_path / "b.png")
    assert [len(line.get_xdata()) for line in axes.lines] == [2] * 5


def test_matrix_of_nothing():
    _, axes = plot_confusion_matrix(torch.zeros(2, 2), normalize=None)
    assert not axes.texts


def test_bad_input(monkeypatch):
    with pytest.raises(ValueError, match=r"matrix must have shape \(C, C\), got \(2, 3\)"):
        plot_confusion_matrix(torch.zeros(2, 3))
    with pytest.raises(ValueError, match="class_names must have one name for each of 3 classes, got 1"):
        plot_confusion_matrix(MATRIX, ["road"])
    with pytest.raises(ValueError, match=r"normalize must be one of 'truth', 'prediction', None, got 'row'"):
        plot_confusion_matrix(MATRIX, normalize="row")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'^drawing needs matplotlib: pip install "pydlx\[plot\]"$'):
        plot_confusion_matrix(MATRIX)
