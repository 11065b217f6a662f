"""One path for all families: its numbers are those of the models' own methods."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated import sticky_split

from experiments import study
from lla.common.errors import InputError
from lla.corpus import split_corpus
from lla.evaluate import Size
from lla.evaluate.perplexity import perplexity
from lla.lda import LDAConfig
from lla.peers.counts import fit_unigram

LDA = {"n_topics": 4, "beta": 0.1, "n_sweeps": 30}
TINY = {"embedding_size": 4, "hidden_size": 5, "n_iterations": 2, "beta": 0.1}


@pytest.fixture(scope="module")
def split():
    return sticky_split(4, 40, 40, 30)[0]


@pytest.fixture(scope="module")
def lda(split, tmp_path_factory):
    planned = study.plan(split, "lda", LDA, 1, tmp_path_factory.mktemp("lda"))
    fitted = planned.fit(split)
    return fitted, planned.outcome(split, fitted)


def test_every_model_runs_and_is_read_back(split, lda, tmp_path):
    settings = {
        "ddlda": {"n_sweeps": 5, "scale": 4.0},
        "autoencoder": {"n_epochs": 3},
        **{model: TINY | {"model": model} for model in ("topic_lla", "word_lla", "word_lstm")},
    }

    def runs():
        return {
            name: study.run(split, name, of_name, 1, tmp_path, start=lda[0], n_particles=2)
            for name, of_name in settings.items()
        }

    first, files = runs(), sorted(tmp_path.iterdir())
    times = [file.stat().st_mtime_ns for file in files if file.suffix == ".safetensors"]
    for name, again in runs().items():
        assert again.perplexity == first[name].perplexity, name
        assert again.seconds == first[name].seconds > 0, name
        assert again.size == first[name].size, name
        assert np.array_equal(again.scores, first[name].scores), name
    assert sorted(tmp_path.iterdir()) == files
    kept = [file.stat().st_mtime_ns for file in files if file.suffix == ".safetensors"]
    assert kept == times, "a finished fit was done again"


def test_other_settings_use_another_checkpoint(split, lda, tmp_path):
    def run(start, settings):
        return study.run(split, "lla", settings, 1, tmp_path, start=start, n_particles=1)

    one, other = run(lda[0], TINY), run(lda[0], TINY | {"hidden_size": 6})
    assert one.size.network != other.size.network
    start = study.fit(split, "lda", LDA | {"n_sweeps": 1}, 1, tmp_path)
    assert start.config.n_sweeps == 1 < lda[0].config.n_sweeps
    assert run(start, TINY).perplexity != one.perplexity


def test_a_change_that_a_files_name_does_not_tell_replaces_the_file(split, lda, tmp_path):
    """Another corpus, another number of iterations: as in a folder of its own, one call each."""
    options = {"start": lda[0], "n_particles": 2}
    long = TINY | {"n_iterations": 6, "patience": 6}
    other = split.restrict(np.arange(split.corpus.n_documents) % 2 == 0)
    both = tmp_path / "both"

    def run(part, settings, folder):
        start = study.fit(part, "lda", LDA, 1, folder)
        model = study.run(part, "lla", settings, 1, folder, **(options | {"start": start}))
        network = study.run(part, "autoencoder", {"n_epochs": 2}, 1, folder)
        return model.scores.tobytes(), len(model.history), network.scores.tobytes()

    runs = [(split, long), (split, TINY), (other, TINY), (split, TINY), (split, long)]
    for number, (part, of_part) in enumerate(runs):
        found = run(part, of_part, both)
        assert found == run(part, of_part, tmp_path / str(number))
    planned = study.plan(split, "lla", long, 1, both, start=lda[0])
    broken = planned.checkpoint
    broken.write_text("not a file of ours, and so not one to delete without a word")
    with pytest.raises(InputError, match="give another file, or delete it"):
        planned.fit(split)
    assert broken.read_text().startswith("not a file of ours")


def test_baselines_are_scored_as_by_themselves(split, tmp_path):
    found = study.run_baselines(split, tmp_path)
    assert list(found) == ["unigram", "cache_unigram", "bigram"]
    scores = fit_unigram(split).score(split)
    assert found["unigram"].perplexity == perplexity(scores, split, split.reported)
    assert found["unigram"].development == perplexity(scores, split, split.development)
    assert found["bigram"].size.parameters > found["unigram"].size.parameters == 40
    assert found["cache_unigram"].size.parameters == 41


def test_lda_with_theta_updated_and_frozen(split, lda):
    frozen = study.outcome_of(split, lda[0], seed=1, update=False)
    assert frozen.perplexity != lda[1].perplexity
    assert frozen.size == lda[1].size
    n_wk, _ = lda[0].counts()
    assert lda[1].size.phi == np.count_nonzero(n_wk)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 60), st.floats(0.01, 1), st.floats(0.01, 1))
def test_parts_are_nested_and_hold_both_kinds(n_documents, one, other):
    corpus = sticky_split(4, 12, 60, 5)[0].corpus.select(np.arange(n_documents))
    split = split_corpus(corpus)
    small, large = (study.part_of(split, share) for share in sorted((one, other)))
    assert not (small & ~large).any()
    for kind in (split.development, split.reported):
        assert (small & kind).any()
    assert study.part_of(split, 1.0).all()


@pytest.mark.parametrize("share", [0, -0.1, 1.1])
def test_a_part_is_a_share(split, share):
    with pytest.raises(InputError, match="part is"):
        study.part_of(split, share)


def test_lda_is_scored_along_its_way(split):
    rows = study.lda_history(split, LDAConfig(**LDA), 1, [1, 5, 30])
    assert [row["iteration"] for row in rows] == [1, 5, 30]
    assert all(row["seconds"] > 0 for row in rows)


def test_the_last_of_these_is_the_finished_ldas_own(split, lda):
    (row,) = study.lda_history(split, LDAConfig(**LDA), 1, [30])
    fitted, outcome = lda
    scores = fitted.score(split, seed=1, documents=split.development)
    expected = perplexity(scores, split, split.development)
    assert row["development_perplexity"] == pytest.approx(expected, rel=1e-12)
    # The fold-in's draws are not those for all documents, of which there are but four here.
    assert row["development_perplexity"] == pytest.approx(outcome.development, rel=0.05)


def test_training_time_includes_the_start():
    rows = [{"seconds": s, "development_perplexity": p} for s, p in ((1, 90), (2, 51), (4, 50))]
    assert study.time_to_converge(rows, 0.0) == 7
    assert study.time_to_converge(rows, 0.05) == 3
    later = study.add_startup_seconds([rows, rows], [10.0, 20.0])
    assert [study.time_to_converge(r, 0.05) for r in later] == [13, 23]
    assert rows[0]["seconds"] == 1


def test_a_model_may_start_from_the_topics_of_ddlda(split, lda, tmp_path):
    near = {"n_sweeps": 5, "scale": 4.0}
    start = study.fit(split, "ddlda", near, 1, tmp_path, start=lda[0])
    named = study.plan(split, "lla", TINY | {"ddlda": near}, 1, tmp_path, start=lda[0])
    same = study.plan(split, "lla", TINY, 1, tmp_path, start=start)
    other = study.plan(split, "lla", TINY, 1, tmp_path, start=lda[0])
    assert named.checkpoint == same.checkpoint != other.checkpoint
    prints = [planned.fit(split).fingerprint() for planned in (named, same, other)]
    assert prints[0] == prints[1] != prints[2]
    assert study.initial_fit(split, lda[0], {"ddlda": None, "beta": 1}, 1, tmp_path) == (
        lda[0],
        {"beta": 1},
    )
    with pytest.raises(InputError, match="ddlda is given"):
        study.initial_fit(split, None, {"ddlda": near}, 1, tmp_path)


def test_means_are_of_the_rows_that_have_the_number():
    rows = [{"seconds": 1.0}, {"seconds": 2.0, "acceptance": 0.5}, {"acceptance": 1.0}]
    fit = study.Outcome(1.0, 1.0, Size(0, 0, 0), history=rows)
    assert study.mean_in_histories([fit, fit], "acceptance") == [0.75, 0.75]
    assert study.mean_in_histories([fit], "loss") == []


def test_a_development_perplexity_is_the_lowest_of_the_history_or_that_of_the_fit(
    split, lda, tmp_path
):
    def development(name, settings):
        planned = study.plan(split, name, settings, 1, tmp_path, start=lda[0])
        fitted = planned.fit(split)
        return fitted, study.development_perplexity(planned, split, fitted)

    model, value = development("lla", TINY)
    assert value == min(row["development_perplexity"] for row in model.history)
    assert development("lda", LDA)[1] == lda[1].development
    near, value = development("ddlda", {"n_sweeps": 3})
    scores = near.score(split, seed=1, documents=split.development)
    assert value == perplexity(scores, split, split.development)


def test_a_setting_that_a_family_lacks_is_named(split, tmp_path):
    with pytest.raises(InputError, match="decay is no setting of personalised most popular"):
        study.run(split, "popular", {"decay": 1}, 0, tmp_path)


def outcome(value):
    return study.Outcome(value, value, Size(0, 0, 0))


def test_effects_are_relative_to_their_base():
    found = {
        "reference": [outcome(100), outcome(200)],
        "word": [outcome(50), outcome(50)],
        "worse": [outcome(110), outcome(240)],
        "word, other": [outcome(45), outcome(50)],
    }
    effects = study.effects(found, {"word, other": "word"})
    assert set(effects) == {"worse", "word, other"}
    assert effects["worse"] == pytest.approx([10, 20])
    assert effects["word, other"] == pytest.approx([-10, 0])


def test_effects_of_another_corpus_are_those_on_the_gain_over_lda():
    lda, there = [outcome(200), outcome(200)], [outcome(60), outcome(60)]
    changes = {"far": ([outcome(30), outcome(90)], there)}
    found = study.effects_on_gain(changes, [outcome(100), outcome(200)], lda)
    assert found["far"] == pytest.approx([0, 50])


def test_largest_effects_lie_beyond_their_interval_over_seeds():
    clear = {"a": [3.0, 3.2, 2.9], "b": [-9.0, -8.0, -8.5]}
    noise = {"c": [1.0, -0.5, 2.0], "one seed": [50.0]}
    said = study.largest_effects(clear | noise)
    assert said == "what matters most: b (-8.5%); a (+3.0%); 2 of 4 stay within noise"
    assert "no change" in study.largest_effects(noise)
