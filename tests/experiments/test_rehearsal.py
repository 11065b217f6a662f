"""The rehearsal of the profile paper: what it measures, its arithmetic by hand, its tables."""

import json

import numpy as np
import pytest
import yaml

from experiments import results
from experiments.rehearsal import scaling, text
from experiments.rehearsal.plan import (
    COSTS,
    STAGES,
    Rates,
    Sizes,
    Whole,
    disk,
    disk_of_all,
    estimates,
    lda_memory,
    on_cores,
    sem_memory,
)
from experiments.report import pages
from experiments.report.inputs import check_rehearsal
from lla.common.errors import InputError
from lla.lstm import HAS_BFLOAT16

FILE = results.ROOT / "results" / "bench" / "rehearsal.json"
HEADERS = 2**16  # bytes of headers, of the model's card and description, and of histories


@pytest.fixture
def benchmark(monkeypatch):
    """The module that measures."""
    monkeypatch.syspath_prepend(results.ROOT / "benchmarks")
    import rehearsal

    return rehearsal


def rehearsed():
    """Two threads on a million tokens; every number easy to follow."""
    common = {"tokens": 1_000_000, "seconds": 10.0, "cpu_seconds": 19.0, "memory": 10**9}
    own = {
        "lda": {"burn_in_seconds": 30.0, "sweep_seconds": 2.0, "burn_in": 10},
        "m_step": {"adam_seconds": 2.048e-3, "n_numbers": 480_000},
        "se_step": {
            "pairs": 80_000,
            "pairs_of_part": 10_000,
            "tokens_of_part": 62_500,
            "merge_seconds_per_pair": 1e-7,
        },
        "scoring": {"tokens": 100_000},
        "files": {"vocabulary_bytes": 338_890},
    }
    sizes = Sizes(
        n_tokens=1_000_000,
        n_words=50_000,
        n_topics=1000,
        hidden_size=150,
        embedding_size=150,
        batch_size=64,
        particles=16,
        n_threads=2,
    )
    stages = {stage: common | own.get(stage, {}) for stage in STAGES}
    return {"sizes": vars(sizes), "stages": stages, "environment": {"cpu": "some CPU"}}


# ------------------------------------------------------------------------------- arithmetic by hand


def test_exchanges_are_added_to_what_processes_share():
    """N = 8e9 tokens at 1 µs each on 4 processes: 2,000 s and what is sent."""
    n = 8e9
    assert scaling.sweep_seconds(1, n_tokens=n, sweep=1e-6, n_topics=1000) == pytest.approx(8000)
    # 1e9 bytes per process, epoch and other one: 239 gatherings and n_k twice, of 3 messages each.
    sweep = scaling.sweep_seconds(4, n_tokens=n, sweep=1e-6, n_topics=1000)
    sent = (16e9 + 4 * 16_000) / 1.25e9
    assert sweep == pytest.approx(2000 + sent + 4 * 241 * 3 * 50e-6)
    # 16e9 bytes of topics and 1.2e9 of pairs, of which each process merges 5e7 in 5 s. 954
    # gatherings of topics, 24 of words' topics and as many of their counts; three exchanges before.
    pairs = {"n_pairs": 1e8, "n_counted": 2e8, "merge": 1e-7}
    se = scaling.se_step_seconds(4, n_tokens=n, se=1e-6, **pairs)
    assert se == pytest.approx(2000 + 17.2 / 1.25 + 5 + (954 + 2 * 24 + 3) * 3 * 50e-6)
    assert scaling.se_step_seconds(1, n_tokens=n, se=1e-6, **pairs) == pytest.approx(8000)
    assert scaling.scoring_seconds(4, n_tokens=n, score=1e-6) == pytest.approx(2000 + 64 / 1.25)


def test_an_epoch_has_a_step_per_2048_tokens_of_every_core():
    options = {"n_tokens": 8192e3, "m": 1e-6, "adam_step": 1e-3, "n_numbers": 625_000}
    assert scaling.m_step_seconds(1, **options) == pytest.approx(8.192 + 4000 * 1e-3)
    # Half of 8 × 625,000 bytes take 2 ms, and two messages 0.1 ms.
    assert scaling.m_step_seconds(2, **options) == pytest.approx(4.096 + 2000 * 3.1e-3)
    assert scaling.m_step_seconds(1, n_threads=2, **options) == pytest.approx(4.096 + 2000 * 1e-3)


