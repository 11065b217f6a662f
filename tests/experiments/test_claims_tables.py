"""Claims on the report's pages: short lines, tables of many comparisons, headings, and the CSV."""

import csv

import pytest
import yaml

from experiments import claims, results
from experiments.claims import Group, Row
from experiments.report import claims_tables, findings
from experiments.report.csv_text import claims_csv
from experiments.report.inputs import PROFILES, Notebook, ReportInputs
from experiments.report.tables import model_label

PEERS = ("popular", "bigram", "gru4rec", "sasrec")
USERS = ("foursquare", "brightkite", "diginetica")


def checks(measure, model, others, **options):
    return tuple(
        {"lower": f"{measure}.{model}", "higher": f"{measure}.{x}"} | options for x in others
    )


def result(measures, particles=8):
    measured = {key: results.measure(values, "unit") for key, values in measures.items()}
    return {"measures": measured, "config": {"particles": particles}}


def made_of(small, medium=None, notebooks=()):
    return ReportInputs({"small": small, "medium": medium or {}}, notebooks, (), {})


def judged_with(monkeypatch, row, inputs):
    """The same inputs with this claim as the paper's only one."""
    monkeypatch.setattr(claims, "rows", lambda source: (row,) if source == "paper" else ())
    return inputs


def test_one_comparison_shows_both_means_and_what_its_interval_rests_on():
    row = Row(
        "id", "states", "04_x", results=("x",), checks=checks("perplexity", "word_lla", ["lda"])
    )
    found = {"x": result({"perplexity.word_lla": [80.0, 81.0], "perplexity.lda": [100.0, 99.0]})}
    cell = claims_tables.claim_cell(row, claims.judge(row, found), found)
    assert cell.startswith("**holds**<br>99.5 → 80.5 (−19.1% [−") and cell.endswith("])†")
    (judged,) = claims.judge(row, found)
    assert claims_tables.particle_counts(judged, found) == [], "words in, words out: no histories"
    one_seed = {"x": result({"perplexity.word_lla": [80.0], "perplexity.lda": [100.0]})}
    cell = claims_tables.claim_cell(row, claims.judge(row, one_seed), one_seed)
    assert cell == "**undecided**<br>100 → 80 (−20.0%), 1 seed"
    assert claims_tables.claim_cell(row, [], {}) == "not run"


def test_of_a_permutation_test_the_p_value_is_shown_alone():
    check = {"lower": "p_value.topic_lla@1", "higher": "p_value.level", "label": "next token"}
    row = Row("id", "states", "14_x", results=("x",), checks=(check,))
    found = {"x": result({"p_value.topic_lla@1": [0.005, 0.005], "p_value.level": [0.05, 0.05]})}
    cell = claims_tables.claim_cell(row, claims.judge(row, found), found)
    assert cell == "**holds** (p-value)<br>next token: 0.00500"


def test_of_several_comparisons_those_that_do_not_hold_are_named():
    names = ["lda", "unigram", "ddlda"]
    row = Row("id", "states", "04_x", results=("x",), checks=checks("seconds", "topic_lla", names))
    measures = {"seconds.topic_lla": [90.0, 91.0], "seconds.lda": [100.0, 101.0]}
    measures |= {"seconds.unigram": [80.0, 81.0], "seconds.ddlda": [90.0, 91.0]}
    found = {"x": result(measures)}
    first, *lines = claims_tables.claim_cell(row, claims.judge(row, found), found).split("<br>")
    assert first == "**1 of 3 hold** (seconds)"
    assert lines[0].startswith("vs LDA, θ frozen: −10.0%")
    assert lines[1].startswith("vs unigram: +12.") and lines[1].endswith(", does not hold")
    assert lines[2] == "vs ddLDA: +0.0%, undecided"


def test_a_data_set_is_named_once_where_all_comparisons_are_of_it():
    names = ("user_modeling_clicks", "user_modeling_foursquare")
    row = Row("id", "states", "10_x", results=names, checks=checks("error", "c_gru", PEERS[:2]))
    measures = {"error.c_gru": [5.0, 5.1], "error.popular": [6.0, 6.1], "error.bigram": [7.0, 7.1]}
    one = {names[0]: result(measures)}
    cell = claims_tables.claim_cell(row, claims.judge(row, one), one)
    assert cell.startswith(
        "**holds** (error), simulated clicks<br>vs personalised most popular: 6.05"
    )
    both = one | {names[1]: result(measures)}
    lines = claims_tables.claim_cell(row, claims.judge(row, both), both).split("<br>")
    assert lines[0] == "**holds** (error)" and lines[3].startswith("Foursquare, vs personalised")


