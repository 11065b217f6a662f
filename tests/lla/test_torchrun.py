"""Several processes: the same topics and weights to the last bit as one; death and resumption."""

import re
from pathlib import Path

import numpy as np
import pytest
from process_group import FITS, command, different_starts, fits, means, of_lda, of_sem, rows, start
from small_sem import small_split
from small_text import FLAGS, fit, weights, write_text

from lla.common.errors import InputError
from lla.common.parallel import ALONE, default_threads
from lla.corpus import Corpus, load_corpus, save_corpus
from lla.inference import batch, distributed
from lla.lda import LDAConfig, fit_lda


@pytest.fixture(scope="module")
def alone():
    """What one process finds, without torchrun."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch, "GROUPED_TOKENS", 60)
        found = of_lda(3) | of_lda(4)
        for name in FITS:
            found |= of_sem(name)
        return found


@pytest.mark.parametrize(
    ("size", "names"), [(2, ["exact", "habits", "words", "users"]), (4, ["filter", "mh"])]
)
def test_the_number_of_processes_changes_no_bit(alone, size, names):
    expected = {key: value for key, value in alone.items() if key.split()[0] in ("LDA", *names)}
    for found in start(size, fits, names):
        assert found == expected


@pytest.mark.parametrize("size", [2, 4])
def test_gradients_are_added_in_the_order_of_their_pieces(size):
    assert start(size, means) == size * [means()]


@pytest.mark.parametrize("size", [2, 4])
def test_rows_of_word_and_topic_are_merged_by_ranges_of_words(size):
    """With few words, or one that has most of the pairs, some processes have no range."""
    draw = np.random.default_rng(0)
    many = np.stack([draw.integers(100, size=20_000), draw.integers(50, size=20_000)], 1)
    for pairs, n_words in ((many, 100), (many // [50, 1], 2), ([[3, 1]], 4)):
        expected, _ = rows(pairs, n_words, 50)
        n_pairs = len(expected[1])
        for found, sent in start(size, rows, pairs, n_words, 50):
            assert found == expected
            # Topic and count are 8 bytes a pair: sent to the owner, and by it to all.
            assert sum(sent.values()) <= 2 * 8 * n_pairs + 40 * n_words + 2000


def test_a_process_that_dies_ends_all_and_the_next_start_goes_on(tmp_path):
    text = write_text(tmp_path / "texts.txt")
    assert fit(text, tmp_path / "whole", "--lda-sampler", "sparse") == 0
    options = ["--output", str(tmp_path / "m"), "--threads", "1", *FLAGS, "--lda-sampler", "sparse"]
    arguments = ["fit", str(text), *options]
    (status, out, err), killed = start(2, command, arguments, 3)
    assert (status, out, killed) == (2, "", -9)
    *said, line = err.splitlines()
    assert re.match("error: process 0 of 2 lost another one .*; the same command goes on", line)
    assert [line.split(":")[0] for line in said[-2:]] == ["iteration 1", "iteration 2"]
    assert not (tmp_path / "m").exists()

    first, second = start(2, command, arguments)
    assert [first[0], *second] == [0, 0, "", ""]
    assert first[1].startswith(f"{tmp_path / 'm'}\n") and "iteration 2" not in first[2]
    assert weights(tmp_path / "m") == weights(tmp_path / "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m", "texts.txt", "whole"]


def test_processes_that_were_given_different_data_are_refused_by_one_of_them():
    found = start(2, different_starts)
    (line,) = [of for of in found if of != 2]
    assert line.startswith("process 1 has another corpus, setting or checkpoint than process 0: ")


def test_pieces_go_to_runs_of_processes_by_size():
    class Three(type(ALONE)):
        size = 3

    assert Three().owners([1, 1, 1, 1, 1, 1]).tolist() == [0, 0, 1, 1, 2, 2]
    assert Three().owners([4, 1, 1, 1, 1]).tolist() == [0, 1, 2, 2, 2]
    assert Three().owners([]).tolist() == [] and ALONE.owners([5, 0, 2]).tolist() == [0, 0, 0]
    assert [Three().part(8)] == [slice(0, 2)]


@pytest.mark.parametrize("room", [1, 3, 100])
def test_chunks_are_the_spans_in_their_order(room):
    starts, ends = np.array([5, 0, 9, 20]), np.array([9, 0, 10, 27])
    chunks = distributed._chunks(starts, ends, room)
    sizes = [sum(span.stop - span.start for span in chunk) for chunk in chunks]
    places = [i for chunk in chunks for span in chunk for i in range(span.start, span.stop)]
    assert places == [*range(5, 9), 9, *range(20, 27)]
    assert all(size == room for size in sizes[:-1]) and 0 < sizes[-1] <= room


def test_the_cores_of_a_machine_are_for_all_its_processes(monkeypatch):
    monkeypatch.delenv("LLA_THREADS", raising=False)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    n_cores = default_threads()
    for n_processes in (1, 2, 1000):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", str(n_processes))
        assert default_threads() == max(1, n_cores // n_processes)


def test_without_torchrun_there_is_one_process(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with distributed.torchrun_workers() as workers:
        assert workers is ALONE
    assert distributed.local_device("cuda") == "cuda"
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert [distributed.local_device(name) for name in ("cuda", "cpu", None)] == [
        "cuda:3",
        "cpu",
        None,
    ]
    with pytest.raises(InputError, match=r"^workers is 2: give a Workers, such as lla\.inference"):
        fit_lda(small_split(), LDAConfig(n_topics=2, n_sweeps=1), 0, workers=2)


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="Linux says what is in memory")
def test_a_corpus_that_was_read_is_not_in_memory_until_its_words_are_used(tmp_path):
    """So a process holds the words of its own documents alone."""
    n = 2**20
    save_corpus(Corpus(np.arange(n) % 7, [0, n // 2, n], [*"abcdefg"]), tmp_path / "corpus")
    corpus = load_corpus(tmp_path / "corpus")
    before = resident(tmp_path / "corpus" / "words.npy")
    assert corpus.document(1).sum() == corpus.words[n // 2 :].sum()
    after = resident(tmp_path / "corpus" / "words.npy")
    assert before < n / 4 < after < 1.5 * n  # of 2 n bytes


def resident(file):
    """Bytes of a mapped file that this process has in memory."""
    lines = iter(Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines())
    for line in lines:
        if line.endswith(str(file)):
            return next(int(of.split()[1]) * 1024 for of in lines if of.startswith("Rss"))
    return 0
