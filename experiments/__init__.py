"""What notebooks, `make reproduce` and the report share; notebooks import it as `exp`."""

from experiments.claims import Claim, compare, paper, paper_corpora
from experiments.notebook import (
    as_list,
    by_count,
    by_model,
    committed,
    measures_of,
    perplexity_and_size,
    seconds_of,
    settings,
    table,
)
from experiments.report.tables import model_label
from experiments.results import (
    cached,
    committed_result,
    format_measure,
    load_result,
    measure,
    profile_dir,
    publish,
    require,
    run_dir,
    save_result,
    work_dir,
)

__all__ = [
    "Claim",
    "as_list",
    "by_count",
    "by_model",
    "cached",
    "committed",
    "committed_result",
    "compare",
    "format_measure",
    "load_result",
    "measure",
    "measures_of",
    "model_label",
    "paper",
    "paper_corpora",
    "perplexity_and_size",
    "profile_dir",
    "publish",
    "require",
    "run_dir",
    "save_result",
    "seconds_of",
    "settings",
    "table",
    "work_dir",
]