def many_comparisons():
    row = Row(
        "id",
        "ranks higher",
        "12_x",
        results=tuple(f"user_modeling_{data}" for data in USERS),
        checks=checks("1 - ndcg@10", "personal_lla", PEERS),
    )
    values = {f"ndcg@10.{peer}": [0.1 + i / 10, 0.1 + i / 10] for i, peer in enumerate(PEERS)}
    values |= {"ndcg@10.personal_lla": [0.35, 0.35]}
    return row, {name: result(values) for name in row.results}


def test_a_cell_with_too_many_comparisons_is_summed_up_with_all_of_them_below(monkeypatch):
    row, medium = many_comparisons()
    inputs = judged_with(monkeypatch, row, made_of({}, medium))
    text = claims_tables.claims_table(inputs, [row])
    page, below = text.split("\n\nAll comparisons of: *ranks higher*")
    cells = page.splitlines()[-1].split(" | ")
    assert cells[1] == "not run"
    first, *lines = cells[2].split("<br>")
    assert first == "**9 of 12 hold** (ndcg@10)".replace("ndcg", "NDCG")
    assert lines[0] == "Foursquare: 3 of 4 hold, misses −27.8% to +8.3%" and len(lines) == 3
    header, _, foursquare, *_ = below.split("\n\n")[1].splitlines()
    assert header == (
        "| profile | data | vs personalised most popular | vs bigram | vs GRU4Rec | vs SASRec |"
    )
    assert foursquare == (
        "| medium | Foursquare | −27.8%† | −18.8%† | −7.1%† | +8.3%†, does not hold |"
    )
    assert max(len(cell) for line in text.splitlines() for cell in line.split(" | ")) <= 400


def test_many_data_sets_of_one_comparison_are_summed_up_in_one_line(monkeypatch):
    names = tuple(f"user_modeling_data_set_of_a_long_name_{i}" for i in range(9))
    row = Row("id", "states", "10_x", results=names, checks=checks("error", "c_gru", ["bigram"]))
    made = {"error.c_gru": [5.0, 5.1], "error.bigram": [6.0, 6.2]}
    inputs = judged_with(monkeypatch, row, made_of({name: result(made) for name in names}))
    page, below = claims_tables.claims_table(inputs, [row]).split("\n\nAll comparisons")
    assert "| **holds** (error)<br>9 data sets: −17.2% to −17.2% | not run |" in page
    assert below.count("| small | data_set_of_a_long_name_") == 9


def test_the_overview_counts_claims_and_comparisons(monkeypatch):
    row, medium = many_comparisons()
    inputs = judged_with(monkeypatch, row, made_of({}, medium))
    lines = claims_tables.glance(inputs, [row], "claims").splitlines()
    assert lines[2] == "| small | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 |"
    assert lines[3] == "| medium | 1 | 0 | 1 | 0 | 12 | 9 | 3 | 0 |"
    assert claims_tables.in_no_comparison(inputs, [row]) == ""


def test_every_comparison_is_a_line_of_the_csv(monkeypatch):
    row, medium = many_comparisons()
    inputs = judged_with(monkeypatch, row, made_of({}, medium))
    lines = list(csv.DictReader(claims_csv(inputs).splitlines()))
    assert len(lines) == len(inputs.judged["id"]["medium"]) == 12
    assert lines[3] | {"difference": ""} == {
        "source": "paper", "claim": "id", "profile": "medium", "result": "user_modeling_foursquare",
        "data": "foursquare", "comparison": "", "unit": "1 - ndcg@10",
        "model": "1 - ndcg@10.personal_lla", "reference": "1 - ndcg@10.sasrec",
        "model_value": "0.65", "reference_value": "0.6", "difference": "", "low": "0.0833333",
        "high": "0.0833333", "at_most": "0", "margin": "0", "verdict": "does not hold",
        "n_documents": "", "n_users": "", "n_seeds": "2", "particles": "8",
        "evidence": "2 seeds alone",
    }  # fmt: skip


def test_differences_in_the_csv_are_relative_to_the_reference_itself(monkeypatch):
    """Also where the claim is about a multiple of it; their ends are in order."""
    three = checks("seconds", "topic_lla", ["lda"], times=3)
    row = Row("id", "three times at most", "08_x", results=("x",), checks=three)
    small = {"x": result({"seconds.topic_lla": [20.0, 22.0], "seconds.lda": [10.0, 10.0]})}
    inputs = judged_with(monkeypatch, row, made_of(small))
    (line,) = csv.DictReader(claims_csv(inputs).splitlines())
    assert float(line["difference"]) == pytest.approx(1.1, rel=1e-5) and line["at_most"] == "2"
    assert float(line["low"]) < 1.1 < float(line["high"])
    assert line["particles"] == "", "a time is not scored by particles"


