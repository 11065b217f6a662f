"""What notebooks 19 and 20 measure and draw: bounds, paths, neighbours, sentiment."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from readable import assert_readable

from data_prep.phrases import prepare_phrases
from data_prep.sentences import split_by_part
from experiments import figures
from experiments.studies.other_papers import phrases, sentences
from lla.common.errors import InputError
from lla.corpus import Corpus, save_corpus
from lla.evaluate import Size

SEEDS = (1, 2)
VAE = {"latent_size": 2, "embedding_size": 4, "hidden_size": 6, "n_epochs": 2, "n_samples": 3}
VOCABULARY = ("<s>", "</s>", "<unk>", *"abcdefgh")


def labelled_sentences(n=60):
    """Sentences of reviews, of which positive ones end with b and the others with c."""
    draw = np.random.default_rng(0)
    documents, names = [], []
    for i in range(n):
        part = ("train", "train", "train", "development", "test")[i % 5]
        label = ("neg", "pos")[i // 5 % 2]
        body = draw.integers(5, len(VOCABULARY), 5)
        documents.append([0, *body, 4 if label == "pos" else 3, 1])
        names.append(f"{part}/{label}/{i}_7")
    return Corpus.from_documents(documents, VOCABULARY, names)


@pytest.fixture(scope="module")
def corpus():
    return labelled_sentences()


@pytest.fixture(scope="module")
def found(corpus, tmp_path_factory):
    models = {"sentence_lm": {**VAE, "latent_size": 0}, "sentence_vae": VAE, "trigram": {}}
    folder = tmp_path_factory.mktemp("fits")
    return sentences.compare(split_by_part(corpus), models, SEEDS[:1], folder)


def test_measures_of_sentences_follow_from_their_scores(corpus, found):
    split = split_by_part(corpus)
    measures = sentences.measures_of(split, found)
    assert found["sentence_vae"][0].scores.shape == (12,)
    n_words = 12 * 7  # the start is given, the end predicted
    for model in found:
        nll = measures[f"nll.{model}"]["value"]
        expected = np.exp(12 * nll / n_words)
        assert measures[f"perplexity.{model}"]["value"] == pytest.approx(expected)
    assert measures["elbo.sentence_lm"] == {**measures["nll.sentence_lm"], "unit": "elbo"}
    assert {f"{name}.sentence_vae" for name in sentences.LATENT} <= measures.keys()
    assert "kl.sentence_lm" not in measures
    scores = sentences.sentence_scores(split, SEEDS[:1], found)
    scores.check_belongs_to({"measures": measures}, "scores")
    assert scores.n_documents("perplexity.sentence_vae") == 12


def test_facts_of_a_corpus(corpus):
    facts = sentences.corpus_facts(corpus)
    assert facts == {
        "train": 36, "development": 12, "test": 12, "words": 360, "unknown": 0, "vocabulary": 8,
    }  # fmt: skip
    assert sentences.sources_are_apart(corpus)
    twice = Corpus(
        corpus.words, corpus.offsets, VOCABULARY, {}, ("train/x",) * 30 + ("test/x",) * 30
    )
    assert not sentences.sources_are_apart(twice)
    changed = sentences.with_state_size({"a": {"hidden_size": 3}, "trigram": {}}, 5)
    assert changed == {"a": {"hidden_size": 5}, "trigram": {}}


def test_a_path_begins_and_ends_with_the_sentences_themselves(corpus, tmp_path):
    fitted = sentences.study.fit(split_by_part(corpus), "sentence_vae", VAE, 1, tmp_path)
    test = sentences.test_sentences(corpus)
    table = sentences.paths(fitted, test, 2, 3, seed=1)
    written = {" ".join(test.items(d)[1:-1]) for d in range(12)}
    assert table.shape == (5, 2) and list(table.index) == ["from", "0.00", "0.50", "1.00", "to"]
    assert set(table.loc["from"]) | set(table.loc["to"]) <= written
    assert not table.iloc[1:-1].apply(lambda column: column.str.contains("<")).any(axis=None)
    half = pd.DataFrame({"p": ["from", "x", "x", "y", "y", "to"]})
    assert sentences.distinct_share(half) == 0.5


@pytest.fixture(scope="module")
def phrase_corpus(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("phrases")
    save_corpus(corpus, folder / "sentences")
    return prepare_phrases(folder / "phrases", None, folder / "sentences")


PHRASES = {"embedding_size": 4, "hidden_size": 6, "n_epochs": 2, "batch_size": 16}


def test_phrases_are_compared_with_random_pairs_and_a_trigram(phrase_corpus, tmp_path):
    split = split_by_part(phrase_corpus)
    configs = phrases.configs_of({"plain": PHRASES, "head": PHRASES | {"head": "decoder"}}, True)
    found = phrases.compare(split, configs, [1], tmp_path, n_neighbours=3)
    base = phrases.baselines(split)
    measures = phrases.measures_of(found, base)
    for name in ("cross_entropy", "exact", "shared", "shared_cosine", "purity", "auc"):
        for model in ("plain", "head"):
            assert np.isfinite(measures[f"{name}.{model}"]["value"]), name
    assert 0.5 < base["auc.own share"] <= 1
    assert base["purity.random pairs"] >= 0.5
    assert phrases.configs_of(
        {"plain": PHRASES, "head": PHRASES | {"head": "decoder"}}, False
    ).keys() == {"plain"}
    fits = {"plain": phrases.fit(split, "plain", configs["plain"], 1, tmp_path)}
    assert phrases.excludes_queries(fits, phrase_corpus)
    with pytest.raises(InputError, match="zebra is no word of the phrases"):
        phrases.nearest_phrases(fits, phrase_corpus, ["a b zebra"], 2)
    with pytest.raises(InputError, match="2 words; give 3"):
        phrases.nearest_phrases(fits, phrase_corpus, ["a b"], 2)


def test_a_probe_finds_what_the_vector_says_and_nothing_else(phrase_corpus):
    share = phrases.positive_share(phrase_corpus)
    draw = np.random.default_rng(0)
    telling = np.column_stack(
        [share + 0.01 * draw.standard_normal(len(share)), np.ones(len(share))]
    )
    best = phrases.occurrence_auc(share, phrase_corpus)
    assert phrases.probe_auc(telling, phrase_corpus) == pytest.approx(best, abs=0.03)
    assert phrases.probe_auc(draw.standard_normal((len(share), 2)), phrase_corpus) < 0.75
    signs = np.where(share > 0.5, 1.0, -1.0)[:, None]
    values = phrases.neighbour_measures(phrase_corpus, signs + 1e-3 * telling[:, :1], 3)
    assert values["purity"] > 0.95


def test_unseen_phrases_are_those_of_no_training_source(phrase_corpus):
    items = [tuple(phrase_corpus.items(d)) for d in range(phrase_corpus.n_documents)]
    parts = phrases.part_of(phrase_corpus)
    trained = {w for w, part in zip(items, parts, strict=True) if part == "train"}
    assert phrases.is_unseen(phrase_corpus).tolist() == [w not in trained for w in items]


@pytest.fixture
def closed():
    """Figures are closed after the test."""
    yield
    plt.close("all")


def test_figures_show_their_numbers_and_can_be_read(closed):
    names = ["sentence_lm", "sentence_vae", "sentence_vae_words", "trigram"]
    nll = {name: (40.0 + i, 0.2) for i, name in enumerate(names)}
    elbo = {name: (value + 0.5, 0.2) for name, (value, _) in nll.items()}
    ax = figures.sentence_bounds(nll, elbo, {"sentence_vae": (2.0, 0.1)})
    segments = [path.vertices[:, 0].tolist() for path in ax.collections[0].get_paths()]
    assert segments == [[40.5, 40.5], [39.5, 41.5], [42.5, 42.5], [43.5, 43.5]]
    assert ax.lines[0].get_xdata().tolist() == [40.5, 41.5, 42.5, 43.5]
    assert_readable(ax.figure)
    ax = figures.against_base({"one": (0.3, 0.1), "another model": (0.2, 0.0)}, 0.1, "A", "share")
    assert [bar.get_width() for bar in ax.patches] == [0.3, 0.2]
    assert_readable(ax.figure)
    draw = np.random.default_rng(0)
    axes = figures.latent_space(
        draw.standard_normal((50, 3)), draw.random(50), "share", signed=True
    )
    assert len(axes) == 2
    assert_readable(axes[0].figure)


def test_sizes_are_counted(found):
    assert found["sentence_vae"][0].size.parameters > found["sentence_lm"][0].size.parameters
    assert isinstance(found["trigram"][0].size, Size)
