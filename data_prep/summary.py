"""What a corpus holds, and what was left out of it and why, as a small table."""

from collections.abc import Mapping

from lla.corpus import Corpus

# Counts of the manifest that are no reason to leave anything out, or are shown otherwise.
SIZES = {"documents", "tokens", "words", "seen", "kept", "longest", "types", "one_event"}
SIZES |= {"users_seen", "items_seen", "core", "core_users", "core_items"}
OF_TEXTS = {
    "files_passed_over": "files that could not be read as text",
    "passed_over": "pages that are no article, modules that are copies",
    "too_short": "documents shorter than --min-words",
    "not_selected": "documents outside --documents or --sample",
    "no_known_word": "documents without a known word",
    "cut": "tokens beyond --max-words",
    "outside_vocabulary": "tokens outside --vocabulary",
    "types_forgotten": "rare words forgotten while counting",
}
OF_SENTENCES = {
    "wrong_length": "sentences outside --min-words, --max-words",
    "repeated": "sentences that an earlier one repeats",
    "not_selected": "more than --train, --development, --test",
}
OF_EVENTS = {
    "files_passed_over": "files that are hidden or no table",
    "passed_over": "rows that are incomplete",
    "cancelled": "rows of cancelled invoices",
    "without_customer": "rows without a customer",
    "not_products": "rows of codes that are no product",
    "duplicates": "events that are duplicates",
    "outside_core": "events outside --min-user, --min-item",
    "outside_vocabulary": "events outside --vocabulary",
    "shortened": "events beyond --max-length or of short users",
    "users_outside_core": "users below --min-user",
    "items_outside_core": "items below --min-item",
    "no_known_item": "users without a known item",
    "too_short": "users shorter than --min-length",
}


def summary(corpus: Corpus) -> str:
    """Lines of aligned names and numbers."""
    counts = corpus.manifest.get("counts", {})
    is_events = corpus.manifest.get("kind") == "events" or "clicks" in corpus.manifest
    names = ("users", "events", "items") if is_events else ("documents", "tokens", "words")
    sizes = (corpus.n_documents, corpus.n_tokens, corpus.n_words)
    rows = dict(zip(names, sizes, strict=True))
    if counts.get("one_event"):
        rows["users with one event"] = counts["one_event"]
    is_drawn = str(corpus.manifest.get("source", "")).startswith(("sentences", "phrases"))
    reasons = OF_EVENTS if is_events else OF_SENTENCES if is_drawn else OF_TEXTS
    left_out = _left_out(corpus, counts, reasons)
    shown = [*rows.items(), *left_out.items()]
    name_width = max(len(name) for name, _ in shown)
    width = max(len(f"{n:,}") for _, n in shown)
    lines = [f"  {name:{name_width}}  {n:{width},}" for name, n in shown]
    lines.insert(len(rows), "left out" if left_out else "left out: nothing")
    return "\n".join(lines)


def _left_out(
    corpus: Corpus, counts: Mapping[str, int], reasons: Mapping[str, str]
) -> dict[str, int]:
    """What was left out, by the reason; those that left nothing out are not mentioned."""
    found = {name: n for name, n in counts.items() if name not in SIZES}
    if "core" in counts:
        found["outside_core"] = counts["seen"] - counts["duplicates"] - counts["core"]
        found["users_outside_core"] = counts["users_seen"] - counts["core_users"]
        found["items_outside_core"] = counts["items_seen"] - counts["core_items"]
        found["shortened"] = counts["core"] - counts["outside_vocabulary"] - corpus.n_tokens
    # Reasons in their order, then any count without a text of its own.
    order = [*reasons, *(name for name in found if name not in reasons)]
    return {
        reasons.get(name, name.replace("_", " ")): found[name]
        for name in order
        if isinstance(found.get(name), int) and found[name] > 0
    }
