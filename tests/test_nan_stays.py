"""NaN reaches exactly the results that depend on it, as found by a finite outlier at the same place."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from pydlx import ops

SIZE = (2, 2, 17, 19)
PLACES = ((0, 0), (8, 9), (5, 2), (16, 18))


def ssim_map(**options: object) -> Callable[[Tensor], Tensor]:
    other = draw(*SIZE, seed=1)
    return lambda x: ops.ssim(x, other, 1.0, reduction="map", **options)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


LOCAL: dict[str, Callable[[Tensor], Tensor]] = {
    "soft_pool1d": lambda x: ops.soft_pool1d(x.flatten(0, 1), 3, 2, 1),
    "soft_pool2d": lambda x: ops.soft_pool2d(x, 3, 2, 1, ceil_mode=True),
    "soft_pool2d, channels last": lambda x: ops.soft_pool2d(x.contiguous(memory_format=torch.channels_last), 2, 1),
    "soft_pool3d": lambda x: ops.soft_pool3d(x[:, None], (1, 2, 3)),
    **{f"corner_pool, {way}": lambda x, way=way: ops.corner_pool(x, way) for way in ("top", "bottom", "left", "right")},
    "top_left_pool": lambda x: ops.top_left_pool(x, x),
    "ssim": ssim_map(),
    "ssim, uniform": ssim_map(convention="skimage"),
    "ssim, padded": ssim_map(convention="torchmetrics"),
}
BY_PLANE: dict[str, Callable[[Tensor], Tensor]] = {
    "dctn": ops.dctn,
    "dctn, type 3": lambda x: ops.dctn(x, 3),
    "dstn": lambda x: ops.dstn(x, 1),
    "solve_poisson": ops.solve_poisson,
    "solve_poisson, dirichlet": lambda x: ops.solve_poisson(x, "dirichlet"),
    "solve_gaussian_poisson": lambda x: ops.solve_gaussian_poisson(x, x),
    "sequence_pool": lambda x: ops.sequence_pool(x.flatten(0, 1), "soft")[..., None, :],
}


def at(place: tuple[int, int], value: float) -> Tensor:
    x = draw(*SIZE)
    x[(1, 0, *place)] = value
    return x


def reached(run: Callable[[Tensor], Tensor], place: tuple[int, int], rounding: float = 0.0) -> Tensor:
    """The results that a positive or a negative outlier changes by more than `rounding`."""
    usual = run(draw(*SIZE))
    changes = [(run(at(place, outlier)) - usual).abs() for outlier in (1e3, -1e3)]
    return torch.maximum(*changes) > rounding


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", LOCAL)
def test_nan_reaches_what_reads_it(name, place, kernels):
    run = LOCAL[name]
    # The CUDA kernels of SSIM measure from a centre of the plane, which an outlier may move.
    rounding = 2e-6 if kernels == "emulated" and name.startswith("ssim") else 0.0
    result, usual, expected = run(at(place, torch.nan)), run(draw(*SIZE)), reached(run, place, rounding)
    assert torch.equal(result.isnan(), expected)
    torch.testing.assert_close(result[~expected], usual[~expected], rtol=0, atol=2e-6)


@pytest.mark.parametrize("name", BY_PLANE)
def test_nan_stays_in_its_plane(name):
    run = BY_PLANE[name]
    result, usual = run(at((3, 4), torch.nan)), run(draw(*SIZE))
    nan = result.isnan().flatten(-2).any(-1).flatten()
    assert nan.tolist() == [False, False, True, False]
    # A line is transformed along with another one elsewhere, and rounded in its last place accordingly.
    torch.testing.assert_close(result.flatten(0, -3)[~nan], usual.flatten(0, -3)[~nan], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", ["soft_pool2d", "ssim", "ssim, uniform", "corner_pool, top"])
def test_gradients_of_what_does_not_read_it_are_as_usual(name, place):
    def gradient(x: Tensor) -> Tensor:
        x = x.requires_grad_()
        result = LOCAL[name](x)
        return torch.autograd.grad(result, x, reads_not.to(result.dtype))[0]

    reads_not = ~reached(LOCAL[name], place)
    result, usual = gradient(at(place, torch.nan)), gradient(draw(*SIZE))
    shared = torch.autograd.functional.vjp(LOCAL[name], at(place, 0.5), (~reads_not).float())[1] != 0
    torch.testing.assert_close(result[~shared], usual[~shared], rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_oks_of_other_poses(value):
    pred, truth = draw(3, 5, 2) * 100, draw(4, 5, 2, seed=1) * 100
    visible, area, sigmas = torch.ones(4, 5), torch.full((4,), 900.0), [0.1, 0.2, 0.1, 0.3, 0.2]
    usual = ops.oks(pred, truth, visible, area, sigmas)
    pred[1, 2, 0] = value
    score = ops.oks(pred, truth, visible, area, sigmas)
    others = torch.tensor([True, False, True])
    torch.testing.assert_close(score[others], usual[others], rtol=0, atol=0)
    assert torch.equal(score[1].isnan(), torch.full((4,), value != value))


@pytest.mark.parametrize("method", ["gaussian", "linear", "hard"])
@pytest.mark.parametrize("column", range(4))
def test_a_nan_box_suppresses_no_other(method, column):
    corners = draw(9, 2) * 20
    boxes = torch.cat([corners, corners + 10 + draw(9, 2, seed=1) * 10], 1)
    scores = 0.2 + 0.7 * draw(9, seed=2)
    sound = torch.arange(9) != 4
    rows, kept = ops.soft_nms(boxes[sound], scores[sound], method=method)
    expected = {int(sound.nonzero()[row]): float(score) for row, score in zip(rows, kept, strict=True)}
    boxes[4, column] = torch.nan
    rows, kept = ops.soft_nms(boxes, scores, method=method)
    assert {int(row): float(score) for row, score in zip(rows, kept, strict=True)} == pytest.approx(
        {**expected, 4: float(scores[4])}, rel=1e-6
    )


def test_a_nan_pose_suppresses_no_other():
    poses, area = draw(1, 4, 2).expand(5, 4, 2) * 50 + draw(5, 4, 2, seed=1), torch.full((5,), 400.0)
    scores, sigmas = 0.2 + 0.7 * draw(5, seed=2), [0.1] * 4
    expected = ops.soft_oks_nms(poses[1:], scores[1:], area[1:], sigmas)
    poses[0, 2, 1] = torch.nan
    rows, kept = ops.soft_oks_nms(poses, scores, area, sigmas)
    others = rows != 0
    assert torch.equal(rows[others], expected[0] + 1)
    torch.testing.assert_close(kept[others], expected[1], rtol=1e-6, atol=0)
    assert float(kept[~others]) == float(scores[0])
