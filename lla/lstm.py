"""Torch: words read letter by letter (paper, equation 4; Ling et al., 2015).

    e_w = D^f h^f + D^b h^b + b_d

h^f is the last state of an LSTM over the characters of w, h^b that of another LSTM over the same
characters from the last to the first. No table of V rows is needed.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence

from lla.common.errors import InputError, check_integer
from lla.inference.packed_lstm import gate_table, last_states, packed_lstm

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
            check_integer(name, getattr(self, name))


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


INPUTS = ("topic", "word", "character")


# Twice as fast as MKL's product on processors of another maker; not every build of Torch has it.
ONE_DNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


State = tuple[Tensor, Tensor]  # h and c, each (1, B, H)


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes of a network; the paper searches embedding and state sizes in {50, 150, 250}.

    Attributes
    ----------
    n_inputs : number of distinct inputs (K for topic LLA, else V); the start symbol comes on top
    n_outputs : number of distinct outputs (K for every LLA, V for a language model)
    embedding_size, hidden_size : E and H
    dropout : share of embedding and state units dropped, one mask a document and window
    input : what an input is: a topic, a word, or a word read letter by letter
    characters : sizes of the encoder that reads letters
    """

    n_inputs: int
    n_outputs: int
    embedding_size: int = 50
    hidden_size: int = 150
    dropout: float = 0.0
    input: str = "topic"
    characters: CharacterConfig = field(default_factory=CharacterConfig)

    def __post_init__(self) -> None:
        for name in ("n_inputs", "n_outputs", "embedding_size", "hidden_size"):
            check_integer(name, getattr(self, name))
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout is {self.dropout}: give a share from 0 to below 1")
        if self.input not in INPUTS:
            raise InputError(f"input is {self.input!r}: choose one of {', '.join(INPUTS)}")

    def n_parameters(self, n_characters: int = 0) -> int:
        """Parameters as the paper counts them: of the input, 4H(E + H + 1) and of the output.

        The start symbol and Torch's second bias are left out.

        Parameters
        ----------
        n_characters : ids of characters, where words are read letter by letter
        """
        e, h = self.embedding_size, self.hidden_size
        if self.input == "character":
            e_c, h_c = self.characters.embedding_size, self.characters.hidden_size
            # Both directions, then D^f, D^b and b_d of equation 4.
            of_input = n_characters * e_c + 8 * h_c * (e_c + h_c + 1) + e * (2 * h_c + 1)
        else:
            of_input = self.n_inputs * e
        return of_input + 4 * h * (e + h + 1) + self.n_outputs * (h + 1)


class IdEmbedding(nn.Module):
    """Input transform by table look-up: topic or word ids; the last row is the start symbol."""

    def __init__(self, n_inputs: int, embedding_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_inputs + 1, embedding_size))

    @property
    def start(self) -> int:
        """Id of the start symbol."""
        return self.weight.shape[0] - 1

    def forward(self, ids: Tensor) -> Tensor:
        return F.embedding(ids, self.weight)  # (..., E)

    def table(self) -> Tensor:
        """Embedding of every id, (n_inputs + 1, E)."""
        return self.weight


class SoftmaxOutput(nn.Module):
    """Output transform θ = softmax(W_p s + b_p): over topics (LLA) or over words (LSTM)."""

    def __init__(self, hidden_size: int, n_outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_outputs, hidden_size))  # W_p
        self.bias = nn.Parameter(torch.empty(n_outputs))  # b_p

    def forward(self, states: Tensor) -> Tensor:
        return F.linear(states, self.weight, self.bias)  # (..., n_outputs), logits


