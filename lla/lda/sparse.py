"""A corpus laid out for sweeps word by word (`lla.samplers.sparse_lda`), in shards."""

import heapq
from collections.abc import Iterator
from concurrent.futures import Executor

import numpy as np
from scipy.special import gammaln

from lla.common.arrays import blocks, check_tokens, count_ids, id_dtype
from lla.common.parallel import ALONE, Workers
from lla.common.random import stream
from lla.samplers.lda import update_alpha_of_entries
from lla.samplers.sparse_lda import (
    Documents,
    count_documents,
    documents_log_likelihood,
    find_places,
    sample_block,
    sort_entries,
    words_log_likelihood,
)


def cut_documents(offsets: np.ndarray, n_shards: int) -> np.ndarray:
    """First document of each shard, (S+1,): runs of documents of about as many tokens each."""
    wanted = offsets[-1] * np.arange(1, n_shards) / n_shards
    return np.concatenate([[0], np.searchsorted(offsets, wanted), [len(offsets) - 1]])


def group_words(frequency: np.ndarray, n_shards: int) -> np.ndarray:
    """Group of each word, (V,): the most frequent first, each to the group of fewest tokens."""
    group = np.zeros(len(frequency), np.int64)
    tokens = [(0, g) for g in range(n_shards)]
    for w in np.argsort(-frequency, kind="stable") if n_shards > 1 else ():
        n, group[w] = heapq.heappop(tokens)
        heapq.heappush(tokens, (n + int(frequency[w]), int(group[w])))
    return group


