"""The verdict must follow from the numbers alone, and never in two directions at once."""

import dataclasses
import json
import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from experiments.claims import VERDICTS, Claim, compare
from experiments.claims.bootstrap import Interval
from experiments.claims.claim import format_change

perplexities = st.floats(min_value=1.0, max_value=1e6)
pairs = st.lists(st.tuples(perplexities, perplexities), min_size=2, max_size=6)


def judge(better, worse, **options):
    return compare("joint", "joint learning is better", "2119 -> 1785", better, worse, **options)


def columns(pairs):
    return [list(column) for column in zip(*pairs, strict=True)]


def far_from_zero(claim):
    """No end of the interval is so near to zero that rounding decides."""
    return all(abs(abs(end) - 1e-9) > 1e-10 for end in (claim.low, claim.high))


@given(pairs, st.floats(min_value=1e-3, max_value=1e3))
def test_the_unit_of_measure_does_not_matter(pairs, scale):
    better, worse = columns(pairs)
    claim = judge(better, worse)
    assume(far_from_zero(claim))
    scaled = judge([scale * x for x in better], [scale * x for x in worse])
    assert scaled.verdict == claim.verdict
    assert math.isclose(scaled.measured, claim.measured, rel_tol=1e-9, abs_tol=1e-12)


@given(pairs)
def test_a_claim_and_its_opposite_never_both_hold(pairs):
    better, worse = columns(pairs)
    assert [judge(better, worse).verdict, judge(worse, better).verdict].count("holds") < 2


@given(pairs)
def test_equal_sequences_are_undecided(pairs):
    values, _ = columns(pairs)
    assert judge(values, values).verdict == "undecided"


@given(pairs, st.randoms())
def test_the_order_of_the_seeds_does_not_matter(pairs, random):
    better, worse = columns(pairs)
    claim = judge(better, worse)
    assume(far_from_zero(claim))
    random.shuffle(pairs)
    assert judge(*columns(pairs)).verdict == claim.verdict


@given(perplexities, perplexities)
def test_one_seed_needs_an_explicit_margin(better, worse):
    assert judge([better], [worse]).verdict == "undecided"
    claim = judge([better], [worse], margin=0.0)
    if abs(claim.measured) > 1e-9:
        assert claim.verdict == ("holds" if better < worse else "does not hold")


def test_the_whole_interval_must_lie_on_the_claim_s_side():
    # Relative reductions 0.1, 0.2, 0.3: mean 0.2; Student's interval reaches from -0.1 to 0.42.
    claim = judge([90.0, 80.0, 70.0], [100.0, 100.0, 100.0])
    assert claim.measured == pytest.approx(0.2) and claim.verdict == "undecided"
    assert claim.low < 0 < 0.4 < claim.high
    assert claim.evidence == "3 seeds" and claim.change.startswith("-20.0% [-4")
    near = [81.0, 80.0, 79.0], [100.0, 100.0, 100.0]
    assert judge(*near).verdict == "holds"
    assert judge(*near, margin=0.16).verdict == "holds"
    assert judge(*near, margin=0.19).verdict == "undecided"
    assert judge(*near[::-1], margin=0.19).verdict == "does not hold"
    # Two seeds say little: t of one degree of freedom is 12.7.
    assert judge([120.0, 121.0], [100.0, 100.0]).verdict == "does not hold"
    assert judge([120.0, 130.0], [100.0, 100.0]).verdict == "undecided"


def test_an_interval_that_is_given_decides():
    given = {"interval": Interval(0.06, 0.01, 0.11), "evidence": "80 documents, 1 seed"}
    claim = judge([94.0], [100.0], **given)
    assert (claim.verdict, claim.measured, claim.low, claim.high) == ("holds", 0.06, 0.01, 0.11)
    assert claim.ours == "100 -> 94 perplexity (-6.0% [-11.0, -1.0], 80 documents, 1 seed)"
    assert judge([94.0], [100.0], margin=0.02, **given).verdict == "undecided"


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ((0.041, 0.032, 0.05), "-4.1% [-5.0, -3.2]"),
        ((-0.012, -0.065, 0.04), "+1.2% [-4.0, +6.5]"),
        ((0.959, 0.9591, 0.9592), "-95.9%"),
        ((0.2, None, None), "-20.0%"),
        ((0.0001, -0.0001, 0.0002), "+0.0%"),
        ((0.3, 0.1, 0.5, 3), "2.1 times [1.5, 2.7]"),
        ((0.37, 0.36, 0.38, 0.1), "0.06 times"),
    ],
)
def test_a_change_is_written_with_its_interval(numbers, text):
    assert format_change(*numbers) == text


def test_pairing_by_seed_detects_differences_below_the_spread_over_seeds():
    """Seeds differ by far more than the two models do, yet every seed agrees on the order."""
    assert judge([990.0, 1981.0, 3955.0], [1000.0, 2000.0, 4000.0]).verdict == "holds"


@pytest.mark.parametrize("bad", [math.nan, math.inf, 0.0, -1.0])
def test_values_that_are_no_perplexity_are_refused(bad):
    with pytest.raises(ValueError, match="not a finite positive perplexity"):
        judge([1.0, bad], [2.0, 2.0])
    with pytest.raises(ValueError, match="not a finite positive perplexity"):
        judge([1.0, 1.0], [bad, 2.0])


@pytest.mark.parametrize(("better", "worse"), [([], []), ([1.0], [1.0, 2.0])])
def test_sequences_that_do_not_pair_are_refused(better, worse):
    with pytest.raises(ValueError, match="one pair per seed"):
        judge(better, worse)


@pytest.mark.parametrize("margin", [-0.1, math.nan])
def test_a_margin_must_not_be_negative(margin):
    with pytest.raises(ValueError, match="must not be negative"):
        judge([1.0], [2.0], margin=margin)


def test_a_claim_reads_as_a_sentence_and_survives_json():
    claim = judge([1960.0, 1990.0], [2130.0, 2150.0])
    assert str(claim) == (
        "joint: 2140 -> 1975 perplexity (-7.7% [-11.1, -4.2], 2 seeds), paper: 2119 -> 1785"
        " -> holds"
    )
    fields = dataclasses.asdict(judge([1.0], [2.0]))
    assert Claim(**json.loads(json.dumps(fields, allow_nan=False))).verdict in VERDICTS


def test_an_unknown_verdict_is_refused():
    with pytest.raises(ValueError, match="choose one of"):
        dataclasses.replace(judge([1.0], [2.0]), verdict="true")
