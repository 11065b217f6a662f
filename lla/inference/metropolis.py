"""The SE-step by Metropolis-Hastings: Torch updates the states, Numba moves the topics.

Documents run side by side in lanes, one token of each at a time (see `batch`). Their lengths are
known, so each one's lane and first time step are too: when a document ends, the next begins in its
lane, and no lane is idle.
"""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from lla.common.errors import InputError, NumericalError, check_each, check_flag, check_integer
from lla.common.parallel import ALONE, Pool, Workers
from lla.common.random import stream
from lla.corpus import Corpus
from lla.inference.batch import (
    LaneStates,
    Stepper,
    check_pass,
    run_groups,
    run_shared,
    running_lanes,
    sort_by_length,
)
from lla.lstm import Network
from lla.samplers.metropolis import (
    Alias,
    Output,
    Proposal,
    Rows,
    TokenLanes,
    fill_alias,
    merge_rows,
    move_topics,
    sparse_rows,
)

BLOCK = 64  # tokens of a lane whose uniforms are drawn at once
MAX_GROUPS = 64  # pieces of a corpus; each runs on one thread
DEPTH = 4  # documents per lane, roughly, from which there are more groups
MAX_PIECES, TOKENS_PER_PIECE = 16, 2**20  # topics are sorted by word piece by piece
PAIRS_AT_ONCE = 2**20  # of word and topic whose φ is computed at once
PILOT_DOCUMENTS, PILOT_TOKENS = 32, 8  # the sample that `estimate_log_scale` looks at


@dataclass(frozen=True)
class MHConfig:
    """Settings of the Metropolis-Hastings SE-step.

    Attributes
    ----------
    n_mh : Metropolis-Hastings steps per token
    n_lanes : most documents in lock-step; decides speed, and how documents are grouped
    bfloat16 : the recurrent product in bfloat16, which some processors have (see `LaneStates`)
    """

    n_mh: int = 2
    n_lanes: int = 512
    bfloat16: bool = False

    def __post_init__(self) -> None:
        check_each(self, check_integer, "n_mh", "n_lanes")
        check_each(self, check_flag, "bfloat16")


@dataclass(frozen=True)
class MHResult:
    """Topics of an SE-step by Metropolis-Hastings, and its diagnostics.

    Attributes
    ----------
    topics : (N,)
    acceptance : acceptance rate of the proposals
    sparse_share : share of proposals that came from the sparse part
    changed : tokens whose topic differs from the last one
    log_scale : the c that the proposals were made with
    """

    topics: np.ndarray
    acceptance: float
    sparse_share: float
    changed: int
    log_scale: float

    @property
    def info(self) -> dict[str, float]:
        """Diagnostics of the draws."""
        return {"acceptance": self.acceptance, "sparse_share": self.sparse_share}


