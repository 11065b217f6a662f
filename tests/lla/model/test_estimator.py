"""The estimator of scikit-learn: from documents to topics, by its conventions."""

import doctest
import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError, SkipTestWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks
from sklearn.utils.validation import check_is_fitted, validate_data

import lla
from lla.common.errors import InputError
from lla.model import estimator as module

PETS = ["cat", "dog", "mouse", "rabbit", "hamster", "parrot", "turtle"]
MONEY = ["stock", "bond", "market", "share", "price", "trade", "fund"]
FAST = lla.LatentLSTMAllocation(
    2,
    n_sweeps=30,
    n_iterations=12,
    hidden_size=8,
    learning_rate=0.03,
    n_particles=8,
    n_threads=1,
    random_state=3,
)


def planted(n_documents, length=30, seed=0):
    """Lists of words, each from one of two disjoint sets, and which set."""
    rng = np.random.default_rng(seed)
    is_money = rng.random(n_documents) < 0.5
    words = [rng.choice(MONEY if money else PETS, size=length).tolist() for money in is_money]
    return words, is_money


def mixed(n_documents, seed=1):
    """Documents whose words come from both sets, in runs; and the share of the second set."""
    rng = np.random.default_rng(seed)
    documents, shares = [], []
    for _ in range(n_documents):
        share = rng.random()
        n_money = round(40 * share)
        runs = [rng.choice(PETS, size=40 - n_money), rng.choice(MONEY, size=n_money)]
        documents.append(np.concatenate(runs).tolist())
        shares.append(n_money / 40)
    return documents, np.array(shares)


WORDS, IS_MONEY = planted(40)


@pytest.fixture(scope="module")
def fitted():
    return clone(FAST).fit(WORDS)


# ----------------------------------------------------------------- the conventions of scikit-learn


class OfMatrix(lla.LatentLSTMAllocation):
    """A row of a matrix becomes a document, for the checks of scikit-learn know only matrices.

    Column j of value x is the word "j:x", x rounded; columns stand in their order, twice.
    """

    def fit(self, X, y=None):
        return super().fit(documents_of(validate_data(self, X)))

    def transform(self, X):
        check_is_fitted(self)
        return super().transform(documents_of(validate_data(self, X, reset=False)))

    def score(self, X, y=None):
        check_is_fitted(self)
        return super().score(documents_of(validate_data(self, X, reset=False)))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.string, tags.input_tags.two_d_array = False, True
        return tags


def documents_of(matrix):
    levels = np.clip(np.rint(matrix), -2, 2).astype(int)
    return [2 * [f"{j}:{x}" for j, x in enumerate(row)] for row in levels]


OF_MATRIX = OfMatrix(
    2, n_sweeps=2, n_iterations=1, hidden_size=3, n_particles=2, n_threads=1, random_state=0
)


@parametrize_with_checks([OF_MATRIX])
def test_all_checks_of_scikit_learn(estimator, check):
    """None is expected to fail."""
    check(estimator)


def test_the_tags_say_that_documents_are_no_matrix():
    with pytest.warns(SkipTestWarning, match="requires input"):
        check_estimator(lla.LatentLSTMAllocation(), on_skip=None)


def test_a_search_chooses_the_planted_number_of_topics():
    documents, _ = planted(36, length=20, seed=2)
    search = GridSearchCV(FAST, {"n_topics": [1, 2]}, cv=3).fit(documents)
    assert search.best_params_ == {"n_topics": 2}
    assert search.best_estimator_.n_topics == 2
    # Knowing which set of words is spoken of saves log 2 per word, all but the first.
    one, two = search.cv_results_["mean_test_score"]
    assert (two - one) / (12 * 19 * np.log(2)) == pytest.approx(1.0, abs=0.15)


def test_a_pipeline_classifies_documents_by_their_topics():
    pipeline = make_pipeline(clone(FAST), LogisticRegression()).fit(WORDS, IS_MONEY)
    documents, is_money = planted(20, seed=5)
    assert pipeline.score(documents, is_money) == 1.0
    names = pipeline[:-1].get_feature_names_out()
    assert names.tolist() == ["latentlstmallocation0", "latentlstmallocation1"]


def test_topics_as_a_table(fitted):
    table = clone(FAST).set_output(transform="pandas").fit(WORDS).transform(WORDS[:3])
    assert table.columns.tolist() == fitted.get_feature_names_out().tolist()
    np.testing.assert_array_equal(table.to_numpy(), fitted.transform(WORDS[:3]))