def test_the_committed_csv_has_the_verdicts_of_the_pages():
    text = (results.RESULTS / "claims.csv").read_text(encoding="utf-8")
    said = {}
    for line in csv.DictReader(text.splitlines()):
        said.setdefault((line["claim"], line["profile"]), []).append(line["verdict"])
    pages = {
        "paper": results.ROOT / "REPRODUCIBILITY.md",
        "findings": results.RESULTS / "FINDINGS.md",
    }
    for source, page in pages.items():
        lines = page.read_text(encoding="utf-8").splitlines()
        for row in claims.rows(source):
            states = f"{row.states} (needs {row.needs})" if row.needs else row.states
            (shown,) = (line for line in lines if f"| {states} |" in line)
            cells = shown.split(" | ")[2 if row.where else 1 : -1]  # a small table has fewer
            for profile, cell in zip(PROFILES, cells, strict=False):
                verdicts = said.pop((row.id, profile), [])
                n_holding = verdicts.count("holds")
                of_all = f"{n_holding} of {len(verdicts)} hold"
                expected = verdicts[0] if len(set(verdicts)) == 1 else of_all
                assert not verdicts or cell.startswith(f"**{expected}**"), (row.id, profile)
    assert said == {}


def test_findings_stand_under_the_heading_of_their_notebook_or_set():
    rows = [Row(name, "states", notebook) for name, notebook in (
        ("a", "02_text"), ("b", "10_users"), ("c", "03_loose"), ("d", "20_other"), ("e", "30_new"),
    )]  # fmt: skip
    notebooks = [
        Notebook("02_text", "lla", ("about text",)),
        Notebook("10_users", "lla", ()),
        Notebook("20_other", "another", ("split",)),
        Notebook("21_other", "another", ("sizes",)),
        Notebook("30_new", "a_new_set", ()),
        Notebook("31_bare", "bare", ()),
    ]
    groups = [
        Group("Users", notebooks=("10_users",)),
        Group("Another paper", set="another"),
        Group("Nothing yet", set="to_come"),
        Group("Texts", notebooks=("02_text",)),
    ]
    found = findings.chapters(rows, notebooks, groups)
    assert [(c.group.title, "".join(row.id for row in c.rows)) for c in found] == [
        ("Users", "b"), ("Another paper", "d"), ("Texts", "a"), ("A new set", "e"),
        ("Other findings", "c"),
    ]  # fmt: skip
    assert [n.name for n in found[1].notebooks] == ["20_other", "21_other"]


def test_headings_of_findings_name_notebooks_and_sets_that_exist():
    groups = claims.groups()
    sets = yaml.safe_load((results.CONFIGS.parent / "notebooks.yaml").read_text(encoding="utf-8"))
    named = [name for group in groups for name in group.notebooks]
    assert len(named) == len(set(named)) and len({g.title for g in groups}) == len(groups) > 5
    assert set(named) <= {name for names in sets.values() for name in names}
    assert all(group.about and (group.set in sets) != bool(group.notebooks) for group in groups)


@pytest.mark.parametrize(
    ("key", "label"),
    [
        ("topic_lla@30", "topic LLA, K=30"),
        ("lda_online@60", "LDA, θ updated, K=60"),
        ("prodlda@20", "ProdLDA, K=20"),
        ("c_gru@16", "C-GRU, H=16"),
        ("gru4rec_own@8", "GRU4Rec + own counts, H=8"),
        ("word_lstm@50", "word LSTM, H=50"),
        ("word_lstm_cache@50", "word LSTM + neural cache, H=50"),
        ("word_lla@50", "word LLA, K=50"),
        ("factorization@16", "matrix factorisation, factors=16"),
        ("bigram@7", "bigram, size=7"),
        ("vae@beta=400", "VAE, β = 4"),
        ("sasrec@clicks", "SASRec, simulated clicks"),
        ("topic_lla@200, 7 documents", "topic LLA, K=200, 7 documents"),
    ],
)
def test_what_a_number_in_a_key_counts_is_that_models_own_size(key, label):
    assert model_label(key) == label


def test_what_a_number_in_a_key_counts_may_follow_from_the_measure_or_the_study():
    assert model_label("vae@10", "bound") == "VAE, samples=10"
    assert model_label("topic_lla@2", "proximity", "topic_map") == "topic LLA, lag=2"
    assert model_label("topic_lla@2", result="joint_vs_independent_x") == "topic LLA, particles=2"
    measures = {f"perplexity.topic_lla@{n}": {"values": [100.0 - n]} for n in (1, 8)}
    found = {"joint_vs_independent": {"measures": measures}}
    check = {"lower": "perplexity.topic_lla@8", "higher": "perplexity.topic_lla@1"}
    row = Row("id", "states", "04_joint_vs_independent", results=tuple(found), checks=(check,))
    (judged,) = claims.judge(row, found)
    assert judged.claim.name == "id: topic LLA, particles=8 below topic LLA, particles=1"
    names = "topic LLA, particles=8 vs topic LLA, particles=1"
    assert claims_tables._check_label(row, judged) == names
