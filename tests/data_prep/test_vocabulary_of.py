"""A second corpus with the first one's words, and a new text as a model reads it."""

import dataclasses
import json
import shutil

import pytest
from served import K, model

import lla
from data_prep import (
    EventOptions,
    TextOptions,
    WikipediaOptions,
    prepare_events,
    prepare_text,
    prepare_wikipedia,
)
from data_prep.__main__ import main
from lla.common.errors import InputError
from lla.corpus import Corpus, load_corpus, save_corpus, split_corpus

LINES = "Otters swim, they don't fly\nOtters eat crabs\nthe holt of otters, crabs\n"


def texts(corpus):
    return [[corpus.vocabulary[w] for w in corpus.document(d)] for d in range(corpus.n_documents)]


@pytest.fixture
def first(tmp_path):
    (tmp_path / "first.txt").write_text(LINES)
    return prepare_text(tmp_path / "first", TextOptions(), tmp_path / "first.txt")


def second(tmp_path, text, overwrite=False, **options):
    (tmp_path / "second.txt").write_text(text)
    options = TextOptions(vocabulary_of=tmp_path / "first", **options)
    return prepare_text(tmp_path / "second", options, tmp_path / "second.txt", overwrite)


def test_a_second_corpus_has_the_words_of_the_first(first, tmp_path, caplog):
    with caplog.at_level("INFO", logger="data_prep"):
        corpus = second(
            tmp_path, "Crabs DON'T eat OTTERS; gulls eat crabs\ngulls fly\nvoles nest\n"
        )
    assert corpus.vocabulary == first.vocabulary
    assert first.vocabulary == ("otters", "crabs", "eat", "fly", "holt", "swim")
    assert texts(corpus) == [["crabs", "eat", "otters", "eat", "crabs"], ["fly"]]
    assert corpus.names == ("line 1", "line 2")
    counts = corpus.manifest["counts"]
    assert (counts["outside_vocabulary"], counts["no_known_word"], counts["tokens"]) == (4, 1, 6)
    assert corpus.manifest["tokenizer"] == first.manifest["tokenizer"]
    line = f"4 of 10 tokens are no words of {tmp_path / 'first'} and left out, 1 documents have"
    assert line in caplog.text


def test_the_tokenizer_is_that_of_the_first_corpus(tmp_path):
    (tmp_path / "first.txt").write_text("A1 the b\n")
    (tmp_path / "stop").write_text("b\n")
    options = TextOptions(tokens="split", stop_words=tmp_path / "stop")
    prepare_text(tmp_path / "first", options, tmp_path / "first.txt")
    (tmp_path / "stop").unlink()
    assert texts(second(tmp_path, "the a1 b A1\n")) == [["the", "A1"]]
    for chosen in ({"tokens": "gensim"}, {"keep_case": True}, {"min_letters": 3}):
        with pytest.raises(InputError, match="first, whose tokenizer is taken: leave out --tokens"):
            second(tmp_path, "the\n", **chosen)


def test_articles_with_the_words_of_a_text(first, tmp_path):
    article = '<doc id="1" url="x" title="A Holt">\nA Holt\n\nOtters eat covid19\n</doc>\n'
    (tmp_path / "wiki").write_text(article)
    options = WikipediaOptions(min_words=1, vocabulary_of=tmp_path / "first")
    corpus = prepare_wikipedia(tmp_path / "w", options, tmp_path / "wiki")
    assert (texts(corpus), corpus.names) == ([["otters", "eat"]], ("A Holt",))
    assert corpus.manifest["tokenizer"]["rule"] == "words"


def test_another_first_corpus_makes_the_second_anew(first, tmp_path):
    assert texts(second(tmp_path, "voles fly\n")) == [["fly"]]
    assert texts(second(tmp_path, "voles fly\n")) == [["fly"]]
    shutil.rmtree(tmp_path / "first")
    (tmp_path / "first.txt").write_text("voles\n")
    prepare_text(tmp_path / "first", TextOptions(), tmp_path / "first.txt")
    with pytest.raises(InputError, match="when the corpus of --vocabulary-of had other words: gi"):
        second(tmp_path, "voles fly\n")
    assert texts(second(tmp_path, "voles fly\n", overwrite=True)) == [["voles"]]


def test_faults_of_vocabulary_of(first, tmp_path):
    with pytest.raises(InputError, match=r"second.txt: no document has a word of .*first; give"):
        second(tmp_path, "gulls\n")
    with pytest.raises(InputError, match="--vocabulary is 7: leave it out, --vocabulary-of names"):
        second(tmp_path, "otters\n", vocabulary=7)
    options = TextOptions(vocabulary_of=tmp_path / "first")
    with pytest.raises(InputError, match="first, and so is --output: name another folder"):
        prepare_text(tmp_path / "first", options, tmp_path / "first.txt")
    for name, message in (("none", "no such corpus folder"), ("", "give the name of a file")):
        options = TextOptions(vocabulary_of=name)
        with pytest.raises(InputError, match=message):
            prepare_text(tmp_path / "x", options, tmp_path / "first.txt")
    save_corpus(Corpus.from_documents([[0]], ["a"]), tmp_path / "events")
    options = TextOptions(vocabulary_of=tmp_path / "events")
    with pytest.raises(InputError, match=r"events: its manifest names no tokenizer; give a corpus"):
        prepare_text(tmp_path / "x", options, tmp_path / "first.txt")


