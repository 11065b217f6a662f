"""ProdLDA and the Dirichlet VAE beside settings of public code, on ProdLDA's 20 Newsgroups, K = 50.

    python benchmarks/neural_topics.py [--quick] [--seeds N ...] [--only NAME ...] [--folder FOLDER]
        [--out FILE]

Needs 20news_clean.tar.xz in the folder LLA_DATA; without it nothing is measured. Training reads the
training documents alone, but the second half of those drawn for development; everything is measured
on test documents: *completion*, the perplexity of the second half of each given the first; the
evidence lower bound of the whole documents, as a perplexity; NPMI of ten words per topic by
documents, ordered by weight, the background apart, and by probability, the background included.
Topics that repeat words are often coherent, so NPMI is compared where both models are as diverse:
those topics are left out, one by one, that share most words with the others.

Public code is not run: the models named after its authors are its settings, `PUBLISHED`, on the
classes here. What some of it does wrong in its evaluation is done to ProdLDA, too: statistics of
the test documents, dropout left on, test documents among those trained on. The vocabulary of these
files is that of training and test documents together, for all models alike.

All numbers of all models are written to a CSV file beside FILE. Fits are kept in FOLDER, and an
interrupted run goes on.
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from common import Results, argument_parser

from data_prep.labelled.archive import labels_of
from data_prep.labelled.news20_clean import News20CleanOptions, prepare_news20_clean
from experiments.study import checkpoint_path
from lla.common.errors import InputError, run_main
from lla.common.files import atomic_write
from lla.corpus import Corpus, Split, split_corpus
from lla.evaluate.perplexity import perplexity
from lla.peers.bags import OnRows, bag_of_words, score_rows
from lla.peers.neural_topics import (
    DirichletVAEConfig,
    FittedNeuralTopics,
    NeuralTopicsConfig,
    ProdLDAConfig,
    bounds,
    fit_neural_topics,
)
from lla.peers.neural_topics.model import batches_of
from lla.peers.neural_topics.objectives import log_likelihood
from lla.peers.neural_topics.published import PUBLISHED
from lla.topics.coherence import topic_npmi, window_counts
from lla.topics.quality import diverse_topics, diversity
from lla.topics.words import top_words

N_WORDS = 10
DEVELOPMENT = 0.1
ORDERS = {"weights": "weight", "phi": "probability"}  # of a topic's words
SHORT = {"n_epochs": 4, "warm_up": 0}  # of a quick run


@dataclass(frozen=True)
class Case:
    """A fit that is measured.

    Attributes
    ----------
    config : its settings
    peers : cases that it is compared with
    statistics : of normalisation where it is evaluated, if not the configuration's
    in_training : whether it is evaluated as it is trained: statistics of the batch, and dropout
    leaks : whether test documents are among those that are trained on
    """

    config: NeuralTopicsConfig
    peers: tuple[str, ...] = ()
    statistics: str | None = None
    in_training: bool = False
    leaks: bool = False


# Statistics "document" and "batch" leave no mark in training: one fit is evaluated twice.
AUTHORS = replace(PUBLISHED["prodlda_authors"], statistics="exact")
DIRICHLET_AUTHORS = replace(PUBLISHED["dirichlet_authors"], statistics="exact")
PRODLDA = ProdLDAConfig(keep="bound")
# As the Dirichlet VAE is: small steps, the usual momentum, no dropout of θ, a warm-up. The prior is
# trained, too, and the last epoch kept. Chosen by NPMI at equal diversity in training documents
# that were held out; the bound is flat where topics are still getting better.
TRAINED = replace(
    PRODLDA,
    activation="relu",
    dropout=0.25,
    topic_dropout=0.0,
    learn_prior=True,
    warm_up=50,
    learning_rate=1e-3,
    momentum=0.9,
    batch_size=64,
    n_epochs=100,
    keep="last",
)
IN_TRAINING = "ProdLDA, evaluated in training mode"
BATCH = "ProdLDA, statistics of the test documents"
# In the order in which they are fitted.
CASES = {
    "ProdLDA": Case(
        PRODLDA, peers=("OCTIS's", "pyro's", "Srivastava & Sutton's", IN_TRAINING, BATCH)
    ),
    IN_TRAINING: Case(PRODLDA, in_training=True),
    BATCH: Case(PRODLDA, statistics="batch"),
    "ProdLDA, trained as our Dirichlet VAE": Case(
        TRAINED, peers=("OCTIS's", "pyro's", "Srivastava & Sutton's")
    ),
    "OCTIS's": Case(PUBLISHED["octis"]),
    "pyro's": Case(PUBLISHED["pyro"]),
    "Dirichlet VAE": Case(
        DirichletVAEConfig(),
        peers=("OCTIS's", "pyro's", "Burkhardt & Kramer's", "their PyTorch version's"),
    ),
    "Srivastava & Sutton's": Case(AUTHORS, statistics="document"),
    "Srivastava & Sutton's, exact statistics": Case(AUTHORS),
    "their PyTorch version's": Case(PUBLISHED["dirichlet_pytorch"]),
    "Burkhardt & Kramer's": Case(DIRICHLET_AUTHORS, statistics="batch"),
    "Burkhardt & Kramer's, exact statistics": Case(DIRICHLET_AUTHORS),
    "OCTIS's, background and offsets kept": Case(
        replace(PUBLISHED["octis"], background=True, offset=True)
    ),
    "ProdLDA, trained on test documents, too": Case(PRODLDA, peers=("ProdLDA",), leaks=True),
}


class Topics(NamedTuple):
    """The top words of K topics, and their NPMI in test documents, (K,)."""

    words: Sequence[Sequence[str]]
    rated: np.ndarray


@dataclass(frozen=True)
class Measured:
    """One fit's numbers, and its topics by each of `ORDERS`."""

    row: dict[str, float]
    topics: dict[str, Topics]


