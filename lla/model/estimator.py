"""Latent LSTM Allocation as an estimator of scikit-learn: from texts to topics.

LDA starts it (`lla.lda`), stochastic EM trains it (`lla.sem`), and the particle filter finds the
topics of any document (`Model.topic_proportions`).
"""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import replace
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_is_fitted

from lla.common.errors import (
    InputError,
    check_integer,
    check_list,
    check_seed,
    check_texts,
    describe,
    optional,
)
from lla.common.random import StreamId, stream
from lla.corpus import Corpus, Split
from lla.corpus.tokens import Tokenizer
from lla.lda import LDAConfig, fit_lda
from lla.model import Model
from lla.sem import SEMConfig, fit_sem

HOW = "give a list of documents, each a text or a list of words in their order"
DEVELOPMENT, OBSERVED = 0.1, 0.6  # of the documents; of each of these, the part that is trained on
INITIAL_EPOCHS = 3  # small corpora have few batches in one

log = logging.getLogger("lla")


class LatentLSTMAllocation(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Topics of documents, and the order of topics by an LSTM (Zaheer, Ahmed & Smola, 2017).

    Documents are texts, which are cut into words in lower case (`lla.corpus.tokens`), or lists of
    words that are taken as they are, in their order; whole numbers are words by their digits. A
    matrix of counts is refused, for the model reads the order of words.

    Parameters
    ----------
    n_topics : K
    emission : "shared", the paper's p(word | topic); or "personal", where a document comes back to
        its own words of a topic, as users do to their items
    beta : Dirichlet prior of one word in a topic
    n_sweeps : sweeps of the LDA that training starts from
    n_iterations : iterations of stochastic EM at most
    hidden_size : of the LSTM
    learning_rate, batch_size : of Adam, and in documents; with ten thousand documents or more,
        0.002 and 64 suit
    min_count, max_words : a word is known if it occurs so often in all; the most frequent ones
        alone, None for no limit
    stop_words : left out of texts: None, "english" (scikit-learn's list), or a list of words
    n_particles : topic histories carried by `transform`, `score` and `perplexity`; more reduce the
        sampling error
    n_threads : changes no result; None for all cores
    random_state : a whole number gives the same fit every time, and is the `seed` of `lla.fit_lda`
        and `lla.fit_sem`; a `RandomState`, or None for NumPy's own, is asked for one at every `fit`

    Attributes
    ----------
    components_ : (K, V) p(word | topic), so that rows sum to 1
    vocabulary_ : column of every word, the most frequent first
    model_ : `lla.Model`; it names topics (`topic_table`), predicts what comes next (`recommend`,
        `topics_ahead`), and `lla.save_model` writes it as a folder that is no pickle
    seed_ : of the fit, and of what follows from it: the same documents have the same topics

    Examples
    --------
    >>> import lla
    >>> texts = ["The cat saw a mouse. The mouse ran.", "Stocks fell, then stocks rose."] * 10
    >>> estimator = lla.LatentLSTMAllocation(n_topics=2, random_state=1)
    >>> topics = estimator.fit_transform(texts)  # (D, K); rows sum to 1
    >>> topics.shape, sorted(estimator.vocabulary_)[:3]
    ((20, 2), ['cat', 'fell', 'mouse'])
    """

    def __init__(
        self,
        n_topics: int = 20,
        *,
        emission: str = "shared",
        beta: float = 0.05,
        n_sweeps: int = 200,
        n_iterations: int = 30,
        hidden_size: int = 150,
        learning_rate: float = 0.01,
        batch_size: int = 16,
        min_count: int = 1,
        max_words: int | None = None,
        stop_words: str | Iterable[str] | None = None,
        n_particles: int = 16,
        n_threads: int | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_topics = n_topics
        self.emission = emission
        self.beta = beta
        self.n_sweeps = n_sweeps
        self.n_iterations = n_iterations
        self.hidden_size = hidden_size
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.min_count = min_count
        self.max_words = max_words
        self.stop_words = stop_words
        self.n_particles = n_particles
        self.n_threads = n_threads
        self.random_state = random_state

    def fit(self, X: Iterable[Any], y: Any = None) -> "LatentLSTMAllocation":
        """Train on all words of the documents, but for a tenth of the documents.

        Of these, the last two fifths decide when to stop. Documents without a known word are left
        out, with a line in the log "lla".

        Parameters
        ----------
        X : documents, see above
        y : ignored

        Raises
        ------
        InputError
            When a parameter or a document is not what it should be, or no document has two words.
        """
        lda_config = LDAConfig(n_topics=self.n_topics, beta=self.beta, n_sweeps=self.n_sweeps)
        config = SEMConfig(
            n_topics=self.n_topics,
            beta=self.beta,
            n_iterations=self.n_iterations,
            initial_epochs=INITIAL_EPOCHS,
            hidden_size=self.hidden_size,
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
            emission=self.emission,
        )
        check_integer("n_particles", self.n_particles)
        tokenizer, seed = _tokenizer(self.stop_words), _seed(self.random_state)
        documents = _words_of_documents(X, tokenizer)
        vocabulary = _vocabulary(documents, self.min_count, self.max_words)
        columns = {word: column for column, word in enumerate(vocabulary)}
        ids = [[columns[word] for word in words if word in columns] for words in documents]
        known = [row for row in ids if row]
        if n_empty := len(ids) - len(known):
            log.warning("%d of %d documents have no known word: left out", n_empty, len(ids))
        corpus = Corpus.from_documents(known, vocabulary)
        corpus = replace(corpus, manifest={"tokenizer": tokenizer.options()})
        split = _training_split(corpus, seed)
        lda = fit_lda(split, lda_config, seed, n_threads=self.n_threads)
        self.model_: Model = fit_sem(
            split, config, seed, start=lda.topics, n_threads=self.n_threads
        )
        self.vocabulary_, self.seed_, self._tokenizer = columns, seed, tokenizer
        self._n_features_out = config.n_topics
        return self

    def transform(self, X: Iterable[Any]) -> np.ndarray:
        """Expected share of each topic in every document, (D, K); rows sum to 1.

        Unknown words are skipped. A document without a known word has the proportions that the
        model expects of the first word of any. A row depends on its document alone, and is the same
        in every call (`lla.Model.topic_proportions`).
        """
        check_is_fitted(self)
        corpus, is_known = self._read(X)
        proportions = np.empty((len(is_known), self._n_features_out))
        if not is_known.all():
            proportions[~is_known] = self.model_.topics_ahead([], steps=1)
        if corpus is not None:
            proportions[is_known] = self.model_.topic_proportions(
                corpus, seed=self.seed_, n_particles=self.n_particles, n_threads=self.n_threads
            )
        return proportions

    def score(self, X: Iterable[Any], y: Any = None) -> float:
        """Log-likelihood of the documents in nats, the total over all known words.

        The particle filter's estimate of Σ_d log p(w_d), which is too low in expectation and rises
        to the model's own as particles are added. Compare models of one vocabulary: unknown words
        are skipped.
        """
        return self._log_likelihood(X)[0]

    def perplexity(self, X: Iterable[Any]) -> float:
        """exp(-score / number of known words); lower is better."""
        total, n_words = self._log_likelihood(X)
        if n_words == 0:
            raise InputError("X: no document has a known word; give others to take perplexity of")
        return float(np.exp(-total / n_words))

    @property
    def components_(self) -> np.ndarray:
        """p(word | topic), (K, V); of a personal emission, what a document starts from."""
        check_is_fitted(self)
        phi = self.model_.emission.phi.numpy()  # type: ignore[union-attr]
        return phi.T.astype(np.float64, order="C")

    def _log_likelihood(self, X: Iterable[Any]) -> tuple[float, int]:
        """Σ log p(w_t | w_<t) and the number of known words."""
        check_is_fitted(self)
        corpus, _ = self._read(X)
        if corpus is None:
            return 0.0, 0
        log_evidence = self.model_.log_evidence(
            corpus,
            seed=self.seed_,
            key=(StreamId.PERPLEXITY, self.n_particles),
            n_particles=self.n_particles,
            n_threads=self.n_threads,
        )
        return float(log_evidence.sum()), corpus.n_tokens

    def _read(self, X: Iterable[Any]) -> tuple[Corpus | None, np.ndarray]:
        """The known words of the documents that have any, and which do, (D,) bool."""
        check_integer("n_particles", self.n_particles)
        columns, documents = self.vocabulary_, _words_of_documents(X, self._tokenizer)
        ids = [[columns[word] for word in words if word in columns] for words in documents]
        n_words = sum(map(len, documents))
        if n_unknown := n_words - sum(map(len, ids)):
            log.info("%d of %d words are unknown to the model: left out", n_unknown, n_words)
        is_known = np.array([bool(row) for row in ids])
        known = [row for row in ids if row]
        return Corpus.from_documents(known, columns) if known else None, is_known

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        return tags


def _words_of_documents(X: Any, tokenizer: Tokenizer) -> list[list[str]]:
    """The words of every document, in their order."""
    if getattr(X, "ndim", 1) > 1:  # an array, a sparse matrix or a table
        raise InputError(
            f"X is a matrix of shape {tuple(X.shape)}: the model reads the order of words, which "
            f"counts do not have; {HOW}"
        )
    if isinstance(X, (Mapping, Set, Iterator)):  # the last can be read only once
        raise InputError(f"X is {describe(X)}: {HOW}")
    documents = check_list("X", X, HOW.removeprefix("give "))
    if not documents:
        raise InputError(f"X holds no document: {HOW}")
    return [_words(f"X[{d}]", document, tokenizer) for d, document in enumerate(documents)]


def _words(name: str, document: Any, tokenizer: Tokenizer) -> list[str]:
    """The words of a text, or of a list of words."""
    if isinstance(document, str):
        return tokenizer.tokens(document)
    unordered = isinstance(document, (bytes, Mapping, Set)) or getattr(document, "ndim", 1) != 1
    if unordered or not isinstance(document, Iterable):
        raise InputError(f"{name} is {describe(document)}: give a text, or a list of words")
    return [_word(name, word) for word in document]


def _word(name: str, word: Any) -> str:
    """A word as the vocabulary spells it."""
    if isinstance(word, Integral) and not isinstance(word, bool):
        return str(int(word))
    if not isinstance(word, str) or not word or "\n" in word:
        raise InputError(
            f"{name} holds {describe(word)}: give words as texts without line breaks, or as whole "
            "numbers"
        )
    return str(word)  # NumPy's texts, too


def _vocabulary(
    documents: list[list[str]], min_count: int, max_words: int | None
) -> tuple[str, ...]:
    """The words that are frequent enough, the most frequent first, ties in alphabetical order."""
    check_integer("min_count", min_count)
    optional(check_integer)("max_words", max_words)
    count = Counter(word for words in documents for word in words)
    frequent = [word for word, n in count.items() if n >= min_count]
    if not frequent:
        often = "" if min_count == 1 or not count else f" that occurs {min_count} times (min_count)"
        raise InputError(f"X: no document has a word{often}; give other documents")
    return tuple(sorted(frequent, key=lambda word: (-count[word], word))[:max_words])


def _training_split(corpus: Corpus, seed: int) -> Split:
    """All words to train on, but for the ends of the development documents."""
    long_enough = np.flatnonzero(corpus.lengths > 1)
    if not len(long_enough):
        raise InputError("X: no document has two known words; give longer documents")
    n_development = max(1, round(DEVELOPMENT * corpus.n_documents))
    chosen = stream(seed, StreamId.SPLIT).permutation(long_enough)[:n_development]
    n_observed = corpus.lengths.copy()
    n_observed[chosen] = np.maximum(1, (OBSERVED * n_observed[chosen]).astype(np.int64))
    development = np.zeros(corpus.n_documents, bool)
    development[chosen] = True
    return Split(corpus, corpus.beginnings(n_observed), n_observed, development)


def _tokenizer(stop_words: str | Iterable[str] | None) -> Tokenizer:
    """How texts are cut into words."""
    if isinstance(stop_words, str):
        if stop_words != "english":
            raise InputError(
                f"stop_words is {describe(stop_words)}: give None, 'english' or a list of words"
            )
        from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

        stop_words = ENGLISH_STOP_WORDS
    words = () if stop_words is None else check_texts("stop_words", stop_words)
    return Tokenizer(stop_words=" ".join(sorted({word.lower() for word in words})))


def _seed(random_state: int | np.random.RandomState | None) -> int:
    """A seed, as scikit-learn makes one of `random_state`."""
    if isinstance(random_state, Integral):
        return check_seed(random_state, "random_state")
    try:
        return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))
    except ValueError:
        raise InputError(
            f"random_state is {describe(random_state)}: give None, a whole number, or a "
            "numpy.random.RandomState"
        ) from None
