"""Entrances of peers beside the one interface: what their classes offer by themselves."""

from collections.abc import Iterator

import numpy as np
from entrance_world import World
from fuzzing import Argument, Entrance

from lla.peers.hmm import HMM


def of_peers(world: World) -> Iterator[Entrance]:
    corpora = Argument([world.corpus, world.split.observed], [world.split, *world.others])
    threads = Argument([None, 1, 2], [0, -1, "a"])
    hmm, factorization = world.fits["hmm"], world.fits["factorization"]
    yield Entrance(
        "hmm.document_topic", hmm.document_topic, {"corpus": corpora, "n_threads": threads}
    )
    yield Entrance(
        "factorization.users", factorization.users, {"observed": corpora, "n_threads": threads}
    )
    initial, transition, phi = hmm.parameters
    yield Entrance(
        "HMM",
        HMM,
        {
            "initial": Argument([initial], [initial[:-1], np.ones((2, 2))], anything=False),
            "transition": Argument([transition], [initial, transition[:-1]], anything=False),
            "phi": Argument([phi], [phi.T, phi[:, :-1]], anything=False),
        },
    )
