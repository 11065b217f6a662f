"""What notebooks, `make reproduce`, `make tune` and the report share."""

from experiments.claims import Claim, compare, compare_all, paper
from experiments.results import (
    committed_result,
    format_measure,
    load_result,
    measure,
    profile_dir,
    publish,
    require,
    save_result,
    work_dir,
)

__all__ = [
    "Claim",
    "committed_result",
    "compare",
    "compare_all",
    "format_measure",
    "load_result",
    "measure",
    "paper",
    "profile_dir",
    "publish",
    "require",
    "save_result",
    "work_dir",
]
