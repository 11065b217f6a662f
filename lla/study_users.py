"""One call a model, as in `study`, for users: perplexity, and where the next item stood.

Every function fits or reads back its model and returns its `study.Outcome` together with the ranks
of the reported users' held-out events, so that one table can hold them all.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from lla import study
from lla.corpus import Split
from lla.evaluate import Visit, next_items_lda
from lla.lda import LDA, expected_document_topic
from lla.memory import memory_kept, watch_memory
from lla.peers import autoencoder, bigram, ddlda
from lla.peers.gru4rec import GRU4RecConfig, fit_gru4rec
from lla.peers.popular import Popular, next_items_popular, popular_of, score_popular
from lla.peers.sasrec import SASRecConfig, fit_sasrec
from lla.peers.sequence import next_items_sequence, score_sequence
from lla.peers.unigram import next_items_unigram, tune_concentration, unigram
from lla.ranking import EVENTS, Ranking, metrics, rank_held_out
from lla.sizes import Size
from lla.study import Outcome, Settings, file_of, outcome_of

NETWORKS = {"gru4rec": (GRU4RecConfig, fit_gru4rec), "sasrec": (SASRecConfig, fit_sasrec)}


@dataclass(frozen=True)
class UserOutcome(Outcome):
    """What one fit of one model came to, ranks included.

    Attributes
    ----------
    ranking : of the reported users' held-out events
    ranking_seconds : time that ranking them took
    """

    ranking: Ranking | None = None
    ranking_seconds: float = 0.0

    def measures(self, label: str) -> dict[str, float]:
        """``recall@10.LABEL`` and so on, over all events; more names for the parts.

        ``ndcg@10.LABEL.repeats``, ``.discoveries`` and ``.by_user`` for the mean of users' means;
        a part without events is left out.
        """
        found = {}
        n_repeats = int(self.ranking.repeat.sum())
        n_events = {"repeats": n_repeats, "discoveries": len(self.ranking.repeat) - n_repeats}
        for events in EVENTS:
            if n_events.get(events, 1):
                part = "" if events == "all" else f".{events}"
                for by_user, end in ((False, ""), (True, ".by_user")):
                    values = metrics(self.ranking, events, by_user)
                    found |= {f"{name}.{label}{part}{end}": x for name, x in values.items()}
        return found


def with_ranks(outcome: Outcome, split: Split, next_items: Callable[[Visit], None]) -> UserOutcome:
    """The same outcome with the ranks that the model's `next_items` gives."""
    begun = perf_counter()
    ranking = rank_held_out(next_items, split)
    fields = {name: getattr(outcome, name) for name in Outcome.__dataclass_fields__}
    return UserOutcome(**fields, ranking=ranking, ranking_seconds=perf_counter() - begun)


def run_counts(split: Split) -> dict[str, UserOutcome]:
    """The models that only count: unigram, cache unigram, bigram."""
    p, found = unigram(split), study.run_counts(split)
    cache = Popular(p, tune_concentration(p, split))
    pairs = bigram.fit_bigram(split)
    following = (pairs, p, bigram.tune_bigram(pairs, p, split), split)
    hooks = {
        "unigram": lambda visit: next_items_unigram(p, split, visit),
        "cache_unigram": lambda visit: next_items_popular(cache, split, visit),
        "bigram": lambda visit: bigram.next_items_bigram(*following, visit),
    }
    return {name: with_ranks(found[name], split, hook) for name, hook in hooks.items()}


def run_lda(split: Split, settings: Settings, seed: int, folder: Path) -> tuple[LDA, UserOutcome]:
    """LDA, θ updated as events are revealed, and the fit others begin with."""
    lda, outcome = study.run_lda(split, settings, seed, folder)
    phi = lda.phi(split.observed)
    n_dk = expected_document_topic(split.observed, lda, phi)
    about = (phi, lda.alpha, n_dk, split)
    return lda, with_ranks(outcome, split, lambda visit: next_items_lda(*about, visit))


def run_ddlda(split: Split, lda: LDA, settings: Settings, seed: int, folder: Path) -> UserOutcome:
    """ddLDA, begun from LDA's topics."""
    outcome = study.run_ddlda(split, lda, settings, seed, folder)
    fit, table, _ = study.ddlda_of(split, lda, settings, seed, folder)
    about = (fit.phi(split.observed), fit.alpha, fit.topics, table, split, seed)
    return with_ranks(outcome, split, lambda visit: ddlda.next_items_ddlda(*about, visit))


def run_autoencoder(split: Split, settings: Settings, seed: int, folder: Path) -> UserOutcome:
    """The autoencoder."""
    outcome = study.run_autoencoder(split, settings, seed, folder)
    (module, _), _ = study.autoencoder_of(split, settings, seed, folder)
    hook = autoencoder.next_items_autoencoder
    return with_ranks(outcome, split, lambda visit: hook(module, split, visit))


def run_popular(split: Split, settings: Settings | None = None) -> UserOutcome:
    """Personalised most popular.

    Parameters
    ----------
    settings : half_life (None is no decay) and concentration; what is not given is chosen on the
        development users
    """
    begun, p, settings = perf_counter(), unigram(split), settings or {}
    model = popular_of(p, split, settings)
    scores, seconds = score_popular(model, split), perf_counter() - begun
    size = Size(0, len(p) + 2, 4 * len(p) + 8)
    outcome = outcome_of(split, scores, size, seconds)
    return with_ranks(outcome, split, lambda visit: next_items_popular(model, split, visit))


def run_gru4rec(split: Split, settings: Settings, seed: int, folder: Path) -> UserOutcome:
    """The GRU4Rec-style network."""
    return _run_sequence(split, "gru4rec", settings, seed, folder)


def run_sasrec(split: Split, settings: Settings, seed: int, folder: Path) -> UserOutcome:
    """SASRec."""
    return _run_sequence(split, "sasrec", settings, seed, folder)


def _run_sequence(
    split: Split, name: str, settings: Settings, seed: int, folder: Path
) -> UserOutcome:
    config_of, fit = NETWORKS[name]
    file = file_of(folder, name, settings, seed)
    with watch_memory(file.with_suffix(".json")):
        network, history = fit(split, config_of(**settings), seed, file)
    scores = score_sequence(network, split)
    n_bytes = sum(p.numel() * p.element_size() for p in network.parameters())
    size = Size(network.n_parameters(), 0, n_bytes)
    seconds = sum(row["seconds"] for row in history)
    memory = memory_kept(file.with_suffix(".json"))
    outcome = outcome_of(split, scores, size, seconds, memory, history)
    return with_ranks(outcome, split, lambda visit: next_items_sequence(network, split, visit))
