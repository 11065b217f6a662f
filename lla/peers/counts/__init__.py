"""Baselines that only count: uniform, unigram, cache unigram, most popular, bigram, trigram.

    uniform     p(w) = 1/V
    unigram     p(w) = (n_w + a) / (N + V a)
    popular     p(w_t = v | w_<t) = (m_v + c p(v)) / (m + c)
                m_v = Σ_{s<t} 2^{-(t-1-s)/h} [w_s = v],   m = Σ_v m_v
    bigram      p(w_t = w | w_{t-1} = v) = (n_vw + c p(w)) / (n_v + c)
    trigram     p(w_t = w | u v) = (n_uvw + c p(w | v)) / (n_uv + c)

p is the unigram, h the half-life of an event, counted in events, and c a concentration. With p
uniform instead (`BigramConfig(prior="uniform")`) the bigram is that of additive smoothing, with c/V
added to every pair (Ko et al., 2016, equation 7). The cache unigram is the popular model without
decay: m_v is the count of v in the document so far. With h of 1 or less an item's latest event
outweighs all that came before it, so own items stand in the order of recency; a small c ranks all
of them before the rest, which follows by popularity ("personalised most popular" in recommendation;
arXiv 2409.04329 shows how hard to beat it is). Concentrations and half-lives are chosen on the
development documents.
"""

from lla.peers.counts.bigram import Bigram, BigramConfig, bigram_rows, count_pairs, fit_bigram
from lla.peers.counts.popular import (
    HALF_LIVES,
    CacheUnigram,
    CacheUnigramConfig,
    Popular,
    PopularConfig,
    fit_cache_unigram,
    fit_popular,
    popular_rows,
    popular_scores,
)
from lla.peers.counts.shared import unigram_probability
from lla.peers.counts.trigram import Trigram, TrigramConfig, fit_trigram
from lla.peers.counts.unigram import (
    Uniform,
    UniformConfig,
    Unigram,
    UnigramConfig,
    fit_uniform,
    fit_unigram,
)

__all__ = [
    "HALF_LIVES",
    "Bigram",
    "BigramConfig",
    "CacheUnigram",
    "CacheUnigramConfig",
    "Popular",
    "PopularConfig",
    "Trigram",
    "TrigramConfig",
    "Uniform",
    "UniformConfig",
    "Unigram",
    "UnigramConfig",
    "bigram_rows",
    "count_pairs",
    "fit_bigram",
    "fit_cache_unigram",
    "fit_popular",
    "fit_trigram",
    "fit_uniform",
    "fit_unigram",
    "popular_rows",
    "popular_scores",
    "unigram_probability",
]
