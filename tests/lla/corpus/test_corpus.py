"""A corpus survives the disk unchanged, refuses a damaged one, and is split as the paper says."""

import errno
import json
import math
import mmap
import os
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lla.corpus.folder
from lla.common import arrays, files
from lla.common.arrays import allocate_tokens, blocks, count_ids
from lla.common.errors import InputError
from lla.corpus import Corpus, load_corpus, save_corpus, split_corpus, split_last
from lla.corpus.folder import CorpusWriter

VOCABULARY = ("alpha", "βήτα", "gamma", "delta")
DOCUMENTS = [[0, 1, 2, 3, 3], [1], [2, 2, 0]]

corpora = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=60), min_size=1, max_size=40)


@pytest.fixture
def corpus():
    return Corpus.from_documents(DOCUMENTS, VOCABULARY)


@pytest.fixture
def folder(corpus, tmp_path):
    save_corpus(corpus, tmp_path / "corpus")
    return tmp_path / "corpus"


def rehash(folder):
    """Make the manifest agree with the files, so that only their content can be wrong."""
    manifest = json.loads((folder / "manifest.json").read_text())
    for name in manifest["sha256"]:
        manifest["sha256"][name] = files.file_hash(folder / name)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_documents_are_what_was_given(corpus):
    assert (corpus.n_documents, corpus.n_tokens, corpus.n_words) == (3, 9, 4)
    assert [corpus.document(d).tolist() for d in range(3)] == DOCUMENTS
    assert corpus.lengths.tolist() == [5, 1, 3]
    assert corpus.document(0).base is not None, "a view, no copy"
    with pytest.raises(ValueError, match="read-only"):
        corpus.words[0] = 1


@given(corpora)
@settings(max_examples=25, deadline=None)
def test_round_trip(tmp_path_factory, documents):
    corpus = Corpus.from_documents(documents, VOCABULARY)
    folder = tmp_path_factory.mktemp("round") / "corpus"
    save_corpus(corpus, folder)
    loaded = load_corpus(folder)
    assert [loaded.document(d).tolist() for d in range(loaded.n_documents)] == documents
    assert loaded.vocabulary == VOCABULARY
    assert loaded.fingerprint == corpus.fingerprint
    assert loaded.manifest["counts"] == {
        "documents": len(documents),
        "tokens": sum(map(len, documents)),
        "words": 4,
    }
    assert [p.name for p in folder.parent.iterdir()] == ["corpus"], "no temporary is left"


def test_loaded_words_are_mapped_and_small(folder):
    loaded = load_corpus(folder)
    assert isinstance(loaded.words.base, np.memmap)
    assert loaded.words.dtype == np.uint16
    assert loaded.offsets.dtype == np.int64


@pytest.mark.parametrize(("n_words", "dtype"), [(2**16, np.uint16), (2**16 + 1, np.int32)])
def test_word_type_holds_the_largest_id(tmp_path, n_words, dtype):
    corpus = Corpus.from_documents([[n_words - 1]], map(str, range(n_words)))
    save_corpus(corpus, tmp_path / "c")
    loaded = load_corpus(tmp_path / "c")
    assert loaded.words.dtype == dtype
    assert loaded.words.tolist() == [n_words - 1]


def test_writing_in_blocks_gives_the_bytes_of_writing_at_once(corpus, folder, tmp_path):
    with CorpusWriter(tmp_path / "blocks", VOCABULARY, {}) as writer:
        for document in DOCUMENTS:
            writer.add(np.array(document), np.array([len(document)]))
    for name in lla.corpus.folder.FILES:
        assert (tmp_path / "blocks" / name).read_bytes() == (folder / name).read_bytes()
    assert np.load(folder / "words.npy").tolist() == corpus.words.tolist()


