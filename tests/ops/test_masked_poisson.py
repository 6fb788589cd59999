"""The masked Poisson solver, on masks of every kind, against a direct solve of a matrix assembled pixel by pixel."""

from __future__ import annotations

import ctypes
import itertools
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from op_checks import native_op, same_on_one_and_two_threads, sliced

import pydlx
from pydlx.ops import masked_poisson, solve_masked_poisson

scipy_sparse = pytest.importorskip("scipy.sparse")
scipy_linalg = pytest.importorskip("scipy.sparse.linalg")


def matrix(mask):
    """A, restricted to the unknown pixels in row-major order, by a loop over pixels."""
    height, width = mask.shape
    number = {pixel: k for k, pixel in enumerate(zip(*np.nonzero(mask), strict=True))}
    a = scipy_sparse.lil_matrix((len(number), len(number)))
    for (i, j), k in number.items():
        for y, x in ((i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)):
            if 0 <= y < height and 0 <= x < width:
                a[k, k] += 1
                if (y, x) in number:
                    a[k, number[y, x]] -= 1
    return a.tocsc()


def direct_solution(rhs, mask):
    """(planes, H, W) in float64."""
    u = np.zeros(rhs.shape)
    a = matrix(mask)
    for plane in range(len(rhs)):
        u[plane][mask] = scipy_linalg.spsolve(a, rhs[plane][mask])
    return u


def spiral(n):
    """A spiral corridor of unknown pixels, one pixel wide, with walls of known pixels one pixel wide."""
    mask = np.zeros((n, n), bool)
    i = j = 0
    di, dj = 0, 1
    mask[0, 0] = True
    turns = 0
    while turns < 2:
        y, x, yy, xx = i + di, j + dj, i + 2 * di, j + 2 * dj
        blocked = not (0 <= y < n and 0 <= x < n) or (0 <= yy < n and 0 <= xx < n and mask[yy, xx])
        if blocked:
            di, dj = dj, -di
            turns += 1
        else:
            i, j = y, x
            mask[i, j] = True
            turns = 0
    return mask


def blobs(height, width, seed=0):
    """A union of ellipses, some of which cross the canvas edge."""
    draw = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    mask = np.zeros((height, width), bool)
    for _ in range(5):
        cy, cx = draw.uniform(0, 1, 2) * (height, width)
        ry, rx = draw.uniform(0.1, 0.35, 2) * (height, width)
        mask |= ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 < 1
    return mask


def all_but(height, width, i, j):
    mask = np.ones((height, width), bool)
    mask[i, j] = False
    return mask


def masks():
    draw = np.random.default_rng(7)
    y, x = np.mgrid[:48, :53]
    kinds = {
        "blobs": blobs(61, 67),
        "rectangle": np.pad(np.ones((29, 40), bool), ((3, 5), (8, 1))),
        "rectangle at an odd place": np.pad(np.ones((30, 41), bool), ((4, 4), (7, 2))),
        "left half": x < 26,
        "right half": x >= 26,
        "bottom half": y >= 24,
        "checkerboard": (y + x) % 2 == 0,
        "odd rows": y % 2 == 1,
        "comb": x % 5 != 2,
        "walls": (x % 16 != 5) & (y % 16 != 11),
        "diagonal walls": (x + y) % 7 != 0,
        "spiral": spiral(45),
        "one pixel": ~all_but(37, 31, 20, 15),
        "corner pixel": ~all_but(23, 19, 22, 18),
        "all but one": all_but(41, 47, 13, 20),
        "all but one, even": all_but(41, 47, 16, 32),
        "all but a corner": all_but(40, 48, 0, 0),
        "all but the last": all_but(40, 48, 39, 47),
        "one row": all_but(1, 131, 0, 57),
        "one column": all_but(127, 1, 0, 0),
        "two rows": all_but(2, 90, 1, 89),
        "two columns": all_but(66, 2, 33, 0),
        "two by two": all_but(2, 2, 0, 1),
        "prime sizes": blobs(97, 89, seed=3),
        "several blocks": blobs(83, 150, seed=5),
        "ring": ((y - 24) ** 2 + (x - 26) ** 2 < 480) & ((y - 24) ** 2 + (x - 26) ** 2 > 90),
    }
    for share in (0.1, 0.5, 0.9, 0.99):
        kinds[f"noise {share}"] = draw.random((53, 59)) < share
    return kinds


MASKS = masks()


