"""Distances between sets of pictures, each against an independent computation."""

from __future__ import annotations

import itertools
import math
import sys
import types

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pydlx._optional import MissingPackageError
from pydlx.metrics import fid, kid, parzen_log_likelihood, sliced_wasserstein
from pydlx.metrics.generative import _laplacian_pyramid

stats = pytest.importorskip("scipy.stats")
ndimage = pytest.importorskip("scipy.ndimage")
linalg = pytest.importorskip("scipy.linalg")

FEW = {"patches": 16, "projections": 32}


def pictures(n=32, size=32, seed=0, channels=3):
    """Smooth random pictures."""
    x = torch.rand(n, channels, size // 4, size // 4, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(x, (size, size), mode="bicubic").clamp(0, 1)


def constant(values):
    """Pictures of one channel and one value each, of which every patch is alike."""
    return torch.as_tensor(values).view(-1, 1, 1, 1).expand(-1, 1, 8, 8)


def test_in_one_dimension_it_is_the_wasserstein_distance():
    draw = np.random.default_rng(0)
    a, b = draw.random(200), draw.random(200) ** 2
    found = sliced_wasserstein(constant(a), constant(b), smallest=8, patch=1, patches=1)
    each = stats.wasserstein_distance((a - a.mean()) / a.std(), (b - b.mean()) / b.std())
    assert found == {8: pytest.approx(each, rel=1e-9)}
    found = sliced_wasserstein(constant(a), constant(b), smallest=8, patch=1, patches=1, normalise="real")
    assert found[8] == pytest.approx(stats.wasserstein_distance(a / a.std(), b / a.std()), rel=1e-9)


def test_projections_are_onto_unit_vectors():
    """Pictures that differ by a constant: the mean of |sum of a unit vector's 49 entries| is about sqrt(2 / pi)."""
    values = torch.rand(50, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = sliced_wasserstein(
        constant(values), constant(values + 0.3), smallest=8, patches=1, projections=20_000, normalise="real"
    )
    assert found[8] == pytest.approx(0.3 / values.std(correction=0).item() * math.sqrt(2 / math.pi), rel=0.02)


def test_several_dimensions_by_scipy():
    """Patches that are whole pictures: sort by scipy along directions drawn as the function draws them."""
    a, b = pictures(20, 8).double(), pictures(20, 8, seed=1).double()
    found = sliced_wasserstein(a, b, smallest=8, patch=8, patches=1, projections=40, seed=3)[8]
    generator = torch.Generator().manual_seed(3)
    for _ in range(4):
        torch.randint(1, (20, 1, 1), generator=generator)  # places, of which there is one
    directions = torch.randn(192, 40, generator=generator).double()
    directions = (directions / directions.square().sum(0).sqrt()).numpy()
    sets = []
    for x in (a.numpy(), b.numpy()):
        normal = (x - x.mean((0, 2, 3), keepdims=True)) / x.std((0, 2, 3), keepdims=True)
        sets.append(normal.reshape(20, -1) @ directions)
    expected = np.mean([stats.wasserstein_distance(sets[0][:, n], sets[1][:, n]) for n in range(40)])
    assert found == pytest.approx(expected, rel=1e-6)


def test_the_pyramid_by_scipy():
    x = torch.rand(2, 3, 33, 33, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    kernel = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256
    bands = _laplacian_pyramid(x, 8)
    assert [tuple(band.shape[2:]) for band in bands] == [(33, 33), (17, 17), (9, 9)]
    planes = x[0, 0].numpy()
    for band in bands[:-1]:
        smaller = ndimage.correlate(planes, kernel, mode="mirror")[::2, ::2]
        spread = np.zeros_like(planes)
        spread[::2, ::2] = smaller
        difference = planes - ndimage.correlate(spread, 4 * kernel, mode="mirror")
        np.testing.assert_allclose(band[0, 0], difference, atol=1e-12)
        planes = smaller
    np.testing.assert_allclose(bands[-1][0, 0], planes, atol=1e-12)


def test_levels_and_what_they_see():
    """Half of the made pictures lack the finest band: the finest level sees it, the coarsest does not."""
    real, other = (torch.rand(64, 3, 32, 32, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    same = sliced_wasserstein(real, other, smallest=8, **FEW)
    assert list(same) == [32, 16, 8]
    assert list(sliced_wasserstein(real, other, **FEW)) == [32, 16]
    finest = _laplacian_pyramid(other, 8)[0]
    other[::2] -= finest[::2]
    half = sliced_wasserstein(real, other, smallest=8, **FEW)
    assert half[32] > 3 * same[32]
    assert half[8] < 1.2 * same[8]


def test_colours_count_only_by_the_real_statistics():
    real, other = pictures(64), pictures(64, seed=1)
    dark = 0.3 * other
    for normalise, much in (("each", False), ("real", True)):
        far, near = (sliced_wasserstein(real, x, smallest=32, normalise=normalise, **FEW)[32] for x in (dark, other))
        assert (far > 2 * near) == much


def test_order_and_seed():
    real, other = pictures(), pictures(seed=1)
    assert sliced_wasserstein(real, other, **FEW) == sliced_wasserstein(real, other, **FEW)
    assert sliced_wasserstein(real, other, **FEW) != sliced_wasserstein(real, other, seed=1, **FEW)
    whole = {"smallest": 32, "patch": 32, "patches": 1, "projections": 8}
    assert sliced_wasserstein(real, real.flip(0), **whole)[32] == pytest.approx(0, abs=1e-6)


def test_bytes_are_taken():
    a, b = ((255 * pictures(seed=seed)).round().byte() for seed in (0, 1))
    assert sliced_wasserstein(a, b, **FEW) == sliced_wasserstein(a.float() / 255, b.float() / 255, **FEW)
    half = sliced_wasserstein(a.bfloat16() / 255, b.bfloat16() / 255, **FEW)
    assert half[32] == pytest.approx(sliced_wasserstein(a, b, **FEW)[32], rel=0.2)


def test_parzen_windows_in_one_dimension_by_scipy():
    draw = np.random.default_rng(0)
    samples, test = draw.normal(size=(300, 1)), draw.normal(size=(70, 1))
    found = parzen_log_likelihood(torch.from_numpy(samples), torch.from_numpy(test), 0.2, chunk=32)
    logs = stats.gaussian_kde(samples[:, 0], bw_method=0.2 / samples.std(ddof=1)).logpdf(test[:, 0])
    assert found.mean == pytest.approx(logs.mean(), rel=1e-10)
    assert found.error == pytest.approx(logs.std() / math.sqrt(70), rel=1e-10)
    assert found.sigma == 0.2


def test_parzen_windows_of_pictures_by_hand():
    samples, test = pictures(12, 8), pictures(5, 8, seed=1)
    logs = []
    for x in test.double().flatten(1).numpy():
        each = [stats.multivariate_normal.logpdf(x, s, 0.3**2) for s in samples.double().flatten(1).numpy()]
        logs.append(np.logaddexp.reduce(each) - math.log(12))
    found = parzen_log_likelihood(samples, test, 0.3)
    assert found.mean == pytest.approx(np.mean(logs), rel=1e-10)


def test_the_window_is_chosen_by_the_validation_set():
    generator = torch.Generator().manual_seed(0)
    samples, test, validation = (torch.randn(200, 2, generator=generator, dtype=torch.float64) for _ in range(3))
    widths = np.logspace(-1, 0, 10).tolist()
    likelihoods = [parzen_log_likelihood(samples, validation, width).mean for width in widths]
    best = widths[int(np.argmax(likelihoods))]
    assert 0.1 < best < 1
    found = parzen_log_likelihood(samples, test, validation=validation)
    assert found.sigma == pytest.approx(best)
    assert found == parzen_log_likelihood(samples, test, found.sigma)
    assert parzen_log_likelihood(samples, test, 0.5, validation=validation).sigma == 0.5


class Means(nn.Module):
    """Four features of pictures of 8 pixels; with dropout, which must not act."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3 * 64, 4)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x):
        assert x.dtype == torch.uint8
        return self.dropout(self.layer(x.flatten(1).float() / 255))


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Means()


def features(network, x):
    return network.eval()((x * 255).round().byte()).detach().double().numpy()


def test_fid_over_a_network_by_scipy(network):
    real, fake = pictures(40, 8), pictures(30, 8, seed=1)
    found = fid(real, fake, features=network)
    assert network.training
    a, b = features(network, real), features(network, fake)
    covariances = np.cov(a.T), np.cov(b.T)
    root = linalg.sqrtm(covariances[0] @ covariances[1]).real
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(covariances[0] + covariances[1] - 2 * root)
    assert found.value == pytest.approx(expected, rel=1e-4)
    assert found.name == "Fréchet distance of Means's features (no FID)"


def test_kid_over_a_network_by_hand(network):
    real, fake = pictures(12, 8), pictures(12, 8, seed=1)
    found = kid(real, fake, features=network)
    a, b = features(network, real), features(network, fake)

    def kernel(x, y):
        return (x @ y / 4 + 1) ** 3

    within = sum(kernel(x[i], x[j]) for x in (a, b) for i, j in itertools.permutations(range(12), 2)) / (12 * 11)
    between = sum(kernel(x, y) for x in a for y in b) / 12**2
    assert found.value == pytest.approx(within - 2 * between, rel=1e-3, abs=1e-6)
    assert found.name == "kernel distance of Means's features (no KID)"


def test_kid_is_seeded(network):
    real, fake = pictures(12, 8), pictures(20, 8, seed=1)
    state = torch.get_rng_state()
    first, again, other = (kid(real, fake, features=network, seed=seed).value for seed in (0, 0, 1))
    assert first == again != other
    assert torch.equal(state, torch.get_rng_state())


def test_without_inception_a_line_says_what_is_missing(monkeypatch):
    x = pictures(2, 8)
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    for function, name in ((fid, "FID"), (kid, "KID")):
        message = rf"^{name} with Inception's features needs torch-fidelity: pip install .pydlx\[fid\].$"
        with pytest.raises(MissingPackageError, match=message):
            function(x, x)


def test_without_inceptions_weights_a_line_says_what_to_give(monkeypatch):
    fid_module = pytest.importorskip("torchmetrics.image.fid")

    def fails(name, features, feature_extractor_weights_path):
        raise RuntimeError(f"no {feature_extractor_weights_path}")

    monkeypatch.setitem(sys.modules, "torch_fidelity", types.ModuleType("torch_fidelity"))
    monkeypatch.setattr(fid_module, "NoTrainInceptionV3", fails)
    message = r"^fid: Inception's weights cannot be loaded \(RuntimeError\); give weights=FILE, or features=NETWORK$"
    with pytest.raises(OSError, match=message):
        fid(pictures(2, 8), pictures(2, 8), weights="nowhere.pth")


def test_with_inception_it_is_called_so(monkeypatch, network):
    fid_module = pytest.importorskip("torchmetrics.image.fid")
    given = []
    monkeypatch.setitem(sys.modules, "torch_fidelity", types.ModuleType("torch_fidelity"))
    monkeypatch.setattr(
        fid_module,
        "NoTrainInceptionV3",
        lambda *args, feature_extractor_weights_path: given.append(feature_extractor_weights_path) or network,
    )
    x, y = pictures(5, 8), pictures(5, 8, seed=1)
    assert [fid(x, y, weights="w.pth").name, kid(x, y).name] == ["FID", "KID"]
    assert given == ["w.pth", None]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"fake": torch.zeros(32, 3, 32, 31)},
            r"fake must have the shape of real, \(32, 3, 32, 32\), got \(32, 3, 32, 31\)",
        ),
        (
            {"fake": torch.zeros(32, 3, 32, 32, dtype=torch.uint8)},
            "fake must have the dtype of real, torch.float32, got torch.uint8",
        ),
        ({"real": torch.zeros(3, 32, 32)}, r"real must have shape \(N, C, H, W\), none of them 0, got Tensor"),
        ({"real": torch.zeros(2, 3, 32, 32).long()}, "real must be a floating-point tensor, got torch.int64"),
        ({"patch": 17}, "patch must fit into the smallest level, 16 pixels, got 17"),
        ({"smallest": 1}, "smallest must be at least 2, got 1"),
        ({"projections": 0}, "projections must be positive, got 0"),
        ({"normalise": "both"}, "normalise must be one of 'each', 'real', got 'both'"),
    ],
)
def test_bad_calls(change, message):
    with pytest.raises((ValueError, TypeError), match=f"^sliced_wasserstein: {message}"):
        sliced_wasserstein(**{"real": pictures(), "fake": pictures(), **change})


def test_bad_calls_of_parzen():
    x = torch.zeros(3, 2)
    for arguments, options, message in (
        ((x, x), {}, "validation must be given where sigma is None, got None"),
        ((x, torch.zeros(3, 3), 1.0), {}, "test must have 2 numbers each, as samples has, got 3"),
        ((x, x), {"validation": torch.zeros(3, 1)}, "validation must have 2 numbers each, as samples has, got 1"),
        ((x, x, 0.0), {}, "sigma must be positive, got 0.0"),
        ((x, x, math.inf), {}, "sigma must be finite, got inf"),
        ((x.long(), x, 1.0), {}, "samples must be a floating-point tensor, got torch.int64"),
        ((x[:0], x, 1.0), {}, r"samples must have shape \(N, ...\), none of them 0"),
    ):
        with pytest.raises((ValueError, TypeError), match=f"^parzen_log_likelihood: {message}"):
            parzen_log_likelihood(*arguments, **options)


def test_bad_calls_of_fid(network):
    x = pictures(3, 8)
    with pytest.raises(ValueError, match=r"^fid: real must be at least 2 pictures, got 1$"):
        fid(x[:1], x, features=network)
    with pytest.raises(
        ValueError, match=r"^kid: fake must have pictures of the shape of real's, \(3, 8, 8\), got \(3, 8, 7\)$"
    ):
        kid(x, x[..., :7], features=network)
    with pytest.raises(TypeError, match=r"^fid: features must be a network or None, got 5$"):
        fid(x, x, features=5)


def test_rounding_errors_of_constant_pictures_do_not_count():
    flat = torch.full((4, 3, 32, 32), 0.1)
    assert max(sliced_wasserstein(flat, flat, patches=8, projections=16).values()) < 0.01


def test_fid_leaves_the_modes_of_a_networks_parts():
    network = nn.Sequential(nn.BatchNorm2d(3).eval(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    fid(pictures(4).float(), pictures(4, seed=1).float(), features=nn.Sequential(_Floats(), network))
    assert network.training
    assert not network[0].training


class _Floats(nn.Module):
    def forward(self, x):
        return x.float() / 255
