"""A model's card: what a person wants to know before using it (Mitchell et al., 2019)."""

from collections.abc import Mapping
from typing import Any

TEXT = """# {name}

{about}

It was made with `lla`, a replication of *Latent LSTM Allocation* (Zaheer, Ahmed, Smola, ICML 2017).
It reads a history of items, oldest first, and tells the probability of every next item{topics}.

```python
import lla
model = lla.load_model("{folder}")
print(model.recommend(["an item", "the next one"], k=10))
```

| | |
| --- | --- |
{table}

## Limits

- It knows the items of its vocabulary and no others; unknown ones in a history are skipped.
- It knows the order of events and not their time, nor anything about users but their history.
- Its probabilities are those of its data: what people were often shown, they often chose.
- Weights belong to the vocabulary in `model.json`; keep the files together.{more}
"""
TOPICS = ", the topics of the next steps (`topics_ahead`), and those of its items (`decode`)"
SAMPLED = """
- Topic histories are sampled: `n_particles` trades time for precision, `seed` fixes the draws."""
UNKNOWN = "not stated"


def card(meta: Mapping[str, Any], name: str) -> str:
    """MODEL_CARD.md of the model that `meta` (model.json) describes, in the folder `name`."""
    network, made = meta["network"], meta["provenance"]
    data = made.get("data") or {}
    has_topics = meta["emission"] is not None
    predicts = f"{network['n_outputs']} topics" if has_topics else "words"
    facts = {
        "kind": f"{meta['kind']}: reads {network['input']}s, predicts {predicts}",
        "emission": meta["emission"] or "none",
        "items": f"{len(meta['vocabulary']):,}",
        "embedding and state": f"{network['embedding_size']} and {network['hidden_size']}",
        "parameters": f"{meta['n_parameters']:,}" + (" and φ" if has_topics else ""),
        "bytes": f"{meta['n_bytes']:,}",
        "trained on": data.get("source"),
        "licence of the data": data.get("licence"),
        "documents": made.get("n_documents"),
        "events observed": made.get("n_observed"),
        "fingerprint of the corpus": made.get("corpus"),
        "perplexity of held-out items": made.get("perplexity"),
        "seed": made.get("seed"),
        "made with": ", ".join(f"{name} {v}" for name, v in made["versions"].items()),
        "fingerprint": meta["fingerprint"],
    }
    rows = (f"| {fact} | {_cell(value)} |" for fact, value in facts.items())
    return TEXT.format(
        name=_cell(name),
        folder=name,
        about=made.get("about") or f"A model of sequences, {meta['kind']}.",
        topics=TOPICS if has_topics else "",
        more=SAMPLED if network["input"] == "topic" else "",
        table="\n".join(rows),
    )


def _cell(value: Any) -> str:
    """One cell of a table."""
    if value is None:
        return UNKNOWN
    text = f"{value:,}" if isinstance(value, int) else str(value)
    text = f"{value:.1f}" if isinstance(value, float) else text
    return " ".join(text.split()).replace("|", "\\|")
