"""What compiled code reads of COCO's files, against the careful reader in Python: equal in every bit, or not taken."""

import dataclasses
import json
import math
import random
import struct
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pydlx
from pydlx._native import host_module
from pydlx.data import coco_sources
from pydlx.data.coco import read_coco_detections, read_coco_truth

host = host_module()
pytestmark = pytest.mark.skipif(host is None, reason="nothing is compiled")

POINTS = {"keypoints": 2}
TRUTH = {
    "info": {"description": "}, {"},
    "images": [{"id": 7, "height": 4, "width": 6}, {"id": 3, "height": 5, "width": 5, "crowdIndex": 0.5}],
    "annotations": [
        {
            "id": number,
            "image_id": 3 + 4 * (number % 2),
            "category_id": 1,
            "iscrowd": (0, True, 1)[number % 3],
            "area": (12.5, None, 3)[number % 3],
            "bbox": [1.25, 0, -3.5e-3, 123456789.12345679],
            "num_keypoints": (2, None)[number % 2],
            "keypoints": [0.1 * number, 2, 1, 3.25, 1e-7, 0],
            "segmentation": (
                [[0, 0, 1.5, 0, 1, 1], [2, 2, 3, 2, 3, 3, 2, 3]],
                {"size": [4, 6], "counts": "04\\0"},
                {"counts": [3, 4, 17], "size": [4, 6]},
            )[number % 3],
            "parts": [{"name": 'ü "}, {"\\u00e9'}, {"id": [1, {}]}, {"x": None}],
        }
        for number in range(1, 5)
    ],
    "categories": [{"id": 1, "name": "person"}],
}
RESULTS = [
    {
        "image_id": 3 + 4 * (number % 2),
        "category_id": 1,
        "score": number / 7,
        "keypoints": [number, -0.0, 1, 0.30000000000000004, 1e22, 2],
        "bbox": [1, 2, 3, 4],
        "segmentation": TRUTH["annotations"][number % 4]["segmentation"],
        "left": {"a": [[], {}, [{"b": "c"}, {"d": False}]]},
    }
    for number in range(1, 5)
]
TRUTH_TEXT, RESULT_TEXT = json.dumps(TRUTH).encode(), json.dumps(RESULTS, ensure_ascii=False, indent=1).encode()


def outcome(read):
    """The arrays as bytes and the warnings, or the error."""
    with warnings.catch_warnings(record=True) as noted:
        warnings.simplefilter("always")
        try:
            found = read()
        except (ValueError, TypeError) as error:
            return type(error), str(error)
    return pieces(found), sorted(str(warning.message) for warning in noted)


