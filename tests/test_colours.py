"""What `read_image` makes of colour profiles, inks, alpha and clear colours, and what it says about it."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest

from pydlx.data import ImageWarning, read_image, write_image
from pydlx.files import png_bytes, read_rgb

Image = pytest.importorskip("PIL.Image")
ImageCms = pytest.importorskip("PIL.ImageCms")
codecs = pytest.importorskip("imagecodecs")
tifffile = pytest.importorskip("tifffile")

ADOBE = (0.64, 0.33, 1, 0.21, 0.71, 1, 0.15, 0.06, 1)
DAYLIGHT = (0.3127, 0.3290, 1.0)


@pytest.fixture(scope="module")
def wide():
    """The profile of a wider space than sRGB (Adobe RGB's primaries, gamma 2.2)."""
    return codecs.cms_profile("rgb", whitepoint=DAYLIGHT, primaries=ADOBE, gamma=2.19921875)


@pytest.fixture(scope="module")
def dark():
    """The profile of a grey of gamma 1.8."""
    return codecs.cms_profile("gray", gamma=1.8)


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def to_srgb(linear):
    """IEC 61966-2-1, from its formula."""
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055)


def matrix_of(primaries):
    """From linear RGB to XYZ under daylight, from the primaries."""
    x, y, _ = np.reshape(primaries, (3, 3)).T
    columns = np.array([x / y, np.ones(3), (1 - x - y) / y])
    white = np.array([0.3127 / 0.3290, 1, (1 - 0.3127 - 0.3290) / 0.3290])
    return columns * np.linalg.solve(columns, white)


def expected_srgb(share):
    """Adobe-like RGB in [0, 1] as sRGB, by arithmetic."""
    srgb = matrix_of((0.64, 0.33, 1, 0.30, 0.60, 1, 0.15, 0.06, 1))
    linear = share**2.19921875 @ (np.linalg.inv(srgb) @ matrix_of(ADOBE)).T
    return to_srgb(linear.clip(0, 1))


def tagged_png(profile, pixels):
    """A PNG of any depth with a profile."""
    data = png_bytes(pixels)
    note = b"iCCPname\0\0" + zlib.compress(profile)
    return data[:33] + struct.pack(">I", len(note) - 4) + note + struct.pack(">I", zlib.crc32(note)) + data[33:]


WRITERS = {
    "8-bit PNG": (np.uint8, tagged_png),
    "16-bit PNG": (np.uint16, tagged_png),
    "8-bit TIFF": (np.uint8, lambda profile, pixels: tiff(pixels, iccprofile=profile)),
    "16-bit TIFF": (np.uint16, lambda profile, pixels: tiff(pixels, iccprofile=profile)),
}


def tiff(pixels, **options):
    stream = io.BytesIO()
    kind = "rgb" if pixels.ndim == 3 and pixels.shape[2] > 2 else "minisblack"
    if pixels.ndim == 3 and pixels.shape[2] in (2, 4):
        options |= {"extrasamples": ["unassalpha"], "planarconfig": "contig"}
    tifffile.imwrite(stream, pixels, photometric=kind, **options)
    return stream.getvalue()


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("channels", [3, 4])
def test_profiles_become_srgb_at_every_depth(rng, wide, name, channels):
    kind, write = WRITERS[name]
    white = np.iinfo(kind).max
    pixels = rng.integers(0, white, (6, 7, channels), endpoint=True).astype(kind)
    data = io.BytesIO(write(wide, pixels))
    with pytest.warns(ImageWarning, match=r"^read_image: 'stream': its colours were converted to sRGB from "):
        result = read_image(data)
    assert result.dtype == kind and result.shape == pixels.shape
    found = result[..., :3] / white
    np.testing.assert_allclose(found, expected_srgb(pixels[..., :3] / white), rtol=0, atol=2 / 255)
    np.testing.assert_array_equal(result[..., 3:], pixels[..., 3:])
    data.seek(0)
    np.testing.assert_array_equal(read_image(data, to_srgb=False), pixels)


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("shape", [(6, 7), (6, 7, 2)])
def test_grey_profiles_stay_grey(rng, dark, name, shape):
    kind, write = WRITERS[name]
    white = np.iinfo(kind).max
    pixels = rng.integers(0, white, shape, endpoint=True).astype(kind)
    with pytest.warns(ImageWarning, match="converted to sRGB"):
        result = read_image(io.BytesIO(write(dark, pixels)))
    grey, alpha = (result, pixels[:0]) if len(shape) == 2 else (result[..., 0], result[..., 1])
    given = pixels if len(shape) == 2 else pixels[..., 0]
    np.testing.assert_allclose(grey / white, to_srgb((given / white) ** 1.8), rtol=0, atol=2 / 255)
    np.testing.assert_array_equal(alpha, pixels[:0] if len(shape) == 2 else pixels[..., 1])