def test_many_processes_neither_wait_for_the_merging_of_counts_nor_hold_all_of_them():
    """Each has a range of words of its own: 16 times as many take less time and no more memory."""
    rates, whole = Rates.of_rehearsal(rehearsed()), Whole.of_profile()
    few, many = (on_cores(rates, whole, n) for n in (32, 512))
    assert many.seconds["SE-steps"] < few.seconds["SE-steps"] / 8
    assert many.memory <= few.memory


def test_operations_and_times_of_a_gpu():
    """H = 2, E = 3, K = 5: 4 gates of 2 × (3 + 2) weights, and 2 × 5 of the softmax, 2 each."""
    assert scaling.flops_forward(5, hidden_size=2, embedding_size=3) == 2 * (4 * 2 * 5 + 2 * 5)
    gpu = scaling.GPU(
        bfloat16=2e12, float32=1e12, bandwidth=1e10, share=0.5, launch=1e-5, lanes=1000
    )
    # Per token 2 µs of products, 4 of memory and 0.01 of steps in time.
    assert scaling.gpu_se_step_seconds(gpu, 1e6, 1e6, 1000) == pytest.approx(6.01)
    assert scaling.gpu_memory(gpu, 50, 10) == 4 * 10 * (50 + 3000)
    # Three times the products, twice the steps, 10 documents side by side.
    assert scaling.gpu_m_step_seconds(gpu, 1e6, 1e6, 10) == pytest.approx(3 + 2)


def test_memory_and_disk_are_sums_of_arrays():
    # 8 bytes of entries and documents, 48 per document, two chunks, and topics in memory or a file.
    chunks = 2 * scaling.chunk_bytes(1)
    assert lda_memory(1e6, 1000, 2, 1) == 6e6 + 48e3 + chunks + 2e6
    assert lda_memory(1e9, 1e6, 2, 1) == 8e9 + 48e6 + chunks
    cells = {"n_words": 1000, "n_topics": 100}
    few = sem_memory(1e6, 1000, **cells, n_pairs=0)
    assert few == scaling.WORKSPACE_BYTES + 2e6 + 48e3 + 8e5
    many = sem_memory(1e6, 1000, **cells, n_pairs=1e5)
    assert many - few == 12e5 + 2e6 / 16 - 4e5
    # Of a quarter of the pairs as counted, those received, and their sum; all pairs; five chunks.
    shared = sem_memory(1e6, 1000, **cells, n_pairs=1e5, n_processes=4, n_counted=1e6)
    merged = 8 * (1e5 + 3 * 1e6 / 4) + 5 * scaling.chunk_bytes(4)
    assert shared - few == merged + 2e6 / 4 / 16 - 4e5
    in_file = sem_memory(1e9, 1000, **cells, n_pairs=0)
    assert in_file == scaling.WORKSPACE_BYTES + 48e3 + 4e5 + 2e9 / 16
    sizes = {**cells, "n_numbers": 10, "vocabulary": 7}
    assert scaling.disk_bytes(100, 60, 3, **sizes) == {
        "corpus": 239,
        "assignments": 120,
        "checkpoint": 400,
        "model": 400_047,
    }


def test_the_profile_says_how_much_there_is_to_do():
    whole = Whole.of_profile()
    assert (whole.sweeps, whole.se_steps, whole.m_steps, whole.evaluations) == (100, 19, 40, 40)
    assert (whole.n_seeds, whole.particles, whole.development_particles) == (3, 2 * 21, 4)
    assert (whole.n_tokens, whole.n_documents) == (700_000_000, 1_000_000)
    assert whole.n_observed == pytest.approx(420e6) and whole.n_scored == pytest.approx(630e6)


