"""Entrances of what Algorithm 1 is made of: arrays out of range, and parts of other models."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from entrance_world import SMALL_SEM, K, V, World, wrong_topics
from fuzzing import Argument, Entrance

from lla.common.parallel import thread_pool
from lla.inference import batch, device, filter, gradient, histories, metropolis, session
from lla.inference.emission import tables
from lla.lda.sparse import SparseSampler
from lla.samplers.lda import topic_counts


def of_passes(world: World) -> Iterator[Entrance]:
    """What Algorithm 1 is made of: arrays out of range and parts of other models alone."""
    split, start = world.split, world.start
    observed, n_tokens = split.observed, split.observed.n_tokens
    topic = world.models["topic"]
    corpora = Argument([observed], [*world.others[2:]], anything=False)
    topics = Argument([start], wrong_topics(n_tokens), anything=False)
    networks = Argument([topic.network], [world.network("lstm")], anything=False)
    fixed = {"seed": Argument([1], anything=False), "key": Argument([(1,)], anything=False)}

    def pooled(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(**arguments: Any) -> Any:
            with thread_pool(1) as pool:
                return function(**arguments, pool=pool)

        return call

    own = {
        "emission": Argument([topic.emission, world.models["personal"].emission], anything=False),
        "counted": Argument([None], [world.split.held_out, np.ones(3)], anything=False),
    }
    one = {"config": Argument([filter.FilterConfig(2)], anything=False)}
    passed = {"network": networks, **own, "corpus": corpora, **one, **fixed}
    yield Entrance("infer", pooled(filter.infer), passed)
    yield Entrance(
        "mh_sweep",
        pooled(metropolis.mh_sweep),
        {
            "network": Argument([topic.network], anything=False),
            "corpus": corpora,
            "topics": topics,
            "beta": Argument([0.1], anything=False),
            "config": Argument([metropolis.MHConfig()], anything=False),
            **fixed,
        },
    )
    steppers = Argument(
        [batch.Stepper(topic.network)], [batch.Stepper(world.network("lstm"))], anything=False
    )
    shared = {"emission": Argument([topic.emission], anything=False)}
    yield Entrance(
        "particle_gibbs",
        pooled(histories.particle_gibbs),
        {
            "stepper": steppers,
            **shared,
            "corpus": corpora,
            "topics": topics,
            "config": Argument([histories.HistoryConfig(2)], anything=False),
            **fixed,
        },
    )
    beam = {"stepper": steppers, **shared, "corpus": corpora, "width": Argument([2], [0, -1])}
    yield Entrance("beam_topics", pooled(histories.beam_topics), beam)
    dense = {"network": networks, **shared, "corpus": corpora, **fixed}
    yield Entrance("dense_topics", device.dense_topics, dense)

    def train(inputs: np.ndarray, targets: np.ndarray, offsets: np.ndarray, bits: bool) -> float:
        network = world.network("topic")
        optimizer = gradient.adam(network, SMALL_SEM.train)
        with thread_pool(1) as pool:
            return gradient.train_epoch(
                network,
                optimizer,
                inputs=inputs,
                targets=targets,
                offsets=offsets,
                config=SMALL_SEM.train,
                seed=1,
                key=(1,),
                pool=pool,
                bfloat16=bits,
            )

    ends = Argument(
        [observed.offsets], [observed.offsets[:-1], observed.offsets * 2], anything=False
    )
    bits = Argument([False, True], anything=False)
    yield Entrance(
        "train_epoch", train, {"inputs": topics, "targets": topics, "offsets": ends, "bits": bits}
    )

    def tables_of(words: np.ndarray, offsets: np.ndarray, topics: np.ndarray) -> Any:
        return tables.draw_tables(
            words,
            offsets,
            topics,
            n_words=V,
            beta=0.1,
            tau=np.ones(K),
            config=tables.TauConfig(),
            n_sweeps=1,
            seed=1,
            key=(1,),
        )

    plain = observed.words.astype(int)
    ids = Argument([observed.words], [plain + V, plain - V, plain[:-1]], anything=False)
    yield Entrance("draw_tables", tables_of, {"words": ids, "offsets": ends, "topics": topics})

    def counted(words: np.ndarray, topics: np.ndarray) -> Any:
        return topic_counts(words, topics, V, K)

    yield Entrance("topic_counts", counted, {"words": ids, "topics": topics})

    def sampled(words: np.ndarray, offsets: np.ndarray, topics: np.ndarray) -> Any:
        return SparseSampler(words, offsets, V, topics.copy(), K, beta=0.1)

    yield Entrance("SparseSampler", sampled, {"words": ids, "offsets": ends, "topics": topics})
    predictor = session.Predictor(topic.network, topic.emission, topic.vocabulary)
    history = Argument([np.array([1, 2])], [np.array([V]), np.array([-1])], anything=False)

    def decoded(words: np.ndarray, width: int) -> Any:
        return session.decode(predictor, words, width)

    yield Entrance("decode", decoded, {"words": history, "width": Argument([2], [0, 1.5])})
