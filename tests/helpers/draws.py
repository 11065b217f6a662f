"""What tests of draws share: seeded generators, edge values, Hypothesis strategies."""

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

ALMOST_ONE = np.float32(1 - 2**-24)  # the largest float32 below 1
always_the_same = settings(derandomize=True, deadline=None, max_examples=100)
weights_with_zeros = st.lists(
    st.one_of(st.just(0.0), st.floats(1e-6, 10.0)), min_size=1, max_size=12
).map(np.array)
unit = st.floats(0.0, 1.0, exclude_max=True, width=32)


def draw(seed):
    return np.random.Generator(np.random.Philox(seed))


def counted(words, topics, n_words, n_topics):
    """n_wk and n_k, by NumPy."""
    word_topic = np.zeros((n_words, n_topics), np.int64)
    np.add.at(word_topic, (words, topics), 1)
    return word_topic, np.bincount(topics, minlength=n_topics)
