"""The hierarchy and the map of topics: from an embedding (K, E) to clusters and places.

Topics are compared by cosine distance, 1 - cos: the length of a topic's vector tells how often it
occurs and how sharply the network reads it more than what it is near to.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.cluster.hierarchy import cophenet, leaves_list, linkage, optimal_leaf_ordering
from scipy.spatial.distance import squareform

from lla.common.arrays import as_array
from lla.common.display import Summarized
from lla.common.errors import InputError, check_choice, check_integer, check_number

LINKAGES = ("average", "ward")


@dataclass(frozen=True, eq=False, repr=False)
class Hierarchy(Summarized):
    """Topics merged two clusters at a time, the nearest first.

    Attributes
    ----------
    merges : (K-1, 4) SciPy's linkage: the two clusters, the height, and the topics of the new one;
        cluster K + i is made by row i
    order : (K,) the topics from top to bottom, so that neighbours are as near as the tree allows
    """

    merges: np.ndarray
    order: np.ndarray

    @property
    def n_topics(self) -> int:
        """K."""
        return len(self.order)

    @property
    def heights(self) -> np.ndarray:
        """Height of each merge, (K-1,), never falling."""
        return self.merges[:, 2]

    def cut(self, n_clusters: int) -> np.ndarray:
        """The cluster of each topic, (K,) int64, numbered from 0 in the order of `order`.

        There are `n_clusters` of them, also where merges share a height.
        """
        check_integer("n_clusters", n_clusters, most=self.n_topics)
        parent = np.arange(2 * self.n_topics - 1)
        for i, (one, other) in enumerate(self.merges[: self.n_topics - n_clusters, :2].astype(int)):
            parent[[one, other]] = self.n_topics + i
        for node in range(len(parent) - 1, -1, -1):  # a parent comes after its children
            parent[node] = parent[parent[node]]
        _, first, cluster = np.unique(
            parent[self.order], return_index=True, return_inverse=True
        )  # in the order of the leaves
        labels = np.empty(self.n_topics, np.int64)
        labels[self.order] = first.argsort().argsort()[cluster]
        return labels

    def cut_at(self, level: float) -> np.ndarray:
        """`cut` where only merges up to the height `level` are made, (K,) int64."""
        level = check_number("level", level)
        return self.cut(self.n_topics - int(np.searchsorted(self.heights, level, side="right")))

    def cophenetic(self) -> np.ndarray:
        """Height at which two topics are first in one cluster, (K, K); 0 on the diagonal."""
        return squareform(cophenet(self.merges))


def topic_hierarchy(embedding: np.ndarray, method: str = "average") -> Hierarchy:
    """Agglomerative clustering of topics by cosine distance.

    Average linkage (UPGMA) is the default: it is defined for any distance, its heights are mean
    cosine distances, and its cophenetic correlation (Sokal & Rohlf, 1962) is usually the highest of
    the common linkages. Ward's needs Euclidean distances and is given those of the unit-length
    vectors, √(2 · cosine distance); its clusters are of more even size, which suits a cut of 1,000
    topics.

    Parameters
    ----------
    embedding : (K, E), K ≥ 2; a vector of length 0 is at distance 1 from all others
    method : "average" or "ward"
    """
    check_choice("method", method, LINKAGES)
    distances = cosine_distances(embedding)
    if method == "ward":
        distances = np.sqrt(2.0 * distances)
    condensed = squareform(distances, checks=False)
    merges = optimal_leaf_ordering(linkage(condensed, method), condensed)
    return Hierarchy(merges, leaves_list(merges).astype(np.int64))


def cosine_distances(embedding: np.ndarray) -> np.ndarray:
    """1 - cos of the angle between two topics, (K, K) from 0 to 2; the diagonal is 0.

    Parameters
    ----------
    embedding : (K, E); a vector of length 0 has no direction and is at distance 1 from all others
    """
    unit = unit_vectors(embedding)
    distances = np.clip(1.0 - unit @ unit.T, 0.0, 2.0)
    np.fill_diagonal(distances, 0.0)
    return (distances + distances.T) / 2.0


def unit_vectors(embedding: np.ndarray) -> np.ndarray:
    """Rows of length 1, (K, E) float64; rows of length 0 stay.

    Raises
    ------
    InputError
        Unless `embedding` holds finite numbers, a row for each of two topics or more.
    """
    array = as_array("embedding", embedding)
    if array.ndim != 2 or len(array) < 2 or array.shape[1] < 1 or array.dtype.kind not in "iuf":
        raise InputError(
            f"embedding: {array.dtype} {array.shape}; give numbers (K, E) of 2 topics or more"
        )
    rows = array.astype(np.float64)
    if not np.isfinite(rows).all():
        k = int(np.argmin(np.isfinite(rows).all(axis=1)))
        raise InputError(f"embedding: that of topic {k} is not finite; give finite numbers")
    largest = np.abs(rows).max(axis=1, keepdims=True)  # squares of huge numbers would overflow
    rows = np.divide(rows, largest, out=np.zeros_like(rows), where=largest > 0)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)


def check_square(name: str, matrix: Any, n_topics: int | None = None) -> np.ndarray:
    """`matrix` as (K, K) float64; raise InputError unless it is square, of K topics where given."""
    array = as_array(name, matrix)
    wanted = "K" if n_topics is None else n_topics
    if array.ndim != 2 or array.dtype.kind not in "biuf" or len(set(array.shape)) != 1:
        raise InputError(f"{name}: {array.dtype} {array.shape}; give numbers ({wanted}, {wanted})")
    if len(array) < 2 or (n_topics is not None and len(array) != n_topics):
        raise InputError(f"{name}: {array.shape}; give ({wanted}, {wanted}) of 2 topics or more")
    return array.astype(np.float64)


def cophenetic_correlation(cophenetic: np.ndarray, distances: np.ndarray) -> float:
    """Pearson's correlation of two distance matrices, each pair of topics once, from -1 to 1.

    How well a tree keeps the distances it was made from, or agrees with those of another tree. NaN
    where either matrix holds one value alone.

    Parameters
    ----------
    cophenetic : (K, K), as `Hierarchy.cophenetic` returns it
    distances : (K, K) of the same topics
    """
    one = check_square("cophenetic", cophenetic)
    other = check_square("distances", distances, len(one))
    pairs = np.triu_indices(len(one), 1)
    if not np.isfinite([one[pairs], other[pairs]]).all():
        raise InputError("distances: a pair of topics has no finite number; give one to each pair")
    x, y = one[pairs] - one[pairs].mean(), other[pairs] - other[pairs].mean()
    norm = np.linalg.norm(x) * np.linalg.norm(y)
    return float(x @ y / norm) if norm > 0 else float("nan")


class TopicMap(NamedTuple):
    """Topics on a plane.

    places : (K, 2)
    explained : (2,) share of the vectors' variance along each axis
    """

    places: np.ndarray
    explained: np.ndarray


def topic_map(embedding: np.ndarray) -> TopicMap:
    """The two principal axes of the unit-length vectors: classical scaling of their distances.

    Distances on the plane approximate √(2 · cosine distance). Nothing is random; on each axis the
    coordinate of largest size is positive, which fixes the sign.

    Parameters
    ----------
    embedding : (K, E)
    """
    unit = unit_vectors(embedding)
    left, sizes, _ = np.linalg.svd(unit - unit.mean(axis=0), full_matrices=False)
    places = np.zeros((len(unit), 2))
    explained = np.zeros(2)
    n = min(2, len(sizes))
    places[:, :n] = fix_signs(left[:, :n] * sizes[:n])
    total = np.square(sizes).sum()
    if total > 0:
        explained[:n] = np.square(sizes[:n]) / total
    return TopicMap(places, explained)


def fix_signs(axes: np.ndarray) -> np.ndarray:
    """Columns turned such that the entry of largest size in each is positive, (K, n).

    Of entries that differ in rounding alone the first decides.
    """
    size = np.abs(axes)
    decisive = np.argmax(size >= size.max(axis=0) * (1 - 1e-9), axis=0)
    signs = np.sign(np.take_along_axis(axes, decisive[None], axis=0))
    return axes * np.where(signs == 0, 1.0, signs)


def cooccurrence_embedding(document_topic: np.ndarray, size: int = 50) -> np.ndarray:
    """Topics embedded by the documents they share, (K, min(size, K)): what LDA knows of them.

    Draw a token, then another of the same document: p(i, j) = Σ_d n_di n_dj / (n_d N). The positive
    pointwise mutual information max(0, log p(i, j) / (p(i) p(j))) is cut to its largest singular
    values, U √S (Levy & Goldberg, 2014). Order within a document plays no part.

    Parameters
    ----------
    document_topic : (D, K) n_dk, counts or expected counts, as `LDA.document_topic` returns them or
        `document_topic_counts` counts them; a topic that never occurs has a vector of zeros
    size : E
    """
    check_integer("size", size)
    counts = as_array("document_topic", document_topic)
    if counts.ndim != 2 or counts.dtype.kind not in "biuf" or counts.shape[1] < 2:
        raise InputError(
            f"document_topic: {counts.dtype} {counts.shape}; give numbers (D, K) of 2 topics or "
            "more"
        )
    counts = counts.astype(np.float64)
    if not (np.isfinite(counts).all() and (counts >= 0).all() and counts.any()):
        raise InputError("document_topic: give finite counts, 0 or more, and not all of them 0")
    counts /= counts.max()  # only ratios matter, and sums of huge numbers would overflow
    total = counts.sum()
    length = counts.sum(axis=1, keepdims=True)
    theta = np.divide(counts, length, out=np.zeros_like(counts), where=length > 0)
    joint = theta.T @ counts / total  # (K, K)
    share = counts.sum(axis=0) / total
    expected = np.outer(share, share)
    ratio = np.divide(joint, expected, out=np.ones_like(joint), where=expected > 0)
    mutual = np.log(np.maximum(ratio, 1.0))  # the positive part
    left, sizes, _ = np.linalg.svd((mutual + mutual.T) / 2.0)
    return fix_signs(left[:, :size] * np.sqrt(sizes[:size]))


def merge_topics(phi: np.ndarray, share: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """p(word | cluster): the topics of a cluster mixed by their share of the tokens, (V, C).

    Parameters
    ----------
    phi : (V, K)
    share : (K,) weights of topics, 0 or more; where those of a cluster are all 0, they count alike
    labels : (K,) clusters from 0 on, as `Hierarchy.cut` returns them; none is left out
    """
    matrix, weight = as_array("phi", phi), as_array("share", share)
    cluster = as_array("labels", labels)
    shape = matrix.shape[1:]
    if matrix.ndim != 2 or matrix.dtype.kind not in "iuf" or not matrix.size:
        raise InputError(f"phi: {matrix.dtype} {matrix.shape}; give numbers (V, K)")
    if not np.isfinite(matrix).all():
        raise InputError("phi: some of its numbers are not finite; give probabilities")
    finite = weight.dtype.kind in "iuf" and np.isfinite(weight).all() and (weight >= 0).all()
    if weight.shape != shape or not finite:
        raise InputError(f"share: {weight.shape}; give a number, 0 or more, for each of {shape[0]}")
    if cluster.shape != shape or cluster.dtype.kind not in "iu" or cluster.min() < 0:
        raise InputError(f"labels: {cluster.shape}; give a cluster for each of {shape[0]} topics")
    if cluster.max() >= shape[0] or not np.bincount(cluster).all():
        raise InputError("labels: a cluster has no topic; number those that have one from 0 on")
    mixture = np.zeros((shape[0], int(cluster.max()) + 1))  # (K, C)
    mixture[np.arange(shape[0]), cluster] = weight
    empty = mixture.sum(axis=0) == 0
    mixture[:, empty] = (cluster[:, None] == np.flatnonzero(empty)).astype(float)
    return matrix @ (mixture / mixture.sum(axis=0))
