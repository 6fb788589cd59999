"""Closed-form Poisson solves against matrices written out pixel by pixel, and float32 against float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.fft
import scipy.ndimage
import torch
from op_checks import FLOATS, native_op, same_on_one_and_two_threads, sliced

from pydlx.ops import poisson, solve_gaussian_poisson, solve_poisson

FORMULATIONS = ("official", "paper", "screened")
SHAPES = [(1, 1), (1, 6), (6, 1), (2, 2), (2, 3), (3, 2), (4, 5), (7, 11), (9, 8), (5, 70), (12, 13)]
GREY = 255.0


def draw(*shape, dtype=torch.float64, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def laplacian(height, width, dirichlet):
    """Minus the 5-point Laplacian: differences to the neighbours; outside, Dirichlet has zeros and Neumann nothing."""
    matrix = np.zeros((height * width, height * width))
    for row in range(height):
        for column in range(width):
            here = row * width + column
            for r, c in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
                inside = 0 <= r < height and 0 <= c < width
                if inside:
                    matrix[here, r * width + c] -= 1
                if inside or dirichlet:
                    matrix[here, here] += 1
    return matrix


def gaussian(height, width, sigma, normalised=False):
    """GP-GAN's filter: a Gaussian image filter's kernel, cut to 3 x 3, over an image mirrored at its edge."""
    impulse = np.zeros(101)
    impulse[50] = 1
    taps = scipy.ndimage.gaussian_filter1d(impulse, sigma)[49:52]
    if normalised:
        taps = taps / taps.sum()
    images = np.eye(height * width).reshape(-1, height, width)
    blurred = [scipy.ndimage.correlate(image, np.outer(taps, taps), mode="reflect") for image in images]
    return np.reshape(blurred, (height * width, height * width)).T


def equation(formulation, lap, gauss, rhs, colour, beta):
    if formulation == "official":
        return lap + beta * gauss, rhs + beta * colour
    if formulation == "paper":
        return lap @ lap + beta * gauss @ gauss, lap @ rhs + beta * gauss @ colour
    return lap + beta * gauss @ gauss, rhs + beta * gauss @ colour


def assert_solution(u, expected, limit):
    np.testing.assert_allclose(u.double().reshape(-1).numpy(), expected, rtol=0, atol=limit * np.abs(expected).max())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_dirichlet_is_the_dense_solve(shape, dtype):
    rhs = draw(*shape, dtype=dtype)
    for screening in (0.0, 0.3):
        matrix = laplacian(*shape, dirichlet=True) + screening * np.eye(math.prod(shape))
        expected = np.linalg.solve(matrix, rhs.double().reshape(-1).numpy())
        limit = 1e-12 if dtype is torch.float64 else 1e-6
        assert_solution(solve_poisson(rhs, "dirichlet", screening), expected, limit)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_neumann_is_the_dense_solve(shape, dtype):
    """Without screening: the least-squares solution of minimal norm, which has mean zero."""
    rhs = draw(*shape, dtype=dtype)
    right = rhs.double().reshape(-1).numpy()
    matrix = laplacian(*shape, dirichlet=False)
    limit = 1e-11 if dtype is torch.float64 else 2e-6
    u = solve_poisson(rhs)
    centred = np.linalg.lstsq(matrix, right - right.mean(), rcond=None)[0]
    np.testing.assert_allclose(u.double().reshape(-1), centred, rtol=0, atol=limit * max(1, np.abs(centred).max()))
    screened = np.linalg.solve(matrix + 0.3 * np.eye(right.size), right)
    assert_solution(solve_poisson(rhs, screening=0.3), screened, limit)


@pytest.mark.parametrize("formulation", FORMULATIONS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_gaussian_is_the_dense_solve(shape, formulation, dtype):
    rhs, colour = draw(*shape, dtype=dtype), draw(*shape, dtype=dtype, seed=1)
    lap = laplacian(*shape, dirichlet=False)
    for beta, sigma, normalised in ((1.0, 0.5, False), (0.01, 0.5, True), (10.0, 1.0, False), (0.5, 1.0, True)):
        gauss = gaussian(*shape, sigma, normalised)
        matrix, right = equation(
            formulation, lap, gauss, rhs.double().reshape(-1).numpy(), colour.double().reshape(-1).numpy(), beta
        )
        u = solve_gaussian_poisson(rhs, colour, beta, sigma, formulation, normalised=normalised)
        assert_solution(u, np.linalg.solve(matrix, right), 1e-11 if dtype is torch.float64 else 5e-6)


# Where the CUDA kernels change: 16 and 32 rows to a thread, 1024 and 4096 to a block; rows of 2^k samples, of an odd
# number and of pairs; one pair of columns to a tile and several. Five planes of 40 x 256 take several launches.
COLUMN_SHAPES = [(2, 1, 6), (2, 2, 2), (2, 16, 8), (2, 17, 256), (1, 15, 512), (1, 8, 1024), (1, 3, 2048), (1, 2, 4096)]
COLUMN_SHAPES += [(1, 1024, 4), (1, 1025, 3), (1, 1057, 6), (1, 4097, 2), (5, 40, 256)]


@pytest.mark.parametrize("shape", COLUMN_SHAPES)
def test_systems_of_columns(shape):
    """Float32 against the reference in float64, for weights on both sides of the column systems' limit."""
    rhs, colour = draw(*shape, dtype=torch.float32), draw(*shape, dtype=torch.float32, seed=1)
    cases = [("official", 0.002, 0.5), ("official", 30.0, 0.5), ("screened", 0.5, 1.0), ("paper", 0.2, 0.5)]
    if shape[-1] >= 1024:
        cases = cases[:3:2]
    elif shape[-1] < 256:
        cases += [("screened", 20.0, 1.0), ("paper", 10.0, 1.0), ("official", 5e-4, 0.5), ("paper", 0.05, 0.0)]
    for formulation, beta, sigma in cases:
        u = solve_gaussian_poisson(rhs, colour, beta, sigma, formulation)
        equation = FORMULATIONS.index(formulation), beta, *poisson.gaussian_taps(sigma)
        exact = poisson.gaussian_poisson_reference(rhs.double(), colour.double(), *equation)
        assert_solution(u, exact.reshape(-1).numpy(), 5e-6)
    for boundary, screening in (("neumann", 0.01), ("dirichlet", 0.0), ("dirichlet", 0.2)):
        u = solve_poisson(rhs, boundary, screening)
        exact = poisson.poisson_reference(rhs.double(), boundary == "dirichlet", screening)
        assert_solution(u, exact.reshape(-1).numpy(), 5e-6)


