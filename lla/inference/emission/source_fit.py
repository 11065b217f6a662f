"""How sources are learned: the first assignments, and the M-step of concentrations and half-life.

A fit starts from LDA's topics, among which there is no source. `draw_initial` lets each token
choose between its own topic and the sources, in shares that expectation maximisation finds.
`fit_parameters` is the M-step: of the tokens that a source produced, the log-likelihood under its
counts is maximised one parameter at a time; what a token and the later ones of its document have
contributed to the counts is left out.
"""

from collections.abc import Callable

import numpy as np

from lla.common.random import StreamId, stream
from lla.corpus import Corpus
from lla.inference.config import SOURCES
from lla.inference.emission.sources import SourceParameters, Sources
from lla.samplers.lda import document_topic_counts, phi_from_counts, topic_counts
from lla.samplers.sources import corpus_evidence, recent_evidence

MIN_CONCENTRATION, MAX_CONCENTRATION = 1e-3, 1e6
MIN_HALF_LIFE, MAX_HALF_LIFE = 0.2, 1e4
N_HALVINGS = 25  # of the interval in which a parameter is sought, by the golden section
N_SWEEPS = 10  # of expectation maximisation before the first assignments are drawn
ALPHA = 0.1  # of a document's topics, where they compete with the sources for the first time
GOLDEN = (np.sqrt(5.0) - 1.0) / 2.0


def draw_initial(
    observed: Corpus, topics: np.ndarray, sources: Sources, beta: float, n_topics: int, seed: int
) -> tuple[np.ndarray, Sources]:
    """Where each token came from at first, (N,), and the sources with first parameters.

    0 is the token's topic, j + 1 source j.

    A token of word w keeps its topic k with probability proportional to π_0 θ_dk φ_wk, and source j
    produces it with probability proportional to π_j p_j(w | w_<t). The shares π and the parameters
    are found by expectation maximisation.

    Parameters
    ----------
    topics : (N,) of the observed tokens, in [0, K)
    beta : β of φ, which is counted from these topics
    """
    likelihood = np.empty((observed.n_tokens, 1 + len(sources.names)))
    likelihood[:, 0] = _topic_likelihood(observed, topics, beta, n_topics)
    share = np.full(likelihood.shape[1], 1.0 / likelihood.shape[1])
    for _ in range(N_SWEEPS):
        likelihood[:, 1:] = token_probabilities(observed, sources)
        joint = likelihood * share
        joint /= joint.sum(axis=1, keepdims=True)
        share = joint.mean(axis=0) if len(joint) else share
        sources = fit_parameters(observed, sources, joint[:, 1:])
    running = joint.cumsum(axis=1)
    uniforms = stream(seed, StreamId.SOURCES, 0).random((len(joint), 1)) * running[:, -1:]
    return (uniforms >= running[:, :-1]).sum(axis=1), sources


def _topic_likelihood(
    observed: Corpus, topics: np.ndarray, beta: float, n_topics: int
) -> np.ndarray:
    """θ_dk φ_wk of each token's own topic, (N,); a document's proportions as in LDA."""
    words = observed.words
    word_topic, total = topic_counts(words, topics, observed.n_words, n_topics)
    in_document = document_topic_counts(observed.offsets, topics, n_topics)  # (D, K)
    document = np.repeat(np.arange(observed.n_documents), observed.lengths)
    of_document = in_document[document, topics] + ALPHA
    theta = of_document / (observed.lengths[document] + n_topics * ALPHA)
    return theta * phi_from_counts(word_topic, total, beta)[words, topics]


def token_probabilities(
    corpus: Corpus, sources: Sources, counted: np.ndarray | None = None
) -> np.ndarray:
    """p(w_t | source) of every token, counts from it on left out, (N, S) float64.

    Parameters
    ----------
    counted : see `evidence_of_corpus`
    """
    evidence = evidence_of_corpus(corpus, sources, counted)
    p_next = _smoothed(evidence[:, 1:3], evidence[:, 0], sources.parameters.next)
    p_own = _smoothed(evidence[:, 3:5], p_next, sources.parameters.own_next)
    p_recent = _smoothed(evidence[:, 5:7], evidence[:, 0], sources.parameters.recent)
    return np.stack([p_next, p_own, p_recent], axis=1)[:, sources.kinds]


def evidence_of_corpus(
    corpus: Corpus, sources: Sources, counted: np.ndarray | None = None
) -> np.ndarray:
    """`lla.samplers.sources.Evidence` of every token, (N, 7).

    Parameters
    ----------
    counted : (N,) bool, the tokens that the sources were counted from: the first of each document;
        None for all of them
    """
    evidence = np.empty((corpus.n_tokens, 7))
    corpus_evidence(
        corpus.words.astype(np.int64),
        corpus.offsets,
        sources.counts(),
        sources.parameters.decay,
        np.ones(corpus.n_tokens, bool) if counted is None else counted,
        evidence,
    )
    return evidence


