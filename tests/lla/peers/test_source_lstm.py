"""The word LSTM beside sources: its mixture by definition, what it learns, and its checkpoints."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from simulated import random_corpus
from source_model import by_definition

from lla.common.errors import InputError
from lla.common.random import torch_stream
from lla.corpus import Corpus, Split, split_corpus
from lla.evaluate.perplexity import perplexity
from lla.inference.config import SOURCES
from lla.inference.emission.sources import SourceParameters, Sources
from lla.peers.counts import Bigram, unigram_probability
from lla.peers.counts.bigram import count_pairs
from lla.peers.source_lstm import (
    FittedSourceLSTM,
    SourceLSTM,
    SourceLSTMConfig,
    SourceMixture,
    fit_source_lstm,
)

V = 12
CONFIG = SourceLSTMConfig(
    embedding_size=4,
    hidden_size=6,
    batch_size=8,
    window=5,
    learning_rate=0.02,
    initial_epochs=1,
    n_epochs=3,
)
LEARNED = SourceParameters(next=0.7, own_next=0.4, recent=0.9, half_life=1.5)


@pytest.fixture(scope="module")
def split():
    return split_corpus(random_corpus(20, V, longest=14, seed=4))


@pytest.fixture(scope="module")
def whole(split):
    return fit_source_lstm(split, CONFIG, 3)


def untrained(split, names=SOURCES, **options):
    """Large random weights beside the counts of the split."""
    config = replace(CONFIG, sources=names, **options)
    network = SourceLSTM(config, V, torch_stream(0))
    with torch.no_grad():
        network.output.weight.mul_(5.0)
    sources = Sources.from_corpus(split.observed, names).replace(LEARNED)
    return FittedSourceLSTM(network, [], split.corpus.vocabulary, sources)


def rows_of(fitted, split):
    found = {}
    fitted.next_items(
        split, lambda at, rows: found.update(zip(at.tolist(), rows.copy(), strict=True))
    )
    return found


def documents_of(corpus):
    return [corpus.document(d).tolist() for d in range(corpus.n_documents)]


def logits_by_document(network, words):
    """Logits before each word of one document, (T, V + 1 + S), float64."""
    late = torch.tensor([network.input.start, *words[:-1]])[:, None]
    return network.output(network.states(late)[0])[:, 0].detach().double()


@pytest.mark.parametrize("names", [SOURCES, ("recent", "next")])
def test_predictions_are_the_mixture_by_definition(split, names):
    fitted = untrained(split, names)
    rows, observed = rows_of(fitted, split), documents_of(split.observed)
    assert sorted(rows) == np.flatnonzero(split.held_out).tolist()
    columns = [SOURCES.index(name) for name in names]
    scores = np.zeros(split.corpus.n_documents)
    for d, words in enumerate(documents_of(split.corpus)):
        logits = logits_by_document(fitted.network, words)
        theta, gate = logits[:, :V].softmax(dim=1).numpy(), logits[:, V:].softmax(dim=1).numpy()
        for t in range(split.n_observed[d], len(words)):
            of_sources = [
                by_definition(observed, words[:t], v, LEARNED, n_words=V) for v in range(V)
            ]
            expected = gate[t, 0] * theta[t] + np.array(of_sources)[:, columns] @ gate[t, 1:]
            found = rows[split.corpus.offsets[d] + t]
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)
            assert found.sum() == pytest.approx(1.0, abs=1e-5)
            scores[d] += np.log(expected[words[t]])
    np.testing.assert_allclose(fitted.score(split), scores, rtol=1e-4, atol=1e-6)


def test_the_loss_leaves_each_token_and_what_follows_it_out(split):
    fitted, observed = untrained(split), documents_of(split.observed)
    objective = SourceMixture.of_corpus(split.observed, fitted.sources)
    loss, expected = 0.0, 0.0
    for d, words in enumerate(observed):
        logits = logits_by_document(fitted.network, words).float()
        late = torch.tensor([fitted.network.input.start, *words[:-1]])[:, None]
        states = fitted.network.states(late)[0][:, 0]
        at = torch.arange(*split.observed.offsets[d : d + 2].tolist())
        loss += objective(fitted.network, states, at, torch_stream(0)).item()
        theta, gate = logits[:, :V].softmax(dim=1), logits[:, V:].softmax(dim=1)
        for t, w in enumerate(words):
            of_sources = by_definition(observed, words[:t], w, LEARNED, (d, t), V)
            joint = np.array([gate[t, 0] * theta[t, w], *(gate[t, 1:].numpy() * of_sources)])
            expected -= np.log(joint.sum())
            share = objective.responsibility[split.observed.offsets[d] + t]
            np.testing.assert_allclose(share, joint[1:] / joint.sum(), rtol=1e-4)
    assert loss == pytest.approx(expected, rel=1e-5)


def test_at_first_the_softmax_learns_alone_and_the_gate_beside_it(split):
    """The gradient is the sum of two: of the softmax over all words, and of the mixture's gate."""
    fitted, g = untrained(split), torch_stream(0)
    output = fitted.network.output
    states = torch.randn(9, CONFIG.hidden_size, generator=torch_stream(1))
    targets = torch.arange(9)
    apart, together = (
        SourceMixture.of_corpus(split.observed, fitted.sources, apart=a) for a in (True, False)
    )
    words = together.words[targets]

    def gradient(loss):
        return torch.autograd.grad(loss, output.weight)[0]

    found = gradient(apart(fitted.network, states, targets, g))
    alone = gradient(
        torch.nn.functional.cross_entropy(output(states)[:, :V], words, reduction="sum")
    )
    mixed = gradient(together(fitted.network, states, targets, g))
    torch.testing.assert_close(found[:V], alone[:V])
    torch.testing.assert_close(found[V:], mixed[V:])
    assert not torch.allclose(mixed[:V], alone[:V], rtol=0.1)
    np.testing.assert_allclose(apart.responsibility, together.responsibility, rtol=1e-6)


