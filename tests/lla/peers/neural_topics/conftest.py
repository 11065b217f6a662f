"""Data and fits that the tests of this folder share."""

import numpy as np
import pytest
from simulated import lda_corpus

from lla.corpus import split_corpus
from lla.peers.simulate import random_phi


@pytest.fixture(scope="session")
def tiny_split():
    """40 documents of 30 words from 4 topics over 30 words."""
    phi = random_phi(30, 4, 0.1, 1)
    return split_corpus(lda_corpus(40, 30, phi, np.full(4, 0.2)))