def test_on_the_machine_of_the_rehearsal_time_is_linear_in_tokens():
    rates, whole = Rates.of_rehearsal(rehearsed()), Whole.of_profile()
    assert rates.exponent == pytest.approx(0.75)  # 8 times the pairs in 16 times the tokens
    assert rates.n_pairs(16e6) == pytest.approx(640_000)
    assert rates.n_pairs(10) == 10 and rates.n_pairs(1e15) == 50_000 * 1000
    seconds = on_cores(rates, whole, n_processes=1, n_threads=2).seconds
    assert seconds["LDA"] == pytest.approx(420 * (30 + 90 * 2))
    assert seconds["SE-steps"] == pytest.approx(19 * 420 * 10)
    assert seconds["M-steps"] == pytest.approx(40 * 420 * 10)
    assert seconds["development"] == pytest.approx(40 * 700 * 10 * 4 / 16)
    assert seconds["scoring"] == pytest.approx(630 * 100 * 42 / 16)


def test_more_cores_take_less_time_and_a_gpu_draws_and_trains_faster():
    two, *more, gpu = estimates(rehearsed())
    assert [of.n_processes for of in (two, *more, gpu)] == [1, 32, 512, 1]
    totals = [of.total for of in (two, *more)]
    assert totals == sorted(totals, reverse=True)
    assert all(n * total > 2 * totals[0] for n, total in zip((32, 512), totals[1:], strict=True))
    for part in ("SE-steps", "M-steps"):
        assert gpu.seconds[part] < more[0].seconds[part]
    assert gpu.seconds["scoring"] == pytest.approx(two.seconds["scoring"] / 16)


# ------------------------------------------------------------------------------------ the benchmark


@pytest.mark.skipif(not HAS_BFLOAT16, reason="this processor has no bfloat16")
def test_a_quick_rehearsal_measures_all_and_files_are_as_large_as_predicted(
    benchmark, tmp_path, capsys
):
    file = tmp_path / "rehearsal.json"
    options = ["--quick", "--folder", str(tmp_path / "files"), "--out", str(file)]
    benchmark.main(options)
    result = check_rehearsal(file, json.loads(file.read_text()))
    assert text.is_whole(result)
    check_bytes(result)
    lda = result["stages"]["lda"]
    assert lda["log_likelihood"][1] > lda["log_likelihood"][0] + 0.5  # it finds the topics
    assert "One seed would take" in text.summary(result)

    capsys.readouterr()
    before = file.read_text()
    benchmark.main(options)
    assert "all stages are measured" in capsys.readouterr().out and file.read_text() == before
    (tmp_path / "files" / "topics.npy").unlink()
    benchmark.main([*options, "--only", "se_step"])
    printed = capsys.readouterr().out
    assert f"lda: {COSTS['lda']}" in printed and f"scoring: {COSTS['scoring']}" not in printed
    after = json.loads(file.read_text())
    assert after["stages"]["corpus"] == result["stages"]["corpus"]
    assert after["stages"]["se_step"]["acceptance"] == result["stages"]["se_step"]["acceptance"]
    with pytest.raises(InputError, match="holds a rehearsal of other sizes"):
        benchmark.main([*options, "--threads", "1"])


def check_bytes(result):
    """All files are as large as the formulas say, but for headers."""
    sizes, stages = Sizes(**result["sizes"]), result["stages"]
    n_tokens, files = stages["corpus"]["tokens"], stages["files"]
    expected = scaling.disk_bytes(
        n_tokens,
        n_tokens,
        stages["corpus"]["documents"],
        n_words=sizes.n_words,
        n_topics=sizes.n_topics,
        n_numbers=stages["m_step"]["n_numbers"],
        vocabulary=files["vocabulary_bytes"],
    )
    assert files["bytes"].keys() == expected.keys()
    for name, predicted in expected.items():
        more = files["vocabulary_bytes"] if name == "model" else 0  # quotation marks in JSON
        assert predicted <= files["bytes"][name] <= predicted + HEADERS + 3 * more, name


