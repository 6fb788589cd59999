#!/usr/bin/env bash
# OpenCV 5.0.0: seamlessClone writes into the mask that it is given; the next call with it gives another picture.
#
# One would guess: the mask is an input. Seen: a mask of a single channel loses its middle: of 20 x 20 pixels of 255 a
# frame three pixels wide is left, and the outermost ring is 0 too. A second call with the same array leaves
# out the object in the middle. A mask of three channels is left as it is.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check opencv-python-headless==5.0.0.93 numpy
"$folder/venv/bin/python" - <<'PY'
import cv2
import numpy as np

source = np.full((20, 20, 3), 100, np.uint8)
source[7:13, 7:13] = 220
target = np.full((60, 60, 3), 100, np.uint8)


def clone(mask):
    result = cv2.seamlessClone(source, target, mask, (30, 30), cv2.NORMAL_CLONE)
    return int(result.max())


mask = np.full((20, 20), 255, np.uint8)
first = clone(mask)
frame = np.zeros((20, 20), np.uint8)
frame[1:19, 1:19] = 255
frame[4:16, 4:16] = 0
left = mask.copy()
second = clone(mask)
wide = np.full((20, 20, 3), 255, np.uint8)
twice = [clone(wide), clone(wide)]
print(cv2.__version__, "brightest value, first call", first, "second", second, "three channels", twice)
assert np.array_equal(left, frame)
assert first > 200 and second < 110
assert twice == [first, first] and wide.min() == 255
PY
echo "as stated"
