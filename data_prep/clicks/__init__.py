"""Simulated clicks as a corpus folder: nothing to download, and the distribution is known."""

import argparse
from dataclasses import fields
from pathlib import Path

from data_prep.clicks.world import SMOKE, ClickConfig
from data_prep.io.output import check_output
from lla.common.files import folder_to_write
from lla.corpus import Corpus, load_corpus, save_corpus

PROFILES = {"small": ClickConfig(), "smoke": SMOKE}


HELP = {
    "n_users": "users to draw",
    "min_events": "shortest history",
    "max_events": "longest history",
    "n_items": "V, items in all; those never clicked stand last in the vocabulary",
    "n_types": "hidden types of user",
    "preference": "Dirichlet parameter of a type's preference over top-level categories",
    "within": "probability that the next leaf has the same root",
    "hotel_pull": "probability that a change of leaf goes to hotels after a flight",
    "shared": "share of items that belong to several leaves",
    "zipf": "Zipf exponent of the items' popularity in a leaf",
    "min_repeat": "lowest probability, over the leaves, of repeating an own item",
    "max_repeat": "highest probability, over the leaves, of repeating an own item",
    "habit": "own events at which repeat probability reaches half its maximum",
    "max_dwell": "longest stay in one leaf, in events",
    "seed": "seed of all draws",
}


def prepare_clicks(output: str | Path, config: ClickConfig, overwrite: bool = False) -> Corpus:
    """Write the corpus folder `output`; the manifest has all options.

    Parameters
    ----------
    overwrite : bool
        Whether a corpus that `output` holds, made from other sources or with other options, is
        replaced.

    Raises
    ------
    InputError
        When `output` holds something that is no corpus, or cannot be written.
    """
    from data_prep.clicks.simulate import simulate_clicks  # here: other sources need no Numba

    output = folder_to_write(output, "--output")
    corpus, _ = simulate_clicks(config)
    check_output(output, corpus.manifest, overwrite)
    save_corpus(corpus, output)
    return load_corpus(output, verify=False)


def add_options(parser: argparse.ArgumentParser) -> None:
    """One option per setting, ``--users`` for ``n_users``; the default is the profile's."""
    parser.add_argument(
        "--profile",
        choices=list(PROFILES),
        default="small",
        help="where settings not given come from (default: %(default)s)",
    )
    for field in fields(ClickConfig):
        small, smoke = (getattr(PROFILES[name], field.name) for name in ("small", "smoke"))
        shown = f"{small}" if small == smoke else f"{small}, smoke {smoke}"
        parser.add_argument(
            "--" + field.name.removeprefix("n_").replace("_", "-"),
            dest=field.name,
            type=field.type,
            metavar="N" if field.type is int else "X",
            help=f"{HELP[field.name]} (default: {shown})",
        )
