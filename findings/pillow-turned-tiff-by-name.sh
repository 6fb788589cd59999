#!/usr/bin/env bash
# Pillow 13.0.0: an uncompressed 8-bit grey TIFF with orientation 6, opened by its name, comes out scrambled.
#
# One would guess: it is turned by 90 degrees, or left as it lies, and the same from a name and from an open file.
# Seen: opened as a stream, (5, 7) pixels become (7, 5), turned as the tag says. Opened by name they keep the shape
# (5, 7): the bytes were cut into rows of 5 instead of 7 and then turned. Compressed with zlib, both ways are right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pillow==13.0.0 tifffile==2026.3.3 numpy imagecodecs
"$folder/venv/bin/python" - "$folder" <<'PY'
import io, sys
from pathlib import Path
import numpy as np, tifffile
from PIL import Image

folder = Path(sys.argv[1])
stored = np.arange(35, dtype=np.uint8).reshape(5, 7)
turned = np.rot90(stored, -1)
tag = [(274, "H", 1, 6, True)]


def read(name, compression):
    path = folder / name
    tifffile.imwrite(path, stored, photometric="minisblack", compression=compression, extratags=tag)
    by_name = np.array(Image.open(path))
    from_stream = np.array(Image.open(io.BytesIO(path.read_bytes())))
    return by_name, from_stream


by_name, from_stream = read("plain.tif", None)
print("uncompressed, by name:\n", by_name, "\nas a stream:\n", from_stream)
assert np.array_equal(from_stream, turned)
assert np.array_equal(by_name, np.rot90(stored.reshape(7, 5), -1))
by_name, from_stream = read("packed.tif", "zlib")
assert np.array_equal(by_name, turned) and np.array_equal(from_stream, turned)
PY
echo "as stated"
