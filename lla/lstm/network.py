"""The network: input transform, LSTM, output transform."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lla.common.eager import Uninitialised
from lla.common.errors import InputError
from lla.lstm.characters import CharacterEmbedding, Spelling
from lla.lstm.config import NetworkConfig
from lla.lstm.users import UserRecurrence

# oneDNN's LSTM in bfloat16 needs AVX-512 or the like, which many processors lack.
HAS_BFLOAT16 = (
    torch.backends.mkldnn.is_available()
    and hasattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported")
    and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
)
FIRST_EXPONENT, FIRST_PRIOR = 0.0, 1.0  # of running counts, before training

# h and c, (1, B, H) each; of running counts (1, B, n_logits), of known users their rows (1, B)
State = tuple[Tensor, ...]


class Network(nn.Module):
    """Input transform, LSTM, output transform; parameters are drawn from `generator`.

    Parameters
    ----------
    spelling : characters of the V words; needed when they are the input
    """

    counted: Tensor  # `count_table`, where running counts are read
    topic_words: Any  # φ as parameters (`inference.objectives`), of the marginal objective

    def __init__(
        self, config: NetworkConfig, generator: torch.Generator, spelling: "Spelling | None" = None
    ) -> None:
        super().__init__()
        self.config = config
        letters = spelling if config.input == "character" else None
        if config.input == "character" and (
            letters is None or len(letters.lengths) != config.n_inputs
        ):
            raise InputError(
                f"input is 'character': give the spelling of all {config.n_inputs} words"
            )
        self.input: IdEmbedding | PairEmbedding | CharacterEmbedding
        with Uninitialised():
            if letters:
                self.input = CharacterEmbedding(letters, config.characters, config.embedding_size)
            elif config.reads_pairs:
                self.input = PairEmbedding(config.n_topics, config.n_sources, config.embedding_size)
            else:
                self.input = IdEmbedding(config.n_inputs, config.embedding_size)
            self.lstm = nn.LSTM(config.embedding_size, config.hidden_size)
            self.output = SoftmaxOutput(config.hidden_size, config.n_logits)
            if config.running_counts:
                self.output = CountingOutput(config.hidden_size, config.softmax_sizes)
            self.users: UserRecurrence | None = None
            if config.user_rank:
                self.users = UserRecurrence(config.n_users, config.user_rank, config.hidden_size)
        if letters and isinstance(self.input, CharacterEmbedding):
            self.input.attach(letters)
        if config.running_counts:
            self.register_buffer("counted", count_table(config), persistent=False)
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
        if isinstance(self.output, CountingOutput):
            self.output.reset()
        if self.users is not None:
            self.users.reset()

    def first_state(self, users: Tensor) -> State | None:
        """What `states` starts from for these users (B,), their rows; None is s_0 = 0."""
        if self.users is None:
            return None
        n_users, config = len(users), self.config
        h, c = self.users.own.new_zeros(2, 1, n_users, config.hidden_size)
        counts = [h.new_zeros(1, n_users, config.n_logits)] if config.running_counts else []
        return (h, c, *counts, users[None])

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

        With running counts they follow the state, (T, B, H + n_logits).

        Parameters
        ----------
        ids : (T, B) inputs x_{t-1}, the start symbol at a document's beginning
        state : h, c, each (1, B, H), running counts, and users (see `first_state`); None is
            s_0 = 0, of new users
        generator : where dropout masks come from; None means no dropout
        """
        embedded = self._drop(self.input(ids), generator)  # (T, B, E)
        users: State = ()
        if self.users is None:
            lstm_state = state and (state[0], state[1])
            states, (h, c) = self.lstm(embedded, lstm_state)  # (T, B, H)
        else:
            state = state or self.first_state(ids.new_full((ids.shape[1],), -1))
            assert state is not None
            users = state[-1:]
            states, (h, c) = self.users.run(self.lstm, embedded, state[0], state[1], users[0][0])
        states = self._drop(states, generator)
        if not self.config.running_counts:
            return states, (h, c, *users)
        counts = self.counted[ids].cumsum(dim=0)
        if state:
            counts = counts + state[2]  # (T, B, n_logits)
        return torch.cat([states, counts], dim=2), (h, c, counts[-1:], *users)

    def _drop(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        if generator is None or self.config.dropout == 0:
            return x
        mask = self._mask(x.shape[1], x.shape[2], generator)  # one for all T steps
        return x * mask.to(x.device)

    def _mask(self, n_documents: int, n_units: int, generator: torch.Generator) -> Tensor:
        """0 or 1 / (1 - dropout) per document and unit (Gal & Ghahramani, 2016)."""
        keep = 1.0 - self.config.dropout
        return torch.empty(n_documents, n_units).bernoulli_(keep, generator=generator) / keep

    def n_parameters(self) -> int:
        """Number of trained numbers; φ is counted apart."""
        return sum(p.numel() for p in self.parameters())


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


class PairEmbedding(nn.Module):
    """Input transform of pairs k + K c: a topic, and where its item came from.

    The vector of topic k, and where source j produced the item (c = j + 1) that of j added to it.
    The last topic's row is the start symbol, which comes after all pairs.
    """

    def __init__(self, n_topics: int, n_sources: int, embedding_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_topics + 1, embedding_size))
        self.origin = nn.Parameter(torch.empty(n_sources, embedding_size))

    @property
    def start(self) -> int:
        """Id of the start symbol."""
        return (len(self.weight) - 1) * (1 + len(self.origin))

    def forward(self, ids: Tensor) -> Tensor:
        return F.embedding(ids, self.table())  # (..., E)

    def table(self) -> Tensor:
        """Embedding of every pair and of the start symbol, (K(1 + S) + 1, E)."""
        topics = self.weight[:-1]  # (K, E)
        moved = [topics + origin for origin in self.origin]
        return torch.cat([topics, *moved, self.weight[-1:]])


