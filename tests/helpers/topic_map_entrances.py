"""Entrances of the hierarchy, the map and the dynamics of topics."""

from collections.abc import Iterator

import numpy as np
from entrance_world import K, World, wrong_topics
from fuzzing import Argument, Entrance

from lla.model.dynamics import expected_after, memory_curve
from lla.samplers.lda import document_topic_counts
from lla.topics import dynamics, hierarchy, proximity

COUNT = Argument([1, 2], [0, -1, 1.5, "a"])
SEED = Argument([0, 7], [-1, 0.5, "a"])


def of_topic_map(world: World) -> Iterator[Entrance]:
    """All of them."""
    yield from of_hierarchy(world)
    yield from of_dynamics(world)
    yield from of_models(world)


def of_hierarchy(world: World) -> Iterator[Entrance]:
    vectors = world.models["topic"].topic_embedding()
    bad_vectors = [vectors[:1], vectors[0], vectors * np.nan, vectors.astype(str), vectors[:, :0]]
    embedding = {"embedding": Argument([vectors, np.eye(4), np.zeros((3, 2))], bad_vectors)}
    method = {"method": Argument(["average", "ward"], ["single", 3, None])}
    yield Entrance("topic_hierarchy", hierarchy.topic_hierarchy, embedding | method)
    for function in (hierarchy.cosine_distances, hierarchy.topic_map, hierarchy.unit_vectors):
        yield Entrance(function.__name__, function, embedding)
    tree = hierarchy.topic_hierarchy(vectors)
    n_clusters = Argument([1, K], [0, K + 1, 1.0, "a"])
    yield Entrance("Hierarchy.cut", tree.cut, {"n_clusters": n_clusters})
    level = Argument([0.0, 0.7, -1, 5], [float("nan"), "a", None])
    yield Entrance("Hierarchy.cut_at", tree.cut_at, {"level": level})
    square = Argument([tree.cophenetic()], [vectors, np.eye(K + 1), np.full((K, K), np.inf)])
    compared = {"cophenetic": square, "distances": square}
    yield Entrance("cophenetic_correlation", hierarchy.cophenetic_correlation, compared)
    observed = world.split.observed
    counts = document_topic_counts(observed.offsets, world.start, K)
    yield Entrance(
        "cooccurrence_embedding",
        hierarchy.cooccurrence_embedding,
        {
            "document_topic": Argument([counts, counts / 7], [-counts, counts[0], 0 * counts]),
            "size": COUNT,
        },
    )
    phi = world.lda.phi()
    yield Entrance(
        "merge_topics",
        hierarchy.merge_topics,
        {
            "phi": Argument([phi], [phi[:, :2], phi * np.nan]),
            "share": Argument([np.ones(K), np.zeros(K)], [-np.ones(K), np.full(K, np.inf)]),
            "labels": Argument([np.array([0, 1, 0])], [np.array([0, 2, 0]), np.ones(K)]),
        },
    )
    related = np.array([[1.0, 0.2, 0.5], [0.2, 1.0, 0.1], [0.5, 0.1, 1.0]])
    matrices = Argument([related], [related[:2], related * np.nan, np.ones((K, K)), np.eye(K + 1)])
    tested = {"similarity": matrices, "other": matrices, "n_permutations": COUNT, "seed": SEED}
    yield Entrance("mantel", proximity.mantel, tested)


def of_dynamics(world: World) -> Iterator[Entrance]:
    observed = world.split.observed
    offsets = observed.offsets
    bad_offsets = [offsets[:-1], offsets[::-1], offsets + 1, offsets.astype(float), offsets[:1]]
    tokens = {
        "topics": Argument([world.start], wrong_topics(observed.n_tokens)),
        "offsets": Argument([offsets], bad_offsets),
    }
    counted = tokens | {"n_topics": Argument([K, K + 2], [K - 1, 0, 2.5], anything=False)}
    yield Entrance("transition_counts", dynamics.transition_counts, counted | {"lag": COUNT})
    yield Entrance("observed_after", dynamics.observed_after, counted | {"steps": COUNT})
    yield Entrance("dwell_times", dynamics.dwell_times, counted)
    yield Entrance("topic_flow", dynamics.topic_flow, counted | {"n_largest": COUNT})
    any_topics = Argument([world.start, world.start + 9], wrong_topics(observed.n_tokens)[1:3])
    yield Entrance("visits", dynamics.visits, tokens | {"topics": any_topics})
    share = {"topics": Argument([world.start, [0, K - 1]], [[], [K + 2], [-1], ["a"], [0.5]])}
    yield Entrance("topic_share", dynamics.topic_share, share | {"n_topics": counted["n_topics"]})
    counts = dynamics.transition_counts(world.start, offsets, K)
    yield Entrance(
        "transition_lift",
        dynamics.transition_lift,
        {"counts": Argument([counts, counts * 0.1], [-counts, counts[:2], 0 * counts])},
    )
    after = dynamics.observed_after(world.start, offsets, K, 4)
    base = dynamics.topic_share(world.start, K)
    yield Entrance(
        "delayed_pairs",
        dynamics.delayed_pairs,
        {
            "after": Argument([after], [after[:1], after[0], -after - 1, after + 2]),
            "share": Argument([base], [base[:-1], -base, base * np.nan]),
            "names": Argument([None, ["a", "b", "c"]], [["a"], 3]),
            "within": Argument([2, 3, 100], [1, 0, 2.5]),
            "at_once": Argument([1, 0.5], [0, -1, "a"]),
            "soon": Argument([1.5, 3], [0, -1, "a"]),
            "min_share": Argument([0, 0.1], [1, -0.1, "a"]),
        },
    )
    vectors = world.models["topic"].topic_embedding()
    lags = Argument([(1,), [1, 2]], [(0,), (99,), (), ("a",), 3, "12"])
    tested = {"embedding": Argument([vectors], [vectors[:2], vectors[0]]), "lags": lags}
    drawn = {"n_permutations": COUNT, "seed": SEED}
    yield Entrance("sequence_proximity", proximity.sequence_proximity, tested | tokens | drawn)


def of_models(world: World) -> Iterator[Entrance]:
    for name, model in world.models.items():
        yield Entrance(f"{name}.topic_embedding", model.topic_embedding)
    ours = [world.models[name] for name in ("topic", "personal")]
    others = [world.models[name] for name in ("word", "lstm", "letters")]
    models = {"model": Argument(ours, [*others, world.lda, world.split])}
    future = {"steps": COUNT, "n_futures": COUNT, "n_threads": Argument([None, 1], [0, "a"])}
    yield Entrance("expected_after", expected_after, models | future | {"seed": SEED})
    distance = Argument([1, 2], [0, 99, 1.5, "a"])
    drawn = {"max_distance": distance, "n_positions": COUNT, "seed": SEED}
    yield Entrance("memory_curve", memory_curve, models | drawn)