class SparseSampler:
    """A corpus and its assignments, laid out for sweeps word by word.

    Documents are cut into `n_shards` shards and words into as many groups (Yan et al., 2009). In
    epoch e of n_shards in a sweep, shard s samples its tokens of group (s + e) mod n_shards, all
    shards in parallel. They share neither documents nor words, so n_dk and n_wk are exact at every
    draw; changes of n_k by other shards are seen from the next epoch on. One shard is exact. The
    number of threads changes nothing, nor that of processes: each has shards of its own, and reads
    their words alone. Of the topics all have all: what a shard has drawn goes to the others after
    every epoch, since a word's counts are those of all shards.

    Parameters
    ----------
    words, offsets : (N,) word ids and (D+1,) where each document starts
    n_words : V
    topics : (N,) assignments to start from; updated in place, in the sampler's own order until
        `to_document_order`
    n_topics : K
    beta : Dirichlet parameter of a topic's words
    n_shards : parts of the documents, and groups of the words; as many threads can be busy
    workers : processes that share the shards
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
        workers: Workers = ALONE,
    ) -> None:
        if workers.size == 1:
            check_tokens(words, offsets, n_words, topics, n_topics)
        self.words, self.offsets, self.beta, self.n_shards = words, offsets, beta, n_shards
        self.first_document = cut_documents(offsets, n_shards)
        self.workers, self.owners = workers, workers.owners([1] * n_shards)
        self.own_shards = np.flatnonzero(self.owners == workers.rank).tolist()
        self.topics = topics
        if workers.size > 1:
            self._check_own(n_words, n_topics)
        frequency = np.zeros(n_words, np.int64)
        for s in self.own_shards:
            frequency += count_ids(words[self._tokens(s)], n_words)
        workers.add_up(frequency)
        group = group_words(frequency, n_shards)
        self.first_word = np.concatenate([[0], np.cumsum(np.bincount(group, minlength=n_shards))])
        self.rank = np.empty(n_words, np.int32)  # words are renumbered, group after group
        self.rank[np.argsort(group, kind="stable")] = np.arange(n_words, dtype=np.int32)
        self._find_starts()
        lengths = np.diff(offsets)
        slots = np.concatenate([[0], np.cumsum(np.minimum(lengths, n_topics))])
        max_count = int(lengths.max(initial=0))
        self.entries = Documents(
            slots=slots,
            sizes=np.zeros(len(lengths), np.int32),
            topic=np.zeros(slots[-1], id_dtype(n_topics)),
            count=np.zeros(slots[-1], id_dtype(max_count + 1)),
        )
        for s in self.own_shards:
            first, last = self.first_document[s : s + 2]
            of_shard = self.entries._replace(
                slots=slots[first : last + 1], sizes=self.entries.sizes[first:last]
            )
            count_documents(offsets[first : last + 1], topics, n_topics, of_shard)
        self.topic_total = count_ids(topics, n_topics)
        self.in_word_order = False
        self.documents: np.ndarray | None = None  # of each token, in word order
        self.to_word_order()

    def _check_own(self, n_words: int, n_topics: int) -> None:
        """Check the tokens of this process' shards, and no others: each reads its own alone."""
        for s in self.own_shards:
            first, last = self.first_document[s : s + 2]
            tokens, offsets = self._tokens(s), self.offsets[first : last + 1]
            check_tokens(
                self.words[tokens], offsets - offsets[0], n_words, self.topics[tokens], n_topics
            )

    def _find_starts(self) -> None:
        """Where the tokens of each shard and word start, ordered by shard, word and document."""
        n_words = len(self.rank)
        self.starts = np.zeros((self.n_shards, n_words + 1), np.int64)
        for s in self.own_shards:
            shard = self._tokens(s)
            count = np.empty(n_words, np.int64)
            count[self.rank] = count_ids(self.words[shard], n_words)
            self.starts[s] = shard.start + np.concatenate([[0], np.cumsum(count)])
        self.workers.add_up(self.starts)

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

    def to_word_order(self) -> None:
        """Reorder topics by word in place and record document ids."""
        if self.in_word_order:
            return
        for s in self.own_shards:
            self._sort_shard(s)
        lengths = np.diff(self.offsets)
        self.documents = np.empty(len(self.words), id_dtype(len(lengths)))
        for s in self.own_shards:
            for documents, _, places in self._places(s):
                numbers = np.arange(documents.start, documents.stop)
                self.documents[places] = np.repeat(numbers, lengths[documents])
        self._share_shards()
        self.in_word_order = True

    def _sort_shard(self, shard: int) -> None:
        """Reorder a shard's topics by word; there is no second array of N topics."""
        old_topics = self.topics[self._tokens(shard)].copy()
        for _, tokens, places in self._places(shard):
            self.topics[places] = old_topics[: tokens.stop - tokens.start]
            old_topics = old_topics[tokens.stop - tokens.start :]

    def to_document_order(self) -> None:
        """Put the topics into the corpus' order, in place; the next sweep puts them back."""
        if self.in_word_order:
            self.documents = None  # free memory for the copy
            for s in self.own_shards:
                shard = self._tokens(s)
                old_topics = self.topics[shard].copy()
                for _, tokens, places in self._places(s):
                    self.topics[tokens] = old_topics[places - shard.start]
            self._share_shards()
        self.in_word_order = False

    def _share_shards(self) -> None:
        """Give all processes the topics of all shards."""
        ends = self.offsets[self.first_document]
        self.workers.share(self.topics, ends[:-1], ends[1:], self.owners)

    def sweep(self, alpha: np.ndarray, key: tuple[int, ...], pool: Executor) -> None:
        """Draw every token once; `key` is the seed and the stream of the uniforms."""
        self.to_word_order()
        shards = np.arange(self.n_shards)
        for epoch in range(self.n_shards):
            groups, jobs = (shards + epoch) % self.n_shards, []
            for s in self.own_shards:
                jobs.append(pool.submit(self._sample_group, s, groups[s], epoch, alpha, key))
            change = np.zeros_like(self.topic_total)
            for job in jobs:
                change += job.result()
            self.workers.add_up(change)
            self.topic_total = self.topic_total + change
            first, last = self.first_word[groups], self.first_word[groups + 1]
            self.workers.share(
                self.topics, self.starts[shards, first], self.starts[shards, last], self.owners
            )

    def _sample_group(
        self, shard: int, group: int, epoch: int, alpha: np.ndarray, key: tuple[int, ...]
    ) -> np.ndarray:
        """Draw the tokens of one shard and one group; the change of n_k."""
        if epoch == 0:
            sort_entries(self.entries, *self.first_document[shard : shard + 2])
        first, last = self.first_word[group : group + 2]
        draw, total = stream(*key, shard, group), self.topic_total.copy()
        for words, tokens in blocks(self.starts[shard], first, last):
            sample_block(
                words.start,
                words.stop,
                shard,
                self.starts,
                self.topics,
                self.documents,
                self.entries,
                total,
                alpha,
                self.beta,
                draw.random(tokens.stop - tokens.start, np.float32),
            )
        return total - self.topic_total

    def document_topic(self) -> Iterator[tuple[np.ndarray, np.ndarray] | None]:
        """Topic and n_dk of every entry that is not zero, document after document, in blocks.

        None for the blocks of other processes: a block belongs to that of its first document.
        """
        slots, sizes, topic, count = self.entries
        for documents, block in blocks(slots, 0, len(sizes)):
            if self.owners[self._shard_of(documents.start)] != self.workers.rank:
                yield None
                continue
            filled = slots[documents] + sizes[documents]
            places = np.diff(slots[documents.start : documents.stop + 1])
            used = np.arange(block.start, block.stop) < np.repeat(filled, places)
            yield topic[block][used], count[block][used]

    def _shard_of(self, document: int) -> int:
        return int(np.searchsorted(self.first_document, document, side="right")) - 1

    def _share_blocks(self) -> None:
        """Give all processes the entries of the blocks that have documents of several shards."""
        slots, sizes, topic, count = self.entries
        for documents, _ in blocks(slots, 0, len(sizes)):
            shards = range(self._shard_of(documents.start), self._shard_of(documents.stop - 1) + 1)
            if len(shards) == 1:
                continue
            cuts = self.first_document[shards.start : shards.stop + 1].clip(
                documents.start, documents.stop
            )
            owners = self.owners[shards.start : shards.stop]
            self.workers.share(sizes, cuts[:-1], cuts[1:], owners)
            for entries in (topic, count):
                self.workers.share(entries, slots[cuts[:-1]], slots[cuts[1:]], owners)

    def update_alpha(self, alpha: np.ndarray) -> np.ndarray:
        """α (K,) after Minka's fixed point."""
        if self.workers.size > 1:
            self._share_blocks()
        return update_alpha_of_entries(
            self.document_topic, np.diff(self.offsets), alpha, workers=self.workers
        )

    def log_likelihood(self, alpha: np.ndarray, pool: Executor) -> float:
        """log p(w, z | α, β), φ and θ integrated out (Griffiths & Steyvers, 2004), nats."""
        self.to_word_order()
        n_topics, v_beta = len(alpha), len(self.rank) * self.beta
        jobs = {}
        for s in self.own_shards:
            w, next_w = self.first_word[s : s + 2]
            d, next_d = self.first_document[s : s + 2]
            jobs[s, 0] = pool.submit(
                words_log_likelihood, w, next_w, self.starts, self.topics, n_topics, self.beta
            )
            jobs[s, 1] = pool.submit(documents_log_likelihood, d, next_d, self.entries, alpha)
        parts = np.zeros((self.n_shards, 2))  # of words and documents
        for place, job in jobs.items():
            parts[place] = job.result()
        self.workers.add_up(parts)
        total = sum(parts.ravel().tolist())
        total -= (gammaln(self.topic_total + v_beta) - gammaln(v_beta)).sum()
        lengths, alpha_sum = np.diff(self.offsets), alpha.sum()
        return float(total - (gammaln(lengths + alpha_sum) - gammaln(alpha_sum)).sum())
