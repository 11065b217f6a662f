"""Documents side by side: sorted by length, padded into columns, and the LSTM's states of them all.

The documents of a group move through time in lock-step. Each is a lane: column l of an array
(T, L), whose row t holds token t of all of them. Lanes are sorted by falling length, so the ones
still running are always the first.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from lla.common.arrays import as_array, blocks, check_range, check_topics
from lla.common.errors import InputError
from lla.common.parallel import Workers
from lla.common.progress import progress
from lla.common.random import stream
from lla.corpus import Corpus, check_same_vocabulary
from lla.lstm import CountingOutput, Network, NetworkConfig, State, probabilities
from lla.samplers.fused import step_lanes, step_lanes_bf16

Result = TypeVar("Result")
# oneDNN's product is about twice as fast as MKL's on AMD; not every build of Torch has it.
ONE_DNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
GROUPED_TOKENS = 2**25  # of a corpus whose documents are sorted by length together


def check_model(config: NetworkConfig, phi_shape: tuple[int, ...] | None, n_words: int) -> None:
    """Raise `InputError` unless network and φ are of one model, with `n_words` words.

    Parameters
    ----------
    phi_shape : (V, K); None where the network's outputs are words
    """
    n_outputs = config.n_outputs
    if phi_shape is not None and tuple(phi_shape) != (n_words, n_outputs):
        raise InputError(
            f"phi: {tuple(phi_shape)}, but there are {n_words} words and the network predicts "
            f"{n_outputs} topics; give both of one fit"
        )
    if phi_shape is None and n_outputs != n_words:
        raise InputError(
            f"network: it predicts {n_outputs} words of {n_words}; give the emission of its fit "
            "where it predicts topics, else the corpus that it was trained on"
        )
    n_inputs = config.n_topics * (1 + config.n_sources) if config.input == "topic" else n_words
    if config.n_inputs != n_inputs:
        of = "topics and origins" if config.reads_pairs else f"{config.input}s"
        raise InputError(
            f"network: it reads {config.n_inputs} {of}, but there are {n_inputs}; give network and "
            "emission of one fit"
        )


def check_items(vocabulary: Sequence[str], n_words: int) -> None:
    """Raise `InputError` unless there is a name for each of the model's items."""
    if len(vocabulary) != n_words:
        raise InputError(
            f"the model has {n_words} items and the vocabulary {len(vocabulary)}: give "
            "Model(..., vocabulary=corpus.vocabulary) of the corpus it was trained on"
        )


def check_pass(
    config: NetworkConfig,
    phi_shape: tuple[int, ...] | None,
    corpus: Corpus,
    topics: np.ndarray | None = None,
) -> None:
    """Raise `InputError` where a model cannot read a corpus with these topics (N,).

    The kernels check no bounds. Whatever runs a model over a corpus calls this first.
    """
    n_words = config.n_outputs if phi_shape is None else phi_shape[0]
    check_same_vocabulary(corpus, (), n_words)
    check_model(config, phi_shape, n_words)
    if topics is not None:
        check_topics("topics", topics, corpus.n_tokens, config.n_outputs)


def check_users(users: np.ndarray | None, n_documents: int, config: NetworkConfig) -> None:
    """Raise `InputError` unless `users` (D,) are of a network that knows its users, or -1."""
    if users is None or not config.user_rank:
        return
    users = as_array("users", users)
    if users.shape != (n_documents,) or users.dtype.kind not in "iu":
        raise InputError(
            f"users: {users.dtype} {users.shape}; give {n_documents} whole numbers, one of each "
            "document"
        )
    if (bad := check_range(users[users != -1], config.n_users)) is not None:
        raise InputError(
            f"users: the network knows no user {bad}; give 0 to {config.n_users - 1}, or -1"
        )


def sort_by_length(lengths: np.ndarray, documents: np.ndarray | None = None) -> np.ndarray:
    """Numbers of the documents (all, or the given ones) by falling length, ties in their order."""
    if documents is None:
        documents = np.arange(len(lengths))
    return documents[np.argsort(-lengths[documents], kind="stable")]


def group_by_length(
    lengths: np.ndarray, size: int, documents: np.ndarray | None = None
) -> list[np.ndarray]:
    """`sort_by_length` in groups of `size` documents; the last may be smaller."""
    order = sort_by_length(lengths, documents)
    return [order[first : first + size] for first in range(0, len(order), size)]


