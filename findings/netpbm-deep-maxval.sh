#!/usr/bin/env bash
# A 16-bit grey PGM whose largest value is declared as 1023, as 10-bit cameras write it: three readers, two pictures.
#
# One would guess: all give the numbers in the file. Seen: OpenCV 5.0.0 and netpbmfile give 0, 512, 1023; Pillow 13.0.0
# stretches them to 0, 32800, 65535.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pillow==13.0.0 opencv-python-headless==5.0.0.93 \
  netpbmfile numpy
"$folder/venv/bin/python" - "$folder" <<'PY'
import sys
import cv2, netpbmfile, numpy as np
from PIL import Image

path = f"{sys.argv[1]}/ten_bits.pgm"
values = np.array([[0, 512, 1023]], dtype=">u2")
with open(path, "wb") as file:
    file.write(b"P5\n3 1\n1023\n" + values.tobytes())
found = {
    "Pillow": np.array(Image.open(path)).ravel().tolist(),
    "OpenCV": cv2.imread(path, cv2.IMREAD_UNCHANGED).ravel().tolist(),
    "netpbmfile": netpbmfile.imread(path).ravel().tolist(),
}
print(found)
assert found["OpenCV"] == found["netpbmfile"] == [0, 512, 1023]
assert found["Pillow"] == [0, 32800, 65535]
PY
echo "as stated"
