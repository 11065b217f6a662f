"""Sentences and phrases: what is one, whose part it is in, what is counted."""

import tarfile

import numpy as np
import pytest

from data_prep import sentences as module
from data_prep.__main__ import main
from data_prep.phrases import PhraseOptions, phrase_counts, prepare_phrases
from data_prep.sentences import (
    SentenceOptions,
    Text,
    draw_parts,
    paragraphs,
    part_of,
    prepare_sentences,
    review_labels,
    sentences_of,
    split_by_part,
)
from lla.common.errors import InputError
from lla.corpus import Corpus, load_corpus, save_corpus

DOCSTRING = """Swim far and fast.

    The otter swims. It dives (e.g. For fish), and
    comes back! Is it wet? a line without a capital letter.

    Parameters
    ----------
    depth : float
        How deep it dives. See Mr. Otter for more.
    """


def test_sentences_begin_with_a_capital_letter_and_end_with_their_mark():
    assert list(sentences_of(DOCSTRING)) == [
        "Swim far and fast.",
        "The otter swims.",
        "It dives (e.g. For fish), and comes back!",
        "Is it wet? a line without a capital letter.",
        "How deep it dives.",
        "See Mr. Otter for more.",
    ]
    assert list(paragraphs("a\n b\nc\n\nd")) == ["a", "b c", "d"]


def write_reviews(folder, n=12):
    """Reviews of which each has sentences of its own and one that all share."""
    for part in ("train", "test"):
        for label in ("pos", "neg"):
            place = folder / part / label
            place.mkdir(parents=True)
            for i in range(n):
                word = "good" if label == "pos" else "bad"
                text = (
                    f"This film{part}{i} is a {word} film.<br /><br />It is a very {word} "
                    f"story{i}. The end came late! Too short."
                )
                (place / f"{i}_7.txt").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def reviews(tmp_path_factory):
    return write_reviews(tmp_path_factory.mktemp("data") / "aclImdb")


@pytest.fixture(scope="module")
def corpus(reviews, tmp_path_factory):
    options = SentenceOptions(vocabulary=12, development_share=0.25)
    return prepare_sentences(tmp_path_factory.mktemp("out") / "corpus", options, reviews)


def test_reviews_become_marked_sentences_once_each(corpus):
    words = [corpus.items(d) for d in range(corpus.n_documents)]
    assert all(w[0] == "<s>" and w[-1] == "</s>" and 6 <= len(w) <= 22 for w in words)
    known = [tuple(w) for w in words if "<unk>" not in w]
    assert len(known) == len(set(known))
    # Each review has a sentence of its own, one that the other part has too, and one that all have.
    counts = corpus.manifest["counts"]
    assert counts["wrong_length"] == 48 and counts["repeated"] == 3 * 48 - (48 + 24 + 1)
    assert corpus.n_documents == 48 + 24 + 1
    assert corpus.n_words == 15 and "aclImdb" in corpus.manifest["source"]


def test_no_review_has_sentences_in_two_parts(corpus):
    parts, labels = part_of(corpus), review_labels(corpus)
    sources = {}
    for name, part, label in zip(corpus.names, parts, labels, strict=True):
        _, folder, number = name.split("/")
        assert label == (folder == "pos")
        assert sources.setdefault((folder, number), part) == part
        assert (part == "test") == number.startswith("test_")
    in_development = [part == "development" for part in sources.values()]
    assert sum(in_development) == round(0.25 * 24)


def test_an_archive_is_read_as_its_folder(reviews, corpus, tmp_path):
    archive = tmp_path / "aclImdb.tar.xz"
    with tarfile.open(archive, "w:xz") as file:
        for path in sorted(reviews.rglob("*.txt")):
            file.add(path, path.relative_to(reviews.parent))
    options = SentenceOptions(vocabulary=12, development_share=0.25)
    packed = prepare_sentences(tmp_path / "corpus", options, archive)
    assert sorted(packed.names) == sorted(corpus.names)
    assert packed.vocabulary == corpus.vocabulary


def test_the_vocabulary_is_that_of_training_sentences(corpus):
    training = corpus.select(part_of(corpus) == "train")
    counts = np.bincount(training.words, minlength=corpus.n_words)
    assert (counts[3:] > 0).all() and (np.diff(counts[3:]) <= 0).all()


