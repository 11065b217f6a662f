"""The hidden Markov model: topics that depend on the topic before, and on nothing earlier.

    p(z_1 = k) = π_k,   p(z_t = k | z_{t-1} = j) = A_jk,   p(w_t = w | z_t = k) = φ_wk

It is LLA of first order: an LLA whose LSTM remembers z_{t-1} alone, with the same φ. So the
difference between both is what a longer memory is worth. One model is shared by all documents (or
users), and p(w_t | w_<t) is exact, by the forward filter: no particles are needed.

It is fitted by expectation maximisation (Rabiner & Juang, 1986) over the observed part of all
documents. With Dirichlet priors of α + 1 on π and on the rows of A, and of β + 1 on the columns of
φ, an M-step adds α and β to the expected counts, and no iteration lowers log p(w) + log prior.
"""

from lla.peers.hmm.model import (
    HMM,
    HMMConfig,
    Parameters,
    count_parameters,
    em_step,
    fit_hmm,
    forward,
    maximise,
)

__all__ = [
    "HMM",
    "HMMConfig",
    "Parameters",
    "count_parameters",
    "em_step",
    "fit_hmm",
    "forward",
    "maximise",
]