def test_a_gate_that_chooses_next_alone_gives_the_bigram(split):
    fitted = untrained(split, ("next",))
    with torch.no_grad():
        fitted.network.output.weight[V:] = 0.0
        fitted.network.output.bias[V:] = torch.tensor([-60.0, 60.0])
    bigram = Bigram(count_pairs(split), unigram_probability(split), LEARNED.next)
    np.testing.assert_allclose(fitted.score(split), bigram.score(split), rtol=1e-4)


def test_a_gate_that_chooses_no_source_gives_the_softmax_over_words(split):
    fitted = untrained(split)
    with torch.no_grad():
        fitted.network.output.weight[V:] = 0.0
        fitted.network.output.bias[V:] = torch.tensor([60.0, -60.0, -60.0, -60.0])
    for d, words in enumerate(documents_of(split.corpus)):
        log_p = logits_by_document(fitted.network, words)[:, :V].log_softmax(dim=1)
        held_out = range(split.n_observed[d], len(words))
        expected = sum(float(log_p[t, words[t]]) for t in held_out)
        assert fitted.score(split)[d] == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_users_who_repeat_what_they_had_are_left_to_recent():
    """Each user has three items of forty, and no order; the softmax alone cannot know them."""
    draw = np.random.default_rng(0)
    documents = [draw.choice(draw.choice(40, size=3, replace=False), size=24) for _ in range(60)]
    corpus = Corpus.from_documents(documents, [f"i{v}" for v in range(40)])
    split = split_corpus(corpus)
    fit = fit_source_lstm(split, replace(CONFIG, n_epochs=8, patience=8, dropout=0.0), 1)
    assert perplexity(fit.score(split), split, split.reported) < 5.0
    assert fit.sources.parameters.half_life > 3.0, "no recency: all that they had counts"
    later = [row for row in fit.history if "warm_up" not in row]
    assert len(later) == len(fit.history) - CONFIG.initial_epochs
    best = min(later, key=lambda row: row["development_perplexity"])
    assert best["source_half_life"] == fit.sources.parameters.half_life


def test_the_result_depends_neither_on_threads_nor_on_an_interruption(tmp_path, split, whole):
    class Stop(Exception):
        pass

    def stop(state):
        raise Stop

    path = tmp_path / "fit.safetensors"
    with pytest.raises(Stop):
        fit_source_lstm(split, CONFIG, 3, checkpoint=path, on_iteration=stop, n_threads=2)
    resumed = fit_source_lstm(split, CONFIG, 3, checkpoint=path, n_threads=1)
    assert resumed.fingerprint() == whole.fingerprint()
    without = [[{**row, "seconds": 0} for row in fit.history] for fit in (resumed, whole)]
    assert without[0] == without[1]
    other = replace(CONFIG, sources=("next",))
    with pytest.raises(InputError, match="holds another fit: sources is"):
        fit_source_lstm(split, other, 3, checkpoint=path)


def test_training_sees_held_out_words_of_development_documents_alone(split, whole):
    words = split.corpus.words.copy()
    document = np.repeat(np.arange(split.corpus.n_documents), split.corpus.lengths)
    changed = split.held_out & split.reported[document]
    words[changed] = (words[changed] + 1) % V
    corpus = Corpus(words, split.corpus.offsets, split.corpus.vocabulary)
    other = Split(corpus, split.observed, split.n_observed, split.development)
    assert fit_source_lstm(other, CONFIG, 3).fingerprint() == whole.fingerprint()


def test_its_size_is_the_word_lstm_with_a_gate_and_the_counts(whole):
    e, h, sources = CONFIG.embedding_size, CONFIG.hidden_size, whole.sources
    size = whole.size()
    assert size.network == V * e + 4 * h * (e + h + 1) + (V + 1 + len(SOURCES)) * (h + 1)
    assert size.phi == len(sources.count) + V + len(SOURCES) + 1
    assert size.n_bytes > 4 * size.network + sources.n_bytes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_samples": 3}, "n_samples is 3: the mixture with sources needs the whole softmax"),
        ({"sources": ()}, "sources: none; name one or more"),
        ({"sources": ("next", "next")}, "sources: next, next; name one or more, each once"),
        ({"sources": ("habit",)}, "sources is 'habit'"),
        ({"sources": "next"}, "sources is 'next': give a list of names"),
        ({"hidden_size": 0}, "hidden_size is 0"),
        ({"initial_epochs": -1}, "initial_epochs is -1"),
    ],
)
def test_invalid_arguments_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        replace(CONFIG, **options)