def test_training_sentences_are_observed_whole_and_of_others_the_start(corpus):
    split = split_by_part(corpus)
    parts = part_of(corpus)
    assert (split.n_held_out[parts == "train"] == 0).all()
    assert (split.n_observed[parts != "train"] == 1).all()
    assert np.array_equal(split.development, parts == "development")


def test_parts_are_drawn_by_the_seed_alone():
    texts = [Text(f"module{i}", "", "") for i in range(50)]
    options = SentenceOptions(development_share=0.1, test_share=0.2)
    parts = draw_parts(texts, options)
    assert [parts.count(part) for part in module.PARTS] == [35, 5, 10]
    assert parts == draw_parts(texts, options)
    assert parts != draw_parts(texts, SentenceOptions(seed=1, test_share=0.2))


def test_modules_are_sources(monkeypatch, tmp_path):
    texts = [
        Text(f"package.m{i}", f"The module{i} is a small one. It has two long sentences.", "")
        for i in range(10)
    ]
    monkeypatch.setattr(module, "long_modules", lambda *_: ([], "0"))
    monkeypatch.setattr(module, "module_texts", lambda *_: iter(texts))
    corpus = prepare_sentences(tmp_path / "corpus", SentenceOptions(train=3))
    parts = part_of(corpus)
    assert (parts == "train").sum() == 3 and corpus.manifest["counts"]["repeated"] == 9
    assert (review_labels(corpus) == -1).all()
    assert corpus.names[0].startswith("train/package.m")


def test_phrases_are_the_windows_of_known_words_counted_by_part(corpus, tmp_path):
    folder = tmp_path / "sentences"
    save_corpus(corpus, folder)
    found = prepare_phrases(tmp_path / "phrases", PhraseOptions(), folder)
    expected = {}
    for d, (part, label) in enumerate(zip(part_of(corpus), review_labels(corpus), strict=True)):
        words = corpus.items(d)
        for i in range(len(words) - 2):
            window = tuple(words[i : i + 3])
            if not set(window) & {"<s>", "</s>", "<unk>"}:
                n, positive = expected.get((part, window), (0, 0))
                expected[part, window] = n + 1, positive + int(label)
    counts, positive = phrase_counts(found)
    here = {
        (part, tuple(found.items(d)[1:])): (int(counts[d]), int(positive[d]))
        for d, part in enumerate(part_of(found))
    }
    assert here == expected and len(here) == found.n_documents
    split = split_by_part(found)
    assert (split.observed.lengths[split.n_held_out == 0] == 4).all()
    fewer = prepare_phrases(tmp_path / "fewer", PhraseOptions(train=2, vocabulary=8), folder)
    assert (part_of(fewer) == "train").sum() == 2 and fewer.n_words == 9


def test_the_command_line_makes_both(reviews, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("LLA_DATA", str(reviews.parent))
    monkeypatch.chdir(tmp_path)
    made = ["sentences", "aclImdb", "--output", "s", "--vocabulary", "30", "--train", "40"]
    assert main(made) == 0
    assert main(["phrases", "s", "--output", "p", "--n-words", "2"]) == 0
    shown = capsys.readouterr().out
    assert "sentences that an earlier one repeats" in shown and "documents" in shown
    assert len(load_corpus("p").document(0)) == 3
    with pytest.raises(InputError, match="no corpus of sentences"):
        main(["phrases", "p", "--output", "q"])


def test_bad_input_is_one_line(tmp_path):
    for options, words in (
        ({"min_words": 5, "max_words": 4}, "max_words"),
        ({"packages": ()}, "packages: none is given"),
        ({"development_share": 0.6, "test_share": 0.6}, "leave sources to train on"),
    ):
        with pytest.raises(InputError, match=words):
            SentenceOptions(**options)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "a.txt").write_text("A text.")
    with pytest.raises(InputError, match="no review in it"):
        prepare_sentences(tmp_path / "out", None, tmp_path / "empty")
    with pytest.raises(InputError, match="not named by train"):
        part_of(Corpus.from_documents([[0]], ["a"]))
