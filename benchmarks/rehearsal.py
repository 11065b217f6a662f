"""Rehearsal of the profile `paper`: one of everything at its V, K and H, on a part of its tokens.

    python benchmarks/rehearsal.py [--quick] [--tokens N] [--only STAGES] [--out FILE]

The stages: a corpus is written and opened, LDA swept, the LSTM trained for an epoch on LDA's
topics, topics drawn by an SE-step, a part scored by the particle filter, and all files written and
read. Each gives wall and CPU seconds and the most memory that the process took beside its
libraries and mapped files. A stage that FILE already has is not measured again unless --only names
it; the stages before it run again where their files are gone. There is no other implementation to
compare with: the numbers feed `experiments.rehearsal`, which extrapolates them.

Words are drawn from LDA: topics whose words follow Zipf's law in sum, documents of ten topics that
tend to stay, 500 words and more, as the profile's.
"""

import gc
import json
import os
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import argument_parser
from memory import ENVIRONMENT, peak_memory
from workers import time_of_steps

from experiments.notebook import read_profile
from experiments.rehearsal.plan import COSTS, STAGES, Sizes
from experiments.report.inputs import check_rehearsal
from experiments.results import ROOT, environment
from lla.common.errors import InputError, check_integer, run_main
from lla.common.files import load_tensors, read_json, save_tensors, write_json
from lla.common.parallel import Pool, thread_pool
from lla.common.random import StreamId, stream
from lla.corpus import Corpus, load_corpus
from lla.corpus.folder import CorpusWriter
from lla.inference.config import SEMConfig
from lla.inference.filter import FilterConfig, FilterResult, infer
from lla.inference.metropolis import n_pieces
from lla.inference.state import SEM, best_weights, emission_of, initial_state, resume, save
from lla.lda import LDAConfig, init_lda, next_state, sampler_of
from lla.model import Model
from lla.model.folder import save_model
from lla.samplers.metropolis import merge_rows, sparse_rows
from lla.sem import m_step, se_steps

TOKENS, SCORED, BURN_IN, SWEEPS = 10_000_000, 100_000, 12, 3
QUICK = {"n_tokens": 20_000, "n_words": 2000, "n_topics": 50, "hidden_size": 16}
PARTICLES = 16
SHORTEST, MEAN_LENGTH = 500, 700  # words of a document: exponential beyond the shortest
TOPICS_OF_DOCUMENT, STAYS = 10, 0.5  # a document's topics; how often a word keeps the last one's
CONCENTRATION = 0.2  # of the topics' words, times V: common words are in all, rare ones in few
BLOCK_DOCUMENTS = 1000  # written at once
SEED = 0
THREADS = 2  # not all cores: a rehearsal begun on one machine is not of other sizes on another
FOLDER = ROOT / "results" / "bench" / "run"
FILES = {  # of the stages that leave one for those after them
    "corpus": "corpus",
    "lda": "topics.npy",
    "m_step": "network.safetensors",
}


# ------------------------------------------------------------------------------------------ words


def topic_words(n_words: int, n_topics: int) -> np.ndarray:
    """φ, cumulated over words: (K, V) float32, rows drawn from Dirichlet(0.2 V · Zipf)."""
    rng, base = stream(SEED, StreamId.SIMULATE, 0), 1 / np.arange(1, n_words + 1)
    prior = CONCENTRATION * n_words * base / base.sum()
    found = np.empty((n_topics, n_words), np.float32)
    for k in range(n_topics):
        weights = rng.standard_gamma(prior)
        found[k] = np.cumsum(weights / weights.sum())
    return found


