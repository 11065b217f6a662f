"""What the page shows of a corpus: shares of topics, what follows what, passages, histories."""

from typing import NamedTuple

import numpy as np

from lla.common.parallel import one_thread
from lla.common.progress import progress
from lla.corpus import Corpus
from lla.topics.explorer.rule import Rule

MAX_TOKENS = 100_000  # whose topics are looked for by the rule
MAX_OWN_TOKENS = 2_000_000  # whose topics are known
PASSAGE = 24  # words
N_FOLLOWERS = 5
MIN_COUNT = 3  # transitions; below, a lift is a matter of chance
BATCH = 64  # documents side by side


class Assigned(NamedTuple):
    """Documents of a corpus and the topics of their words.

    Attributes
    ----------
    documents : (D',) their numbers
    offsets : (D'+1,) where the tokens of each start
    words, topics : (n,) ids of the tokens
    """

    documents: np.ndarray
    offsets: np.ndarray
    words: np.ndarray
    topics: np.ndarray


def assigned_topics(
    corpus: Corpus, topics: np.ndarray | None, rule: Rule, page_word: np.ndarray
) -> Assigned:
    """Documents spread evenly over the corpus with their topics.

    Parameters
    ----------
    topics : (N,) of the corpus' tokens, where they are known; else they are those of the rule, the
        likeliest given the words before
    page_word : (V,) number on the page of each word; -1 where it has none, and is left out
    """
    documents = spread_documents(corpus, MAX_TOKENS if topics is None else MAX_OWN_TOKENS)
    most = MAX_TOKENS if topics is None else MAX_OWN_TOKENS
    lengths = np.minimum(corpus.lengths[documents], most)
    places = _places(corpus.offsets[documents], lengths)
    words = page_word[corpus.words[places]]
    known = words >= 0
    row = np.repeat(np.arange(len(documents)), lengths)[known]
    lengths = np.bincount(row, minlength=len(documents))
    documents, lengths = documents[lengths > 0], lengths[lengths > 0]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    if topics is None:
        found = _by_rule(rule, words[known], offsets)
    else:
        found = np.asarray(topics)[places[known]].astype(np.int64)
    return Assigned(documents, offsets, words[known], found)


