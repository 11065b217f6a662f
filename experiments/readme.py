"""The README's generated block: the headline tables, and what the runner prints at its end."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.markdown import duration, shown, size, table
from experiments.material import NOT_RUN, PROFILES, Material, gather
from lla.common.errors import InputError

NO_NUMBER = "no number printed"


# Table 4 of the paper and what stands around it: measure, label, the value the paper prints.
HEADLINE = "joint_vs_independent"


PAPER = "paper (Wikipedia, 1M documents, K=1,000)"


ROWS = (
    ("unigram", "unigram", NO_NUMBER),
    ("cache_unigram", "cache unigram (a baseline the paper lacks)", NO_NUMBER),
    ("lda", "LDA, θ frozen", NO_NUMBER),
    ("lda_updated", "LDA, θ updated as words are revealed", NO_NUMBER),
    ("independent", "independent learner (LSTM on LDA's topics)", "2119"),
    ("topic_lla", "topic LLA, joint", "1785"),
)


# Every model of notebook 05, as people call them.
NAMES = {
    "unigram": "unigram",
    "cache_unigram": "cache unigram",
    "bigram": "bigram",
    "lda": "LDA, θ frozen",
    "lda_updated": "LDA, θ updated",
    "ddlda": "ddLDA",
    "autoencoder": "autoencoder",
    "independent": "independent topic LLA",
    "topic_lla": "topic LLA",
    "topic_lla_from_ddlda": "topic LLA begun with ddLDA (new here)",
    "word_lla": "word LLA",
    "word_lla_marginal": "word LLA, marginal objective",
    "char_lla": "char LLA",
    "word_lstm": "word LSTM, sampled softmax",
    "word_lstm_full": "word LSTM, full softmax",
    "char_lstm": "char LSTM, sampled softmax",
}


ACCURACY = "accuracy_vs_size"


# What notebook 10 adds, and what it calls otherwise.
USER_NAMES = NAMES | {
    "word_lstm": "word LSTM",
    "char_lstm": "char LSTM",
    "independent": "independent topic LLA",
    "personal_lla": "**personal topic LLA** (new here)",
    "personal_word_lla": "personal word LLA (new here)",
    "popular": "personalised most popular",
    "gru4rec": "GRU4Rec-style network",
    "gru4rec_sampled": "GRU4Rec-style network, sampled softmax",
    "sasrec": "SASRec",
    "oracle": "the oracle, who knows the truth",
}


USERS = "user_modeling_"


def headline_table(profile: str, root: Path | None = None) -> str:
    """Two tables for one profile: model | paper | ours, and claim | paper | ours | verdict."""
    if profile not in PROFILES:
        raise InputError(f"profile {profile!r} stands in no table; choose {' or '.join(PROFILES)}")
    material = gather(root)
    if not material.results[profile]:
        raise InputError(f"{profile}: {NOT_RUN}; run `make reproduce PROFILE={profile}`")
    found = (claims for name in material.names for claims in material.claims(name).values())
    keys = ("name", "paper", "ours", "verdict")
    judged = ([claims[profile][key] for key in keys] for claims in found if profile in claims)
    return f"{_models(material, (profile,))}\n\n{table(('claim', *keys[1:]), judged)}"


def _models(material: Material, profiles: Sequence[str]) -> str:
    """Table 4 beside ours."""

    def ours(profile: str, key: str) -> str:
        if HEADLINE not in material.results[profile]:
            return NOT_RUN
        measure = material.results[profile][HEADLINE]["measures"].get(f"perplexity.{key}")
        return shown(measure) if measure else "not measured"

    rows = ((label, paper, *(ours(p, key) for p in profiles)) for key, label, paper in ROWS)
    return table(("model", PAPER, *(f"ours, {p}" for p in profiles)), rows)


def readme_block(material: Material) -> str:
    """What stands between the README's two markers."""
    verdicts = (
        (name, next(iter(found.values()))["paper"], *(_verdict(found.get(p)) for p in PROFILES))
        for name, found in material.claims(HEADLINE).items()
    )
    runs = {
        p: {name: result for name, result in material.results[p].items() if material.maker(name)}
        for p in PROFILES
    }
    costs = (f"- `make reproduce PROFILE={p}`: {_cost(runs[p])}" for p in PROFILES)
    parts = (
        "Perplexity of the last 40% of every document; lower is better. The paper's corpus is far "
        "larger than ours: compare the order and the relative differences, not the levels.",
        _models(material, PROFILES),
        table(("claim", "paper", *PROFILES), verdicts),
        _accuracy(material),
        _users(material),
        _corpora(material),
        _bench(material),
        "\n".join(costs),
    )
    return "\n\n".join(part for part in parts if part)


