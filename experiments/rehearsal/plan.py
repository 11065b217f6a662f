"""What the profile `paper` asks for, what was measured of it, and how long the whole would take."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from experiments import claims
from experiments.notebook import read_profile
from experiments.rehearsal.scaling import (
    GPU,
    WINDOW_TOKENS,
    disk_bytes,
    flops_forward,
    gpu_m_step_seconds,
    gpu_se_step_seconds,
    lda_memory,
    m_step_seconds,
    scoring_seconds,
    se_step_seconds,
    sem_memory,
    sweep_seconds,
)
from lla.inference.config import SEMConfig

# In their order, and what each measures.
COSTS = {
    "corpus": "words drawn, written, and opened memory-mapped",
    "lda": "sweeps of sparse LDA",
    "m_step": "M-step, an epoch in bfloat16",
    "se_step": "SE-step by Metropolis-Hastings, and φ",
    "scoring": "particle filter",
    "files": "checkpoint written and read, model saved",
}
STAGES = tuple(COSTS)
CLUSTER = (32, 512)  # processes of one core each
GPU_CORES = 32  # beside a GPU, for what runs on cores alone
# As `split_corpus` has them: shares of every document, and of the documents.
OBSERVED, DEVELOPMENT = 0.6, 0.1


@dataclass(frozen=True)
class Sizes:
    """Of a rehearsal; those of the model are the profile's.

    Attributes
    ----------
    n_tokens : N of the part
    n_words, n_topics, hidden_size, embedding_size : V, K, H and E
    batch_size : documents per batch
    particles : of the scoring
    n_threads : that work at once, in one process
    """

    n_tokens: int
    n_words: int
    n_topics: int
    hidden_size: int
    embedding_size: int
    batch_size: int
    particles: int
    n_threads: int

    @classmethod
    def of_profile(cls, *, n_tokens: int, particles: int, n_threads: int) -> "Sizes":
        """With the model of ``experiments/configs/paper.yaml``."""
        profile = read_profile("paper")
        training = profile["03_sem_training"]
        return cls(
            n_tokens=n_tokens,
            n_words=profile["01_data_prep"]["vocabulary"],
            n_topics=profile["02_lda_initialization"]["n_topics"],
            hidden_size=training["hidden_size"],
            embedding_size=training["embedding_size"],
            batch_size=training["batch_size"],
            particles=particles,
            n_threads=n_threads,
        )


@dataclass(frozen=True)
class Whole:
    """How much the profile computes for one seed, at most: it may stop earlier.

    Attributes
    ----------
    n_tokens, n_documents : N and D of the paper's Wikipedia
    n_seeds : how often all of it is done
    sweeps : of LDA
    se_steps, m_steps : SE-steps and epochs of M-steps, of all fits
    evaluations : of the development documents, of all fits
    particles : of every model that is scored, summed over the numbers of particles
    development_particles : of an evaluation
    n_models : fits of topic LLA, joint and independent
    """

    n_tokens: int
    n_documents: int
    n_seeds: int
    sweeps: int
    se_steps: int
    m_steps: int
    evaluations: int
    particles: int
    development_particles: int
    n_models: int = 2

    @classmethod
    def of_profile(cls) -> "Whole":
        """From ``experiments/configs/paper.yaml`` and the paper's sizes."""
        profile, paper = read_profile("paper"), claims.paper_corpora()["Wikipedia"]
        training, scoring = profile["03_sem_training"], profile["04_joint_vs_independent"]
        joint, alone = training, training | scoring["models"]["independent"]
        m_steps = sum(
            fit["initial_epochs"] + (fit["n_iterations"] - 1) * fit["epochs"]
            for fit in (joint, alone)
        )
        return cls(
            n_tokens=paper["tokens"],
            n_documents=paper["documents"],
            n_seeds=len(training["seeds"]),
            sweeps=profile["02_lda_initialization"]["n_sweeps"],
            se_steps=joint["n_iterations"] - 1,
            m_steps=m_steps,
            evaluations=joint["n_iterations"] + alone["n_iterations"],
            particles=2 * sum(scoring["particles"]),
            development_particles=SEMConfig.development_particles,
        )

    @property
    def n_observed(self) -> float:
        """Tokens that LDA and the LSTM are fitted to."""
        return OBSERVED * self.n_tokens

    @property
    def n_scored(self) -> float:
        """Tokens of the reported documents, all of which the filter reads."""
        return (1 - DEVELOPMENT) * self.n_tokens


