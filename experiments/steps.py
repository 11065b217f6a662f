"""What ``make reproduce`` runs: the notebooks of a profile, their order, sets and fingerprints.

``experiments/notebooks.yaml`` lists all notebooks in the order they run, by the set that ``SET=``
names; ``experiments/configs/PROFILE.yaml`` has the parameters of those that a profile runs.
"""

import ast
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat

from data_prep.io import inputs
from experiments import results
from experiments.notebook import MAX_DEPTH, read_profile
from lla.common.errors import InputError, describe
from lla.common.files import file_hash
from lla.common.yaml_file import read_yaml

CODE = Path(__file__).resolve().parents[1]
MAIN_SET = "lla"  # the notebooks that others build on
ALL = "all"
READS_LLA_DATA = ("medium", "large", "paper")


@dataclass(frozen=True)
class Step:
    """One notebook of a profile.

    Attributes
    ----------
    parameters : what papermill puts in place of the notebook's own
    settings : of models, which the notebook reads from the profile's file (`notebook.settings`)
    set : the notebook's, in ``experiments/notebooks.yaml``
    """

    profile: str
    name: str
    parameters: dict[str, Any]
    settings: dict[str, Any] = field(default_factory=dict)
    set: str = MAIN_SET

    @property
    def source(self) -> Path:
        """The notebook as committed."""
        return results.NOTEBOOKS / f"{self.name}.ipynb"

    @property
    def output(self) -> Path:
        """The executed copy."""
        return results.run_dir(self.profile) / "notebooks" / f"{self.name}.ipynb"

    @property
    def stamp(self) -> Path:
        """Fingerprint and file hashes of the last finished run."""
        return self.output.with_suffix(".stamp.json")

    def files(self, folder: Path) -> list[Path]:
        """The files in a folder of results that the notebook writes: results, figures, scores.

        They are named like the notebook without its number, or begin so.
        """
        if not folder.is_dir():
            return []
        stems = {file: file.name.split(".", 1)[0] for file in folder.iterdir() if file.is_file()}
        return sorted(f for f, stem in stems.items() if results.notebook_of(stem) == self.name)

    @property
    def results(self) -> list[Path]:
        """Its result files in the run."""
        return [f for f in self.files(results.run_dir(self.profile)) if f.suffix == ".json"]

    def hashes(self) -> dict[str, str]:
        """SHA-256 of each file that it has written."""
        return {f.name: file_hash(f) for f in self.files(results.run_dir(self.profile))}

    @property
    def seconds_taken(self) -> float:
        """How long its last run took here; 0 if not known, or if parts of it were done before."""
        seconds = read_stamp(self.stamp).get("seconds")
        return float(seconds) if isinstance(seconds, (int, float)) else 0.0

    @property
    def seconds_before(self) -> float:
        """How long the committed run took, or one here before; 0 if not known."""
        committed = results.read_seconds(results.profile_dir(self.profile))
        return committed.get(self.name) or self.seconds_taken


def read_order() -> dict[str, str]:
    """The set of every notebook of ``experiments/notebooks.yaml``, in the order they run.

    Raises
    ------
    InputError
        When the file is missing, or is not lists of names by set with the set ``lla``.
    """
    label = "experiments/notebooks.yaml"
    try:
        file = results.CONFIGS.parent / "notebooks.yaml"
        sets = read_yaml(file, label, max_depth=MAX_DEPTH, kind="lists of notebooks")
    except FileNotFoundError:
        raise InputError(f"{label}: no such file; restore it") from None
    lists = sets.values() if isinstance(sets, dict) and sets.get(MAIN_SET) else [""]
    if not all(isinstance(names, list | None) for names in lists):
        raise InputError(f"{label}: must list notebooks by set, the set {MAIN_SET} first")
    return {str(name): str(of) for of, names in sets.items() for name in names or ()}


def load_steps(profile: str) -> tuple[Step, ...]:
    """Read ``experiments/configs/PROFILE.yaml`` and check it against the notebooks it names.

    Returns
    -------
    tuple of Step
        Of all sets, in the order of ``experiments/notebooks.yaml``.

    Raises
    ------
    InputError
        For an unknown profile, broken YAML, a missing notebook or one that is in no set, a
        parameter no notebook has, or text where the notebook has a number.
    """
    config, label = read_profile(profile), f"experiments/configs/{profile}.yaml"
    order = read_order()
    steps = {str(name): _step(profile, label, name, block, order) for name, block in config.items()}
    return tuple(steps[name] for name in order if name in steps)


def _step(profile: str, label: str, name: Any, block: Any, order: Mapping[str, str]) -> Step:
    if block is not None and not isinstance(block, dict):
        raise InputError(f"{label}: {name} is {describe(block)}; give a mapping of parameters")
    block = block or {}
    parameters = {key: value for key, value in block.items() if not isinstance(value, dict)}
    settings = {key: value for key, value in block.items() if isinstance(value, dict)}
    step = Step(profile, str(name), parameters, settings, order.get(str(name), ""))
    defaults = declared_parameters(step.source)
    if not step.set:
        raise InputError(f"{label}: {name} is in no set; name it in experiments/notebooks.yaml")
    if "profile" in defaults and parameters.setdefault("profile", profile) != profile:
        raise InputError(
            f"{label}: {name} has profile={parameters['profile']!r}; leave it out, it is "
            f"{profile!r} here"
        )
    for key, value in parameters.items():
        if key not in defaults:
            raise InputError(
                f"{label}: {name} has no parameter {key!r}; it has {', '.join(defaults) or 'none'}"
            )
        number = isinstance(defaults[key], (int, float)) and not isinstance(defaults[key], bool)
        if number and isinstance(value, str):
            raise InputError(
                f"{label}: {name}: {key}={value!r} is text to YAML; write a number, such as 1.0e-3"
            )
    return step


