"""Arguments of the wrong kind: one line at every public entrance, before anything is computed."""

from dataclasses import fields
from functools import partial

import numpy as np
import pytest
from simulated import all_observed, random_corpus
from small_sem import SMALL, assert_same_fit, small_fit, small_split, start_topics

import lla
from lla.common.errors import InputError
from lla.corpus import Corpus, split_corpus
from lla.inference.config import TrainConfig
from lla.lda import LDAConfig, fit_lda, load_lda
from lla.lstm import CharacterConfig, NetworkConfig
from lla.peers.autoencoder import AutoencoderConfig, fit_autoencoder
from lla.peers.counts import (
    BigramConfig,
    CacheUnigramConfig,
    PopularConfig,
    UnigramConfig,
    fit_bigram,
    fit_cache_unigram,
    fit_popular,
    fit_unigram,
)
from lla.peers.crnn import CRNNConfig, ShrunkGRUConfig, fit_crnn
from lla.peers.ddlda import DDLDAConfig, fit_ddlda
from lla.peers.sasrec import SASRecConfig, fit_sasrec
from lla.peers.sequence import GRU4RecConfig, fit_gru4rec
from lla.sem import SEMConfig, fit_sem, load_sem

FITS = {
    "lda": (fit_lda, LDAConfig(n_topics=3, n_sweeps=1)),
    "ddlda": (fit_ddlda, DDLDAConfig(n_topics=3, n_sweeps=1)),
    "sem": (partial(fit_sem, start=start_topics(small_split())), SMALL),
    "autoencoder": (fit_autoencoder, AutoencoderConfig(n_epochs=1)),
    "gru4rec": (fit_gru4rec, GRU4RecConfig(n_epochs=1)),
    "sasrec": (fit_sasrec, SASRecConfig(n_epochs=1)),
    "c_gru": (fit_crnn, CRNNConfig(n_epochs=1)),
    "unigram": (fit_unigram, UnigramConfig()),
    "cache_unigram": (fit_cache_unigram, CacheUnigramConfig()),
    "popular": (fit_popular, PopularConfig()),
    "bigram": (fit_bigram, BigramConfig()),
}


@pytest.fixture(scope="module")
def split():
    return small_split()


@pytest.fixture(scope="module")
def model():
    return small_fit(n_iterations=1)


@pytest.mark.parametrize("name", FITS)
def test_a_fit_names_the_argument_that_it_cannot_use(split, name):
    fit, config = FITS[name]
    kind = type(config).__name__
    for other in (split.corpus, "my_corpus", None, [[0, 1]]):
        with pytest.raises(InputError, match=r"^split is .*: give a Split, such as lla\.split"):
            fit(other, config, 0)
    for other in ({"n_topics": 3}, 20, type(config), split):
        with pytest.raises(InputError, match=f"^config is .*: give an? {kind}"):
            fit(split, other, 0)
    for seed in (-1, 1.0, "1", None, True, float("nan")):
        with pytest.raises(InputError, match=r"^seed is .*: give (a whole number, )?0 or more$"):
            fit(split, config, seed)


@pytest.mark.parametrize(
    "name", ["lda", "ddlda", "sem", "autoencoder", "gru4rec", "sasrec", "c_gru"]
)
def test_a_fit_names_a_callback_that_is_none(split, name):
    fit, config = FITS[name]
    with pytest.raises(InputError, match=r"^on_iteration is 'print': give a function"):
        fit(split, config, 0, on_iteration="print")


@pytest.mark.parametrize("name", ["unigram", "cache_unigram", "popular", "bigram"])
def test_a_fit_that_counts_takes_what_the_others_take_and_no_more(split, name):
    fit, config = FITS[name]
    made = fit(split, config, 0, start=None, checkpoint=None, on_iteration=None, n_threads=1)
    assert made.score(split).tobytes() == fit(split).score(split).tobytes()
    with pytest.raises(InputError, match=f"^smoothing is no argument of a fit: give .*{name[:3]}"):
        try:
            fit(split, smoothing=2.0)
        except InputError as error:
            raise InputError(str(error).lower()) from None