def test_the_command_line_takes_it(first, tmp_path, capsys):
    (tmp_path / "x.txt").write_text("otters\n")
    arguments = ["text", tmp_path / "x.txt", "--output", tmp_path / "x"]
    assert main([*map(str, arguments), "--vocabulary-of", str(tmp_path / "first")]) == 0
    assert load_corpus(tmp_path / "x").vocabulary == first.vocabulary
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[1:4] == [["documents", "1"], ["tokens", "1"], ["words", "6"]]


# ---------------------------------------------------------------------- events


def events(tmp_path, name, rows, **options):
    rows = "".join(f"{user},{item},{t}\n" for t, (user, item) in enumerate(rows))
    (tmp_path / f"{name}.csv").write_text("user,item,time\n" + rows)
    return prepare_events(tmp_path / name, EventOptions(**options), tmp_path / f"{name}.csv")


def test_events_with_the_items_of_another_corpus(tmp_path, caplog):
    first = events(tmp_path, "first", [("u", "b"), ("u", "b"), ("u", "a"), ("v", "c")])
    rows = [("x", "c"), ("y", "d"), ("x", "d"), ("x", "b"), ("z", "a")]
    with caplog.at_level("INFO", logger="data_prep"):
        corpus = events(tmp_path, "second", rows, vocabulary_of=tmp_path / "first")
    assert corpus.vocabulary == first.vocabulary == ("b", "a", "c")
    assert texts(corpus) == [["c", "b"], ["a"]]
    assert corpus.names == ("x", "z")
    counts = corpus.manifest["counts"]
    assert (counts["outside_vocabulary"], counts["no_known_item"], counts["too_short"]) == (2, 1, 0)
    line = f"2 of 5 events are of no item of {tmp_path / 'first'} and left out, 1 users have no"
    assert line in caplog.text
    with pytest.raises(InputError, match=r"no event has an item of .*first; give the corpus"):
        events(tmp_path, "third", [("x", "d")], vocabulary_of=tmp_path / "first")
    with pytest.raises(InputError, match="--vocabulary is 7: leave it out"):
        EventOptions(vocabulary=7, vocabulary_of="first")


# ---------------------------------------------------------------------- a model's texts


def fitted(corpus):
    config = lla.SEMConfig(
        n_topics=2, beta=0.1, n_iterations=1, initial_epochs=1, embedding_size=3, hidden_size=3
    )
    split = split_corpus(corpus)
    lda = lla.fit_lda(split, lla.LDAConfig(n_topics=2, n_sweeps=2), seed=1)
    return lla.fit_sem(split, config, seed=1, start=lda.topics)


def test_a_model_reads_new_texts_as_its_corpus_was_read(first, tmp_path, caplog):
    trained = fitted(first)
    lla.save_model(trained, tmp_path / "model")
    history = ["otters", "eat", "crabs"]
    for read_by in (trained, lla.load_model(tmp_path / "model")):
        caplog.clear()
        assert read_by.read("The OTTERS, don't they eat gulls’ crabs?") == history
        assert [r.getMessage() for r in caplog.records] == [
            "1 of 4 words are unknown to the model: left out"
        ]
        assert read_by.read(["Otters", "gulls", "eat", "crabs"]) == history
        assert len(read_by.recommend(read_by.read("Otters eat"), k=2)) == 2
        assert read_by.topics_ahead(read_by.read("Otters"), steps=2).shape == (2, 2)
        with pytest.raises(InputError, match="text is a int: give a str, or a list of words"):
            read_by.read(5)
    meta = json.loads((tmp_path / "model" / "model.json").read_text())
    assert meta["provenance"]["data"]["tokenizer"] == first.manifest["tokenizer"]


def test_a_model_of_a_part_of_the_documents_reads_texts_too(first):
    part = first.select([0, 1])
    same = Corpus.from_documents([[0, 5, 3], [0, 2, 1]], first.vocabulary)
    assert part.fingerprint == same.fingerprint
    assert fitted(part).read("Otters") == ["otters"]


def test_a_model_of_events_reads_no_text():
    of_events = model("topic", None)
    with pytest.raises(InputError, match=r"no tokenizer: it was trained on events, .* give its"):
        of_events.read("a text")
    assert of_events.emission.phi.shape[1] == K
    with pytest.raises(InputError, match=r"the tokenizer is \{\}: give keep_case"):
        dataclasses.replace(of_events, provenance={"data": {"tokenizer": {}}}).read("a text")