def pieces(value):
    if dataclasses.is_dataclass(value):
        return {field.name: pieces(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [pieces(entry) for entry in value]
    if isinstance(value, dict):
        return {key: pieces(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray):
        return value.shape, str(value.dtype), value.tolist() if value.dtype == object else value.tobytes()
    return value


def truth_of(source, *, segmentations=True):
    return read_coco_truth(source, POINTS, segmentations=segmentations, skipped=None)


def results_of(source, *, segmentations=True):
    return read_coco_detections(source, GOOD_TRUTH, POINTS, segmentations=segmentations)


with pydlx.backend("reference"):
    GOOD_TRUTH = truth_of(TRUTH)


def both(read):
    """What compiled code and the careful reader make of it."""
    with pydlx.backend("reference"):
        careful = outcome(read)
    return outcome(read), careful


class SmallBlocks:
    """The compiled readers, with blocks of a few bytes and a share for each of three threads."""

    find_json_list, read_loaded_records = host and host.find_json_list, host and host.read_loaded_records
    taken = 0

    def __init__(self, block):
        self.block = block

    def read_json_records(self, source, size, start, fields, threads):
        columns = host.read_json_records(source, size, start, fields, 3, self.block)
        SmallBlocks.taken += columns is not None
        return columns


@pytest.fixture(params=[1, 7, 64, 300, 1 << 18])
def block(request, monkeypatch):
    monkeypatch.setattr(
        coco_sources, "host_module", lambda: SmallBlocks(request.param) if host_module() is not None else None
    )
    SmallBlocks.taken = 0
    return request.param


@pytest.mark.parametrize("segmentations", [False, True])
@pytest.mark.parametrize(("read", "text"), [(truth_of, TRUTH_TEXT), (results_of, RESULT_TEXT)])
def test_plain_files_are_read_by_compiled_code(read, text, segmentations, block, tmp_path):
    (tmp_path / "file.json").write_bytes(text)
    for source in (text, tmp_path / "file.json"):
        compiled, careful = both(lambda source=source: read(source, segmentations=segmentations))
        assert compiled == careful
        assert isinstance(compiled[0], dict)
    assert SmallBlocks.taken == 2


@pytest.mark.parametrize(("read", "text"), [(truth_of, TRUTH_TEXT), (results_of, RESULT_TEXT)])
def test_a_file_cut_anywhere_is_no_other_file(read, text, block):
    for end in range(0, len(text), 3 if block == 64 else 97):
        compiled, careful = both(lambda end=end: read(text[:end]))
        assert compiled == careful


@pytest.mark.parametrize(
    "text",
    [
        b'{"info": {"annotations": %s}, ' + TRUTH_TEXT[1:],
        TRUTH_TEXT[:-1] + b', "annotations": %s}',
        b'{"annotations": %s, ' + TRUTH_TEXT[1:],
        b'{"info": {"annotations": %s}, "images": [], "categories": []}',
        b'{"info": {"annotations": %s}, "annotations": 3, "images": [], "categories": []}',
        b'{"info": {"annotations": %s}, "annotations": [], '
        + TRUTH_TEXT[1 : TRUTH_TEXT.index(b'"annotations"')]
        + b'"categories": [{"id": 1}]}',
    ],
)
def test_the_list_is_that_of_the_whole_file(text):
    records = json.dumps(TRUTH["annotations"][:2]).encode()
    compiled, careful = both(lambda: truth_of(text % records))
    assert compiled == careful


JUNK = [
    *(
        b"",
        b"}, {",
        b"[",
        b"]",
        b"{",
        b"}",
        b'"',
        b"\\",
        b",",
        b":",
        b"0",
        b"-",
        b".",
        b"e",
        b"1e999",
        b"null",
        b"true",
    ),
    *(b"\x00", b"\xff", b"9" * 25, b" ", b"NaN", b"[]", b"annotations", b'"image_id": 3,', b'"id"', b'"score": 1, '),
]


@pytest.mark.parametrize(("read", "text"), [(truth_of, TRUTH_TEXT), (results_of, RESULT_TEXT)])
def test_damaged_files_are_left_to_the_careful_reader(read, text, block):
    rng = random.Random(block)
    for _ in range(150):
        damaged = bytearray(text)
        for _ in range(rng.choice([1, 1, 1, 2, 5])):
            at = rng.randrange(len(damaged))
            damaged[at : at + rng.choice([0, 0, 1, 1, 2, 8])] = rng.choice(JUNK)
        compiled, careful = both(lambda damaged=bytes(damaged): read(damaged))
        assert compiled == careful, bytes(damaged)


@pytest.mark.parametrize(("read", "content"), [(truth_of, TRUTH), (results_of, RESULTS)])
def test_loaded_files_too(read, content):
    rng = random.Random(0)
    odd = [
        None,
        True,
        1.0,
        2**70,
        -1,
        "3",
        float("nan"),
        [],
        {},
        [[0, 0, 1, 1]],
        (1, 2, 3, 4),
        b"12",
        np.float64(2),
        "é",
    ]
    for trial in range(150):
        changed = json.loads(json.dumps(content))
        records = changed["annotations"] if isinstance(changed, dict) else changed
        if trial:
            record = rng.choice(records)
            key = rng.choice(list(record))
            while isinstance(record[key], list | dict) and record[key] and rng.random() < 0.7:
                record, key = (
                    record[key],
                    rng.choice(list(record[key]) if isinstance(record[key], dict) else range(len(record[key]))),
                )
            record[key] = rng.choice(odd)
        compiled, careful = both(lambda changed=changed: read(changed))
        assert compiled == careful, changed


def number_of(text):
    """What compiled code makes of a number; None where it does not take it."""
    columns = host.read_json_records(b'[{"x": %s}]' % text.encode(), 0, 0, [("x", "number", 1, True)], 1)
    return columns and float(columns[0]["x"][0])


@settings(max_examples=300, deadline=None, database=None, derandomize=True)
@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 25), st.sampled_from("gefr"))
def test_numbers_are_rounded_to_the_nearest(value, digits, form):
    text = repr(value) if form == "r" else f"{value:.{digits}{form}}"
    found = number_of(text)
    if found is None:  # such as 1e-400
        assert abs(float(text)) in (0, math.inf) or abs(float(text)) < 1e-307
    elif text == "-0":
        assert struct.pack("d", found) == struct.pack("d", 0.0)
    else:
        assert struct.pack("d", found) == struct.pack("d", float(text))


@settings(max_examples=300, deadline=None, database=None, derandomize=True)
@given(st.integers(0, 10**20), st.integers(0, 30), st.integers(-330, 310))
def test_numbers_of_many_digits(mantissa, point, exponent):
    digits = str(mantissa).rjust(point + 1, "0")
    text = f"{digits[: len(digits) - point]}{'.' * (point > 0)}{digits[len(digits) - point :]}"
    if point == 0 or not (len(digits) - point > 1 and digits[0] == "0"):
        assert number_of(text) == float(text)
    found = number_of(f"{text}e{exponent}")
    assert found is None or struct.pack("d", found) == struct.pack("d", float(f"{text}e{exponent}"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        "+1",
        ".5",
        "1.",
        "01",
        "-01",
        "1e",
        "1e+",
        "0x1",
        "1_0",
        "NaN",
        "Infinity",
        "1e999",
        '"1"',
        "[1]",
        "1 2",
    ],
)
def test_what_is_no_number_is_not_taken(text):
    assert number_of(text) is None


def test_a_file_of_whole_pages_is_not_read_past_its_end(tmp_path):
    path = tmp_path / "file.json"
    path.write_bytes(RESULT_TEXT.ljust(4096 * -(-len(RESULT_TEXT) // 4096)))
    assert pieces(results_of(path)) == pieces(results_of(RESULTS))


def test_a_file_that_becomes_shorter_while_it_is_read_is_an_error(tmp_path):
    path = tmp_path / "file.json"
    path.write_bytes(RESULT_TEXT)
    with coco_sources.opened(path, "detections") as origin:
        path.write_bytes(RESULT_TEXT[:100])
        assert origin.plain_list([coco_sources.Field("image_id", "integer")]) is None


def test_a_list_is_split_over_threads_though_braces_stand_in_its_text():
    """Where a thread begins at what only looks like a record, the list is read by one."""
    records = [{"x": number, "text": '}, {"x": 1}, {' * 40, "more": [{"x": 1}, {"x": 2}] * 20} for number in range(300)]
    text = json.dumps(records).encode()
    columns, end = host.read_json_records(text, 0, 0, [("x", "number", 1, True)], 8, 1 << 10)
    assert columns["x"].tolist() == list(range(300))
    assert end == len(text)
