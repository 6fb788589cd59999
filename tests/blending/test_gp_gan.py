"""GP-GAN: what the network is shown, what becomes of its colours, and the whole against the authors' program."""

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from blending.dense import closed_form, upstream_divergence
from torch import nn

import pydlx
from pydlx.blending import blend, method_options
from pydlx.blending.placement import Box
from pydlx.blending.recolour import draw
from pydlx.models import save_model
from pydlx.models.gan import shipped

ndimage = pytest.importorskip("scipy.ndimage")


class Same(nn.Module):
    """A generator that changes nothing, and keeps what it was shown."""

    def __init__(self):
        super().__init__()
        self.shown = []

    def forward(self, x, mask=None):
        self.shown.append(torch.cat([x] if mask is None else [x, 2 * mask - 1], 1).detach().clone())
        return x

    def __deepcopy__(self, memo):
        return self


class Warmer(Same):
    """A generator that changes colours and contrast from place to place."""

    def forward(self, x):
        tint = torch.linspace(-0.3, 0.4, x.shape[-1], dtype=x.dtype) + torch.tensor([0.2, 0, -0.1])[:, None, None]
        return torch.tanh(0.8 * x + tint)


def network(generator=None, **options):
    """A small network with random weights in float64, or with another generator."""
    torch.manual_seed(0)
    made = pydlx.create_model("blending_gan", **{"width": 4, "bottleneck": 6, **options}).double()
    if generator is not None:
        made.generator = generator
    return made


def gp_gan(source, target, mask, offset=(0, 0), *, generator=None, image_size=64, **options):
    options.setdefault("network", network(generator, image_size=image_size))
    return blend(source, target, mask, offset, "gp-gan", **options)


def smooth(rng, *shape):
    """A picture without the sharp corners at which resampling overshoots."""
    picture = ndimage.gaussian_filter(rng.random(shape), (3, 3, *[0] * (len(shape) - 2)))
    return (picture - picture.min()) / np.ptp(picture) * 0.6 + 0.2


# The authors' program, from the definitions, for pictures (H, W, 3) in [0, 1] of one size.


def cubic_matrix(given, length):
    """Keys' cubic convolution with a = -1/2 along one axis, pixel by pixel; the border goes on."""
    matrix = np.zeros((length, given))
    for row in range(length):
        place = (row + 0.5) * given / length - 0.5
        for pixel in range(int(np.floor(place)) - 1, int(np.floor(place)) + 3):
            d = abs(place - pixel)
            weight = 1.5 * d**3 - 2.5 * d**2 + 1 if d <= 1 else -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
            matrix[row, min(max(pixel, 0), given - 1)] += weight
    return matrix


def convolution(image, size):
    rows, columns = (cubic_matrix(*lengths) for lengths in zip(image.shape, size, strict=False))
    return columns @ np.tensordot(rows, image, 1)


def spline(image, size):
    """scipy's resampling of order 3, which goes through a spline."""
    zoom = [wanted / given for wanted, given in zip((*size, 3), image.shape, strict=True)]
    return ndimage.zoom(image, zoom, order=3, mode="nearest", grid_mode=True)


def nearest(mask, size):
    rows, columns = (
        ((np.arange(wanted) + 0.5) * given / wanted).astype(int) for wanted, given in zip(size, mask.shape, strict=True)
    )
    return mask[np.ix_(rows, columns)]


def program(source, target, mask, generator, resize, side=64, beta=1.0):
    count = int(np.ceil(np.log2(max(mask.shape) / side)))
    levels = [(source, target)]
    for level in range(count - 1, -1, -1):
        blurred = [ndimage.gaussian_filter(image, (1, 1, 0), mode="nearest") for image in levels[0]]
        levels.insert(0, tuple(resize(image, (side * 2**level, side * 2**level)) for image in blurred))
    pasted = nearest(mask, (side, side))[..., None]
    pasted = levels[0][0] * pasted + levels[0][1] * (1 - pasted)
    made = generator(torch.from_numpy(pasted.transpose(2, 0, 1) * 2 - 1)[None])[0].numpy().transpose(1, 2, 0)
    picture = ((made + 1) / 2).clip(0, 1)
    for number, (s, t) in enumerate(levels):
        size = t.shape[:2]
        colours = resize(picture, size) if number else picture
        divergence = upstream_divergence(s, t, nearest(mask, size))
        picture = closed_form(divergence, colours, beta, 0.5, "official").clip(0, 1)
    return picture


