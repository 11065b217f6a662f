"""Per-document values of measures, beside the result file that has their totals.

``results/PROFILE/NAME.safetensors`` belongs to ``NAME.json``. It has

    documents         (R,) int32, which documents of the corpus are reported
    count.KIND        (G,) int32, held-out words: all of them, or those "novel" to their user; or 1
                      per user that has any, of all "users" or of some of them
    MEASURE/SEED      (G,) float32, of each document the log-probability of its held-out words in
                      nats (measures ``perplexity.MODEL``), or the sum over these of any other
                      measure (``ndcg@10.MODEL``); one seed alone where the model draws nothing

A row is a document, G = R. Where there are more than ``MAX_GROUPS``, it is the sum over a group of
them, every G-th from the first, the second and so on: the totals are the same, groups that are
drawn again vary as documents do, and the file stays small enough to be committed.
"""

import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from experiments.claims.bootstrap import N_RESAMPLES, resample_sums
from lla.common.display import Summarized
from lla.common.errors import InputError
from lla.common.files import load_arrays, save_tensors
from lla.common.random import StreamId, stream
from lla.corpus import Split

# Measures that are means over documents or over their words.
OF_DOCUMENTS = ("perplexity.", "ndcg@", "recall@", "mrr.", "distance@", "decoded.", "error.",
                "deviation.")  # fmt: skip
ALL = "all"
USERS = "users"  # the kind that counts 1 per user with held-out words, for means over users
KIND = "scores of a result"
MAX_GROUPS = 2560
SEED = 0  # of the resampled documents: a verdict is the same every time it is computed


@dataclass(frozen=True, repr=False)
class Scores(Summarized):
    """Per-document values of some measures.

    Attributes
    ----------
    corpus : its fingerprint
    unit : what the documents are: "documents" or "users"
    seeds : of the result
    documents : (R,) of the corpus, those reported
    counts : by kind, (G,) held-out words
    sums : by measure, (S, G), or (1, G) where the model draws nothing
    sizes : by kind, how many documents have such words
    """

    corpus: str
    unit: str
    seeds: tuple[int, ...]
    documents: np.ndarray
    counts: Mapping[str, np.ndarray]
    sums: Mapping[str, np.ndarray]
    sizes: Mapping[str, int]

    def only(self, measures: Collection[str]) -> "Scores":
        """The same with these measures alone, as far as they are here."""
        return replace(self, sums={k: v for k, v in self.sums.items() if k in measures})

    def n_documents(self, measure: str) -> int:
        """How many documents have something to count."""
        return self.sizes[self._kind(measure)]

    def values(self, measure: str) -> np.ndarray:
        """The measure by seed, (S,)."""
        counts = self.counts[self._kind(measure)].sum(dtype=np.float64)
        values = _value(measure, self.sums[measure].sum(axis=1, dtype=np.float64), counts)
        return np.broadcast_to(values, len(self.seeds))

    def resampled(self, measure: str) -> np.ndarray:
        """The measure by seed on resampled documents, (B, S); the same documents for all.

        NaN where none of the documents drawn has anything to count.
        """
        sums, counts = self._resampled
        values = _value(measure, sums[measure], counts[self._kind(measure)][:, None])
        return np.broadcast_to(values, (len(values), len(self.seeds)))

    def _kind(self, measure: str) -> str:
        """What is counted: "novel" words of ``ndcg@10.MODEL.novel``, users of ``error.MODEL``."""
        kind = measure.rpartition(".")[2]
        if kind in self.counts:
            return kind
        return USERS if measure.startswith("error.") else ALL

    @cached_property
    def _resampled(self) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Sums by measure, (B, S), and counts by kind, (B,)."""
        # Documents are drawn by their corpus: two results on the same one draw the same.
        rng = stream(SEED, StreamId.BOOTSTRAP, zlib.crc32(self.corpus.encode()))
        rows = [*self.sums.values(), *(counts[None] for counts in self.counts.values())]
        found = resample_sums(np.concatenate(rows), N_RESAMPLES, rng)
        parts = np.split(found, np.cumsum([len(row) for row in rows])[:-1], axis=1)
        sums = dict(zip(self.sums, parts, strict=False))
        counts = dict(zip(self.counts, parts[len(sums) :], strict=True))
        return sums, {kind: column[:, 0] for kind, column in counts.items()}

    def check_belongs_to(self, result: Mapping[str, Any], label: str) -> None:
        """Raise `InputError` unless the result's measures follow from these scores."""
        measures = result["measures"]
        for name in self.sums:
            expected = measures[name]["values"] if name in measures else []
            found = self.values(name)
            if len(found) != len(expected) or not np.allclose(found, expected, rtol=1e-4):
                raise InputError(
                    f"{label}: {name} is {found[0]:.6g} there, not as in the result beside it; "
                    "run the notebook again or remove the file"
                )


