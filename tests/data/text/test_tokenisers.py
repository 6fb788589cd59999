"""Tokens and their character offsets."""

import sys

import pytest

from pydlx.data.text import create_tokeniser

TEXTS = (
    *("", " \n\t", "x", "Ｆｕｌｌ　ｗｉｄｔｈ， half", "二〇〇八年 a～b", "lone \ud83d half"),
    *("😀 \U0001f469\U0001f3fd\u200d\U0001f680 café cafe\u0301", "\ufeffa\u200bb", "\U00020000𝔘"),
)


def cut(name, text):
    return [text[start:end] for start, end in create_tokeniser(name)(text)]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("The U.S. (and €5)!", "The U . S . ( and € 5 ) !"),
        ("He's sure they don't, can't", "He 's sure they do n't , ca n't"),
        ("rock'n'roll, the '90s", "rock ' n ' roll , the ' 90s"),
        ("isn'table", "isn ' table"),
        ("1,000.5 km in 1990-2000.", "1,000.5 km in 1990 - 2000 ."),
        ("12½% wood–fire…", "12½ % wood – fire …"),
        ("cafe\u0301 naïve 😀👍", "cafe\u0301 naïve 😀 👍"),
        ("Beijing北京2008", "Beijing 北 京 2008"),
    ],
)
def test_words(text, tokens):
    assert cut("words", text) == tokens.split()


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("a～b", "a ～ b"),
        ("々カタ한국", "々 カ タ 한 국"),
        ("二〇〇八年", "二 〇 〇 八 年"),
        ("2008年4月，ω-force与Nexon合作", "2008 年 4 月 ， ω - force 与 Nexon 合 作"),
        ("ＣＤ２张 ｶﾅ", "ＣＤ２ 张 ｶ ﾅ"),
        ("《大唐》、“有匪”……", "《 大 唐 》 、 “ 有 匪 ” … …"),
        ("café e\u0301tude_1", "café e\u0301tude _ 1"),
        ("\U00020000\U00030000a", "\U00020000 \U00030000 a"),
    ],
)
def test_characters(text, tokens):
    assert cut("characters", text) == tokens.split()


def test_spaces():
    assert cut("spaces", " 大家 好，\n\u3000a-b ") == ["大家", "好，", "a-b"]


@pytest.mark.parametrize("name", ["words", "characters", "spaces", "spacy"])
@pytest.mark.parametrize("text", TEXTS)
def test_every_character_but_white_space_is_in_one_token(name, text):
    if name == "spacy":
        pytest.importorskip("spacy")
    spans = create_tokeniser(name)(text)
    covered = [place for start, end in spans for place in range(start, end)]
    assert covered == sorted(set(covered))
    assert set(range(len(text))) - set(covered) == {place for place, sign in enumerate(text) if sign.isspace()}
    assert all(not text[start:end].isspace() and start < end for start, end in spans)


def test_spacy():
    pytest.importorskip("spacy")
    assert cut("spacy", "He isn't in  the U.K.\n\n") == ["He", "is", "n't", "in", "the", "U.K."]


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match=r"create_tokeniser: name must be one of 'words', .*, got 'word'"):
        create_tokeniser("word")


@pytest.mark.parametrize(
    ("name", "package", "extra"), [("words", "tokenizers", "readers"), ("spacy", "spacy", "spacy")]
)
def test_a_missing_library_is_named(name, package, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf'needs {package}: pip install "pydlx\[{extra}\]"'):
        create_tokeniser(name)
