"""Algorithm 1 with sources: what it finds, keeps and refuses."""

import json
from dataclasses import asdict, replace
from itertools import pairwise

import numpy as np
import pytest
from small_sem import SMALL, assert_same_fit, checkpoints, small_fit, small_split, whole_fit

import lla
from lla.common.checkpoint import OtherFitError
from lla.common.errors import InputError
from lla.corpus import Corpus, split_corpus
from lla.inference.config import SOURCES
from lla.inference.emission import PersonalEmission, SharedEmission
from lla.lda import LDAConfig, fit_lda
from lla.sem import SEMConfig, fit_sem, load_sem

MODELS = ["topic_lla", "word_lla", "char_lla"]
OPTIONS = [
    {},
    {"emission": "personal", "tau_per_topic": True},
    {"se_step": "filter"},
    {"emission": "personal", "se_step": "filter"},
]


SOME = ("next", "recent")


def sources_fit(*arguments, **options):
    return small_fit(*arguments, **({"sources": SOME} | options))


def whole_sources_fit(**options):
    return whole_fit(**({"sources": SOME} | options))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("options", OPTIONS)
def test_under_a_gate_all_tokens_have_topics_and_an_origin(model, options):
    found = sources_fit(model=model, **options)
    network, n_tokens = found.network.config, found.observed.n_tokens
    assert (network.n_outputs, network.n_sources) == (5, 2)
    assert network.n_inputs == (9 if model == "topic_lla" else 12)
    assert len(found.network.output.bias) == 3 + 1 + 2
    assert found.topics.max() < 3 and found.origins.max() < 3 and len(found.origins) == n_tokens
    share = found.source_table()["share"]
    np.testing.assert_allclose(share, [(found.origins == 1).mean(), (found.origins == 2).mean()])
    assert found.topic_table()["share"].sum() == pytest.approx(1.0)
    documents = found.document_table()
    assert list(documents.columns) == [0, 1, 2, "next", "recent"]
    np.testing.assert_allclose(documents[[0, 1, 2]].sum(axis=1), 1.0)
    lengths = found.observed.lengths
    np.testing.assert_allclose(documents["recent"] @ lengths, (found.origins == 2).sum())
    proportions = found.topic_proportions(found.observed)
    np.testing.assert_allclose(proportions[:, :3].sum(axis=1), 1.0)
    assert (proportions[:, 3:].sum(axis=1) < 1.0 + 1e-5).all()
    if "emission" not in options:
        own = found.origins == 0
        words, topics = found.observed.words[own], found.topics[own]
        expected = SharedEmission.from_assignments(words, topics, 12, 3, 0.05)
        assert (found.emission.phi == expected.phi).all()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("options", OPTIONS)
def test_tokens_are_of_topics_or_sources_and_all_are_counted(model, options):
    """φ from tokens of topics alone; of the personal emission, from those that opened a table."""
    found = whole_sources_fit(model=model, source_form="topic", **options)
    assert found.network.config.n_outputs == 5 and found.topics.max() < 5
    assert found.network.config.n_inputs == (5 if model == "topic_lla" else 12)
    assert found.source_names == ("next", "recent")
    kind = PersonalEmission if "emission" in options else SharedEmission
    assert type(found.emission.topics) is kind and found.emission_kind in ("shared", "personal")
    share = found.source_table()["share"].sum() + found.topic_table()["share"].sum()
    assert share == pytest.approx(1.0)
    documents = found.document_table()
    assert list(documents.columns) == [0, 1, 2, "next", "recent"]
    np.testing.assert_allclose(documents.sum(axis=1), 1.0)
    if kind is SharedEmission:
        words, own = found.observed.words, found.topics < 3
        expected = SharedEmission.from_assignments(words[own], found.topics[own], 12, 3, 0.05)
        assert (found.emission.phi == expected.phi).all()
    row = min(found.history, key=lambda row: row["development_perplexity"])
    np.testing.assert_allclose(
        [row["share_next"], row["share_recent"]], found.source_table()["share"]
    )
    assert row["half_life"] == found.emission.sources.parameters.half_life