def noise(shape, dtype=torch.float64, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def test_masks_are_what_they_are_called():
    assert MASKS["one pixel"].sum() == MASKS["corner pixel"].sum() == 1
    neighbours = matrix(MASKS["spiral"])
    assert (neighbours < 0).sum(1).max() == 2  # a corridor: nobody has more than two unknown neighbours
    assert MASKS["spiral"].sum() > 45**2 / 2.5


@pytest.mark.parametrize("kind", MASKS)
def test_solution_is_the_direct_one(kind):
    mask = MASKS[kind]
    rhs = noise((2, *mask.shape))
    expected = direct_solution(rhs.numpy(), mask)
    size = np.abs(expected).max()
    u, residual = solve_masked_poisson(rhs, torch.from_numpy(mask))
    assert residual.dtype == torch.float64
    assert residual.shape == (2,)
    assert float(residual.max()) <= 1e-10
    assert np.abs(u.numpy() - expected).max() <= 1e-8 * size
    assert not u.numpy()[:, ~mask].any()
    u, residual = solve_masked_poisson(rhs.float(), torch.from_numpy(mask))
    assert u.dtype == torch.float32
    assert float(residual.max()) <= 1e-6
    assert np.abs(u.numpy() - expected).max() <= 1e-4 * size


@pytest.mark.parametrize("kind", MASKS)
def test_residual_is_that_of_the_solution(kind):
    mask = MASKS[kind]
    rhs = noise((1, *mask.shape), seed=1)
    u, residual = solve_masked_poisson(rhs, torch.from_numpy(mask), tolerance=1e-3)
    b = rhs[0].numpy()[mask]
    expected = np.linalg.norm(matrix(mask) @ u[0].numpy()[mask] - b) / np.linalg.norm(b)
    assert abs(float(residual[0]) - expected) <= 1e-12


def large_masks(height=300, width=331):
    draw = np.random.default_rng(2)
    y, x = np.mgrid[:height, :width]
    return {
        "blobs": blobs(height, width),
        "comb": x % 17 != 5,
        "checkerboard": (y + x) % 2 == 0,
        "spiral": spiral(height + 1),
        "all but one": all_but(height, width, height // 2 + 1, 77),
        "all but a corner": all_but(height, width, 0, 0),
        "noise 0.7": draw.random((height, width)) < 0.7,
        "noise 0.999": draw.random((height, width)) < 0.999,
        "one row": all_but(1, 4001, 0, 1234),
    }


@pytest.mark.parametrize("kind", large_masks())
def test_iterations_are_bounded(kind, kernels):
    """With multigrid, the number of iterations does not grow with the size, for any mask."""
    if kernels == "reference":
        pytest.skip("a property of the kernels")
    masks = large_masks(132, 147) if kernels == "emulated" else large_masks()  # either has levels of every kind
    mask = torch.from_numpy(masks[kind])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        solve_masked_poisson(noise(mask.shape, torch.float32), mask, max_iterations=12)
        solve_masked_poisson(noise(mask.shape), mask, max_iterations=18)


def test_right_side_that_is_nonzero_at_the_boundary_only():
    """Here u is much larger than rhs, so that float32 residuals need a solution in float64."""
    mask = blobs(70, 83)
    known = torch.from_numpy(~mask).double() * (2 + noise(mask.shape).abs())
    padded = torch.nn.functional.pad(known, (1, 1, 1, 1))
    rim = (padded[2:, 1:-1] + padded[:-2, 1:-1] + padded[1:-1, 2:] + padded[1:-1, :-2]).float()
    u, residual = solve_masked_poisson(rim, torch.from_numpy(mask))
    assert float(residual) <= 1e-6
    expected = direct_solution(rim.double().numpy()[None], mask)[0]
    assert np.abs(u.numpy() - expected).max() <= 2e-5 * np.abs(expected).max()
    assert expected.max() > 1


@pytest.mark.parametrize("scale", [1e-36, 1e-20, 1e20, 1e36])
def test_scale_does_not_matter(scale, kernels):
    mask = torch.from_numpy(MASKS["blobs"])
    rhs = noise(mask.shape, torch.float32)
    u, _ = solve_masked_poisson(rhs, mask)
    scaled, residual = solve_masked_poisson(rhs * scale, mask)
    assert float(residual) <= 1e-6
    torch.testing.assert_close(scaled.double() / scale, u.double(), rtol=1e-4, atol=1e-4)


def test_known_pixels_of_rhs_are_ignored():
    mask = torch.from_numpy(MASKS["ring"])
    rhs = noise(mask.shape)
    u, _ = solve_masked_poisson(rhs, mask)
    spoilt, _ = solve_masked_poisson(torch.where(mask, rhs, torch.nan), mask)
    assert torch.equal(u, spoilt)


def test_initial_guess_saves_iterations():
    mask = torch.from_numpy(MASKS["several blocks"])
    rhs = noise((3, *mask.shape))
    u, _ = solve_masked_poisson(rhs, mask)
    start = u + torch.where(mask, 0, noise(u.shape, seed=4))  # what is on known pixels must not matter
    again, residual = solve_masked_poisson(rhs, mask, initial=start, max_iterations=1)
    assert float(residual.max()) <= 1e-10
    torch.testing.assert_close(again, u, rtol=0, atol=1e-8)
    elsewhere, _ = solve_masked_poisson(rhs, mask, initial=noise(u.shape, seed=5))
    torch.testing.assert_close(elsewhere, u, rtol=0, atol=1e-6)


def test_max_iterations_holds_over_restarts(kernels):
    """From an initial guess so far away that rounding needs a second round, each further iteration still counts."""
    if kernels == "reference":
        pytest.skip("only the kernel begins a second round")
    mask = torch.zeros(24, 24, dtype=torch.bool)
    mask[1:-1, 1:-1] = True
    rhs, start = noise(mask.shape), 1e8 * noise(mask.shape, seed=4)
    residuals = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they say that the tolerance is not met
        for limit in range(10, 60):
            residuals.append(float(solve_masked_poisson(rhs, mask, initial=start, max_iterations=limit)[1]))
    drops = [before / after for before, after in itertools.pairwise(residuals)]
    assert residuals[0] > 1e-2
    assert residuals[-1] < 1e-9
    assert max(drops) < 100  # one iteration takes a factor of about ten


@pytest.mark.parametrize("lead", [(), (3,), (2, 3), (2, 1), (1, 3)])
def test_masks_broadcast(lead):
    draw = np.random.default_rng(0)
    masks = torch.from_numpy(draw.random((*lead, 23, 29)) < 0.8)
    rhs = noise((2, 3, 23, 29))
    u, residual = solve_masked_poisson(rhs, masks)
    assert residual.shape == (2, 3)
    full = masks.expand(2, 3, 23, 29)
    for n in range(2):
        for c in range(3):
            expected = direct_solution(rhs[n, c].numpy()[None], full[n, c].numpy())[0]
            torch.testing.assert_close(u[n, c], torch.from_numpy(expected), rtol=1e-7, atol=1e-7)


def test_strides_do_not_matter():
    mask = torch.from_numpy(MASKS["walls"])
    rhs = noise((3, *mask.shape))
    u, _ = solve_masked_poisson(rhs, mask)
    for layout in (sliced(rhs), rhs.transpose(-1, -2).contiguous().transpose(-1, -2)):
        other, _ = solve_masked_poisson(layout, sliced(mask))
        assert torch.equal(u, other)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [(61, 67), (401, 390)])  # planes side by side, and one after another
def test_bitwise_repeatable(dtype, size, kernels):
    if kernels != "native" and size[0] > 100:
        pytest.skip("how the CPU's threads share the work")
    mask = torch.from_numpy(blobs(*size))
    rhs = noise((3, *size), dtype)
    same_on_one_and_two_threads(lambda: solve_masked_poisson(rhs, mask))


def test_planes_are_independent(kernels):
    """Each stops when it has arrived, and nothing of one reaches another.

    A plane's result has the same bits beside others; but for the reference, whose sums PyTorch orders by the batch.
    """
    mask = torch.from_numpy(MASKS["several blocks"])
    masks = torch.stack([mask, mask.flip(0), mask.flip(1)])[:, None]
    rhs = noise((3, 2, *mask.shape), torch.float32)
    rhs[0, 1] *= 1e30
    rhs[1, 0] = 0
    rhs[2] *= 1e-30
    u, residual = solve_masked_poisson(rhs, masks)
    alone = [solve_masked_poisson(rhs[n, c], masks[n, 0]) for n in range(3) for c in range(2)]
    for together, one, own, norm in zip(u.flatten(0, 1), *zip(*alone, strict=True), residual.flatten(), strict=True):
        if kernels == "reference":
            assert (together - one).abs().max() <= 3e-6 * one.abs().max()
            assert max(norm, own) <= 1e-6
        else:
            assert torch.equal(together, one)
            assert norm == own
    assert not u[1, 0].any()


def test_known_regions_beside_unknown_ones():
    """Neighbours read from tiles without an unknown pixel, whose memory is never written, on all levels."""
    y, x = np.mgrid[:132, :147]
    for mask in ((y < 32) & (x < 128), (y >= 96) & (x >= 64)):
        rhs = noise((1, *mask.shape))
        u, _ = solve_masked_poisson(rhs, torch.from_numpy(mask))
        expected = direct_solution(rhs.numpy(), mask)
        assert np.abs(u.numpy() - expected).max() <= 1e-8 * np.abs(expected).max()


@pytest.fixture
def emulator(kernels):
    """The emulator's own functions."""
    if kernels != "emulated":
        pytest.skip("a property of the CUDA kernels")
    library = ctypes.CDLL(os.environ["PYDLX_LIBRARY"])
    yield library
    library.pydlx_emulator_set_schedule(os.environ.get("PYDLX_EMULATOR_SCHEDULE", "forward").encode())
    library.pydlx_emulator_set_capturing(0)


def test_the_last_block_to_arrive_does_not_matter(emulator):
    mask = torch.from_numpy(blobs(61, 131))
    rhs = noise((2, *mask.shape), torch.float32)
    results = []
    for schedule in (b"forward", b"reverse", b"shuffle:1"):
        assert emulator.pydlx_emulator_set_schedule(schedule)
        results.append(torch.cat([x.flatten() for x in solve_masked_poisson(rhs, mask)]))
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


@pytest.mark.parametrize("limit", [4, 23])
def test_a_capture_does_not_wait(emulator, limit):
    """In a CUDA graph all iterations are launched; those after convergence have nothing to do."""
    mask = torch.from_numpy(MASKS["ring"])
    rhs, start = noise((1, 2, *mask.shape)), noise((1, 2, *mask.shape), seed=2)
    results = []
    for capturing in (0, 1):
        emulator.pydlx_emulator_set_capturing(capturing)
        results.append(native_op("masked_poisson")(rhs, mask[None], start, 1e-10, limit))
    for waiting, captured in zip(*results, strict=True):
        assert torch.equal(waiting, captured)


def test_empty_inputs():
    mask = torch.zeros(9, 8, dtype=torch.bool)
    u, residual = solve_masked_poisson(noise((2, 9, 8)), mask)
    assert not u.any()
    assert not residual.any()
    for shape in ((0, 9, 8), (2, 0, 8), (2, 9, 0)):
        u, residual = solve_masked_poisson(torch.empty(shape), torch.ones(shape[1:], dtype=torch.bool))
        assert u.shape == shape
        assert residual.shape == shape[:1]


def test_zero_right_side():
    mask = torch.from_numpy(MASKS["blobs"])
    u, residual = solve_masked_poisson(torch.zeros(mask.shape), mask, initial=torch.ones(mask.shape))
    assert not u.any()
    assert float(residual) == 0


def test_gradients():
    mask = torch.from_numpy(np.random.default_rng(1).random((5, 4)) < 0.7)
    masks = torch.stack([mask, mask.flip(0)])[:, None]
    rhs = noise((2, 2, 5, 4)).requires_grad_()

    def solution(b):
        return solve_masked_poisson(b, masks, tolerance=1e-13)[0]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 1e-13 may be a little below the rounding errors
        assert torch.autograd.gradcheck(solution, rhs)
        assert torch.autograd.gradgradcheck(solution, rhs)


def test_residual_and_initial_have_no_gradient():
    mask = torch.from_numpy(MASKS["blobs"])
    start = noise(mask.shape).requires_grad_()
    u, residual = solve_masked_poisson(noise(mask.shape).requires_grad_(), mask, initial=start)
    assert not residual.requires_grad
    u.sum().backward()
    assert start.grad is None or not start.grad.any()


def test_opcheck(kernels):
    if kernels == "reference":
        pytest.skip("nothing is dispatched")
    mask = torch.from_numpy(blobs(21, 18)).expand(2, 21, 18)
    for initial in (None, noise((2, 3, 21, 18))):
        rhs = noise((2, 3, 21, 18)).requires_grad_()
        torch.library.opcheck(native_op("masked_poisson"), (rhs, mask, initial, 1e-10, 100))


def test_compiles_without_a_break(kernels):
    if kernels == "reference":
        pytest.skip("the reference loops until it has converged")
    mask = torch.from_numpy(MASKS["ring"])
    rhs = noise((2, *mask.shape))
    compiled = torch.compile(lambda b: solve_masked_poisson(b, mask)[0] * 2, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(rhs), 2 * solve_masked_poisson(rhs, mask)[0], rtol=0, atol=0)


def test_reference_and_kernels_agree():
    mask = torch.from_numpy(MASKS["prime sizes"])
    rhs = noise((2, *mask.shape))
    u, _ = solve_masked_poisson(rhs, mask)
    with pydlx.backend("reference"):
        reference, residual = solve_masked_poisson(rhs, mask)
    assert float(residual.max()) <= 1e-10
    torch.testing.assert_close(u, reference, rtol=0, atol=1e-8 * float(u.abs().max()))


@pytest.mark.parametrize("level", ["baseline", "avx2"])
def test_every_instruction_set(level, kernels, tmp_path):
    """The kernels of lower instruction sets, in separate processes, against the direct solution."""
    if kernels == "reference":
        pytest.skip("nothing is compiled")
    mask = MASKS["several blocks"]
    rhs = noise((1, *mask.shape))
    torch.save((rhs, torch.from_numpy(mask)), tmp_path / "problem.pt")
    code = (
        "import sys, torch; from pydlx.ops import solve_masked_poisson; rhs, mask = torch.load('problem.pt');"
        "torch.save([solve_masked_poisson(b, mask)[0] for b in (rhs, rhs.float())], 'solution.pt')"
    )
    path = os.pathsep.join([str(Path(pydlx.__file__).parent.parent), *sys.path])
    environment = {**os.environ, "PYDLX_SIMD": level, "PYTHONPATH": path}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=environment)
    expected = direct_solution(rhs.numpy(), mask)
    for u, tolerance in zip(torch.load(tmp_path / "solution.pt"), (1e-8, 1e-4), strict=True):
        assert np.abs(u.numpy() - expected).max() <= tolerance * np.abs(expected).max()


