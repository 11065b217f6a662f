"""Raw data becomes the same corpus whatever its form, and memory does not grow with it."""

import bz2
import gzip
import io
import shutil
import tarfile
import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from gensim.corpora import Dictionary, wikicorpus
from gensim.test.utils import datapath
from gensim.utils import chunkize_serial
from hypothesis import given, settings
from hypothesis import strategies as st

import data_prep.io.build as build
import data_prep.io.token_file as token_file
import data_prep.wikipedia as wikipedia
from data_prep import (
    Options,
    TextOptions,
    WikipediaOptions,
    prepare_text,
    prepare_wikipedia,
)
from data_prep.io.inputs import ReadProgress
from data_prep.io.options import Document
from lla.corpus import load_corpus
from lla.corpus.folder import FILES
from lla.corpus.tokens import Tokenizer

ARTICLES = {
    "Otters": "Otters swim.<br>Otters eat fish & crabs;\nthe river otter sleeps in a Holt.\n",
    "Batman &amp; Robin": "A film of 1997 about bats, birds and other nouns.\n",
    "Stub": "Tiny.\n",
}
KEEP_ALL = Tokenizer(rule="gensim")
ANY = WikipediaOptions(min_words=1, stop_words="keep")
SPLIT = TextOptions(tokens="split")


def extracted(articles=ARTICLES):
    return "".join(
        f'<doc id="{i}" url="http://x?curid={i}" title="{title}">\n{title}\n\n{body}</doc>\n'
        for i, (title, body) in enumerate(articles.items())
    ).encode()


def dump(*pages):
    body = "".join(
        f"<page><title>{title}</title><ns>{ns}</ns><id>1</id>{extra}"
        f"<revision><text>{text}</text></revision></page>"
        for title, ns, text, extra in pages
    )
    xmlns = "http://www.mediawiki.org/xml/export-0.10/"
    return f'<mediawiki xmlns="{xmlns}"><siteinfo/>{body}</mediawiki>'.encode()


@pytest.fixture
def folder(tmp_path):
    """WikiExtractor's output: three articles in two files of two folders."""
    for name, title in (("AA/wiki_00", ["Otters"]), ("AB/wiki_00", ["Batman &amp; Robin", "Stub"])):
        path = tmp_path / "raw" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(extracted({t: ARTICLES[t] for t in title}))
    return tmp_path / "raw"


def texts(corpus):
    return [[corpus.vocabulary[w] for w in corpus.document(d)] for d in range(corpus.n_documents)]


def content(corpus_folder):
    return {name: (corpus_folder / name).read_bytes() for name in FILES}


def wikicorpus_texts(monkeypatch, path, **options):
    """What gensim's WikiCorpus yields, its pool of processes replaced by a plain map."""

    class Pool:
        imap = staticmethod(map)

        def __init__(self, *_):
            pass

        def terminate(self):
            pass

    monkeypatch.setattr(wikicorpus.multiprocessing, "Pool", Pool)
    monkeypatch.setattr(
        wikicorpus.utils, "chunkize", lambda x, chunksize, **_: chunkize_serial(x, chunksize)
    )
    return list(wikicorpus.WikiCorpus(path, dictionary=Dictionary(), **options).get_texts())


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_embedded_dump_agrees_with_wikicorpus(monkeypatch):
    path = datapath(wikipedia.EMBEDDED)
    read_progress = ReadProgress()
    read = wikipedia.read_articles([Path(path)], KEEP_ALL, read_progress)
    ours = [document.tokens for document in read]
    every = wikicorpus_texts(monkeypatch, path, article_min_tokens=0)
    assert ours == [text for text in every if text[:1] != ["redirect"]]
    assert ours == [text for text in every if len(text) >= wikicorpus.ARTICLE_MIN_WORDS]
    assert len(ours) == 106
    assert read_progress.skipped == 100, "99 redirects and a page of another namespace"
    assert read_progress.position == Path(path).stat().st_size


def test_other_namespaces_and_redirects_are_no_articles(tmp_path):
    pages = [
        ("One", 0, "words of an [[article|article]]", ""),
        ("Talk of it", 1, "talk", ""),
        ("Uno", 0, "#REDIRECT [[One]]", ""),
        ("Eins", 0, "#WEITERLEITUNG [[One]]", '<redirect title="One"/>'),
        ("Template:Thing", 0, "template", ""),
        ("Empty", 0, "", ""),
    ]
    (tmp_path / "x.xml").write_bytes(dump(*pages))
    read_progress = ReadProgress()
    read = list(wikipedia.read_articles([tmp_path / "x.xml"], KEEP_ALL, read_progress))
    assert read == [Document("One", ["words", "of", "an", "article"])]
    assert read_progress.skipped == 5