@pytest.mark.parametrize("how", ["pickle", "joblib"])
def test_a_fitted_estimator_is_saved_whole(fitted, how, tmp_path):
    if how == "pickle":
        again = pickle.loads(pickle.dumps(fitted))
    else:
        joblib.dump(fitted, tmp_path / "estimator")
        again = joblib.load(tmp_path / "estimator")
    np.testing.assert_array_equal(again.transform(WORDS), fitted.transform(WORDS))
    assert again.score(WORDS) == fitted.score(WORDS)
    assert again.model_.fingerprint() == fitted.model_.fingerprint()


def test_the_example_of_the_docstring_runs():
    runner = doctest.DocTestRunner()
    (example,) = doctest.DocTestFinder(recurse=False).find(
        lla.LatentLSTMAllocation, "LatentLSTMAllocation"
    )
    assert runner.run(example) == (0, 5)


# ------------------------------------------------------------------------------------ the numbers


def test_two_planted_topics_are_found(fitted):
    topics = fitted.transform(WORDS)
    np.testing.assert_allclose(topics.sum(axis=1), 1.0, rtol=1e-12)
    money = int(topics[IS_MONEY].mean(axis=0).argmax())
    assert (topics[IS_MONEY, money] > 0.95).all() and (topics[~IS_MONEY, money] < 0.05).all()
    columns = [fitted.vocabulary_[word] for word in MONEY]
    np.testing.assert_allclose(fitted.components_.sum(axis=1), 1.0, rtol=1e-5)
    assert fitted.components_[money, columns].sum() > 0.98
    documents, is_money = planted(20, seed=6)
    np.testing.assert_array_equal(fitted.transform(documents).argmax(axis=1) == money, is_money)


def test_proportions_are_those_of_the_words():
    """Also those that training has drawn for the same words."""
    documents, share = mixed(40)
    estimator = clone(FAST)
    found = estimator.fit_transform(documents)
    money = int(found[share > 0.5].mean(axis=0).argmax())
    np.testing.assert_allclose(found[:, money], share, atol=0.06)
    drawn = estimator.model_.document_table()[money]
    assert np.corrcoef(drawn, found[:, money])[0, 1] > 0.95


def test_score_and_perplexity_are_those_of_the_filter(fitted):
    n_words = sum(map(len, WORDS))
    score = fitted.score(WORDS)
    assert fitted.perplexity(WORDS) == pytest.approx(np.exp(-score / n_words), rel=1e-12)
    # Seven words per set are equally frequent: log 7 per word, and log 2 per document of 30.
    assert -score / n_words == pytest.approx(np.log(7) + np.log(2) / 30, abs=0.02)
    corpus = fitted.model_.observed.from_documents(
        [[fitted.vocabulary_[word] for word in words] for words in WORDS], fitted.vocabulary_
    )
    log_evidence = fitted.model_.log_evidence(corpus, seed=3, key=(9,), n_particles=64)
    assert score == pytest.approx(log_evidence.sum(), rel=0.01)


def test_the_order_of_words_matters():
    """Where words of the two sets take turns, the set of the next word is known."""
    rng = np.random.default_rng(4)
    pairs = [zip(rng.choice(PETS, 15), rng.choice(MONEY, 15), strict=True) for _ in range(40)]
    turns = [[word for pair in document for word in pair] for document in pairs]
    estimator = clone(FAST).fit(WORDS + turns)
    shuffled = [rng.permutation(words).tolist() for words in turns]
    assert estimator.perplexity(turns) < 8  # 7 words are left
    assert estimator.perplexity(shuffled) > 14  # which is ignorance


def test_the_same_random_state_gives_the_same_bits(fitted):
    again = clone(FAST).fit(WORDS)
    assert again.model_.fingerprint() == fitted.model_.fingerprint()
    np.testing.assert_array_equal(again.transform(WORDS), fitted.transform(WORDS))
    other = clone(FAST).set_params(random_state=4).fit(WORDS)
    assert other.model_.fingerprint() != fitted.model_.fingerprint()


