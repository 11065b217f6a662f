"""Collaborative recurrent networks (Ko, Maystre & Grossglauser, ACML 2016), and a shrunk form.

Items' input and output weights are shared; the recurrent matrix is the user's own:

    h_t = cell(W_in δ_{x_t}, h_{t-1}; W^(u)),   p(x_{t+1} | x_{≤t}, u) = softmax(W_out h_t + b)

    C-GRU, C-tanh   W^(u) free, one per user                           CRNNConfig, CTanhConfig
    P-GRU           one W_0 for all ("pooled")                         PGRUConfig
    shrunk C-GRU    W^(u) = W_0 + Δ^(u), (λ/2) ‖Δ^(u)‖²; not in the    ShrunkGRUConfig
                    paper. λ = ∞ is P-GRU

What differs from the paper. Equation 20 is printed for x_t given x_{≤t}; meant is x_{t+1} (see 32).
A history begins with a start symbol and h_0 = 0, so that its first event is predicted too. The
output has a bias, started at the items' popularity (`output_bias`). Users are read side by side, a
batch per step, not one by one: each user's own numbers follow the mean gradient of her own events,
what is shared that of the batch. Adam by default, RMSProp as the paper's choice. Gradients are
clipped. Other models stop by the held-out events of the development users, and so do these unless
`tail` cuts a development part from the end of every history, as the paper does; that part is not
trained on afterwards.

A user is known by the name of her document or, where documents have no names, by the events that
were observed of her. One who is not known is read with W_0; where there is none, in C-GRU and
C-tanh, with the mean of all W^(u), an answer that the paper does not give.

The authors' own code (lca4/collaborative-rnn) differs from their paper in more: candidates by a
sigmoid, no dropout, no early stopping, blocks of 64, and test events scored while training goes on.
"""

from lla.peers.crnn.model import FittedCRNN, fit_crnn
from lla.peers.crnn.network import CRNN, CRNNConfig, CTanhConfig, PGRUConfig, ShrunkGRUConfig

__all__ = [
    "CRNN",
    "CRNNConfig",
    "CTanhConfig",
    "FittedCRNN",
    "PGRUConfig",
    "ShrunkGRUConfig",
    "fit_crnn",
]
