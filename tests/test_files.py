"""Reading and writing pictures: depth, formats, and what goes wrong with files."""

import io
import zlib

import numpy as np
import pytest

from pydlx.files import read_image, write_image

pillow = pytest.importorskip("PIL.Image")
pillow_ops = pytest.importorskip("PIL.ImageOps")


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture
def codecs():
    return pytest.importorskip("imagecodecs")


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3), (5, 7, 4), (5, 7, 2)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_png_keeps_every_value(tmp_path, rng, codecs, shape, dtype):
    image = rng.integers(0, np.iinfo(dtype).max, shape, endpoint=True).astype(dtype)
    write_image(tmp_path / "x.png", image)
    result = read_image(tmp_path / "x.png")
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, image)


def test_one_channel_is_a_grey_picture(tmp_path, rng):
    image = rng.integers(0, 255, (5, 7, 1)).astype(np.uint8)
    write_image(tmp_path / "x.bmp", image)
    np.testing.assert_array_equal(read_image(tmp_path / "x.bmp"), image[..., 0])


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_lossy_formats_keep_most(tmp_path, rng, suffix):
    pillow = pytest.importorskip("PIL.Image")
    image = rng.integers(0, 255, (40, 50, 3)).astype(np.uint8)
    write_image(tmp_path / f"x.{suffix}", image)
    pillow.fromarray(image).save(tmp_path / f"y.{suffix}", quality=95)
    assert (tmp_path / f"x.{suffix}").read_bytes() == (tmp_path / f"y.{suffix}").read_bytes()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_npy_keeps_floats(tmp_path, rng, dtype):
    image = (rng.random((5, 7, 3)) * 1000).astype(dtype)
    write_image(tmp_path / "x.npy", image)
    np.testing.assert_array_equal(read_image(tmp_path / "x.npy"), image)


def turned(picture, orientation):
    """What Pillow makes of an 8-bit picture that says so; None for pictures of other depths."""
    exif = pillow.Exif()
    exif[0x0112] = orientation
    stream = io.BytesIO()
    pillow.fromarray(picture).save(stream, "PNG", exif=exif)
    return np.array(pillow_ops.exif_transpose(pillow.open(stream)))


class TestTiff:
    @pytest.fixture
    def tifffile(self):
        return pytest.importorskip("tifffile")

    @pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3), (5, 7, 4)])
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
    @pytest.mark.parametrize("options", [{}, {"bigtiff": True}, {"byteorder": ">"}, {"compression": "zlib"}], ids=str)
    def test_keeps_every_value(self, tmp_path, rng, tifffile, shape, dtype, options):
        image = (rng.random(shape) * (1 if dtype == np.float32 else np.iinfo(dtype).max)).astype(dtype)
        if dtype == np.float32 and len(shape) == 3:
            image *= 1000
        kind = "rgb" if len(shape) == 3 else "minisblack"
        alpha = {"extrasamples": ["unassalpha"]} if shape[-1] == 4 else {}
        tifffile.imwrite(tmp_path / "x.tif", image, photometric=kind, **alpha, **options)
        result = read_image(tmp_path / "x.tif")
        assert result.dtype == dtype
        np.testing.assert_array_equal(result, image)

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_planes_become_channels(self, tmp_path, rng, tifffile, dtype):
        image = rng.integers(0, np.iinfo(dtype).max, (5, 7, 3)).astype(dtype)
        planes = np.moveaxis(image, -1, 0)
        tifffile.imwrite(tmp_path / "x.tif", planes, photometric="rgb", planarconfig="separate")
        np.testing.assert_array_equal(read_image(tmp_path / "x.tif"), image)

    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3)])
    def test_is_turned_at_every_depth(self, tmp_path, rng, tifffile, orientation, shape):
        image = rng.integers(0, 255, shape).astype(np.uint8)
        expected = turned(image, orientation)
        kind = "rgb" if len(shape) == 3 else "minisblack"
        for dtype in (np.uint8, np.uint16, np.float32):
            note = [(274, "H", 1, orientation, True)]
            tifffile.imwrite(tmp_path / "x.tif", image.astype(dtype), photometric=kind, extratags=note)
            np.testing.assert_array_equal(read_image(tmp_path / "x.tif"), expected)

    @pytest.mark.parametrize(("dtype", "white"), [(np.uint8, 255), (np.uint16, 65535), (np.float32, 1)])
    def test_white_may_be_zero(self, tmp_path, rng, tifffile, dtype, white):
        image = (rng.random((5, 7)) * white).astype(dtype)
        tifffile.imwrite(tmp_path / "x.tif", image, photometric="miniswhite")
        np.testing.assert_array_equal(read_image(tmp_path / "x.tif"), white - image)

    @pytest.mark.parametrize("compression", [None, "deflate"])
    def test_grey_and_alpha_in_planes_of_their_own(self, tmp_path, rng, tifffile, compression):
        image = rng.integers(0, 255, (5, 7, 2)).astype(np.uint8)  # of which Pillow loses the alpha
        options = {"planarconfig": "separate", "extrasamples": ["unassalpha"], "compression": compression}
        tifffile.imwrite(tmp_path / "x.tif", np.moveaxis(image, 2, 0), photometric="minisblack", **options)
        np.testing.assert_array_equal(read_image(tmp_path / "x.tif"), image)

    def test_alpha_stays_where_white_is_zero(self, tmp_path, rng, tifffile):
        image = rng.integers(0, 65535, (5, 7, 2)).astype(np.uint16)
        tifffile.imwrite(tmp_path / "x.tif", image, photometric="miniswhite", extrasamples=["unassalpha"])
        np.testing.assert_array_equal(
            read_image(tmp_path / "x.tif"), np.stack([65535 - image[..., 0], image[..., 1]], 2)
        )

    def test_of_several_pages_the_first_counts(self, tmp_path, rng, tifffile):
        pages = rng.integers(0, 65535, (3, 5, 7)).astype(np.uint16)
        tifffile.imwrite(tmp_path / "x.tif", pages, photometric="minisblack")
        np.testing.assert_array_equal(read_image(tmp_path / "x.tif"), pages[0])

    def test_deep_print_colours_are_refused(self, tmp_path, tifffile):
        tifffile.imwrite(tmp_path / "x.tif", np.zeros((5, 7, 4), np.uint16), photometric="separated")
        with pytest.raises(OSError, match=r"its colours are SEPARATED of 16 bits, not grey or RGB$"):
            read_image(tmp_path / "x.tif")


