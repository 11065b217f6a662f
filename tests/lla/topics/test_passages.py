"""Passages: the best windows against all windows, and their renderings."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated import random_corpus

from lla.common.errors import InputError
from lla.corpus import Corpus
from lla.topics import passages as module
from lla.topics.passages import PALETTE, passages_html, passages_text, topic_passages


def brute_force(corpus, values, length):
    """(sum, document, start) of the best window of every document, best first."""
    found = []
    for d in range(corpus.n_documents):
        of = values[corpus.offsets[d] : corpus.offsets[d + 1]]
        starts = range(max(1, len(of) - length + 1))
        sums = [sum(of[s : s + length].tolist()) for s in starts]
        best = max(sums)
        start = next(s for s in starts if sums[s] >= best - 1e-9)
        found.append((best, d, start))
    return sorted(found, key=lambda row: (-round(row[0], 9), row[1]))


@given(st.integers(0, 300), st.integers(1, 12), st.booleans(), st.sampled_from([1, 2**18]))
@settings(max_examples=60, deadline=None)
def test_passages_are_the_best_windows_of_all(seed, length, weighted, block):
    draw = np.random.default_rng(seed)
    corpus = random_corpus(8, n_words=5, longest=15, seed=seed)
    topics = draw.integers(3, size=corpus.n_tokens)
    weights = draw.integers(4, size=corpus.n_tokens) / 3 if weighted else None
    values = (topics == 1).astype(float) if weights is None else weights
    with pytest.MonkeyPatch.context() as patch:  # also where every document is a block
        whole = module.blocks
        patch.setattr(module, "blocks", lambda *of: whole(*of, max_places=block))
        found = topic_passages(corpus, topics, 1, 3, length=length, n=5, weights=weights)
    expected = [row for row in brute_force(corpus, values, length)[:5] if row[0] > 0]
    assert [(p.document, p.start) for p in found] == [row[1:] for row in expected]
    for passage, (total, d, start) in zip(found, expected, strict=True):
        first = corpus.offsets[d] + start
        end = min(first + length, corpus.offsets[d + 1])
        assert passage.words == tuple(corpus.vocabulary[w] for w in corpus.words[first:end])
        assert passage.topics == tuple(topics[first:end])
        assert passage.share == pytest.approx(total / (end - first))


def markup_corpus():
    vocabulary = ["<script>", "a&b", '"quoted"', "sea"]
    corpus = Corpus.from_documents([[0, 1, 2, 3, 3]], vocabulary, ["<b>'title'</b>"])
    return corpus, np.array([0, 0, 1, 2, 0])


class Texts(HTMLParser):
    """The texts and tags that a browser would see."""

    def __init__(self):
        super().__init__()
        self.tags, self.texts, self.spans = [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag == "span":
            self.spans.append(dict(attributes))

    def handle_data(self, data):
        self.texts.append(data)


def test_html_shows_every_word_on_the_colour_of_its_topic_and_escapes_all_texts():
    corpus, topics = markup_corpus()
    found = topic_passages(corpus, topics, 0, 3, length=4)
    names = ["<i>war</i>", "law", 'tea "x"']
    page = Texts()
    page.feed(passages_html(found, names))
    assert set(page.tags) == {"div", "p", "span", "b", "br"}
    assert {"<script>", "a&b", '"quoted"', "sea", "0: <i>war</i>"} <= set(page.texts)
    assert any("<b>'title'</b>, words 1 to 4 · 50%" in text for text in page.texts)
    legend, words = page.spans[:3], page.spans[3:]
    assert [span["title"] for span in legend] == ["0: <i>war</i>", "1: law", '2: tea "x"']
    colours = [re.search("background:(#[0-9A-F]{6})", span["style"])[1] for span in words]
    assert colours == [PALETTE[0], PALETTE[0], PALETTE[1], PALETTE[2]]
    assert ["underline" in span["style"] for span in words] == [True, True, False, False]


def test_topics_beyond_the_palette_are_grey_and_in_the_legend():
    n = len(PALETTE) + 2
    corpus = Corpus.from_documents([list(range(n))], [f"w{w}" for w in range(n)])
    found = topic_passages(corpus, np.arange(n), n - 1, n, length=n)
    text = passages_html(found)
    assert text.count(f"background:{module.OTHER}") == 3 and "other topics" in text
    assert len(set(PALETTE)) == len(PALETTE)
    assert passages_html([]).startswith("<div")


def test_plain_text_puts_words_of_the_topic_in_brackets():
    corpus, topics = markup_corpus()
    found = topic_passages(corpus, topics, 2, 3, length=2)
    assert passages_text(found).splitlines() == [
        "topic 2 · <b>'title'</b>, words 3 to 4 · 50%",
        '    "quoted" [sea]',
    ]
    assert passages_text(found, ["x", "y", "tea"]).startswith("2: tea · ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"topic": 3}, "topic is 3: give 2 or less"),
        ({"topics": np.zeros(4, int)}, "topics: 4 topics for 5 observed tokens"),
        ({"length": 0}, "length is 0: give 1 or more"),
        ({"weights": np.ones(4)}, r"weights: float64 \(4,\); give a number for each of the 5"),
        ({"weights": -np.ones(5)}, "weights: give finite numbers, 0 or more"),
    ],
)
def test_what_does_not_fit_the_corpus_is_refused(options, message):
    corpus, topics = markup_corpus()
    given_all = {"corpus": corpus, "topics": topics, "topic": 0, "n_topics": 3} | options
    with pytest.raises(InputError, match=f"^{message}"):
        topic_passages(**given_all)
    with pytest.raises(InputError, match="passages is 'a': give a Passage"):
        passages_html(["a"])