@pytest.mark.parametrize("width", [17, 256])
def test_solves_at_odd_addresses(width):
    rhs, colour = (draw(2 * 6 * width + 1, dtype=torch.float32, seed=seed)[1:].view(2, 6, width) for seed in (0, 1))
    for solve in (
        lambda b, c: solve_gaussian_poisson(b, c, 0.5),
        lambda b, c: solve_gaussian_poisson(b, c, 0.5, formulation="paper"),
        lambda b, c: solve_poisson(b, "dirichlet"),
        lambda b, c: solve_gaussian_poisson(b, c, 1e-5),
    ):
        torch.testing.assert_close(solve(rhs, colour), solve(rhs.clone(), colour.clone()), rtol=0, atol=0)


@pytest.mark.parametrize("shape", [(4, 7, 9), (4, 7, 256), (4, 8, 10)])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_plane_that_is_not_finite_leaves_the_others_alone(shape, value):
    rhs, colour = draw(*shape, dtype=torch.float32), draw(*shape, dtype=torch.float32, seed=1)
    spoiled = rhs.clone()
    spoiled[1, -1, -1] = value
    for solve in (
        lambda b: solve_gaussian_poisson(b, colour, 0.5),
        lambda b: solve_gaussian_poisson(b, colour, 0.5, formulation="screened"),
        lambda b: solve_poisson(b, "dirichlet"),
    ):
        u, usual = solve(spoiled), solve(rhs)
        assert not u[1].isfinite().any()
        others = [0, 2, 3]
        torch.testing.assert_close(u[others], usual[others], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_each_plane_of_a_large_batch_is_solved_as_if_alone(dtype, kernels):
    """More planes than the CPU kernel processes at once (16 MB, kChunkBytes), in one batch of all three kinds."""
    if kernels != "native":
        pytest.skip("only the CPU kernel cuts a batch")
    planes = 2 * (1 << 24) // (dtype.itemsize * 160 * 150) + 5
    rhs, colour = draw(planes, 160, 150, dtype=dtype), draw(planes, 160, 150, dtype=dtype, seed=1)
    some = [0, planes // 3, planes // 2, planes - 6, planes - 1]
    for formulation in FORMULATIONS:
        together = solve_gaussian_poisson(rhs, colour, 0.5, 0.5, formulation)[some]
        alone = [solve_gaussian_poisson(rhs[i], colour[i], 0.5, 0.5, formulation) for i in some]
        assert torch.equal(together, torch.stack(alone))
    for boundary in ("neumann", "dirichlet"):
        together = solve_poisson(rhs, boundary)[some]
        assert torch.equal(together, torch.stack([solve_poisson(rhs[i], boundary) for i in some]))


def test_a_sum_that_is_only_rounding_keeps_its_gradient():
    """u is linear in rhs, so its gradient does not depend on the sum of rhs."""
    lap, grad = draw(6, 7).diff(dim=0), draw(5, 7, seed=1)
    balanced = (8 * lap).round() / 8
    balanced[0, 0] -= balanced.sum()
    for solve in (
        lambda rhs: solve_poisson(rhs, screening=0.3),
        lambda rhs: solve_gaussian_poisson(rhs, torch.zeros_like(rhs), 0.3, formulation="screened"),
    ):
        slopes = []
        for rhs in (balanced, balanced + 1):
            point = rhs.detach().requires_grad_()
            slopes.append(torch.autograd.grad(solve(point), point, grad)[0])
        torch.testing.assert_close(*slopes, rtol=0, atol=1e-12)


def test_published_taps():
    """GP-GAN's 3 x 3 kernel at sigma 0.5 and 1: a flat image comes out divided by the kernel's sum."""
    flat = torch.ones(8, 8, dtype=torch.float64)
    zero = torch.zeros_like(flat)
    for sigma, gain in ((0.5, 0.998945), (1.0, 0.779488)):
        u = solve_gaussian_poisson(zero, flat, 1.0, sigma)
        torch.testing.assert_close(u, flat / gain, rtol=0, atol=5e-6)
    torch.testing.assert_close(solve_gaussian_poisson(zero, flat, normalised=True), flat, rtol=0, atol=1e-13)
    torch.testing.assert_close(solve_gaussian_poisson(zero, flat, sigma=0.0), flat, rtol=0, atol=1e-13)


@pytest.mark.parametrize("formulation", FORMULATIONS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_mean(formulation, dtype):
    """A divergence has mean zero up to rounding, so u has the mean of colour; a larger mean of rhs counts."""
    colour = draw(40, 50, dtype=dtype) + 3
    beta = 1e-8
    rhs = draw(40, 50, dtype=dtype)
    rhs = rhs - rhs.double().mean().to(dtype)
    rhs.view(-1)[0] -= rhs.double().sum().to(dtype)
    u = solve_gaussian_poisson(rhs, colour, beta, formulation=formulation, normalised=True)
    assert abs(u.double().mean() - colour.double().mean()) < 1e-5
    u = solve_gaussian_poisson(rhs + 0.25, colour, 0.5, formulation=formulation, normalised=True)
    lift = 0.0 if formulation == "paper" else 0.5
    assert abs(u.double().mean() - colour.double().mean() - lift) < 1e-5
    centred = solve_gaussian_poisson(rhs + 1, colour, 0.0, formulation=formulation)
    assert abs(centred.double().mean()) < 1e-5
    torch.testing.assert_close(centred, solve_poisson(rhs), rtol=0, atol=1e-4 if dtype is torch.float32 else 1e-10)


def scene(height, width):
    """Minus the divergence of two images' gradients mixed by a mask, and the pasted image, in [0, 1]."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[0:height, 0:width] / max(height, width)
    source = 0.5 + 0.3 * np.sin(9 * rows + 14 * columns**2) + 0.05 * rng.standard_normal((height, width))
    target = 0.4 + 0.3 * np.cos(11 * columns) * rows + 0.05 * rng.standard_normal((height, width))
    mask = ((rows - 0.4) ** 2 + (columns - 0.5) ** 2 < 0.06).astype(float)
    rhs = np.zeros((height, width))
    for axis in (0, 1):
        ahead, behind = [slice(None)] * 2, [slice(None)] * 2
        ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
        ahead, behind = tuple(ahead), tuple(behind)
        weight = (mask[ahead] + mask[behind]) / 2
        edge = weight * np.diff(source, axis=axis) + (1 - weight) * np.diff(target, axis=axis)
        rhs[behind] -= edge
        rhs[ahead] += edge
    return torch.from_numpy(rhs), torch.from_numpy(mask * source + (1 - mask) * target)


SMALL = ((64, 64), (61, 127), (512, 500))
LARGE = ((2048, 2048), (1021, 1031), (4096, 4096))


@pytest.mark.parametrize("formulation", FORMULATIONS)
@pytest.mark.parametrize("shape", SMALL)
def test_float32_errs_by_less_than_a_hundredth_grey_level(shape, formulation):
    assert worst_grey_error(shape, formulation) < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("formulation", FORMULATIONS)
@pytest.mark.parametrize("shape", LARGE)
def test_float32_errs_by_less_than_a_hundredth_grey_level_large(shape, formulation):
    assert worst_grey_error(shape, formulation) < 0.01


def worst_grey_error(shape, formulation):
    rhs, colour = scene(*shape)
    worst = 0.0
    for beta in (1e-8, 1e-6, 1e-4, 1e-2, 1.0, 10.0):
        exact = solve_by_transform(rhs, colour, beta, formulation)
        rounded = solve_gaussian_poisson(rhs.float(), colour.float(), beta, formulation=formulation)
        worst = max(worst, GREY * float((rounded.double() - exact).abs().max()))
    return worst


def solve_by_transform(rhs, colour, beta, formulation):
    """The transform route in float64 by scipy, for a rhs whose sum is zero."""
    rows, columns = (4 * np.sin(np.pi * np.arange(n) / (2 * n)) ** 2 for n in rhs.shape)
    impulse = np.zeros(11)
    impulse[5] = 1
    side, centre, _ = scipy.ndimage.gaussian_filter1d(impulse, 0.5)[4:7]
    lhat = rows[:, None] + columns
    ghat = np.outer(centre + 2 * side - side * rows, centre + 2 * side - side * columns)
    gradients, colours = (scipy.fft.dctn(image.numpy()) for image in (rhs, colour))
    gradients[0, 0] = 0
    matrix, right = {
        "official": (lhat + beta * ghat, gradients + beta * colours),
        "paper": (lhat**2 + beta * ghat**2, lhat * gradients + beta * ghat * colours),
        "screened": (lhat + beta * ghat**2, gradients + beta * ghat * colours),
    }[formulation]
    return torch.from_numpy(scipy.fft.idctn(right / matrix))


@pytest.mark.parametrize("boundary", ["neumann", "dirichlet"])
@pytest.mark.parametrize("shape", [(300, 257), (255, 400)])
def test_relative_residual_in_float32(boundary, shape):
    """L u, in float64 by padded differences, gives rhs back."""
    rhs = scene(*shape)[0].float()
    u = solve_poisson(rhs, boundary).double().numpy()
    padded = np.pad(u, 1, mode="edge" if boundary == "neumann" else "constant")
    applied = 4 * u - padded[:-2, 1:-1] - padded[2:, 1:-1] - padded[1:-1, :-2] - padded[1:-1, 2:]
    wanted = rhs.double().numpy()
    if boundary == "neumann":
        wanted = wanted - wanted.mean()
    assert np.linalg.norm(applied - wanted) <= 2e-6 * np.linalg.norm(wanted)


@pytest.mark.parametrize("dtype", FLOATS)
def test_dtypes_and_layouts(dtype):
    rhs, colour = draw(2, 3, 20, 24, dtype=dtype), draw(2, 3, 20, 24, dtype=dtype, seed=1)
    wide = [x.double() for x in (rhs, colour)]
    limit = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 5e-3, torch.bfloat16: 5e-2}[dtype]
    for layout in (lambda x: x, sliced, lambda x: x.transpose(0, 3).contiguous().transpose(0, 3)):
        u = solve_gaussian_poisson(layout(rhs), layout(colour))
        assert u.dtype == dtype
        torch.testing.assert_close(u.double(), solve_gaussian_poisson(*wide), rtol=0, atol=limit)
        u = solve_poisson(layout(rhs), "dirichlet", 0.1)
        assert u.dtype == dtype
        torch.testing.assert_close(u.double(), solve_poisson(wide[0], "dirichlet", 0.1), rtol=0, atol=2 * limit)


def test_defaults_are_those_of_gp_gan():
    rhs, colour = draw(8, 9), draw(8, 9, seed=1)
    u = solve_gaussian_poisson(rhs, colour, 1.0, 0.5, "official", normalised=False)
    assert torch.equal(solve_gaussian_poisson(rhs, colour), u)


def test_mixed_dtypes_promote():
    u = solve_gaussian_poisson(draw(8, 8, dtype=torch.float32), draw(8, 8))
    assert u.dtype == torch.float64


def test_planes_are_independent():
    rhs, colour = draw(70, 12, 70), draw(70, 12, 70, seed=1)
    for solve in (
        lambda b, c: solve_gaussian_poisson(b, c, 0.1),
        lambda b, c: solve_gaussian_poisson(b, c, 0.1, formulation="paper"),
        lambda b, c: solve_gaussian_poisson(b, c, 0.1, formulation="screened"),
        lambda b, c: solve_poisson(b),
        lambda b, c: solve_poisson(b, "dirichlet"),
    ):
        together = solve(rhs, colour)
        for plane in (0, 33, 69):
            torch.testing.assert_close(together[plane], solve(rhs[plane], colour[plane]), rtol=0, atol=1e-13)


@pytest.mark.parametrize("formulation", FORMULATIONS)
def test_gaussian_gradients(formulation):
    rhs, colour = draw(2, 4, 5).requires_grad_(), draw(2, 4, 5, seed=1).requires_grad_()

    def solve(b, c):
        return solve_gaussian_poisson(b, c, 0.5, formulation=formulation)

    assert torch.autograd.gradcheck(solve, (rhs, colour))
    assert torch.autograd.gradgradcheck(solve, (rhs, colour))


@pytest.mark.parametrize("boundary", ["neumann", "dirichlet"])
@pytest.mark.parametrize("screening", [0.0, 0.5])
def test_poisson_gradients(boundary, screening):
    rhs = draw(2, 4, 5).requires_grad_()

    def solve(b):
        return solve_poisson(b, boundary, screening)

    assert torch.autograd.gradcheck(solve, rhs)
    assert torch.autograd.gradgradcheck(solve, rhs)


def test_opcheck():
    rhs, colour = draw(2, 4, 5).requires_grad_(), draw(2, 4, 5, seed=1).requires_grad_()
    torch.library.opcheck(native_op("poisson"), (rhs, True, 0.5))
    torch.library.opcheck(native_op("poisson"), (rhs, False, 0.0))
    for formulation in range(3):
        torch.library.opcheck(native_op("gaussian_poisson"), (rhs, colour, formulation, 0.5, 0.8, 0.1))


def test_compiles_without_graph_breaks():
    run = torch.compile(lambda b, c: solve_gaussian_poisson(b, c, 0.2), backend="aot_eager", fullgraph=True)
    rhs, colour = draw(2, 6, 8), draw(2, 6, 8, seed=1)
    torch.testing.assert_close(run(rhs, colour), solve_gaussian_poisson(rhs, colour, 0.2))


def test_autocast_computes_in_float32():
    rhs = draw(16, 16, dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        u = solve_poisson(rhs, "dirichlet")
    torch.testing.assert_close(u, solve_poisson(rhs.float(), "dirichlet").bfloat16(), rtol=0, atol=0)


def test_empty_batch():
    empty = torch.zeros(0, 8, 9)
    assert solve_poisson(empty).shape == (0, 8, 9)
    assert solve_gaussian_poisson(empty, empty).shape == (0, 8, 9)


@pytest.mark.parametrize("formulation", FORMULATIONS)
def test_same_bits_on_one_and_two_threads(formulation):
    rhs, colour = draw(3, 130, 150, dtype=torch.float32), draw(3, 130, 150, dtype=torch.float32, seed=1)
    same_on_one_and_two_threads(
        lambda: (solve_gaussian_poisson(rhs, colour, 1e-6, formulation=formulation), solve_poisson(rhs, "dirichlet"))
    )


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: solve_poisson(x.long()), TypeError, "solve_poisson: rhs must be a floating-point tensor"),
        (lambda x: solve_poisson(x[0]), ValueError, r"solve_poisson: rhs must have shape \(..., H, W\), got \(4,\)"),
        (lambda x: solve_poisson(x, "periodic"), ValueError, "solve_poisson: boundary must be"),
        (lambda x: solve_poisson(x, screening=-1), ValueError, "screening must be zero or positive"),
        (lambda x: solve_poisson(x, screening=math.nan), ValueError, "screening must be zero or positive"),
        (lambda x: solve_gaussian_poisson(x, x[:3]), ValueError, r"colour must have the shape of rhs, \(4, 4\), got"),
        (lambda x: solve_gaussian_poisson(x, x.int()), TypeError, "colour must be a floating-point tensor"),
        (lambda x: solve_gaussian_poisson(x, x, -0.1), ValueError, "beta must be zero or positive, and finite"),
        (lambda x: solve_gaussian_poisson(x, x, torch.ones(4, 4)), TypeError, "beta must be a number, got Tensor"),
        (lambda x: solve_gaussian_poisson(x, x, math.inf), ValueError, "beta must be zero or positive, and finite"),
        (lambda x: solve_gaussian_poisson(x, x, 1, -1), ValueError, "sigma must be zero or positive, and finite"),
        (lambda x: solve_gaussian_poisson(x, x, 1, 0.5, "exact"), ValueError, "formulation must be one of"),
        (lambda x: solve_gaussian_poisson(x, x, 1e3, 1.0), ValueError, "official needs L \\+ beta G to be positive"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call(torch.zeros(4, 4))


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_cuda_agrees_with_the_cpu(dtype):
    rhs, colour = draw(3, 65, 96), draw(3, 65, 96, seed=1)
    rhs -= rhs.mean((-2, -1), keepdim=True)
    on_gpu = [x.to(dtype).cuda() for x in (rhs, colour)]
    limit = 1e-9 if dtype is torch.float64 else 1e-3
    for boundary in ("neumann", "dirichlet"):
        expected = solve_poisson(rhs, boundary).flatten().numpy()
        assert_solution(solve_poisson(on_gpu[0], boundary).cpu(), expected, limit)
    for formulation in ("official", "paper", "screened"):
        expected = solve_gaussian_poisson(rhs, colour, 0.1, formulation=formulation).flatten().numpy()
        assert_solution(solve_gaussian_poisson(*on_gpu, 0.1, formulation=formulation).cpu(), expected, limit)