@pytest.mark.parametrize("shape", [(48, 56), (48, 56, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_jpeg_2000_keeps_every_value(tmp_path, rng, shape, dtype):
    cv2 = pytest.importorskip("cv2")
    image = rng.integers(0, np.iinfo(dtype).max, shape, endpoint=True).astype(dtype)
    blue_first = image if image.ndim == 2 else np.ascontiguousarray(image[..., ::-1])
    assert cv2.imwrite(str(tmp_path / "x.jp2"), blue_first, [cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000])
    result = read_image(tmp_path / "x.jp2")
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, image)


@pytest.mark.parametrize(("suffix", "shape"), [(".pgm", (5, 7)), (".ppm", (5, 7, 3))])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_netpbm_keeps_every_value(tmp_path, rng, suffix, shape, dtype):
    cv2 = pytest.importorskip("cv2")
    image = rng.integers(0, np.iinfo(dtype).max, shape, endpoint=True).astype(dtype)
    blue_first = image if image.ndim == 2 else np.ascontiguousarray(image[..., ::-1])
    assert cv2.imwrite(str(tmp_path / f"x{suffix}"), blue_first)
    result = read_image(tmp_path / f"x{suffix}")
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, image)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("P1\n3 1\n0 1 0\n", [[255, 0, 255]]),
        ("P2\n# of ten bits\n3 1\n1023\n0 512 1023\n", [[0, 32800, 65535]]),
        ("P3\n2 1\n1023\n0 512 1023 1 2 3\n", [[[0, 32800, 65535], [64, 128, 192]]]),
        ("P3\n1 1\n15\n0 8 15\n", [[[0, 136, 255]]]),
    ],
)
def test_netpbm_is_stretched_to_the_full_range(tmp_path, text, expected):
    (tmp_path / "x.pnm").write_text(text)
    assert read_image(tmp_path / "x.pnm").tolist() == expected


@pytest.mark.parametrize("orientation", range(1, 9))
def test_png_is_turned_at_every_depth(tmp_path, rng, codecs, orientation):
    image = rng.integers(0, 255, (5, 7, 3)).astype(np.uint8)
    expected = turned(image, orientation)
    exif = pillow.Exif()
    exif[0x0112] = orientation
    for dtype in (np.uint8, np.uint16):
        write_image(tmp_path / "x.png", image.astype(dtype))
        data = (tmp_path / "x.png").read_bytes()
        note = b"eXIf" + exif.tobytes().removeprefix(b"Exif\0\0")
        chunk = (len(note) - 4).to_bytes(4, "big") + note + zlib.crc32(note).to_bytes(4, "big")
        (tmp_path / "x.png").write_bytes(data[:33] + chunk + data[33:])  # behind the header
        np.testing.assert_array_equal(read_image(tmp_path / "x.png"), expected)


def test_modes_become_grey_or_colour(tmp_path):
    picture = pillow.new("RGB", (4, 3), (255, 0, 0))
    picture.convert("P").save(tmp_path / "palette.png")
    assert read_image(tmp_path / "palette.png")[0, 0].tolist() == [255, 0, 0]
    pillow.new("1", (4, 3), 1).save(tmp_path / "bits.png")
    assert read_image(tmp_path / "bits.png").tolist() == [[255] * 4] * 3
    picture.convert("CMYK").save(tmp_path / "print.jpg")
    assert read_image(tmp_path / "print.jpg").shape == (3, 4, 3)


