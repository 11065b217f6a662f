"""Labelled archives: what is read from tiny ones in each published form, and what is refused."""

import io
import lzma
import re
import tarfile
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep import (
    ImdbOptions,
    News20CleanOptions,
    NewsgroupsOptions,
    TextOptions,
    labels_of,
    prepare_imdb,
    prepare_news20_clean,
    prepare_newsgroups,
)
from data_prep.__main__ import main
from data_prep.labelled.imdb import review_words
from data_prep.labelled.news20_clean import row_ids
from data_prep.labelled.newsgroups import message_text
from lla.common.errors import InputError
from lla.corpus import Corpus, load_corpus, split_corpus
from lla.corpus.tokens import Tokenizer

# A message as it was sent, with all that is no text of its author.
MESSAGE = """From: otter@river.org (A. Otter)
Subject: Re: fish
Lines: 9

In article <93@lake.org>, heron@lake.org
writes:
>Fish are everywhere.
JD> Truly everywhere.

Fish swim upstream in \xe9t\xe9.

-- 
A. Otter, River Institute
otter@river.org
"""
AS_WRITTEN = "Fish swim upstream in \xe9t\xe9."
NEWS = {
    "20news-bydate-test/sci.fish/9": "Subject: x\n\nBats fly at night.\n",
    "20news-bydate-train/sci.fish/1": MESSAGE.replace("\n", "\t") + "\n",
    "20news-bydate-train/rec.bats/2": "Subject: bats\n\nBats fly.\n",
    "20news-bydate-train/rec.bats/3": "Subject: nothing but quotes\n\n> Bats fly.\n",
    "20news-bydate-train/.DS_Store": "junk",
}
CLEAN = {
    "20news_clean/test.feat": "1 2:1 4:2\n1 \n",
    "20news_clean/train.feat": "1 \n1 2:3 3:2 1:1\n2 4:1\n",
    "20news_clean/vocab.new": "_eos_ 0 \nwrite 0 \none 0 \nuse 0 \n",
}
REVIEWS = {
    "aclImdb/imdb.vocab": "the\n",
    "aclImdb/test/neg/0_2.txt": "Dull, dull, dull: 2/10.",
    "aclImdb/train/neg/0_3.txt": "It wasn't good.<br /><br />In 1,000 years...",
    "aclImdb/train/pos/7_9.txt": "A fine film of the 90s; I gave it 9.5 in 1994's poll",
}


