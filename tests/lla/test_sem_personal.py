"""Algorithm 1 with the personal emission: what it finds, keeps and refuses."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from simulated import markov_network, sticky_transition
from small_sem import SMALL, assert_same_fit, checkpoints, small_fit, small_split, whole_fit

from experiments import study
from lla.common.checkpoint import OtherFitError
from lla.common.errors import InputError
from lla.common.files import load_tensors
from lla.corpus import split_corpus
from lla.evaluate.perplexity import perplexity
from lla.inference.emission import PersonalEmission
from lla.lda import LDAConfig, fit_lda
from lla.model import Model
from lla.peers.counts import fit_cache_unigram
from lla.peers.simulate import random_phi, simulate
from lla.sem import SEMConfig, fit_sem, load_sem

MODELS = ["topic_lla", "word_lla", "char_lla"]
TAU = 8.0


def personal_fit(*arguments, **options):
    return small_fit(*arguments, **({"emission": "personal"} | options))


@pytest.fixture(scope="module")
def loop():
    """A personal corpus of a known truth, its LDA, and both emissions fitted from there."""
    network = markov_network(sticky_transition(4))
    phi, tau = np.ascontiguousarray(random_phi(60, 4, 0.1, 1)), np.full(4, TAU)
    corpus, topics = simulate(network, phi, np.full(1000, 40), 1, tau)
    split = split_corpus(corpus)
    lda = fit_lda(split, LDAConfig(4, beta=0.05, n_sweeps=100, alpha_from=30), 0)
    config = SEMConfig(
        n_topics=4,
        beta=0.05,
        n_iterations=6,
        initial_epochs=4,
        patience=6,
        embedding_size=8,
        hidden_size=16,
        learning_rate=1e-2,
        batch_size=16,
        emission="personal",
    )
    joint = fit_sem(split, config, 0, start=lda.topics)
    others = ({"joint": False}, {"emission": "shared"})
    alone, shared = (
        fit_sem(split, config.replace(n_iterations=3, **other), 0, start=lda.topics)
        for other in others
    )
    emission = PersonalEmission(torch.tensor(phi).float(), torch.tensor(tau).float())
    return split, {
        "oracle": Model(network, emission, topics),
        "joint": joint,
        "independent": alone,
        "shared": shared,
    }


def test_joint_training_approaches_the_oracle_and_recovers_tau(loop):
    """Against the cache, the shared emission, and the personal one on LDA's topics.

    Seed 0: measured 7% above the network and urns that drew the corpus.
    """
    split, fits = loop
    scores = {name: model.score(split) for name, model in fits.items()}
    scores["cache"] = fit_cache_unigram(split).score(split)
    figure = {name: perplexity(x, split, split.reported) for name, x in scores.items()}
    assert figure["oracle"] < figure["joint"] < 1.2 * figure["oracle"], figure
    assert figure["joint"] < 0.95 * figure["independent"], figure
    assert figure["joint"] < 0.9 * min(figure["cache"], figure["shared"]), figure
    taus = [row["tau"] for row in fits["joint"].history]
    assert abs(np.log(taus[-1] / TAU)) < abs(np.log(taus[0] / TAU))
    assert taus[-1] == pytest.approx(TAU, rel=0.3)
    assert len({row["tau"] for row in fits["independent"].history}) == 1


@pytest.mark.parametrize("model", MODELS)
def test_an_endless_tau_is_the_plain_fit(model):
    options = {"model": model, "n_iterations": 3}
    ours = personal_fit(tau=1e12, learn_tau=False, **options)
    theirs = whole_fit(**options)
    assert ours.topics.tobytes() == theirs.topics.tobytes()
    assert ours.emission.phi.numpy().tobytes() == theirs.emission.phi.numpy().tobytes()
    for row, plain in zip(ours.history, theirs.history, strict=True):
        for name in plain.keys() - {"seconds", "se_seconds"}:
            assert row[name] == pytest.approx(plain[name], rel=1e-6)


@pytest.mark.parametrize("iteration", [1, 2, 4])
@pytest.mark.parametrize("model", MODELS)
def test_an_interrupted_fit_ends_with_the_same_numbers(tmp_path, model, iteration):
    options = {"model": model, "emission": "personal", "tau_per_topic": True, "se_steps": 2}
    path, (whole, files) = tmp_path / "sem.safetensors", checkpoints(**options)
    path.write_bytes(files[iteration])
    assert_same_fit(small_fit(path, n_threads=2, **options), whole)
    assert_same_fit(load_sem(path, small_split()), whole)


def test_the_tables_of_the_best_iteration_are_returned(tmp_path, monkeypatch):
    """φ and τ of the best model are those it was scored with, from memory and from the file."""
    script, seen = iter([9.0, 5.0, 6.0, 7.0, 8.0]), []

    def perplexity(network, emission, *_):
        seen.append(emission)
        return next(script)

    monkeypatch.setattr("lla.sem.development_perplexity", perplexity)
    path = tmp_path / "sem.safetensors"
    for model in (personal_fit(path), load_sem(path, small_split())):
        for ours, theirs in zip(model.emission.arrays(), seen[1].arrays(), strict=True):
            assert torch.equal(ours, theirs)
    assert not torch.equal(seen[1].phi, seen[4].phi)
    assert seen[1].tau[0] != seen[4].tau[0]


def test_a_file_of_a_shared_emission_holds_no_tables_and_is_no_personal_fits(tmp_path):
    path = tmp_path / "sem.safetensors"
    small_fit(path, n_iterations=2)
    tensors, _ = load_tensors(path)
    assert not {"opened", "tau", "best.opened", "best.tau"} & tensors.keys()
    with pytest.raises(OtherFitError, match="emission is 'shared' there and 'personal' here"):
        personal_fit(path)
    assert whole_fit(emission="personal").fingerprint() != whole_fit().fingerprint()


def test_a_fixed_tau_stays_and_is_part_of_the_fingerprint():
    model = personal_fit(tau=4.0, learn_tau=False)
    assert {row["tau"] for row in model.history} == {4.0} and (model.emission.tau == 4.0).all()
    other = Model(
        model.network,
        PersonalEmission(model.emission.phi, model.emission.tau + 1),
        model.topics,
    )
    assert other.fingerprint() != model.fingerprint()


@pytest.mark.parametrize(("per_topic", "more"), [(False, 1), (True, 3)])
def test_tau_is_counted(per_topic, more):
    model = personal_fit(tau_per_topic=per_topic, n_iterations=2)
    plain = whole_fit(n_iterations=2)
    ours, theirs = model.size(), replace(plain, topics=model.topics).size()
    assert ours.phi == theirs.phi + more and ours.network == theirs.network
    assert ours.n_bytes == theirs.n_bytes + 4 * more


@pytest.mark.parametrize("model", MODELS)
def test_one_call_fits_and_scores_it(tmp_path, model):
    split = small_split()
    lda = study.fit(split, "lda", {"n_topics": 3, "n_sweeps": 5}, 0, tmp_path)
    settings = {"embedding_size": 4, "hidden_size": 5, "n_iterations": 2, "model": model}
    personal = settings | {"emission": "personal"}

    def run(options):
        return study.run(split, model, options, 0, tmp_path, start=lda, n_particles=2)

    runs = [run(options) for options in (settings, personal)]
    again = run(personal)
    assert again.perplexity == runs[1].perplexity != runs[0].perplexity
    assert again.seconds == runs[1].seconds
    assert np.isfinite([run.perplexity for run in runs]).all()


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            {"se_step": "mh"},
            "emission is 'personal' and se_step 'mh': give se_step 'exact' or 'filter'",
        ),
        (
            {"se_step": "gibbs"},
            "emission is 'personal' and se_step 'gibbs': give se_step 'exact' or 'filter'",
        ),
        (
            {"se_step": "beam"},
            "emission is 'personal' and se_step 'beam': give se_step 'exact' or 'filter'",
        ),
        (
            {"model": "word_lla", "objective": "marginal"},
            "emission is 'personal' and objective 'marginal': give objective 'sem'",
        ),
        (
            {"model": "word_lstm"},
            "emission is 'personal' and model 'word_lstm': it has no topics to emit from; give "
            "topic, word or char LLA",
        ),
        ({"tau": 0.0}, "tau is 0.0: give a number above 0"),
        ({"tau": float("inf")}, "tau is inf: give a number above 0"),
        ({"emission": "own"}, "emission is 'own': choose one of shared, personal"),
    ],
)
def test_invalid_configurations_are_errors_of_one_line(options, line):
    with pytest.raises(InputError) as caught:
        SEMConfig(**({"emission": "personal"} | options))
    assert str(caught.value) == line


def test_the_configuration_is_restored_from_json():
    config = replace(SMALL, emission="personal", tau=3.5, tau_per_topic=True, learn_tau=False)
    assert SEMConfig.from_dict(json.loads(json.dumps(asdict(config)))) == config
