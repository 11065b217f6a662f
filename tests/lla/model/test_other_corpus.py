"""A model meets another corpus: the same words in the same places, or one line."""

import numpy as np
import pytest
from entrance_world import World

import lla
from data_prep import TextOptions, prepare_text
from lla.common.errors import InputError
from lla.corpus import Corpus, split_corpus

REMEDY = "make the corpus with --vocabulary-of the one that the model was trained on"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("world"))


def test_other_words_are_refused_by_every_model(world):
    """As many words, the same in another order, more, and fewer; before, a plausible number."""
    fits = {**world.fits, **world.models}
    for name, fitted in fits.items():
        for split in world.other_splits:
            with pytest.raises(InputError) as caught:
                fitted.score(split)
            ours = name not in ("lda", "ddlda")  # these are of one split's observed words
            assert (REMEDY if ours else "was fitted to other observed words") in str(caught.value)
            with pytest.raises(InputError):
                fitted.next_items(split, lambda positions, scores: None)


def test_the_first_word_that_differs_is_named(world):
    with pytest.raises(InputError, match=r"word 0 is 'other 0', but the model's is 'w0'"):
        world.models["topic"].score(world.other_splits[0])
    with pytest.raises(InputError, match=r"^corpus: 36 words, but the model has 12; make"):
        world.models["topic"].score(world.other_splits[2])


def test_a_second_corpus_of_the_same_words_is_scored_word_by_word(world):
    """Its documents alone decide: each scores as it does in a corpus with others."""
    model, corpus = world.models["word"], world.corpus
    documents = [corpus.document(d) for d in (3, 7)]
    second = split_corpus(Corpus.from_documents(documents, corpus.vocabulary), development=0)
    whole = split_corpus(corpus, development=0)
    exact = world.models["lstm"]
    np.testing.assert_allclose(exact.score(second), exact.score(whole)[[3, 7]], rtol=1e-5)
    assert np.isfinite(model.score(second)).all()


def test_texts_are_read_with_the_words_of_a_first_corpus(tmp_path):
    first, second = tmp_path / "first.txt", tmp_path / "second.txt"
    first.write_text("tea cake tea milk\ncake milk milk tea tea\nmilk tea cake cake\n" * 4)
    second.write_text("milk rum tea cake tea\nrum rum\ncake tea\n")
    options = TextOptions(stop_words="keep")
    corpus = prepare_text(tmp_path / "a", options, first)
    known = TextOptions(vocabulary_of=str(tmp_path / "a"))
    other = prepare_text(tmp_path / "b", known, second)
    assert other.vocabulary == corpus.vocabulary
    assert [other.items(d) for d in range(2)] == [["milk", "tea", "cake", "tea"], ["cake", "tea"]]
    assert other.manifest["counts"]["outside_vocabulary"] == 3
    assert other.manifest["counts"]["no_known_word"] == 1
    split = split_corpus(corpus)
    lda = lla.fit_lda(split, lla.LDAConfig(2, n_sweeps=2), 1)
    config = lla.SEMConfig(n_topics=2, n_iterations=1, embedding_size=4, hidden_size=4)
    model = lla.fit_sem(split, config, 1, start=lda.topics)
    assert np.isfinite(model.score(split_corpus(other, development=0))).all()
    lla.save_model(model, tmp_path / "model")
    again = lla.load_model(tmp_path / "model")
    for one in (model, again):
        assert one.read("Milk, RUM and tea: cake?") == ["milk", "tea", "cake"]
    assert model.recommend(again.read("milk tea"), 3) == again.recommend(["milk", "tea"], 3)
