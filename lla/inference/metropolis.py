"""The SE-step by Metropolis-Hastings: Torch moves the state, `metropolis` moves the topics.

Documents run side by side in lanes, one token of each at a time. Their lengths are known, so the
lane and the time of each are too: when one ends the next begins in its lane, and no lane idles.
"""

import heapq
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from lla.common.errors import check_integer
from lla.common.progress import progress
from lla.corpus import Corpus
from lla.inference.stepper import Lanes, Stepper
from lla.lstm import Network
from lla.samplers.metropolis import fill_alias, move_topics, sparse_rows
from lla.samplers.philox import entropy_of, fill_uniforms, stream_keys

BLOCK = 64  # tokens of a lane whose uniforms are drawn at once


GROUPS = 64  # pieces of a corpus, at most: each runs on one thread


DEPTH = 4  # documents that follow one another in a lane, about, before there are more pieces


PIECES, TOKENS_A_PIECE = 16, 2**20  # at most, at least: topics are put in order piece by piece


BLOCK_OF_PAIRS = 2**20  # of word and topic whose φ is computed at once


PILOT = (32, 8)  # documents, and tokens of each, that `normaliser` looks at


@dataclass(frozen=True)
class MHConfig:
    """How topics are moved.

    Attributes
    ----------
    n_mh : Metropolis-Hastings steps a token
    n_lanes : documents in lock-step, at most; decides speed, and how documents are grouped
    bfloat16 : the recurrent product in bfloat16, which some processors have (see `Lanes`)
    """

    n_mh: int = 2
    n_lanes: int = 512
    bfloat16: bool = False

    def __post_init__(self) -> None:
        check_integer("n_mh", self.n_mh)
        check_integer("n_lanes", self.n_lanes)


@dataclass(frozen=True)
class MHResult:
    """What an SE-step by Metropolis-Hastings yields.

    Attributes
    ----------
    topics : (N,)
    acceptance : share of proposals that were accepted
    sparse_share : share of proposals that came from the sparse part
    changed : tokens whose topic is another one now
    log_scale : the c that the proposals were made with
    """

    topics: np.ndarray
    acceptance: float
    sparse_share: float
    changed: int
    log_scale: float


class Rows(NamedTuple):
    """The sparse part of every word, in compressed rows.

    starts : (V + 1,) int64 where the row of a word begins
    topics : (nnz,) int32, rising within a row
    phi : (nnz,) float32 s_k
    """

    starts: np.ndarray
    topics: np.ndarray
    phi: np.ndarray


class Alias(NamedTuple):
    """A Walker alias table: cell k is drawn uniformly, then k with `keep[k]`, else `other[k]`.

    weights : (K,) float64 what it was built from
    keep : (K,) float64
    other : (K,) int32
    """

    weights: np.ndarray
    keep: np.ndarray
    other: np.ndarray


class Output(NamedTuple):
    """The output layer: W_p (K, H padded with zeros) and b_p (K,), float32."""

    weight: np.ndarray
    bias: np.ndarray


