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


AE = VAE | {"beta": 0, "n_epochs": 3}


def test_decoded_sentences_are_judged_by_the_language_model_and_the_trigram(corpus, tmp_path):
    split = split_by_part(corpus)
    models = {
        "sentence_lm": VAE | {"latent_size": 0}, "sentence_vae": VAE, "sentence_ae": AE,
        "trigram": {},
    }  # fmt: skip
    found = sentences.decoded_measures(split, models, SEEDS, tmp_path, 6, 4)
    of_prior = {"prior_perplexity", "prior_repeated"}
    of_latent = of_prior | {
        "prior_distinct", "path_perplexity", "path_shared", "path_distinct"
    }  # fmt: skip
    expected = {f"{m}.{name}" for m in of_latent for name in ("sentence_vae", "sentence_ae")}
    assert found.keys() == expected | {f"{m}.sentence_lm" for m in of_prior}
    assert all(len(x["values"]) == 2 for x in found.values())
    for name, one in found.items():
        assert one["value"] > 1 if "perplexity" in name else 0 <= one["value"] <= 1
    without = {name: models[name] for name in ("sentence_vae", "trigram")}
    assert sentences.decoded_measures(split, without, SEEDS, tmp_path, 6, 4) == {}


class Line:
    """In place of a fit: a sentence's latent mean is its word, and a point's word is its place."""

    network = type("Network", (), {"config": type("Config", (), {"latent_size": 1})})

    def posterior(self, corpus):
        mean = np.array([[corpus.document(d)[1] - 3.0] for d in range(corpus.n_documents)])
        return mean, np.ones_like(mean)

    def decode(self, z, first, last, without=()):
        return [[3 + round(x)] if x > 0.5 else [] for x in z[:, 0].tolist()]

    def sample(self, z, first, last, seed, without=()):
        return [[4]] * (len(z) - 1) + [[5, 5]]


class Uniform:
    """Every word has probability 1/8."""

    def score(self, split):
        return -np.log(8) * split.n_held_out


def test_what_is_measured_of_a_path_and_of_the_prior():
    ends = Corpus.from_documents([[0, 3, 1], [0, 9, 1]], VOCABULARY)
    row = sentences.path_row(Line(), Uniform(), ends, n_paths=9, n_steps=4, seed=1)
    # From a to g over c and e: no sentence stands twice, and inside the line none is an end.
    assert row["path_perplexity"] == pytest.approx(8)
    assert row["path_distinct"] == 1 and row["path_shared"] == 0
    row = sentences.path_row(Line(), Uniform(), ends, n_paths=1, n_steps=13, seed=1)
    # In halves: b to g and no word are 7 sentences, and one of the 11 inside the line is g.
    assert row["path_distinct"] == pytest.approx(7 / 13)
    assert row["path_shared"] == pytest.approx(1 / 22)
    row = sentences.prior_row(Line(), Uniform(), ends, n=10, seed=1)
    assert row["prior_perplexity"] == pytest.approx(8) and row["prior_repeated"] == 0.8
    assert 0.1 < row["prior_distinct"] < 0.6
    assert sentences.shared_words([3, 4, 4], [4, 5]) == pytest.approx(1 / 3)
    assert sentences.shared_words([], []) == 0
    split = sentences.as_split([[3, 4], []], ends)
    assert [split.corpus.document(d).tolist() for d in (0, 1)] == [[0, 3, 4, 1], [0, 1]]
    assert split.n_held_out.tolist() == [3, 1] and split.reported.all()


def test_a_plain_autoencoder_has_no_bound(corpus, tmp_path):
    split = split_by_part(corpus)
    found = sentences.compare(split, {"sentence_ae": AE, "trigram": {}}, SEEDS[:1], tmp_path)
    measures = sentences.measures_of(split, found)
    of_it = {name.split(".")[0] for name in measures if name.endswith(".sentence_ae")}
    assert of_it == {"exact", "accuracy", "parameters", "seconds"}
    scores = sentences.sentence_scores(split, SEEDS[:1], found)
    assert set(scores.sums) == {"perplexity.trigram"}


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
    assert measures["opposites.random pairs"]["value"] == 1 == 2 * base["inner.chance"]
    for name in (
        "cross_entropy", "exact", "shared", "shared_cosine", "purity", "auc", "central", "inner",
    ):  # fmt: skip
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


