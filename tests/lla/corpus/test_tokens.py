"""Words of texts in any script; a tokenizer written down reads the next text the same way."""

import json
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lla.common.errors import InputError
from lla.corpus.tokens import Tokenizer, is_character, read_known

WORDS = [
    # Combining marks belong to their letter, in every script.
    ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
    ("தமிழ் மொழி", ["தமிழ்", "மொழி"]),
    ("বাংলা ভাষা", ["বাংলা", "ভাষা"]),
    ("اللُّغَة العَرَبِيَّة", ["اللُّغَة", "العَرَبِيَّة"]),
    ("שָׁלוֹם", [unicodedata.normalize("NFC", "שָׁלוֹם")]),
    ("Zu\u0308rich Zürich", ["zürich", "zürich"]),
    ("ma\u0301s más", ["más", "más"]),
    ("Việt Nam", ["việt", "nam"]),
    ("İstanbul", ["i\u0307stanbul"]),
    ("می\u200cخواهم", ["می\u200cخواهم"]),
    # Digits inside words; numbers alone are none.
    ("covid19 in 2020, 3D and 1990s: 42 mp3", ["covid19", "in", "3d", "and", "1990s", "mp3"]),
    # Apostrophes of all kinds.
    ("Don't don’t don´t it's ITS’ 's", ["don't", "don't", "don't", "it", "its"]),
    ("The 1990's and the dogs' 'quoted' words", ["the", "and", "the", "dogs", "quoted", "words"]),
    ("O'Brien rock'n'roll п'ять", ["o'brien", "rock'n'roll", "п'ять"]),
    ("l'homme d’or qu'il dell'acqua aujourd'hui", ["homme", "or", "il", "acqua", "aujourd'hui"]),
    # Underscores hold a word together and are none themselves.
    ("_new_ snake_case __init__ a__b ____", ["new", "snake_case", "init"]),
    ("U.S. C++ 20 °C c s", []),
    # Invisible characters.
    ("co\u00adop\u00aderate \ufeffword \u202bשלום\u202c", ["cooperate", "word", "שלום"]),
    # Scripts without spaces.
    ("我爱北京 and iPhone手机", ["我", "爱", "北", "京", "and", "iphone", "手", "机"]),
    ("𠀀人々", ["𠀀", "人", "々"]),
    ("コンピュータを使う", ["コンピュータ", "を", "使", "う"]),
    ("ไทย ๑๒๓ กี่", ["ไ", "ท", "ย", "กี่"]),
    ("မြန်မာ", ["မြ", "န်", "မာ"]),
    ("ក្រុង", ["ក្រុ", "ង"]),
    ("한국어 단어", ["한국어", "단어"]),
    ("", []),
    ("12 !? \U0001f600 1\ufe0f\u20e3", []),
]


@pytest.mark.parametrize(("text", "words"), WORDS)
def test_words_of_texts(text, words):
    assert Tokenizer().tokens(text) == words


@pytest.mark.parametrize("text", [text for text, _ in WORDS])
def test_composed_and_decomposed_texts_are_the_same(text):
    composed, decomposed = (unicodedata.normalize(form, text) for form in ("NFC", "NFD"))
    assert Tokenizer().tokens(composed) == Tokenizer().tokens(decomposed)


def test_min_letters_counts_letters_digits_and_marks():
    text = "a i of c d'or ab1 x_y माँ 我"
    assert Tokenizer(min_letters=1).tokens(text)[:4] == ["a", "i", "of", "c"]
    assert Tokenizer(min_letters=3).tokens(text) == ["ab1", "माँ", "我"]
    assert Tokenizer("gensim", min_letters=3).tokens("ab abc") == ["abc"]
    assert Tokenizer("split", min_letters=2).tokens("a ab x1") == ["ab", "x1"]


def test_stop_words_are_left_out_in_either_case():
    stop_words = "don't the é"
    assert Tokenizer(stop_words=stop_words).tokens("The DON’T dog") == ["dog"]
    assert Tokenizer(stop_words=stop_words, keep_case=True).tokens("The Dog") == ["Dog"]
    assert Tokenizer("split", min_letters=1, stop_words=stop_words).tokens("The X") == ["X"]


def test_split_tokens_stay_as_they_are():
    text = "A1 the e\u0301\u00a09-x\n_"
    assert Tokenizer("split", min_letters=1).tokens(text) == ["A1", "the", "e\u0301", "9-x", "_"]


@given(st.text())
@settings(deadline=None)
def test_the_rule_gensim_is_that_of_wikicorpus(text):
    from gensim.corpora.wikicorpus import tokenize

    assert Tokenizer("gensim").tokens(text) == tokenize(text)


@given(st.text() | st.text("aSsdl'’_ \u0301न्हि\u200d我コー"))
@settings(deadline=None)
def test_a_word_is_read_as_itself(text):
    tokenizer = Tokenizer(min_letters=1)
    for word in tokenizer.tokens(text):
        assert tokenizer.tokens(word) == [word]
        assert any(map(str.isalpha, word))
        assert not any(map(str.isspace, word))
        assert word.strip("'_") == word
        assert unicodedata.is_normalized("NFC", word)


def test_options_and_back():
    tokenizer = Tokenizer("words", keep_case=True, min_letters=3, stop_words="और the")
    options = json.loads(json.dumps(tokenizer.options()))
    assert Tokenizer.from_options(options) == tokenizer
    assert options == {
        "rule": "words",
        "keep_case": True,
        "min_letters": 3,
        "stop_words": "और the",
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (None, "the tokenizer is None: give keep_case"),
        ({"rule": "words"}, "the tokenizer is .*: give keep_case, min_letters, rule"),
        (Tokenizer().options() | {"rule": "bytes"}, "rule is 'bytes': give one of words"),
        (Tokenizer().options() | {"min_letters": 0}, "min_letters is 0: give 1 or more"),
        (Tokenizer().options() | {"stop_words": ["a"]}, "stop_words is a list: give one text"),
    ],
)
def test_options_that_describe_no_tokenizer(options, message):
    with pytest.raises(InputError, match=message):
        Tokenizer.from_options(options)


def test_texts_that_the_rule_gensim_misreads():
    gensim = Tokenizer("gensim")
    assert gensim.misreads("हिन्दी भाषा") and gensim.misreads("我爱北京")
    assert not gensim.misreads("English, with one word of Hindi: हि" + " word" * 50)
    assert not gensim.misreads("Große Straße") and not Tokenizer().misreads("हिन्दी")


def test_characters_of_scripts_without_spaces():
    assert is_character("我") and is_character("กี่") and is_character("あ")
    assert not any(map(is_character, ["ab", "我爱", "コ", "हि", "한", ""]))


def test_a_new_text_is_read_as_far_as_it_is_known(caplog):
    options = Tokenizer(stop_words="the").options()
    known = {"otters", "New-York", "swim"}
    assert read_known("The OTTERS swim fast", options, known) == ["otters", "swim"]
    assert "1 of 3 words are unknown to the model" in caplog.text
    caplog.clear()
    assert read_known(["New-York", "Otters", "the"], options, known) == ["New-York", "otters"]
    assert read_known("", options, known) == read_known([], options, known) == []
    assert not caplog.text


@pytest.mark.parametrize("text", [5, None, b"bytes", {"a": 1}, ["a", 5]])
def test_what_is_no_text(text):
    with pytest.raises(InputError, match=r"give a str|give words as str"):
        read_known(text, Tokenizer().options(), {"a"})