def test_random_state_is_what_scikit_learn_takes():
    assert module._seed(5) == module._seed(np.int64(5)) == 5
    drawn = [module._seed(np.random.RandomState(1)) for _ in range(2)]
    assert drawn[0] == drawn[1] != module._seed(np.random.RandomState(2))
    state = np.random.RandomState(1)
    assert module._seed(state) != module._seed(state)
    assert module._seed(None) != module._seed(None)
    for value in (-1, True, "a", 0.5, np.random.default_rng(1)):
        with pytest.raises(InputError, match="random_state is "):
            module._seed(value)


def test_a_row_depends_on_its_document_alone(fitted):
    documents = [*WORDS[:5], ["cat"], ["stock", "cat", "bond"], ["unknown"], []]
    rows = fitted.transform(documents)
    for document, row in zip(documents, rows, strict=True):
        np.testing.assert_allclose(fitted.transform([document])[0], row, atol=1e-6)
    np.testing.assert_allclose(fitted.transform(documents[::-1]), rows[::-1], atol=1e-6)


def test_a_document_without_known_words_has_the_proportions_of_a_first_word(fitted, caplog):
    prior = fitted.model_.topics_ahead([], steps=1)[0]
    caplog.set_level("INFO", logger="lla")
    np.testing.assert_array_equal(fitted.transform([[], "", ["unknown"]]), [prior] * 3)
    assert "1 of 1 words are unknown to the model" in caplog.text
    assert fitted.score([[]]) == 0.0
    with pytest.raises(InputError, match="no document has a known word"):
        fitted.perplexity([["unknown"]])


def test_unknown_words_are_skipped(fitted):
    plain = fitted.transform([["cat", "dog"]])
    np.testing.assert_array_equal(fitted.transform([["cat", "unknown", "dog", 7]]), plain)
    assert fitted.score([["cat", "unknown"]]) == fitted.score([["cat"]])


def test_the_personal_emission_and_its_topics():
    estimator = clone(FAST).set_params(emission="personal").fit(WORDS)
    assert estimator.model_.emission_kind == "personal"
    topics = estimator.transform(WORDS)
    assert abs(np.corrcoef(topics[:, 0], IS_MONEY)[0, 1]) > 0.9


# ------------------------------------------------------------------------------------- documents


def quick(**options):
    least = clone(FAST).set_params(n_sweeps=1, n_iterations=1, n_topics=1)
    return least.set_params(**options)


def test_texts_are_cut_into_words_and_lists_are_taken_as_they_are():
    texts = ["The cat's mouse.", "A CAT, the dog"]
    assert set(quick().fit(texts).vocabulary_) == {"the", "cat", "mouse", "dog"}
    lists = [["The", "cat's"], ("a", "CAT")]
    assert set(quick().fit(lists).vocabulary_) == {"The", "cat's", "a", "CAT"}
    words = quick(stop_words="english").fit(texts).vocabulary_
    assert set(words) == {"cat", "mouse", "dog"}
    words = quick(stop_words=["CAT"]).fit(texts)
    assert set(words.vocabulary_) == {"the", "mouse", "dog"}
    assert words.model_.read("The cat and the DOG") == ["the", "the", "dog"]


@pytest.mark.parametrize(
    "documents",
    [
        [[3, 12, 3], [3]],
        [np.array([3, 12, 3]), np.array([3], np.uint8)],
        [["3", 12, "3"], [np.int64(3)]],
        pd.Series([[3, 12, 3], [3]], index=[7, 8]),
        ([3, 12, 3], [], [3]),
    ],
)
def test_whole_numbers_are_words_by_their_digits(documents):
    estimator = quick().fit(documents)
    assert estimator.vocabulary_ == {"3": 0, "12": 1}, "the most frequent first"
    assert estimator.transform(documents).shape == (len(documents), 1)


def test_rare_words_are_left_out_and_the_most_frequent_kept(caplog):
    documents = ["bb bb bb aa aa dd", "cc cc aa bb"] * 2 + ["ee"]
    assert list(quick().fit(documents).vocabulary_) == ["bb", "aa", "cc", "dd", "ee"]
    assert "left out" not in caplog.text
    assert list(quick(min_count=2).fit(documents).vocabulary_) == ["bb", "aa", "cc", "dd"]
    assert "1 of 5 documents have no known word" in caplog.text
    assert list(quick(max_words=2).fit(documents).vocabulary_) == ["bb", "aa"]