def test_without_sources_nothing_of_them_is_there(tmp_path):
    """The emission, the state that is saved, the history and the model's files."""
    path = tmp_path / "sem.safetensors"
    found = small_fit(path)
    assert type(found.emission) is SharedEmission and found.source_names == ()
    assert found.network.config.n_outputs == 3
    assert not any("next" in name or "half" in name for row in found.history for name in row)
    tensors, _ = lla.common.files.load_tensors(path)
    assert not any("source" in name for name in tensors)
    meta = json.loads((lla.save_model(found, tmp_path / "m") / "model.json").read_text())
    assert "sources" not in meta
    assert_same_fit(small_fit(sources=()), found)
    with pytest.raises(InputError, match="this model has no sources"):
        found.source_table()


@pytest.mark.parametrize("iteration", [1, 3])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("options", [*OPTIONS[:2], {"source_form": "topic"}])
def test_an_interrupted_fit_ends_with_the_same_numbers(tmp_path, model, iteration, options):
    options = {"model": model, "se_steps": 2, "sources": SOURCES, **options}
    path, (whole, files) = tmp_path / "sem.safetensors", checkpoints(**options)
    path.write_bytes(files[iteration])
    assert_same_fit(sources_fit(path, n_threads=2, **options), whole)
    assert_same_fit(load_sem(path, small_split()), whole)


def test_fits_of_other_sources_are_other_fits(tmp_path):
    path = tmp_path / "sem.safetensors"
    sources_fit(path, n_iterations=2)
    with pytest.raises(OtherFitError, match="sources"):
        sources_fit(path, n_iterations=2, sources=("next",))
    prints = {whole_fit(sources=names).fingerprint() for names in [("next",), ("recent",), ()]}
    assert len(prints) == 3
    with pytest.raises(OtherFitError, match="source_form"):
        sources_fit(path, n_iterations=2, source_form="topic")
    assert SEMConfig().effective() == SEMConfig(source_form="topic").effective()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("options", [*OPTIONS[:2], {"source_form": "topic"}])
def test_a_saved_model_is_the_same_to_the_last_bit(tmp_path, model, options):
    made = whole_fit(model=model, sources=SOURCES, **options)
    read = lla.load_model(lla.save_model(made, tmp_path / "m"))
    assert read.fingerprint() == made.fingerprint() and read.source_names == SOURCES
    split, history = small_split(), list(made.vocabulary[:3]) * 2
    assert read.score(split).tobytes() == made.score(split).tobytes()
    assert read.recommend(history, 5) == made.recommend(history, 5)
    assert read.topics_ahead(history, 3).tobytes() == made.topics_ahead(history, 3).tobytes()
    assert read.decode(history) == made.decode(history)
    assert read.explain(history).equals(made.explain(history))
    assert "share" not in read.source_table()
    card = (tmp_path / "m" / "MODEL_CARD.md").read_text()
    assert "predicts 3 topics and the sources next, own_next, recent" in card


def test_a_damaged_list_of_sources_is_one_line(tmp_path):
    folder = lla.save_model(whole_sources_fit(), tmp_path / "m")
    meta = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(meta | {"sources": ["habit"]}))
    with pytest.raises(InputError, match="does not fit its weights"):
        lla.load_model(folder)


@pytest.mark.parametrize("names", [("next",), ("own_next",), ("recent",), ("recent", "own_next")])
def test_sources_in_any_choice_and_order(names):
    found = whole_fit(sources=names)
    assert list(found.source_table().index) == list(names)
    assert np.isfinite(found.score(small_split())).all()


def test_pairs_and_words_are_counted_in_the_size():
    """Pairs that occur, words, two concentrations and the half-life; φ of the topics' tokens."""
    found = whole_sources_fit(source_form="topic")
    words, topics = found.observed.words.astype(int), found.topics
    own = topics < 3
    pairs = {
        pair
        for d in range(found.observed.n_documents)
        for pair in pairwise(found.observed.document(d).tolist())
    }
    expected = len({*zip(words[own].tolist(), topics[own].tolist(), strict=True)})
    assert found.size().phi == expected + len(pairs) + 12 + 3
    plain = replace(whole_fit(), topics=np.zeros(len(topics), np.int32))
    assert found.size().n_bytes > plain.size().n_bytes + 8 * len(pairs)