def _places(firsts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The places firsts[i], firsts[i] + 1, ... of all stretches, one after the other."""
    ends = np.cumsum(lengths)
    return np.repeat(firsts - (ends - lengths), lengths) + np.arange(lengths.sum())


def spread_documents(corpus: Corpus, max_tokens: int) -> np.ndarray:
    """Numbers of documents at equal distances, of about `max_tokens` tokens together."""
    n = corpus.n_documents
    n_wanted = max(1, min(n, int(n * max_tokens / corpus.n_tokens)))
    return np.unique(np.arange(n_wanted) * n // n_wanted)


def _by_rule(rule: Rule, words: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """The likeliest topics, (n,)."""
    lengths = np.diff(offsets)
    order = np.argsort(-lengths, kind="stable")
    topics = np.zeros(len(words), np.int64)
    bar = progress(total=len(words), description="topics of passages", unit="word")
    with bar, one_thread():
        for first in range(0, len(order), BATCH):
            group = order[first : first + BATCH]
            table = np.zeros((int(lengths[group[0]]), len(group)), np.int64)
            for lane, d in enumerate(group):
                table[: lengths[d], lane] = words[offsets[d] : offsets[d + 1]]
            found = rule.likeliest(table, lengths[group])
            for lane, d in enumerate(group):
                topics[offsets[d] : offsets[d + 1]] = found[: lengths[d], lane]
            bar.update(int(lengths[group].sum()))
    return topics


class Followers(NamedTuple):
    """What follows a topic.

    Attributes
    ----------
    stays : (K,) how often a topic follows itself; NaN where nothing follows it
    others : per topic, rows (topic, lift, count), the highest lift first; lift is
        p(next | topic) / p(next), of transitions that were seen `MIN_COUNT` times or more; lifts
        of 1 and below are left out
    """

    stays: np.ndarray
    others: list[list[tuple[int, float, int]]]


def followers(assigned: Assigned, n_topics: int) -> Followers:
    """Which topics follow each topic more often than they come elsewhere."""
    inside = np.ones(len(assigned.topics), bool)
    inside[assigned.offsets[1:] - 1] = False  # the last of a document has no next
    here = np.flatnonzero(inside)
    now, after = assigned.topics[here], assigned.topics[here + 1]
    pairs, counts = np.unique(now * n_topics + after, return_counts=True)
    source, target = np.divmod(pairs, n_topics)
    n_from = np.bincount(now, minlength=n_topics)
    n_to = np.bincount(after, minlength=n_topics)
    lifts = counts * len(here) / (n_from[source] * n_to[target]).astype(np.float64)
    same = source == target
    stays = np.full(n_topics, np.nan)
    stays[n_from > 0] = 0.0
    stays[source[same]] = counts[same] / n_from[source[same]]
    chosen = np.flatnonzero(~same & (counts >= MIN_COUNT) & (lifts > 1.0))
    chosen = chosen[np.lexsort((-counts[chosen], -lifts[chosen], source[chosen]))]
    others: list[list[tuple[int, float, int]]] = [[] for _ in range(n_topics)]
    for i in chosen:
        row = others[source[i]]
        if len(row) < N_FOLLOWERS:
            row.append((int(target[i]), float(lifts[i]), int(counts[i])))
    return Followers(stays, others)


class Excerpts(NamedTuple):
    """Stretches of documents.

    Attributes
    ----------
    topic : (P,) which topic each stands for
    document : (P,) numbers of documents
    lengths : (P,) words in each
    words, topics : ids of the words of all, one excerpt after the other
    """

    topic: np.ndarray
    document: np.ndarray
    lengths: np.ndarray
    words: np.ndarray
    topics: np.ndarray


def passages(assigned: Assigned, n_topics: int, n_each: int) -> Excerpts:
    """The passages that hold most words of each topic, of different documents.

    Documents are cut in stretches of `PASSAGE` words.
    """
    lengths = np.diff(assigned.offsets)
    document = np.repeat(np.arange(len(lengths)), lengths)
    place = np.arange(len(document)) - assigned.offsets[document]
    first_piece = np.concatenate([[0], np.cumsum(-(-lengths // PASSAGE))])
    piece = first_piece[document] + place // PASSAGE
    pairs, counts = np.unique(piece * n_topics + assigned.topics, return_counts=True)
    pieces, topics = np.divmod(pairs, n_topics)
    owners = np.searchsorted(first_piece, pieces, side="right") - 1
    chosen: list[tuple[int, int, int]] = []
    used: set[tuple[int, int]] = set()
    n_found = np.zeros(n_topics, np.int64)
    for i in np.lexsort((pieces, -counts, topics)):
        k, d = int(topics[i]), int(owners[i])
        if n_found[k] < n_each and (k, d) not in used:
            used.add((k, d))
            n_found[k] += 1
            chosen.append((k, d, int(pieces[i] - first_piece[d]) * PASSAGE))
    return _cut(assigned, chosen, PASSAGE)


def histories(assigned: Assigned, n_histories: int, max_words: int) -> Excerpts:
    """Beginnings of documents at equal distances."""
    n = min(n_histories, len(assigned.documents))
    rows = np.unique(np.arange(n) * len(assigned.documents) // n)
    return _cut(assigned, [(0, int(d), 0) for d in rows], max_words)


def _cut(assigned: Assigned, chosen: list[tuple[int, int, int]], max_words: int) -> Excerpts:
    """The stretches (topic, row of the document, place) of at most `max_words` words."""
    topic, row, place = np.array(chosen, np.int64).reshape(-1, 3).T
    firsts = assigned.offsets[row] + place
    lengths = np.minimum(assigned.offsets[row + 1] - firsts, max_words)
    places = _places(firsts, lengths)
    return Excerpts(
        topic=topic,
        document=assigned.documents[row],
        lengths=lengths,
        words=assigned.words[places],
        topics=assigned.topics[places],
    )
