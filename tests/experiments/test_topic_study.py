"""What the notebooks on topics share: the reference, quality seed by seed, the tree of users."""

import numpy as np
import pytest
from simulated import random_corpus

import lla
from experiments import results
from experiments.corpora import prepare_corpus
from experiments.studies import table4, topics
from lla.common.errors import InputError
from lla.common.files import write_json
from lla.corpus import Corpus, split_corpus
from lla.topics.proximity import sequence_proximity
from lla.topics.quality import topic_quality

TINY = {"embedding_size": 4, "hidden_size": 5, "n_iterations": 2, "beta": 0.1}
LDA = {"n_topics": 4, "beta": 0.1, "n_sweeps": 20}


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "RESULTS", tmp_path / "results")
    results.run_dir("smoke").mkdir(parents=True)
    return tmp_path


def save_data_prep(corpus: Corpus) -> None:
    extra = {"source": corpus.manifest["source"]}
    content = {"config": corpus.manifest["options"], "extra": extra}
    write_json(results.run_dir("smoke") / "data_prep.json", content)


def test_the_reference_is_all_other_documents_whole(root):
    settings = {"documents": ":4", "vocabulary": 300, "max_words": 600}
    corpus = prepare_corpus("wikipedia", root / "corpus", settings)
    save_data_prep(corpus)
    reference = topics.reference_corpus("smoke", corpus)
    assert not set(reference.names) & set(corpus.names)
    assert reference.n_documents > 50 and reference.n_words > corpus.n_words
    assert reference.lengths.max() > 600
    again = topics.reference_corpus("smoke", corpus)
    assert again.fingerprint == reference.fingerprint


def test_documents_that_cannot_be_told_apart_and_none_left_are_one_line(root):
    corpus = prepare_corpus("wikipedia", root / "corpus", {"documents": ":9", "vocabulary": 100})
    save_data_prep(corpus)
    bare = Corpus(corpus.words, corpus.offsets, corpus.vocabulary, corpus.manifest)
    with pytest.raises(InputError, match="documents have no names"):
        topics.reference_corpus("smoke", bare)
    whole = prepare_corpus("wikipedia", root / "whole", {"vocabulary": 100})
    save_data_prep(whole)
    with pytest.raises(InputError, match="all of its documents are in the corpus"):
        topics.reference_corpus("smoke", whole)


def corpora() -> tuple[Corpus, Corpus]:
    """A training corpus and a reference of the same words."""
    draw = np.random.default_rng(3)
    words = tuple(f"word{n}" for n in range(30))
    made = [
        Corpus.from_documents([draw.integers(30, size=40) for _ in range(20)], words)
        for _ in range(2)
    ]
    return made[0], made[1]


def test_quality_is_the_librarys_seed_by_seed():
    training, reference = corpora()
    draw = np.random.default_rng(1)
    phis = [draw.dirichlet(np.full(30, 0.2), size=5).T for _ in range(2)]
    found = topics.quality_measures({"lda": phis, "one": phis[:1]}, training, reference, n=5)
    for seed, phi in enumerate(phis):
        row = topic_quality({"x": [phi]}, training, reference, n=5).loc["x"]
        for metric in topics.UNITS:
            assert found[f"{metric}.lda"]["values"][seed] == pytest.approx(row[metric])
    whole = topic_quality({"lda": phis}, training, reference, n=5).loc["lda"]
    assert found["stability.lda"]["values"] == [pytest.approx(whole["stability"])]
    assert "stability.one" not in found, "one seed has no stability"


def test_proximity_has_a_value_per_seed_lag_and_embedding(tmp_path):
    split = split_corpus(random_corpus(40, longest=30, seed=2))
    ldas = [lla.fit_lda(split, lla.LDAConfig(n_topics=6, n_sweeps=5), seed) for seed in (1, 2)]
    config = lla.SEMConfig(n_topics=6, **TINY)
    models = [lla.fit_sem(split, config, lda.seed, start=lda.topics) for lda in ldas]
    offsets = split.observed.offsets
    found = topics.proximity_measures(models, ldas, offsets, [1, 3], 19)
    assert len(found) == 3 * 2 * 2 + 1
    own = sequence_proximity(
        models[1].topic_embedding(), models[1].topics, offsets, lags=[1, 3], n_permutations=19
    )
    assert found["proximity.topic_lla@3"]["values"][1] == own.loc[3, "correlation"]
    assert found["p_value.topic_lla@1"]["values"][1] == own.loc[1, "p_value"]
    assert found["p_value.level"]["values"] == [0.05, 0.05]


def test_the_tree_of_simulated_users_is_named_and_compared_with_the_truth(root):
    folder = results.work_dir("smoke") / "users" / "clicks"
    options = {"n_users": 40, "n_items": 100, "n_types": 2}
    corpus = prepare_corpus("clicks", folder / "corpus", options)
    config = {"lda": LDA, "models": {"topic_lla": TINY}}
    path = results.run_dir("smoke") / "user_modeling_clicks.json"
    write_json(path, {"config": config, "seeds": [1]})
    found = topics.users_tree("smoke", "clicks")
    assert len(found.names) == 4 and set(found.hierarchy.order) == set(range(4))
    (measured,) = found.measures.values()
    assert -1 <= measured["value"] <= 1
    assert "clicks" in corpus.manifest


def test_more_corpora_are_rows_of_table_4(root, capsys):
    prepare_corpus(
        "articles", results.work_dir("smoke") / "articles" / "corpus",
        {"documents": ":12", "vocabulary": 200, "max_words": 100},
    )  # fmt: skip
    models = {"independent": TINY | {"joint": False}, "topic_lla": TINY}
    settings = {"articles": {"lda": LDA, "models": models}}
    found = table4.run_corpora("smoke", settings, [1], 2)
    assert {"lda", "lda_online", "independent", "topic_lla"} <= set(found["articles"])
    result = results.load_result("smoke", "joint_vs_independent_articles")
    value = found["articles"]["topic_lla"][0].perplexity
    assert result["measures"]["perplexity.topic_lla"]["value"] == value
    assert result["extra"]["particles"] == 2
    assert (
        "table-4-wikipedia: topic LLA below independent topic LLA, articles"
        in capsys.readouterr().out
    )