@pytest.mark.parametrize("name", WRITERS)
def test_the_profile_of_srgb_changes_nothing(rng, name):
    kind, write = WRITERS[name]
    pixels = rng.integers(0, np.iinfo(kind).max, (6, 7, 3)).astype(kind)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(read_image(io.BytesIO(write(srgb, pixels))), pixels)


def test_data_sets_are_converted_without_a_word(tmp_path, rng, wide):
    pixels = rng.integers(0, 256, (6, 7, 3)).astype(np.uint8)
    (tmp_path / "a.png").write_bytes(tagged_png(wide, pixels))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = read_rgb(tmp_path / "a.png")
    np.testing.assert_allclose(result / 255, expected_srgb(pixels / 255), rtol=0, atol=2 / 255)


def test_jpeg_2000_has_its_profile_in_a_box(rng, wide):
    pixels = rng.integers(0, 256, (32, 32, 3)).astype(np.uint8)
    data = codecs.jpeg2k_encode(pixels, codecformat="jp2", reversible=True, level=0)
    place = data.index(b"colr") - 4
    size = int.from_bytes(data[place : place + 4], "big")
    box = struct.pack(">I", 11 + len(wide)) + b"colr\2\0\0" + wide
    header = data.index(b"jp2h") - 4
    longer = int.from_bytes(data[header : header + 4], "big") + len(box) - size
    data = data[:header] + struct.pack(">I", longer) + data[header + 4 : place] + box + data[place + size :]
    with pytest.warns(ImageWarning, match="converted to sRGB"):
        result = read_image(io.BytesIO(data))
    np.testing.assert_allclose(result / 255, expected_srgb(pixels / 255), rtol=0, atol=2 / 255)


def test_jpeg_2000_in_other_colours_is_refused(rng):
    data = codecs.jpeg2k_encode(rng.integers(0, 256, (32, 32, 3)).astype(np.uint8), codecformat="jp2")
    place = data.index(b"colr") + 7
    with pytest.raises(OSError, match=r"its colours are number 18 of those of JPEG 2000, not sRGB \(16\) or grey"):
        read_image(io.BytesIO(data[:place] + struct.pack(">I", 18) + data[place + 4 :]))


@pytest.mark.parametrize(
    ("make", "note"),
    [
        (lambda wide, dark: tagged_png(b"no profile " * 40, np.zeros((2, 3, 3), np.uint8)), "so it is taken for sRGB"),
        (lambda wide, dark: tiff(np.zeros((2, 3, 3), np.uint16), iccprofile=dark), "so it is taken for sRGB"),
        (lambda wide, dark: tiff(np.zeros((2, 3, 3), np.float32), iccprofile=wide), "is not applied to float32"),
        (lambda wide, dark: with_gamma(100000), "it states the gamma 1, which is left aside"),
    ],
    ids=["broken", "of grey on colours", "of a floating picture", "gamma"],
)
def test_what_is_left_aside_is_said(wide, dark, make, note):
    with pytest.warns(ImageWarning, match=note):
        assert not read_image(io.BytesIO(make(wide, dark))).any()


def with_gamma(value, *more):
    data = png_bytes(np.zeros((2, 3, 3), np.uint8))
    for note in (b"gAMA" + struct.pack(">I", value), *more):
        data = data[:33] + struct.pack(">I", len(note) - 4) + note + struct.pack(">I", zlib.crc32(note)) + data[33:]
    return data


@pytest.mark.parametrize("more", [(), (b"sRGB\0",)])
def test_the_usual_gamma_brings_no_warning(recwarn, more):
    read_image(io.BytesIO(with_gamma(45455 if not more else 100000, *more)))
    assert not recwarn.list


def test_inks_follow_their_profile_or_are_a_guess(tmp_path):
    inks = Image.new("RGB", (4, 3), (200, 30, 90)).convert("CMYK")
    inks.save(tmp_path / "a.jpg")
    with pytest.warns(ImageWarning, match=r"'.*a.jpg': its inks \(CMYK\) have no colour profile, so their RGB is a"):
        assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - [200, 30, 90]).max() <= 3
    inks.save(tmp_path / "b.tif", icc_profile=b"no profile " * 40)
    with pytest.warns(ImageWarning, match=r"so the RGB of its inks \(CMYK\) is a guess"):
        assert np.abs(read_image(tmp_path / "b.tif").astype(int) - [200, 30, 90]).max() <= 3


def test_lab_becomes_srgb(tmp_path):
    lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    ImageCms.applyTransform(Image.new("RGB", (4, 3), (200, 30, 90)), lab).save(tmp_path / "a.tif")
    with pytest.warns(ImageWarning, match=r"converted to sRGB from L\*a\*b\*") as told:
        assert np.abs(read_image(tmp_path / "a.tif").astype(int) - [200, 30, 90]).max() <= 4
    assert len(told) == 1