@dataclass(frozen=True)
class Rates:
    """What a rehearsal measured, per token and core.

    Attributes
    ----------
    burn_in, sweep : core seconds per token of LDA's first sweeps together, and of a later one
    n_burn_in : how many these first sweeps are
    se, m : core seconds per token of an SE-step, and of an epoch without Adam's steps
    adam_step : seconds of one of those
    score : core seconds per token and particle
    n_numbers : P, of the network
    pairs, exponent : pairs of word and topic in n tokens are pairs · n^exponent
    merge : seconds to merge one of several processes' pairs
    sizes : of what was measured
    vocabulary_bytes : of its words on disk
    """

    burn_in: float
    n_burn_in: int
    sweep: float
    se: float
    m: float
    adam_step: float
    score: float
    n_numbers: int
    pairs: float
    exponent: float
    merge: float
    sizes: Sizes
    vocabulary_bytes: int

    @classmethod
    def of_rehearsal(cls, result: Mapping[str, Any]) -> "Rates":
        """From the file of ``benchmarks/rehearsal.py``; a core that waits counts as busy."""
        sizes, stages = Sizes(**result["sizes"]), result["stages"]
        lda, m_step, se_step = stages["lda"], stages["m_step"], stages["se_step"]
        scoring, cores = stages["scoring"], sizes.n_threads
        # A step of Adam of every window of a batch, while the other cores wait.
        adam_per_token = cores * m_step["adam_seconds"] / (2 * WINDOW_TOKENS)
        growth = se_step["pairs"] / se_step["pairs_of_part"]
        exponent = math.log(growth) / math.log(se_step["tokens"] / se_step["tokens_of_part"])
        return cls(
            burn_in=cores * lda["burn_in_seconds"] / lda["tokens"],
            n_burn_in=lda["burn_in"],
            sweep=cores * lda["sweep_seconds"] / lda["tokens"],
            se=cores * se_step["seconds"] / se_step["tokens"],
            m=max(0.0, cores * m_step["seconds"] / m_step["tokens"] - adam_per_token),
            adam_step=m_step["adam_seconds"],
            score=cores * scoring["seconds"] / scoring["tokens"] / sizes.particles,
            n_numbers=m_step["n_numbers"],
            pairs=se_step["pairs"] / se_step["tokens"] ** exponent,
            exponent=exponent,
            merge=se_step["merge_seconds_per_pair"],
            sizes=sizes,
            vocabulary_bytes=stages["files"]["vocabulary_bytes"],
        )

    def n_pairs(self, n_tokens: float) -> float:
        """Distinct pairs of word and topic in so many tokens; at most one each, and all VK."""
        cells = self.sizes.n_words * self.sizes.n_topics
        return min(self.pairs * n_tokens**self.exponent, n_tokens, cells)


@dataclass(frozen=True)
class Estimate:
    """Of one seed on some machine: seconds by part, and bytes that a process takes for itself."""

    machine: str
    n_processes: int
    seconds: Mapping[str, float]
    memory: int

    @property
    def total(self) -> float:
        """Seconds of all parts."""
        return sum(self.seconds.values())


