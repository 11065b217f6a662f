"""The full softmax beside the losses of the authors of GRU4Rec and SASRec, as published.

Hidasi & Karatzoglou (CIKM 2018) find BPR-max and the cross-entropy close to each other, and TOP1,
the loss of their first paper, behind; Klenitskiy & Vasilev (RecSys 2023) find the cross-entropy
ahead of SASRec's binary loss with one negative item. Sessions here have a skewed popularity and a
few likely followers of each item, as theirs do.
"""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lla.common.parallel import thread_pool
from lla.common.random import torch_stream
from lla.corpus import Corpus, split_corpus
from lla.evaluate.ranking import metrics, rank_held_out
from lla.inference.gradient import train_epoch
from lla.inference.objectives import full_softmax
from lla.peers.sasrec import SASRec, SASRecConfig
from lla.peers.sequence import FittedSequence, GRU4Rec, GRU4RecConfig
from lla.peers.training import initial_state, popularity

V, N_NEGATIVES = 80, 32
TRAINING = {"window": 24, "dropout": 0.1, "batch_size": 32, "learning_rate": 0.01}
GRU = GRU4Rec, GRU4RecConfig(embedding_size=32, hidden_size=32, tied=True, **TRAINING)
SAS = SASRec, SASRecConfig(hidden_size=32, n_blocks=1, **TRAINING)


@pytest.fixture(scope="module")
def sessions():
    """After each item one of four others, four times in five; else a popular one."""
    draw = np.random.default_rng(0)
    share = 1 / np.arange(1, V + 1) ** 0.8
    share /= share.sum()
    followers = draw.integers(V, size=(V, 4))
    documents = np.zeros((120, 24), np.int64)
    documents[:, 0] = draw.choice(V, size=120, p=share)
    for t in range(1, 24):
        likely = followers[documents[:, t - 1], draw.integers(4, size=120)]
        popular = draw.choice(V, size=120, p=share)
        documents[:, t] = np.where(draw.random(120) < 0.8, likely, popular)
    return split_corpus(Corpus.from_documents(documents, [f"i{v}" for v in range(V)]))


def against_negatives(network, states, targets, generator, n):
    """Logits of the item that came, (M, 1), and of `n` others each, (M, n)."""
    logits = network.output(states)
    drawn = torch.randint(V - 1, (len(targets), n), generator=generator)
    drawn = drawn + (drawn >= targets[:, None])
    return logits.gather(1, targets[:, None]), logits.gather(1, drawn)


def binary(network, states, targets, generator):
    """SASRec's: -log σ(r_i) - log(1 - σ(r_j)) of one other item."""
    own, other = against_negatives(network, states, targets, generator, 1)
    return -(F.logsigmoid(own) + F.logsigmoid(-other)).sum()


def top1(network, states, targets, generator):
    """GRU4Rec's first: the mean of σ(r_j - r_i) + σ(r_j²)."""
    own, others = against_negatives(network, states, targets, generator, N_NEGATIVES)
    return (torch.sigmoid(others - own) + torch.sigmoid(others**2)).mean(dim=1).sum()


def bpr_max(network, states, targets, generator):
    """GRU4Rec's second: -log Σ_j s_j σ(r_i - r_j), s the softmax of the others."""
    own, others = against_negatives(network, states, targets, generator, N_NEGATIVES)
    return -(others.softmax(dim=1) * torch.sigmoid(own - others)).sum(dim=1).log().sum()


def ndcg(peer, objective, split, n_epochs=12):
    """NDCG@10 on held-out events after training with an objective."""
    kind, config = peer
    network = kind(config, popularity(split), torch_stream(1))
    state, words = initial_state(network, config.learning_rate), split.observed.words
    with thread_pool(1) as pool:
        for epoch in range(n_epochs):
            train_epoch(
                network,
                state.optimizer,
                inputs=words,
                targets=words,
                offsets=split.observed.offsets,
                config=config.training(),
                seed=1,
                key=(99, epoch),
                pool=pool,
                objective=objective,
            )
    fit = FittedSequence(network, [], split.corpus.vocabulary)
    ranking = rank_held_out(lambda visit: fit.next_items(split, visit), split)
    return metrics(ranking, cutoffs=[10])["ndcg@10"]


def test_gru4rec_ranks_alike_by_bpr_max_and_by_the_full_softmax_and_worse_by_top1(sessions):
    full, by_bpr_max, by_top1 = (
        ndcg(GRU, loss, sessions) for loss in (full_softmax, bpr_max, top1)
    )
    assert abs(full - by_bpr_max) < 0.1
    assert by_top1 < 0.7 * min(full, by_bpr_max)


def test_sasrec_ranks_better_by_the_full_softmax_than_by_its_binary_loss(sessions):
    assert ndcg(SAS, binary, sessions) < 0.7 * ndcg(SAS, full_softmax, sessions)