def test_fingerprint_tells_corpora_apart(corpus):
    others = [
        Corpus.from_documents([*DOCUMENTS[:2], [2, 2, 1]], VOCABULARY),
        Corpus.from_documents([[0, 1, 2, 3], [3, 1], [2, 2, 0]], VOCABULARY),
        Corpus.from_documents(DOCUMENTS, VOCABULARY[::-1]),
    ]
    assert len({c.fingerprint for c in (corpus, *others)}) == 4


@pytest.mark.parametrize(
    ("documents", "vocabulary", "message"),
    [
        ([[0, 4]], VOCABULARY, "word id 4 is not in a vocabulary of 4"),
        ([[0, -1]], VOCABULARY, "word id -1"),
        ([[0], []], VOCABULARY, "document 1 holds no word"),
        ([], VOCABULARY, "no document"),
        ([[0]], (), "vocabulary is empty"),
        ([[0]], ("a", "a"), "stands twice"),
        ([[0]], ("a\nb",), "is no word"),
    ],
)
def test_impossible_corpora_are_refused(documents, vocabulary, message):
    with pytest.raises(InputError, match=message):
        Corpus.from_documents(documents, vocabulary)


def change_word(folder):
    data = bytearray((folder / "words.npy").read_bytes())
    data[-2] ^= 1
    (folder / "words.npy").write_bytes(data)


def shorten(folder):
    data = (folder / "words.npy").read_bytes()
    (folder / "words.npy").write_bytes(data[:-3])
    rehash(folder)


def swap_offsets(folder):
    np.save(folder / "offsets.npy", np.array([0, 6, 5, 9]))
    rehash(folder)


def large_id(folder):
    np.save(folder / "words.npy", np.full(9, 4, np.uint16))
    rehash(folder)


def fewer_words(folder):
    np.save(folder / "words.npy", np.zeros(8, np.uint16))
    rehash(folder)


def other_type(folder):
    np.save(folder / "words.npy", np.zeros(9))
    rehash(folder)


def latin1(folder):
    (folder / "vocabulary.txt").write_bytes("naïve\n".encode("latin1"))
    rehash(folder)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (change_word, "words.npy: SHA-256 is not the manifest's"),
        (shorten, "words.npy: not a whole NumPy array"),
        (swap_offsets, "offsets.npy: offsets do not rise from 0, document 1"),
        (large_id, "words.npy: word id 4"),
        (fewer_words, "offsets end at 9, words.npy has 8"),
        (other_type, "words.npy: not one row of uint16"),
        (latin1, "vocabulary.txt: no UTF-8 at byte 2"),
        (lambda f: (f / "offsets.npy").unlink(), "offsets.npy missing"),
        (lambda f: (f / "manifest.json").write_text('{"format"'), "manifest.json: not whole JSON"),
        (lambda f: (f / "manifest.json").write_text("{}"), "not a corpus of format 1"),
        (lambda f: f.rename(f.with_name("moved")), "no such corpus folder"),
    ],
)
def test_a_damaged_folder_is_one_line(folder, damage, message):
    damage(folder)
    with pytest.raises(InputError, match=message) as error:
        load_corpus(folder)
    assert "\n" not in str(error.value)
    assert str(folder) in str(error.value)


class Disk:
    """Files that can be written until there is no space left."""

    def __init__(self, monkeypatch, error):
        self.error = error
        monkeypatch.setattr(lla.corpus.folder, "flush", self.fail)

    def fail(self, *_):
        raise self.error


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), InputError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_a_failed_write_leaves_the_old_corpus(corpus, folder, monkeypatch, error, raised):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    Disk(monkeypatch, error)
    with pytest.raises(raised, match="no space left" if raised is InputError else None):
        save_corpus(Corpus.from_documents([[0]], ("x",)), folder)
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_full_disk_while_words_are_written(tmp_path, corpus):
    class Full:
        def write(self, _):
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self):
            self.write(None)

    with (
        pytest.raises(InputError, match=r"full: no space left on the disk; free some space"),
        CorpusWriter(tmp_path / "full", VOCABULARY, {}) as writer,
    ):
        writer._file.close()
        writer._file = Full()
        writer.add(corpus.words, corpus.lengths)
    assert not any(tmp_path.iterdir())


