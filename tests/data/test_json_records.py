"""Arrays of numbers in JSON are read all together where all are plain."""

from __future__ import annotations

import numpy as np
import pytest

msgspec = pytest.importorskip("msgspec")
_plain_arrays = pytest.importorskip("pydlx.data.json_records")._plain_arrays


def read(*texts):
    return _plain_arrays([msgspec.Raw(text) for text in texts], 2)


def test_plain_arrays_are_read_together():
    np.testing.assert_array_equal(read(b"[1, 2.5]", b"[-3e2,0]"), [[1, 2.5], [-300, 0]])


@pytest.mark.parametrize(
    "texts",
    [
        (b"[1, 2]", b"[3]"),
        (b"[1, 2, 3]", b"[4]"),
        (b"[1, [2]]", b"[3, 4]"),
        (b'[1, "2"]',),
        (b"[1e999, 2]",),
        (b"[true, 2]",),
    ],
)
def test_others_are_left_to_the_careful_way(texts):
    assert read(*texts) is None
