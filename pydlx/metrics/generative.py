"""How close made pictures are to real ones, as two sets: what generative networks are judged by.

Pictures are (N, C, H, W), uint8 or floating from 0 to 1, the same for both sets.

>>> distances = sliced_wasserstein(real, made)  # doctest: +SKIP
{64: 0.031, 32: 0.028, 16: 0.025}

Sliced Wasserstein distances and Parzen windows need no network. FID and KID are those of the literature only with
Inception's features; over another network's features they are other numbers, and the name that comes with each says so.
"""

from __future__ import annotations

import math
import os
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pydlx._checks import (
    check_floating,
    check_one_of,
    check_path,
    check_positive,
    check_tensor,
    check_type,
    described,
    whole,
)
from pydlx._optional import needed_for

_PROJECTIONS_AT_ONCE = 64


class ParzenEstimate(NamedTuple):
    """What `parzen_log_likelihood` finds."""

    mean: float  # log-likelihood of a test sample, in nats
    error: float  # standard error of this mean
    sigma: float  # the window's


class FeatureDistance(NamedTuple):
    """A distance between pictures by a network's features, and what it is called with these features."""

    value: float
    name: str


def sliced_wasserstein(
    real: Tensor,
    fake: Tensor,
    *,
    smallest: int = 16,
    patch: int = 7,
    patches: int = 128,
    projections: int = 512,
    normalise: str = "each",
    seed: int = 0,
) -> dict[int, float]:
    """Sliced Wasserstein distance of patches, at each level of a Laplacian pyramid; small for sets that look alike.

    Karras, Aila, Laine and Lehtinen, arXiv 1710.10196, section 5: the patches of a level are normalised in each channel
    to zero mean and unit variance, projected onto random directions, and sorted; the distance is the mean absolute
    difference. The pyramid's filter is their binomial one of 5 pixels, with mirrored borders. They print the distances
    times 1000, of 16384 pictures; few pictures differ by chance alone.

    Args:
        real: Pictures (N, C, H, W).
        fake: As many, of the same shape and dtype.
        smallest: The pyramid ends before a level with fewer rows or columns than this, its last level holding what is
            left of the picture, not differences.
        patch: Side of the patches.
        patches: Of each picture and level, at random places.
        projections: How many directions.
        normalise: ``"each"`` set by its own mean and variance, as they do it, so that colours and contrast as such do
            not count; ``"real"`` both by the real set's, so that they do.
        seed: Of places and directions.

    Returns:
        By rows of the level, from fine to coarse.

    Raises:
        TypeError: If the pictures are no real tensors, or of two dtypes.
        ValueError: If they differ in shape, are smaller than a patch, or an option is out of range.
    """
    a, b = _two_sets("sliced_wasserstein", real, fake)
    if a.shape != b.shape:
        raise ValueError(
            f"sliced_wasserstein: fake must have the shape of real, {tuple(a.shape)}, got {tuple(b.shape)}"
        )
    smallest = whole("sliced_wasserstein", "smallest", smallest, 2)
    patch = whole("sliced_wasserstein", "patch", patch, 1)
    patches = whole("sliced_wasserstein", "patches", patches, 1)
    projections = whole("sliced_wasserstein", "projections", projections, 1)
    check_one_of("sliced_wasserstein", "normalise", normalise, ("each", "real"))
    seed = whole("sliced_wasserstein", "seed", seed)
    if patch > min(smallest, *a.shape[2:]):
        least = min(smallest, *a.shape[2:])
        raise ValueError(f"sliced_wasserstein: patch must fit into the smallest level, {least} pixels, got {patch}")
    generator = torch.Generator().manual_seed(seed)
    distances = {}
    for bands in zip(_laplacian_pyramid(a, smallest), _laplacian_pyramid(b, smallest), strict=True):
        sets = [_patches(band, patch, patches, generator) for band in bands]
        means, deviations = zip(*map(_statistics, sets), strict=True)
        flat = [
            ((x - means[n]) / deviations[n]).flatten(1)
            for x, n in zip(sets, (0, 1 if normalise == "each" else 0), strict=True)
        ]
        distances[bands[0].shape[2]] = _sliced_distance(flat[0], flat[1], projections, generator)
    return distances