def test_every_form_gives_the_same_corpus(folder, tmp_path):
    with tarfile.open(tmp_path / "all.tar.xz", "w:xz") as tar:
        tar.add(folder / "AA", "AA")
        tar.add(folder / "AB", "AB")
    one = b"".join(path.read_bytes() for path in sorted(folder.rglob("wiki_*")))
    (tmp_path / "wiki.gz").write_bytes(gzip.compress(one))
    inputs = [folder, [folder / "AA", folder / "AB"], tmp_path / "all.tar.xz", tmp_path / "wiki.gz"]
    corpora = [prepare_wikipedia(tmp_path / f"c{i}", ANY, path) for i, path in enumerate(inputs)]
    assert len({corpus.fingerprint for corpus in corpora}) == 1
    first, second, third = texts(corpora[0])
    # No title, no <br>, no one-letter word, lower case.
    assert " ".join(first) == "otters swim otters eat fish crabs the river otter sleeps in holt"
    assert " ".join(second) == "film of about bats birds and other nouns"
    assert third == ["tiny"]


def test_more_processes_give_the_same_bytes(tmp_path):
    pages = [(f"P{i}", int(i % 7 == 0), f"word{'abcdefg'[i % 7]} [[link]]", "") for i in range(99)]
    (tmp_path / "x.xml.bz2").write_bytes(bz2.compress(dump(*pages)))
    options = WikipediaOptions(min_words=1, documents="2:50")
    for n in (1, 2):
        prepare_wikipedia(tmp_path / f"p{n}", options, tmp_path / "x.xml.bz2", processes=n)
    assert content(tmp_path / "p1") == content(tmp_path / "p2")
    assert load_corpus(tmp_path / "p1").n_documents == 48