def group_documents(corpus: Corpus, size: int) -> list[np.ndarray]:
    """All documents in groups of `size` and of similar length.

    Those of a large corpus are grouped within runs of `GROUPED_TOKENS`, so that a pass over it
    goes through files that are mapped into memory from their beginning to their end.
    """
    groups = []
    for run, _ in blocks(corpus.offsets, 0, corpus.n_documents, GROUPED_TOKENS):
        groups += group_by_length(corpus.lengths, size, np.arange(run.start, run.stop))
    return groups


def running_lanes(lengths: np.ndarray) -> np.ndarray:
    """Number of lanes longer than t, for t = 0..T-1; `lengths` (L,) fall."""
    return np.searchsorted(-lengths, -np.arange(int(lengths[0])), side="left")


def columns(
    values: np.ndarray, offsets: np.ndarray, documents: np.ndarray, fill: int = 0
) -> np.ndarray:
    """What `values` (N,) holds for the documents, (T, L) int64; `fill` past a document's end.

    Parameters
    ----------
    offsets : (D+1,) where each document starts
    documents : (L,) by falling length
    """
    firsts, ends = offsets[documents], offsets[documents + 1]
    table = np.full((int(ends[0] - firsts[0]), len(documents)), fill, np.int64)
    for lane, (first, end) in enumerate(zip(firsts, ends, strict=True)):
        table[: end - first, lane] = values[first:end]
    return table


def input_columns(
    values: np.ndarray, offsets: np.ndarray, documents: np.ndarray, start: int
) -> np.ndarray:
    """`columns` one step late, the start symbol first: what an LSTM reads before each token."""
    firsts, ends = offsets[documents], offsets[documents + 1]
    table = np.full((int(ends[0] - firsts[0]), len(documents)), start, np.int64)
    for lane, (first, end) in enumerate(zip(firsts, ends, strict=True)):
        table[1 : end - first, lane] = values[first : end - 1]
    return table


