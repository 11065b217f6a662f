"""Objects at the end of a cell, and names of strangers wherever they are shown.

Nothing in a name is markup, a formula, or moves a terminal's cursor.
"""

import csv
import html
import io
import re
from dataclasses import dataclass, is_dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_sem import SMALL, small_fit, small_split

import data_prep
import lla
from data_prep.clicks.simulate import simulate_clicks
from data_prep.clicks.world import SMOKE, make_world
from experiments.study import Outcome
from lla.common.display import (
    MAX_LINE,
    MAX_NAME,
    Configuration,
    Summarized,
    markdown,
    one_line,
    spreadsheet,
)
from lla.corpus import Corpus, split_corpus
from lla.evaluate.ranking import rank_held_out
from lla.peers.counts import fit_bigram, fit_cache_unigram, fit_popular, fit_unigram
from lla.peers.ddlda import DDLDAConfig, fit_ddlda
from lla.peers.sequence import GRU4RecConfig, fit_gru4rec


def every_kind():
    """Public objects, and what they give out."""
    split, states = small_split(), []
    model = small_fit(None, states.append)
    lda = lla.fit_lda(split, lla.LDAConfig(3, n_sweeps=2), 1)
    unigram = fit_unigram(split)
    clicks = simulate_clicks(replace(SMOKE, n_users=12))[0]
    ranking = rank_held_out(lambda on_scores: unigram.next_items(split, on_scores), split)
    yield from (split, split.corpus, clicks, split_corpus(clicks), ranking)
    yield from (model, model.emission, model.size(), model.session(["w1"]), states[-1], lda)
    yield from (SMALL, SMALL.train, lda.config, model.network.config, SMOKE, make_world(SMOKE))
    yield from (unigram, fit_bigram(split), fit_cache_unigram(split), fit_popular(split))
    yield fit_ddlda(split, DDLDAConfig(3, n_sweeps=1), 1)
    yield fit_gru4rec(split, GRU4RecConfig(n_epochs=1), 1)
    yield small_fit(emission="personal", n_iterations=1).emission
    yield Outcome(8.0, 7.0, model.size(), history=model.history * 10)


def test_every_public_object_is_one_line_and_a_small_table():
    for thing in every_kind():
        line = repr(thing)
        assert len(line) <= MAX_LINE and line.isprintable(), line
        assert line.startswith(f"{type(thing).__name__}("), line
        table = thing._repr_html_()
        assert table.startswith("<table>") and len(table) < 5000, line


@pytest.mark.parametrize("module", [lla, data_prep], ids=["lla", "data_prep"])
def test_every_public_class_has_a_summary(module):
    public = [getattr(module, name) for name in module.__all__]
    classes = [found for found in public if isinstance(found, type) and is_dataclass(found)]
    assert len(classes) >= 5
    for found in classes:
        assert issubclass(found, Summarized), found
        assert found.__repr__ in (Summarized.__repr__, Configuration.__repr__), found


def test_a_large_corpus_says_its_counts_and_first_names():
    words = [f"word {w}" for w in range(20_000)]
    names = [f"<title> {d}" for d in range(500)]
    corpus = Corpus.from_documents([[d, 1, 2] for d in range(500)], words, names)
    corpus = replace(corpus, manifest={"source": "a table\nof two lines"})
    line = "Corpus(documents=500, tokens=1500, words=20000, source='a table of two lines', ...)"
    assert repr(corpus) == line
    table = corpus._repr_html_()
    assert "<td style='text-align:left'>20,000</td>" in table
    assert "&lt;title&gt; 0, &lt;title&gt; 1" in table
    split = split_corpus(corpus)
    assert repr(split) == (
        "Split(documents=500, observed_tokens=1000, held_out_tokens=500, "
        "development_documents=50, words=20000)"
    )


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("events: " + "/a/long/path" * 9, "events: /a/long/path/a/long/path/a/lo..."),
        ("a name \udce4 no one can decode", "a name ? no one can decode"),
        ("<script>", "<script>"),
    ],
)
def test_texts_are_short_and_can_be_encoded(source, shown):
    corpus = replace(Corpus.from_documents([[0]], ["a"]), manifest={"source": source})
    assert f"source={shown!r}" in repr(corpus)
    assert html.escape(shown).encode() in corpus._repr_html_().encode()