def declared_parameters(notebook: Path) -> dict[str, Any]:
    """Names assigned in the notebook's cell tagged ``parameters``, with their literal values.

    A name whose value is not a literal maps to ``None``.
    """
    source = "\n".join(c.source for c in read_cells(notebook) if is_tagged(c, "parameters"))
    try:
        body = ast.parse(source).body
    except SyntaxError as error:
        raise InputError(
            f"{notebook.name}: its parameters cell is not Python ({error}); correct it"
        ) from None
    found: dict[str, Any] = {}
    for node in body:
        if not isinstance(node, (ast.Assign, ast.AnnAssign)) or node.value is None:
            continue
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            if isinstance(target, ast.Name):
                try:
                    found[target.id] = ast.literal_eval(node.value)
                except (ValueError, TypeError):
                    found[target.id] = None
    return found


def read_cells(notebook: Path) -> list[Any]:
    try:
        return nbformat.read(notebook, as_version=4).cells
    except FileNotFoundError:
        raise InputError(
            f"notebooks/{notebook.name}: no such file; add it or take it out of the profile"
        ) from None
    except (nbformat.reader.NotJSONError, nbformat.ValidationError, AttributeError):
        raise InputError(f"notebooks/{notebook.name}: not a notebook; restore it") from None


def is_tagged(cell: Any, tag: str) -> bool:
    return tag in cell.metadata.get("tags", ())


def choose(steps: Sequence[Step], only: Sequence[str] = (), of_set: str = "") -> list[Step]:
    """The steps to consider: those named in `only` by number or name, or else those of the sets.

    Parameters
    ----------
    of_set : "" for the set ``lla``, "all" for every set, or a set that is added to ``lla``
    """
    for word in only:
        if not any(word in (step.name, step.name.split("_", 1)[0]) for step in steps):
            names = ", ".join(step.name for step in steps)
            raise InputError(f"--only {word}: no such notebook in this profile; it has {names}")
    if only:
        return [s for s in steps if {s.name, s.name.split("_", 1)[0]} & set(only)]
    sets = dict.fromkeys(read_order().values())
    if of_set not in ("", ALL, *sets):
        raise InputError(f"--set {of_set}: no such set; choose one of {', '.join(sets)}, {ALL}")
    return [s for s in steps if of_set == ALL or s.set in (MAIN_SET, of_set)]


def fingerprints(steps: Sequence[Step]) -> dict[str, str]:
    """SHA-256 of everything that decides a step's result, the steps before it included.

    Cell sources, parameters, settings, the model's code, those modules of ``experiments`` that the
    notebook imports, the locked packages and, where a profile reads it, the names and sizes of the
    files in ``LLA_DATA``. The notebook's outputs and formatting do not count. Steps before it are
    those of its own set, and of the set ``lla``.
    """
    code = [*(CODE / "lla").rglob("*.py"), *(CODE / "data_prep").rglob("*.py")]
    found: dict[str, str] = {}
    last = {MAIN_SET: _hash_of([*code, CODE / "requirements.lock"])}  # of the steps so far, by set
    for step in steps:
        data = inputs.data_dir() if step.profile in READS_LLA_DATA else None
        files = sorted(p for p in data.iterdir() if p.is_file()) if data else []
        cells = read_cells(step.source)
        parts = {
            "previous": [last[MAIN_SET], last.get(step.set, "")],
            "cells": [cell.source for cell in cells],
            "experiments": _hash_of(imported_experiments(cells)),
            "parameters": step.parameters,
            "settings": step.settings,
            "data": [(file.name, file.stat().st_size) for file in files],
        }
        text = json.dumps(parts, sort_keys=True, default=str)
        found[step.name] = last[step.set] = hashlib.sha256(text.encode()).hexdigest()
    return found


def _hash_of(files: Sequence[Path]) -> str:
    """SHA-256 of names and contents of those files that exist."""
    digest = hashlib.sha256()
    for file in sorted(files):
        if file.is_file():
            digest.update(f"{file.relative_to(CODE)}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()


def imported_experiments(cells: Sequence[Any]) -> list[Path]:
    """Files of ``experiments`` that a notebook's code imports, directly or through one another."""
    sources = [cell.source for cell in cells if cell.cell_type == "code"]
    found: dict[Path, None] = {}
    while sources:
        for name in _imports(sources.pop()):
            if name.split(".")[0] != "experiments":
                continue
            module = CODE.joinpath(*name.split("."))
            packages = [f / "__init__.py" for f in (module, *module.parents) if CODE in f.parents]
            for file in (module.with_suffix(".py"), *packages):
                if file.is_file() and file not in found:
                    found[file] = None
                    sources.append(file.read_text(encoding="utf-8"))
    return list(found)


def _imports(source: str) -> set[str]:
    """Dotted names of what a piece of Python imports; none when it is no Python."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return set()
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def up_to_date(step: Step, fingerprint: str) -> bool:
    """Whether the step's last run had this fingerprint and its files still stand as written."""
    stamp = read_stamp(step.stamp)
    return (
        stamp.get("fingerprint") == fingerprint
        and bool(step.results)
        and stamp.get("sha256") == step.hashes()
    )


def read_stamp(file: Path) -> dict[str, Any]:
    """A JSON file that holds a mapping; an empty one where there is none, or half of one."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