def test_a_folder_of_something_else_is_left_alone(tmp_path, corpus):
    (tmp_path / "thesis.tex").write_text("dear")
    with pytest.raises(InputError, match="exists and is no corpus"):
        save_corpus(corpus, tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "dear"


@given(corpora, st.sampled_from([0.5, 0.6, 0.7, 1 / 3]), st.sampled_from([0.0, 0.1, 0.5]))
@settings(max_examples=60, deadline=None)
def test_split(documents, observed, development):
    corpus = Corpus.from_documents(documents, VOCABULARY)
    split = split_corpus(corpus, observed, development, seed=3)
    part = Fraction(observed).limit_denominator(100)
    for d, document in enumerate(documents):
        n = max(1, math.ceil(part * len(document)))
        assert split.n_observed[d] == n
        assert split.observed.document(d).tolist() == document[:n]
        assert split.n_held_out[d] == len(document) - n
        held_out = corpus.document(d)[split.held_out[corpus.offsets[d] : corpus.offsets[d + 1]]]
        assert held_out.tolist() == document[n:]
    assert split.observed.n_tokens + split.held_out.sum() == corpus.n_tokens
    assert (split.reported ^ split.development).all()
    expected = max(round(development * len(documents)), int(development > 0))
    assert split.development.sum() == min(expected, len(documents) - 1)
    values = np.arange(corpus.n_tokens, dtype=float)
    sums = [
        values[slice(*corpus.offsets[d : d + 2])][n:].sum() for d, n in enumerate(split.n_observed)
    ]
    assert split.sum_held_out(values).tolist() == sums


@pytest.mark.parametrize(("observed", "percent"), [(0.6, 60), (0.55, 55), (0.07, 7)])
def test_the_part_is_counted_exactly(observed, percent):
    """In floating point ceil(0.55 * 100) is 56 and ceil(0.07 * 100) is 8."""
    corpus = Corpus.from_documents([[0] * n for n in range(1, 401)], ("x",))
    expected = [-(-percent * n // 100) for n in range(1, 401)]
    assert split_corpus(corpus, observed).n_observed.tolist() == expected


def test_a_document_of_one_token_is_observed():
    split = split_corpus(Corpus.from_documents([[2], [1, 3]], VOCABULARY), development=0)
    assert split.n_observed.tolist() == [1, 2]
    assert split.n_held_out.tolist() == [0, 0]
    assert split.sum_held_out(np.ones(3)).tolist() == [0, 0]


def test_the_seed_alone_decides_about_development():
    corpus = Corpus.from_documents([[0, 1]] * 200, VOCABULARY)
    a, b, c = (split_corpus(corpus, seed=seed).development for seed in (0, 0, 1))
    assert (a == b).all()
    assert (a != c).any()
    assert a.sum() == 20


def test_restrict_keeps_each_document_with_its_split():
    documents = [[d % 4] * (d + 1) for d in range(20)]
    split = split_corpus(Corpus.from_documents(documents, VOCABULARY), seed=5)
    part = split.restrict(split.development)
    numbers = np.flatnonzero(split.development)
    assert part.corpus.lengths.tolist() == (numbers + 1).tolist()
    assert [part.corpus.document(i).tolist() for i in range(2)] == [documents[d] for d in numbers]
    assert part.n_observed.tolist() == split.n_observed[numbers].tolist()
    assert part.observed.lengths.tolist() == part.n_observed.tolist()
    assert part.development.all()


@given(corpora, st.integers(1, 100))
def test_blocks_are_all_documents_in_their_order(documents, n_tokens):
    corpus = Corpus.from_documents(documents, VOCABULARY)
    found = list(blocks(corpus.offsets, 0, len(documents), n_tokens))
    assert [d for of, _ in found for d in range(of.start, of.stop)] == list(range(len(documents)))
    for of, tokens in found:
        inside = [w for document in documents[of] for w in document]
        assert inside == corpus.words[tokens].tolist()
        assert len(inside) <= n_tokens or of.stop == of.start + 1
    assert len(found) <= 2 * corpus.n_tokens / n_tokens + 1
    inner = [of for of, _ in blocks(corpus.offsets, 1, len(documents) - 1, n_tokens)]
    assert sum(of.stop - of.start for of in inner) == max(0, len(documents) - 2)


@given(st.lists(st.integers(0, 4), max_size=50), st.integers(1, 60))
def test_ids_are_counted_block_by_block(ids, size):
    found = count_ids(np.array(ids, np.uint16), 5, size)
    assert found.tolist() == [ids.count(i) for i in range(5)]


def test_a_large_corpus_stays_on_disk_when_it_is_split(monkeypatch, folder):
    """The same words, in a file that is mapped, and is gone with the array."""
    usual = split_corpus(load_corpus(folder))
    monkeypatch.setattr(arrays, "SPILL_BYTES", 1)
    split = split_corpus(load_corpus(folder))
    assert is_mapped(split.observed.words)
    assert split.observed.words.tolist() == usual.observed.words.tolist()
    assert split.observed.fingerprint == usual.observed.fingerprint
    assert not split.observed.words.flags.writeable


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"observed": 0.0}, "^observed is 0.0: give a (part|share)"),
        ({"observed": 1.0}, "^observed is 1.0: give a (part|share)"),
        ({"observed": math.nan}, "^observed is nan: give a (part|share)"),
        ({"development": 1.0}, "^development is 1.0: give a (part|share)"),
        ({"development": -0.1}, "^development is -0.1: give a (part|share)"),
    ],
)
def test_split_out_of_range(corpus, options, message):
    with pytest.raises(InputError, match=message):
        split_corpus(corpus, **options)