def _value(measure: str, sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):  # no count: NaN
        means = sums / counts
    return np.exp(-means) if measure.startswith("perplexity.") else means


def scores_of(
    split: Split,
    seeds: Sequence[int],
    found: Mapping[str, Sequence[Any]],
    *,
    unit: str = "documents",
    counts: Mapping[str, np.ndarray] | None = None,
    documents: np.ndarray | None = None,
) -> Scores:
    """The scores of the reported documents.

    Parameters
    ----------
    found : an array (D,) per seed, or (R,) of the documents kept, or an outcome of `study`, whose
        scores are taken; by measure or by model, whose perplexity is then meant
    counts : by kind, (D,) words; "all" are the held-out ones unless given
    documents : (D,) bool, in place of the reported ones
    """
    kept = np.flatnonzero(split.reported if documents is None else documents)
    sums = {}
    for name, runs in found.items():
        rows = np.stack([getattr(run, "scores", run) for run in runs])
        if rows.shape[1] != len(kept):
            rows = rows[:, kept]
        rows = _in_groups(rows).astype(np.float32)
        if (rows == rows[0]).all():
            rows = rows[:1]
        sums[name if name.startswith(OF_DOCUMENTS) else f"perplexity.{name}"] = rows
    by_kind = {ALL: split.n_held_out} | dict(counts or {})
    by_kind = {kind: values[kept] for kind, values in by_kind.items()}
    return Scores(
        corpus=split.corpus.fingerprint,
        unit=unit,
        seeds=tuple(seeds),
        documents=kept.astype(np.int32),
        counts={k: _in_groups(values[None])[0].astype(np.int32) for k, values in by_kind.items()},
        sums=sums,
        sizes={kind: int((values > 0).sum()) for kind, values in by_kind.items()},
    )


def _in_groups(rows: np.ndarray) -> np.ndarray:
    """Rows (S, R) as (S, G), sums over the documents of a group."""
    n_rows, n_documents = rows.shape
    if n_documents <= MAX_GROUPS:
        return rows
    padded = np.zeros((n_rows, -(-n_documents // MAX_GROUPS) * MAX_GROUPS))
    padded[:, :n_documents] = rows
    return padded.reshape(n_rows, -1, MAX_GROUPS).sum(axis=1)


def write_scores(path: Path, scores: Scores | None) -> None:
    """Write the scores of a result; None, or no measure, removes those of an earlier run."""
    if scores is None or not scores.sums:
        path.unlink(missing_ok=True)
        return
    arrays = {"documents": scores.documents}
    arrays |= {f"count.{kind}": counts for kind, counts in scores.counts.items()}
    for name, rows in scores.sums.items():
        arrays |= {
            f"{name}/{seed}": row for seed, row in zip(scores.seeds, rows, strict=len(rows) > 1)
        }
    about = {
        "kind": KIND,
        "corpus": scores.corpus,
        "unit": scores.unit,
        "seeds": list(scores.seeds),
        "measures": list(scores.sums),
        "sizes": dict(scores.sizes),
    }
    save_tensors(path, arrays, about)


def read_scores(file: Path, result: Mapping[str, Any]) -> Scores | None:
    """The scores beside a result file; None where there are none.

    Raises
    ------
    InputError
        When the file is broken, or is that of another run.
    """
    path = file.with_suffix(".safetensors")
    if not path.is_file():
        return None
    arrays, about = load_arrays(path)
    if about.get("kind") != KIND:
        raise InputError(f"{path}: not scores of a result; run the notebook again or remove it")
    seeds = tuple(about["seeds"])
    sums = {
        name: np.stack([arrays[f"{name}/{seed}"] for seed in seeds if f"{name}/{seed}" in arrays])
        for name in about["measures"]
    }
    counts = {
        name.removeprefix("count."): array
        for name, array in arrays.items()
        if name.startswith("count.")
    }
    scores = Scores(
        corpus=about["corpus"],
        unit=about["unit"],
        seeds=seeds,
        documents=arrays["documents"],
        counts=counts,
        sums=sums,
        sizes=about["sizes"],
    )
    scores.check_belongs_to(result, str(path))
    return scores