class Network(nn.Module):
    """Input transform, LSTM, output transform; parameters are drawn from `generator`.

    Parameters
    ----------
    spelling : characters of the V words; needed when they are the input
    """

    def __init__(
        self, config: NetworkConfig, generator: torch.Generator, spelling: Spelling | None = None
    ) -> None:
        super().__init__()
        self.config = config
        letters, embedding = config.input == "character", config.embedding_size
        if letters and (spelling is None or len(spelling.lengths) != config.n_inputs):
            raise InputError(
                f"input is 'character': give the spelling of all {config.n_inputs} words"
            )
        with torch.device("meta"):  # the default initialisers would draw from the global generator
            if letters:
                self.input = CharacterEmbedding(spelling, config.characters, embedding)
            else:
                self.input = IdEmbedding(config.n_inputs, embedding)
            self.lstm = nn.LSTM(embedding, config.hidden_size)
            self.output = SoftmaxOutput(config.hidden_size, config.n_outputs)
        self.to_empty(device="cpu")
        if letters:
            self.input.attach(spelling)
        self.reset(generator)

    @torch.no_grad()
    def reset(self, generator: torch.Generator) -> None:
        """Uniform ±1/√H weights, zero biases, forget gates open (bias 1); letters apart."""
        bound = self.config.hidden_size**-0.5
        for name, parameter in self.named_parameters():
            if "bias" in name:
                parameter.zero_()
                if "bias_ih" in name:  # gates stand in the order i, f, g, o
                    parameter.view(4, -1)[1] = 1.0
            else:
                parameter.uniform_(-bound, bound, generator=generator)
        if isinstance(self.input, CharacterEmbedding):
            self.input.reset(generator)

    def forward(
        self, ids: Tensor, state: State | None = None, generator: torch.Generator | None = None
    ) -> tuple[Tensor, State]:
        """Logits after each input of a window, (T, B, n_outputs), and the state to carry on."""
        states, state = self.states(ids, state, generator)
        return self.output(states), state

    def states(
        self, ids: Tensor, state: State | None = None, generator: torch.Generator | None = None
    ) -> tuple[Tensor, State]:
        """What the output transform reads, (T, B, H), and the state for the next window.

        Parameters
        ----------
        ids : (T, B) inputs x_{t-1}, the start symbol at a document's beginning
        state : h, c, each (1, B, H); None is s_0 = 0
        generator : where dropout masks come from; None means no dropout
        """
        embedded = self.input(ids)  # (T, B, E)
        states, state = self.lstm(self._drop(embedded, generator), state)  # (T, B, H)
        return self._drop(states, generator), state

    def packed_states(
        self,
        ids: Tensor,
        sizes: Sequence[int],
        state: State | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, State]:
        """`states` without padding, on the CPU: (N, H), one step after another.

        Parameters
        ----------
        ids : (N,) inputs of step 1, then of step 2, ...
        sizes : (T,) documents that run at each step, falling; they are always the first ones
        state, generator : as in `states`; the state that comes back is of those that run last
        """
        lane = torch.cat([torch.arange(n) for n in sizes])  # (N,) whose input each is
        distinct, rows = torch.unique(ids, return_inverse=True)
        if generator is None or self.config.dropout == 0:
            table = gate_table(self.lstm, self.input(distinct))  # (M, 4H)
        else:  # a mask a document: no two have an input in common
            mask = self._mask(sizes[0], self.config.embedding_size, generator)
            dropped = self.input(distinct).index_select(0, rows) * mask.index_select(0, lane)
            table, rows = gate_table(self.lstm, dropped), torch.arange(len(ids))  # (N, 4H)
        given = state and (state[0][0], state[1][0])
        states, cells = packed_lstm(table, self.lstm.weight_hh_l0, rows, sizes, given)
        after = states[-sizes[-1] :][None], cells[-sizes[-1] :][None]
        if generator is not None and self.config.dropout > 0:
            mask = self._mask(sizes[0], self.config.hidden_size, generator)
            states = states * mask.index_select(0, lane)
        return states, after

    def _drop(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        if generator is None or self.config.dropout == 0:
            return x
        return x * self._mask(*x.shape[1:], generator).to(x.device)  # one for all T steps

    def _mask(self, n_documents: int, n_units: int, generator: torch.Generator) -> Tensor:
        """0 or 1 / (1 - dropout), one a document and unit (Gal & Ghahramani, 2016)."""
        keep = 1.0 - self.config.dropout
        return torch.empty(n_documents, n_units).bernoulli_(keep, generator=generator) / keep

    def n_parameters(self) -> int:
        """Number of trained numbers; φ is counted apart."""
        return sum(p.numel() for p in self.parameters())