def probabilities(logits: Tensor, n_sources: int = 0) -> Tensor:
    """The probability of every output, (..., n_outputs), from logits (..., n_logits).

    Without sources their softmax. With S of them there are two: θ of the first K logits, over
    topics, and π of the others, over the topics together and each source; the outputs have the
    probabilities π_0 θ_1, ..., π_0 θ_K, π_1, ..., π_S.
    """
    if n_sources == 0:
        return logits.softmax(dim=-1)
    n_topics = logits.shape[-1] - n_sources - 1
    theta, pi = logits[..., :n_topics].softmax(dim=-1), logits[..., n_topics:].softmax(dim=-1)
    return torch.cat([pi[..., :1] * theta, pi[..., 1:]], dim=-1)


class SoftmaxOutput(nn.Module):
    """Output transform θ = softmax(W_p s + b_p): over topics (LLA) or over words (LSTM).

    Its softmax, or the two of a gate, are `probabilities`.
    """

    def __init__(self, hidden_size: int, n_outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_outputs, hidden_size))  # W_p
        self.bias = nn.Parameter(torch.empty(n_outputs))  # b_p

    def forward(self, states: Tensor) -> Tensor:
        return F.linear(states, self.weight, self.bias)  # (..., n_outputs), logits


class CountingOutput(SoftmaxOutput):
    """The output transform beside what a document, or a user, has had so far.

        θ_k ∝ exp(W_p s + b_p)_k (n_k + α)^η

    n_k counts topic k among those before. η and α are learned and belong to no user, so new users
    need no parameters. With η = 0 it is `SoftmaxOutput`; with η = 1 and W_p = b_p = 0 it predicts
    topics as LDA does, in whatever order they came. The second softmax of a gate has its own η and
    α, and counts where the items came from.

    Attributes
    ----------
    exponent, log_prior : η and log α of each softmax
    sizes : logits of each softmax, as `NetworkConfig.softmax_sizes`
    """

    def __init__(self, hidden_size: int, sizes: tuple[int, ...]) -> None:
        super().__init__(hidden_size, sum(sizes))
        self.sizes = sizes
        self.exponent = nn.Parameter(torch.empty(len(sizes)))
        self.log_prior = nn.Parameter(torch.empty(len(sizes)))

    @torch.no_grad()
    def reset(self) -> None:
        """Begin with the LSTM alone and a count of one of every topic."""
        self.exponent.fill_(FIRST_EXPONENT)
        self.log_prior.fill_(math.log(FIRST_PRIOR))

    def forward(self, states: Tensor) -> Tensor:
        hidden = self.weight.shape[1]
        of_state = super().forward(states[..., :hidden])
        return of_state + self.of_counts(states[..., hidden:])

    def of_counts(self, counts: Tensor) -> Tensor:
        """η log(n + α) of counts (..., n_logits)."""
        sizes = torch.tensor(self.sizes, device=counts.device)
        exponent = self.exponent.repeat_interleave(sizes)
        return exponent * (counts + self.log_prior.exp().repeat_interleave(sizes)).log()


def count_table(config: NetworkConfig) -> Tensor:
    """What each input adds to the running counts, (n_inputs + 1, n_logits) of 0 and 1.

    A topic counts as one, a pair k + K c as topic k and origin c; the start symbol as nothing.
    """
    table = torch.zeros(config.n_inputs + 1, config.n_logits)
    ids = torch.arange(config.n_inputs)
    if config.n_sources:
        table[ids, ids % config.n_topics] = 1.0
        table[ids, config.n_topics + ids // config.n_topics] = 1.0
    else:
        table[ids, ids] = 1.0
    return table
