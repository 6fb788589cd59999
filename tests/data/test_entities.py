"""Files of texts with entities: both formats are read and written; invalid entities are noted and left out."""

import gzip
import json

import pytest

from pydlx.data import AnnotatedText, Entity, EntityReport, read_cluener, read_entities, read_litbank, write_entities

pytest.importorskip("msgspec")

TABLE = "Lord\tB-PER\tB-PER\tO\t\nChancellor\tO\tI-PER\tO\t\nsat\tO\tO\tO\t\n\n \nin\tO\tO\nLincoln\tB-FAC\tB-PER\n"


@pytest.fixture
def file(tmp_path):
    def write(content, name="texts.json"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def line(text, **label):
    return json.dumps({"text": text, "label": label}, ensure_ascii=False)


def test_lines_of_cluener(file):
    content = line(
        "彭小军在台湾的𠮷野家", name={"彭小军": [[0, 2]]}, company={"𠮷野家": [[7, 9]]}, address={"台湾": [[4, 5]]}
    )
    report = EntityReport()
    path = file(content + '\n\n{"text": "无", "id": 3}\n')
    [first, second] = read_cluener(path, report)
    entities = Entity("name", 0, 2), Entity("address", 4, 5), Entity("company", 7, 9)
    assert first == AnnotatedText("line 1", "彭小军在台湾的𠮷野家", entities)
    assert first.surface(entities[2]) == "𠮷野家"
    assert second == AnnotatedText("line 3", "无")
    assert str(report) == "2 texts, 3 entities, 1 without entities"
    assert report.without_entities == [("line 3", "no entity")]
    assert list(read_cluener(file(gzip.compress(path.read_bytes()), "texts.gz"))) == [first, second]
    assert list(read_entities(file(b"\xef\xbb\xbf" + path.read_bytes(), "bom.json"))) == [first, second]


@pytest.mark.parametrize(
    ("kind", "surface", "span", "wrong"),
    [
        ("PER", "Ann", (1, 3), "PER from 1 to 3, no span of a text of 3"),
        ("PER", "Ann", (-1, 2), "PER from -1 to 2, no span of a text of 3"),
        ("PER", "", (2, 1), "PER from 2 to 1, no span of a text of 3"),
        ("PER", "An", (0, 2), "PER from 0 to 2, 'Ann' in the text and 'An' by its surface"),
        ("LOC", "Ann", (0, 2), "LOC from 0 to 2, none of the types"),
    ],
)
def test_invalid_entities_are_left_out_and_noted(file, kind, surface, span, wrong):
    report = EntityReport()
    path = file(line("Ann", **{kind: {surface: [span]}, "ORG": {"A": [[0, 0]]}}))
    [text] = read_cluener(path, report, types=["PER", "ORG"])
    assert text.entities == (Entity("ORG", 0, 0),)
    assert report.left_out == [("line 1", wrong)]


def test_repeated_spans_count_once(file):
    report = EntityReport()
    [text] = read_cluener(file(line("Ann", PER={"Ann": [[0, 2], [0, 2]]}, ORG={"Ann": [[0, 2]]})), report)
    assert text.entities == (Entity("ORG", 0, 2), Entity("PER", 0, 2))
    assert report.repeated == [("line 1", "PER from 0 to 2 comes twice")]
    assert (report.entities, report.left_out) == (2, [])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1]", r"read_cluener: '.*texts.json': line 1: expected `object`, got `array`"),
        ("{}", "line 1: object missing required field `text`"),
        ("{", "line 1 is no JSON"),
        ('{"text": ["a", ""]}', "line 1: tokens must not be empty"),
        ('{"text": "a", "x": ' + "[" * 3000 + "]" * 3000 + "}", "line 1 is nested too deeply"),
        (line("a") + '\n{"text": "a", "label": {"PER": {"a": [[0]]}}}', r"line 2.label\[...\]\[...\]\[0\]: expected"),
        (b'{"text": "\xff"}', "must be UTF-8"),
    ],
)
def test_other_lines_are_refused(file, content, message):
    with pytest.raises(ValueError, match=message):
        list(read_cluener(file(content)))


