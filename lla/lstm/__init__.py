"""Table 1: an input transform feeds one LSTM, an output transform reads its state.

    model       reads                                   predicts           p(w_t | w_<t)
    topic_lla   topics, by table (IdEmbedding)          topics             particle filter
    word_lla    words, by table (IdEmbedding)           topics             exact
    char_lla    words, by letters (CharacterEmbedding)  topics             exact
    word_lstm   words, by table (IdEmbedding)           words              exact
    char_lstm   words, by letters (CharacterEmbedding)  words              exact

The output transform is a softmax in every model (SoftmaxOutput). LLA has an emission p(w | topic)
on top (`lla.inference.emission`); with a personal emission no likelihood is exact. Beside a gate
topic LLA reads where an item came from, too (PairEmbedding). Its output can read the counts of the
topics so far (CountingOutput), and its recurrence can know the user (`lla.lstm.users`); letters are
`lla.lstm.characters`.

What needs Torch is loaded when it is first used; the configurations need none.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from lla.lstm.config import MODELS, CharacterConfig, NetworkConfig

if TYPE_CHECKING:
    from lla.lstm.characters import UNKNOWN, CharacterEmbedding, Spelling, spell
    from lla.lstm.network import (
        HAS_BFLOAT16,
        CountingOutput,
        IdEmbedding,
        Network,
        PairEmbedding,
        SoftmaxOutput,
        State,
        probabilities,
    )

__all__ = [
    "HAS_BFLOAT16",
    "MODELS",
    "UNKNOWN",
    "CharacterConfig",
    "CharacterEmbedding",
    "CountingOutput",
    "IdEmbedding",
    "Network",
    "NetworkConfig",
    "PairEmbedding",
    "SoftmaxOutput",
    "Spelling",
    "State",
    "probabilities",
    "spell",
]

_OF_CHARACTERS = ("UNKNOWN", "CharacterEmbedding", "Spelling", "spell")


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'lla.lstm' has no attribute {name!r}")
    file = "characters" if name in _OF_CHARACTERS else "network"
    return getattr(import_module(f"lla.lstm.{file}"), name)
