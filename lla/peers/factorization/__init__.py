"""Matrix factorisation by alternating least squares: a static baseline that knows other users.

Ko, Maystre & Grossglauser (2016), equations 8 to 10. With m_iu = log(c_iu + 1), c_iu the count of
item i in the observed part of user (document) u, and after Zhou et al. (2008),

    minimise  Σ_iu a_iu (m_iu - v_i·u_u)² + λ (Σ_u a_u |u_u|² + Σ_i a_i |v_i|²)
    p(w_t = i | w_<t) = softmax_i(v_i·u_u / T),     a_u = Σ_i a_iu,   a_i = Σ_u a_iu

As printed, a_iu is 1 where c_iu > 0 and 0 elsewhere, and T = 1. Then nothing holds down the scores
of items that a user has not met, which is most of the softmax. Our form gives these zeros a weight
a_iu = `zero_weight` of their own (Hu, Koren & Volinsky, 2008, weigh them so), and T is chosen on
the development users. Prediction does not depend on the order of events, nor on the revealed part
of what is held out. A user's factors are solved from the observed part, also those of new users.
"""

from lla.peers.factorization.model import (
    Factorization,
    FactorizationConfig,
    fit_factorization,
    log_counts,
    losses,
    solve_rows,
)

__all__ = [
    "Factorization",
    "FactorizationConfig",
    "fit_factorization",
    "log_counts",
    "losses",
    "solve_rows",
]