def test_columns_are_levels_of_nesting(file):
    report = EntityReport()
    [first, second] = read_litbank(file(TABLE, "a.tsv"), report)
    assert first == AnnotatedText("a:1", ("Lord", "Chancellor", "sat"), (Entity("PER", 0, 0), Entity("PER", 0, 1)))
    assert second == AnnotatedText("a:2", ("in", "Lincoln"), (Entity("FAC", 1, 1), Entity("PER", 1, 1)))
    assert first.surface(first.entities[1]) == "Lord Chancellor"
    assert str(report) == "2 texts, 4 entities"
    file("x\tB-LOC\r\n", "b.tsv")
    assert [text.id for text in read_entities(file("", "c.tsv").parent, types=["FAC"])] == ["a:1", "a:2", "b:1"]


@pytest.mark.parametrize(
    ("tags", "entities", "mended"),
    [
        ("B-A I-A B-A I-A", [("A", 0, 1), ("A", 2, 3)], []),
        ("O I-A I-A O", [("A", 1, 2)], [1]),
        ("B-A I-B I-B O", [("A", 0, 0), ("B", 1, 2)], [1]),
        ("I-A O I-A I-B", [("A", 0, 0), ("A", 2, 2), ("B", 3, 3)], [0, 2, 3]),
    ],
)
def test_tags(file, tags, entities, mended):
    report = EntityReport()
    [text] = read_litbank(file("".join(f"x\t{tag}\n" for tag in tags.split()), "a.tsv"), report)
    assert list(text.entities) == entities
    expected = [("a:1", f"{tags.split()[place]} at {place} continues nothing") for place in mended]
    assert report.mended == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a\tO\nb\n", r"read_litbank: '.*a.tsv', line 2: must be a token and tags with tabs between them, got 'b'"),
        ("\tO\n", "line 1: must be a token and tags"),
        ("a\tO\tO\n\nb\tO\nc\tO\tO\n", "line 4: must have 1 tags like its sentence, got 2"),
        ("a\tS-PER\n", "line 1: tags must be O, B-TYPE or I-TYPE, got 'S-PER'"),
        ("a\tB-\n", "got 'B-'"),
        (b"a\tO\n\xff\tO\n", "must be UTF-8, got other bytes after line"),
    ],
)
def test_other_tables_are_refused(file, content, message):
    with pytest.raises(ValueError, match=message):
        list(read_litbank(file(content, "a.tsv")))


def test_no_file(tmp_path):
    for place in (tmp_path, tmp_path / "a.tsv"):
        with pytest.raises(FileNotFoundError, match=r"^read_litbank: no such file, or folder with \*.tsv: "):
            read_entities(place)
    with pytest.raises(FileNotFoundError, match="no such file"):
        list(read_cluener(tmp_path / "a.json"))


def test_a_written_file_is_read_back(tmp_path):
    entities = Entity("PER", 0, 0), Entity("LOC", 0, 1), Entity("PER", 2, 2)
    texts = [
        AnnotatedText("line 1", "a“\n b", entities),
        AnnotatedText("line 2", ("Ann", "of 宁", "Ann"), entities),
        AnnotatedText("line 3", ""),
    ]
    path = tmp_path / "texts.json"
    write_entities(path, texts)
    assert list(read_cluener(path)) == [texts[0], texts[1], texts[2]]


def test_entities_are_spans_of_their_text():
    for start, end in ((0, 3), (-1, 0), (2, 1), (3, 3)):
        message = rf"^AnnotatedText: .* \(line 9\), got PER from {start} to {end}, no span of a text of 3"
        with pytest.raises(ValueError, match=message):
            AnnotatedText("line 9", "Ann", (Entity("PER", start, end),))


def test_real_texts(shared_data):
    report = EntityReport()
    texts = list(read_entities(shared_data / "ner" / "cluener_dev.json", report))
    assert str(report) == "1343 texts, 3072 entities"
    assert max(len(text.text) for text in texts) == 50
    nested = EntityReport()
    sentences = list(read_entities(shared_data / "ner" / "litbank", nested))
    assert str(nested) == "8562 texts, 13912 entities, 2959 without entities"
    assert sum(any(map(inside, text.entities, text.entities[1:])) for text in sentences) > 1000


def inside(one, other):
    return one.start <= other.start <= other.end <= one.end or other.start <= one.start <= one.end <= other.end