@dataclass(frozen=True)
class MHTarget:
    """Network and counts of one SE-step; constant during the step."""

    stepper: Stepper
    reads_words: bool
    output: Output
    rows: Rows
    alias: Alias
    dense_total: float
    longest_row: int

    @classmethod
    def from_counts(
        cls,
        network: Network,
        corpus: Corpus,
        topics: np.ndarray,
        beta: float,
        workers: Workers = ALONE,
    ) -> "MHTarget":
        """From a network, and the counts of `topics` (N,) on the corpus's words."""
        n_topics, v_beta = network.config.n_outputs, corpus.n_words * beta
        if network.config.running_counts:
            raise InputError(
                "network: it reads running counts of topics, of which no proposal is made here; "
                "draw by 'exact' or 'filter'"
            )
        if network.config.user_rank:
            raise InputError(
                "network: its users have recurrences of their own, which no proposal knows; draw "
                "by 'exact' or 'filter'"
            )
        check_pass(network.config, (corpus.n_words, n_topics), corpus, topics)
        starts, row_topics, counts, total = count_rows(corpus, topics, n_topics, workers)
        phi = np.empty(len(counts), np.float32)
        for first in range(0, len(counts), PAIRS_AT_ONCE):  # float64 in between
            part = slice(first, first + PAIRS_AT_ONCE)
            phi[part] = counts[part] / (total[row_topics[part]] + v_beta)
        dense = beta / (total + v_beta)
        alias = Alias(dense, keep=np.empty(n_topics), other=np.empty(n_topics, np.int32))
        fill_alias(alias.weights, alias.keep, alias.other)
        weight = network.output.weight.detach()
        align = LaneStates.ALIGN
        padded = torch.zeros(n_topics, -(-weight.shape[1] // align) * align)
        padded[:, : weight.shape[1]] = weight
        return cls(
            stepper=Stepper(network),
            reads_words=network.config.input != "topic",
            output=Output(padded.numpy(), network.output.bias.detach().numpy().copy()),
            rows=Rows(starts, row_topics, phi),
            alias=alias,
            dense_total=float(dense.sum()),
            longest_row=int(np.diff(starts).max()),
        )

    def proposal(self, log_scale: float) -> Proposal:
        """The kernels' form of it."""
        return Proposal(self.output, self.rows, self.alias, self.dense_total, log_scale)


def n_pieces(n_tokens: int) -> int:
    """Pieces in which `sparse_rows` sorts a corpus: each is a pass over all tokens."""
    return max(1, min(MAX_PIECES, -(-n_tokens // TOKENS_PER_PIECE)))


def count_rows(
    corpus: Corpus, topics: np.ndarray, n_topics: int, workers: Workers
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """`sparse_rows` of all tokens, of which each process counts a part.

    It then sums the rows of a range of words, in which there are about as many pairs of word and
    topic as in that of any other, and all processes have all sums.
    """
    part, n_words = workers.part(corpus.n_tokens), corpus.n_words
    words, topics = corpus.words[part], topics[part]
    starts, row_topics, counts, total = sparse_rows(
        words, topics, n_words, n_topics, n_pieces(len(words))
    )
    if workers.size == 1:
        return starts, row_topics, counts, total
    lengths = np.diff(starts)
    n_pairs = lengths.copy()
    workers.add_up(n_pairs)
    cuts = np.searchsorted(workers.owners(n_pairs), np.arange(workers.size + 1))
    own_lengths = workers.exchange(lengths.astype(np.int32), cuts).reshape(workers.size, -1)
    own_topics = workers.exchange(row_topics, starts[cuts])
    own_counts = workers.exchange(counts, starts[cuts])
    own_lengths, *own_rows = merge_rows(own_lengths, own_topics, own_counts, n_topics)
    lengths[:] = 0
    lengths[cuts[workers.rank] : cuts[workers.rank + 1]] = own_lengths
    workers.add_up(lengths)
    workers.add_up(total)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    ends = starts[cuts]
    row_topics, counts = np.empty(starts[-1], np.int32), np.empty(starts[-1], np.int32)
    for rows, own in zip((row_topics, counts), own_rows, strict=True):
        rows[ends[workers.rank] : ends[workers.rank + 1]] = own
        workers.share(rows, ends[:-1], ends[1:], np.arange(workers.size))
    return starts, row_topics, counts, total


@torch.no_grad()
def estimate_log_scale(target: MHTarget, corpus: Corpus, topics: np.ndarray) -> float:
    """log of the mean of exp(o_k) under the dense part, averaged over some tokens of the corpus.

    The states are those that the last assignments lead to.
    """
    spread = np.linspace(0, corpus.n_documents - 1, PILOT_DOCUMENTS)
    chosen = sort_by_length(corpus.lengths, np.unique(spread.astype(np.int64)))
    n_running = running_lanes(corpus.lengths[chosen])[:PILOT_TOKENS]
    lstm_inputs = corpus.words if target.reads_words else topics
    stepper, lanes = target.stepper, LaneStates(target.stepper, len(chosen))
    share = torch.from_numpy(target.alias.weights / target.dense_total).float()
    found = []
    for t, n in enumerate(n_running):
        ids = lstm_inputs[corpus.offsets[chosen[:n]] + t - 1].astype(np.int64)
        lanes.advance(torch.from_numpy(ids if t else np.full_like(ids, stepper.start)))
        logits = torch.addmm(stepper.bias, lanes.h[:n], stepper.output)
        largest = logits.amax(dim=1)
        found.append(largest + logits.sub_(largest[:, None]).exp_().mv(share).log())
    return float(torch.cat(found).mean())


def mh_sweep(
    network: Network,
    corpus: Corpus,
    topics: np.ndarray,
    beta: float,
    config: MHConfig,
    *,
    seed: int,
    key: tuple[int, ...],
    pool: Pool,
    description: str = "Metropolis-Hastings",
    out: np.ndarray | None = None,
) -> MHResult:
    """Draw every topic anew given those drawn before it, starting from its last assignment.

    Parameters
    ----------
    topics : (N,) the last assignments, whose counts are the emission
    seed, key : document d draws its uniforms from the stream (seed, *key, d), and the grouping
        depends only on `config`, so a result does not depend on the number of threads and processes
    out : (N,) array to write to; may be `topics` itself

    Raises
    ------
    NumericalError
        When the network gives no probabilities.
    """
    if out is not None and (out.shape != topics.shape or out.dtype.kind not in "iu"):
        raise InputError(f"out: {out.dtype} {out.shape}; give whole numbers, one per token")
    target = MHTarget.from_counts(network, corpus, topics, beta, pool.workers)
    log_scale = estimate_log_scale(target, corpus, topics)
    drawn = np.empty_like(topics) if out is None else out
    order = sort_by_length(corpus.lengths)
    # Every group has long and short documents, so all take about as long: four or a multiple.
    n_groups = min(MAX_GROUPS, 4 * -(-len(order) // (4 * DEPTH * config.n_lanes)))
    groups = [order[g::n_groups] for g in range(min(n_groups, len(order)))]

    def run(documents: np.ndarray) -> np.ndarray:
        group = _Group(target, corpus, documents, config, (seed, *key))
        return group.move(topics, log_scale, drawn)

    accepted, sparse, changed = run_shared(
        lambda own: run_groups(run, own, pool, description),
        groups,
        corpus,
        pool.workers,
        [drawn],
        n_tallies=3,
    )
    n_proposals = config.n_mh * corpus.n_tokens
    return MHResult(
        topics=drawn,
        acceptance=float(accepted / n_proposals),
        sparse_share=float(sparse / n_proposals),
        changed=int(changed),
        log_scale=log_scale,
    )


def busy_lanes(lengths: np.ndarray, n_lanes: int) -> int:
    """As many lanes as can all be busy until the longest document ends, at most `n_lanes`."""
    return min(n_lanes, -(-int(lengths.sum()) // int(lengths.max())))


def schedule(lengths: np.ndarray, n_lanes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lane and start of documents sorted by falling length: each takes the lane that is free first.

    Returns
    -------
    lanes, begins : (D,) lane and first time step of each document
    totals : (L,) time steps of each lane, falling
    """
    lanes, begins = np.empty(len(lengths), np.int64), np.empty(len(lengths), np.int64)
    free = [(0, lane) for lane in range(min(n_lanes, len(lengths)))]
    for d, length in enumerate(lengths.tolist()):
        begins[d], lanes[d] = free[0]
        heapq.heapreplace(free, (free[0][0] + length, free[0][1]))
    totals, numbers = zip(*sorted(((end, lane) for end, lane in free), reverse=True), strict=True)
    rank = np.empty(len(free), np.int64)
    rank[list(numbers)] = np.arange(len(free))
    return rank[lanes], begins, np.array(totals)


class _Group:
    """The documents of one thread, in lanes that are refilled.

    Attributes
    ----------
    documents, lane_of : (D,) in the order in which they begin, and the lane of each
    n_begun : (T + 1,) documents that begin before time step t
    running : (T,) lanes that are busy at t; they are the first ones
    """

    def __init__(
        self,
        target: MHTarget,
        corpus: Corpus,
        documents: np.ndarray,
        config: MHConfig,
        key: tuple[int, ...],
    ) -> None:
        lengths = corpus.lengths[documents]
        lane_of, begins, totals = schedule(lengths, busy_lanes(lengths, config.n_lanes))
        order = np.argsort(begins, kind="stable")
        self.target, self.corpus, self.key = target, corpus, key
        self.documents, self.lane_of = documents[order], lane_of[order]
        self.n_begun = np.searchsorted(begins[order], np.arange(totals[0] + 1))
        self.running = running_lanes(totals)
        n_lanes = len(totals)
        self.states = LaneStates(target.stepper, n_lanes, config.bfloat16)
        self.generators: dict[int, np.random.Generator] = {}  # of the document in each lane
        self.lanes = TokenLanes(
            position=np.empty(n_lanes, np.int64),
            states=self.states.padded.numpy(),
            uniforms=np.empty((n_lanes, BLOCK, 2 * config.n_mh)),
            inputs=np.empty(n_lanes, np.int64),
            scaled=np.empty(target.longest_row),
            running=np.empty(target.longest_row),
        )

    def move(self, topics: np.ndarray, log_scale: float, drawn: np.ndarray) -> np.ndarray:
        """The lock-step loop over time; proposals accepted, proposals sparse, topics changed."""
        words = self.corpus.words
        lstm_inputs = words if self.target.reads_words else drawn
        proposal = self.target.proposal(log_scale)
        ids = torch.from_numpy(self.lanes.inputs)
        tally = np.zeros(3, np.int64)
        for t, n in enumerate(self.running):
            column = t % BLOCK
            if t and not column:
                self._draw_uniforms(range(n), 0)
            self._begin_documents(t)
            self.states.advance(ids[:n])
            lanes = self.lanes._replace(position=self.lanes.position[:n])
            *counts, failed = move_topics(
                proposal, words, topics, lanes, column, lstm_inputs, drawn
            )
            if failed >= 0:
                d = np.searchsorted(self.corpus.offsets, failed, side="right") - 1
                raise NumericalError(
                    f"document {d} has no probabilities under the model: training diverged; use "
                    "a smaller learning rate"
                )
            tally += counts
        return tally

    def _begin_documents(self, t: int) -> None:
        """Put the documents that begin at time step t into their lanes."""
        begin = slice(self.n_begun[t], self.n_begun[t + 1])
        documents, lanes = self.documents[begin], self.lane_of[begin]
        if len(documents) == 0:
            return
        self.lanes.states[lanes] = 0.0
        self.states.cell.numpy()[lanes] = 0.0
        self.lanes.inputs[lanes] = self.target.stepper.start
        self.lanes.position[lanes] = self.corpus.offsets[documents]
        for d, lane in zip(documents.tolist(), lanes.tolist(), strict=True):
            self.generators[lane] = stream(*self.key, d)
        self._draw_uniforms(lanes.tolist(), t % BLOCK)

    def _draw_uniforms(self, lanes: Iterable[int], column: int) -> None:
        """The next uniforms of some lanes' documents, from `column` of their block on."""
        for lane in lanes:
            self.generators[lane].random(out=self.lanes.uniforms[lane, column:])
