"""Which users and items enter: the rules of Ko, Maystre and Grossglauser (2016), on any corpus.

Their order is `drop_rare`, then a split (`lla.split_last`), then `drop_homogeneous`, then
`drop_unseen`; `select_users` is all of it.
"""

from dataclasses import dataclass

import numpy as np

from lla.common.arrays import as_readonly, id_dtype
from lla.common.display import Configuration
from lla.common.errors import (
    InputError,
    check_each,
    check_instance,
    check_integer,
    check_not_negative,
    optional,
)
from lla.corpus import DESCRIPTION, Corpus, Split, split_last
from lla.corpus.folder import offsets_of


@dataclass(frozen=True, repr=False)
class SelectionOptions(Configuration):
    """Which users and items enter, and which of their events are held out.

    Attributes
    ----------
    core : events that items need, and that users need more than (`drop_rare`)
    nats : entropy that users' observed events must be above (`drop_homogeneous`); None leaves this
        rule out
    held_out, least, most : share of each history that is held out, and its limits (`split_last`)
    development : share of the users who decide when to stop and are not reported; the paper has
        none
    """

    core: int = 10
    nats: float | None = None
    held_out: float = 0.025
    least: int = 3
    most: int = 500
    development: float = 0.1

    def __post_init__(self) -> None:
        check_each(self, check_integer, "core", "least", "most")
        check_each(self, optional(check_not_negative), "nats")


def select_users(corpus: Corpus, options: SelectionOptions) -> Split:
    """The paper's selection and split of a corpus of users' histories.

    Raises
    ------
    InputError
        When no user is left.
    """
    check_instance("options", options, SelectionOptions)
    split = split_last(
        drop_rare(corpus, options.core),
        held_out=options.held_out,
        least=options.least,
        most=options.most,
        development=options.development,
    )
    if options.nats is not None:
        split = drop_homogeneous(split, options.nats)
    return drop_unseen(split)


def drop_rare(corpus: Corpus, core: int = 10) -> Corpus:
    """Items with at least `core` events, then users with more than `core` events of these.

    One pass, as in the authors' code, and in this order: an item may be left with fewer events
    than `core`, and a user with exactly `core` is left out (the paper's text would keep her). The
    options `min_user` and `min_item` of `EventOptions` repeat until all have enough.

    Raises
    ------
    InputError
        When no user is left.
    """
    check_instance("corpus", corpus, Corpus)
    core = check_integer("core", core)
    user = np.repeat(np.arange(corpus.n_documents), corpus.lengths)
    frequent = np.bincount(corpus.words, minlength=corpus.n_words) >= core
    kept = frequent[corpus.words]
    lengths = np.bincount(user[kept], minlength=corpus.n_documents)
    users = np.flatnonzero(lengths > core)
    if not len(users):
        raise InputError(f"core is {core}: no user has more events of frequent items; give less")
    kept &= lengths[user] > core
    items, words = np.unique(corpus.words[kept], return_inverse=True)
    return Corpus(
        words=words.astype(id_dtype(len(items))),
        offsets=offsets_of(lengths[users]),
        vocabulary=tuple(corpus.vocabulary[i] for i in items),
        manifest={key: corpus.manifest[key] for key in DESCRIPTION if key in corpus.manifest},
        names=tuple(corpus.names[u] for u in users) if corpus.names else (),
    )


def drop_homogeneous(split: Split, nats: float) -> Split:
    """The users whose observed events have an entropy above `nats`.

    The authors' code takes whole histories; held-out events have no part in the choice here. They
    drop users with up to 2.5 nats, or 3.

    Raises
    ------
    InputError
        When no user is left.
    """
    check_instance("split", split, Split)
    nats = check_not_negative("nats", nats)
    varied = entropies(split.observed) > nats
    if not varied.any():
        raise InputError(f"nats is {nats}: no user's observed events have a higher entropy")
    return split.restrict(varied)


def drop_unseen(split: Split) -> Split:
    """Only items that some user's observed events have, and the held-out events of these.

    The paper's items are the union of the training parts. A user may be left without a held-out
    event; she then counts in no error.
    """
    check_instance("split", split, Split)
    corpus, observed = split.corpus, split.observed
    items, words = np.unique(observed.words, return_inverse=True)
    kept = np.isin(corpus.words, items)
    user = np.repeat(np.arange(corpus.n_documents), corpus.lengths)
    vocabulary = tuple(corpus.vocabulary[i] for i in items)
    parts = [
        Corpus(
            words=as_readonly(of_part.astype(id_dtype(len(items)))),
            offsets=offsets_of(lengths),
            vocabulary=vocabulary,
            manifest={key: corpus.manifest[key] for key in DESCRIPTION if key in corpus.manifest},
            names=corpus.names,
        )
        for of_part, lengths in (
            (
                np.searchsorted(items, corpus.words[kept]),
                np.bincount(user[kept], minlength=corpus.n_documents),
            ),
            (words, observed.lengths),
        )
    ]
    return Split(parts[0], parts[1], split.n_observed, split.development)


def entropies(corpus: Corpus) -> np.ndarray:
    """(D,) entropy of the items of every history, nats; 0 for an empty one."""
    user = np.repeat(np.arange(corpus.n_documents), corpus.lengths)
    pairs, counts = np.unique(user * corpus.n_words + corpus.words, return_counts=True)
    users = pairs // corpus.n_words
    p = counts / corpus.lengths[users]
    return np.bincount(users, -p * np.log(p), minlength=corpus.n_documents)
