"""Latent LSTM Allocation (Zaheer, Ahmed, Smola, ICML 2017): the names a notebook needs.

Names are looked up when they are first used, so that `import lla` loads neither Torch nor Numba.
"""

from importlib import import_module

_HOME = {
    "Corpus": "corpus",
    "load_corpus": "corpus",
    "load_users": "corpus",
    "split_corpus": "corpus",
    "LDAConfig": "lda",
    "fit_lda": "lda",
    "load_lda": "lda",
    "SEMConfig": "sem_config",
    "TrainConfig": "train",
    "fit_sem": "sem",
    "load_sem": "sem_state",
    "save_model": "model_file",
    "load_model": "model_file",
    "perplexity": "evaluate",
    "score_lda": "evaluate",
    "score_model": "evaluate",
    "compare": "claims",
    "compare_all": "claims",
    "measure": "store",
    "load_result": "store",
    "committed_result": "store",
    "save_result": "store",
    "profile_dir": "paths",
    "work_dir": "paths",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'lla' has no attribute {name!r}")
    return getattr(import_module(f"lla.{_HOME[name]}"), name)