def document_uniforms(
    documents: np.ndarray, lengths: np.ndarray, n_per_token: int, key: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Uniforms of every token, and one more of every document.

    Document d draws them from the stream (*key, d), so they depend neither on the group nor on
    the thread.

    Returns
    -------
    tokens, last : (T, L, n_per_token) float32, zeros past a document's end; (L,) float64
    """
    tokens = np.zeros((int(lengths[0]), len(documents), n_per_token), np.float32)
    last = np.empty(len(documents))
    for lane, (d, length) in enumerate(zip(documents, lengths, strict=True)):
        draw = stream(*key, int(d))
        tokens[:length, lane] = draw.random((length, n_per_token), np.float32)
        last[lane] = draw.random()
    return tokens, last


def first_lanes(state: tuple[Tensor, Tensor] | None, n_lanes: int) -> tuple[Tensor, Tensor] | None:
    """h and c of the first lanes, (1, L', H) each, as Torch's LSTM takes them; None stays None."""
    if state is None:
        return None
    h, c = state
    return h[:, :n_lanes].contiguous(), c[:, :n_lanes].contiguous()


def run_groups(
    work: Callable[[np.ndarray], Result],
    groups: Sequence[np.ndarray],
    pool: ThreadPoolExecutor,
    description: str,
) -> Iterator[Result]:
    """`work(group)` of every group on the pool's threads; results in the order of the groups."""
    tasks = [pool.submit(work, group) for group in groups]
    for task in progress(tasks, description=description, unit="group"):
        yield task.result()


def run_shared(
    run: Callable[[list[np.ndarray]], Iterable[int | np.ndarray]],
    groups: Sequence[np.ndarray],
    corpus: Corpus,
    workers: Workers,
    results: Sequence[np.ndarray | None],
    n_tallies: int = 1,
) -> np.ndarray:
    """A pass over a corpus by all processes, each of which runs groups of its own.

    Parameters
    ----------
    run : of some groups it writes to `results` what belongs to their tokens, and gives a whole
        number, or (n_tallies,) of them, for each
    results : (N,) each; every process has them whole in the end

    Returns
    -------
    The sum of all numbers, (n_tallies,)
    """
    owners = workers.owners([int(corpus.lengths[group].sum()) for group in groups])
    own = [group for group, rank in zip(groups, owners, strict=True) if rank == workers.rank]
    total = np.zeros(n_tallies, np.int64)
    for tally in run(own):
        total += tally
    if workers.size > 1:
        documents = np.concatenate(groups)
        owners = np.repeat(owners, [len(group) for group in groups])
        for array in results:
            if array is not None:
                starts, ends = corpus.offsets[documents], corpus.offsets[documents + 1]
                workers.share(array, starts, ends, owners)
        workers.add_up(total)
    return total


class Stepper:
    """The network one step at a time, without gradients; the caller holds the states.

    Inputs enter as rows of a table (n_inputs + 1, 4H), computed once: W_ih e_x + b_ih + b_hh.
    Gates are kept in the order i, f, o, g, so that one sigmoid covers three of them. With running
    counts these follow in the columns of h from H on, and then the d_u of users who are known: a
    state is (L, H + n_logits + R) then.

    Parameters
    ----------
    sources : False leaves out the gate of a network that has one: θ is over the topics alone
    users : (D,) the user of every document, -1 for an unknown one; None where all are unknown. Only
        a network that knows its users asks
    """

    def __init__(
        self, network: Network, sources: bool = True, users: np.ndarray | None = None
    ) -> None:
        weights, hidden = dict(network.lstm.named_parameters()), network.config.hidden_size
        order = torch.arange(4 * hidden).view(4, hidden)[[0, 1, 3, 2]].flatten()
        with torch.no_grad():
            bias = weights["bias_ih_l0"] + weights["bias_hh_l0"]
            table = torch.addmm(bias, network.input.table(), weights["weight_ih_l0"].T)
            self.table = table[:, order].contiguous()  # (n_inputs + 1, 4H)
            self.recurrent = weights["weight_hh_l0"][order].T.contiguous()  # (H, 4H)
            self.config = network.config
            if not sources:
                self.config = replace(self.config, n_outputs=self.config.n_topics, n_sources=0)
            n_logits = self.config.n_logits
            self.output = network.output.weight[:n_logits].T.contiguous()  # (H, n_logits)
            self.bias = network.output.bias[:n_logits].clone()  # (n_logits,)
            self.counted: Tensor | None = None
            if isinstance(network.output, CountingOutput):
                self.counted = network.counted[:, :n_logits].contiguous()
                every = torch.tensor(network.config.softmax_sizes)
                of_logits = torch.arange(len(every)).repeat_interleave(every)[:n_logits]
                self.exponent = network.output.exponent[of_logits].clone()  # (n_logits,)
                self.prior = network.output.log_prior.exp()[of_logits]
            self._users, self._own = users, None if network.users is None else network.users.own
            if network.users is not None:
                writing, reading = network.users.factors()
                self.writing = writing[order].T.contiguous()  # (R, 4H)
                self.reading = reading[:, :hidden].T.contiguous()  # (H, R)
                self.constant = reading[:, hidden].clone()  # (R,)
        self.hidden_size = hidden
        self.n_counts = 0 if self.counted is None else self.counted.shape[1]
        self.start = network.input.start

    @cached_property
    def table_bf16(self) -> np.ndarray:
        """The table in bfloat16, (n_inputs + 1, 4H) as uint16."""
        return self.table.bfloat16().view(torch.uint16).numpy()

    @torch.no_grad()
    def initial_state(self, n_lanes: int, documents: np.ndarray | None = None) -> State:
        """s_0 = 0: h and c, each (L, H); running counts and d_u beside h.

        Parameters
        ----------
        documents : (L,) of the lanes, whose users are looked up; None for unknown users, d_u = 0
        """
        rank = 0 if self._own is None else self._own.shape[1]
        h = self.table.new_zeros(n_lanes, self.hidden_size + self.n_counts + rank)
        if self._own is not None and self._users is not None and documents is not None:
            users = self._users[documents]
            known = np.flatnonzero(users >= 0)
            rows = torch.from_numpy(users[known]).to(h.device)
            h[known, self.hidden_size + self.n_counts :] = self._own[rows]
        return h, self.table.new_zeros(n_lanes, self.hidden_size)

    def step(self, ids: Tensor, h: Tensor, c: Tensor) -> Tensor:
        """Update h and c (L, H) in place by the inputs `ids` (L,); return θ (L, n_outputs)."""
        self.advance(ids, h, c)
        return self.theta(h)

    @torch.no_grad()
    def theta(self, h: Tensor) -> Tensor:
        """θ = softmax(W_p s + b_p) of states (L, H): (L, n_outputs); see `probabilities`."""
        return probabilities(self.logits(h), self.config.n_sources)

    @torch.no_grad()
    def logits(self, h: Tensor) -> Tensor:
        """W_p s + b_p of states (L, H), and what running counts add: (L, n_logits)."""
        end = self.hidden_size + self.n_counts
        state, counts = h[:, : self.hidden_size], h[:, self.hidden_size : end]
        if self.counted is None:
            return torch.addmm(self.bias, state, self.output)
        of_counts = (counts + self.prior).log_().mul_(self.exponent)
        return torch.addmm(self.bias, state, self.output).add_(of_counts)

    @torch.no_grad()
    def advance(self, ids: Tensor, h: Tensor, c: Tensor) -> None:
        """Update h and c (L, H) in place by the inputs `ids` (L,)."""
        hidden, end = self.hidden_size, self.hidden_size + self.n_counts
        if self.counted is not None:
            h[:, hidden:end] += self.counted.index_select(0, ids)
        h, own = h[:, :hidden], h[:, end:]
        gates = torch.addmm(self.table.index_select(0, ids), h, self.recurrent)  # (L, 4H)
        if self._own is not None:
            read = torch.addmm(self.constant, h, self.reading)  # (L, R)
            gates.addmm_(read.mul_(own), self.writing)
        gates[:, : 3 * hidden].sigmoid_()
        gates[:, 3 * hidden :].tanh_()
        i, f, o, g = gates.split(hidden, dim=1)  # each (L, H)
        c.mul_(f).addcmul_(i, g)
        torch.mul(o, torch.tanh(c), out=h)


class LaneStates:
    """The states of many lanes, for long loops: one product a step, then one pass over the rest.

    The same update as `Stepper.advance` but for rounding.

    Parameters
    ----------
    bfloat16 : round states, recurrent weights, their product and the table of inputs to bfloat16,
        which halves the memory traffic; sums stay float32

    Attributes
    ----------
    h : (n_lanes, H) states, s_0 = 0; a view of `padded`
    padded : (n_lanes, H and zeros up to a multiple of ALIGN)
    cell : (n_lanes, H)
    """

    ALIGN = 16  # floats in the longest vector register: every row of `padded` begins at one

    def __init__(self, stepper: Stepper, n_lanes: int, bfloat16: bool = False) -> None:
        hidden = stepper.hidden_size
        dtype = torch.bfloat16 if bfloat16 else torch.float32
        self._table = stepper.table_bf16 if bfloat16 else stepper.table.numpy()
        self._recurrent = stepper.recurrent.T.contiguous().to(dtype)
        self.padded = torch.zeros(n_lanes, hidden + -hidden % self.ALIGN)
        self.h = self.padded[:, :hidden]
        self.cell = torch.zeros(n_lanes, hidden)
        # The product is faster on rows without a gap, even with the copy.
        self._dense = torch.empty(n_lanes, hidden, dtype=dtype)
        self._product_bf16 = torch.empty(n_lanes, 4 * hidden, dtype=dtype) if bfloat16 else None

    @torch.no_grad()
    def advance(self, ids: Tensor) -> None:
        """Update the first len(`ids`) lanes by the inputs `ids`."""
        n = len(ids)
        dense = self._dense[:n].copy_(self.h[:n])
        inputs, h, cell = ids.numpy(), self.padded[:n].numpy(), self.cell[:n].numpy()
        if self._product_bf16 is None:
            step_lanes(self._product(dense).numpy(), self._table, inputs, h, cell)
        else:
            product = torch.mm(dense, self._recurrent.T, out=self._product_bf16[:n])
            bits = product.view(torch.uint16).numpy()
            step_lanes_bf16(bits, self._table, inputs, h, cell)

    def _product(self, h: Tensor) -> Tensor:
        if ONE_DNN:
            return torch.ops.mkldnn._linear_pointwise(h, self._recurrent, None, "none", [], "")
        return torch.mm(h, self._recurrent.T)