def draw_block(
    phi: np.ndarray, lengths: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Words and topics of documents of these lengths, flat."""
    (n_topics, n_words), n_documents = phi.shape, len(lengths)
    n, document = int(lengths.sum()), np.repeat(np.arange(n_documents), lengths)
    own = rng.integers(n_topics, size=(n_documents, TOPICS_OF_DOCUMENT))
    shares = np.cumsum(rng.dirichlet(np.full(TOPICS_OF_DOCUMENT, 0.5), size=n_documents), axis=1)
    chosen = (rng.random(n)[:, None] > shares[document, :-1]).sum(axis=1)
    starts = np.cumsum(lengths) - lengths
    moves = rng.random(n) >= STAYS
    moves[starts] = True  # a document's first word has no last one
    last_move = np.maximum.accumulate(np.where(moves, np.arange(n), 0))
    topics = own[document, chosen[last_move]]
    uniforms, words = rng.random(n, np.float32), np.empty(n, np.int64)
    order = np.argsort(topics, kind="stable")
    ends = np.cumsum(np.bincount(topics, minlength=n_topics))
    for k, tokens in enumerate(np.split(order, ends[:-1])):
        words[tokens] = np.searchsorted(phi[k], uniforms[tokens])
    return words.clip(max=n_words - 1), topics


def write_words(folder: Path, sizes: Sizes) -> None:
    """A corpus of about `sizes.n_tokens`, documents drawn block by block."""
    rng, phi = stream(SEED, StreamId.SIMULATE, 1), topic_words(sizes.n_words, sizes.n_topics)
    left = sizes.n_tokens  # the last document may have more
    source = {"source": "simulated: drawn from LDA with words of Zipf's frequencies"}
    with CorpusWriter(folder, [f"w{w}" for w in range(sizes.n_words)], source) as writer:
        while left > 0:
            beyond = rng.exponential(MEAN_LENGTH - SHORTEST, BLOCK_DOCUMENTS)
            lengths = SHORTEST + beyond.astype(np.int64)
            lengths = lengths[: 1 + int(np.searchsorted(np.cumsum(lengths), left))]
            writer.add(draw_block(phi, lengths, rng)[0], lengths)
            left -= int(lengths.sum())


# ----------------------------------------------------------------------------------------- stages


@dataclass
class Rehearsal:
    """What every stage is given: sizes, folder, threads, and the memory of the libraries alone."""

    sizes: Sizes
    folder: Path
    pool: Pool
    n_trained: int
    base: int
    say: Callable[[str], None]

    def path(self, stage: str) -> Path:
        """The file or folder that a stage leaves."""
        return self.folder / FILES[stage]

    def corpus(self) -> Corpus:
        return load_corpus(self.path("corpus"), verify=False)

    def topics(self) -> np.ndarray:
        """LDA's, (N,), mapped."""
        return np.load(self.path("lda"), mmap_mode="r").view(np.ndarray)

    @property
    def config(self) -> SEMConfig:
        """The profile's, its choices for many topics also where there are few."""
        own = read_profile("paper")["03_sem_training"]
        return SEMConfig(
            n_topics=self.sizes.n_topics,
            beta=own["beta"],
            embedding_size=self.sizes.embedding_size,
            hidden_size=self.sizes.hidden_size,
            batch_size=self.sizes.batch_size,
            learning_rate=own["learning_rate"],
            se_step="mh",
            bfloat16=True,
        ).resolved()

    def state(self, corpus: Corpus, trained: bool) -> SEM:
        """Of topic LLA before its first SE-step, with the weights of the M-step if `trained`."""
        state = initial_state(corpus, self.topics()[: corpus.n_tokens], self.config, SEED)
        if trained:
            weights, _ = load_tensors(self.path("m_step"))
            state.network.load_state_dict(weights)
        return state


@contextmanager
def timed(work: Rehearsal) -> Iterator[dict[str, float]]:
    """Wall and CPU seconds and memory of what runs inside."""
    found: dict[str, float] = {}
    gc.collect()
    with peak_memory() as peak:
        start, cpu_start = time.perf_counter(), time.process_time()
        yield found
        found["seconds"] = time.perf_counter() - start
        found["cpu_seconds"] = time.process_time() - cpu_start
        time.sleep(0.02)  # the watcher looks once more
    found["memory"] = max(0, peak[0] - work.base)


def rehearse_corpus(work: Rehearsal) -> dict[str, Any]:
    with timed(work) as found:
        write_words(work.path("corpus"), work.sizes)
    start = time.perf_counter()
    corpus = work.corpus()
    opened = time.perf_counter() - start
    return {
        **found,
        "tokens": corpus.n_tokens,
        "documents": corpus.n_documents,
        "open_seconds": opened,
        "distinct_words": len(np.unique(corpus.words)),
    }


def rehearse_lda(work: Rehearsal) -> dict[str, Any]:
    """Sweeps from topics that are uniform; the last ones are what later sweeps cost."""
    corpus, profile = work.corpus(), read_profile("paper")["02_lda_initialization"]
    config = LDAConfig(
        work.sizes.n_topics, beta=profile["beta"], sampler=profile["sampler"], alpha_every=0
    )
    seconds = []
    with timed(work) as found:
        state = init_lda(corpus, config, SEED)
        sampler = sampler_of(state)
        for sweep in range(BURN_IN + SWEEPS):
            start = time.perf_counter()
            state = next_state(state, sampler, work.pool)
            seconds.append(time.perf_counter() - start)
            work.say(f"  sweep {sweep + 1}: {seconds[-1]:.2f} s")
        sampler.to_document_order()
    np.save(work.path("lda"), state.topics)
    return {
        **found,
        "tokens": corpus.n_tokens,
        "burn_in_seconds": sum(seconds[:BURN_IN]),
        "sweep_seconds": sum(seconds[BURN_IN:]) / SWEEPS,
        "burn_in": BURN_IN,
        "log_likelihood": [state.log_likelihood[0], state.log_likelihood[-1]],
    }


def rehearse_m_step(work: Rehearsal) -> dict[str, Any]:
    """An epoch, of the first documents where not all are wanted."""
    corpus = first_tokens(work.corpus(), work.n_trained)
    state = work.state(corpus, trained=False)
    with timed(work) as found:
        loss = m_step(state, corpus, work.config, SEED, work.pool)
    save_tensors(work.path("m_step"), state.network.state_dict(), {"kind": "model"})
    adam_seconds, n_numbers = time_of_steps(state.network.config, bfloat16=True)
    return {
        **found,
        "tokens": corpus.n_tokens,
        "loss": loss,
        "adam_seconds": adam_seconds,
        "n_numbers": int(n_numbers),
    }


def rehearse_se_step(work: Rehearsal) -> dict[str, Any]:
    """φ in closed form and a draw of all topics; how many pairs of word and topic there are."""
    corpus = work.corpus()
    state = work.state(corpus, trained=True)
    with timed(work) as found:
        info = se_steps(state, corpus, work.config, SEED, work.pool, None)
    counted, n_part = {}, corpus.n_tokens // 16
    for name, n in (("pairs_of_part", n_part), ("pairs", corpus.n_tokens)):
        starts, topics, counts, _ = sparse_rows(
            corpus.words[:n], state.topics[:n], corpus.n_words, work.sizes.n_topics, n_pieces(n)
        )
        counted[name] = len(topics)
    lengths = np.tile(np.diff(starts), (4, 1))  # as of four processes
    topics, counts = np.tile(topics, 4), np.tile(counts, 4)
    merge_rows(np.empty((4, 0), lengths.dtype), topics, counts, work.sizes.n_topics)  # compiles
    start = time.perf_counter()
    merge_rows(lengths, topics, counts, work.sizes.n_topics)
    merge = (time.perf_counter() - start) / len(topics)
    return {
        **found,
        "tokens": corpus.n_tokens,
        **counted,
        "tokens_of_part": n_part,
        "merge_seconds_per_pair": merge,
        **info,
    }


def rehearse_scoring(work: Rehearsal) -> dict[str, Any]:
    """The particle filter over the first documents."""
    corpus = work.corpus()
    state = work.state(corpus, trained=True)
    emission = emission_of(state, corpus, work.config)
    part = first_tokens(corpus, SCORED)
    out = FilterResult(topics=None, log_evidence=np.empty(part.n_tokens))
    with timed(work) as found:
        infer(
            state.network,
            emission,
            part,
            FilterConfig(work.sizes.particles),
            seed=SEED,
            key=(StreamId.PERPLEXITY,),
            pool=work.pool,
            out=out,
        )
    nats = float(out.log_evidence.mean())
    return {**found, "tokens": part.n_tokens, "log_evidence": nats}


def rehearse_files(work: Rehearsal) -> dict[str, Any]:
    """A checkpoint written and read, the model saved; bytes of all that lies on disk."""
    corpus, config = work.corpus(), work.config
    state = work.state(corpus, trained=True)
    few = corpus.select(np.arange(min(2, corpus.n_documents)))
    topics, state.topics = state.topics, state.topics[: few.n_tokens]
    m_step(state, few, config, SEED, work.pool)  # Adam has its moments then
    state.topics, state.iteration = topics, 1
    state.history = [{"iteration": 1, "development_perplexity": 1.0}]
    state.best = best_weights(state)
    path, identity = work.folder / "sem.safetensors", {"kind": "sem", "seed": SEED}
    identity |= {"corpus": corpus.fingerprint}
    with timed(work) as found:
        save(path, identity, config, state)
        written = time.perf_counter()
        back = resume(path, identity, config, corpus)
        read_seconds = time.perf_counter() - written
    assert back is not None and np.array_equal(back.topics, state.topics)
    emission = emission_of(state, corpus, config)
    model = Model(state.network, emission, state.topics, corpus.vocabulary)
    start = time.perf_counter()
    save_model(model, work.folder / "model")
    return {
        **found,
        "tokens": corpus.n_tokens,
        "write_seconds": found["seconds"] - read_seconds,
        "read_seconds": read_seconds,
        "model_seconds": time.perf_counter() - start,
        "bytes": {
            "corpus": size_of(work.path("corpus")),
            "assignments": size_of(work.path("lda")),
            "checkpoint": size_of(path),
            "model": size_of(work.folder / "model"),
        },
        "vocabulary_bytes": size_of(work.path("corpus") / "vocabulary.txt"),
    }


RUNS = {
    "corpus": rehearse_corpus,
    "lda": rehearse_lda,
    "m_step": rehearse_m_step,
    "se_step": rehearse_se_step,
    "scoring": rehearse_scoring,
    "files": rehearse_files,
}


def first_tokens(corpus: Corpus, n_tokens: int) -> Corpus:
    """The first documents, of about `n_tokens`; the corpus itself where it has no more."""
    if n_tokens >= corpus.n_tokens:
        return corpus
    n_documents = max(1, int(np.searchsorted(corpus.offsets, n_tokens)))
    return corpus.select(np.arange(min(n_documents, corpus.n_documents)))


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


# ------------------------------------------------------------------------------------ the command


def to_run(measured: dict[str, Any], asked: list[str], folder: Path) -> list[str]:
    """The stages to run: those asked for or not measured, and those whose files they need."""
    wanted = [stage for stage in STAGES if stage in asked or stage not in measured]
    if not wanted:
        return []
    before = STAGES[: STAGES.index(wanted[-1])]
    gone = [stage for stage in before if stage in FILES and not (folder / FILES[stage]).exists()]
    return [stage for stage in STAGES if stage in {*wanted, *gone}]


def memory_now() -> int:
    with peak_memory() as peak:
        time.sleep(0.05)
    return peak[0]


def rehearse(sizes: Sizes, options: Namespace) -> dict[str, Any]:
    """Measure what is missing; the file is complete after every stage."""
    start = time.perf_counter()

    def say(text: str) -> None:
        print(f"[{time.perf_counter() - start:4.0f} s] {text}", flush=True)

    result: dict[str, Any] = {"sizes": asdict(sizes), "stages": {}}
    if options.out and options.out.exists():
        result = check_rehearsal(options.out, read_json(options.out))
        if Sizes(**result["sizes"]) != sizes:
            raise InputError(
                f"{options.out}: holds a rehearsal of other sizes, {result['sizes']}; give another "
                "--out, or delete it"
            )
    stages = to_run(result["stages"], options.only or [], options.folder)
    if not stages:
        say(f"{options.out}: all stages are measured; --only STAGE measures one anew")
        return result
    result["environment"] = environment()
    options.folder.mkdir(parents=True, exist_ok=True)
    with thread_pool(sizes.n_threads) as pool, tempfile.TemporaryDirectory() as tiny:
        few = Sizes(**(asdict(sizes) | QUICK))
        common = partial(Rehearsal, pool=pool, n_trained=options.trained or sizes.n_tokens)
        warm = common(sizes=few, folder=Path(tiny), base=0, say=lambda text: None)
        say("compiling")
        for stage in STAGES:
            RUNS[stage](warm)
        work = common(sizes=sizes, folder=options.folder, base=memory_now(), say=say)
        for stage in stages:
            say(f"{stage}: {COSTS[stage]}")
            found = RUNS[stage](work)
            result["stages"][stage] = found
            say(
                f"  {found['tokens']:,} tokens, {found['seconds']:.2f} s, CPU "
                f"{found['cpu_seconds']:.2f} s, {found['memory'] / 1e6:,.0f} MB"
            )
            if options.out:
                write_json(options.out, result)
    return result


def main(argv: Sequence[str] | None = None) -> None:
    """Read the options and rehearse."""
    parser = argument_parser(__doc__)
    parser.add_argument("--tokens", type=int, help=f"of the part (default: {TOKENS:,})")
    parser.add_argument("--trained", type=int, help="of the M-step (default: all)")
    parser.add_argument("--threads", type=int, help=f"default: {THREADS}")
    parser.add_argument("--only", nargs="+", choices=STAGES, help="measure these again")
    parser.add_argument("--folder", type=Path, help="for corpus and topics; kept between runs")
    options = parser.parse_args(argv)
    for name in ("tokens", "trained", "threads"):
        if (value := getattr(options, name)) is not None:
            check_integer(f"--{name}", value)
    sizes = Sizes.of_profile(
        n_tokens=options.tokens or TOKENS,
        particles=PARTICLES,
        n_threads=options.threads or THREADS,
    )
    if options.quick:
        sizes = Sizes(**(asdict(sizes) | QUICK))
    name = f"rehearsal-{sizes.n_tokens}-{sizes.n_words}-{sizes.n_topics}"
    options.folder = options.folder or FOLDER / name
    result = rehearse(sizes, options)
    if not options.out:
        print(json.dumps(result, indent=2))


if __name__ == "__main__":
    # Freed memory goes back to the system at once, so that a stage does not reuse another's.
    if os.environ.get("MALLOC_MMAP_THRESHOLD_") != ENVIRONMENT["MALLOC_MMAP_THRESHOLD_"]:
        os.execve(sys.executable, [sys.executable, *sys.argv], ENVIRONMENT)
    torch.set_num_threads(1)
    run_main(main)
