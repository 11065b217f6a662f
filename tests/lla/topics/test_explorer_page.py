"""The explorer's file: one page that loads nothing, within its size, whatever items are called."""

import base64
import hashlib
import itertools
import json
import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from explored import (
    HOSTILE,
    V,
    corpus,
    counts_model,
    model_of,
    personal_model,
    source_model,
    topic_form_model,
    topic_model,
    word_model,
)
from small_sem import small_fit, small_split

import lla
from lla.common.errors import InputError
from lla.corpus import Corpus
from lla.lstm import NetworkConfig
from lla.peers.simulate import random_network, random_phi
from lla.topics.explorer.page import page_name

FILES = Path(lla.__file__).parent / "topics" / "explorer"


def data_of(page):
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    return json.loads(text)


def decoded(text, dtype):
    return np.frombuffer(base64.b64decode(text), dtype).astype(np.float64)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "page.html"
    return lla.explore(topic_model(), corpus(), path, title="Readers & items")


def test_the_file_is_the_page_and_holds_all_it_needs(made):
    assert made.path.read_text(encoding="utf-8") == made.page
    assert "<title>Readers &amp; items</title>" in made.page
    assert not re.search(r"""(?:src|href)=(?!["']?data:)|@import|url\(|https?:""", made.page)
    assert repr(made).startswith("Explorer(path=") and "bytes=" in repr(made)


def test_the_policy_admits_this_script_and_this_style_and_no_request(made):
    (policy,) = re.findall(r'Content-Security-Policy" content="(.+?)"', made.page)
    policy = unescape(policy)
    assert policy.startswith("default-src 'none';") and "unsafe" not in policy
    style = re.findall(r"<style>(.*?)</style>", made.page, re.S)[0]
    script = re.findall(r"<script>(.*?)</script>", made.page, re.S)[0]
    for text in (script, style):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy


def test_numbers_of_the_page_are_those_of_the_model(made):
    model, data = topic_model(), data_of(made.page)
    weights = model.network.state_dict()
    stored = decoded(data["weights"]["output_weight"], "<f2").reshape(5, 8)
    np.testing.assert_allclose(stored, weights["output.weight"], rtol=1e-3, atol=1e-7)
    stored = decoded(data["weights"]["bias"], "<f2")
    np.testing.assert_allclose(
        stored, weights["lstm.bias_ih_l0"] + weights["lstm.bias_hh_l0"], rtol=1e-3, atol=1e-7
    )
    phi = decoded(data["phi"]["values"], "<f2").reshape(V, 5) / data["phi"]["scale"]
    np.testing.assert_allclose(phi, model.emission.phi, rtol=1e-3, atol=1e-8)
    assert sum(data["share"]) == pytest.approx(1, abs=1e-3)
    assert data["vocabulary"] == list(corpus().vocabulary)
    assert data["histories"]["names"] == list(corpus().names)
    assert "All 150 entries of φ are in the page." in data["notes"]


def test_names_cannot_end_the_script_that_holds_them(tmp_path):
    of = corpus(vocabulary=[*HOSTILE, *(f"w{w}" for w in range(10))])
    of = replace(of, names=tuple(f"{HOSTILE[d % len(HOSTILE)]} {d}" for d in range(12)))
    page = lla.explore(topic_model(of), of, tmp_path / "page.html", title=HOSTILE[0]).page
    (html, _, end) = page.partition('id="data">')
    text = end.partition("</script>")[0]
    assert not set(text) & set("<>&\u2028")
    assert json.loads(text)["vocabulary"][:4] == list(HOSTILE[:4])
    assert "<img" not in page and "&lt;/script&gt;&lt;img" in html
    assert page.count("<script") == page.count("</script>") == 2


def test_long_names_and_names_of_several_lines_are_one_short_line():
    assert page_name("a\n b\tc") == "a b c"
    assert page_name("x" * 80) == "x" * 80
    assert page_name("x" * 81) == "x" * 79 + "…"


def test_a_notebook_shows_the_page_in_a_closed_frame(made):
    html = made._repr_html_()
    assert html.startswith("<iframe ") and html.endswith("</iframe>")
    (srcdoc,) = re.findall(r'srcdoc="([^"]*)"', html)
    assert unescape(srcdoc) == made.page
    assert 'sandbox="allow-scripts"' in html


def test_topics_drawn_in_training_are_kept_for_the_corpus_they_belong_to(tmp_path):
    model, split = small_fit(n_iterations=1), small_split()
    page = lla.explore(model, split.observed, tmp_path / "page.html").page
    data = data_of(page)
    share = np.bincount(model.topics, minlength=3) / len(model.topics)
    np.testing.assert_allclose(data["share"], share, rtol=1e-3)
    assert "the topics of their words were drawn in training." in data["notes"][-1]
    whole = data_of(lla.explore(model, split.corpus, tmp_path / "page.html").page)
    assert "the likeliest given the words before" in whole["notes"][-1]


def test_a_large_model_fits_and_says_what_is_left_out(tmp_path):
    n_topics, n_words = 120, 2500
    of = corpus(n_documents=30, vocabulary=[f"item {w}" for w in range(n_words)])
    network = random_network(NetworkConfig(n_topics, n_topics, 20, 30), seed=1)
    model = model_of(network, random_phi(n_words, n_topics, 0.05, seed=2), of.vocabulary)
    made = lla.explore(model, of, tmp_path / "page.html", max_bytes=300_000)
    assert 280_000 < len(made.page.encode()) <= 300_000
    data = data_of(made.page)
    (note,) = [note for note in data["notes"] if "of 300,000 entries of φ" in note]
    assert re.search(r"The page holds [\d,]+ of 300,000 .* it is \d+% on average", note)
    n_entries = len(decoded(data["phi"]["values"], "<f2"))
    assert f"{n_entries:,}" in note and n_entries < 60_000