def _accuracy(material: Material) -> str:
    """Every model, its perplexity and its size, the best of the largest profile first."""
    results = {
        p: material.results[p][ACCURACY] for p in PROFILES if ACCURACY in material.results[p]
    }
    if not results:
        return ""
    measures = {profile: result["measures"] for profile, result in results.items()}
    last = list(measures.values())[-1]
    models = [name.split(".", 1)[1] for name in last if name.startswith("perplexity.")]
    models.sort(key=lambda model: last[f"perplexity.{model}"]["value"])

    def cells(model: str) -> list[str]:
        found = []
        for of in measures.values():
            there = f"perplexity.{model}" in of
            found.append(shown(of[f"perplexity.{model}"]) if there else NOT_RUN)
            found.append(f"{of[f'parameters.{model}']['value']:,.0f}" if there else NOT_RUN)
        return found

    rows = ((NAMES.get(model, model), *cells(model)) for model in models)
    header = (f"{what}, {profile}" for profile in measures for what in ("perplexity", "parameters"))
    return table(("model", *header), rows)


def _users(material: Material) -> str:
    """Perplexity and NDCG@10 of every model on each data set of users, its largest run."""
    found = {
        name.removeprefix(USERS): result["measures"]
        for profile in PROFILES
        for name, result in material.results[profile].items()
        if name.startswith(USERS)
    }
    if not found:
        return ""
    models: dict[str, float] = {}
    for measures in found.values():
        for name, measure in measures.items():
            metric, _, model = name.partition(".")
            if metric == "perplexity":
                models.setdefault(model, measure["value"])

    def cells(model: str) -> list[str]:
        names = [f"{metric}.{model}" for metric in ("perplexity", "ndcg@10")]
        return [shown(of[n]) if n in of else NOT_RUN for of in found.values() for n in names]

    rows = ((USER_NAMES.get(m, m), *cells(m)) for m in sorted(models, key=models.__getitem__))
    header = [f"{what}, {data}" for data in found for what in ("perplexity", "NDCG@10")]
    told = (
        "Users instead of texts, the last 40% of every history, event by event: perplexity, and "
        "how high the next item stands among all items (`clicks` is simulated)."
    )
    return f"{told}\n\n{table(('model', *header), rows)}"


def _corpora(material: Material) -> str:
    """How large each profile's corpus is, and its K."""
    counted = ("documents", "vocabulary", "observed", "held_out")
    rows = []
    for profile in PROFILES:
        results = material.results[profile]
        if not results.keys() >= {"data_prep", "lda_initialization"}:
            continue
        measures = results["data_prep"]["measures"]
        sizes = [f"{measures[name]['value']:,.0f}" for name in counted]
        rows.append((profile, *sizes, results["lda_initialization"]["config"]["n_topics"]))
    header = ("profile", "articles", "V", "words observed", "words to predict", "K")
    return table(header, rows) if rows else ""


def _bench(material: Material) -> str:
    """Speed and memory beside others, each pair measured in one run."""
    if not material.bench:
        return ""
    rows = (
        (
            row["case"],
            row["peer"],
            *(f"{_three(row[who])} {row['unit']}" for who in ("ours", "theirs")),
            f"{row['ratio']:.2f}",
            row["target"],
            "yes" if row["passed"] else "**no**",
        )
        for row in material.bench
    )
    header = ("case", "beside", "ours", "theirs", "ratio", "aim", "reached")
    told = (
        f"Speed and memory, each pair measured in one run (`make bench`):\n\n{table(header, rows)}"
    )
    curve = "\n\n![Memory over the size of the corpus](results/bench/memory.png)"
    return told + curve * any(row["case"].startswith("memory") for row in material.bench)


def _three(value: float) -> str:
    """Three digits, without an exponent."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _verdict(claim: dict[str, Any] | None) -> str:
    return f"{claim['ours']}: **{claim['verdict']}**" if claim else NOT_RUN


def _cost(results: dict[str, dict[str, Any]]) -> str:
    if not results:
        return NOT_RUN
    seconds = sum(result["seconds"] for result in results.values())
    memory = max(result["peak_memory"] for result in results.values())
    machines = dict.fromkeys(machine(result) for result in results.values())
    return f"{duration(seconds)}, at most {size(memory)} of memory ({'; '.join(machines)})"


def machine(result: dict[str, Any]) -> str:
    """The machine a result was measured on."""
    around = result["environment"]
    return f"{around['cpu']}, cores: {around['cores']}, threads: {around['threads']}"