def archive(path, members, compressed=True):
    """A tar archive of these texts, at `path`."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, text in members.items():
            data = text.encode("latin-1")
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    path.write_bytes(lzma.compress(stream.getvalue()) if compressed else stream.getvalue())
    return path


def texts(corpus):
    return {name: corpus.items(d) for d, name in enumerate(corpus.names)}


def test_newsgroups_keep_labels_and_parts_and_what_people_wrote(tmp_path, monkeypatch):
    archive(tmp_path / "20newsgroups_bydate.tar.xz", {f"x/{k}": v for k, v in NEWS.items()})
    monkeypatch.setenv("LLA_DATA", str(tmp_path))
    corpus = prepare_newsgroups(tmp_path / "c")
    # Training comes first, and only its words are in the vocabulary.
    assert texts(corpus) == {
        "train/sci.fish/1": ["fish", "swim", "upstream", "été"],
        "train/rec.bats/2": ["bats", "fly"],
        "test/sci.fish/9": ["bats", "fly"],
    }
    assert corpus.manifest["counts"]["too_short"] == 1
    assert corpus.manifest["citation"].startswith("K. Lang")
    labels = labels_of(corpus)
    assert labels.names == ("rec.bats", "sci.fish")
    assert labels.label.tolist() == [1, 0, 1]
    assert labels.is_test.tolist() == [False, False, True]
    assert labels_of(corpus.select([2, 1])).is_test.tolist() == [True, False]
    test = prepare_newsgroups(tmp_path / "t", NewsgroupsOptions(part="test"))
    assert texts(test) == {"test/sci.fish/9": ["bats", "fly", "night"]}


def test_a_message_is_the_same_with_tabs_and_with_newlines():
    assert message_text(MESSAGE) == AS_WRITTEN
    assert message_text(MESSAGE.replace("\n", "\t") + "\n") == AS_WRITTEN
    assert message_text(MESSAGE.replace("\n", "\r\n")) == AS_WRITTEN
    assert message_text("Subject: only a header\n") == ""


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        ("one\n-----\ntwo\n", "one"),
        ("one\n" + "-----\n" + "more\n" * 13, "one\n-----" + "\nmore" * 13),  # no signature
        ("one\n***\ntwo\n***\n", "one"),
        ("one\n--\n", "one"),
        ("a > b\nI am told it says so\nHe writes:\n", "a > b\nI am told it says so"),
        ("| quoted\n: quoted\n} quoted\nown\n", "own"),
        ("", ""),
    ],
)
def test_signatures_and_quotations(body, kept):
    assert message_text("Subject: x\n\n" + body) == kept


@given(st.text(alphabet="ab >-|:\n\t", max_size=40))
@settings(max_examples=50, deadline=None)
def test_a_cleaned_message_holds_lines_of_its_body_in_order(body):
    lines = iter(line.strip() for line in body.replace("\t", "\n").split("\n"))
    assert all(
        any(kept.strip() == line for line in lines)
        for kept in message_text("Subject: x\n\n" + body).replace("\t", "\n").split("\n")
        if kept.strip()
    )


def test_counts_become_words_in_an_order_that_is_always_the_same(tmp_path):
    path = archive(tmp_path / "20news_clean.tar.xz", CLEAN)
    corpus = prepare_news20_clean(tmp_path / "c", path=path)
    counted = {name: dict(Counter(words)) for name, words in texts(corpus).items()}
    assert counted == {
        "train/1/row 2": {"write": 3, "one": 2},
        "train/2/row 3": {"use": 1},
        "test/1/row 1": {"write": 1, "use": 2},
    }
    again = prepare_news20_clean(tmp_path / "d", News20CleanOptions(part="train"), path)
    assert again.items("train/1/row 2") == corpus.items("train/1/row 2")
    assert "none" in split_corpus(corpus).observed.manifest["order"]
    marks = prepare_news20_clean(tmp_path / "e", News20CleanOptions(keep_end_marks=True), path)
    assert "_eos_" in marks.items("train/1/row 2") and "_eos_" not in corpus.vocabulary


def test_shuffled_words_have_no_order_by_their_ids(tmp_path):
    """Else the first 60% of a document would be its frequent words, the rest its rare ones."""
    rows = "".join(f"1 {' '.join(f'{i}:1' for i in range(1, 41))}\n" for _ in range(50))
    words = "".join(f"w{i:02} 0 \n" for i in range(40))
    files = {"train.feat": rows, "test.feat": rows, "vocab.new": words}
    corpus = prepare_news20_clean(tmp_path / "c", path=archive(tmp_path / "a", files))
    ranks = corpus.words.reshape(100, 40)
    # The mean id of a place is 19.5 with a standard error of 1.15 over the 100 rows.
    assert np.abs(ranks.mean(axis=0) - 19.5).max() < 5
    assert not (ranks[:50] == ranks[50:]).all(axis=1).any()


@given(st.dictionaries(st.integers(1, 9), st.integers(0, 4), max_size=6))
@settings(max_examples=40, deadline=None)
def test_a_row_repeats_its_ids(counts):
    pairs = [f"{i}:{n}" for i, n in counts.items()]
    assert Counter((row_ids(pairs, 9, "row") + 1).tolist()) == Counter(counts)


def test_reviews_keep_stop_words_and_name_numbers(tmp_path):
    path = archive(tmp_path / "aclImdb.tar.xz", REVIEWS)
    corpus = prepare_imdb(tmp_path / "c", path=path)
    words = "a fine film of the 90s i gave it __num__ in __num__ s poll"
    assert texts(corpus) == {
        "train/neg/0_3": ["it", "wasn't", "good", "in", "__num__", "years"],
        "train/pos/7_9": words.split(),
        "test/neg/0_2": ["__num__", "__num__"],
    }
    assert labels_of(corpus).names == ("neg", "pos")
    second = prepare_imdb(tmp_path / "d", ImdbOptions(vocabulary_of=tmp_path / "c"), path)
    assert second.vocabulary == corpus.vocabulary


@given(st.lists(st.sampled_from(["7", "7.5", "ten", "B2", "1,000", "3d"]), max_size=8))
@settings(max_examples=30, deadline=None)
def test_numbers_by_themselves_are_one_word(pieces):
    expected = ["__num__" if not re.search("[a-zA-Z]", p) else p.lower() for p in pieces]
    assert review_words("; ".join(pieces), Tokenizer(min_letters=1)) == expected


def test_sources_on_the_command_line(tmp_path, monkeypatch, capsys):
    archive(tmp_path / "aclImdb.tar.xz", REVIEWS)
    clean = archive(tmp_path / "mine.tar.xz", CLEAN)
    monkeypatch.setenv("LLA_DATA", str(tmp_path))
    command = ["imdb", "--output", str(tmp_path / "c"), "--part", "train", "--stop-words", "remove"]
    assert main(command) == 0
    assert "a" not in load_corpus(tmp_path / "c").vocabulary
    command = ["news20_clean", str(clean), "--output", str(tmp_path / "d"), "--keep-end-marks"]
    assert main(command) == main(command) == 0
    assert load_corpus(tmp_path / "d").n_words == 4
    assert "documents shorter than --min-words" in capsys.readouterr().out


def damaged(tmp_path, what):
    path = tmp_path / "archive"
    if what == "folder":
        path.mkdir()
    elif what == "text":
        path.write_text("no archive")
    elif what == "cut":
        whole = archive(path, NEWS).read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    elif what == "cut tar":
        whole = archive(path, NEWS, compressed=False).read_bytes()
        path.write_bytes(whole[:1700])
    elif what == "one part":
        archive(path, {name: text for name, text in NEWS.items() if "train" in name})
    return path


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("folder", "archive: a folder; give 20newsgroups_bydate.tar.xz or 20news-bydate.tar.gz"),
        ("text", "archive: not a tar archive; give"),
        ("cut", "archive: (unexpected end|truncated or damaged).*fetch or make the file again"),
        ("cut tar", "archive: truncated or damaged.*fetch or make the file again"),
        ("one part", "archive: no document of its test part; give .* as published"),
        ("missing", "archive: no such file"),
    ],
)
def test_a_damaged_archive_is_refused_in_one_line(tmp_path, what, message):
    with pytest.raises(InputError, match=message) as refused:
        prepare_newsgroups(tmp_path / "made" / "c", path=damaged(tmp_path, what))
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"train.feat": "1 2:1 3;1\n"}, "train.feat: row 1 holds '3;1', not id:count; fetch"),
        ({"train.feat": "1 2:1\n1 5:1\n"}, "row 2 holds word 5, the vocabulary has 4; fetch"),
        ({"train.feat": "1 0:1\n"}, "row 1 holds word 0, the vocabulary has 4; fetch"),
        ({"vocab.new": "a 0\n\nb 0\n"}, "vocab.new: line 2 is empty; fetch"),
        ({"vocab.new": ""}, "vocab.new: line 1 is empty; fetch"),
    ],
)
def test_rows_that_are_no_counts_are_refused(tmp_path, changed, message):
    files = CLEAN | {f"20news_clean/{name}": text for name, text in changed.items()}
    with pytest.raises(InputError, match=message):
        prepare_news20_clean(tmp_path / "c", path=archive(tmp_path / "a", files))


def test_what_cannot_be_read_is_said(tmp_path, monkeypatch):
    monkeypatch.delenv("LLA_DATA", raising=False)
    with pytest.raises(InputError, match=r"imdb: aclImdb.tar.xz: LLA_DATA is not set"):
        prepare_imdb(tmp_path / "c")
    monkeypatch.setenv("LLA_DATA", str(tmp_path))
    with pytest.raises(InputError, match=r"tar.xz: LLA_DATA=.* has no such file; get it \("):
        prepare_news20_clean(tmp_path / "c")
    without = {name: text for name, text in CLEAN.items() if "vocab" not in name}
    with pytest.raises(InputError, match=r"no vocab.new in it"):
        prepare_news20_clean(tmp_path / "c", path=archive(tmp_path / "a", without))
    latin = {"train/pos/1_9.txt": "caf\xe9"}
    with pytest.raises(InputError, match=r"1_9.txt: byte 3 is not UTF-8"):
        prepare_imdb(tmp_path / "c", path=archive(tmp_path / "b", latin))
    with pytest.raises(InputError, match="give an ImdbOptions"):
        prepare_imdb(tmp_path / "c", TextOptions())
    with pytest.raises(InputError, match="--part is 'dev': choose one of all, train, test"):
        ImdbOptions(part="dev")
    with pytest.raises(InputError, match="its documents have no names; give one made of"):
        labels_of(Corpus.from_documents([[0]], ("a",)))
    with pytest.raises(InputError, match="its document 'dev/a/b' has no label"):
        labels_of(Corpus.from_documents([[0]], ("a",), ["dev/a/b"]))