def test_of_a_large_vocabulary_the_most_frequent_words_are_kept(tmp_path):
    n_words = 3000
    names = [f"a rather long name of an item {w}" for w in range(n_words)]
    documents = [np.arange(2500, 3000), np.arange(2500, 3000), np.arange(500)]
    of = Corpus.from_documents(documents, names)
    made = lla.explore(topic_model(of), of, tmp_path / "page.html", max_bytes=180_000)
    assert len(made.page.encode()) <= 180_000
    data = data_of(made.page)
    n_kept = len(data["vocabulary"])
    assert 500 < n_kept < 2500 and names[2999] in data["vocabulary"]
    assert any(f"the {n_kept:,} most frequent of 3,000 words" in note for note in data["notes"])
    words = decoded(data["passages"]["words"], "<u2")
    assert words.max() < n_kept


def test_the_page_says_what_its_model_leaves_out(tmp_path):
    model = topic_model()
    notes = data_of(lla.explore(model, corpus(), tmp_path / "page.html").page)["notes"]
    assert any("likeliest topic of each word" in note for note in notes)
    data = data_of(lla.explore(personal_model(), corpus(), tmp_path / "page.html").page)
    assert any("The emission is personal" in note for note in data["notes"])
    assert data["tau"] == [0.5, 1.0, 1.5, 2.0, 2.5]
    data = data_of(lla.explore(source_model(), corpus(), tmp_path / "page.html").page)
    assert any("may come from a source: next, own_next, recent" in note for note in data["notes"])
    notes = data_of(lla.explore(counts_model(), corpus(), tmp_path / "page.html").page)["notes"]
    assert any("how often each topic has come so far" in note for note in notes)
    reader = word_model(reads="character")
    notes = data_of(lla.explore(reader, corpus(), tmp_path / "page.html").page)["notes"]
    assert any("The LSTM reads characters" in note for note in notes)


def test_what_cannot_be_shown_is_refused_in_one_line(tmp_path):
    path, of = tmp_path / "page.html", corpus()
    words = model_of(random_network(NetworkConfig(V, V, 4, 5, input="word"), seed=1), np.eye(V))
    predicts_words = replace(words, emission=None)
    other = corpus(vocabulary=["x", "y"])
    for arguments, message in [
        ((predicts_words, of, path), "model: it predicts words, it has no topics; give an LLA"),
        ((of, of, path), "model is a Corpus: give an LLA"),
        ((topic_form_model(), of, path), "are values of the topic, which the page cannot show"),
        ((topic_model(), other, path), "corpus: 2 words, but the model has 30"),
        ((topic_model(), of, tmp_path), "a folder: give the name of a file in it"),
        ((topic_model(), of, tmp_path / "no" / "page.html"), "there is no folder"),
        ((topic_model(), of, 3), "path is 3: give the name of a file"),
    ]:
        with pytest.raises(InputError, match=message):
            lla.explore(*arguments)
    with pytest.raises(InputError, match=r"max_bytes is 1000: .* give \d+ or more") as found:
        lla.explore(topic_model(), of, path, max_bytes=1000)
    enough = int(re.findall(r"\d+", str(found.value))[-1])
    assert len(lla.explore(topic_model(), of, path, max_bytes=enough).page) <= enough
    assert not list(tmp_path.glob(".tmp*"))


def linear(colour):
    """Linear RGB of #rrggbb."""
    parts = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def contrast(one, other):
    """From 1 to 21 (WCAG 2)."""
    low, high = sorted(float(linear(c) @ [0.2126, 0.7152, 0.0722]) for c in (one, other))
    return (high + 0.05) / (low + 0.05)


def lab(rgb):
    """CIELAB of linear RGB, in which differences below about 2 are hardly seen."""
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = to_xyz @ np.clip(rgb, 0, 1) / [0.9505, 1, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


SEEN = {  # linear RGB as it is seen with each colour blindness (Machado et al., 2009)
    "protanopia": [[0.1523, 1.0526, -0.2049], [0.1145, 0.7863, 0.0992], [-0.0039, -0.0481, 1.0520]],
    "deuteranopia": [[0.3673, 0.8606, -0.228], [0.2801, 0.6725, 0.0474], [-0.0118, 0.0429, 0.9689]],
    "tritanopia": [[1.2555, -0.0767, -0.1788], [-0.0784, 0.9308, 0.1476], [0.0047, 0.6914, 0.3039]],
    "none": np.eye(3),
}


def colours_of(theme):
    """The colours of the style by name."""
    blocks = re.findall(r":root \{(.*?)\}", (FILES / "style.css").read_text("utf-8"), re.S)
    return dict(re.findall(r"--([a-z0-9]+): (#[0-9a-f]{6});", blocks[theme == "dark"]))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_texts_and_lines_stand_out_from_the_page(theme):
    """WCAG 2: 4.5 to 1 for texts, 3 to 1 for the lines that tell topics apart."""
    colours = colours_of(theme)
    for back in ("page", "panel", "chosen"):
        for name in ("ink", "muted", "accent"):
            assert contrast(colours[name], colours[back]) >= 4.5, f"{name} on {back}"
    for back in ("page", "panel"):
        for i in range(1, 7):
            assert contrast(colours[f"c{i}"], colours[back]) >= 3, f"c{i} on {back}"


@pytest.mark.parametrize("blindness", SEEN)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_of_topics_can_be_told_apart(theme, blindness):
    colours = colours_of(theme)
    seen = [lab(SEEN[blindness] @ linear(colours[f"c{i}"])) for i in range(1, 7)]
    apart = [np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)]
    assert min(apart) > 12
