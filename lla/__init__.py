"""Latent LSTM Allocation (Zaheer, Ahmed, Smola, ICML 2017): the public names.

A name is loaded when it is first used, so `import lla` loads neither Torch nor Numba.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lla.common.errors import InputError
    from lla.corpus import Corpus, Split, load_corpus, save_corpus, split_corpus
    from lla.evaluate.perplexity import perplexity
    from lla.evaluate.ranking import evaluate_ranking
    from lla.lda import LDA, LDAConfig, fit_lda, load_lda
    from lla.model import Model
    from lla.model.estimator import LatentLSTMAllocation
    from lla.model.folder import load_model, save_model
    from lla.sem import SEMConfig, fit_sem, load_sem
    from lla.topics.explorer import explore

__version__ = "0.2.0"

__all__ = [
    "LDA",
    "Corpus",
    "InputError",
    "LDAConfig",
    "LatentLSTMAllocation",
    "Model",
    "SEMConfig",
    "Split",
    "evaluate_ranking",
    "explore",
    "fit_lda",
    "fit_sem",
    "load_corpus",
    "load_lda",
    "load_model",
    "load_sem",
    "perplexity",
    "save_corpus",
    "save_model",
    "split_corpus",
]

_MODULES = {
    "common.errors": ("InputError",),
    "corpus": ("Corpus", "Split", "load_corpus", "save_corpus", "split_corpus"),
    "evaluate.perplexity": ("perplexity",),
    "evaluate.ranking": ("evaluate_ranking",),
    "lda": ("LDA", "LDAConfig", "fit_lda", "load_lda"),
    "model": ("Model",),
    "model.estimator": ("LatentLSTMAllocation",),
    "model.folder": ("load_model", "save_model"),
    "sem": ("SEMConfig", "fit_sem", "load_sem"),
    "topics.explorer": ("explore",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'lla' has no attribute {name!r}")
    from importlib import import_module  # here: it is no public name

    return getattr(import_module(f"lla.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__} - {"TYPE_CHECKING"})
