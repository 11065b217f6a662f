"""Models of time on many processes and on a GPU, and of memory and disk. Nothing here measures.

Time of W processes, one core each, over N tokens, from costs per token of one core:

    sweep of LDA  c N/W + 2 N/B + M L              n_shards = W; M messages of W exchanges
    SE-step       s N/W + (2 N + 8 Q + 8 Q_W/W)/B + u Q_W/W + M L
    M-step        m N/W + N/(2048 W) (a + 8 P (W - 1)/(W B) + 2 (W - 1) L)
    scoring       f N/W + 8 N/B

P numbers make a gradient, a is a step of Adam. In the M-step each process computes 32 documents of
every batch, 64 tokens of each per step of Adam, so that a step reads 2,048 W tokens; it sends
2 (W - 1)/W gradients of 4 bytes per number in 2 (W - 1) messages, one after the other. A sweep of
LDA exchanges topics, 2 bytes each, and n_k once in each of W epochs. An SE-step exchanges topics,
and pairs of word and topic: Q in the corpus, Q_W summed over what each process counted. It merges
those of its own words, u seconds each, and all processes get the sums, 8 bytes a pair. B and L are
those of the network, `BANDWIDTH` and `LATENCY`, which are assumed and not measured.
"""

import math
from dataclasses import dataclass

from lla.common.arrays import SPILL_BYTES, id_dtype
from lla.inference.distributed import chunk_bytes

# Assumed of a cluster, not measured: bytes per second and seconds per message of its network.
BANDWIDTH, LATENCY = 1.25e9, 50e-6
WINDOW_TOKENS = 32 * 64  # that a process reads per step of Adam
TOPIC_BYTES = 2  # of an assignment, for K up to 65,536
PAIR_BYTES = 8  # of a topic and how often a word has it; its φ takes 4 more in memory
PIECES = 16  # in which an SE-step sorts topics by word
# Memory outside NumPy in an epoch of the M-step, as measured over ten million tokens; over 0.6 and
# 2 million it was half and 0.6 of this. A part may be oneDNN's, which keeps up to 1,024 compiled
# products: a loop over windows of 900 shapes (H = 150) left 0.54 GB behind, and 0.03 GB with the
# variable ONEDNN_PRIMITIVE_CACHE_CAPACITY at 16. In a fit of 0.2 million tokens that variable made
# no difference; over ten million it was not tried, nor is it known whether more would take more.
WORKSPACE_BYTES = 1e9


# ------------------------------------------------------------------------------------------- time


def sweep_seconds(n_workers: int, *, n_tokens: float, sweep: float, n_topics: int) -> float:
    """Of a sweep of sparse LDA that costs `sweep` core seconds per token."""
    others = n_workers - 1
    if not others:
        return n_tokens * sweep
    of_epoch = TOPIC_BYTES * n_tokens / n_workers**2  # that a process sends to each of the others
    gathers = math.ceil(of_epoch / chunk_bytes(n_workers)) + 2  # and n_k, there and back
    messages = n_workers * gathers * others * LATENCY
    exchange = (TOPIC_BYTES * n_tokens + n_workers * 16 * n_topics) / BANDWIDTH
    return n_tokens * sweep / n_workers + exchange + messages


def m_step_seconds(
    n_workers: int,
    *,
    n_tokens: float,
    m: float,
    adam_step: float,
    n_numbers: float,
    n_threads: int = 1,
) -> float:
    """Of an epoch of the M-step that costs `m` core seconds per token, and Adam's steps.

    Parameters
    ----------
    n_threads : of each process; each computes as many documents of a batch as a process of one
    """
    n_cores, others = n_workers * n_threads, n_workers - 1
    n_steps = n_tokens / (WINDOW_TOKENS * n_cores)
    exchange = 8 * n_numbers * others / n_workers / BANDWIDTH + 2 * others * LATENCY
    return n_tokens * m / n_cores + n_steps * (adam_step + exchange)


def se_step_seconds(
    n_workers: int,
    *,
    n_tokens: float,
    se: float,
    n_pairs: float = 0.0,
    n_counted: float = 0.0,
    merge: float = 0.0,
) -> float:
    """Of an SE-step that costs `se` core seconds per token.

    Parameters
    ----------
    n_pairs : of word and topic, in the whole corpus; 0 leaves them out
    n_counted : the same summed over the processes
    merge : seconds to merge one of those
    """
    if n_workers == 1:
        return n_tokens * se
    own, chunk = n_counted / n_workers, chunk_bytes(n_workers)
    exchange = (TOPIC_BYTES * n_tokens + PAIR_BYTES * (n_pairs + own)) / BANDWIDTH
    gathers = math.ceil(TOPIC_BYTES * n_tokens / n_workers / chunk)
    if n_pairs:  # topics and counts to all; before it lengths of rows, topics, counts to owners
        gathers += 2 * math.ceil(PAIR_BYTES / 2 * n_pairs / n_workers / chunk) + 3
    messages = gathers * (n_workers - 1) * LATENCY
    return n_tokens * se / n_workers + exchange + messages + merge * own


def scoring_seconds(n_workers: int, *, n_tokens: float, score: float) -> float:
    """Of scoring that costs `score` core seconds per token, all its particles counted."""
    exchange = 8 * n_tokens / BANDWIDTH if n_workers > 1 else 0.0
    return n_tokens * score / n_workers + exchange


