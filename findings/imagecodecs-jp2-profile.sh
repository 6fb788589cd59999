#!/usr/bin/env bash
# imagecodecs 2026.3.6: jpeg2k_decode applies the ICC profile in a JP2 file to the pixels, and clips.
#
# One would guess: a decoder returns the numbers that were coded, the more so for a lossless file; imagecodecs itself
# does so for PNG. Seen: an RGB picture with an Adobe RGB profile comes back as sRGB: (68, 136, 90) as (0, 137, 87).
# OpenCV 5.0.0 and Pillow 13.0.0 return the coded numbers, and Pillow does not pass on the profile.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check imagecodecs==2026.3.6 pillow==13.0.0 \
  opencv-python-headless==5.0.0.93 numpy
"$folder/venv/bin/python" - <<'PY'
import io
import struct

import cv2
import imagecodecs
import numpy as np
from PIL import Image

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)


def with_profile(jp2, profile):
    """The JP2 file with a profile in the place of its enumerated colour space."""
    colour = jp2.index(b"colr") - 4
    (length,) = struct.unpack(">I", jp2[colour : colour + 4])
    box = struct.pack(">I", 11 + len(profile)) + b"colr" + bytes([2, 0, 0]) + profile
    jp2 = jp2[:colour] + box + jp2[colour + length :]
    header = jp2.index(b"jp2h") - 4
    (whole,) = struct.unpack(">I", jp2[header : header + 4])
    return jp2[:header] + struct.pack(">I", whole + len(box) - length) + jp2[header + 4 :]


picture = np.full((8, 8, 3), (68, 136, 90), np.uint8)
profile = imagecodecs.cms_profile("adobergb")
plain = imagecodecs.jpeg2k_encode(picture, level=0, codecformat="jp2", reversible=True)
jp2 = with_profile(plain, profile)
image = Image.open(io.BytesIO(jp2))
png = io.BytesIO()
Image.fromarray(picture).save(png, "PNG", icc_profile=profile)
found = {
    "without a profile": imagecodecs.jpeg2k_decode(plain)[4, 4].tolist(),
    "with it": imagecodecs.jpeg2k_decode(jp2)[4, 4].tolist(),
    "a PNG with it": imagecodecs.png_decode(png.getvalue())[4, 4].tolist(),
    "OpenCV": cv2.imdecode(np.frombuffer(jp2, np.uint8), cv2.IMREAD_COLOR)[4, 4, ::-1].tolist(),
    "Pillow": list(image.getpixel((4, 4))),
}
print(found, "profile in Pillow:", "icc_profile" in image.info)
assert found.pop("with it") == [0, 137, 87]
assert all(pixel == [68, 136, 90] for pixel in found.values())
assert "icc_profile" not in image.info
PY
echo "as stated"
