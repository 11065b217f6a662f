"""Which users and items enter: the rules of Ko, Maystre and Grossglauser (2016), on any corpus.

Their order is `drop_rare`, then a split (`lla.split_last`), then `drop_homogeneous`.
"""

import numpy as np

from lla.common.arrays import id_dtype
from lla.common.corpus_folder import offsets_of
from lla.common.errors import InputError, check_instance, check_integer, check_not_negative
from lla.corpus import DESCRIPTION, Corpus, Split


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


def entropies(corpus: Corpus) -> np.ndarray:
    """(D,) entropy of the items of every history, nats; 0 for an empty one."""
    user = np.repeat(np.arange(corpus.n_documents), corpus.lengths)
    pairs, counts = np.unique(user * corpus.n_words + corpus.words, return_counts=True)
    users = pairs // corpus.n_words
    p = counts / corpus.lengths[users]
    return np.bincount(users, -p * np.log(p), minlength=corpus.n_documents)