@pytest.mark.parametrize("kind", [np.uint16, np.float32])
def test_premultiplied_alpha_is_taken_out(rng, kind):
    white = 65535 if kind == np.uint16 else 1
    colours, alpha = rng.random((5, 7, 3)), rng.random((5, 7, 1)) * 0.5 + 0.5
    alpha[2, 3] = 0
    data = (np.concatenate([colours * alpha, alpha], -1) * white).astype(kind)
    stream = io.BytesIO()
    tifffile.imwrite(stream, data, photometric="rgb", extrasamples=["assocalpha"])
    result = read_image(stream)
    assert result.dtype == kind and not result[2, 3].any()
    np.testing.assert_array_equal(result[..., 3], data[..., 3])
    seen = alpha[..., 0] > 0
    np.testing.assert_allclose(result[..., :3][seen] / white, colours[seen], rtol=0, atol=5e-5)


def png(colour_type, bits, rows, *chunks, width=3):
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, 1, bits, colour_type, 0, 0, 0)
    parts = [chunk(b"IHDR", head), *(chunk(*c) for c in chunks), chunk(b"IDAT", zlib.compress(b"\0" + rows))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (png(0, 16, struct.pack(">3H", 0, 9, 65535), (b"tRNS", b"\0\x09")), [[0, 65535], [9, 0], [65535, 65535]]),
        (png(0, 8, bytes([0, 10, 255]), (b"tRNS", b"\0\x0a")), [[0, 255], [10, 0], [255, 255]]),
        (png(0, 4, bytes([0x05, 0xF0]), (b"tRNS", b"\0\x05")), [[0, 255], [85, 0], [255, 255]]),
        (png(0, 2, bytes([0b00011000]), (b"tRNS", b"\0\1")), [[0, 255], [85, 0], [170, 255]]),
        (png(0, 1, bytes([0b01000000]), (b"tRNS", b"\0\1")), [[0, 255], [255, 0], [0, 255]]),
        (png(2, 8, bytes(range(9)), (b"tRNS", b"\0\3\0\4\0\5")), [[0, 1, 2, 255], [3, 4, 5, 0], [6, 7, 8, 255]]),
        (
            png(3, 1, bytes([0b01000000]), (b"PLTE", bytes(range(6))), (b"tRNS", b"\x80")),
            [[0, 1, 2, 128], [3, 4, 5, 255], [0, 1, 2, 128]],
        ),
    ],
    ids=["grey 16", "grey 8", "grey 4", "grey 2", "grey 1", "colours", "palette"],
)
def test_clear_colours_become_alpha(data, expected):
    assert read_image(io.BytesIO(data))[0].tolist() == expected


@pytest.mark.parametrize("suffix", ["png", "gif", "webp", "tif"])
def test_of_several_frames_the_first_counts(tmp_path, rng, suffix):
    frames = [Image.fromarray(np.full((6, 7, 3), value, np.uint8)) for value in (40, 200)]
    frames[0].save(tmp_path / f"x.{suffix}", save_all=True, append_images=frames[1:])
    assert np.abs(read_image(tmp_path / f"x.{suffix}").astype(int) - 40).max() <= 2


def test_signed_bytes_keep_their_sign(rng):
    pixels = rng.integers(-128, 127, (5, 7)).astype(np.int8)
    np.testing.assert_array_equal(read_image(io.BytesIO(tiff(pixels))), pixels)


@pytest.mark.parametrize("pixels", [np.zeros((5, 7), np.complex64), np.zeros(5, np.float32)])
def test_what_is_no_picture_is_refused(tmp_path, pixels):
    np.save(tmp_path / "x.npy", pixels)
    with pytest.raises(OSError, match=r"^read_image: '.*x.npy' holds no picture but (complex64|float32) of shape"):
        read_image(tmp_path / "x.npy")


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 2), (5, 7, 3), (5, 7, 4)])
@pytest.mark.parametrize("kind", [np.uint16, np.float16, np.float32, np.float64])
def test_tiff_keeps_every_value(tmp_path, rng, shape, kind):
    image = (rng.random(shape) * (60000 if kind == np.uint16 else 1)).astype(kind)
    write_image(tmp_path / "x.tif", image)
    result = read_image(tmp_path / "x.tif")
    assert result.dtype == kind
    np.testing.assert_array_equal(result, image[..., 0] if shape[-1] == 1 else image)
    if kind == np.uint16:
        cv2 = pytest.importorskip("cv2")
        seen = cv2.imread(str(tmp_path / "x.tif"), cv2.IMREAD_UNCHANGED)
        if len(shape) == 3 and shape[2] >= 3:
            seen = seen[..., [2, 1, 0, 3][: shape[2]]]
        if shape[-1] != 2:  # which OpenCV does not know
            np.testing.assert_array_equal(seen.reshape(result.shape), result)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_streams_in_and_out(rng, kind):
    image = rng.integers(0, np.iinfo(kind).max, (5, 7, 3)).astype(kind)
    np.testing.assert_array_equal(read_image(io.BytesIO(png_bytes(image))), image)
    stream = io.BytesIO()
    np.save(stream, image)
    stream.seek(0)
    np.testing.assert_array_equal(read_image(stream), image)
    with pytest.raises(OSError, match=r"^read_image: cannot read 'stream' as a picture"):
        read_image(io.BytesIO(b"text"))