def test_inputs_are_sought_in_lla_data(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("LLA_DATA", str(tmp_path))
    assert prepare_wikipedia(tmp_path / "c", ANY, "raw/AA").n_documents == 1


def make(tmp_path, documents, options=SPLIT, name="c"):
    (tmp_path / "lines").write_text("\n".join(documents))
    return prepare_text(tmp_path / name, options, tmp_path / "lines")


def test_stop_words_are_removed_before_words_are_counted(tmp_path):
    options = TextOptions(min_words=2)
    corpus = make(tmp_path, ["the The and of Otters", "the otter swims"], options)
    assert texts(corpus) == [["otter", "swims"]]
    assert corpus.manifest["counts"]["too_short"] == 1
    kept = make(tmp_path, ["The Otters"], TextOptions(stop_words="keep", keep_case=True), "k")
    assert texts(kept) == [["The", "Otters"]]


def test_split_tokens_stay_as_they_are(tmp_path):
    assert texts(make(tmp_path, ["A1 the a1 9-x"])) == [["A1", "the", "a1", "9-x"]]


def test_vocabulary_ties_are_broken_by_the_word(tmp_path):
    corpus = make(tmp_path, ["d c b a", "d d c x"], TextOptions(tokens="split", vocabulary=3))
    assert corpus.vocabulary == ("d", "c", "a")
    assert texts(corpus) == [["d", "c", "a"], ["d", "d", "c"]]


def test_documents_without_a_known_word_are_dropped_and_counted(tmp_path):
    corpus = make(tmp_path, ["a a a", "b", "a c"], TextOptions(tokens="split", vocabulary=1))
    assert texts(corpus) == [["a", "a", "a"], ["a"]]
    counts = corpus.manifest["counts"]
    assert (counts["no_known_word"], counts["outside_vocabulary"]) == (1, 2)


def test_slice_sample_and_longest(tmp_path):
    documents = [f"{i} x y" for i in range(40)]
    ten = make(tmp_path, documents, TextOptions(tokens="split", documents="10:20", max_words=2))
    assert texts(ten) == [[str(i), "x"] for i in range(10, 20)]
    assert "39" not in ten.vocabulary, "only the chosen documents make the vocabulary"
    assert ten.manifest["counts"]["cut"] == 10
    draws = []
    for name, seed in (("s0", 0), ("s1", 0), ("s2", 1)):
        options = TextOptions(tokens="split", documents="5:", sample=7, seed=seed)
        draws.append([int(t[0]) for t in texts(make(tmp_path, documents, options, name))])
    assert draws[0] == draws[1] != draws[2]
    assert draws[0] == sorted(set(draws[0])) and len(draws[0]) == 7 and min(draws[0]) >= 5


def built(documents, output, options):
    source = build.Source("test", "none", {"generated": "0"}, 1)
    named = (Document(f"d{i}", tokens) for i, tokens in enumerate(documents))
    return build.prepare(lambda *_: named, source, options, output)


words = st.text("abcde", min_size=1, max_size=2)


@given(
    st.lists(st.lists(words, max_size=12), min_size=1, max_size=30),
    st.integers(1, 6),
    st.integers(1, 3),
)
@settings(max_examples=60, deadline=None)
def test_counts_add_up(tmp_path_factory, documents, n_words, min_words):
    if max(map(len, documents)) < min_words:
        return
    options = Options(stop_words="keep", vocabulary=n_words, min_words=min_words)
    # Small enough that reading crosses blocks.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(token_file, "BLOCK", 16)
        corpus = built(documents, tmp_path_factory.mktemp("x") / "c", options)
    kept = [document for document in documents if len(document) >= min_words]
    frequency = Counter(word for document in kept for word in document)
    chosen = sorted(frequency, key=lambda word: (-frequency[word], word))[:n_words]
    assert list(corpus.vocabulary) == chosen
    expected = [[word for word in document if word in chosen] for document in kept]
    assert texts(corpus) == [document for document in expected if document]
    assert np.bincount(corpus.words).tolist() == [frequency[word] for word in chosen]
    counts = corpus.manifest["counts"]
    assert counts["seen"] == len(documents) == counts["too_short"] + counts["kept"]
    assert counts["kept"] == counts["documents"] + counts["no_known_word"]
    assert counts["tokens"] + counts["outside_vocabulary"] == sum(map(len, kept))
    assert counts["tokens"] == corpus.lengths.sum() == corpus.n_tokens


def test_words_met_once_are_forgotten_and_the_others_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(token_file, "MAX_TYPES", 50)
    monkeypatch.setattr(token_file, "BLOCK", 64)
    documents = [["often", f"once{i}", "also", "often"] for i in range(500)]
    corpus = built(documents, tmp_path / "c", Options(stop_words="keep", vocabulary=2))
    assert texts(corpus) == [["often", "also", "often"]] * 500
    counts = corpus.manifest["counts"]
    assert counts["outside_vocabulary"] == 500
    assert counts["types"] <= 51 < counts["types_forgotten"]
    assert counts["types"] + counts["types_forgotten"] == 502


def test_memory_does_not_grow_with_the_corpus(tmp_path, monkeypatch):
    monkeypatch.setattr(token_file, "BLOCK", 2**12)

    def peak(times):
        documents = ([f"w{(i * j) % 997}" for j in range(500)] for i in range(40 * times))
        tracemalloc.start()
        try:
            corpus = built(documents, tmp_path / f"c{times}", Options(stop_words="keep"))
            assert corpus.n_tokens == 500 * 40 * times
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(1)  # what is loaded once
    shutil.rmtree(tmp_path / "c1")
    small, large = peak(1), peak(10)
    # 180,000 more tokens would take 720 kB as int32, 1.4 MB as references.
    assert large - small < 100_000


def test_dump_pages_are_forgotten_once_read():
    page = ("T", 0, "words", "")
    peaks = []
    for n in (1000, 10_000):
        content = dump(*[page] * n)
        reader = wikipedia._dump(io.BytesIO(content), Path("x"))
        tracemalloc.start()
        assert sum(1 for _ in reader) == n
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


def test_same_input_gives_same_bytes_and_is_not_built_twice(folder, tmp_path, monkeypatch, caplog):
    first = prepare_wikipedia(tmp_path / "a", ANY, folder)
    prepare_wikipedia(tmp_path / "b", ANY, folder)
    assert content(tmp_path / "a") == content(tmp_path / "b")
    with monkeypatch.context() as patch, caplog.at_level("INFO"):
        patch.setattr(build, "build", lambda *_, **__: pytest.fail("built again"))
        again = prepare_wikipedia(tmp_path / "a", ANY, folder)
    assert again.fingerprint == first.fingerprint
    assert "made from the same files and options" in caplog.text
