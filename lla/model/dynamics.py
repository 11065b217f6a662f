"""What a trained LSTM expects after each topic, and how far back it remembers.

Both start from states that the LSTM is in within the documents it was trained on. Under topic LLA
topics depend on earlier topics alone, whatever the emission, so no word is needed to look ahead.
What is counted from the topics themselves is in `lla.topics.dynamics`.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lla.common.arrays import check_topics
from lla.common.errors import InputError, check_instance, check_integer, check_seed
from lla.common.parallel import one_thread, thread_pool
from lla.common.progress import progress
from lla.common.random import StreamId, stream
from lla.corpus import Corpus
from lla.inference.batch import (
    Stepper,
    group_by_length,
    input_columns,
    run_groups,
    running_lanes,
)
from lla.model import Model
from lla.samplers.histories import choose_rows

GROUP = 256  # documents whose states are computed side by side


def expected_after(
    model: Model,
    steps: int = 20,
    *,
    n_futures: int = 200,
    seed: int = 0,
    n_threads: int | None = None,
) -> np.ndarray:
    """E[θ_{t+h} | z_t = k], h = 1..steps, averaged over the contexts in which topic k occurs.

    For each topic, `n_futures` of its tokens are taken at even distances through the training
    corpus, tokens repeating where there are fewer. The LSTM reads the document up to each; from its
    state one future is drawn topic by topic, and the θ of all are averaged. h = 1 needs no draw.

    Parameters
    ----------
    model : topic LLA with the topics of its tokens, as `fit_sem` and `load_sem` return it
    steps : tokens ahead
    n_futures : futures of each topic
    seed : of contexts and futures; the result does not depend on `n_threads`

    Returns
    -------
    (steps, K, K) float64: [h - 1, k] sums to 1, and is NaN where no token has topic k

    Raises
    ------
    InputError
        When the model reads words, or lacks the topics of its tokens.
    """
    corpus, topics = _read_topics(model)
    check_integer("steps", steps)
    check_integer("n_futures", n_futures)
    seed = check_seed(seed)
    stepper = Stepper(model.network, sources=False, users=np.arange(corpus.n_documents))
    n_topics = model.network.config.n_topics
    occurring = np.flatnonzero(np.bincount(topics, minlength=n_topics))
    places = _places_of_topics(topics, occurring, n_futures, seed)  # (topics that occur, n_futures)
    after = np.full((steps, n_topics, n_topics), np.nan)

    def of_topic(chosen: np.ndarray) -> np.ndarray:
        (i,) = chosen
        draw = stream(seed, StreamId.TOPIC_MAP, 2, int(occurring[i]))
        rows = slice(i * n_futures, (i + 1) * n_futures)
        ids = np.full(n_futures, occurring[i])
        return _mean_futures(stepper, ids, h[rows].clone(), c[rows].clone(), steps, draw)

    with thread_pool(n_threads) as pool:
        h, c = _states_before(stepper, corpus, _inputs_of(model, topics), places.ravel())
        single = [np.array([i]) for i in range(len(occurring))]
        for k, found in zip(
            occurring, run_groups(of_topic, single, pool, "futures of topics"), strict=True
        ):
            after[:, k] = found
    return after


def _read_topics(model: Model) -> tuple[Corpus, np.ndarray]:
    """The training corpus and its topics (N,); raise InputError where the model lacks them."""
    check_instance("model", model, Model)
    if model.network.config.input != "topic" or model.emission is None:
        raise InputError(
            f"model: it reads {model.network.config.input}s, so topics do not follow from topics; "
            'give one of kind "topic_lla"'
        )
    if model.observed is None or len(model.topics) != model.observed.n_tokens:
        raise InputError(
            "model: it lacks the topics of the tokens it was trained on; give one as fit_sem or "
            "load_sem returns it"
        )
    n_topics = model.network.config.n_topics
    topics = check_topics("topics", model.topics, model.observed.n_tokens, n_topics)
    return model.observed, topics.astype(np.int64)


def _inputs_of(model: Model, topics: np.ndarray) -> np.ndarray:
    """What the LSTM reads of tokens with these topics, (N,): beside a gate origins, too."""
    config = model.network.config
    return topics + config.n_topics * model.origins if config.reads_pairs else topics


def _places_of_topics(
    topics: np.ndarray, occurring: np.ndarray, n_each: int, seed: int
) -> np.ndarray:
    """Places of tokens of each topic, spread evenly over all that it has, (topics, n_each)."""
    by_topic = np.argsort(topics, kind="stable")
    first = np.searchsorted(topics[by_topic], occurring, side="left")
    count = np.searchsorted(topics[by_topic], occurring, side="right") - first
    shift = stream(seed, StreamId.TOPIC_MAP, 1).random((len(occurring), 1))
    part = (np.arange(n_each) + shift) / n_each  # one in each of n_each equal parts
    return by_topic[first[:, None] + (part * count[:, None]).astype(np.int64)]


def _states_before(
    stepper: Stepper, corpus: Corpus, inputs: np.ndarray, places: np.ndarray
) -> tuple[Tensor, Tensor]:
    """h and c, (n, H) each, after the start symbol and the inputs before each of these tokens.

    Parameters
    ----------
    inputs : (N,) of all tokens
    places : (n,) of tokens in the corpus, in any order
    """
    document = np.searchsorted(corpus.offsets, places, side="right") - 1
    time = places - corpus.offsets[document]
    h_found, c_found = stepper.initial_state(len(places))
    groups = group_by_length(corpus.lengths, GROUP, np.unique(document))
    for documents in progress(groups, description="states of documents", unit="group"):
        lane = np.full(corpus.n_documents, -1)
        lane[documents] = np.arange(len(documents))
        wanted = np.flatnonzero(lane[document] >= 0)
        wanted = wanted[np.argsort(time[wanted], kind="stable")]
        last = int(time[wanted[-1]])
        ends = np.searchsorted(time[wanted], np.arange(last + 2))
        ids = input_columns(inputs, corpus.offsets, documents, stepper.start)  # (T, L)
        h, c = stepper.initial_state(len(documents), documents)
        for t, n in enumerate(running_lanes(corpus.lengths[documents])[: last + 1]):
            stepper.advance(torch.from_numpy(ids[t, :n]), h[:n], c[:n])
            here = torch.from_numpy(wanted[ends[t] : ends[t + 1]])
            source = torch.from_numpy(lane[document[here.numpy()]])
            h_found[here], c_found[here] = h[source], c[source]
    return h_found, c_found


def _mean_futures(
    stepper: Stepper, ids: np.ndarray, h: Tensor, c: Tensor, steps: int, draw: np.random.Generator
) -> np.ndarray:
    """Mean θ of 1..steps tokens after `ids` (n,) are read, (steps, K); h and c are overwritten."""
    after = np.empty((steps, stepper.config.n_outputs))
    rows, first = np.empty(len(ids), np.int64), np.arange(len(ids)) * after.shape[1]
    for step in range(steps):
        theta = stepper.step(torch.from_numpy(ids), h, c).numpy().astype(np.float64)  # (n, K)
        after[step] = theta.mean(axis=0)
        choose_rows(theta, draw.random(len(ids)), rows)
        ids = rows - first
    return after / after.sum(axis=1, keepdims=True)


class MemoryCurve(NamedTuple):
    """Effect of one past topic on the prediction, by its distance.

    distance : (n,) 1 is the topic read last
    effect : (n,) mean total variation, from 0 to 1, between θ with the topic and with another in
        its place
    standard_error : (n,) of the mean over positions, taken as independent
    unrelated : mean total variation between the θ of two of the positions, a scale for `effect`
    """

    distance: np.ndarray
    effect: np.ndarray
    standard_error: np.ndarray
    unrelated: float


def memory_curve(
    model: Model, max_distance: int = 50, *, n_positions: int = 200, seed: int = 0
) -> MemoryCurve:
    """How far back the LSTM's state remembers: replace one past topic, look at the prediction.

    At each position, and for each distance by itself, the topic that stands there is replaced by
    another, drawn by the topics' frequencies (one added to each count). All distances are averaged
    over the same positions: those with `max_distance` tokens or more before them.

    Parameters
    ----------
    model : as for `expected_after`
    max_distance : tokens back
    n_positions : drawn without replacement; all where there are fewer
    seed : of positions and replacements

    Raises
    ------
    InputError
        When the model reads words, lacks the topics of its tokens or has one topic alone; or no
        document is longer than `max_distance`.
    """
    corpus, topics = _read_topics(model)
    check_integer("max_distance", max_distance)
    check_integer("n_positions", n_positions)
    seed, longest = check_seed(seed), int(corpus.lengths.max())
    n_topics = model.network.config.n_topics
    if n_topics < 2:
        raise InputError("model: it has one topic, and no other to replace it by; give K ≥ 2")
    if max_distance >= longest:
        raise InputError(
            f"max_distance is {max_distance}: the longest document has {longest} tokens; give less"
        )
    places = _positions(corpus, max_distance, n_positions, seed)
    before = places[:, None] + np.arange(-max_distance, 0)  # (n, D), the earliest first
    inputs, others = _inputs_of(model, topics), np.bincount(topics, minlength=n_topics) + 1.0
    replaced = _replacements(topics[before], others, seed) + inputs[before] - topics[before]
    with one_thread():
        stepper = Stepper(model.network, sources=False, users=np.arange(corpus.n_documents))
        h, c = _states_before(stepper, corpus, inputs, places - max_distance)
        h = _read_with_replacements(stepper, inputs[before], replaced, h, c)  # (1 + D, n, H)
        theta = stepper.theta(h[0]).numpy()
        change = np.array([_distance(stepper.theta(other).numpy(), theta) for other in h[1:]])
    change = change[::-1]  # the nearest first
    error = change.std(axis=1, ddof=1) / np.sqrt(len(places)) if len(places) > 1 else np.nan
    order = stream(seed, StreamId.TOPIC_MAP, 5).permutation(len(places))
    unrelated = float(_distance(theta[order], theta[np.roll(order, 1)]).mean())
    return MemoryCurve(
        np.arange(1, max_distance + 1),
        change.mean(axis=1),
        np.broadcast_to(error, max_distance).copy(),
        unrelated if len(places) > 1 else float("nan"),
    )


def _positions(corpus: Corpus, n_before: int, n_wanted: int, seed: int) -> np.ndarray:
    """Places of tokens with `n_before` or more before them in their document, (n,), rising."""
    n_each = np.maximum(corpus.lengths - n_before, 0)
    ends = np.cumsum(n_each)
    total = int(ends[-1])
    draw = stream(seed, StreamId.TOPIC_MAP, 3)
    chosen = np.sort(draw.choice(total, size=min(n_wanted, total), replace=False))
    document = np.searchsorted(ends, chosen, side="right")
    rank = chosen - (ends - n_each)[document]  # among those of its document
    return corpus.offsets[document] + n_before + rank


def _replacements(read: np.ndarray, weight: np.ndarray, seed: int) -> np.ndarray:
    """Another topic for each of `read` (n, D), drawn by `weight` (K,) among the others."""
    draw, replaced = stream(seed, StreamId.TOPIC_MAP, 4), np.empty_like(read)
    rows, first = np.empty(len(read), np.int64), np.arange(len(read)) * len(weight)
    for column in range(read.shape[1]):
        others = np.tile(weight, (len(read), 1))
        others[np.arange(len(read)), read[:, column]] = 0.0
        choose_rows(others, draw.random(len(read)), rows)
        replaced[:, column] = rows - first
    return replaced


def _read_with_replacements(
    stepper: Stepper, read: np.ndarray, replaced: np.ndarray, h: Tensor, c: Tensor
) -> Tensor:
    """h after `read` (n, D), and after the same with each column replaced in turn: (1 + D, n, H).

    A lane branches off where its topic is replaced, so what comes before is read once.

    Parameters
    ----------
    h, c : (n, H) before the first column
    """
    n, n_columns = read.shape
    h_all = h.new_empty(1 + n_columns, n, h.shape[1])
    c_all = c.new_empty(1 + n_columns, n, c.shape[1])
    h_all[0], c_all[0] = h, c
    for column in range(n_columns):
        running = column + 2  # as read, those replaced earlier, and the one replaced now
        h_all[column + 1], c_all[column + 1] = h_all[0], c_all[0]
        ids = np.tile(read[:, column], (running, 1))
        ids[-1] = replaced[:, column]
        stepper.advance(
            torch.from_numpy(ids.ravel()),
            h_all[:running].flatten(0, 1),
            c_all[:running].flatten(0, 1),
        )
    return h_all


def _distance(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Total variation of rows, (n,)."""
    return np.abs(one.astype(np.float64) - other).sum(axis=1) / 2.0