def is_mapped(array):
    while isinstance(array.base, np.ndarray):
        array = array.base
    return isinstance(array.base, mmap.mmap)


@pytest.mark.parametrize(("n_tokens", "mapped"), [(0, False), (7, False), (8, True), (9, True)])
def test_large_token_arrays_are_mapped_files(n_tokens, mapped):
    room = allocate_tokens(n_tokens, np.dtype(np.uint16), spill_bytes=16)
    assert room.shape == (n_tokens,) and room.dtype == np.uint16
    room[:] = np.arange(n_tokens)
    assert room.tolist() == list(range(n_tokens)) and is_mapped(room) == mapped


def fails_with(error):
    def call(file, begin, size):
        raise error

    return call


def test_a_full_disk_is_reported_before_mapping(monkeypatch):
    """Written through a map, a full disk would end the process by a signal."""
    full = fails_with(OSError(errno.ENOSPC, "No space left on device"))
    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(OSError, match="No space left"):
        allocate_tokens(8, np.dtype(np.uint16), spill_bytes=1)


@pytest.mark.parametrize("has_the_call", [True, False])
def test_allocation_works_without_posix_fallocate(monkeypatch, has_the_call):
    """Some systems lack the call, some disks refuse it."""
    if has_the_call:
        refused = fails_with(OSError(errno.EOPNOTSUPP, "Operation not supported"))
        monkeypatch.setattr(os, "posix_fallocate", refused, raising=False)
    else:
        monkeypatch.delattr(os, "posix_fallocate", raising=False)
    room = allocate_tokens(8, np.dtype(np.uint16), spill_bytes=1)
    room[:] = 3
    assert room.tolist() == [3] * 8 and is_mapped(room)


