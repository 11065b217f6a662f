"""Torch: words read letter by letter (paper, equation 4; Ling et al., 2015).

    e_w = D^f h^f + D^b h^b + b_d

h^f is the last state of an LSTM over the characters of w, h^b that of another LSTM over the same
characters from the last to the first. No table of V rows is needed.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence

from lla.errors import check_whole
from lla.packed_lstm import gate_table, last_states, packed_lstm

UNKNOWN = 0  # id of every character that is not in the alphabet
HASHING = 10.0  # times the usual bound of an LSTM's first weights; 6 to 20 do as well


@dataclass(frozen=True)
class CharacterConfig:
    """Sizes of the encoder; the paper searches both in {50, 100, 150}.

    Attributes
    ----------
    embedding_size, hidden_size : of a character, and of the state over characters
    least_words : a character in fewer words than this is unknown, so that the unknown is trained
    longest : characters of a word that are read; the rest is cut off
    """

    embedding_size: int = 50
    hidden_size: int = 50
    least_words: int = 2
    longest: int = 40

    def __post_init__(self) -> None:
        for name in ("embedding_size", "hidden_size", "least_words", "longest"):
            check_whole(name, getattr(self, name))


@dataclass(frozen=True)
class Spelling:
    """The characters of every word.

    Attributes
    ----------
    alphabet : characters with an id, in the order of their ids from 1 on; 0 is the unknown
    characters : (V, M) int64 ids, zeros past a word's end
    lengths : (V,) int64, at least 1
    """

    alphabet: str
    characters: np.ndarray
    lengths: np.ndarray

    @property
    def n_characters(self) -> int:
        """Number of ids, the unknown's included."""
        return len(self.alphabet) + 1


def alphabet_of(vocabulary: Sequence[str], config: CharacterConfig) -> str:
    """Characters of `config.least_words` words or more, by code point."""
    words = Counter(c for word in vocabulary for c in set(word))
    return "".join(sorted(c for c, n in words.items() if n >= config.least_words))


def spell(
    vocabulary: Sequence[str], config: CharacterConfig, alphabet: str | None = None
) -> Spelling:
    """Character ids of words in any script.

    Parameters
    ----------
    alphabet : of the words a network was trained on; by default that of `vocabulary`
    """
    alphabet = alphabet_of(vocabulary, config) if alphabet is None else alphabet
    ids = {c: i for i, c in enumerate(alphabet, start=1)}
    # An empty word is one unknown character: every word needs a state.
    words = [
        [ids.get(c, UNKNOWN) for c in word[: config.longest]] or [UNKNOWN] for word in vocabulary
    ]
    lengths = np.array([len(word) for word in words], np.int64)
    characters = np.zeros((len(words), lengths.max()), np.int64)
    for row, word in zip(characters, words, strict=True):
        row[: len(word)] = word
    return Spelling(alphabet, characters, lengths)


