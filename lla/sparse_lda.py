"""LDA by sparse collapsed Gibbs sampling: the cost of a token does not grow with K.

Documents are cut into `n_shards` shards and words into as many groups (Yan et al., 2009). In epoch
e of a sweep, shard s samples its tokens of group (s + e) mod n_shards, all shards at once. They
share neither documents nor words, so n_dk and n_wk are exact at every draw. n_k is not: a shard
does not see how the others moved the topics' totals since the epoch began, and there are n_shards
epochs in a sweep. With one shard nothing is stale and the sampler is exact. How many threads run
the shards changes nothing.
"""

import heapq
from collections.abc import Iterator
from concurrent.futures import Executor

import numpy as np
from scipy.special import gammaln

from lla.corpus import blocks, count_ids, id_dtype
from lla.sparse_kernels import (
    Documents,
    count_documents,
    documents_log_likelihood,
    find_places,
    sample_block,
    sort_entries,
    words_log_likelihood,
)
from lla.streams import stream


def cut_documents(offsets: np.ndarray, n_shards: int) -> np.ndarray:
    """First document of each shard, (S+1,): runs of documents of about as many tokens each."""
    wanted = offsets[-1] * np.arange(1, n_shards) / n_shards
    inner = np.searchsorted(offsets, wanted)
    return np.concatenate([[0], inner, [len(offsets) - 1]])


def group_words(frequency: np.ndarray, n_shards: int) -> np.ndarray:
    """Group of each word, (V,): the most frequent first, each to the group of fewest tokens."""
    group = np.zeros(len(frequency), np.int64)
    tokens = [(0, g) for g in range(n_shards)]
    for w in np.argsort(-frequency, kind="stable") if n_shards > 1 else ():
        n, group[w] = heapq.heappop(tokens)
        heapq.heappush(tokens, (n + int(frequency[w]), int(group[w])))
    return group