def _smoothed(counts: np.ndarray, base: np.ndarray, concentration: float) -> np.ndarray:
    """(n_w + c base) / (n + c) of counts (N, 2), (N,)."""
    return (counts[:, 0] + concentration * base) / (counts[:, 1] + concentration)


def fit_parameters(observed: Corpus, sources: Sources, responsibility: np.ndarray) -> Sources:
    """The M-step: parameters given how far each source produced each token.

    The concentrations have the prior of τ, a Gamma distribution whose mean is their first value; a
    source that produced nothing keeps what it has.

    Parameters
    ----------
    responsibility : (N, S), 0 to 1 each; 0 or 1 where assignments were drawn
    """
    kinds = list(sources.kinds)
    by_kind = np.zeros((len(responsibility), len(SOURCES)))
    by_kind[:, kinds] = responsibility
    evidence = evidence_of_corpus(observed, sources)
    used = by_kind.sum(axis=1) > 0
    by_kind, evidence, base = by_kind[used], evidence[used], evidence[used, 0]
    of_next, of_own, of_recent = by_kind.T
    now, first = sources.parameters, SourceParameters()

    def log_next(c: float) -> float:
        p_next = _smoothed(evidence[:, 1:3], base, c)
        p_own = _smoothed(evidence[:, 3:5], p_next, now.own_next)
        return _sum_logs(of_next, p_next) + _sum_logs(of_own, p_own)

    c_next = now.next
    if of_next.any() or of_own.any():
        c_next = _best_concentration(log_next, first.next)
    p_next = _smoothed(evidence[:, 1:3], base, c_next)

    def log_own(c: float) -> float:
        return _sum_logs(of_own, _smoothed(evidence[:, 3:5], p_next, c))

    c_own = _best_concentration(log_own, first.own_next) if of_own.any() else now.own_next
    c_recent, half_life = now.recent, now.half_life
    if of_recent.any():
        half_life = _best_half_life(observed, used, of_recent, base, c_recent)
        counts = _recent_counts(observed, half_life)[used]

        def log_recent(c: float) -> float:
            return _sum_logs(of_recent, _smoothed(counts, base, c))

        c_recent = _best_concentration(log_recent, first.recent)
    return sources.replace(SourceParameters(c_next, c_own, c_recent, half_life))


def _sum_logs(weight: np.ndarray, p: np.ndarray) -> float:
    """Σ weight log p over the tokens of positive weight."""
    chosen = weight > 0
    return float(weight[chosen] @ np.log(p[chosen]))


def _best_concentration(log_likelihood: Callable[[float], float], first: float) -> float:
    """c at the posterior mode of log c, whose prior is that of a Gamma of mean `first`."""

    def score(log_c: float) -> float:
        return log_likelihood(np.exp(log_c)) + log_c - np.exp(log_c) / first

    low, high = np.log(MIN_CONCENTRATION), np.log(MAX_CONCENTRATION)
    return float(np.exp(_maximise(score, low, high)))


def _best_half_life(
    observed: Corpus, used: np.ndarray, weight: np.ndarray, base: np.ndarray, c: float
) -> float:
    """h of the highest likelihood of the tokens that `recent` produced."""

    def score(log_h: float) -> float:
        counts = _recent_counts(observed, float(np.exp(log_h)))[used]
        return _sum_logs(weight, _smoothed(counts, base, c))

    return float(np.exp(_maximise(score, np.log(MIN_HALF_LIFE), np.log(MAX_HALF_LIFE))))


def _recent_counts(observed: Corpus, half_life: float) -> np.ndarray:
    """m_w and m of every token, (N, 2)."""
    m_w, m = np.empty((2, observed.n_tokens))
    recent_evidence(
        observed.words.astype(np.int64),
        observed.offsets,
        observed.n_words,
        SourceParameters(half_life=half_life).decay,
        m_w,
        m,
    )
    return np.stack([m_w, m], axis=1)


def _maximise(score: Callable[[float], float], low: float, high: float) -> float:
    """Where a function of one maximum is largest, by the golden section."""
    left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    of_left, of_right = score(left), score(right)
    for _ in range(N_HALVINGS):
        if of_left > of_right:
            high, right, of_right = right, left, of_left
            left = high - GOLDEN * (high - low)
            of_left = score(left)
        else:
            low, left, of_left = left, right, of_right
            right = low + GOLDEN * (high - low)
            of_right = score(right)
    return (low + high) / 2