def parzen_log_likelihood(
    samples: Tensor, test: Tensor, sigma: float | None = None, *, validation: Tensor | None = None, chunk: int = 256
) -> ParzenEstimate:
    """Log-likelihood of a test set under Gaussian windows around samples, as early generative networks report it.

    Breuleux, Bengio and Vincent (2011): ``log p(x) = log mean_i N(x; s_i, sigma^2 I)``, in float64. The window decides
    much of the number, and it does not tell good pictures from poor ones (Theis et al., arXiv 1511.01844): it is here
    for comparison with papers that have it.

    Args:
        samples: (N, ...), of the model.
        test: (M, ...) of the same shape otherwise.
        sigma: The windows' standard deviation; if None, the best of ten from 0.1 to 1 for `validation`.
        validation: (V, ...), not of the test set; needed if sigma is None.
        chunk: Test samples that are compared with all samples at once.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If shapes differ, a set is empty, sigma is not positive, or both sigma and validation are None.
    """
    name = "parzen_log_likelihood"
    chunk = whole(name, "chunk", chunk, 1)
    windows = _vectors(name, "samples", samples, None)
    points = _vectors(name, "test", test, windows)
    if sigma is not None:
        check_positive(name, "sigma", sigma)
        if sigma == math.inf:
            raise ValueError(f"{name}: sigma must be finite, got {sigma}")
    elif validation is None:
        raise ValueError(f"{name}: validation must be given where sigma is None, got None")
    if validation is not None:
        held_out = _vectors(name, "validation", validation, windows)
        if sigma is None:
            choices = torch.logspace(-1, 0, 10, dtype=torch.float64).tolist()
            sigma = max(choices, key=lambda width: float(_parzen(windows, held_out, width, chunk).mean()))
    assert sigma is not None
    found = _parzen(windows, points, float(sigma), chunk)
    error = float(found.std(correction=0)) / math.sqrt(len(found))
    return ParzenEstimate(float(found.mean()), error, float(sigma))


def fid(
    real: Tensor, fake: Tensor, *, features: nn.Module | None = None, weights: str | os.PathLike[str] | None = None
) -> FeatureDistance:
    """Fréchet distance between Gaussians fitted to features (Heusel et al., arXiv 1706.08500), by torchmetrics.

    Args:
        real: Pictures (N, C, H, W), at least two.
        fake: Pictures (M, C, H, W).
        features: A network that gives (n, d) for uint8 pictures (n, C, H, W), in place of Inception. The number is then
            no FID, and its name says so.
        weights: File of Inception's weights as torch-fidelity has them; by default it downloads them.

    Returns:
        The distance, called ``"FID"`` with Inception.

    Raises:
        ImportError: If torchmetrics or, without `features`, torch-fidelity is missing.
        OSError: If Inception's weights can neither be found nor downloaded.
        TypeError: If an argument is of the wrong kind.
        ValueError: If the pictures differ in size or there is only one.
    """
    a, b = _byte_sets("fid", real, fake, features, weights)
    with needed_for("FID", extra="metrics"):
        from torchmetrics.image.fid import FrechetInceptionDistance
    metric = FrechetInceptionDistance(_extractor("fid", features, weights, a[:2]))
    name = "FID" if features is None else f"Fréchet distance of {type(features).__name__}'s features (no FID)"
    return _feature_distance(metric, a, b, name)