@pytest.fixture
def scene(rng, blob):
    """Source, target and mask of one size."""

    def make(height, width):
        mask = np.zeros((height, width))
        mask[height // 4 : -height // 4, width // 4 : -width // 4] = 1
        return smooth(rng, height, width, 3), smooth(rng, height, width, 3), mask

    return make


@pytest.mark.parametrize(
    ("size", "side"), [((101, 150), 64), ((64, 65), 64), ((130, 70), 64), ((90, 90), 32), ((50, 41), 8)]
)
def test_official_pyramid_is_the_authors_program(scene, size, side):
    """But for the black that the program finds beyond the border as it resamples."""
    source, target, mask = scene(*size)
    expected = program(source, target, mask, Warmer(), convolution, side)
    result = gp_gan(source, target, mask, generator=Warmer(), image_size=side, official_pyramid=True, clip=True)
    np.testing.assert_allclose(result, expected, atol=1e-9)


def test_official_pyramid_with_splines_is_close(scene):
    """With scipy's order 3 in place of cubic convolution the picture differs by half a gray at most."""
    source, target, mask = scene(130, 170)
    expected = program(source, target, mask, Warmer(), spline)
    result = gp_gan(source, target, mask, generator=Warmer(), official_pyramid=True, clip=True)
    assert np.abs(result - expected).max() < 0.6 / 255
    assert np.abs(result - expected).mean() < 0.1 / 255


def test_published_pictures_like_the_program(shared_data):
    folder = shared_data / "blending" / "gp_gan_test"
    source, target, mask = (pydlx.data.read_image(folder / name) for name in ("src.jpg", "dst.jpg", "mask.png"))
    expected = program(source / 255, target / 255, mask.astype(float), Warmer(), convolution)
    result = gp_gan(source, target, mask, generator=Warmer(), official_pyramid=True, rounding="truncate")
    differing = result != (expected * 255).astype(np.uint8)
    assert differing.mean() < 1e-3  # float32 against float64 at the edge of truncation
    assert np.abs(result - (expected * 255)).max() <= 1 + 1e-3


@pytest.mark.parametrize("size", [(60, 150), (150, 60), (40, 30), (64, 64), (65, 64)])
@pytest.mark.parametrize("official", [False, True])
def test_a_network_that_changes_nothing_is_gaussian_poisson(scene, size, official):
    images = scene(*size)
    result = gp_gan(*images, generator=Same(), official_pyramid=official)
    pyramid = "square" if official else "aspect"
    expected = blend(*images, method="gaussian-poisson", pyramid=pyramid)
    small = max(size) < 64  # such pictures come to the network enlarged
    np.testing.assert_allclose(result, expected, atol=0.03 if small else 1e-9)


@pytest.mark.parametrize(("size", "box"), [((100, 300), Box(21, 0, 42, 64)), ((90, 1), Box(0, 31, 64, 32))])
def test_the_network_sees_the_picture_amid_its_mirror_image(rng, size, box):
    """The picture lies in the middle. The target goes on around it, mirrored; the pasted object does not."""
    target = smooth(rng, *size, 3)
    source = np.ones((size[0], size[1], 3))
    mask = np.zeros(size)
    mask[:30] = 1  # at the upper border
    generator = Same()
    gp_gan(source, target, mask, network=network(generator, mask_input=True))
    (shown,) = generator.shown
    assert shown.shape == (1, 4, 64, 64)
    colours, seen = (shown[0, :3].numpy() + 1) / 2, (shown[0, 3].numpy() + 1) / 2
    outside = np.ones((64, 64), bool)
    outside[box.top : box.bottom, box.left : box.right] = False
    assert (seen[outside] == 0).all()
    inside = box.of(torch.from_numpy(seen)).numpy()
    assert inside[0].min() > 0.99 and inside[-1].max() == 0
    np.testing.assert_allclose(box.of(torch.from_numpy(colours))[:, 0], 1, atol=1e-6)
    generator = Same()
    gp_gan(target, target, mask, generator=generator)
    around = (generator.shown[0][0].numpy() + 1) / 2
    inner = around[:, box.top : box.bottom, box.left : box.right]
    margins = [(0, 0), (box.top, 64 - box.bottom), (box.left, 64 - box.right)]
    np.testing.assert_allclose(around, np.pad(inner, margins, "symmetric"), atol=1e-12)
    np.testing.assert_allclose(colours[:, outside], around[:, outside], atol=1e-12)


@pytest.mark.parametrize(("image_size", "levels"), [(8, 6), (32, 4), (64, 3), (128, 2)])
def test_the_coarsest_level_has_the_network_s_size(scene, image_size, levels):
    generator = Same()
    _, report = gp_gan(*scene(80, 200), generator=generator, image_size=image_size, return_report=True)
    assert report.levels == levels and report.method == "gp-gan" and report.relative_residual < 1e-9
    assert generator.shown[0].shape == (1, 3, image_size, image_size)


def test_grey_pictures_go_through_as_three_equal_channels(scene):
    source, target, mask = scene(70, 90)
    grey = gp_gan(source[..., 0], target[..., 0], mask, generator=Same())
    assert grey.shape == (70, 90)
    expected = blend(source[..., 0], target[..., 0], mask, method="gaussian-poisson")
    np.testing.assert_allclose(grey, expected, atol=1e-9)
    own = network(image_size=8)
    shown = [np.repeat(x[..., :1], 3, 2) for x in (source, target)]
    options = {"network": own, "beta": 100, "taps": "normalised"}
    expected = gp_gan(*shown, mask, **options).mean(-1)
    np.testing.assert_allclose(gp_gan(source[..., 0], target[..., 0], mask, **options), expected, atol=1e-9)


def test_a_network_for_grey_pictures(scene):
    source, target, mask = (x[..., 0] if x.ndim == 3 else x for x in scene(20, 30))
    assert gp_gan(source, target, mask, network=network(channels=1, image_size=8)).shape == (20, 30)


def test_every_picture_of_a_batch_is_as_alone(scene):
    source, target, mask = scene(40, 50)
    targets = np.stack([target, target[::-1], source])
    for options in ({"mask_input": True}, {"noise": 3}):
        chosen = {"network": network(image_size=8, **options), "iterations": 3}
        together = gp_gan(source, targets, mask, **chosen)
        for picture, one in zip(together, targets, strict=True):
            np.testing.assert_allclose(picture, gp_gan(source, one, mask, **chosen), atol=1e-9)


def test_integer_pictures_are_shares_of_full_scale(scene):
    source, target, mask = scene(70, 90)
    bytes_ = [np.rint(x * 255).astype(np.uint8) for x in (source, target)]
    words = [x.astype(np.uint16) * 257 for x in bytes_]
    chosen = {"network": network(Warmer())}
    expected = gp_gan(*(x / 255 for x in bytes_), mask, **chosen)
    low, high = gp_gan(*bytes_, mask, **chosen), gp_gan(*words, mask, **chosen)
    assert low.dtype == np.uint8 and high.dtype == np.uint16
    assert np.abs(low - expected * 255).max() < 0.51
    assert np.abs(high - expected * 65535).max() < 1


def test_high_dynamic_range_is_clipped_for_the_network_alone(scene):
    source, target, mask = scene(70, 90)
    target = target * 8
    generator = Same()
    result = gp_gan(source, target, mask, generator=generator)
    assert generator.shown[0].max() == 1
    np.testing.assert_allclose(result, blend(source, target, mask, method="gaussian-poisson"), atol=1e-9)


def test_weight_maps_and_formulations_are_those_of_gaussian_poisson(scene):
    images = scene(70, 90)
    beta = np.linspace(0.2, 2, 70 * 90).reshape(70, 90)
    for options in ({"beta": beta}, {"beta": 0.3, "formulation": "paper", "taps": "normalised", "sigma": 0.8}):
        result = gp_gan(*images, generator=Same(), **options)
        np.testing.assert_allclose(result, blend(*images, method="gaussian-poisson", **options), atol=1e-6)


@pytest.mark.parametrize(("options", "official"), [({"mask_input": True}, False), ({"skips": True}, True)])
def test_gradients_through_the_network(picture, options, official):
    source, target = (torch.from_numpy(picture(1, *size)).requires_grad_() for size in ((5, 6), (9, 10)))
    mask = torch.from_numpy(picture(5, 6)).requires_grad_()
    chosen = {"network": network(image_size=8, **options), "official_pyramid": official}
    assert torch.autograd.gradcheck(
        lambda s, t, m: gp_gan(s.expand(3, -1, -1), t.expand(3, -1, -1), m, (1, 2), **chosen),
        (source, target, mask),
        fast_mode=True,
    )


def test_colours_have_a_gradient_through_the_network_alone(picture):
    """With a huge weight nothing but the network's colours is left of the picture at the coarsest level."""
    target = torch.from_numpy(picture(3, 8, 8)).requires_grad_()
    chosen = {"network": network(image_size=8), "beta": 1e9, "sigma": 0}
    result = gp_gan(target.detach(), target, torch.ones(8, 8) * 0.5, **chosen)
    (gradient,) = torch.autograd.grad(result[0, 0, 0], target)
    assert (gradient != 0).sum() > 100, "every colour of the network hangs on every pixel"


@pytest.mark.parametrize("training", [True, False])
def test_the_network_is_used_in_evaluation_mode_and_left_as_it_is(scene, training):
    own = network(image_size=8).train(training)
    before = {name: tensor.clone() for name, tensor in own.state_dict().items()}
    first, again = (gp_gan(*scene(20, 30)[:2], np.ones((20, 30)), network=own) for _ in range(2))
    assert first.shape == again.shape
    assert all(torch.equal(before[name], tensor) for name, tensor in own.state_dict().items())
    assert all(module.training == training for module in own.modules())
    assert all(p.requires_grad and p.grad is None for p in own.parameters())
    images = scene(20, 30)
    result = gp_gan(*images, network=own)
    np.testing.assert_array_equal(result, gp_gan(*images, network=own.eval()))


def test_weights_are_no_reason_to_record(scene):
    source, target, mask = scene(20, 30)
    source, target = (torch.from_numpy(x).movedim(-1, 0) for x in (source, target))
    assert not gp_gan(source, target, mask, network=network(image_size=8)).requires_grad


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_networks_of_other_precision(scene, dtype):
    images = scene(20, 30)
    own = network(image_size=8)
    expected = gp_gan(*images, network=own)
    np.testing.assert_allclose(
        gp_gan(*images, network=own.to(dtype)), expected, atol=0.05 if dtype == torch.bfloat16 else 1e-5
    )


@pytest.mark.cuda
@pytest.mark.parametrize("options", [{"mask_input": True}, {"noise": 3}])
@pytest.mark.parametrize("official", [False, True])
def test_on_a_gpu_with_a_network_that_is_elsewhere(scene, options, official):
    source, target, mask = (torch.from_numpy(x) for x in scene(90, 130))
    chosen = {"network": network(**options), "official_pyramid": official, "iterations": 3}
    images = source.movedim(-1, 0), target.movedim(-1, 0), mask
    expected = gp_gan(*images, **chosen)
    result = gp_gan(*(x.cuda() for x in images), **chosen)
    assert result.is_cuda and not next(chosen["network"].parameters()).is_cuda
    torch.testing.assert_close(result.cpu(), expected, rtol=0, atol=1e-4)


def squares(own, count):
    """Pictures that an unsupervised network can make, in [0, 1]."""
    with torch.no_grad():
        z = torch.randn(count, own.noise, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
        return (own(z) + 1) / 2


def test_a_search_finds_pictures_that_the_network_can_make():
    own = network(noise=3, image_size=8).eval()
    with torch.no_grad():
        for p in own.parameters():
            p.mul_(8 if p.dim() > 1 else 1)
    wanted, whole = squares(own, 2), Box(0, 0, 8, 8)
    for context in (torch.no_grad, torch.inference_mode, torch.enable_grad):
        with context():
            found = draw(own, wanted.clone(), whole, 200, 0)
        assert (found - wanted).abs().max() < 1e-3 and not found.requires_grad
    rough = draw(own, wanted, whole, 1, 0)
    assert (rough - wanted).abs().max() > 0.01
    assert torch.equal(rough, draw(own, wanted, whole, 1, 0))
    assert not torch.equal(rough, draw(own, wanted, whole, 1, 1))
    strange = wanted.clone()
    strange[..., 4:, :] = 0.9  # outside of what counts
    assert (draw(own, strange, Box(0, 0, 4, 8), 200, 0) - wanted)[..., :4, :].abs().max() < 1e-3


def test_unsupervised_networks_pull_by_a_tenth(scene):
    images = scene(20, 30)
    chosen = {"network": network(noise=3, image_size=8), "iterations": 2}
    expected = gp_gan(*images, beta=0.1, **chosen)
    np.testing.assert_array_equal(gp_gan(*images, **chosen), expected)
    assert np.abs(gp_gan(*images, beta=1, **chosen) - expected).max() > 1e-3
    with torch.inference_mode():
        np.testing.assert_array_equal(gp_gan(*images, **chosen), expected)
    supervised = {"network": network(image_size=8)}
    np.testing.assert_array_equal(gp_gan(*images, **supervised), gp_gan(*images, beta=1, **supervised))


def test_checkpoints(scene, tmp_path):
    images = scene(20, 30)
    own = network(image_size=8).float()
    save_model(own, tmp_path / "own.pt")
    for path in (tmp_path / "own.pt", str(tmp_path / "own.pt")):
        np.testing.assert_array_equal(gp_gan(*images, network=path), gp_gan(*images, network=own))


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (nn.Linear(1, 1), TypeError, "network must be a BlendingGAN, a checkpoint or None, got Linear"),
        (3, TypeError, "network must be a BlendingGAN, a checkpoint or None, got int"),
        ("missing.pt", FileNotFoundError, "network cannot be loaded: no such file: 'missing.pt'"),
        ("cut.pt", OSError, "network cannot be loaded: cannot read 'cut.pt' as a checkpoint"),
        ("fcn.pt", ValueError, "network must be the checkpoint of a BlendingGAN, got fcn32s"),
        ("list.pt", ValueError, "network cannot be loaded: 'list.pt' must hold a model of pydlx.list_models()"),
        (4, ValueError, "network must take pictures of 3 channels like the target, got 4"),
        (1, ValueError, "network must take pictures of 3 channels like the target, got 1"),
    ],
)
def test_networks_that_do_not_fit(scene, tmp_path, monkeypatch, given, error, message):
    monkeypatch.chdir(tmp_path)
    own = network(image_size=8)
    save_model(own, "own.pt")
    Path("cut.pt").write_bytes(Path("own.pt").read_bytes()[:-100])
    torch.save([1], "list.pt")
    if given == "fcn.pt":
        save_model(pydlx.create_model("fcn32s", num_classes=2, backbone="slim_vgg"), given)
    if error is ValueError and isinstance(given, int):
        given = network(channels=given, image_size=8)
    with pytest.raises(error, match=r"^blend: ") as failure:
        gp_gan(*scene(20, 30), network=given)
    assert str(failure.value).startswith(f"blend: {message}") and "\n" not in str(failure.value)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A folder in the place of the package, without weights and with nothing loaded from it."""
    monkeypatch.setattr(shipped.importlib.resources, "files", lambda name: tmp_path)
    monkeypatch.setattr(shipped, "_loaded", {})
    return tmp_path


def test_without_weights_one_sentence_says_what_to_do(scene, package):
    with pytest.raises(
        FileNotFoundError, match=r"^blend: network cannot be loaded: .* no file pydlx/weights/blend"
    ) as e:
        blend(*scene(20, 30), method="gp-gan")
    for advice in ("pydlx train blending_gan data=DIR", "network="):
        assert advice in str(e.value)


def test_shipped_weights_are_loaded_once(scene, package, monkeypatch):
    own = network(image_size=8).half()
    (package / "weights").mkdir()
    save_model(own, package / "weights" / "blending_gan.pt")
    loads = []

    def load(path, load_model=shipped.load_model):
        loads.append(path)
        return load_model(path)

    monkeypatch.setattr(shipped, "load_model", load)
    results, images = [], scene(20, 30)
    threads = [threading.Thread(target=lambda: results.append(blend(*images, method="gp-gan"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loads) == 1 and len(results) == 4
    for result in results:
        np.testing.assert_array_equal(result, gp_gan(*images, network=own.float()))


def test_shipped_weights_of_this_installation(scene, monkeypatch):
    monkeypatch.setattr(shipped, "_loaded", {})
    if not (Path(pydlx.__file__).parent / "weights" / "blending_gan.pt").is_file():
        pytest.skip("no weights are shipped here")
    source, target, mask = scene(100, 150)
    result = blend(source, target, mask, method="gp-gan", clip=True)
    assert result.shape == target.shape and np.isfinite(result).all()
    assert np.abs(result - target).mean() < 0.3, "the network gives no other picture"


def test_options_are_listed():
    own = ("beta", "sigma", "formulation", "taps", "network", "official_pyramid", "iterations", "seed")
    assert method_options("gp-gan") == own


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"pyramid": "square"}, TypeError, "blend: method 'gp-gan' takes no option 'pyramid'; its options are beta"),
        ({"official_pyramid": "yes"}, TypeError, "blend: official_pyramid must be True or False, got 'yes'"),
        ({"iterations": 0}, ValueError, "blend: iterations must be positive, got 0"),
        ({"iterations": 2.5}, TypeError, "blend: iterations must be a whole number, got 2.5"),
        ({"seed": -1}, ValueError, "blend: seed must be not negative, got -1"),
        ({"beta": -1}, ValueError, "blend: beta must be positive, got -1"),
    ],
)
def test_bad_options(scene, options, error, message):
    with pytest.raises(error) as failure:
        gp_gan(*scene(20, 30), network=network(image_size=8), **options)
    assert str(failure.value).startswith(message)


def test_networks_are_imported_when_they_are_used():
    probe = "import sys, pydlx.blending; print([name for name in sys.modules if name.startswith('pydlx.models')])"
    run = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True)
    assert run.stdout == "[]\n", run.stderr
