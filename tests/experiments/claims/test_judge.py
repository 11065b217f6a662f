"""Rows of claims are tested on the measures that they name."""

import pytest

from experiments import claims
from experiments.claims import Row

MEASURES = {
    "perplexity.topic_lla": [90.0, 91.0],
    "perplexity.independent": [100.0, 101.0],
    "perplexity.topic_lla@5": [120.0, 121.0],
    "perplexity.topic_lla@20": [95.0, 95.5],
    "perplexity.lda@5": [150.0, 151.0],
    "perplexity.lda@20": [110.0, 111.0],
    "perplexity.lda@200, 7 documents": [1.0, 1.0],
    "ndcg@10.sasrec": [0.2, 0.21],
    "ndcg@10.popular": [0.1, 0.12],
    "seconds.lda": [10.0, 10.0],
    "seconds.lla": [25.0, 25.1],
    "perplexity.topic_lla@documents=90": [90.0, 88.0],
    "perplexity.independent@documents=90": [100.0, 100.0],
    "perplexity.topic_lla@documents=900": [50.0, 49.0],
    "perplexity.independent@documents=900": [100.0, 100.0],
}
OTHER = {"perplexity.topic_lla": [60.0, 61.0], "perplexity.independent": [100.0, 101.0]}
RESULTS = {
    "here": {"measures": {name: {"values": values} for name, values in MEASURES.items()}},
    "there": {"measures": {name: {"values": values} for name, values in OTHER.items()}},
}


def judged(lower, higher, **options):
    row = Row(
        id="id",
        states="states",
        notebook="01_here",
        results=("here",),
        checks=({"lower": lower, "higher": higher, **options},),
    )
    return claims.judge(row, RESULTS)


def test_a_row_compares_measures_ratios_and_complements():
    (found,) = judged("perplexity.topic_lla", "perplexity.independent")
    assert found.claim.verdict == "holds" and found.values == ([90.0, 91.0], [100.0, 101.0])
    ratio = "perplexity.topic_lla / perplexity.independent"
    other = "there:perplexity.topic_lla / there:perplexity.independent"
    (found,) = judged(other, ratio)
    assert found.values[0] == [0.6, 61 / 101] and found.claim.verdict == "holds"
    assert judged(ratio, other)[0].claim.verdict == "does not hold"
    (found,) = judged("1 - ndcg@10.sasrec", "1 - ndcg@10.popular")
    assert found.values == ([0.8, 0.79], [0.9, 0.88])


def test_fewest_and_most_topics_refer_to_the_topics_run():
    (found,) = judged("perplexity.topic_lla@min", "perplexity.lda@max")
    assert (found.lower, found.higher) == ("perplexity.topic_lla@5", "perplexity.lda@20")
    assert found.claim.verdict == "does not hold"


def test_fewest_and_most_documents_may_stand_in_ratios():
    gain = "perplexity.topic_lla@documents={0} / perplexity.independent@documents={0}"
    (found,) = judged(gain.format("max"), gain.format("min"))
    assert (found.lower, found.higher) == (gain.format(900), gain.format(90))
    assert found.values == ([0.5, 0.49], [0.9, 0.88]) and found.claim.verdict == "holds"
    assert judged(gain.format("max"), "perplexity.lda@documents=min") == []


@pytest.mark.parametrize(("times", "verdict"), [(3, "holds"), (2, "does not hold")])
def test_a_multiple_may_be_allowed(times, verdict):
    (found,) = judged("seconds.lla", "seconds.lda", times=times)
    assert found.claim.verdict == verdict
    assert found.claim.change == "2.5 times [2.4, 2.6]"
    assert found.claim.ours == (
        f"10 -> 25.1 seconds (2.5 times [2.4, 2.6], allowed: {times}, 2 seeds)"
    )


@pytest.mark.parametrize(
    ("lower", "higher"),
    [
        ("perplexity.char_lla", "perplexity.independent"),
        ("perplexity.topic_lla", "elsewhere:perplexity.topic_lla"),
        ("perplexity.topic_lla@min", "perplexity.word_lla@max"),
        ("perplexity.topic_lla / perplexity.nobody", "perplexity.independent"),
        ("1 - mrr.sasrec", "1 - ndcg@10.popular"),
    ],
)
def test_missing_measures_are_not_judged(lower, higher):
    assert judged(lower, higher) == []


def test_the_paper_s_numbers_are_found_by_name():
    row = claims.paper("table-4-clicks")
    assert row.numbers == {"independent": 1572, "topic_lla": 927}
    assert row.paper == "1572 -> 927 (-41.0%)"
    assert claims.paper("figure-5").paper == "no number"
    assert claims.paper_corpora()["Wikipedia"]["vocabulary"] == 50_000
    assert all(row.paper == "" for row in claims.rows("findings"))
    names = [row.id for source in ("paper", "findings") for row in claims.rows(source)]
    assert len(names) == len(set(names))
    with pytest.raises(KeyError, match=r"no row of paper\.yaml; it has table-1"):
        claims.paper("table-9")