def test_items_of_a_document_by_name_or_number(tmp_path):
    corpus = Corpus.from_documents([[1, 0], [1], [0, 0]], ["7", "9"], ["ann", "ben", "ben"])
    save_corpus(corpus, tmp_path / "c")
    for read in (corpus, load_corpus(tmp_path / "c")):
        assert read.items("ann") == read.items(0) == ["9", "7"]
        assert read.items(np.int64(2)) == ["7", "7"]
        assert read.select(np.array([2, 0])).names == ("ben", "ann")
        for wrong, line in (
            ("eve", "no document of that name"),
            ("ben", "documents 1 and 2 of that name"),
            (3, "give 0 to 2"),
            (-1, "give 0 or more"),
            (1.0, "give a whole number"),
        ):
            with pytest.raises(InputError, match=line):
                read.items(wrong)
    with pytest.raises(InputError, match="have no names"):
        Corpus.from_documents([[0]], ["a"]).items("ann")


def test_names_are_one_per_document_and_no_part_of_the_fingerprint():
    plain = Corpus.from_documents([[0], [1]], ["a", "b"])
    named = Corpus.from_documents([[0], [1]], ["a", "b"], ["x", "y"])
    assert plain.fingerprint == named.fingerprint
    with pytest.raises(InputError, match="1 names, 2 documents"):
        Corpus.from_documents([[0], [1]], ["a", "b"], ["x"])
    with pytest.raises(InputError, match="is no name"):
        Corpus.from_documents([[0]], ["a"], ["x\ny"])


def test_names_of_an_earlier_version_are_read(tmp_path):
    corpus = Corpus.from_documents([[0], [1]], ["a", "b"], ["x", "y"])
    save_corpus(corpus, tmp_path)
    path = tmp_path / "manifest.json"
    path.write_text(path.read_text().replace("documents_sha256", "users_sha256"))
    (tmp_path / "documents.txt").rename(tmp_path / "users.txt")
    assert load_corpus(tmp_path).names == ("x", "y")


def test_beginnings_are_the_first_words():
    corpus = Corpus.from_documents([[0, 1, 2], [2, 1]], ["a", "b", "c"], ["x", "y"])
    first = corpus.beginnings(np.array([2, 1]))
    assert [first.items(d) for d in range(2)] == [["a", "b"], ["c"]] and first.names == ("x", "y")
    for wrong in ([2], [0, 1], [4, 1], [1.0, 1.0], "a"):
        with pytest.raises(InputError, match=r"^lengths"):
            corpus.beginnings(np.array(wrong))


def test_the_last_tokens_are_held_out_within_limits():
    lengths = [1, 2, 3, 4, 100, 140, 141, 180, 30_000]
    corpus = Corpus.from_documents([np.zeros(n, int) for n in lengths], VOCABULARY)
    split = split_last(corpus, development=0.0)
    # 2.5% of 100 is 2.5; of 140 it is 3.5 and of 180 4.5, which go to 4.
    assert split.n_held_out.tolist() == [0, 1, 2, 3, 3, 4, 4, 4, 500]
    assert np.array_equal(split.observed.lengths, split.n_observed)
    assert not split.development.any()
    assert split_last(corpus, 0.5, least=1, most=60).n_held_out.tolist() == [
        *(0, 1, 2, 2, 50, 60, 60, 60, 60)
    ]
    same = split_corpus(corpus, development=0.3, seed=5).development
    assert np.array_equal(split_last(corpus, development=0.3, seed=5).development, same)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"held_out": 1.0}, "held_out is 1.0: give a part above 0 and below 1, such as 0.025"),
        ({"least": 0}, "least is 0: give 1 or more"),
        ({"least": 9, "most": 8}, "most is 8: give 9 or more"),
        ({"development": 1}, "development is 1: give a share from 0 to below 1"),
    ],
)
def test_impossible_ends_are_refused(corpus, options, line):
    with pytest.raises(InputError, match=f"^{line}$"):
        split_last(corpus, **options)
