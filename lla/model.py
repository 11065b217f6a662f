"""A trained latent LSTM allocation: what predicts, in one value."""

import hashlib
from dataclasses import dataclass

import numpy as np

from lla.emission import PersonalEmission, SharedEmission
from lla.lstm import Network


@dataclass(frozen=True)
class Model:
    """The LSTM, the emission (None where the LSTM predicts words), and the assignments (N,)."""

    network: Network
    emission: SharedEmission | PersonalEmission | None
    topics: np.ndarray

    def fingerprint(self) -> str:
        """SHA-256 of all that predicts."""
        digest = hashlib.sha256()
        for value in self.emission.arrays() if self.emission else ():
            digest.update(value.contiguous().numpy())
        for _, value in sorted(self.network.state_dict().items()):
            digest.update(value.contiguous().numpy())
        return digest.hexdigest()