@dataclass(frozen=True)
class GPU:
    """A GPU as arithmetic sees it: published peaks, and assumed shares of them.

    Attributes
    ----------
    name : what it is
    bfloat16, float32 : floating-point operations per second, at their peaks; an M-step multiplies
        in bfloat16, the exact SE-step in float32
    bandwidth : bytes per second of its memory, at its peak
    share : of both peaks that is reached
    launch : seconds of one step in time that waits for the one before
    lanes : documents that an SE-step draws side by side
    """

    name: str = "A100, 80 GB"
    bfloat16: float = 312e12
    float32: float = 19.5e12
    bandwidth: float = 2.0e12
    share: float = 0.3
    launch: float = 2e-5
    lanes: int = 4096


def flops_forward(n_topics: int, hidden_size: int, embedding_size: int) -> int:
    """Floating-point operations per token of the LSTM and the softmax: 8H(E + H) + 2HK."""
    return 8 * hidden_size * (embedding_size + hidden_size) + 2 * hidden_size * n_topics


def gpu_se_step_seconds(gpu: GPU, n_tokens: float, flops: float, n_topics: int) -> float:
    """Of an exact SE-step: products, memory of the draw, and steps in time.

    A token's draw writes K logits, reads them beside a row of φ, and writes and reads their
    cumulated products: 5 K numbers of 4 bytes.
    """
    per_token = flops / gpu.float32 + 20 * n_topics / gpu.bandwidth
    return n_tokens * (per_token / gpu.share + gpu.launch / gpu.lanes)


def gpu_memory(gpu: GPU, n_words: int, n_topics: int) -> int:
    """Bytes on the GPU: φ, and logits, rows of φ and cumulated products of all lanes; float32."""
    return 4 * n_topics * (n_words + 3 * gpu.lanes)


def gpu_m_step_seconds(gpu: GPU, n_tokens: float, flops: float, batch_size: int) -> float:
    """Of an epoch: forward and backward three times the products, and twice the steps in time."""
    return n_tokens * (3 * flops / gpu.bfloat16 / gpu.share + 2 * gpu.launch / batch_size)


# ------------------------------------------------------------------------------- memory and disk


def lda_memory(n_tokens: float, n_documents: float, n_shards: int, n_processes: int) -> int:
    """Bytes that a process of a sweep of LDA takes for itself, beside its libraries.

    An entry of n_dk for each of its own tokens, 4 bytes; then the number of each one's document, 2
    or 4, or while a shard is reordered a copy of its topics, 2. Per document lengths, slots, sizes
    and some temporaries, 48. What is exchanged at once, of each process and packed. The topics of
    all tokens, 2, unless they are so many that they lie in a file, as the words always do.
    """
    own, topics = n_tokens / n_processes, TOPIC_BYTES * n_tokens
    documents = id_dtype(int(n_documents)).itemsize * own
    return int(
        4 * own
        + max(documents, topics / n_shards)
        + 48 * n_documents
        + (1 + n_processes) * chunk_bytes(n_processes)
        + (topics if topics < SPILL_BYTES else 0)
    )


def sem_memory(
    n_tokens: float,
    n_documents: float,
    *,
    n_words: int,
    n_topics: int,
    n_pairs: float,
    n_processes: int = 1,
    n_counted: float = 0.0,
) -> int:
    """Bytes that a process of a fit of topic LLA takes for itself, beside its libraries.

    What Torch's products keep; the topics of all tokens, 2, unless they lie in a file, and 48 per
    document. Then whichever is more: n_wk and φ, 4 bytes per cell each; or φ, the counted pairs of
    word and topic, and a piece of the topics sorted by word. Several processes exchange n_wk, or
    its pairs as long as they are less than two of it; and while each merges the pairs of its words,
    it has those that it counted, those that it was sent, their sum, and what all exchange at once.

    Parameters
    ----------
    n_pairs : of word and topic, in the whole corpus
    n_counted : the same summed over the processes, where there are several
    """
    cells, topics = 4 * n_words * n_topics, TOPIC_BYTES * n_tokens
    pairs, tables = (PAIR_BYTES + 4) * n_pairs, 2 * cells
    if n_processes > 1:
        merging = PAIR_BYTES * (n_pairs + 3 * n_counted / n_processes)
        pairs = max(pairs, merging + (1 + n_processes) * chunk_bytes(n_processes))
        tables = 3 * cells
    counted = max(tables, cells + pairs + topics / n_processes / PIECES)
    kept = topics if topics < SPILL_BYTES else 0
    return int(WORKSPACE_BYTES + kept + 48 * n_documents + counted)


def disk_bytes(
    n_tokens: float,
    n_observed: float,
    n_documents: float,
    *,
    n_words: int,
    n_topics: int,
    n_numbers: int,
    vocabulary: int,
) -> dict[str, int]:
    """Bytes of the corpus, LDA's assignments, a checkpoint of topic LLA, and its saved model.

    Words and assignments take 2 each, offsets 8 per document. A checkpoint has the assignments, and
    the best iteration's; weights, Adam's two moments and the best weights, 4 bytes per number. A
    model has φ and its weights.

    Parameters
    ----------
    n_numbers : P, of the network
    vocabulary : bytes of the words, line ends included
    """
    weights = 4 * n_numbers
    word = id_dtype(n_words).itemsize
    return {
        "corpus": int(word * n_tokens + 8 * (n_documents + 1) + vocabulary),
        "assignments": int(TOPIC_BYTES * n_observed),
        "checkpoint": int(2 * TOPIC_BYTES * n_observed + 4 * weights),
        "model": int(4 * n_words * n_topics + weights + vocabulary),
    }
