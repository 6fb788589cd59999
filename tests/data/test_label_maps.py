"""Label maps are read from files unchanged; folders are paired, or the error names the file without a partner."""

import struct
import zlib

import numpy as np
import pytest

from pydlx.data import LabelMapPairs, read_label_map

Image = pytest.importorskip("PIL.Image")

LABELS = np.arange(12, dtype=np.uint8).reshape(3, 4) % 4


def save(path, labels=LABELS, mode=None):
    picture = Image.fromarray(labels)
    (picture if mode is None else picture.convert(mode)).save(path)
    return path


def test_grey_levels_are_labels(tmp_path):
    for name in ("a.png", "a.tif", "a.bmp"):
        labels = read_label_map(save(tmp_path / name))
        assert labels.dtype == np.uint8
        np.testing.assert_array_equal(labels, LABELS)


@pytest.mark.parametrize(("orientation", "quarters"), [(1, 0), (3, 2), (6, -1), (8, 1)])
def test_the_orientation_is_applied(tmp_path, orientation, quarters):
    tifffile = pytest.importorskip("tifffile")
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(LABELS).save(tmp_path / "a.png", exif=exif)
    for dtype in (np.uint8, np.uint16):
        note = [(274, "H", 1, orientation, True)]
        tifffile.imwrite(
            tmp_path / f"{dtype.__name__}.tif", LABELS.astype(dtype), photometric="minisblack", extratags=note
        )
    for name in ("a.png", "uint8.tif", "uint16.tif"):
        np.testing.assert_array_equal(read_label_map(tmp_path / name), np.rot90(LABELS, quarters))


def test_palettes_give_indices_not_colours(tmp_path):
    picture = Image.fromarray(LABELS, mode="L").copy()
    picture = picture.convert("P")
    picture.putdata(LABELS.ravel().tolist())
    picture.putpalette([250, 0, 0, 0, 250, 0, 0, 0, 250, 9, 9, 9])
    for name, options in (("a.png", {}), ("b.png", {"transparency": 0}), ("a.gif", {})):
        picture.save(tmp_path / name, **options)
        np.testing.assert_array_equal(read_label_map(tmp_path / name), LABELS)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits_are_not_stretched(tmp_path, bits):
    """Greys of 1, 2 and 4 bits; Pillow writes palettes of these depths only, so the file is made by hand."""
    labels = LABELS % 2**bits
    rows = b""
    for row in labels:
        packed = 0
        for label in row:
            packed = packed << bits | int(label)
        rows += b"\0" + (packed << (-len(row) * bits) % 8).to_bytes(-(-len(row) * bits // 8), "big")

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 4, 3, bits, 0, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + parts)
    np.testing.assert_array_equal(read_label_map(tmp_path / "a.png"), labels)


def test_more_than_256_labels(tmp_path):
    labels = LABELS.astype(np.uint16) + 40000
    wide = read_label_map(save(tmp_path / "a.png", labels))
    np.testing.assert_array_equal(wide, labels)
    assert wide.dtype in (np.uint16, np.int32)
    np.testing.assert_array_equal(read_label_map(save(tmp_path / "a.tif", labels.astype(np.int32))), labels)
    np.save(tmp_path / "a.npy", labels.astype(np.int64))
    np.testing.assert_array_equal(read_label_map(tmp_path / "a.npy"), labels)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "F"])
def test_colours_and_fractions_are_refused(tmp_path, mode):
    path = save(tmp_path / f"a.{'tif' if mode == 'F' else 'png'}", mode=mode)
    with pytest.raises(
        ValueError, match=rf"^read_label_map: '{path}' must be a grey or palette picture .*, got {mode}$"
    ):
        read_label_map(path)
    np.save(tmp_path / "a.npy", LABELS / 2)
    with pytest.raises(ValueError, match=r"must hold whole numbers \(H, W\), got float64 of shape \(3, 4\)"):
        read_label_map(tmp_path / "a.npy")


def test_files_that_do_not_keep_labels(tmp_path):
    with pytest.raises(ValueError, match="is a JPEG, which does not keep labels exactly"):
        read_label_map(save(tmp_path / "a.jpg"))
    (tmp_path / "b.png").write_bytes(b"nothing")
    with pytest.raises(OSError, match=r"cannot read '.*b.png' as a label map"):
        read_label_map(tmp_path / "b.png")
    with pytest.raises(FileNotFoundError, match=r"no such file: '.*c.png'"):
        read_label_map(tmp_path / "c.png")


@pytest.fixture
def folders(tmp_path):
    truth, prediction = tmp_path / "truth", tmp_path / "prediction"
    for folder in (truth, prediction):
        folder.mkdir()
        (folder / "notes.txt").touch()
        (folder / ".hidden.png").touch()
    for name in ("b", "a", "c"):
        save(truth / f"{name}.png")
        np.save(prediction / f"{name}.npy", LABELS.astype(np.int64))
    return truth, prediction


def test_folders_pair_by_name(folders):
    pairs = LabelMapPairs(*folders)
    assert [name for name, _, _ in pairs] == ["a", "b", "c"]
    assert len(pairs) == 3
    for _, truth, prediction in pairs:
        np.testing.assert_array_equal(truth, prediction)
    assert [name for name, _, _ in pairs[1:]] == ["b", "c"]


def test_folders_that_do_not_pair(folders):
    truth, prediction = folders
    (prediction / "b.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"'.*truth/b.png' has no partner in '.*prediction'"):
        LabelMapPairs(truth, prediction)
    (truth / "b.png").unlink()
    save(prediction / "d.png")
    with pytest.raises(FileNotFoundError, match=r"'.*prediction/d.png' has no partner in '.*truth'"):
        LabelMapPairs(truth, prediction)
    save(truth / "a.bmp")
    with pytest.raises(ValueError, match=r"'.*a.bmp' and 'a.png' have the same name"):
        LabelMapPairs(truth, prediction)
    with pytest.raises(FileNotFoundError, match=r"no such folder: '.*nowhere'"):
        LabelMapPairs(truth / "nowhere", prediction)
    (truth / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"empty' holds no files of the kind"):
        LabelMapPairs(truth / "empty", prediction)


def test_sizes_must_agree(folders):
    truth, prediction = folders
    np.save(prediction / "b.npy", LABELS[:2])
    pairs = LabelMapPairs(truth, prediction)
    with pytest.raises(ValueError, match=r"prediction/b.npy' must have the size of .*\(3, 4\), got \(2, 4\)"):
        pairs[1]
