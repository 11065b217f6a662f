"""Processes as torchrun starts them, and what they do in the tests."""

import contextlib
import io
import multiprocessing
import os
import signal
import socket
from dataclasses import replace

import numpy as np
import torch
from small_sem import SMALL, small_split, start_topics, without_seconds

from experiments.processes import LIBRARIES
from lla import sem
from lla.command import main
from lla.common.errors import run_main
from lla.common.parallel import ALONE
from lla.corpus import Corpus
from lla.inference import batch, distributed
from lla.inference.metropolis import count_rows
from lla.lda import LDAConfig, fit_lda
from lla.sem import fit_sem

FITS = {  # options of stochastic EM, and so the parts of an iteration that are shared
    "exact": {"average": 0.9, "se_steps": 2},
    "filter": {"se_step": "filter", "se_particles": 3, "n_shards": 5},
    "mh": {"se_step": "mh"},
    "habits": {"emission": "personal", "sources": ("next", "recent")},
    "words": {"model": "word_lla", "objective": "marginal"},
    "users": {"user_rank": 2, "se_step": "gibbs", "se_particles": 2},
}


def environment(rank: int, size: int, port: int) -> dict[str, str]:
    """What torchrun tells a process."""
    found = {"RANK": rank, "WORLD_SIZE": size, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": size}
    found |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return {name: str(value) for name, value in found.items()}


def start(size, work, *arguments):
    """`work(*arguments)` in each of so many processes: what each gave back, or its exit status."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LIBRARIES)
    pipes = [context.Pipe(duplex=False) for _ in range(size)]
    processes = []
    for rank, (_, given) in enumerate(pipes):
        of_rank = environment(rank, size, port)
        process = context.Process(target=_run, args=(given, of_rank, work, arguments))
        process.start()
        given.close()
        processes.append(process)
    found = []
    for process, (read, _) in zip(processes, pipes, strict=True):
        try:
            found.append(read.recv())
        except EOFError:
            process.join()
            found.append(process.exitcode)
        process.join()
    return found


def _run(given, variables, work, arguments):
    os.environ.update(variables)
    given.send(work(*arguments))


def small_pieces():
    """Many groups of documents, and many exchanges, in a corpus of a few hundred tokens."""
    batch.GROUPED_TOKENS = 60
    distributed.CHUNK_BYTES, distributed.SMALL_BYTES = 400, 0


def fits(names):
    """Arrays and histories of LDA and of the named fits, by what they are of."""
    found = {}
    small_pieces()
    with distributed.torchrun_workers() as workers:
        for n_shards in (3, 4):
            found |= of_lda(n_shards, workers)
        for name in names:
            found |= of_sem(name, workers)
    return found


def of_lda(n_shards, workers=ALONE):
    config = LDAConfig(
        n_topics=5, n_sweeps=3, alpha_every=2, alpha_from=1, sampler="sparse", n_shards=n_shards
    )
    lda = fit_lda(small_split(), config, 7, n_threads=1, workers=workers)
    values = {"topics": lda.topics, "alpha": lda.alpha, "p": np.array(lda.log_likelihood)}
    return {f"LDA {n_shards} {name}": value.tobytes() for name, value in values.items()}


def of_sem(name, workers=ALONE):
    split, config = small_split(), replace(SMALL, n_iterations=2, **FITS[name])
    model = fit_sem(
        split,
        config,
        3,
        start=start_topics(split, config.n_topics),
        n_threads=1,
        workers=workers,
    )
    scores = model.score(split, n_particles=2, n_threads=1, workers=workers)
    values = {
        "topics": model.topics.tobytes(),
        "weights": model.fingerprint(),
        "scores": scores.tobytes(),
        "history": without_seconds(model.history),
    }
    return {f"{name} {of}": value for of, value in values.items()}


def means():
    """Mean gradients of more and fewer pieces than processes, one after the other, as bytes."""
    found = []
    with distributed.torchrun_workers() as workers:
        for n_pieces, shapes in ((5, [(3, 2), (4,)]), (1, [(2,)]), (3, [(5, 7)]), (5, [(3, 2)])):
            draw = torch.Generator().manual_seed(n_pieces)
            pieces = [[torch.randn(of, generator=draw) for of in shapes] for _ in range(n_pieces)]
            owners = workers.owners([1] * n_pieces)
            own = {i: pieces[i] for i in np.flatnonzero(owners == workers.rank).tolist()}
            like = [torch.zeros(of) for of in shapes]
            mean = workers.mean_gradients(own, owners, like, 3)
            assert [of.shape for of in mean] == [of.shape for of in like]
            found.append([of.numpy().tobytes() for of in mean])
    return found


def rows(pairs, n_words, n_topics):
    """`count_rows` of pairs of word and topic; how many bytes were sent for it."""
    small_pieces()
    words, topics = np.array(pairs, np.int32).T
    with distributed.torchrun_workers() as workers:
        corpus = Corpus(words, [0, len(words)], [f"w{w}" for w in range(n_words)])
        found = count_rows(corpus, topics, n_topics, workers)
        sent = dict(getattr(workers, "n_sent", {}))
    return [array.tolist() for array in found], sent


def command(arguments, dies_in=None):
    """Exit status, output and errors of a command line; process 1 dies in iteration `dies_in`."""
    perplexity = sem.development_perplexity
    calls = []

    def die(*given):
        calls.append(None)
        if os.environ["RANK"] == "1" and len(calls) == dies_in:
            os.kill(os.getpid(), signal.SIGKILL)
        return perplexity(*given)

    sem.development_perplexity = die
    out, err, status = io.StringIO(), io.StringIO(), None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            run_main(lambda: main(arguments))
        except SystemExit as left:
            status = left.code
    return status, out.getvalue(), err.getvalue()


def different_starts():
    """The line that refuses processes which were given different topics."""
    split = small_split()
    try:
        with distributed.torchrun_workers() as workers:
            topics = start_topics(split)
            topics[0] = workers.rank
            fit_sem(split, SMALL, 3, start=topics, n_threads=1, workers=workers)
    except ValueError as error:
        return str(error)
    except SystemExit as left:
        return left.code