def test_camera_rotation_is_applied(tmp_path):
    picture = pillow.new("RGB", (4, 3))
    exif = picture.getexif()
    exif[0x0112] = 6  # to be turned by a quarter
    picture.save(tmp_path / "turned.jpg", exif=exif)
    assert read_image(tmp_path / "turned.jpg").shape == (4, 3, 3)


def test_unreadable_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"^read_image: no such file: '.*nothing.png'"):
        read_image(tmp_path / "nothing.png")
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(OSError, match=r"^read_image: cannot read '.*text.png' as a picture"):
        read_image(tmp_path / "text.png")
    with pytest.raises(OSError, match=r"^read_image: cannot read"):
        read_image(tmp_path)


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_views_are_written(tmp_path, rng, codecs, dtype, suffix):
    image = rng.integers(0, 255, (5, 7, 3)).astype(dtype)
    for view in (image[..., ::-1], image.transpose(1, 0, 2), image[:, ::2, 1]):
        write_image(tmp_path / f"x.{suffix}", view)
        np.testing.assert_array_equal(read_image(tmp_path / f"x.{suffix}"), view)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_truncated_files(tmp_path, rng, codecs, dtype):
    path = tmp_path / "cut.png"
    write_image(path, rng.integers(0, 255, (64, 64, 3)).astype(dtype))
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(OSError, match=r"^read_image: cannot read '.*cut.png' as a picture: .+"):
        read_image(path)


@pytest.mark.parametrize(
    ("name", "image", "message"),
    [
        ("x.jpg", np.zeros((3, 4), np.uint16), "cannot hold uint16 pictures"),
        ("x.tif", np.zeros((3, 4), np.int32), "cannot hold int32 pictures"),
        ("x.tif", np.zeros((3, 4, 5), np.uint16), "cannot hold a picture of shape"),
        ("x.png", np.zeros((3, 4)), "cannot hold float64 pictures"),
        ("x.xyz", np.zeros((3, 4), np.uint8), "no suffix of a picture format"),
        ("x", np.zeros((3, 4), np.uint8), "no suffix of a picture format"),
        ("x.jpg", np.zeros((3, 4, 4), np.uint8), "cannot hold a picture of shape"),
    ],
)
def test_formats_that_cannot_hold_the_picture(tmp_path, name, image, message):
    (tmp_path / name).write_text("before")
    with pytest.raises(ValueError, match=rf"^write_image: '.*' (has )?{message}"):
        write_image(tmp_path / name, image)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]


def test_unwritable_places(tmp_path):
    image = np.zeros((3, 4), np.uint8)
    with pytest.raises(OSError, match=r"^write_image: cannot write '.*x.png': No such file or directory"):
        write_image(tmp_path / "missing" / "x.png", image)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(
        OSError, match=r"^write_image: cannot write '.*folder.png': it exists and is not a regular file"
    ):
        write_image(tmp_path / "folder.png", image)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]


def test_a_failure_half_way_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "x.npy"
    write_image(path, np.zeros((2, 3)))

    def full_disk(stream, *_, **__):
        stream.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full_disk)
    with pytest.raises(OSError, match="No space left on device"):
        write_image(path, np.ones((2, 3)))
    assert [p.name for p in tmp_path.iterdir()] == ["x.npy"]
    np.testing.assert_array_equal(read_image(path), np.zeros((2, 3)))


def test_the_old_picture_stays_whole_for_who_has_it_open(tmp_path):
    """The new one takes its place and is not copied into it."""
    path = tmp_path / "x.npy"
    write_image(path, np.zeros((2, 3)))
    with path.open("rb") as stream:
        write_image(path, np.ones((2, 3)))
        np.testing.assert_array_equal(np.load(stream), np.zeros((2, 3)))
    np.testing.assert_array_equal(read_image(path), np.ones((2, 3)))


def test_permissions_are_those_of_any_new_file(tmp_path):
    image = np.zeros((3, 4), np.uint8)
    (tmp_path / "plain").touch()
    write_image(tmp_path / "x.png", image)
    assert (tmp_path / "x.png").stat().st_mode == (tmp_path / "plain").stat().st_mode
    (tmp_path / "x.png").chmod(0o640)
    write_image(tmp_path / "x.png", image)
    assert (tmp_path / "x.png").stat().st_mode & 0o777 == 0o640


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "link.png").symlink_to(tmp_path / "x.png")
    write_image(tmp_path / "link.png", np.zeros((3, 4), np.uint8))
    assert (tmp_path / "link.png").is_symlink() and (tmp_path / "x.png").is_file()


def test_missing_library_names_the_extra(tmp_path, monkeypatch):
    import sys

    write_image(tmp_path / "x.png", np.zeros((3, 4), np.uint8))
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(ImportError, match=r'needs Pillow: pip install "pydlx\[images\]"'):
        read_image(tmp_path / "x.png")
