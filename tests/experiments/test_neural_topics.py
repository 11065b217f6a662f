"""The studies of notebooks 17 and 18: what they measure, and the figures they draw."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from simulated import lda_corpus

from experiments import figures, study
from experiments.report.tables import model_label
from experiments.results import measure
from experiments.studies.other_papers import autoencoders, lecture, neural_topics
from lla.corpus import Corpus, split_corpus
from lla.peers.simulate import random_phi

FAST = {"n_topics": 3, "hidden_size": 8, "n_epochs": 6, "batch_size": 10, "learning_rate": 0.02}
MODELS = {
    "vae": FAST,
    "ae": FAST,
    "prodlda": FAST,
    "dirichlet_vae": FAST | {"warm_up": 1},
    "topic_lla_from_prodlda": {"prodlda": FAST, "n_iterations": 1, "hidden_size": 4},
}
LDA = {"n_topics": 3, "n_sweeps": 5}


@pytest.fixture(scope="module")
def split():
    phi = random_phi(30, 3, 0.1, 1)
    return split_corpus(lda_corpus(30, 30, phi, np.full(3, 0.2)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fits")


@pytest.fixture(scope="module")
def fits(split, folder):
    return neural_topics.neural_fits(split, MODELS, [1], folder)


@pytest.fixture(scope="module")
def measures(split, folder, fits):
    names = ("vae", "ae", "prodlda", "dirichlet_vae")
    found = {name: [study.run(split, name, MODELS[name], 1, folder)] for name in names}
    measures = neural_topics.measures_of(split, found, fits)
    measures |= neural_topics.bound_measures(split, fits, [1, 5], n_documents=4)
    return measures | neural_topics.lda_measures(split, LDA, [1], folder)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_neural_models_alone_have_their_measures(measures, fits):
    assert list(fits) == ["vae", "ae", "prodlda", "dirichlet_vae"]
    table = neural_topics.model_table(measures)
    assert list(table.columns) == list(neural_topics.COLUMNS.values())
    assert set(table.index[table["ELBO"].notna()]) == {"vae", "prodlda", "dirichlet_vae"}
    assert table["active units"].notna()["vae"] and table["largest θ"].isna()["vae"]
    assert table["largest θ"].notna()["prodlda"] and table["active units"].isna()["prodlda"]
    assert {"npmi.lda", "usage.lda"} <= measures.keys() and "elbo.lda" not in measures
    bounds = neural_topics.bound_table(measures)
    assert set(bounds.index) == {"vae", "prodlda", "dirichlet_vae"} and list(bounds) == [1, 5]


def test_a_bound_that_is_not_finite_is_left_out(split, fits, monkeypatch):
    row = {"elbo": np.inf, "npmi": 0.1}
    monkeypatch.setattr(neural_topics, "model_row", lambda *_: row)
    found = neural_topics.measures_of(split, {}, {"vae": fits["vae"]})
    assert set(found) == {"npmi.vae"}


def test_refined_posteriors_have_the_better_bound(split, fits):
    found = neural_topics.amortisation_measures(split, fits, n_steps=80, n_documents=6)
    names = {"vae", "prodlda", "dirichlet_vae"}  # an autoencoder has no bound
    assert set(found) == {f"{m}.{name}" for m in ("encoded", "refined") for name in names}
    for name in names:
        assert found[f"refined.{name}"]["value"] < found[f"encoded.{name}"]["value"]


def test_orders_are_compared_pair_by_pair():
    rising, swapped = np.array([1.0, 2.0, 3.0, 4.0]), np.array([2.0, 1.0, 3.0, 4.0])
    assert neural_topics.same_order(rising, 10 * rising) == 1
    assert neural_topics.same_order(rising, -rising) == 0
    assert neural_topics.same_order(rising, swapped) == pytest.approx(5 / 6)
    assert neural_topics.same_order(rising, np.array([1.0, 1.0, 3.0, 4.0])) == pytest.approx(
        11 / 12
    )
    assert neural_topics.rank_correlation(rising, -rising) == pytest.approx(-1)
    # 1 - 6 Σ d² / (n (n² - 1)) with d = (1, -1, 0, 0)
    assert neural_topics.rank_correlation(rising, swapped) == pytest.approx(1 - 12 / 60)


def test_the_bound_s_order_stands_beside_that_of_another_seed():
    measures = {
        "elbo.a": measure([1.0, 3.0], "elbo"), "perplexity.a": measure([1.0, 1.0], "perplexity"),
        "elbo.b": measure([2.0, 2.0], "elbo"), "perplexity.b": measure([2.0, 2.0], "perplexity"),
        "elbo.c": measure([3.0, 1.0], "elbo"), "perplexity.c": measure([4.0, 4.0], "perplexity"),
        "elbo.a@prior=1": measure([9.0, 9.0], "elbo"), "perplexity.lda": measure([3.0], "x"),
    }  # fmt: skip
    found = neural_topics.order_measures(measures)
    assert found["same_order.elbo"]["values"] == [1.0, 0.0]
    assert found["rank_correlation.elbo"]["values"] == pytest.approx([1.0, -1.0])
    assert found["same_order.seed"]["values"] == [1.0, 1.0]
    one = {name: measure(x["values"][:1], x["unit"]) for name, x in measures.items()}
    assert set(neural_topics.order_measures(one)) == {"same_order.elbo", "rank_correlation.elbo"}
    assert neural_topics.order_measures({"elbo.a": one["elbo.a"]}) == {}


def test_a_sweep_names_values_in_hundredths():
    settings = neural_topics.sweep({"vae": FAST}, "vae", "beta", [0.1, 4])
    values = {name: own["beta"] for name, own in settings.items()}
    assert values == {"vae@beta=10": 0.1, "vae@beta=400": 4}
    assert list(map(model_label, values)) == ["VAE, β = 0.1", "VAE, β = 4"]
    assert model_label("vae") == "VAE"
    assert neural_topics.sweep({}, "vae", "beta", [1.0]) == {}
    found = {"kl.vae@beta=10": measure([3.0], "nats"), "kl.vae@beta=400": measure([1.0], "nats")}
    curve = neural_topics.by_value(found, "kl", "vae")
    assert curve == {0.1: (3.0, 0.0), 4.0: (1.0, 0.0)}
    axes = figures.setting_sweep({"kl": curve}, "β", {"kl": "KL"})
    assert [tick.get_text() for tick in axes[0].get_xticklabels()] == ["0.1", "4"]


def test_algorithm_1_starts_from_the_topics_of_a_neural_model(split, folder, fits):
    lda = study.fit(split, "lda", LDA, 1, folder)
    settings = MODELS["topic_lla_from_prodlda"]
    planned = study.plan(split, "topic_lla_from_prodlda", settings, 1, folder, start=lda)
    assert np.array_equal(planned.topics, fits["prodlda"][0].topics)
    assert planned.config.n_topics == 3
    assert np.isfinite(planned.fit(split).score(split, seed=1, n_particles=2)).all()


def test_figures_show_every_model(measures, fits):
    columns = [
        {m: (x["value"], 0.0) for name, x in measures.items() if (m := _model(name, metric))}
        for metric in ("perplexity", "npmi", "diversity")
    ]
    axes = figures.completion_and_topics(*columns)
    assert [len(ax.get_yticks()) for ax in axes] == [4, 4, 4]
    panels = {m: {"prodlda": (1.0, 0.1), "vae": (2.0, 0.0)} for m in ("elbo", "diversity")}
    assert len(figures.collapse_panels(panels, {"elbo": "a", "diversity": "b"})) == 2
    planes = {"VAE": np.zeros((4, 2))}
    axes = figures.latent_planes(planes, ["a", "a", "b", "c"], n_groups=2)
    assert [t.get_text() for t in axes[0].get_legend().get_texts()] == ["a", "b", "all others"]
    lists = neural_topics.topic_lists(fits, ["prodlda", "none such"], n_topics=2, n_words=3)
    assert lists.shape == (2, 1) and len(lists["prodlda"][0].split()) == 3


def _model(name, metric):
    of, _, model = name.partition(".")
    return model if of == metric and model != "lda" and "@" not in model else ""


def test_neighbours_of_one_group_are_counted():
    points = np.array([[1.0, 0.0], [0.9, 0.1], [-1.0, 0.0], [-0.9, -0.1]])
    assert autoencoders.purity(points, ["a", "a", "b", "b"], n=1) == 1
    assert autoencoders.purity(points, ["a", "b", "a", "b"], n=1) == 0
    assert autoencoders.base_rate(["a", "a", "b", "b"]) == pytest.approx(1 / 3)
    plane = autoencoders.plane_of(np.column_stack([points, points]))
    distances = np.linalg.norm(plane[:, None] - plane, axis=2)
    expected = np.sqrt(2) * np.linalg.norm(points[:, None] - points, axis=2)
    assert np.allclose(distances, expected)
    assert autoencoders.plane_of(points[:, :1]).shape == (4, 2)


def test_measures_of_autoencoders(split, fits):
    groups = ["a", "b"] * (split.corpus.n_documents // 2)
    found = autoencoders.measures_of(split, {"vae": fits["vae"]}, groups)
    assert set(found) == {"entropy.vae", "gap.vae", "purity.vae", "purity.chance"}
    assert 0 < found["entropy.vae"]["value"] <= np.log(30) + 1e-6


def test_the_nearest_gaussians():
    x, density, fits = autoencoders.gaussian_fits()
    assert density.sum() * (x[1] - x[0]) == pytest.approx(1, abs=1e-6)
    (mean, wide), (mode, narrow) = fits.values()
    assert mean == pytest.approx(0.6 * -1.5 + 0.4 * 3.0, abs=1e-3)
    assert mode == pytest.approx(-1.5, abs=0.1) and narrow < 1 < wide
    assert len(figures.divergence_fits(x, density, fits).lines) == 2


def test_estimators_agree_and_the_pathwise_one_has_the_lowest_variance(split, fits):
    corpus = split.observed.select(np.arange(3))
    draws = autoencoders.gradient_draws(fits["vae"][0], corpus, 300)
    assert all(of.shape == (300, 3, 3) for of in draws.values())
    assert autoencoders.estimators_agree(draws)
    biased = draws | {"score_function": draws["pathwise"] + 10}
    assert not autoencoders.estimators_agree(biased)
    found = autoencoders.variance_measures(fits["vae"], corpus, 100)
    values = {name.partition(".")[2]: x["value"] for name, x in found.items()}
    assert values["pathwise"] < values["score_function_baseline"] < values["score_function"]
    axes = figures.estimator_variances({name: (x, 0.0) for name, x in values.items()})
    assert axes.get_xscale() == "log"


def test_topics_of_stop_words_stand_beside_the_lecture(folder):
    """A corpus with one topic of stop words; in that of the other tests there are none."""
    vocabulary = ["the", "and", "of", *(f"w{w}" for w in range(27))]
    phi = random_phi(30, 3, 0.1, 1)
    corpus = lda_corpus(30, 30, phi, np.full(3, 0.2))
    named = Corpus(corpus.words, corpus.offsets, tuple(vocabulary))
    split = split_corpus(named)
    models = {"prodlda": FAST, "prodlda_dropout": FAST | {"batch_norm": False}}
    fits = neural_topics.neural_fits(split, models, [1, 2], folder / "stop words")
    found = lecture.stop_word_measures(split, fits)
    assert found["stop_words.chance"]["value"] == pytest.approx(3 / 30)
    assert len(found["stop_words.prodlda"]["values"]) == 2
    table = lecture.beside_the_lecture(split, fits)
    kinds = ["component collapsing", "stop words", "good topics"]
    assert list(table["list"]) == [kind for kind in kinds for _ in range(3)]
    share = [len({"the", "and", "of"} & set(words.split())) for words in table["ours"][3:6]]
    assert share == sorted(share, reverse=True) and set(table["model"]) == set(models)
    without = split_corpus(corpus)
    assert not lecture.keeps_stop_words(without.corpus)
    assert lecture.stop_word_measures(without, fits) == {}


def test_samples_of_the_lecture_are_dirichlet():
    """The mean is α / Σα, and of symmetric ones the small α has the largest coordinate."""
    draws = lecture.dirichlet_draws(2000)
    sparse, even, skewed = draws.values()
    np.testing.assert_allclose(skewed.mean(axis=0), np.array([5, 50, 100]) / 155, atol=0.01)
    assert sparse.max(axis=1).mean() > 0.95 and even.max(axis=1).mean() < 0.45
    assert all(np.allclose(of.sum(axis=1), 1) for of in draws.values())


def test_a_smaller_concentration_has_larger_atoms():
    """Both share out all that there is; in the figure each is a line."""
    atoms = lecture.process_atoms((0.5, 5.0), n_atoms=100, n=500)
    few, many = atoms.values()
    assert few[0] > many[0] and (np.diff(many) <= 0).all()
    np.testing.assert_allclose([few.sum(), many.sum()], 1, atol=1e-6)
    axes = figures.dirichlet_samples(lecture.dirichlet_draws(10), atoms)
    assert len(axes) == 4 and len(axes[-1].lines) == 2
