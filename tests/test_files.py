"""Reading and writing pictures: depth, formats, and what goes wrong with files."""

import numpy as np
import pytest

from pydlx.files import read_image, write_image

pillow = pytest.importorskip("PIL.Image")


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


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_npy_keeps_floats(tmp_path, rng, dtype):
    image = (rng.random((5, 7, 3)) * 1000).astype(dtype)
    write_image(tmp_path / "x.npy", image)
    np.testing.assert_array_equal(read_image(tmp_path / "x.npy"), image)


def test_sixteen_bit_tiff(tmp_path, rng, codecs):
    tifffile = pytest.importorskip("tifffile")
    image = rng.integers(0, 65535, (5, 7, 3)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "x.tif", image, photometric="rgb")
    np.testing.assert_array_equal(read_image(tmp_path / "x.tif"), image)


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
    write_image(path, np.zeros(3))

    def full_disk(stream, *_, **__):
        stream.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full_disk)
    with pytest.raises(OSError, match="No space left on device"):
        write_image(path, np.ones(3))
    assert [p.name for p in tmp_path.iterdir()] == ["x.npy"]
    np.testing.assert_array_equal(read_image(path), np.zeros(3))


def test_the_old_picture_stays_whole_for_who_has_it_open(tmp_path):
    """The new one takes its place and is not copied into it."""
    path = tmp_path / "x.npy"
    write_image(path, np.zeros(3))
    with path.open("rb") as stream:
        write_image(path, np.ones(3))
        np.testing.assert_array_equal(np.load(stream), np.zeros(3))
    np.testing.assert_array_equal(read_image(path), np.ones(3))


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
    with pytest.raises(ImportError, match=r'need Pillow: pip install "pydlx\[images\]"'):
        read_image(tmp_path / "x.png")