def test_all_is_trained_on_but_the_end_of_a_tenth_of_the_documents():
    documents = [list("abcde")] * 19 + [["a"]]
    split = module._training_split(lla.Corpus.from_documents([[0] * 5] * 19 + [[0]], ["a"]), 1)
    assert split.development.sum() == 2 and not split.development[19]
    np.testing.assert_array_equal(split.n_held_out[split.development], 2)
    assert split.n_held_out.sum() == 4
    estimator = quick().fit(documents)
    assert estimator.model_.observed.n_tokens == 96 - 4
    assert quick().fit(["one text"]).model_.observed.n_tokens == 1


MATRICES = [
    np.eye(3),
    np.ones((2, 2), int),
    sparse.csr_matrix(np.eye(2)),
    sparse.csr_array(np.eye(2)),
    pd.DataFrame({"text": ["a b", "b a"]}),
]


@pytest.mark.parametrize("X", MATRICES, ids=lambda X: type(X).__name__)
def test_a_matrix_is_refused_with_what_to_give_instead(fitted, X):
    for method in (fitted.fit, fitted.transform, fitted.score, fitted.perplexity):
        with pytest.raises(InputError, match=r"X is a matrix of shape \(\d, \d\).*give a list of"):
            method(X)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ("one text", "X is 'one text': give a list of documents, each a text or a list"),
        (None, "X is None"),
        (3, "X is 3"),
        (np.array("a"), "X is a ndarray"),
        ({"a": "b"}, "X is a dict"),
        ({"a b", "b"}, "X is a set"),
        (iter(["a b"]), "X is a list_iterator"),
        ([], "X holds no document"),
        (["a b", None], r"X\[1\] is None: give a text, or a list of words"),
        ([float("nan")], r"X\[0\] is nan"),
        ([{"a", "b"}], r"X\[0\] is a set"),
        (np.arange(3), r"X\[0\] is 0"),
        ([["a", 0.5]], r"X\[0\] holds 0.5: give words as texts"),
        ([["a", True]], r"X\[0\] holds True"),
        ([["a", ""]], r"X\[0\] holds ''"),
        ([["a\nb"]], r"X\[0\] holds 'a\\nb'"),
        ([[["a"]]], r"X\[0\] holds a list"),
    ],
)
def test_what_is_no_document_is_named(fitted, X, message):
    for method in (fitted.fit, fitted.transform):
        with pytest.raises(InputError, match=message):
            method(X)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_topics": 0}, "n_topics is 0"),
        ({"emission": "own"}, "emission is 'own': choose one of shared, personal"),
        ({"beta": -1}, "beta is -1"),
        ({"n_particles": 0}, "n_particles is 0"),
        ({"n_threads": 0}, "n_threads is 0"),
        ({"min_count": 0}, "min_count is 0"),
        ({"min_count": 99}, r"no document has a word that occurs 99 times \(min_count\)"),
        ({"max_words": 0}, "max_words is 0"),
        ({"stop_words": "french"}, "stop_words is 'french': give None, 'english' or a list"),
        ({"stop_words": 3}, "stop_words is 3"),
    ],
)
def test_parameters_are_checked_by_fit(options, message):
    with pytest.raises(InputError, match=message):
        quick(**options).fit(["a text of words", "and another"])


def test_too_little_to_train_on():
    for documents in ([[]], [""], ["", []]):
        with pytest.raises(InputError, match="no document has a word; give other documents"):
            quick().fit(documents)
    with pytest.raises(InputError, match="no document has two known words"):
        quick().fit([["a"], ["b"]])


def test_an_estimator_that_is_not_fitted_says_so():
    estimator = lla.LatentLSTMAllocation()
    for method in (estimator.transform, estimator.score, estimator.perplexity):
        with pytest.raises(NotFittedError, match="not fitted yet"):
            method(["a b"])
    assert not hasattr(estimator, "components_")


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.sampled_from([*PETS, *MONEY, "unknown", 7]), max_size=6), min_size=1))
def test_any_documents_have_proportions_and_a_score(documents):
    estimator = _fitted_once()
    topics = estimator.transform(documents)
    assert topics.shape == (len(documents), 2) and (topics >= 0).all()
    np.testing.assert_allclose(topics.sum(axis=1), 1.0, rtol=1e-9)
    assert estimator.score(documents) <= 0


def _fitted_once(found=[]):  # noqa: B006 - hypothesis allows no fixture of a module
    if not found:
        found.append(clone(FAST).fit(WORDS))
    return found[0]
