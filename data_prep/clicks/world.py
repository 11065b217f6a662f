"""The distribution that simulated clicks are drawn from.

A tree of interests, times of stay, repeated items, and one dependence over a long time. A user of a
hidden type stays in a leaf of the tree for a number of events whose distribution depends on the
leaf, then moves on, mostly within the root. After flights a hotel is *pending*: the next stay is
neither flights nor hotels, every later change of leaf goes to hotels with probability `hotel_pull`,
and no second flight comes before. A click repeats one of the user's own earlier items, or is drawn
from φ.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from lla.common.display import Configuration, Summarized
from lla.common.errors import (
    InputError,
    check_integer,
    check_not_negative,
    check_positive,
    check_seed,
)
from lla.common.random import StreamId, stream

# root -> (mean stay in events, leaf -> its named sites); a leaf without any gets LEAF.example.
Tree = Mapping[str, tuple[float, Mapping[str, Sequence[str]]]]


INTERESTS: Tree = {
    "wedding": (
        6.0,
        {
            "planning": ("theknot.com", "weddingwire.com", "zola.com", "www.bridalguide.com"),
            "dresses": ("dresses.example", "pinterest.com"),
            "gifts": (),
        },
    ),
    "home improvement": (
        9.0,
        {
            "tools": ("doityourself.com",),
            "decor": ("houzz.com", "pinterest.com"),
            "garden": (),
            "kitchen": (),
        },
    ),
    "food": (5.0, {"recipes": ("food.com", "pinterest.com"), "restaurants": ()}),
    "social": (3.0, {"photos": ("pinterest.com",), "friends": ()}),
    "travel": (5.0, {"flights": (), "hotels": (), "sights": ()}),
    "fashion": (6.0, {"shoes": (), "makeup": (), "bags": ()}),
    "news": (4.0, {"headlines": (), "sport": (), "weather": ()}),
}


# The history of the paper's section 4.3, after which models forecast.
TRACE = (
    *("theknot.com", "zola.com", "weddingwire.com", "www.bridalguide.com"),
    *("pinterest.com", "food.com", "doityourself.com"),
)


FLIGHTS, HOTELS = "travel/flights", "travel/hotels"


# Options in manifests of earlier versions.
FORMER_NAMES = {
    "pull": "hotel_pull",
    "least_repeats": "min_repeat",
    "most_repeats": "max_repeat",
    "longest_stay": "max_dwell",
}


@dataclass(frozen=True, repr=False)
class ClickConfig(Configuration):
    """Options of the simulation; the defaults are those of the profile `small`.

    Attributes
    ----------
    n_users, min_events, max_events : D, and the range that the length of a history is drawn from
    n_items : V
    n_types : hidden types of user, each with its own distribution over the roots
    preference : Dirichlet parameter of these distributions; the smaller, the more types differ
    within : probability that the next leaf belongs to the same root
    hotel_pull : probability that a change of leaf goes to hotels once one is pending
    shared : share of the items that belong to two or three leaves
    zipf : exponent of the items' popularity in a leaf
    min_repeat, max_repeat : range of ρ_k, the probability of repeating an own item
    habit : h, own events at which the probability of a repeat, ρ_k n / (n + h), is half of ρ_k
    max_dwell : R, the longest stay in a leaf, in events
    seed : of the world and of all histories
    """

    n_users: int = 1000
    min_events: int = 60
    max_events: int = 180
    n_items: int = 1500
    n_types: int = 6
    preference: float = 0.5
    within: float = 0.75
    hotel_pull: float = 0.7
    shared: float = 0.15
    zipf: float = 1.0
    min_repeat: float = 0.3
    max_repeat: float = 0.8
    habit: float = 4.0
    max_dwell: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("n_users", "min_events", "max_events", "n_items", "n_types", "max_dwell"):
            check_integer(name, getattr(self, name))
        check_seed(self.seed)
        for name in ("preference", "within"):
            check_positive(name, getattr(self, name))
        for name in ("hotel_pull", "shared", "min_repeat", "max_repeat", "habit", "zipf"):
            check_not_negative(name, getattr(self, name))
        for name in ("within", "hotel_pull", "shared", "max_repeat"):
            if getattr(self, name) > 1:
                raise InputError(f"{name} is {getattr(self, name)}: give a probability, at most 1")
        if self.within == 1:
            raise InputError("within is 1: give less, or nobody ever leaves a root")
        if self.zipf > 10:
            raise InputError(f"zipf is {self.zipf}: give 10 or less")
        for low, high in (("min_events", "max_events"), ("min_repeat", "max_repeat")):
            if getattr(self, low) > getattr(self, high):
                raise InputError(f"{low} is {getattr(self, low)}: give {high} or less")


SMOKE = ClickConfig(n_users=120, min_events=30, max_events=60, n_items=300, n_types=3, max_dwell=12)


@dataclass(frozen=True, eq=False, repr=False)
class World(Summarized):
    """The distribution as arrays; a *node* is a leaf with or without a pending hotel.

    Attributes
    ----------
    config : ClickConfig
    roots, leaves : names; a leaf's is ``"root/leaf"``
    leaf_root : (L,) int64
    vocabulary : tuple of str, the items
    phi : (V, L) float64, probability of an item in a leaf; leaf k can emit where it is above 0
    rho : (L,) probability of repeating an own item that the leaf can emit, once there are many
    habit : (L,) h, the number of own events at which it is half of that: ρ_k n / (n + h_k)
    dwell : (L, R) probability of a stay of 1..R events
    node_leaf, pending_hotel : (S,) int64 and bool
    initial : (U, S) probability of a user's type and first node
    transition : (U, S, S) probability of the next node once a stay is over
    """

    config: ClickConfig
    roots: tuple[str, ...]
    leaves: tuple[str, ...]
    leaf_root: np.ndarray
    vocabulary: tuple[str, ...]
    phi: np.ndarray
    rho: np.ndarray
    habit: np.ndarray
    dwell: np.ndarray
    node_leaf: np.ndarray
    pending_hotel: np.ndarray
    initial: np.ndarray
    transition: np.ndarray

    def in_order(self, vocabulary: tuple[str, ...]) -> "World":
        """The same world with its items in the order of `vocabulary`.

        Raises
        ------
        InputError
            When `vocabulary` does not hold exactly this world's items.
        """
        number = {item: i for i, item in enumerate(self.vocabulary)}
        if len(vocabulary) != len(number) or set(vocabulary) != set(number):
            raise InputError(
                f"vocabulary of {len(vocabulary)} words: not the {len(number)} items of the world "
                "simulated with this configuration and seed; make the corpus again"
            )
        order = [number[item] for item in vocabulary]
        return replace(self, vocabulary=tuple(vocabulary), phi=self.phi[order])


def make_world(config: ClickConfig, tree: Tree = INTERESTS) -> World:
    """Draw a world from the seed.

    Parameters
    ----------
    config : ClickConfig
    tree : roots, each with its mean stay and its leaves with their named sites

    Raises
    ------
    InputError
        When there are too few items for the leaves, or nowhere to go after a flight.
    """
    draw = stream(config.seed, StreamId.CLICKS, 0)
    leaves = tuple(f"{root}/{leaf}" for root, (_, below) in tree.items() for leaf in below)
    leaf_root = np.repeat(np.arange(len(tree)), [len(below) for _, below in tree.values()])
    if len(leaves) < 2 or (len(leaves) < 3 and FLIGHTS in leaves):
        raise InputError(f"{len(leaves)} leaves: give at least two, and a third besides flights")
    means = np.array([mean for mean, _ in tree.values()])[leaf_root]
    means = means * draw.uniform(0.8, 1.25, len(leaves))
    rho = draw.uniform(config.min_repeat, config.max_repeat, len(leaves))
    names, belongs = _items(config, tree, leaves, draw)
    first, base = _moves(config, leaf_root, draw)
    node_leaf, pending_hotel = _nodes(leaves)
    initial = np.where(
        pending_hotel == (node_leaf == _find(leaves, FLIGHTS)), first[:, node_leaf], 0.0
    )
    transition = _transitions_with_memory(base, leaves, node_leaf, pending_hotel, config.hotel_pull)
    return World(
        config,
        tuple(tree),
        leaves,
        leaf_root,
        names,
        _popularity(belongs, config.zipf, draw),
        rho,
        np.full(len(leaves), config.habit),
        _dwell_times(means, config.max_dwell),
        node_leaf,
        pending_hotel,
        # Kernels are compiled once more for arrays in another order.
        np.ascontiguousarray(initial),
        np.ascontiguousarray(transition),
    )


def _items(
    config: ClickConfig, tree: Tree, leaves: tuple[str, ...], draw: np.random.Generator
) -> tuple[tuple[str, ...], np.ndarray]:
    """Names, and (V, L): a named site's place 1, 2, …; inf for other items of a leaf; or 0."""
    below = [(leaf, sites) for _, part in tree.values() for leaf, sites in part.items()]
    named = [sites or (f"{leaf}.example",) for leaf, sites in below]
    sites = list(dict.fromkeys(site for part in named for site in part))
    if config.n_items < len(sites) + len(leaves):
        raise InputError(
            f"n_items is {config.n_items}: give {len(sites) + len(leaves)} or more, "
            f"for {len(sites)} named sites and one item per leaf"
        )
    belongs = np.zeros((config.n_items, len(leaves)))
    for k, part in enumerate(named):
        for place, site in enumerate(part):
            belongs[sites.index(site), k] = place + 1
    for i in range(len(sites), config.n_items):
        belongs[i, i % len(leaves)] = np.inf
        if draw.random() < config.shared:
            belongs[i, draw.integers(len(leaves), size=draw.integers(1, 3))] = np.inf
    hashes = (
        hashlib.sha256(f"{config.seed} {i}".encode()).hexdigest()[:12]
        for i in range(len(sites), config.n_items)
    )
    return (*sites, *hashes), belongs