def test_the_committed_rehearsal_took_the_bytes_and_the_memory_that_are_predicted():
    result = json.loads(FILE.read_text())
    check_bytes(result)
    sizes, stages = Sizes(**result["sizes"]), result["stages"]
    n, n_documents = stages["corpus"]["tokens"], stages["corpus"]["documents"]
    n_pairs = stages["se_step"]["pairs"]
    of_lda = lda_memory(n, n_documents, n_shards=2, n_processes=1)
    of_sem = sem_memory(
        n, n_documents, n_words=sizes.n_words, n_topics=sizes.n_topics, n_pairs=n_pairs
    )
    assert stages["lda"]["memory"] == pytest.approx(of_lda, rel=0.25)
    largest = max(stages[stage]["memory"] for stage in ("m_step", "se_step", "scoring"))
    assert largest == pytest.approx(of_sem, rel=0.25)


def test_words_come_from_their_topics_which_tend_to_stay(benchmark):
    """With topics of one word each words are topics; within a document they change seldom."""
    n_topics = 40
    phi = np.triu(np.ones((n_topics, n_topics), np.float32))  # topic k has word k alone
    lengths = np.full(200, 100)
    words, topics = benchmark.draw_block(phi, lengths, np.random.default_rng(0))
    assert np.array_equal(words, topics)
    rows = topics.reshape(200, 100)
    stays = (rows[:, 1:] == rows[:, :-1]).mean()
    assert benchmark.STAYS < stays < 0.8  # and once more where it is drawn again
    assert max(len(set(row)) for row in rows.tolist()) <= benchmark.TOPICS_OF_DOCUMENT
    assert len(np.unique(topics)) == n_topics


# ------------------------------------------------------------------------------------------- tables


def test_what_is_not_measured_is_not_run():
    part = rehearsed()
    del part["stages"]["scoring"]
    for result in (None, part):
        assert {text.block(result), text.yaml_block(result), text.summary(result)} == {"not run"}


def test_tables_show_what_was_measured_and_what_follows():
    result = rehearsed()
    shown = text.block(result)
    line = "| particle filter | 100,000 | 10.0 s | 19.0 s | 1,000 MB |"
    assert line in shown
    found = estimates(result)
    assert f"| {text.span(found[0].total)} | {text.span(3 * found[0].total)} |" in shown
    assert "| 512 × " in shown and "is arithmetic, not measured" in shown
    rates, whole = Rates.of_rehearsal(result), Whole.of_profile()
    files = disk(rates, whole)
    assert files["corpus"] == 1_400_000_000 + 8 * 1_000_001 + 338_890
    of_seed = 840_000_000 + 2 * (files["checkpoint"] + files["model"])
    assert disk_of_all(rates, whole) == files["corpus"] + 3 * of_seed
    assert len(text.summary(result).encode()) < 500


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.5, "0.5 s"),
        (90, "90 s"),
        (112, "112 s"),
        (7199, "120 min"),
        (7200, "2 h"),
        (200 * 86400, "200 days"),
    ],
)
def test_times_are_shown_in_units_that_people_use(seconds, shown):
    assert text.span(seconds) == shown


def test_the_profile_is_the_same_beside_its_comment(tmp_path):
    """The committed comment itself is held by `test_the_committed_report_is_current`."""
    committed = results.CONFIGS / "paper.yaml"
    file = tmp_path / "paper.yaml"
    file.write_text(committed.read_text(encoding="utf-8"), encoding="utf-8")
    inputs = pages.ReportInputs({}, (), (), {}, rehearsed())
    blocks = pages.BLOCKS["experiments/configs/paper.yaml"]
    written = pages.fill(file, blocks, inputs)
    assert yaml.safe_load(written) == yaml.safe_load(committed.read_text(encoding="utf-8"))
    head, _, tail = written.partition("# generated:rehearsal\n")
    inside, end, _ = tail.partition("# generated:end\n")
    assert head and end and "1 GPU and 32 cores" in inside
    assert all(line.startswith("#") for line in inside.splitlines())


@pytest.mark.parametrize("broken", [[], {}, {"sizes": {}, "stages": {"lda": {"tokens": 1}}}])
def test_a_file_that_is_no_rehearsal_is_refused_in_one_line(broken):
    with pytest.raises(InputError, match=r"x\.json: not a rehearsal; delete it"):
        check_rehearsal("x.json", broken)
