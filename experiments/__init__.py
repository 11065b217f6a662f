"""What notebooks, `make reproduce`, `make tune` and the report share."""

from importlib import import_module

_MODULE_OF = {
    "compare": "claims",
    "compare_all": "claims",
    "measure": "results",
    "load_result": "results",
    "committed_result": "results",
    "save_result": "results",
    "profile_dir": "paths",
    "work_dir": "paths",
}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'experiments' has no attribute {name!r}")
    return getattr(import_module(f"experiments.{_MODULE_OF[name]}"), name)