class Corpora(NamedTuple):
    """What is trained on, the same with all test documents in it, and half-observed test ones."""

    training: Split
    leaking: Split
    test: Split


def read_corpora(folder: Path) -> Corpora:
    """ProdLDA's files with all that is in them, `_eos_` too, as the published numbers have it."""
    corpus = prepare_news20_clean(folder / "corpus", News20CleanOptions(keep_end_marks=True))
    is_test = labels_of(corpus).is_test
    train, test = (corpus.select(np.flatnonzero(chosen)) for chosen in (~is_test, is_test))
    halved = split_corpus(train, 0.5, DEVELOPMENT)
    development = np.zeros(corpus.n_documents, bool)
    development[~is_test] = halved.development
    return Corpora(
        training=_read_whole(train, halved.development),
        leaking=_read_whole(corpus, development),
        test=split_corpus(test, 0.5, 0.0),
    )


def _read_whole(corpus: Corpus, development: np.ndarray) -> Split:
    """Documents observed whole, but those for development, whose second half is held out."""
    halves = -(-corpus.lengths // 2)
    n_observed = np.where(development, halves, corpus.lengths)
    return Split(corpus, corpus.beginnings(n_observed), n_observed, development)


def short_row(measured: Measured) -> str:
    """What is printed of a fit."""
    return ", ".join(f"{name} {value:.4g}" for name, value in measured.row.items())


def measure(fitted: FittedNeuralTopics, train: Corpus, test: Split, case: Case) -> Measured:
    """All numbers of a fit; `test` are test documents, half observed."""
    topics, of_topics = {}, {}
    for order, phi in (("weights", fitted.weights()), ("phi", fitted.phi())):
        words = top_words(phi, fitted.vocabulary, N_WORDS)
        topics[order] = Topics(words, topic_npmi(window_counts(words, test.corpus, None)))
        of_topics |= {
            f"npmi_test_{order}": float(topics[order].rated.mean()),
            f"npmi_train_{order}": float(topic_npmi(window_counts(words, train, None)).mean()),
            f"diversity_{order}": diversity(words),
        }
    if case.statistics:
        fitted.network.use_statistics(case.statistics)
    if case.in_training:
        scores = score_rows(test, partial(predict_in_training, fitted, test.observed))
        bound = bound_in_training(fitted, test.corpus)
    else:
        scores, bound = fitted.score(test), bounds.elbo(fitted, test.corpus)
    theta = fitted.theta(test.corpus)
    row = {
        "completion": perplexity(scores, test),
        "elbo": bound.perplexity,
        "elbo_per_document": bound.document_perplexity,
        "kl": float(bound.kl.mean()),
        **of_topics,
        "largest_theta": float(theta.max(axis=1).mean()),
        "topics_used": bounds.topic_usage(theta),
        "epochs": len(fitted.history),
    }
    return Measured(row, topics)


@torch.no_grad()
def predict_in_training(fitted: FittedNeuralTopics, observed: Corpus, on_rows: OnRows) -> None:
    """As `fitted.predict`, but with the batch's statistics, dropout and θ drawn, as in training."""
    draw = np.random.default_rng(0)
    for documents, bags in batches_of(bag_of_words(observed), fitted.config.batch_size):
        log_p, _, _ = fitted.network.training_step(bags, draw)
        on_rows(range(int(documents[0]), int(documents[-1]) + 1), log_p.double().numpy())


@torch.no_grad()
def bound_in_training(fitted: FittedNeuralTopics, corpus: Corpus) -> bounds.Bound:
    """As `bounds.elbo`, but as in training; with dropout it is a bound of nothing."""
    draw, fit, kl = np.random.default_rng(0), [], []
    for _, bags in batches_of(bag_of_words(corpus), fitted.config.batch_size):
        log_p, divergence, _ = fitted.network.training_step(bags, draw)
        fit.append(log_likelihood("categorical", log_p, bags.counts, torch.float64).numpy())
        kl.append(divergence.double().numpy())
    return bounds.Bound(np.concatenate(fit), np.concatenate(kl), np.asarray(corpus.lengths))


def compare(
    results: Results, case: str, ours: list[Measured], peer: str, theirs: list[Measured]
) -> None:
    """Rows of one pair of models, means over seeds; of topics where the models are not the same."""
    for metric, title in (("completion", "completion"), ("elbo", "ELBO")):
        first, second = (mean(run.row[metric] for run in runs) for runs in (ours, theirs))
        results.add(f"{case}, {title}", peer, first, second, unit="perplexity", target=1.0)
    if (CASES[case].config, CASES[case].leaks) == (CASES[peer].config, CASES[peer].leaks):
        return
    for order, title in ORDERS.items():
        name = f"diversity_{order}"
        level = max(mean(run.row[name] for run in runs) for runs in (ours, theirs))
        left = [
            [topics.rated[diverse_topics(topics.words, level)] for topics in of_models]
            for of_models in ([run.topics[order] for run in runs] for runs in (ours, theirs))
        ]
        first, second = (mean(float(rated.mean()) for rated in of_model) for of_model in left)
        results.add(
            f"{case}, NPMI at equal diversity, words by {title}",
            peer,
            first,
            second,
            unit="NPMI",
            target=1.0,
            higher=True,
            diversity=level,
            topics=[mean(map(len, of_model)) for of_model in left],
        )


def write_table(
    file: Path, measured: dict[str, list[Measured]], seeds: Sequence[int], *, keep: bool
) -> None:
    """Every number of every model and seed, in the order of `CASES`.

    Parameters
    ----------
    keep : keep the models that the file has and that were not measured
    """
    rows: list[dict[str, Any]] = [
        {"model": name, "seed": seed} | run.row
        for name, runs in measured.items()
        for seed, run in zip(seeds, runs, strict=True)
    ]
    table = pd.DataFrame(rows).round(4)
    if keep and file.exists():
        former = pd.read_csv(file)
        former = former[~former["model"].isin(list(measured)) & former["model"].isin(list(CASES))]
        table = pd.concat([former, table])
    order = {name: number for number, name in enumerate(CASES)}
    table = table.sort_values(["model", "seed"], key=lambda column: column.replace(order))
    with atomic_write(file, "w") as out:
        table.to_csv(out, index=False)


def measure_case(
    case: Case, seed: int, corpora: Corpora, folder: Path, options: argparse.Namespace
) -> Measured:
    """Fit, or read back, and measure."""
    config = replace(case.config, **SHORT) if options.quick else case.config
    split = corpora.leaking if case.leaks else corpora.training
    name = "leaking" if case.leaks else "fit"
    checkpoint = checkpoint_path(folder, name, asdict(config), seed)
    fitted = fit_neural_topics(split, config, seed, checkpoint=checkpoint)
    return measure(fitted, corpora.training.corpus, corpora.test, case)


def parse_options() -> argparse.Namespace:
    parser = argument_parser(__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--only", nargs="+", choices=tuple(CASES), default=list(CASES))
    parser.add_argument("--folder", type=Path, help="where fits are kept; default: a temporary one")
    return parser.parse_args()


def main() -> None:
    """Fit, measure and compare all models."""
    options = parse_options()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        is_part = options.only != list(CASES)
        results = Results(options.out, keep=is_part)
        try:
            corpora = read_corpora(folder)
        except InputError as error:
            results.progress(f"nothing measured: {error}")
            return
        measured: dict[str, list[Measured]] = {}
        for name in options.only:
            results.progress(name)
            case = CASES[name]
            measured[name] = [
                measure_case(case, seed, corpora, folder, options) for seed in options.seeds
            ]
            results.progress(f"  {short_row(measured[name][0])}")
            if options.out:
                table = options.out.with_suffix(".csv")
                write_table(table, measured, options.seeds, keep=is_part)
        for name, runs in measured.items():
            for peer in CASES[name].peers:
                if peer in measured:
                    compare(results, name, runs, peer, measured[peer])


if __name__ == "__main__":
    run_main(main)