class SparseSampler:
    """A corpus and its assignments, laid out for the sweeps of this module.

    Parameters
    ----------
    words, offsets : (N,) word ids and (D+1,) where each document starts
    n_words : V
    topics : (N,) assignments to begin with; the sampler keeps them where they lie, in its own
        order until `by_document`
    n_topics : K
    beta : Dirichlet parameter of a topic's words
    n_shards : pieces of the documents, and groups of the words; as many threads can be busy
    """

    def __init__(
        self,
        words: np.ndarray,
        offsets: np.ndarray,
        n_words: int,
        topics: np.ndarray,
        n_topics: int,
        beta: float,
        n_shards: int = 1,
    ) -> None:
        self.words, self.offsets, self.beta, self.n_shards = words, offsets, beta, n_shards
        self.first_document = cut_documents(offsets, n_shards)
        frequency = count_ids(words, n_words)
        group = group_words(frequency, n_shards)
        self.first_word = np.concatenate([[0], np.cumsum(np.bincount(group, minlength=n_shards))])
        self.rank = np.empty(n_words, np.int32)  # words are numbered anew, group after group
        self.rank[np.argsort(group, kind="stable")] = np.arange(n_words, dtype=np.int32)
        self._find_starts()
        lengths = np.diff(offsets)
        slots = np.concatenate([[0], np.cumsum(np.minimum(lengths, n_topics))])
        most = int(lengths.max(initial=0)) + 1
        topic, count = (np.zeros(slots[-1], id_dtype(n)) for n in (n_topics, most))
        self.entries = Documents(slots, np.zeros(len(lengths), np.int32), topic, count)
        count_documents(offsets, topics, n_topics, self.entries)
        self.topic_total = count_ids(topics, n_topics)
        self.topics, self.documents, self.in_word_order = topics, None, False
        self.by_word()

    def _find_starts(self) -> None:
        """Where the tokens of each shard and word begin, ordered by shard, word and document."""
        n_words = len(self.rank)
        self.starts = np.empty((self.n_shards, n_words + 1), np.int64)
        for s in range(self.n_shards):
            mine = self._tokens(s)
            count = np.empty(n_words, np.int64)
            count[self.rank] = count_ids(self.words[mine], n_words)
            self.starts[s] = mine.start + np.concatenate([[0], np.cumsum(count)])

    def _tokens(self, shard: int) -> slice:
        """The tokens of a shard: the same range in the corpus and in word order."""
        return slice(*self.offsets[self.first_document[shard : shard + 2]])

    def _places(self, shard: int) -> Iterator[tuple[slice, slice, np.ndarray]]:
        """Where a shard's tokens stand in word order: documents, tokens, places, in blocks."""
        next_place = self.starts[shard, :-1].copy()
        for documents, tokens in blocks(self.offsets, *self.first_document[shard : shard + 2]):
            places = np.empty(tokens.stop - tokens.start, np.int64)
            find_places(self.words[tokens], self.rank, next_place, places)
            yield documents, tokens, places

    def by_word(self) -> None:
        """Put the topics into the order of the sweeps, where they lie, and tell their documents."""
        if self.in_word_order:
            return
        for s in range(self.n_shards):
            before = self.topics[self._tokens(s)].copy()  # no second array of N topics
            for _, tokens, places in self._places(s):
                self.topics[places] = before[: tokens.stop - tokens.start]
                before = before[tokens.stop - tokens.start :]
        del before  # its room is taken by the documents
        lengths = np.diff(self.offsets)
        self.documents = np.empty(len(self.words), id_dtype(len(lengths)))
        for s in range(self.n_shards):
            for documents, _, places in self._places(s):
                numbers = np.arange(documents.start, documents.stop)
                self.documents[places] = np.repeat(numbers, lengths[documents])
        self.in_word_order = True

    def by_document(self) -> None:
        """Put the topics into the corpus' order, where they lie; the next sweep puts them back."""
        if self.in_word_order:
            self.documents = None  # room for the copy
            for s in range(self.n_shards):
                mine = self._tokens(s)
                before = self.topics[mine].copy()
                for _, tokens, places in self._places(s):
                    self.topics[tokens] = before[places - mine.start]
        self.in_word_order = False

    def sweep(self, alpha: np.ndarray, key: tuple[int, ...], pool: Executor) -> None:
        """Draw every token once; `key` is the seed and the stream that the uniforms come from."""
        self.by_word()
        shards = range(self.n_shards)
        for epoch in shards:
            jobs = [
                pool.submit(self._block, s, (s + epoch) % self.n_shards, epoch, alpha, key)
                for s in shards
            ]
            self.topic_total = self.topic_total + sum(job.result() for job in jobs)

    def _block(
        self, shard: int, group: int, epoch: int, alpha: np.ndarray, key: tuple[int, ...]
    ) -> np.ndarray:
        """Draw the tokens of one shard and one group; how n_k moved."""
        if epoch == 0:
            sort_entries(self.entries, *self.first_document[shard : shard + 2])
        first, last = self.first_word[group : group + 2]
        draw, total = stream(*key, shard, group), self.topic_total.copy()
        starts, given = self.starts[shard], (self.topics, self.documents, self.entries)
        for words, tokens in blocks(starts, first, last):
            uniforms = draw.random(tokens.stop - tokens.start, np.float32)
            tail = (total, alpha, self.beta, uniforms)
            sample_block(words.start, words.stop, shard, self.starts, *given, *tail)
        return total - self.topic_total

    def document_topic(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Topic and n_dk of every entry that is not zero, document after document, in blocks."""
        slots, sizes, topic, count = self.entries
        for documents, room in blocks(slots, 0, len(sizes)):
            filled = slots[documents] + sizes[documents]
            places = np.diff(slots[documents.start : documents.stop + 1])
            used = np.arange(room.start, room.stop) < np.repeat(filled, places)
            yield topic[room][used], count[room][used]

    def log_likelihood(self, alpha: np.ndarray, pool: Executor) -> float:
        """log p(w, z | α, β), φ and θ integrated out (Griffiths & Steyvers, 2004), nats."""
        self.by_word()
        n_topics, v_beta = len(alpha), len(self.rank) * self.beta
        jobs = []
        for s in range(self.n_shards):
            words = (*self.first_word[s : s + 2], self.starts, self.topics)
            jobs.append(pool.submit(words_log_likelihood, *words, n_topics, self.beta))
            documents = (*self.first_document[s : s + 2], self.entries)
            jobs.append(pool.submit(documents_log_likelihood, *documents, alpha))
        total = sum(job.result() for job in jobs)
        total -= (gammaln(self.topic_total + v_beta) - gammaln(v_beta)).sum()
        lengths = np.diff(self.offsets)
        return float(total - (gammaln(lengths + alpha.sum()) - gammaln(alpha.sum())).sum())
