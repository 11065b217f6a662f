"""Random streams: one seed, and a key for every use.

A stream is found by its key and never carried along, so an interrupted run needs no generator state
to resume, and the draws of one part do not change those of another.
"""

import hashlib
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from lla.common.errors import check_seed

if TYPE_CHECKING:
    import torch


class StreamId(IntEnum):
    """What a stream is for: the first part of its key."""

    SPLIT = 0
    LDA_INITIAL = 1
    LDA_SWEEP = 2
    FOLD_IN = 3
    WEIGHTS = 4
    SE_STEP = 5
    M_STEP = 6
    DEVELOPMENT = 7
    PERPLEXITY = 8
    SIMULATE = 9
    DDLDA_INITIAL = 10
    DDLDA_SWEEP = 11
    DDLDA_FOLD_IN = 12
    AUTOENCODER = 13
    TABLES = 20
    CLICKS = 21
    GRU4REC = 22
    SASREC = 23
    SERVING = 24
    BOOTSTRAP = 25
    PROPORTIONS = 26
    INTRUSION = 27
    TOPIC_MAP = 28
    SOURCES = 29


def family_stream(name: str) -> int:
    """What stands in a key where others have a `StreamId`, for a family of models by its name."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little")


def stream(seed: int, *key: int) -> np.random.Generator:
    """Philox generator of the child of `seed` that `key` names."""
    check_seed(seed)
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=key)))


def torch_stream(seed: int, *key: int) -> "torch.Generator":
    """Torch generator seeded from the same child."""
    import torch  # here: simulated data need no Torch

    check_seed(seed)
    child = np.random.SeedSequence(seed, spawn_key=key)
    return torch.Generator().manual_seed(int(child.generate_state(1, np.uint64)[0] >> 1))
