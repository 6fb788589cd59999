"""The selection of parametrised cases in sampled runs."""

from __future__ import annotations

import zlib
from itertools import groupby


def drawn(cases: list[str], one_in: int, backend: str) -> set[str]:
    """A pseudo-random sample of each test's cases, at least one; the same in every run on this backend."""
    kept = set()
    for _, group in groupby(cases, key=lambda case: case.partition("[")[0]):
        lots = {case: zlib.crc32(f"{backend} {case}".encode()) for case in group}
        kept |= {case for case, lot in lots.items() if lot % one_in == 0}
        kept.add(min(lots, key=lots.__getitem__))
    return kept