@dataclass(frozen=True)
class Target:
    """All that the topics of one SE-step are drawn from; nothing in it changes meanwhile."""

    stepper: Stepper
    reads_words: bool
    output: Output
    rows: Rows
    alias: Alias
    dense_total: float
    longest_row: int

    @classmethod
    def of(cls, network: Network, corpus: Corpus, topics: np.ndarray, beta: float) -> "Target":
        """From a network, and the counts of `topics` (N,) on the corpus's words."""
        n_topics, v_beta = network.config.n_outputs, corpus.n_words * beta
        starts, row_topics, counts, total = sparse_rows(
            corpus.words, topics, corpus.n_words, n_topics, pieces_of(corpus.n_tokens)
        )
        phi = np.empty(len(counts), np.float32)
        for i in range(0, len(counts), BLOCK_OF_PAIRS):  # float64 in between
            part = slice(i, i + BLOCK_OF_PAIRS)
            phi[part] = counts[part] / (total[row_topics[part]] + v_beta)
        dense = beta / (total + v_beta)
        alias = Alias(dense, np.empty(n_topics), np.empty(n_topics, np.int32))
        fill_alias(*alias)
        weight = network.output.weight.detach()
        padded = torch.zeros(n_topics, -(-weight.shape[1] // Lanes.ALIGN) * Lanes.ALIGN)
        padded[:, : weight.shape[1]] = weight
        return cls(
            Stepper(network),
            network.config.input != "topic",
            Output(padded.numpy(), network.output.bias.detach().numpy().copy()),
            Rows(starts, row_topics, phi),
            alias,
            float(dense.sum()),
            int(np.diff(starts).max()),
        )


def pieces_of(n_tokens: int) -> int:
    """Pieces that `sparse_rows` puts a corpus in order by: every one is a pass over all tokens."""
    return max(1, min(PIECES, -(-n_tokens // TOKENS_A_PIECE)))


@torch.no_grad()
def normaliser(target: Target, corpus: Corpus, topics: np.ndarray) -> float:
    """log of the mean of exp(o_k) under the dense part, averaged over some tokens of the corpus.

    The states are those that the last assignments lead to.
    """
    n_documents, n_tokens = PILOT
    chosen = np.unique(np.linspace(0, corpus.n_documents - 1, n_documents).astype(np.int64))
    chosen = chosen[np.argsort(-corpus.lengths[chosen], kind="stable")]
    fed = corpus.words if target.reads_words else topics
    lanes, stepper = Lanes(target.stepper, len(chosen)), target.stepper
    share = torch.from_numpy(target.alias.weights / target.dense_total).float()
    found = []
    for t in range(min(n_tokens, int(corpus.lengths[chosen[0]]))):
        running = chosen[corpus.lengths[chosen] > t]
        inputs = fed[corpus.offsets[running] + t - 1].astype(np.int64)
        lanes.move(torch.from_numpy(inputs if t else np.full_like(inputs, stepper.start)))
        logits = torch.addmm(stepper.bias, lanes.h[: len(running)], stepper.output)
        most = logits.amax(dim=1)
        found.append(most + logits.sub_(most[:, None]).exp_().mv(share).log())
    return float(torch.cat(found).mean())


def mh_sweep(
    network: Network,
    corpus: Corpus,
    topics: np.ndarray,
    beta: float,
    config: MHConfig,
    seed: int,
    key: tuple[int, ...],
    pool: ThreadPoolExecutor,
    description: str = "moving",
    into: np.ndarray | None = None,
) -> MHResult:
    """Draw every topic anew given those drawn before it, starting from its last assignment.

    Document d draws its uniforms from the stream (seed, *key, d), and what runs at once hangs on
    the configuration alone, so a result does not depend on the number of threads.

    Parameters
    ----------
    topics : (N,) the last assignments, whose counts are the emission
    into : (N,) takes what is drawn; may be `topics` itself

    Raises
    ------
    FloatingPointError
        When the network gives no probabilities.
    """
    target = Target.of(network, corpus, topics, beta)
    log_scale = normaliser(target, corpus, topics)
    drawn = np.empty_like(topics) if into is None else into
    order = np.argsort(-corpus.lengths, kind="stable")
    # Long and short documents in every group: groups that take as long, four or a multiple.
    n_groups = min(GROUPS, 4 * -(-len(order) // (4 * DEPTH * config.n_lanes)))
    tasks = [
        pool.submit(
            _move_group, target, corpus, topics, order[g::n_groups], config, log_scale,
            (seed, *key), drawn,
        )
        for g in range(min(n_groups, len(order)))
    ]  # fmt: skip
    tally = np.zeros(3, np.int64)
    for task in progress(tasks, description=description, unit="group"):
        tally += task.result()
    accepted, sparse = (tally[:2] / (config.n_mh * corpus.n_tokens)).tolist()
    return MHResult(drawn, accepted, sparse, int(tally[2]), log_scale)


def lanes_for(lengths: np.ndarray, most: int) -> int:
    """As many lanes as can all be busy until the longest document ends, `most` at most."""
    return min(most, -(-int(lengths.sum()) // int(lengths.max())))


def schedule(lengths: np.ndarray, n_lanes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where documents, sorted by falling length, run: each begins in the lane that is free first.

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


def _move_group(
    target: Target,
    corpus: Corpus,
    topics: np.ndarray,
    documents: np.ndarray,
    config: MHConfig,
    log_scale: float,
    key: tuple[int, ...],
    drawn: np.ndarray,
) -> np.ndarray:
    """The lock-step loop over time; when a document ends, the next one begins in its lane."""
    lengths = corpus.lengths[documents]
    lane_of, begins, totals = schedule(lengths, lanes_for(lengths, config.n_lanes))
    n_lanes, steps = len(totals), int(totals[0])
    running = np.searchsorted(-totals, -np.arange(steps), side="left")  # lanes with total > t
    order = np.argsort(begins, kind="stable")
    due = np.searchsorted(begins[order], np.arange(steps + 1))  # documents begun before t

    lanes = Lanes(target.stepper, n_lanes, config.bfloat16)
    states, cells = lanes.padded.numpy(), lanes.cell.numpy()
    inputs, position = np.empty(n_lanes, np.int64), np.empty(n_lanes, np.int64)
    ids, uniforms = torch.from_numpy(inputs), np.empty((n_lanes, BLOCK, 2 * config.n_mh))
    keys, streams = np.empty((len(order), 2), np.uint64), np.empty((n_lanes, 2), np.uint64)
    stream_keys(entropy_of(*key), documents[order], keys)
    taken = np.empty(n_lanes, np.int64)
    scratch = np.empty((2, target.longest_row))
    fed = corpus.words if target.reads_words else drawn
    fixed = (*target.output, *target.rows, *target.alias, target.dense_total, log_scale)
    tally = np.zeros(3, np.int64)  # accepted, sparse, changed
    for t in range(steps):
        n, column = int(running[t]), t % BLOCK
        if t and not column:
            fill_uniforms(streams, taken, np.arange(n), 0, uniforms)
        if due[t] < due[t + 1]:
            begun = slice(due[t], due[t + 1])
            new = lane_of[order[begun]]
            states[new], cells[new], inputs[new] = 0.0, 0.0, target.stepper.start
            position[new] = corpus.offsets[documents[order[begun]]]
            streams[new], taken[new] = keys[begun], 0
            fill_uniforms(streams, taken, new, column, uniforms)
        lanes.move(ids[:n])
        *counts, failed = move_topics(
            *fixed, corpus.words, topics, position[:n], states[:n], uniforms[:n], column, fed,
            drawn, inputs[:n], *scratch,
        )  # fmt: skip
        if failed >= 0:
            d = np.searchsorted(corpus.offsets, failed, side="right") - 1
            raise FloatingPointError(
                f"document {d} has no probabilities under the model: use a smaller learning rate, "
                "for training diverged"
            )
        tally += counts
    return tally