def test_topics_to_start_from(split):
    n = split.observed.n_tokens
    lda = fit_lda(split, LDAConfig(n_topics=3, n_sweeps=1), 0)
    topics = start_topics(split)
    wrong = {
        r"start is an LDA: give its topics, as in start=lda\.topics": lda,
        "start is 'lda': give the topics of an LDA, an array": "lda",
        "start is 3: give the topics of an LDA, an array": 3,
        "start is an array of float64: give whole numbers": np.full(n, np.nan),
        "start is an array of bool: give whole numbers": np.zeros(n, bool),
        f"start: an array of shape .1, {n}. for {n} observed tokens; give": topics[None],
        f"start: {n - 1} topics for {n} observed tokens; give those of an LDA": topics[1:],
        "start: topic 3, but n_topics is 3; give both the same number": topics + topics // 2,
    }
    fits = [
        partial(fit_sem, split, SMALL, 0),
        partial(fit_lda, split, LDAConfig(n_topics=3, n_sweeps=1), 0),
        partial(fit_ddlda, split, DDLDAConfig(n_topics=3, n_sweeps=1), 0),
    ]
    for fit in fits:
        for line, start in wrong.items():
            with pytest.raises(InputError, match=f"^{line}"):
                fit(start=start)
    assert_same_fit(
        fit_sem(split, SMALL, 3, start=topics.tolist(), n_threads=np.int64(1)), small_fit()
    )


def test_a_model_names_the_argument_that_it_cannot_use(split, model):
    lda = fit_lda(split, LDAConfig(n_topics=3, n_sweeps=1), 0)
    for ask in (model.score, lda.score, fit_unigram(split).score, fit_bigram(split).score):
        with pytest.raises(InputError, match=r"^split is a Corpus: give a Split"):
            ask(split.corpus)
    for seed in (-1, "1", 0.5):
        for ask in (
            partial(model.score, split),
            partial(model.recommend, ["w1"]),
            partial(model.topics_ahead, ["w1"]),
            model.session,
            partial(lda.score, split),
            partial(split_corpus, split.corpus),
        ):
            with pytest.raises(InputError, match=r"^seed is .*: give"):
                ask(seed=seed)
    for n_particles in (0, 1.5, "16", True):
        with pytest.raises(InputError, match=r"^n_particles is .*: give"):
            model.score(split, n_particles=n_particles)
    with pytest.raises(InputError, match=r"^update is 'no': give True or False$"):
        lda.score(split, update="no")
    with pytest.raises(InputError, match=r"^n_sweeps is 0: give 1 or more$"):
        lda.document_topic(n_sweeps=0)
    with pytest.raises(InputError, match=r"^model is a Corpus: give a Model, such as lla\.fit_sem"):
        lla.save_model(split.corpus, "there")
    of_split = (partial(load_lda, split=split), partial(load_sem, split=split))
    for load in (lla.load_corpus, lla.load_model, *of_split):
        with pytest.raises(InputError, match=r"^(folder|path) is 3: give the name of a file or fo"):
            load(3)


def test_splits_and_corpora_name_the_argument_that_they_cannot_use():
    corpus = random_corpus()
    wrong = [
        ({"corpus": [[0, 1]]}, "corpus is a list: give a Corpus, such as lla.load_corpus reads"),
        ({"observed": "0.6"}, "observed is '0.6': give a part above 0 and below 1, such as 0.6"),
        ({"development": True}, "development is True: give a share from 0 to below 1"),
        ({"seed": 1.5}, "seed is 1.5: give a whole number, 0 or more"),
    ]
    for options, line in wrong:
        with pytest.raises(InputError) as caught:
            split_corpus(**({"corpus": corpus} | options))
        assert str(caught.value) == line
    whole = "give whole numbers, places in the vocabulary"
    documents = [
        ([["a", "b"]], f"document 0 holds 'a': {whole}"),
        (["ab"], f"document 0 is 'ab': {whole}"),
        ([[0], [0, 0.5]], f"document 1 holds 0.5: {whole}"),
        ([[0, True, 10**30]], f"document 0 holds True: {whole}"),
        ([[10**30]], f"document 0 holds {10**30}: {whole}"),
        ([[0, [1]]], f"document 0 holds a list: {whole}"),
        (7, "documents is 7: give an Iterable, such as a list"),
    ]
    for given, line in documents:
        with pytest.raises(InputError) as caught:
            Corpus.from_documents(given, ["a", "b"])
        assert str(caught.value) == line
    with pytest.raises(InputError, match=r"^vocabulary is 2: give a list of texts$"):
        Corpus.from_documents([[0]], 2)
    with pytest.raises(InputError, match=r"^vocabulary holds 1: give a list of texts$"):
        Corpus.from_documents([[0]], [1, 2])
    same = Corpus.from_documents([np.array([0, 1], np.uint8), (1, np.int64(0))], ["a", "b"])
    assert same.words.tolist() == [0, 1, 1, 0]


