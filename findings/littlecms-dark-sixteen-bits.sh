#!/usr/bin/env bash
# LittleCMS 2.18 (through imagecodecs 2026.3.6): 16-bit colours near black are off by more than half their value.
#
# One would guess: a transform of 16-bit pixels between two matrix profiles is right to a unit or two. Seen, from sRGB
# to Adobe RGB: grey 482 becomes 996 instead of 2193, 1.8 % of full scale, and half of the greys below 1000 are off by
# more than 1100. The flag NOOPTIMIZE, or float32 pixels, give the right numbers; HIGHRESPRECALC is little better than
# the default.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check imagecodecs==2026.3.6 numpy
"$folder/venv/bin/python" - <<'PY'
import imagecodecs
import numpy as np
from imagecodecs import CMS

greys = np.arange(65536, dtype=np.uint16)
pixels = np.stack([greys] * 3, axis=-1)[None]
source, target = imagecodecs.cms_profile("srgb"), imagecodecs.cms_profile("adobergb")


def transform(pixels, flags=None):
    result = imagecodecs.cms_transform(pixels, source, target, colorspace="rgb", outcolorspace="rgb", flags=flags)
    return result[0, :, 0].astype(np.float64)


share = greys / 65535
linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
formula = 65535 * linear ** (256 / 563)
found = {
    "default": transform(pixels),
    "HIGHRESPRECALC": transform(pixels, CMS.FLAGS.HIGHRESPRECALC),
    "NOOPTIMIZE": transform(pixels, CMS.FLAGS.NOOPTIMIZE),
    "float32": transform((pixels / 65535).astype(np.float32)) * 65535,
}
errors = {name: np.abs(values - formula) for name, values in found.items()}
for name, error in errors.items():
    dark = np.median(error[:1000])
    print(f"{name}: {found[name][482]:.0f} for {formula[482]:.0f}, off by {error.max():.0f}, when dark by {dark:.0f}")
assert imagecodecs.cms_version() == "lcms2 2.18.0"
assert found["default"][482] == 996 and round(formula[482]) == 2193
assert errors["default"].max() > 1100 and errors["HIGHRESPRECALC"].max() > 900
assert np.median(errors["default"][:1000]) > 1100
assert errors["NOOPTIMIZE"].max() < 4 and errors["float32"].max() < 4
PY
echo "as stated"
