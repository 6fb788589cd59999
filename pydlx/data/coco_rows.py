"""The careful reader of COCO's records: it takes all that is allowed, and says what is wrong with the rest."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np

from pydlx._optional import needed_for
from pydlx.data import coco_masks, json_records
from pydlx.data.annotations import Id
from pydlx.data.coco_masks import Segmentations
from pydlx.data.coco_sources import Field

with needed_for("reading COCO files", extra="metrics"):
    import msgspec

_ABSENT = msgspec.Raw()
NO_ARRAY = (_ABSENT, msgspec.Raw(b"null"), msgspec.Raw(b"[]"))
Count = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
_FORMS = {
    "integer": (Id, ...),
    "number": (float | None, None),
    "flag": (int | bool, 0),
    "count": (Count | None, None),
    "numbers": (msgspec.Raw, _ABSENT),
    "points": (msgspec.Raw, ...),
    "mask": (msgspec.Raw, ...),
}


@functools.cache
def record_form(what: str, fields: tuple[Field, ...]) -> Any:
    """What each record must be."""

    def form(field: Field) -> tuple[Any, ...]:
        kind, absent = _FORMS[field.kind]
        if not field.needed:
            return field.name, kind, absent
        return field.name, float if field.kind == "number" else kind

    return msgspec.defstruct(what, [form(field) for field in sorted(fields, key=lambda f: not f.needed)], gc=False)


_KINDS = {True: "strings", False: "numbers"}


class Rows:
    """The records of a file column by column; `good` says which of them are."""

    def __init__(self, records: Sequence[Any], name: str, what: str, skipped: list[str] | None) -> None:
        self.records = records
        self.good = np.ones(len(records), dtype=bool)
        self._name, self._what, self._skipped = name, what, skipped

    def refuse(self, place: int, reason: str) -> None:
        """Takes a record for bad, if it is not already."""
        if not self.good[place]:
            return
        record = self.records[place]
        which = f"id {record.id}" if hasattr(record, "id") else f"image_id {record.image_id}"
        json_records.refuse(f"{self._name}: {self._what} [{place}] ({which}): {reason}", self._skipped)
        self.good[place] = False

    def column(self, field: str, dtype: Any, absent: Any = None) -> np.ndarray:
        """The values of a field, and `absent` where it is None."""
        values: Any = map(operator.attrgetter(field), self.records)
        if absent is not None:
            values = (absent if value is None else value for value in values)
        return np.fromiter(values, dtype, len(self.records))

    def ids(self, field: str) -> np.ndarray:
        """A field of ids, as objects."""
        return np.fromiter(map(operator.attrgetter(field), self.records), object, len(self.records))

    def refuse_unlisted(self, field: str, places: np.ndarray, ids: np.ndarray, what: str) -> None:
        """Refuses the records whose id stands nowhere in `ids`, where -1 is their place."""
        for place in np.flatnonzero(places < 0).tolist():
            value = getattr(self.records[place], field)
            kinds = {isinstance(key, str) for key in ids}
            hint = "" if isinstance(value, str) in kinds or not kinds else f", which are {_KINDS[kinds.pop()]}"
            self.refuse(place, f"{field} {value!r} is not among the {what} of the truth{hint}")

    def points(self, field: str, count: int) -> tuple[np.ndarray, np.ndarray]:
        """A field of 3 * count numbers, as (n, count, 2) and (n, count)."""

        def wrong(place: int, found: str) -> None:
            self.refuse(place, f"{field} must have {3 * count} numbers (x, y, v of {count} keypoints), got {found}")

        raws = list(map(operator.attrgetter(field), self.records))
        values = json_records.numbers(raws, 3 * count, wrong)[0].reshape(-1, count, 3)
        return values[..., :2].copy(), values[..., 2].copy()

    def boxes(self, *, needed: bool = False) -> np.ndarray:
        """(n, 4), NaN where there is none."""
        boxes = np.full((len(self.records), 4), np.nan)
        raws = [record.bbox for record in self.records]
        at = np.array([place for place, raw in enumerate(raws) if raw not in NO_ARRAY], dtype=np.int64)
        if needed and len(at) < len(raws):
            for place in np.setdiff1d(np.arange(len(raws)), at):
                self.refuse(place, "bbox must be there, got none")

        def wrong(place: int, found: str) -> None:
            self.refuse(at[place], f"bbox must have 4 numbers, got {found}")

        boxes[at] = json_records.numbers([raws[place] for place in at], 4, wrong)[0]
        return boxes

    def segmentations(self) -> Segmentations:
        """The masks."""
        raws = [record.segmentation for record in self.records]

        def wrong(place: int, found: str) -> None:
            wanted = 'polygons of 6 or more numbers, or {"size": [height, width], "counts": run lengths}'
            self.refuse(place, f"segmentation must be {wanted}, got {found}")

        return coco_masks.segmentations(raws, wrong)
