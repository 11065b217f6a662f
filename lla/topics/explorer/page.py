"""The page as one text: data as JSON and base64, style and scripts; nothing from elsewhere."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from typing import Any

import numpy as np

from lla.topics.explorer.contents import Excerpts, Followers
from lla.topics.explorer.sources import PageSources
from lla.topics.explorer.weights import PHI_SCALE, CountWeights, SparsePhi, Weights

SCRIPTS = ("sources.js", "rule.js", "parts.js", "topics.js", "reading.js", "explorer.js")
MAX_NAME = 80  # characters of a word or a document
# Nothing in `<script type="application/json">` may end it or begin a comment.
AS_ESCAPE = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


def page_text(title: str, data: Mapping[str, Any]) -> str:
    """The page that shows `data`, HTML.

    Parameters
    ----------
    title : any text
    data : what JSON can hold; see `lla.topics.explorer.explore`
    """
    style = _file("style.css")
    script = "\n".join(map(_file, SCRIPTS))
    parts = {
        "title": escape(title),
        "policy": escape(_policy(script, style)),
        "style": style,
        "script": script,
        "data": json_text(data),
    }
    # In one pass: what is put in is not searched again.
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], _file("page.html"))


def json_text(data: Mapping[str, Any]) -> str:
    """JSON that may stand inside a script element."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.translate(AS_ESCAPE)


def _policy(script: str, style: str) -> str:
    """A content security policy: this script and this style, and nothing from the network."""
    return (
        f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    found = hashlib.sha256(text.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(found).decode('ascii')}"


def _file(name: str) -> str:
    return (resources.files("lla.topics.explorer") / name).read_text(encoding="utf-8")


def page_name(text: str) -> str:
    """A name as the page shows it: in one line, not too long, without halves of characters."""
    line = " ".join(text.split()).encode("utf-8", "replace").decode("utf-8")
    return line if len(line) <= MAX_NAME else f"{line[: MAX_NAME - 1]}…"


def halves(values: np.ndarray | None) -> str | None:
    """float16 numbers, little-endian, as base64."""
    return None if values is None else _base64(values.astype("<f2"))


def shorts(values: np.ndarray) -> str:
    """Numbers of 0 to 65,535 in 16 bits, little-endian, as base64."""
    return _base64(values.astype("<u2"))


def singles(values: np.ndarray) -> str:
    """float32 numbers, little-endian, as base64."""
    return _base64(values.astype("<f4"))


def _base64(values: np.ndarray) -> str:
    return base64.b64encode(values.tobytes()).decode("ascii")


def weights_data(weights: Weights) -> dict[str, str | None]:
    """The weights of the LSTM by name."""
    return {name: halves(value) for name, value in vars(weights).items()}


def phi_data(phi: SparsePhi) -> dict[str, Any]:
    """φ: entries per word, their topics and values times `scale`, and the value of the others."""
    return {
        "counts": shorts(np.diff(phi.offsets)),
        "topics": shorts(phi.topics),
        "values": halves(phi.values * PHI_SCALE),
        "scale": PHI_SCALE,
        "rest": short_numbers(phi.rest),
    }


def sources_data(sources: PageSources) -> dict[str, Any]:
    """The sources: pairs of neighbours per word, the words' numbers, and what was learned."""
    return {
        "names": list(sources.names),
        "pairs": shorts(np.diff(sources.offsets)),
        "followers": shorts(sources.followers),
        "counts": shorts(sources.counts),
        "totals": singles(sources.totals),
        "base": singles(sources.base),
        "concentrations": list(sources.concentrations),
        "decay": sources.decay,
    }


def counts_data(counts: CountWeights) -> dict[str, list[float]]:
    """η and α of running counts."""
    return {"exponent": list(counts.exponent), "prior": list(counts.prior)}


def followers_data(found: Followers) -> dict[str, Any]:
    """What follows each topic: rows (topic, lift, count)."""
    others = [[[k, round(lift, 2), n] for k, lift, n in row] for row in found.others]
    stays = [None if np.isnan(p) else round(float(p), 4) for p in found.stays]
    return {"stays": stays, "others": others}


def excerpts_data(found: Excerpts, names: Sequence[str]) -> dict[str, Any]:
    """Passages or histories; `names` of all documents, or none."""
    documents = dict.fromkeys(found.document.tolist())
    number = {d: i for i, d in enumerate(documents)}
    return {
        "names": [page_name(names[d]) if names else f"document {d}" for d in documents],
        "topic": found.topic.tolist(),
        "document": [number[d] for d in found.document.tolist()],
        "lengths": found.lengths.tolist(),
        "words": shorts(found.words),
        "topics": shorts(found.topics),
    }


def short_numbers(values: np.ndarray) -> list[float]:
    """Numbers with five significant digits."""
    return [float(f"{value:.4e}") for value in values]