def _popularity(belongs: np.ndarray, zipf: float, draw: np.random.Generator) -> np.ndarray:
    """φ (V, L): named sites first, the others in an order drawn at random, by Zipf's law."""
    phi = np.zeros(belongs.shape)
    for k in range(belongs.shape[1]):
        items = draw.permutation(np.flatnonzero(belongs[:, k]))
        items = items[np.argsort(belongs[items, k], kind="stable")]
        weight = np.arange(1, len(items) + 1) ** -zipf
        phi[items, k] = weight / weight.sum()
    return phi


def _dwell_times(means: np.ndarray, longest: int) -> np.ndarray:
    """(L, R) a gamma density of shape 4 at 1..R: few stays are very short or very long."""
    r = np.arange(1, longest + 1)
    weight = r**3.0 * np.exp(-4.0 * r / means[:, None])
    return weight / weight.sum(axis=1, keepdims=True)


def _moves(
    config: ClickConfig, leaf_root: np.ndarray, draw: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """First leaf (U, L), types equally likely; and next leaf (U, L, L), hotels not yet pending."""
    n_leaves, n_roots = len(leaf_root), leaf_root[-1] + 1
    of_type = draw.dirichlet(np.full(n_roots, config.preference), config.n_types)  # (U, G)
    of_type = 0.9 * of_type + 0.1 / n_roots  # every root can be reached
    entry = draw.gamma(2.0, size=n_leaves)
    entry /= np.bincount(leaf_root, entry)[leaf_root]  # p(leaf | root entered)
    near = draw.gamma(1.0, size=(n_roots, n_roots)) + 0.1
    sibling = draw.gamma(1.0, size=(n_leaves, n_leaves)) + 0.05
    same = leaf_root[:, None] == leaf_root  # (L, L)
    inside = _rows(np.where(same & ~np.eye(n_leaves, dtype=bool), sibling, 0.0))
    far = _rows(of_type[:, None, :] * near * (1.0 - np.eye(n_roots)))  # (U, G, G)
    outside = far[:, leaf_root][:, :, leaf_root] * entry  # (U, L, L)
    # Rows again: a root of one leaf has no inside, a tree of one root no outside.
    base = _rows(config.within * inside + (1.0 - config.within) * outside)
    return of_type[:, leaf_root] * entry / config.n_types, base


def _rows(weight: np.ndarray) -> np.ndarray:
    """Rows that sum to 1, or stay 0."""
    total = weight.sum(axis=-1, keepdims=True)
    return np.divide(weight, total, out=np.zeros_like(weight), where=total > 0)


def _find(leaves: tuple[str, ...], leaf: str) -> int:
    return leaves.index(leaf) if leaf in leaves else -1


def _nodes(leaves: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Leaf of each node, and whether a hotel is pending: in flights always, in hotels never."""
    nodes = [
        (k, pending_hotel)
        for k, leaf in enumerate(leaves)
        for pending_hotel in (False, True)
        if (leaf != FLIGHTS or pending_hotel) and (leaf != HOTELS or not pending_hotel)
        if FLIGHTS in leaves or not pending_hotel
    ]
    leaf, pending_hotel = zip(*nodes, strict=True)
    return np.array(leaf, np.int64), np.array(pending_hotel)


def _transitions_with_memory(
    base: np.ndarray,
    leaves: tuple[str, ...],
    leaf: np.ndarray,
    pending_hotel: np.ndarray,
    hotel_pull: float,
) -> np.ndarray:
    """Next node (U, S, S) from the next leaf (U, L, L): the rule of flights and hotels."""
    flights, hotels = _find(leaves, FLIGHTS), _find(leaves, HOTELS)
    moves = base[:, leaf][:, :, leaf]  # (U, S, S), each leaf's probability at all of its nodes
    free = ~pending_hotel
    # No hotel pending: flights make it pending, other leaves do not.
    to_free = np.where(pending_hotel == (leaf == flights), moves, 0.0)
    # Pending: to another leaf, where it stays pending, or to hotels, but not right after flights.
    elsewhere = _rows(np.where(pending_hotel & (leaf != flights), moves, 0.0))
    to_hotel = (leaf == hotels).astype(float)
    share = np.where(elsewhere.any(axis=2, keepdims=True), hotel_pull * (hotels >= 0), 1.0)
    share = np.where((leaf == flights)[:, None], 0.0, share)
    pulled = share * to_hotel + (1.0 - share) * elsewhere
    return np.where(free[:, None], to_free, pulled)


def config_of(options: Mapping[str, Any]) -> ClickConfig:
    """The configuration in a manifest, earlier versions' names included.

    Raises
    ------
    InputError
        When it has other options than this version.
    """
    values = {FORMER_NAMES.get(name, name): value for name, value in options.items()}
    names = {field.name for field in fields(ClickConfig)}
    if set(values) != names:
        raise InputError(
            f"simulated with {', '.join(sorted(set(values) ^ names))}, which this version does not "
            "have or cannot do without; make the corpus again with python -m data_prep clicks"
        )
    return ClickConfig(**values)