def test_a_model_says_its_kind_and_sizes():
    model = small_fit(n_iterations=2)
    best = min(row["development_perplexity"] for row in model.history)
    assert repr(model).startswith("Model(kind='topic_lla', topics=3, emission='shared', words=12,")
    assert f">{best:.6g}<" in model._repr_html_()
    read = replace(model, history=[], observed=None, topics=np.empty(0, np.int32))
    assert "hidden_size=6)" in repr(read)


def test_a_configuration_shows_what_differs_from_the_defaults():
    config = lla.SEMConfig(n_topics=20, learning_rate=0.01, emission="personal")
    line = "SEMConfig(n_topics=20, learning_rate=0.01, emission='personal')"
    assert repr(config) == line
    assert eval(line, {"SEMConfig": lla.SEMConfig}) == config
    table = config._repr_html_()
    assert "<th style='text-align:left'>hidden_size</th><td style='text-align:left'>150" in table
    assert repr(lla.LDAConfig()) == "LDAConfig()"


@dataclass(frozen=True, repr=False)
class Nested(Configuration):
    inner: lla.SEMConfig
    sizes: tuple[int, ...] = ()


def test_what_does_not_fit_is_left_out_at_the_end():
    many = {name: 7 for name in ("n_topics", "n_iterations", "epochs", "patience", "hidden_size")}
    config = lla.SEMConfig(**many, batch_size=7, window=7, development_particles=7)
    assert repr(config).endswith(", ...)") and len(repr(config)) <= MAX_LINE
    assert repr(Nested(config)) == "Nested(...)"
    assert repr(Nested(lla.SEMConfig(), (1, 2))) == "Nested(inner=SEMConfig(), sizes=2 entries)"


HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[a](javascript:alert(1))",
    "![a](https://example.org/a.png)",
    "a | b",
    "**bold** __bold__ _it_ ~~gone~~ `code`",
    "&lt;b&gt;",
    "https://example.org www.example.org mail@example.org",
    "# title\n- list\n```",
    "$$x$$ {{ liquid }}",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_markdown_shows_a_name_as_it_is(name):
    text = markdown(name)
    assert html.unescape(text) == " ".join(name.split())
    assert not re.search(r"[<>`*\[\]|~\\${}\"@]|&(?!#\d+;)|://|www\.|(?<!\w)_|_(?!\w)", text)


@given(st.text(max_size=200))
def test_any_name_is_one_line_without_control_characters(name):
    for shown in (one_line(name), html.unescape(markdown(name, 300)), spreadsheet(name)):
        assert all(c.isprintable() or c in "\u200c\u200d" for c in shown)
        shown.encode("utf-8")
    assert len(html.unescape(markdown(name))) <= MAX_NAME


def test_ordinary_names_stay_as_they_are():
    for name in ("user_id", "naïve", "نامه‌ها", "a-b, c's (d)", "text: a.txt", "日本語"):
        assert one_line(name) == markdown(name) == spreadsheet(name) == name
    assert one_line("a\x1b[2Jb\u202ec\n") == r"a\x1b[2Jb\u202ec\n"


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@a", " =1", "＝1+1", '=HYPERLINK("a")'])
def test_no_cell_is_a_formula(name):
    text = io.StringIO()
    csv.writer(text).writerow([spreadsheet(name)])
    (row,) = csv.reader(io.StringIO(text.getvalue()))
    assert row == [f"'{name}"]
    assert spreadsheet("\t=1") == "\\t=1", "a tab is shown, and what follows is no start"