def kid(
    real: Tensor,
    fake: Tensor,
    *,
    features: nn.Module | None = None,
    weights: str | os.PathLike[str] | None = None,
    seed: int = 0,
) -> FeatureDistance:
    """Squared maximum mean discrepancy of features under a cubic kernel (Bińkowski et al., arXiv 1801.01401).

    By torchmetrics: the mean over 100 draws of as many pictures as the smaller set has, at most 1000.

    Args:
        real: As in :func:`fid`.
        fake: As in :func:`fid`.
        features: As in :func:`fid`.
        weights: As in :func:`fid`.
        seed: Of the draws.

    Returns:
        The distance, called ``"KID"`` with Inception.

    Raises:
        ImportError: As :func:`fid`.
        OSError: As :func:`fid`.
        TypeError: As :func:`fid`.
        ValueError: As :func:`fid`.
    """
    a, b = _byte_sets("kid", real, fake, features, weights)
    seed = whole("kid", "seed", seed)
    with needed_for("KID", extra="metrics"):
        from torchmetrics.image.kid import KernelInceptionDistance
    size = min(len(a), len(b), 1000)
    metric = KernelInceptionDistance(_extractor("kid", features, weights, a[:2]), subset_size=size)
    name = "KID" if features is None else f"kernel distance of {type(features).__name__}'s features (no KID)"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _feature_distance(metric, a, b, name)


def _two_sets(name: str, real: Any, fake: Any) -> tuple[Tensor, Tensor]:
    """Both as floats from 0 to 1."""
    for argument, value in (("real", real), ("fake", fake)):
        check_tensor(name, argument, value)
        if value.dtype != torch.uint8:
            check_floating(name, argument, value)
        if value.dim() != 4 or not value.numel() or value.is_meta:
            raise ValueError(f"{name}: {argument} must have shape (N, C, H, W), none of them 0, got {described(value)}")
    if real.dtype != fake.dtype:
        raise TypeError(f"{name}: fake must have the dtype of real, {real.dtype}, got {fake.dtype}")
    return _floats(real), _floats(fake)


def _floats(x: Tensor) -> Tensor:
    if x.dtype == torch.uint8:
        return x.float() / 255
    return x.float() if x.element_size() < 4 else x


