"""What one change does: effects on perplexity beside a reference run, and which are clear."""

from collections.abc import Mapping, Sequence

import numpy as np

from experiments.study import Outcome


def effects(
    found: Mapping[str, Sequence[Outcome]],
    bases: Mapping[str, str],
    gain: tuple[str, str, str],
    base: str = "reference",
) -> dict[str, list[float]]:
    """Relative change of perplexity by seed, in percent, of every outcome that is no base.

    Parameters
    ----------
    bases : what a change is compared with, where it is not `base`
    gain : a change on another corpus, LDA there, and LDA here: gains over LDA are compared
    """
    runs = {label: np.array([o.perplexity for o in of]) for label, of in found.items()}
    there, lda_there, lda_here = gain
    no_change = {base, *bases.values(), *gain}
    ratios = {
        label: values / runs[bases.get(label, base)]
        for label, values in runs.items()
        if label not in no_change
    }
    ratios[there] = (runs[there] / runs[lda_there]) / (runs[base] / runs[lda_here])
    return {label: (100 * (ratio - 1)).tolist() for label, ratio in ratios.items()}


def largest_effects(drawn: Mapping[str, tuple[float, float]]) -> str:
    """A sentence: the changes whose effect is beyond twice its spread, the largest first."""
    clear = {label: value for label, (value, spread) in drawn.items() if abs(value) > 2 * spread}
    if not clear:
        return "no change has an effect beyond twice its spread over seeds"
    order = sorted(clear, key=lambda label: -abs(clear[label]))
    told = "; ".join(f"{label} ({clear[label]:+.1f}%)" for label in order[:5])
    return f"what matters most: {told}; {len(drawn) - len(clear)} of {len(drawn)} stay within noise"