def test_stopping_early_warns():
    mask = torch.from_numpy(MASKS["all but one"])
    with pytest.warns(RuntimeWarning, match=r"solve_masked_poisson: relative residual .* above the tolerance 1e-10"):
        _, residual = solve_masked_poisson(noise(mask.shape), mask, max_iterations=2)
    assert 1e-10 < float(residual) < 1


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (
            {"rhs": torch.zeros(4, 5, dtype=torch.float16)},
            TypeError,
            "rhs must be float32 or float64, got torch.float16",
        ),
        ({"rhs": torch.zeros(5)}, ValueError, r"rhs must have shape \(..., H, W\), got \(5,\)"),
        ({"mask": torch.zeros(4, 5)}, TypeError, "mask must be a bool tensor, got torch.float32"),
        ({"mask": torch.zeros(5, 4, dtype=torch.bool)}, ValueError, r"mask .* got \(5, 4\) for rhs \(4, 5\)"),
        ({"mask": torch.zeros(2, 4, 5, dtype=torch.bool)}, ValueError, r"got \(2, 4, 5\) for rhs \(4, 5\)"),
        ({"mask": torch.ones(4, 5, dtype=torch.bool)}, ValueError, "mask must leave at least one pixel"),
        ({"tolerance": 0.0}, ValueError, "tolerance must be positive, got 0.0"),
        ({"max_iterations": 0}, ValueError, "max_iterations must be positive, got 0"),
        ({"initial": torch.zeros(5, 4)}, ValueError, r"initial must have the shape .* got \(5, 4\)"),
        ({"initial": torch.full((4, 5), torch.inf)}, ValueError, "initial must be finite"),
        ({"rhs": torch.full((4, 5), torch.inf)}, ValueError, "rhs must be finite"),
        ({"rhs": torch.full((4, 5), torch.nan)}, ValueError, "rhs must be finite"),
    ],
)
def test_errors(change, error, words):
    mask = torch.ones(4, 5, dtype=torch.bool)
    mask[1, 2] = False
    arguments = {"rhs": torch.ones(4, 5), "mask": mask, **change}
    with pytest.raises(error, match=f"^solve_masked_poisson: .*{words}"):
        solve_masked_poisson(arguments.pop("rhs"), arguments.pop("mask"), **arguments)


def test_bad_values_are_reported_with_the_residuals():
    """The device is read once, after the solve: errors in the data are reported before convergence."""
    report = masked_poisson._report
    nan, small = torch.tensor([[0.0, torch.nan]], dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"^solve_masked_poisson: start is wrong$"):
        report(nan, {"mask is wrong": torch.tensor(False), "start is wrong": torch.tensor(True)}, 1e-6, 9)
    with pytest.raises(ValueError, match="rhs must be finite"):
        report(nan, {"mask is wrong": torch.tensor(False)}, 1e-6, 9)
    report(small, {"mask is wrong": torch.tensor(False)}, 1e-6, 9)