def _laplacian_pyramid(x: Tensor, smallest: int) -> list[Tensor]:
    """Differences from fine to coarse, and what is left at the end."""
    bands = []
    while -(-min(x.shape[2:]) // 2) >= smallest:
        smaller = _blurred(x)[:, :, ::2, ::2]
        spread = torch.zeros_like(x)
        spread[:, :, ::2, ::2] = 4 * smaller
        bands.append(x - _blurred(spread))
        x = smaller
    return [*bands, x]


def _blurred(x: Tensor) -> Tensor:
    """With the binomial filter of 5 x 5 pixels, mirrored at the border."""
    channels = x.shape[1]
    line = torch.tensor([1, 4, 6, 4, 1], dtype=x.dtype, device=x.device) / 16
    kernel = (line[:, None] * line).expand(channels, 1, 5, 5)
    return F.conv2d(F.pad(x, (2, 2, 2, 2), mode="reflect"), kernel, groups=channels)


def _patches(x: Tensor, side: int, count: int, generator: torch.Generator) -> Tensor:
    """`count` patches of each picture at random places: (N count, C, side, side)."""
    height, width = x.shape[2:]
    pictures = torch.arange(len(x)).repeat_interleave(count)
    rows = torch.randint(height - side + 1, (len(pictures), 1, 1), generator=generator)
    columns = torch.randint(width - side + 1, (len(pictures), 1, 1), generator=generator)
    steps = torch.arange(side)
    return x.movedim(1, 3)[pictures[:, None, None], rows + steps[:, None], columns + steps].movedim(3, 1)


def _statistics(patches: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel, over all pixels of all patches."""
    deviation, mean = torch.std_mean(patches, (0, 2, 3), correction=0, keepdim=True)
    # Constant pictures leave only rounding errors, which must not count as much as pictures do.
    return mean, deviation.clamp(min=1e-5)


def _sliced_distance(a: Tensor, b: Tensor, projections: int, generator: torch.Generator) -> float:
    """Mean over directions of the Wasserstein distance between projections of equally many points (n, d)."""
    directions = torch.randn(a.shape[1], projections, generator=generator).to(a)
    directions /= directions.norm(dim=0)
    total = 0.0
    for part in directions.split(_PROJECTIONS_AT_ONCE, 1):
        sorted_a, sorted_b = ((part.T @ x.T).sort(1).values for x in (a, b))
        total += float((sorted_a - sorted_b).abs().mean(1, dtype=torch.float64).sum())
    return total / projections


def _vectors(name: str, argument: str, x: Any, like: Tensor | None) -> Tensor:
    """(N, ...) as (N, d) in float64."""
    check_floating(name, argument, x)
    if x.dim() < 2 or not x.numel() or x.is_meta:
        raise ValueError(f"{name}: {argument} must have shape (N, ...), none of them 0, got {described(x)}")
    flat = x.flatten(1).double()
    if like is not None and flat.shape[1] != like.shape[1]:
        raise ValueError(
            f"{name}: {argument} must have {like.shape[1]} numbers each, as samples has, got {flat.shape[1]}"
        )
    return flat


def _parzen(samples: Tensor, points: Tensor, sigma: float, chunk: int) -> Tensor:
    """The log-likelihood of each point (M, d) under windows around samples (N, d)."""
    constant = math.log(len(samples)) + samples.shape[1] / 2 * math.log(2 * math.pi * sigma**2)
    found = []
    for part in points.split(chunk):
        # By matrix products it would be faster, and lose the distances of points that are close.
        distances = torch.cdist(part, samples, compute_mode="donot_use_mm_for_euclid_dist")
        found.append(torch.logsumexp(-distances.square() / (2 * sigma**2), 1))
    return torch.cat(found) - constant


def _byte_sets(name: str, real: Any, fake: Any, features: Any, weights: Any) -> tuple[Tensor, Tensor]:
    """Both as uint8, as they would be in files."""
    check_type(name, "features", features, (nn.Module, type(None)), "a network or None")
    if weights is not None:
        check_path(name, "weights", weights)
    sets = _two_sets(name, real, fake)
    for argument, x in zip(("real", "fake"), sets, strict=True):
        if len(x) < 2:
            raise ValueError(f"{name}: {argument} must be at least 2 pictures, got {len(x)}")
    shape, other = (tuple(x.shape[1:]) for x in sets)
    if shape != other:
        raise ValueError(f"{name}: fake must have pictures of the shape of real's, {shape}, got {other}")
    a, b = ((x.clamp(0, 1) * 255).round().to(torch.uint8) for x in sets)
    return a, b


class _Features(nn.Module):
    """A network as torchmetrics asks for one: in evaluation mode, without gradients, saying how many features it has.

    By itself torchmetrics (1.9) would ask for the features of a picture of 299 x 299 pixels to count them.
    """

    def __init__(self, network: nn.Module, example: Tensor) -> None:
        super().__init__()
        self.network = network
        self.num_features = self(example).shape[1]

    @torch.no_grad()
    def forward(self, pictures: Tensor) -> Tensor:
        """Features (n, d)."""
        training = [module for module in self.network.modules() if module.training]
        self.network.eval()
        try:
            return self.network(pictures)
        finally:
            for module in training:
                module.training = True


def _extractor(
    name: str, features: nn.Module | None, weights: str | os.PathLike[str] | None, example: Tensor
) -> nn.Module:
    """The network given, or Inception."""
    if features is not None:
        return _Features(features, example)
    with needed_for(f"{name.upper()} with Inception's features", extra="fid"):
        import torch_fidelity  # noqa: F401
    from torchmetrics.image.fid import NoTrainInceptionV3

    path = None if weights is None else str(weights)
    try:
        inception = NoTrainInceptionV3("inception-v3-compat", ["2048"], feature_extractor_weights_path=path)
    except Exception as error:  # of the download, the file, or what it holds
        raise OSError(
            f"{name}: Inception's weights cannot be loaded ({type(error).__name__}); give weights=FILE, "
            "or features=NETWORK"
        ) from error
    return _Features(inception, example)


def _feature_distance(metric: Any, real: Tensor, fake: Tensor, name: str) -> FeatureDistance:
    for x, is_real in ((real, True), (fake, False)):
        for part in x.split(64):
            metric.update(part, real=is_real)
    result = metric.compute()
    return FeatureDistance(float(result[0] if isinstance(result, tuple) else result), name)