def test_the_share_of_frequent_phrases_nearer_to_the_centre():
    count = np.array([5, 3, 1, 1])
    assert phrases.inner_share(np.array([1.0, 2.0, 3.0, 4.0]), count) == pytest.approx(1)
    assert phrases.inner_share(np.array([4.0, 3.0, 2.0, 1.0]), count) == pytest.approx(0)
    assert phrases.inner_share(np.array([1.0, 2.0]), np.array([1, 1])) is None
    draw = np.random.default_rng(0)
    distance, count = draw.integers(1, 30, 80).astype(float), draw.integers(1, 4, 80)
    pairs = [(i, j) for i in range(80) for j in range(80) if count[i] > count[j]]
    wins = [(distance[i] < distance[j]) + (distance[i] == distance[j]) / 2 for i, j in pairs]
    assert phrases.inner_share(distance, count) == pytest.approx(np.mean(wins))


def test_phrases_that_crowd_at_the_centre_are_told_from_a_gaussian():
    draw = np.random.default_rng(0)
    even = draw.standard_normal((20_000, 3)) @ np.array([[2.0, 1, 0], [0, 1, 0], [0, 0, 0.1]])
    found = phrases.centre_measures(even + 7, np.arange(20_000))
    error = (0.14 * 0.86 / 20_000) ** 0.5
    assert found["central_gaussian"] == pytest.approx(0.1386, abs=1e-4)
    assert found["central"] == pytest.approx(found["central_gaussian"], abs=5 * error)
    assert found["inner"] == pytest.approx(0.5, abs=0.02)
    crowded = even * draw.exponential(1, (20_000, 1)) ** 2
    assert phrases.centre_measures(crowded, np.arange(20_000))["central"] > 0.5
    one = phrases.centre_measures(draw.standard_normal((500, 1)), np.ones(500, int))
    assert "inner" not in one and one["central_gaussian"] == pytest.approx(0.3829, abs=1e-4)


def test_a_word_is_swapped_for_its_opposite_and_for_one_of_its_place(phrase_corpus):
    """The words are single letters: a and b are opposites, and c and d."""
    rows, opposite, random, is_first = phrases.swapped(
        phrase_corpus, [("a", "b"), ("c", "d"), ("a", "x")]
    )
    ids = {word: i for i, word in enumerate(phrase_corpus.vocabulary)}
    listed = [ids[w] for w in "abcd"]
    words = phrases.phrase_words(phrase_corpus)
    assert rows.tolist() == np.flatnonzero(np.isin(words, listed).sum(axis=1) == 1).tolist()
    other = dict(zip(listed, [ids[w] for w in "badc"], strict=True))
    places = set()
    for row, to, drawn, first in zip(rows, opposite, random, is_first, strict=True):
        (place,) = np.flatnonzero(words[row] != to)
        assert to[place] == other[words[row][place]]
        assert first == (words[row][place] in (ids["a"], ids["c"]))
        assert (np.delete(drawn, place) == np.delete(words[row], place)).all()
        places.add(place)
    assert places == {0, 1, 2} and (random > 0).all()
    assert not len(phrases.swapped(phrase_corpus, [("a", "zebra")])[0])


class Sums:
    """In place of a fit: a phrase's vector is the sum of its words' numbers, 0 for the others."""

    def __init__(self, corpus, numbers, head="decoder"):
        self.numbers = np.array([numbers.get(word, 0.0) for word in corpus.vocabulary])
        config = type("Config", (), {"head": head})
        self.network = type("Network", (), {"config": config})

    def encode(self, corpus):
        return self.numbers[phrases.phrase_words(corpus)].sum(axis=1, keepdims=True)

    def positive(self, corpus):
        return self.encode(corpus)[:, 0]


def test_opposites_are_near_or_parted_as_the_vectors_say(phrase_corpus, monkeypatch):
    monkeypatch.setattr(phrases, "SENTIMENTS", (("a", "b"),))
    others = dict(zip("cdefgh", (20.0, -20.0, 30.0, -30.0, 40.0, -40.0), strict=True))
    apart = Sums(phrase_corpus, {"a": 9.0, "b": -9.0})
    near = Sums(phrase_corpus, others | {"a": 0.5, "b": -0.5})
    wrong = Sums(phrase_corpus, {"a": -9.0, "b": 9.0}, head="none")
    found = {
        name: phrases.opposite_measures(fit, phrase_corpus, fit.encode(phrase_corpus))
        for name, fit in (("apart", apart), ("near", near), ("wrong", wrong))
    }
    assert found["apart"]["opposites"] > 1.5 > 0.1 > found["near"]["opposites"]
    assert found["apart"]["parted"] == 1 and "parted" not in found["wrong"]
    wrong.network.config.head = "latent"
    assert (
        phrases.opposite_measures(wrong, phrase_corpus, wrong.encode(phrase_corpus))["parted"] == 0
    )
    monkeypatch.setattr(phrases, "SENTIMENTS", (("a", "zebra"),))
    assert phrases.opposite_measures(near, phrase_corpus, near.encode(phrase_corpus)) == {}


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
