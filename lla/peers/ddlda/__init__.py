"""ddLDA: a word takes its topic by the popularity of the topics of nearby words.

The paper's baseline (4.1): a fixed-dimensional approximation of the distance-dependent Dirichlet
process (Blei & Frazier, 2011). With a decay f of the distance in words,

    p(z_t = k | other topics) ∝ α_k + Σ_{s≠t} f(|t - s|) [z_s = k].

LDA is the case f = 1 (`decay="window", window=None`). While fitting, nearby words on both sides
count, as the paper's sentence says. For f = 1 these are the conditionals of one joint
distribution, LDA's. For another decay they are a pseudo-likelihood, not the exact conditionals of
a process that only looks back, in which the topics after t would also weigh how well z_t explains
them. Prediction looks back only and is a proper distribution.
"""

from lla.peers.ddlda.model import DDLDA, DDLDAConfig, Predictor, decay_table, fit_ddlda

__all__ = ["DDLDA", "DDLDAConfig", "Predictor", "decay_table", "fit_ddlda"]
