"""Oracles written from the definitions, pixel by pixel, in float64 NumPy: slow, and independent of the package."""

from __future__ import annotations

import numpy as np
import scipy.fft
import scipy.ndimage


def dense_poisson(source, target, weight, offset=(0, 0), guidance="source", hidden=None):
    """Poisson editing on (H, W, C) images by loops over pixels and a dense solve.

    `weight` has the source's size; unknown is what has positive weight and falls on the canvas. For each unknown p and
    each neighbour q on the canvas: sum_q (u[p] - u[q]) = sum_q v[pq]. On edges that end where `hidden`, of the source's
    size, holds, the source has no gradient.
    """
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    height, width, channels = target.shape
    rows, columns = source.shape[:2]

    def source_at(i, j):
        i, j = i - offset[0], j - offset[1]
        return source[min(max(i, 0), rows - 1), min(max(j, 0), columns - 1)]

    def weight_at(i, j):
        i, j = i - offset[0], j - offset[1]
        return weight[i, j] if 0 <= i < rows and 0 <= j < columns else 0.0

    def hidden_at(i, j):
        i, j = i - offset[0], j - offset[1]
        return hidden is not None and 0 <= i < rows and 0 <= j < columns and hidden[i, j]

    def wanted(p, q):
        ds, dt = source_at(*p) - source_at(*q), target[p] - target[q]
        if hidden_at(*p) or hidden_at(*q):
            ds = np.zeros_like(ds)
        if guidance == "mixed":
            ds = ds if np.linalg.norm(ds) >= np.linalg.norm(dt) else dt
        elif guidance == "average":
            ds = (ds + dt) / 2
        w = max(weight_at(*p), weight_at(*q))
        return w * ds + (1 - w) * dt

    unknown = [(i, j) for i in range(height) for j in range(width) if weight_at(i, j) > 0]
    number = {p: k for k, p in enumerate(unknown)}
    matrix, right_side = np.zeros((len(unknown), len(unknown))), np.zeros((len(unknown), channels))
    for p, k in number.items():
        for step in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            q = (p[0] + step[0], p[1] + step[1])
            if not (0 <= q[0] < height and 0 <= q[1] < width):
                continue
            matrix[k, k] += 1
            right_side[k] += wanted(p, q)
            if q in number:
                matrix[k, number[q]] -= 1
            else:
                right_side[k] += target[q]
    result = target.copy()
    result[tuple(np.transpose(unknown))] = np.linalg.solve(matrix, right_side)
    return result


def gaussian_symbol(length, sigma):
    """Eigenvalues of GP-GAN's three-tap Gaussian along one axis, its taps read off scipy's filtered unit impulse."""
    impulse = np.zeros(31)
    impulse[15] = 1
    taps = scipy.ndimage.gaussian_filter(impulse, sigma)[14:17] if sigma else np.array([0, 1, 0])
    return taps[1] + 2 * taps[0] * np.cos(np.pi * np.arange(length) / length)


def upstream_divergence(source, target, mask):
    """B of GP-GAN's code for (H, W, C) images of one size: mixed feature planes, as upstream writes them."""
    m = np.asarray(mask, np.float64)[..., None]

    def features(image):
        across, down = np.zeros_like(image), np.zeros_like(image)
        across[:, :-1] = image[:, 1:] - image[:, :-1]
        down[:-1] = image[1:] - image[:-1]
        return across, down, np.roll(across, 1, axis=1), np.roll(down, 1, axis=0)

    mixed = [m * s + (1 - m) * t for s, t in zip(features(source), features(target), strict=True)]
    across = (mixed[0] + np.roll(mixed[2], -1, axis=1)) / 2
    down = (mixed[1] + np.roll(mixed[3], -1, axis=0)) / 2
    across[:, -1], down[-1] = 0, 0
    return np.roll(across, 1, axis=1) + np.roll(down, 1, axis=0) - across - down


def closed_form(divergence, colour, beta, sigma, formulation, normalised=False):
    """One Gaussian-Poisson solve on (H, W, C) planes with scipy's cosine transform."""
    height, width = divergence.shape[:2]
    rows, columns = (2 - 2 * np.cos(np.pi * np.arange(n) / n) for n in (height, width))
    laplace = (rows[:, None] + columns)[..., None]
    gauss = (gaussian_symbol(height, sigma)[:, None] * gaussian_symbol(width, sigma))[..., None]
    if normalised:
        gauss = gauss / gauss[0, 0]
    b, c = (scipy.fft.dctn(planes, axes=(0, 1), norm="ortho") for planes in (divergence, colour))
    spectrum = {
        "official": lambda: (b + beta * c) / (laplace + beta * gauss),
        "paper": lambda: (laplace * b + beta * gauss * c) / (laplace**2 + beta * gauss**2),
        "screened": lambda: (b + beta * gauss * c) / (laplace + beta * gauss**2),
    }[formulation]()
    return scipy.fft.idctn(spectrum, axes=(0, 1), norm="ortho")