class CharacterEmbedding(nn.Module):
    """Input transform by equation 4; the start symbol has a vector of its own."""

    def __init__(self, spelling: Spelling, config: CharacterConfig, embedding_size: int) -> None:
        super().__init__()
        hidden = config.hidden_size
        self.weight = nn.Parameter(torch.empty(spelling.n_characters, config.embedding_size))
        self.lstm = nn.LSTM(config.embedding_size, hidden, bidirectional=True)
        self.combine_forward = nn.Parameter(torch.empty(embedding_size, hidden))  # D^f
        self.combine_backward = nn.Parameter(torch.empty(embedding_size, hidden))  # D^b
        self.bias = nn.Parameter(torch.empty(embedding_size))  # b_d
        self.start_vector = nn.Parameter(torch.empty(embedding_size))

    def attach(self, spelling: Spelling) -> None:
        """Hold the words' characters beside the weights; they are no part of the state dict."""
        for name in ("characters", "lengths"):
            value = torch.from_numpy(getattr(spelling, name))
            self.register_buffer(name, value, persistent=False)

    @torch.no_grad()
    def reset(self, generator: torch.Generator) -> None:
        """Draw what reads letters so that words begin as codes far apart, of variance 1 an entry.

        With small weights in three layers all words begin as nearly one vector, and the LSTM over
        words learns nothing from it in many passes. Large weights make the last states a hash of
        the whole word, as in echo state networks; what they give is then scaled as a whole
        (Mishkin & Matas, 2016).
        """
        bound = HASHING * self.lstm.hidden_size**-0.5
        self.weight.uniform_(-(3**0.5), 3**0.5, generator=generator)  # variance 1
        drawn = [p for name, p in self.lstm.named_parameters() if "weight" in name]
        for parameter in (*drawn, self.combine_forward, self.combine_backward):
            parameter.uniform_(-bound, bound, generator=generator)
        words = self.encode(torch.arange(self.start))  # (V, E)
        mean, spread = words.mean(dim=0), words.std(dim=0, correction=0).square().mean().sqrt()
        if spread > 0:  # two words at least
            self.combine_forward.div_(spread)
            self.combine_backward.div_(spread)
            self.bias.copy_(-mean / spread)

    @property
    def start(self) -> int:
        """Id of the start symbol."""
        return len(self.lengths)

    def forward(self, ids: Tensor) -> Tensor:
        """Embeddings of word ids (...) -> (..., E); each distinct word is encoded once."""
        distinct, place = torch.unique(ids, return_inverse=True)  # (U,), (...)
        words = distinct[distinct < self.start]  # ids are sorted: the start symbol can only be last
        rows = torch.cat([self.encode(words), self.start_vector[None]])  # (U or U + 1, E)
        return F.embedding(place, rows)  # (..., E)

    def encode(self, words: Tensor) -> Tensor:
        """e_w of word ids, (U,) -> (U, E)."""
        if len(words) == 0:
            return self.bias.new_empty(0, len(self.bias))
        lengths, order = self.lengths[words].sort(descending=True, stable=True)
        spelled = self.characters[words[order], : lengths[0]]  # (U, M)
        last_of = _last_states if self.bias.device.type == "cpu" else _last_states_by_torch
        h, h_reverse = last_of(self.lstm, self.weight, spelled, lengths)  # each (U, H_c)
        sums = torch.addmm(self.bias, h, self.combine_forward.T)  # (U, E)
        sums = torch.addmm(sums, h_reverse, self.combine_backward.T)
        return sums.index_select(0, order.argsort())

    def table(self) -> Tensor:
        """Embedding of every word and of the start symbol, (V + 1, E)."""
        return self(torch.arange(self.start + 1, device=self.bias.device))


def _last_states(
    lstm: nn.LSTM, weight: Tensor, spelled: Tensor, lengths: Tensor
) -> tuple[Tensor, Tensor]:
    """h at the last character and, read backwards, at the first, (U, H_c) each.

    Parameters
    ----------
    weight : (n_characters, E_c) embeddings of characters
    spelled, lengths : (U, M) ids and (U,) lengths, falling
    """
    place = torch.arange(spelled.shape[1])  # (M,)
    there = place[:, None] < lengths  # (M, U)
    backwards = spelled.gather(1, (lengths[:, None] - 1 - place).clamp(min=0))
    sizes, found = there.sum(dim=1).tolist(), []
    for suffix, letters in (("", spelled), ("_reverse", backwards)):
        table, recurrent = gate_table(lstm, weight, suffix), getattr(lstm, f"weight_hh_l0{suffix}")
        states, _ = packed_lstm(table, recurrent, letters.T[there], sizes)
        found.append(last_states(states, sizes, lengths))
    return found[0], found[1]


def _last_states_by_torch(
    lstm: nn.LSTM, weight: Tensor, spelled: Tensor, lengths: Tensor
) -> tuple[Tensor, Tensor]:
    """The same by Torch's own packing, on any device."""
    packed = pack_padded_sequence(F.embedding(spelled.T, weight), lengths.cpu())
    _, (h, _) = lstm(packed)  # (2, U, H_c)
    return h[0], h[1]