@pytest.mark.parametrize("form", ["gate", "topic"])
def test_a_habit_is_found_in_a_corpus_of_habits(form):
    """Users who walk through the same cycle from other places: `next` says what follows."""
    rng = np.random.default_rng(1)
    documents = [(np.arange(20) + rng.integers(30)) % 30 for _ in range(60)]
    split = split_corpus(Corpus.from_documents(documents, [f"i{w}" for w in range(30)]))
    lda = fit_lda(split, LDAConfig(3, n_sweeps=20), 0)
    options = {"n_topics": 3, "n_iterations": 4, "embedding_size": 6, "hidden_size": 8}
    config = SEMConfig(
        learning_rate=0.02, batch_size=8, sources=("next", "recent"), source_form=form, **options
    )
    found = fit_sem(split, config, 0, start=lda.topics)
    plain = fit_sem(split, config.replace(sources=()), 0, start=lda.topics)
    assert lla.perplexity(found.score(split), split) < 3.0
    assert lla.perplexity(plain.score(split), split) > 8.0
    assert found.source_table()["share"]["next"] > 0.8
    assert (found.explain(["i3", "i4", "i5"])["produced by"].iloc[1:] == "next").all()
    assert found.recommend(["i3", "i4"], 1)[0][0] == "i5"


def test_users_of_one_event_and_a_cold_start():
    corpus = Corpus.from_documents(
        [[0], [1], [2, 3, 2, 3, 2], [3], [1, 1, 1]] * 4, ["a", "b", "c", "d"]
    )
    split = split_corpus(corpus, development=0.3)
    start = np.zeros(split.observed.n_tokens, np.int32)
    config = replace(SMALL, n_topics=2, n_iterations=2, sources=SOURCES)
    found = fit_sem(split, config, 0, start=start)
    assert np.isfinite(found.score(split)).all()
    assert sum(p for _, p in found.recommend([], 4)) == pytest.approx(1.0, abs=1e-5)
    assert sum(p for _, p in found.recommend(["zebra"], 4)) == pytest.approx(1.0, abs=1e-5)
    assert found.topic_proportions(corpus).shape == (20, 5)


def test_two_threads_give_the_same_fit():
    assert_same_fit(whole_fit(sources=SOURCES), sources_fit(sources=SOURCES, n_threads=2))


def test_the_page_shows_a_gate_and_refuses_sources_that_are_topics(tmp_path):
    gated, path = whole_sources_fit(), tmp_path / "page.html"
    page = lla.explore(gated, gated.observed, path).page
    assert '"names":["next","recent"]' in page and "were drawn in training." in page
    found = whole_sources_fit(source_form="topic")
    with pytest.raises(InputError, match="sources next, recent are values of the topic, which the"):
        lla.explore(found, found.observed, path)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"se_step": "mh"}, "sources are next and se_step 'mh': give se_step 'exact' or 'filter'"),
        (
            {"se_step": "gibbs"},
            "sources are next and se_step 'gibbs': give se_step 'exact' or 'filter'",
        ),
        (
            {"model": "word_lla", "objective": "marginal"},
            "sources are next and objective 'marginal': give objective 'sem'",
        ),
        (
            {"model": "word_lstm"},
            "sources are next and model 'word_lstm': it has no topics that they could stand "
            "beside; give topic, word or char LLA",
        ),
        (
            {"sources": ("next", "habit")},
            "sources is 'habit': choose one of next, own_next, recent",
        ),
        (
            {"n_samples": 50},
            "sources are next and n_samples 50: a gate has two softmaxes, both of them computed in "
            "full; give n_samples 0",
        ),
        ({"source_form": "both"}, "source_form is 'both': choose one of gate, topic"),
        ({"sources": ("next", "next")}, "sources: next, next; name each of them once"),
    ],
)
def test_invalid_configurations_are_errors_of_one_line(options, line):
    with pytest.raises(InputError) as caught:
        SEMConfig(**({"sources": ("next",)} | options))
    assert str(caught.value) == line


def test_a_name_alone_is_no_list_of_sources():
    with pytest.raises(InputError, match="sources is 'next'"):
        SEMConfig(sources="next")


def test_the_configuration_is_restored_from_json():
    config = replace(SMALL, sources=("next", "recent"))
    assert SEMConfig.from_dict(json.loads(json.dumps(asdict(config)))) == config


def test_many_topics_with_sources_are_drawn_exactly():
    assert SEMConfig(n_topics=600, sources=("next",)).resolved().se_step == "exact"
    assert SEMConfig(n_topics=600).resolved().se_step == "mh"


def test_independent_training_keeps_the_first_assignments():
    found = sources_fit(joint=False, n_iterations=3)
    assert len({row["share_next"] for row in found.history}) == 1
