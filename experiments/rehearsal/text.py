"""The generated tables of the rehearsal: measured, extrapolated, memory and disk."""

import textwrap
from collections.abc import Mapping
from typing import Any

from experiments.rehearsal.plan import (
    COSTS,
    GPU_CORES,
    Estimate,
    Rates,
    Sizes,
    Whole,
    disk,
    disk_of_all,
    estimates,
)
from experiments.rehearsal.scaling import BANDWIDTH, GPU, LATENCY, flops_forward, gpu_memory
from experiments.report.tables import NOT_RUN, table

GB = 1e9


def is_whole(result: Mapping[str, Any]) -> bool:
    """Whether every stage has been measured."""
    return set(COSTS) <= set(result["stages"])


def measured_table(result: Mapping[str, Any]) -> str:
    """What every stage took."""
    rows = [
        (
            COSTS[stage],
            f"{found['tokens']:,}",
            f"{found['seconds']:.1f} s",
            f"{found['cpu_seconds']:.1f} s",
            f"{found['memory'] / 1e6:,.0f} MB",
        )
        for stage, found in ((stage, result["stages"][stage]) for stage in COSTS)
    ]
    return table(("measured", "tokens", "wall time", "CPU time", "memory"), rows)


def estimate_rows(result: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """A row per machine: time of every part, of one seed and of all, memory per process."""
    n_seeds = Whole.of_profile().n_seeds
    return [
        (
            found.machine,
            *(span(seconds) for seconds in found.seconds.values()),
            span(found.total),
            span(n_seeds * found.total),
            memory_of(found),
        )
        for found in estimates(result)
    ]


def estimate_header(result: Mapping[str, Any]) -> tuple[str, ...]:
    """Of `estimate_rows`."""
    (first, *_), n_seeds = estimates(result), Whole.of_profile().n_seeds
    return "", *first.seconds, "one seed", f"{n_seeds} seeds", "memory"


def memory_of(found: Estimate) -> str:
    """Of a process, and how many there are."""
    times = f"{found.n_processes} × " if found.n_processes > 1 else ""
    return f"{times}{found.memory / GB:.1f} GB"


def span(seconds: float) -> str:
    """Seconds, minutes, hours or days, whichever shows two digits or more."""
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if (value := seconds / size) >= 2:
            return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.2g} {unit}"
    return f"{seconds:.0f} s" if seconds >= 100 else f"{seconds:.2g} s"


def assumptions(result: Mapping[str, Any]) -> str:
    """What the extrapolation rests on, for people."""
    sizes, whole, gpu = Sizes(**result["sizes"]), Whole.of_profile(), GPU()
    flops = flops_forward(sizes.n_topics, sizes.hidden_size, sizes.embedding_size)
    tokens = result["stages"]["lda"]["tokens"]
    on_gpu = gpu_memory(gpu, sizes.n_words, sizes.n_topics)
    return (
        f"Measured on {tokens:,} simulated tokens, V = {sizes.n_words:,}, K = "
        f"{sizes.n_topics:,}, H = {sizes.hidden_size}, {sizes.n_threads} threads "
        f"({result['environment']['cpu']}); linear in tokens up to the paper's "
        f"{whole.n_tokens:,} in {whole.n_documents:,} documents, of which {whole.n_observed:,.0f} "
        f"are observed. One seed: {whole.sweeps} sweeps of LDA, {whole.se_steps} SE-steps, "
        f"{whole.m_steps} passes of M-steps and {whole.evaluations} evaluations of the "
        "development documents (joint and independent model, no early stop), scoring with "
        f"{whole.particles} particles in all. On several processes: the model of "
        f"`experiments/rehearsal/scaling.py`, a network of {BANDWIDTH / GB:g} GB/s and "
        f"{1e6 * LATENCY:g} µs per message assumed; each process adds 32 documents to a batch, and "
        "a shard to LDA. The row of the GPU is arithmetic, not measured: "
        f"8H(E + H) + 2HK = {flops:,} operations per token, thrice in the M-step; 20·K bytes per "
        f"token of an exact draw; {gpu.share:.0%} of the peaks of an {gpu.name} "
        f"({gpu.bfloat16 / 1e12:g} TFLOP/s in bfloat16 for M-steps, {gpu.float32 / 1e12:g} in "
        f"float32 for SE-steps, {gpu.bandwidth / 1e12:g} TB/s) and "
        f"{1e6 * gpu.launch:g} µs per step in time; {on_gpu / GB:.2g} GB of its memory; LDA and "
        f"the particle filter, which have no code for GPUs, on {GPU_CORES} cores beside it."
    )


def disk_line(result: Mapping[str, Any]) -> str:
    """Bytes on disk at the paper's size."""
    rates, whole = Rates.of_rehearsal(result), Whole.of_profile()
    files, total = disk(rates, whole), disk_of_all(rates, whole) / GB
    found = ", ".join(f"{name} {n / GB:.2g} GB" for name, n in files.items())
    # The observed words, and LDA's topics or the best iteration's (`allocate_tokens`).
    nameless = 2 * files["assignments"] / GB
    return (
        f"On disk: {found}; all files of {whole.n_seeds} seeds {total:.3g} GB, and {nameless:.2g} "
        "GB under TMPDIR for each process that runs."
    )


def block(result: Mapping[str, Any] | None) -> str:
    """The part of benchmarks/README.md."""
    if result is None or not is_whole(result):
        return NOT_RUN
    parts = (
        measured_table(result),
        assumptions(result),
        table(estimate_header(result), estimate_rows(result)),
        disk_line(result),
    )
    return "\n\n".join(parts)


def yaml_block(result: Mapping[str, Any] | None) -> str:
    """The comment at the head of ``experiments/configs/paper.yaml``, without its number signs."""
    if result is None or not is_whole(result):
        return NOT_RUN
    rows = table(estimate_header(result), estimate_rows(result), aligned=True)
    text = textwrap.fill(assumptions(result), width=98)
    return "\n".join((text, rows, textwrap.fill(disk_line(result), width=98)))


def summary(result: Mapping[str, Any] | None) -> str:
    """One line for REPRODUCIBILITY.md."""
    if result is None or not is_whole(result):
        return NOT_RUN
    found = estimates(result)
    times = ", ".join(f"{span(of.total)} on {of.machine}" for of in found)
    tokens = result["stages"]["lda"]["tokens"]
    total = disk_of_all(Rates.of_rehearsal(result), Whole.of_profile()) / GB
    return (
        f"rehearsed on {tokens:,} tokens. One seed would take {times}; "
        f"{max(of.memory for of in found) / GB:.1f} GB per process, {total:.3g} GB of disk "
        "([how](benchmarks/README.md#rehearsal))"
    )
