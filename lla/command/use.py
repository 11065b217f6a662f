"""``python -m lla evaluate``, ``topics``, ``recommend``, ``explore``: what a model is good for."""

import csv
import io
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lla.command.data import read_known
from lla.common.display import one_line, spreadsheet
from lla.common.errors import InputError, check_integer, check_path, check_seed
from lla.common.files import atomic_write
from lla.corpus import Corpus, Split, split_corpus
from lla.evaluate.perplexity import perplexity
from lla.evaluate.ranking import evaluate_ranking
from lla.model import Model
from lla.model.folder import load_model
from lla.topics.explorer import explore as write_page
from lla.topics.tables import as_text
from lla.topics.words import top_word_ids, word_lift

OBSERVED = 0.6  # of documents that no fit has split


# --------------------------------------------------------------------------------- evaluate


def evaluate(
    *,
    model: str,
    corpus: str | None,
    ranking: bool,
    cutoffs: list[int],
    observed: float | None,
    particles: int,
    seed: int | None,
    threads: int | None,
) -> None:
    """Print perplexity, and with `ranking` a table."""
    for cutoff in cutoffs:
        check_integer("--cutoffs", cutoff)
    check_integer("--particles", particles)
    fitted = load_model(model)
    read = _corpus_of(fitted, corpus)
    split, is_new = _split_of(fitted, read, observed)
    seed = check_seed(fitted.provenance.get("seed", 0)) if seed is None else seed
    options: dict[str, Any] = {
        "n_particles": particles,
        "new_documents": is_new,
        "n_threads": threads,
    }
    found = perplexity(fitted.score(split, seed=seed, **options), split)
    counted = split.reported & (split.n_held_out > 0)
    n_words, n_documents = int(split.n_held_out[counted].sum()), int(counted.sum())
    what = "new documents" if is_new else "documents, trained on up to these words"
    print(f"perplexity {found:,.2f}: {n_words:,} held-out words, {n_documents:,} {what}")
    if ranking:
        table = evaluate_ranking(fitted, split, cutoffs=cutoffs, seed=seed, **options)
        print(table.to_string(float_format="{:.4f}".format))


def _split_of(fitted: Model, corpus: Corpus, observed: float | None) -> tuple[Split, bool]:
    """The split of the fit, or one of documents new to the model; and whether they are new."""
    settings = fitted.provenance.get("settings")
    own = corpus.fingerprint == fitted.provenance.get("corpus")
    if not own or not isinstance(settings, dict):
        return split_corpus(corpus, OBSERVED if observed is None else observed, 0.0), True
    if observed is not None:
        raise InputError("--observed is for other documents than the model's own; leave it out")
    names = ("observed", "development", "seed")
    options: dict[str, Any] = {name: settings.get(name) for name in names}
    return split_corpus(corpus, **options), False


# ----------------------------------------------------------------------------------- topics


def topics(
    *, model: str, words: int, by: str, relevance: float, min_count: float, table: str | None
) -> None:
    """Print the topics, or write them as CSV."""
    check_integer("--words", words)
    fitted = load_model(model)
    if by != "probability" and fitted.emission is not None and fitted.topic_tokens is None:
        raise InputError(
            f"--by is {by}: {model} does not say how many tokens each topic has; give --by "
            "probability"
        )
    order: dict[str, Any] = {"by": by, "relevance": relevance, "min_count": min_count}
    if table is None:
        text = as_text(fitted.topic_table(words, **order))
        print("\n".join(map(one_line, text.split("\n"))))
    else:
        _write_csv(check_path("--csv", table), fitted, words, order)
        print(table)


def _write_csv(path: Path, fitted: Model, n_words: int, order: dict[str, Any]) -> None:
    """A row per topic and word, the largest topic first: their numbers in full."""
    if path.is_dir():
        raise InputError(f"--csv is {str(path)!r}, a folder: give the name of a file in it")
    table, tokens = fitted.topic_table(n_words, **order), fitted.topic_tokens  # checks the options
    phi = fitted.emission.phi.numpy()  # type: ignore[union-attr]
    ids = top_word_ids(phi, n_words, topic_tokens=tokens, **order)  # (n, K)
    lift = None if tokens is None or not tokens.any() else word_lift(phi, tokens)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["topic", "share", "rank", "word", "probability", "lift"])
    for k in table.index:
        share = f"{table.at[k, 'share']:.6g}" if "share" in table else ""
        for rank, w in enumerate(ids[:, k], 1):
            of_all = "" if lift is None else f"{lift[w, k]:.6g}"
            word = spreadsheet(fitted.vocabulary[w])
            writer.writerow([k, share, rank, word, f"{phi[w, k]:.6g}", of_all])
    with atomic_write(path, "w") as file:
        file.write(text.getvalue())


# -------------------------------------------------------------------------------- recommend


def recommend(
    *,
    model: str,
    history: str | None,
    n: int,
    separator: str | None,
    exclude_seen: bool,
    particles: int,
    seed: int | None,
) -> None:
    """Print a line per item: its name and probability, after a tab."""
    if separator == "":
        raise InputError("--separator is '': name what stands between items, such as ,")
    check_integer("-n", n)
    check_integer("--particles", particles)
    fitted = load_model(model)
    lines = _input_lines() if history is None else [history]
    for number, line in enumerate(lines, 1):
        found = fitted.recommend(
            _history(fitted, line, separator),
            n,
            exclude_seen=exclude_seen,
            n_particles=particles,
            seed=seed or 0,
        )
        for item, probability in found:
            row = [one_line(item), f"{probability:.6f}"]
            print("\t".join(row if history is not None else [str(number), *row]))


def _history(fitted: Model, line: str, separator: str | None) -> list[str]:
    """The items of a history; a text is cut into words as the corpus was."""
    if separator is not None:
        return [item.strip() for item in line.split(separator) if item.strip()]
    if (fitted.provenance.get("data") or {}).get("tokenizer"):
        return fitted.read(line)
    return line.split()


def _input_lines() -> Iterable[str]:
    """The lines of the standard input."""
    try:
        yield from sys.stdin
    except UnicodeDecodeError:
        raise InputError("the standard input is no UTF-8: give histories as such text") from None


# ---------------------------------------------------------------------------------- explore


def explore(*, model: str, corpus: str | None, output: str, title: str) -> None:
    """Write the page."""
    fitted = load_model(model)
    page = write_page(fitted, _corpus_of(fitted, corpus), output, title=title)
    print(page.path)


# ----------------------------------------------------------------------------------- shared


def _corpus_of(fitted: Model, name: str | None) -> Corpus:
    """The corpus of this name, or the one that the model was trained on, where that is known."""
    provenance = fitted.provenance
    own = name is None
    name = provenance.get("corpus_path") if own else name
    if not isinstance(name, str):
        raise InputError("CORPUS: the model does not say what it was trained on; name a corpus")
    tokenizer = (provenance.get("data") or {}).get("tokenizer")
    try:
        corpus, n_unknown = read_known(name, fitted.vocabulary, tokenizer)
    except InputError as error:
        hint = " (the corpus of the fit; name another)" if own else ""
        raise InputError(f"{error}{hint}") from None
    if own and corpus.fingerprint != provenance.get("corpus"):
        raise InputError(
            f"{name}: no longer what the model was trained on; name it as CORPUS to take it anyway"
        )
    if n_unknown and not own:
        n = n_unknown + corpus.n_tokens
        print(f"{n_unknown:,} of {n:,} words are unknown to the model: left out", file=sys.stderr)
    return corpus
