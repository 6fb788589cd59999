#!/usr/bin/env bash
# Pillow 13.0.0: a grey PNG of 2 or 4 bits loses its transparent level.
#
# One would guess: the level that the file declares transparent (tRNS) is transparent after convert("LA"), as it is
# for 8 bits. Seen: the pixels are stretched to 0 ... 255, info["transparency"] is not. Levels 0, 1, 2, 3 of 2 bits
# become 0, 85, 170, 255, the transparent level stays 1, and nothing is transparent. imagecodecs is right at every
# depth.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pillow==13.0.0 imagecodecs==2026.3.6 numpy
"$folder/venv/bin/python" - <<'PY'
import io
import struct
import zlib

import imagecodecs
import numpy as np
from PIL import Image


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(depth, levels, transparent):
    bits = "".join(f"{level:0{depth}b}" for level in levels).ljust(8 * -(-depth * len(levels) // 8), "0")
    row = b"\0" + bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", len(levels), 1, depth, 0, 0, 0, 0))
        + chunk(b"tRNS", struct.pack(">H", transparent))
        + chunk(b"IDAT", zlib.compress(row))
        + chunk(b"IEND", b"")
    )


found = {}
for depth in (1, 2, 4, 8):
    levels = [0, 1] if depth == 1 else [0, 1, 2, 3]
    data = png(depth, levels, 1)
    image = Image.open(io.BytesIO(data))
    found[depth] = np.array(image.convert("LA"))[0, :, 1].tolist()
    other = imagecodecs.png_decode(data)[0, :, 1].tolist()
    print(depth, "bits, alpha:", found[depth], "transparency:", image.info["transparency"], "imagecodecs:", other)
    assert other == ([255, 0] if depth == 1 else [255, 0, 255, 255])
assert found == {1: [255, 0], 2: [255] * 4, 4: [255] * 4, 8: [255, 0, 255, 255]}
PY
echo "as stated"