def on_cores(rates: Rates, whole: Whole, n_processes: int, n_threads: int = 1) -> Estimate:
    """One seed in so many processes; threads share the work of one without an exchange."""
    n, sizes, n_cores = whole.n_observed, rates.sizes, n_processes * n_threads
    n_pairs, n_counted = rates.n_pairs(n), n_processes * rates.n_pairs(n / n_processes)
    sweep = sweep_seconds(
        n_processes, n_tokens=n, sweep=rates.sweep / n_threads, n_topics=sizes.n_topics
    )
    se_step = se_step_seconds(
        n_processes,
        n_tokens=n,
        se=rates.se / n_threads,
        n_pairs=n_pairs,
        n_counted=n_counted,
        merge=rates.merge,
    )
    epoch = m_step_seconds(
        n_processes,
        n_tokens=n,
        m=rates.m,
        adam_step=rates.adam_step,
        n_numbers=rates.n_numbers,
        n_threads=n_threads,
    )
    score = partial(scoring_seconds, n_processes)
    evaluation = score(
        n_tokens=DEVELOPMENT * whole.n_tokens,
        score=whole.development_particles * rates.score / n_threads,
    )
    scoring = score(n_tokens=whole.n_scored, score=whole.particles * rates.score / n_threads)
    first = (rates.burn_in - rates.n_burn_in * rates.sweep) * n / n_cores
    parts = {
        "LDA": whole.sweeps * sweep + first,
        "SE-steps": whole.se_steps * se_step,
        "M-steps": whole.m_steps * epoch,
        "development": whole.evaluations * evaluation,
        "scoring": scoring,
    }
    of_lda = lda_memory(n, whole.n_documents, max(2, n_cores), n_processes)
    of_sem = sem_memory(
        n,
        whole.n_documents,
        n_words=sizes.n_words,
        n_topics=sizes.n_topics,
        n_pairs=n_pairs,
        n_processes=n_processes,
        n_counted=n_counted,
    )
    return Estimate(f"{n_cores} cores", n_processes, parts, max(of_lda, of_sem))


def on_gpu(rates: Rates, whole: Whole, gpu: GPU) -> Estimate:
    """One seed with both steps on a GPU, by arithmetic; the rest on `GPU_CORES` cores beside it."""
    sizes, n = rates.sizes, whole.n_observed
    cores = on_cores(rates, whole, 1, GPU_CORES)
    flops = flops_forward(sizes.n_topics, sizes.hidden_size, sizes.embedding_size)
    parts = dict(cores.seconds)
    parts["SE-steps"] = whole.se_steps * gpu_se_step_seconds(gpu, n, flops, sizes.n_topics)
    parts["M-steps"] = whole.m_steps * gpu_m_step_seconds(gpu, n, flops, sizes.batch_size)
    return Estimate(f"1 GPU and {GPU_CORES} cores", 1, parts, cores.memory)


def estimates(result: Mapping[str, Any]) -> list[Estimate]:
    """Of one seed on every machine that is shown; the first is the one measured on, in one process.

    The last is a GPU, by arithmetic.
    """
    rates, whole = Rates.of_rehearsal(result), Whole.of_profile()
    here = on_cores(rates, whole, 1, rates.sizes.n_threads)
    return [here, *(on_cores(rates, whole, n) for n in CLUSTER), on_gpu(rates, whole, GPU())]


def disk(rates: Rates, whole: Whole) -> dict[str, int]:
    """Bytes of the files of one seed, and of the corpus, at the paper's size."""
    sizes = rates.sizes
    return disk_bytes(
        whole.n_tokens,
        whole.n_observed,
        whole.n_documents,
        n_words=sizes.n_words,
        n_topics=sizes.n_topics,
        n_numbers=rates.n_numbers,
        vocabulary=rates.vocabulary_bytes,
    )


def disk_of_all(rates: Rates, whole: Whole) -> int:
    """Bytes of all files: the corpus; per seed LDA's topics; checkpoint and model per fit."""
    found = disk(rates, whole)
    of_seed = found["assignments"] + whole.n_models * (found["checkpoint"] + found["model"])
    return found["corpus"] + whole.n_seeds * of_seed
