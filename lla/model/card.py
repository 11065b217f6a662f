"""The model card (Mitchell et al., 2019): what a saved model is, was made from, and is good for."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import yaml

from lla.common.display import markdown
from lla.model import Model
from lla.topics.words import top_words

N_TOPICS, N_WORDS = 10, 8  # on the card
MAX_FACT = 1000  # characters

TEXT = """# {name}

{about}

It was made with `lla`, a replication of *Latent LSTM Allocation* (Zaheer, Ahmed, Smola, ICML 2017).
It reads a history of items, oldest first, and predicts a distribution over the next item{topics}.

```python
import lla
model = lla.load_model({folder})
print(model.recommend(["an item", "the next one"], k=10))
```

| | |
| --- | --- |
{table}
{more}
## Intended use

To predict the next items of documents or histories like those it was trained on, to read what it
has learned of them, and to compare models of sequences.

## Limits

- It knows the items of its vocabulary and no others; unknown ones in a history are skipped.
- It knows the order of events but not their time, and nothing of users but their history.
- Its probabilities inherit the exposure bias of the data.
- Weights belong to the vocabulary in `model.json`; keep the files together.{limits}
"""
TOPICS = ", the topics of the next steps (`topics_ahead`), and those of its items (`decode`)"
SAMPLED = """
- Topic histories are sampled: `n_particles` trades time for precision, `seed` fixes the draws."""

SETTINGS = "As a file, these are read by `python -m lla fit --config`."


def card(meta: Mapping[str, Any], name: str, topics: Sequence[tuple[str, Sequence[str]]]) -> str:
    """MODEL_CARD.md of the model that `meta` (model.json) describes.

    Items, and whatever else came with the data, are shown as they are written: none is markup.

    Parameters
    ----------
    meta : of its provenance, "evaluation" is shown as a table, "manifest" (the corpus') and
        "settings" as YAML
    name : of the model's folder
    topics : the `card_topics` of the model
    """
    network, provenance = meta["network"], meta["provenance"]
    data = provenance.get("data") or {}
    has_topics = meta["emission"] is not None
    sources = meta.get("sources", [])
    predicts = f"{network['n_outputs'] - len(sources)} topics" if has_topics else "words"
    predicts += f" and the sources {', '.join(sources)}" if sources else ""
    facts = {
        "kind": f"{meta['kind']}: reads {network['input']}s, predicts {predicts}",
        "emission": meta["emission"] or "none",
        "items": f"{len(meta['vocabulary']):,}",
        "embedding and state": f"{network['embedding_size']} and {network['hidden_size']}",
        "parameters": f"{meta['n_parameters']:,}" + (" and φ" if has_topics else ""),
        "bytes": f"{meta['n_bytes']:,}",
        "trained on": data.get("source"),
        "licence of the data": data.get("licence"),
        "documents": provenance.get("n_documents"),
        "events observed": provenance.get("n_observed"),
        "fingerprint of the corpus": provenance.get("corpus"),
        "perplexity of held-out items": provenance.get("perplexity"),
        "seed": provenance.get("seed"),
        "seconds of training": provenance.get("seconds"),
        "made with": ", ".join(f"{name} {v}" for name, v in provenance["versions"].items()),
        "fingerprint": meta["fingerprint"],
    }
    parts = [
        _evaluation(provenance),
        _topics(topics),
        _yaml("Corpus", "From its manifest.", provenance.get("manifest")),
        _yaml("Settings", SETTINGS, provenance.get("settings")),
    ]
    return TEXT.format(
        name=markdown(name),
        folder=json.dumps(name),
        about=provenance.get("about") or f"A model of sequences, {meta['kind']}.",
        topics=TOPICS if has_topics else "",
        table=_rows(facts),
        more="\n".join(["", *filter(None, parts)]),
        limits=SAMPLED if network["input"] == "topic" else "",
    )


def card_topics(model: Model) -> list[tuple[str, list[str]]]:
    """The largest topics of a model: number and share of each, and its likeliest words.

    Where the sizes of topics are not known, the first ones.
    """
    if model.emission is None:
        return []
    phi, tokens = model.emission.phi.numpy(), model.topic_tokens  # (V, K), (K,)
    n_topics = phi.shape[1]
    order = np.arange(n_topics) if tokens is None else np.argsort(-tokens, kind="stable")
    largest = order[:N_TOPICS]
    words = top_words(phi[:, largest], model.vocabulary, N_WORDS)
    if tokens is None or not tokens.any():
        titles = [f"topic {k}" for k in largest]
    else:
        titles = [f"topic {k}, {tokens[k] / tokens.sum():.1%}" for k in largest]
    return list(zip(titles, words, strict=True))


def _evaluation(provenance: Mapping[str, Any]) -> str:
    """The perplexity beside those of simpler models on the same words."""
    found = provenance.get("evaluation")
    if not found:
        return ""
    words, documents = _cell(found["n_words"]), _cell(found["n_documents"])
    return (
        f"## Held-out words\n\nPerplexity of {words} held-out words, the ends of {documents} "
        "documents; lower is better.\n\n| model | perplexity |\n| --- | --- |\n"
        f"{_rows(found['perplexity'])}\n"
    )


def _topics(topics: Sequence[tuple[str, Sequence[str]]]) -> str:
    if not topics:
        return ""
    rows = "\n".join(f"| {title} | {', '.join(map(markdown, words))} |" for title, words in topics)
    return f"## Largest topics\n\n| topic | likeliest items |\n| --- | --- |\n{rows}\n"


def _yaml(title: str, about: str, found: Any) -> str:
    """A section with what is known as YAML; in its block nothing but backticks could be markup."""
    if not found:
        return ""
    text = yaml.safe_dump(found, sort_keys=False, width=100).replace("`", "'")
    return f"## {title}\n\n{about}\n\n```yaml\n{text}```\n"


def _rows(facts: Mapping[str, Any]) -> str:
    return "\n".join(f"| {markdown(fact)} | {_cell(value)} |" for fact, value in facts.items())


def _cell(value: Any) -> str:
    """One cell of a table."""
    if value is None:
        return "not stated"
    return markdown(format(value, {int: ",", float: ".1f"}.get(type(value), "")), MAX_FACT)
