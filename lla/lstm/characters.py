"""Words read letter by letter: the characters of every word, and the encoder that reads them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lla.common.display import Summarized
from lla.lstm.config import CharacterConfig

UNKNOWN = 0  # id of every character that is not in the alphabet
INIT_SCALE = 10.0  # times the usual bound of an LSTM's first weights; 6 to 20 do as well


@dataclass(frozen=True, repr=False)
class Spelling(Summarized):
    """The characters of every word.

    Attributes
    ----------
    alphabet : characters with an id, by code point, in the order of their ids from 1 on; 0 is the
        unknown
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


def spell(vocabulary: Sequence[str], config: CharacterConfig) -> Spelling:
    """Character ids of words in any script."""
    n_words = Counter(c for word in vocabulary for c in set(word))
    alphabet = "".join(sorted(c for c, n in n_words.items() if n >= config.min_words))
    ids = {c: i for i, c in enumerate(alphabet, start=1)}
    # An empty word is one unknown character: every word needs a state.
    words = [
        [ids.get(c, UNKNOWN) for c in word[: config.max_chars]] or [UNKNOWN] for word in vocabulary
    ]
    lengths = np.array([len(word) for word in words], np.int64)
    characters = np.zeros((len(words), lengths.max()), np.int64)
    for row, word in zip(characters, words, strict=True):
        row[: len(word)] = word
    return Spelling(alphabet, characters, lengths)


class CharacterEmbedding(nn.Module):
    """Input transform for words read letter by letter (paper, equation 4; Ling et al., 2015).

        e_w = D^f h^f + D^b h^b + b_d

    h^f is the last state of an LSTM over the characters of w, h^b that of another LSTM over the
    same characters from the last to the first. No table of V rows is needed. The start symbol has
    a vector of its own.
    """

    characters: Tensor
    lengths: Tensor

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
        """Draw weights such that words start far apart, with variance 1 per entry.

        With small weights in three layers all words start as nearly one vector, from which the LSTM
        over words learns nothing in many passes. Large weights make the last states a hash of the
        whole word, as in echo state networks; the output is then scaled as a whole (Mishkin &
        Matas, 2016).
        """
        bound = INIT_SCALE * self.lstm.hidden_size**-0.5
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
        letters = self.characters[words[order], : lengths[0]]  # (U, M)
        place = torch.arange(letters.shape[1], device=letters.device)
        n_running = (place[:, None] < lengths).sum(dim=1).tolist()  # words longer than m, (M,)
        reversed_letters = letters.gather(1, (lengths[:, None] - 1 - place).clamp(min=0))
        with torch.autocast(letters.device.type, enabled=False):  # small: float32 costs little
            h_forward = self._last_states(letters, n_running, "")  # (U, H_c)
            h_backward = self._last_states(reversed_letters, n_running, "_reverse")
            sums = torch.addmm(self.bias, h_forward, self.combine_forward.T)  # (U, E)
            sums = torch.addmm(sums, h_backward, self.combine_backward.T)
        return sums.index_select(0, order.argsort())

    def _last_states(self, letters: Tensor, n_running: list[int], suffix: str) -> Tensor:
        """h after the last character of every word, (U, H_c).

        `nn.LSTM` itself needs padding or packing, which makes it up to 3 times slower here; its
        products of inputs are taken from a table with a row per character.

        Parameters
        ----------
        letters : (U, M) ids of characters, longest word first
        n_running : (M,) words that have an m-th character; they are the first rows
        suffix : "_reverse" for the LSTM that reads backwards
        """
        w_ih, w_hh, b_ih, b_hh = (
            getattr(self.lstm, f"{name}_l0{suffix}")
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        table = torch.addmm(b_ih + b_hh, self.weight, w_ih.T)  # (n_characters, 4H_c)
        h = c = table.new_zeros(len(letters), w_hh.shape[1])
        last = []
        for m, n in enumerate(n_running):
            last.append(h[n:])
            gates = torch.addmm(table.index_select(0, letters[:n, m]), h[:n], w_hh.T)
            i, f, g, o = gates.chunk(4, dim=1)  # each (n, H_c)
            c = f.sigmoid() * c[:n] + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
        return torch.cat([h, *reversed(last)])

    def table(self) -> Tensor:
        """Embedding of every word and of the start symbol, (V + 1, E)."""
        return self(torch.arange(self.start + 1, device=self.bias.device))
