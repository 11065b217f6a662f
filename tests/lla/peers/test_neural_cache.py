"""The neural cache on a word LSTM: its formula by hand, degenerate cases, and how it is chosen."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from simulated import random_corpus
from small_sem import SMALL, small_fit

from lla.common.errors import InputError
from lla.corpus import Corpus, split_corpus
from lla.evaluate.perplexity import perplexity
from lla.peers import neural_cache
from lla.peers.neural_cache import (
    NeuralCache,
    NeuralCacheConfig,
    choose,
    fit_neural_cache,
)
from lla.sem import fit_sem

V = 12


@pytest.fixture(scope="module")
def split():
    return split_corpus(random_corpus(15, V, longest=14, seed=4))


@pytest.fixture(scope="module")
def model(split):
    """A word LSTM whose states matter."""
    fitted = fit_sem(split, SMALL.replace(model="word_lstm", n_iterations=1), 1)
    with torch.no_grad():
        for parameter in fitted.network.parameters():
            parameter.mul_(3.0)
    return fitted


def rows_of(fitted, split):
    found = {}
    fitted.next_items(
        split, lambda at, rows: found.update(zip(at.tolist(), rows.copy(), strict=True))
    )
    return found


@pytest.mark.parametrize("size", [3, 2000])
def test_it_is_the_formula_written_out(split, model, size):
    cache = NeuralCache(model, flatness=0.8, share=0.3, cache_size=size)
    rows = rows_of(cache, split)
    assert sorted(rows) == np.flatnonzero(split.held_out).tolist()
    scores = np.zeros(split.corpus.n_documents)
    for d in range(split.corpus.n_documents):
        words = split.corpus.document(d).tolist()
        late = torch.tensor([model.network.input.start, *words[:-1]])[:, None]
        with torch.no_grad():
            s = model.network.states(late)[0][:, 0]
            softmax = model.network.output(s).softmax(dim=1).double().numpy()
        s = s.double().numpy()
        for t in range(split.n_observed[d], len(words)):
            expected = softmax[t].copy()
            before = range(max(0, t - size), t)
            if t > 0:
                weights = np.exp([0.8 * s[t] @ s[i] for i in before])
                expected *= 0.7
                for i, weight in zip(before, weights / weights.sum(), strict=True):
                    expected[words[i]] += 0.3 * weight
            np.testing.assert_allclose(
                rows[split.corpus.offsets[d] + t], expected, rtol=1e-4, atol=1e-7
            )
            scores[d] += np.log(expected[words[t]])
    np.testing.assert_allclose(cache.score(split), scores, rtol=1e-4)


def test_a_share_of_zero_is_the_word_lstm_itself(split, model):
    cache = NeuralCache(model, flatness=1.0, share=0.0)
    np.testing.assert_allclose(cache.score(split), model.score(split), rtol=1e-4)


def test_few_words_at_a_time_change_nothing(split, model, monkeypatch):
    cache = NeuralCache(model, flatness=0.5, share=0.4)
    whole = cache.score(split)
    monkeypatch.setattr(neural_cache, "LOGITS", 2 * V)
    np.testing.assert_allclose(cache.score(split), whole, rtol=1e-5)


def test_the_choice_is_the_best_of_the_grid_on_development_documents(split, model):
    chosen = choose(model.network, split, 2000)
    for theta, share in [(0.0, 0.5), (1.0, 0.2), (0.3, 0.0)]:
        scores = NeuralCache(model, theta, share).score(split)
        loss = np.log(perplexity(scores, split, split.development))
        assert chosen.loss <= loss + 1e-6
    scores = NeuralCache(model, chosen.flatness, chosen.share).score(split)
    assert np.log(perplexity(scores, split, split.development)) == pytest.approx(chosen.loss)


def test_documents_that_repeat_their_words_take_a_large_share():
    draw = np.random.default_rng(0)
    documents = [draw.choice(draw.choice(40, size=3, replace=False), size=24) for _ in range(40)]
    split = split_corpus(Corpus.from_documents(documents, [f"i{v}" for v in range(40)]))
    config = SMALL.replace(model="word_lstm", n_iterations=1)
    model = fit_sem(split, config, 1)
    cache = fit_neural_cache(split, NeuralCacheConfig(), 1, start=model)
    alone = perplexity(model.score(split), split, split.reported)
    assert cache.share > 0.5
    assert perplexity(cache.score(split), split, split.reported) < 0.3 * alone
    assert cache.seconds > model.seconds


def test_a_checkpoint_keeps_the_choice_and_refuses_another_fit(tmp_path, split, model):
    path = tmp_path / "cache.safetensors"
    cache = fit_neural_cache(split, NeuralCacheConfig(), 1, start=model, checkpoint=path)
    again = fit_neural_cache(split, NeuralCacheConfig(), 1, start=model, checkpoint=path)
    assert again.fingerprint() == cache.fingerprint() and again.seconds == cache.seconds
    assert cache.fingerprint() != replace(cache, flatness=9.0).fingerprint()
    assert cache.size().parameters == model.size().parameters + 2
    with pytest.raises(InputError, match="holds another fit: size is 2000 there and 5 here"):
        fit_neural_cache(split, NeuralCacheConfig(size=5), 1, start=model, checkpoint=path)


def test_what_has_no_states_over_words_is_refused(split):
    with pytest.raises(InputError, match="model is a topic_lla: give a word or character LSTM"):
        fit_neural_cache(split, start=small_fit(n_iterations=1))
    with pytest.raises(InputError, match="size is 0"):
        NeuralCacheConfig(size=0)
