"""What a profile is made of: notebooks, their parameters, and whether a run is still current."""

import ast
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import yaml

from lla import paths
from lla.errors import InputError

CODE = Path(__file__).resolve().parents[1]
# They run and describe notebooks and change no measured number, so a change here stales nothing.
TOOLS = (
    *("markdown.py", "material.py", "progress.py", "readme.py", "report.py", "reproduce.py"),
    *("steps.py", "tune.py"),
)
READS_LLA_DATA = ("medium", "paper")


@dataclass(frozen=True)
class Step:
    """One notebook of a profile with the parameters it runs with."""

    profile: str
    name: str
    parameters: dict[str, Any]

    @property
    def source(self) -> Path:
        """The notebook as committed."""
        return paths.NOTEBOOKS / f"{self.name}.ipynb"

    @property
    def output(self) -> Path:
        """The executed copy."""
        return paths.profile_dir(self.profile) / "notebooks" / f"{self.name}.ipynb"

    @property
    def stamp(self) -> Path:
        """What the last finished run was made of."""
        return self.output.with_suffix(".stamp.json")

    @property
    def results(self) -> list[Path]:
        """Its result files: named like the notebook without its number, or that and of what."""
        name, folder = self.name.split("_", 1)[-1], paths.profile_dir(self.profile)
        return sorted((*folder.glob(f"{name}.json"), *folder.glob(f"{name}_*.json")))

    def result_hashes(self) -> dict[str, str]:
        """SHA-256 of each."""
        return {file.name: file_sha256(file) for file in self.results}

    @property
    def seconds_before(self) -> float:
        """How long an earlier run took, here or where the result was made; 0 if not known."""
        seconds = [_read_json(file).get("seconds") for file in self.results]
        return float(sum(s for s in seconds if isinstance(s, (int, float))))


def load_steps(profile: str) -> tuple[Step, ...]:
    """Read ``configs/PROFILE.yaml`` and check it against the notebooks it names.

    Returns
    -------
    tuple of Step
        In the order of the notebooks' file names.

    Raises
    ------
    InputError
        For an unknown profile, broken YAML, a missing notebook, a parameter no notebook has, or
        text where the notebook has a number.
    """
    paths.profile_dir(profile)
    file = paths.CONFIGS / f"{profile}.yaml"
    label = f"configs/{file.name}"
    try:
        config = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        there = ", ".join(sorted(f.stem for f in paths.CONFIGS.glob("*.yaml"))) or "none"
        raise InputError(f"{label}: not there; write it, or choose from {there}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{label}: not valid YAML ({error}); correct it") from None
    if not isinstance(config, dict) or not config:
        raise InputError(f"{label}: must map notebook names to parameters; correct it")
    return tuple(_step(profile, label, name, config[name]) for name in sorted(config, key=str))


def _step(profile: str, label: str, name: Any, given: Any) -> Step:
    if given is not None and not isinstance(given, dict):
        raise InputError(f"{label}: {name} is {given!r}; give it a mapping of parameters")
    step = Step(profile, str(name), dict(given or {}))
    defaults = declared_parameters(step.source)
    if "profile" in defaults and step.parameters.setdefault("profile", profile) != profile:
        raise InputError(
            f"{label}: {name} has profile={step.parameters['profile']!r}; leave it out, it is "
            f"{profile!r} here"
        )
    for key, value in step.parameters.items():
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

    A name whose value is no literal maps to ``None``.
    """
    source = "\n".join(c.source for c in read_cells(notebook) if is_tagged(c, "parameters"))
    try:
        body = ast.parse(source).body
    except SyntaxError as error:
        raise InputError(
            f"{notebook.name}: its parameters cell is not Python ({error}); correct it"
        ) from None
    found = {}
    for node in body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        for target in targets:
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
            f"notebooks/{notebook.name}: not there; add it or take it out of the profile"
        ) from None
    except (nbformat.reader.NotJSONError, nbformat.ValidationError, AttributeError):
        raise InputError(f"notebooks/{notebook.name}: not a notebook; restore it") from None


def is_tagged(cell: Any, tag: str) -> bool:
    return tag in cell.metadata.get("tags", ())


def fingerprints(steps: Sequence[Step]) -> dict[str, str]:
    """SHA-256 of all that decides a step's result, the steps before it included.

    Cell sources, parameters, the code, the locked packages and, where a profile reads it, the names
    and sizes of the files in ``LLA_DATA``; outputs and formatting of the notebook do not count.
    """
    base = hashlib.sha256()
    code = [p for p in (CODE / "lla").rglob("*.py") if p.name not in TOOLS]
    code += (CODE / "data_prep").rglob("*.py")
    for file in (*sorted(code), CODE / "requirements.lock"):
        if file.is_file():
            base.update(f"{file.relative_to(CODE)}\0".encode() + file.read_bytes() + b"\0")
    found, previous = {}, base.hexdigest()
    for step in steps:
        data = paths.data_dir() if step.profile in READS_LLA_DATA else None
        files = sorted(p for p in data.iterdir() if p.is_file()) if data else []
        parts = {
            "previous": previous,
            "cells": [cell.source for cell in read_cells(step.source)],
            "parameters": step.parameters,
            "data": [(file.name, file.stat().st_size) for file in files],
        }
        text = json.dumps(parts, sort_keys=True, default=str)
        found[step.name] = previous = hashlib.sha256(text.encode()).hexdigest()
    return found


def up_to_date(step: Step, fingerprint: str) -> bool:
    """Whether the step's last run had this fingerprint and its result still stands as written."""
    stamp = _read_json(step.stamp)
    return (
        stamp.get("fingerprint") == fingerprint
        and bool(step.results)
        and stamp.get("result_sha256") == step.result_hashes()
    )


def file_sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