CONFIGS = [config for _, config in FITS.values()]
CONFIGS += [TrainConfig(), CharacterConfig(), NetworkConfig(2, 2), ShrunkGRUConfig()]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: type(config).__name__)
def test_every_option_of_every_configuration_is_checked(config):
    kind, given = type(config), {"n_inputs": 2, "n_outputs": 2}
    given = given if kind is NetworkConfig else {}
    for option in fields(kind):
        for value in ("?", float("nan"), [], -1, object(), 10**400):
            if option.name == "sources" and value == []:  # no source
                continue
            line = rf"^{option.name} is .*(: |; )(give|choose)"
            with pytest.raises(InputError, match=line) as caught:
                kind(**(given | {option.name: value}))
            assert "\n" not in str(caught.value)
        if type(getattr(config, option.name)) in (int, float):
            with pytest.raises(InputError, match=f"^{option.name} is True: give"):
                kind(**(given | {option.name: True}))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: type(config).__name__)
def test_numpys_numbers_are_kept_as_pythons(config):
    small = {int: np.int16, float: np.float64, bool: np.bool_}
    options = {option.name: getattr(config, option.name) for option in fields(config)}
    numpy = {name: small.get(type(value), lambda v: v)(value) for name, value in options.items()}
    made = type(config)(**numpy)
    assert made == config
    for name, value in options.items():
        assert type(getattr(made, name)) is type(value), name


def test_options_side_by_side_are_checked_too():
    for options, line in [
        ({"learning_rate": "fast"}, "learning_rate is 'fast': give a number above 0"),
        ({"n_topics": 20.0}, "n_topics is 20.0: give a whole number, 1 or more"),
        ({"joint": "no"}, "joint is 'no': give True or False"),
        ({"characters": 3}, "characters is 3: give a CharacterConfig"),
        ({"characters": {"size": 3}}, "size is no option of CharacterConfig: "),
        ({"beta": 1e-44}, "beta is 1e-44: give 1e-20 or more; "),
    ]:
        with pytest.raises(InputError) as caught:
            SEMConfig.from_dict(options)
        assert str(caught.value).startswith(line)
    with pytest.raises(InputError, match=r"^speed is no option of SEMConfig: n_topics, beta"):
        SEMConfig.from_dict({"speed": 3})


@pytest.mark.parametrize("prior", [1e-20, 1e30])
def test_a_prior_that_is_just_allowed_trains_and_scores(split, prior):
    alpha = {"alpha": min(prior, 1e10), "alpha_from": 1, "alpha_every": 1}
    models = [small_fit(beta=prior, n_iterations=2)]
    models += [small_fit(tau=prior, learn_tau=False, emission="personal", n_iterations=2)]
    for options in ({"beta": prior}, alpha, alpha | {"sampler": "sparse"}):
        models.append(fit_lda(split, LDAConfig(n_topics=3, n_sweeps=3, **options), 0))
    models.append(fit_unigram(split, UnigramConfig(prior)))
    models.append(fit_bigram(split, BigramConfig(prior)))
    models.append(fit_popular(split, PopularConfig(3.0, prior)))
    for model in models:
        assert np.isfinite(model.score(split)).all()


def test_why_a_split_cannot_decide_when_to_stop():
    corpus, config = random_corpus(30, longest=25, seed=4), AutoencoderConfig(n_epochs=1)
    wrong = {
        "split: its only document is reported, and none is left": split_corpus(corpus.select([0])),
        "development: this split has no document to decide": split_corpus(corpus, development=0),
        "split: no document has a held-out word": all_observed(corpus),
    }
    short = Corpus.from_documents([[0]] * 19 + [[0, 0, 0, 0]], ["a"])
    wrong["development: none of its 2 documents has a held-out word"] = split_corpus(short)
    for line, split in wrong.items():
        for fit in (
            partial(fit_autoencoder, config=config, seed=0),
            partial(fit_sem, config=SMALL, seed=0, start=np.zeros(split.observed.n_tokens, int)),
        ):
            with pytest.raises(InputError, match=f"^{line}.*; give"):
                fit(split)
        with pytest.raises(InputError, match=f"^{line}.*; or give the config a concentration$"):
            fit_bigram(split)
        assert fit_bigram(split, BigramConfig(concentration=2)).concentration == 2
