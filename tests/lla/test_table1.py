"""All five models of Table 1, trained with either objective: what each must be able to do."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from simulated import sticky_split
from small_sem import SMALL, Stop, assert_same_fit, small_split, start_topics, stop_after

from lla.common.errors import InputError
from lla.corpus import Corpus, split_corpus
from lla.evaluate import size_of_counts
from lla.evaluate.perplexity import perplexity
from lla.lda import LDAConfig, fit_lda
from lla.lstm import MODELS, CharacterConfig
from lla.peers.counts import fit_unigram
from lla.sem import SEMConfig, fit_sem, load_sem

KINDS = [(model, "sem") for model in MODELS] + [("word_lla", "marginal"), ("char_lla", "marginal")]
LETTERS = CharacterConfig(embedding_size=6, hidden_size=8, min_words=1)


def config_of(model, objective, **options):
    return replace(SMALL, model=model, objective=objective, characters=LETTERS, **options)


def fit(model, objective, split=None, checkpoint=None, on_iteration=None, n_threads=1, **options):
    split = split or small_split()
    config = config_of(model, objective, **options)
    topics = start_topics(split, config.n_topics) if config.has_topics else None
    return fit_sem(
        split,
        config,
        3,
        start=topics,
        checkpoint=checkpoint,
        on_iteration=on_iteration,
        n_threads=n_threads,
    )


@cache
def whole_fit(model, objective):
    """`fit` from start to end, which tests compare with and none changes."""
    return fit(model, objective)


def assert_same(one, other):
    if one.emission is not None:
        assert_same_fit(one, other)
    assert one.fingerprint() == other.fingerprint()


@pytest.mark.parametrize(("model", "objective"), KINDS)
def test_result_does_not_depend_on_threads(model, objective):
    assert_same(whole_fit(model, objective), fit(model, objective, n_threads=2))


@pytest.mark.parametrize(("model", "objective"), KINDS)
def test_a_stopped_fit_resumes_to_the_same_result(model, objective, tmp_path):
    path, whole = tmp_path / "fit.safetensors", whole_fit(model, objective)
    with pytest.raises(Stop):
        fit(model, objective, checkpoint=path, on_iteration=stop_after(2))
    resumed = fit(model, objective, checkpoint=path)
    assert_same(whole, resumed)
    assert_same(whole, load_sem(path, small_split()))


SENTENCES = [
    "the cat sat on the mat and looked at the door of the house",
    "a dog ran to the gate and barked at the man with the hat",
    "rain fell on the hills all night and the river rose by morning",
    "she read the letter twice and put it back into the blue box",
    "they built a boat of wood and sailed it down the wide river",
    "the train left at noon with no one but the old man on board",
    "he sold his farm and went to live by the sea with his son",
    "snow lay on the roof and smoke rose from every house in town",
    "we saw the moon come up behind the trees and walked home",
    "no one knew who had put the red box at the door of the inn",
]


def sentences():
    documents = [sentence.split() for sentence in SENTENCES]
    vocabulary = sorted({word for document in documents for word in document})
    ids = {word: w for w, word in enumerate(vocabulary)}
    documents = [[ids[word] for word in document] for document in documents]
    return Corpus.from_documents(documents, vocabulary)


@pytest.mark.parametrize(("model", "objective"), KINDS)
def test_each_overfits_ten_sentences(model, objective):
    """With a topic a word, or with words, a network that has learned by heart predicts the rest."""
    corpus = sentences()
    # All but the last word or two are observed; the loss is theirs, learned by heart.
    split = split_corpus(corpus, observed=0.9)
    config = config_of(
        model,
        objective,
        n_topics=corpus.n_words,
        beta=1e-3,
        n_iterations=50,
        patience=50,
        initial_epochs=1,
        embedding_size=24,
        hidden_size=32,
        dropout=0.0,
        learning_rate=0.02,
        batch_size=10,
    )
    topics = split.observed.words.astype(np.int32) if config.has_topics else None
    if model == "topic_lla" or objective == "sem":
        config = replace(config, joint=False)  # one topic a word: there is nothing to draw
    history = fit_sem(split, config, 1, start=topics).history
    name = "topic_loss" if "topic_loss" in history[-1] else "word_loss"
    assert history[-1][name] < 0.35 < 3 < history[0][name]


@pytest.fixture(scope="module")
def sticky():
    split = sticky_split(4, 60, 150, 40, seed=2)[0]
    return split, fit_lda(split, LDAConfig(4, beta=0.1, n_sweeps=60), 1)


@pytest.mark.parametrize(("model", "objective"), KINDS)
def test_each_beats_the_unigram_on_unseen_text(model, objective, sticky):
    split, lda = sticky
    config = SEMConfig(
        n_topics=4,
        beta=0.1,
        n_iterations=10,
        patience=10,
        initial_epochs=3,
        embedding_size=16,
        hidden_size=16,
        learning_rate=0.01,
        batch_size=16,
        model=model,
        objective=objective,
        characters=LETTERS,
    )
    fitted = fit_sem(split, config, 1, start=lda.topics if config.has_topics else None)
    scores = fitted.score(split, seed=1, n_particles=4)
    ours = perplexity(scores, split, split.reported)
    base = perplexity(fit_unigram(split).score(split), split, split.reported)
    assert ours < 0.9 * base


def test_sampled_softmax_trains_as_well():
    full = fit("word_lstm", "sem", n_iterations=12, patience=12).history
    sampled = fit("word_lstm", "sem", n_iterations=12, patience=12, n_samples=6).history
    best = [min(row["development_perplexity"] for row in rows) for rows in (full, sampled)]
    assert best[1] < 1.05 * best[0]
    assert full[0]["word_loss"] != sampled[0]["word_loss"]


def test_parameters_are_the_papers_formulas():
    """V = 50,000, K = 1,000, one layer, φ apart: the sizes section 4.1 searches."""
    v, k = 50_000, 1_000
    for h, word_lstm, word_lla, topic_lla in (
        (50, 5.0e6, 2.6e6, 0.12e6),
        (250, 25.5e6, 13.3e6, 1e6),
    ):
        expected = {"word_lstm": word_lstm, "word_lla": word_lla, "topic_lla": topic_lla}
        for model, size in expected.items():
            config = SEMConfig(n_topics=k, embedding_size=h, hidden_size=h, model=model)
            reads, predicts = (k if x == "topic" else v for x in MODELS[model])
            counted = config.network(v).n_parameters()
            assert counted == reads * h + 4 * h * (h + h + 1) + predicts * (h + 1)
            assert counted == pytest.approx(size, rel=0.03)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"model": "line_lla"}, "model is 'line_lla'"),
        ({"objective": "em"}, "objective is 'em'"),
        ({"objective": "marginal"}, "give word or char LLA"),
        ({"objective": "marginal", "model": "word_lstm"}, "give word or char LLA"),
    ],
)
def test_unknown_choices_are_refused(options, says):
    with pytest.raises(InputError, match=says):
        SEMConfig(**options)


@pytest.mark.parametrize(("model", "objective"), KINDS)
def test_sizes_are_what_the_networks_hold(model, objective):
    split = small_split()
    fitted = fit(model, objective, split, n_iterations=1)
    size = fitted.size()
    config, held = fitted.network.config, fitted.network.n_parameters()
    twice = 4 * config.hidden_size + (8 * LETTERS.hidden_size) * (config.input == "character")
    learned = split.corpus.n_words * 3 if objective == "marginal" else 0
    assert size.network == held - config.embedding_size - twice - learned
    if model.endswith("lstm"):
        assert size.phi == 0
    elif objective == "marginal":
        assert size.phi == learned
    else:
        pairs = set(zip(split.observed.words.tolist(), fitted.topics.tolist(), strict=True))
        assert size.phi == len(pairs)
    assert size.parameters == size.network + size.phi
    assert size.n_bytes > 4 * size.network


def test_phi_is_counted_by_its_non_zeros():
    size = size_of_counts(np.array([[0, 2], [1, 0], [0, 0], [0, 0], [0, 1]]))
    assert (size.network, size.phi) == (0, 3)


@pytest.mark.parametrize(("model", "objective"), KINDS)
def test_long_documents_rare_words_and_empty_histories(model, objective):
    """One word, 700 words, and held-out words that were never observed: all have a probability."""
    draw = np.random.default_rng(0)
    documents = [[0], [1], [2, 2, 11], draw.integers(8, size=700)]
    documents += [[*draw.integers(8, size=6), 9, 10] for _ in range(12)]  # 9, 10 held out
    split = split_corpus(Corpus.from_documents(documents, [f"w{w}" for w in range(12)]))
    assert not np.isin([9, 10, 11], split.observed.words).any()
    fitted = fit(model, objective, split, n_iterations=2)
    scores = fitted.score(split, seed=1, n_particles=2)
    assert np.isfinite(scores).all()
    assert (scores[split.n_held_out == 0] == 0).all()
    assert (scores[split.n_held_out > 0] < 0).all()
