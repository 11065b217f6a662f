"""All that a fit depends on: from a YAML file and from flags, each option written down once.

The options are the fields of `SEMConfig`, `CharacterConfig`, `LDAConfig` and `RunConfig`; their
documentation is that of the classes. In a file those of LDA and of the encoder of characters stand
under "lda" and "characters"; here their keys are "lda.n_sweeps" and the like.
"""

import argparse
import difflib
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

from lla.common.display import Configuration
from lla.common.errors import (
    InputError,
    check_each,
    check_integer,
    check_number,
    check_seed,
    check_share,
)
from lla.common.yaml_file import read_yaml
from lla.inference.config import (
    EMISSIONS,
    MANY_TOPICS,
    OBJECTIVES,
    SE_STEPS,
    SOURCE_FORMS,
    SOURCES,
    SEMConfig,
    TrainConfig,
)
from lla.lda import SAMPLERS, SPARSE_FROM, LDAConfig
from lla.lstm import MODELS, CharacterConfig

MAX_DEPTH = 8  # of a file of settings
CHOICES: dict[str, tuple[str, ...]] = {
    "model": tuple(MODELS),
    "objective": OBJECTIVES,
    "emission": EMISSIONS,
    "se_step": SE_STEPS,
    "source_form": SOURCE_FORMS,
    "sources": tuple(SOURCES),
    "lda.sampler": SAMPLERS,
}
SECTIONS = ("", "lda", "characters")  # of a file
OTHER_NAMES = {"n_topics": ("--topics",)}


@dataclass(frozen=True, repr=False)
class RunConfig(Configuration):
    """What a fit depends on beside the models: how the corpus is read, split and scored.

    Attributes
    ----------
    seed : every draw follows from it
    observed : part of each document that is trained on, from its start; the rest is held out
    development : part of the documents that decides when to stop, and is left out of what is
        reported
    min_count : of a text file: words that occur less often are left out
    vocabulary : of a text file: so many words are kept, the most frequent ones
    n_particles : topic histories carried when held-out words are scored; more reduce the sampling
        error
    """

    seed: int = 0
    observed: float = 0.6
    development: float = 0.1
    min_count: int = 1
    vocabulary: int = 50_000
    n_particles: int = 16

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if not 0 < check_number("observed", self.observed) < 1:
            raise InputError(f"observed is {self.observed}: give a part above 0 and below 1")
        if not check_share("development", self.development):
            raise InputError("development is 0: give a part above 0, which decides when to stop")
        check_each(self, check_integer, "min_count", "vocabulary", "n_particles")


@dataclass(frozen=True)
class Settings:
    """`sem` the model's, `lda` those of the topics that it starts from, `run` all others."""

    run: RunConfig
    sem: SEMConfig
    lda: LDAConfig

    def as_options(self) -> dict[str, Any]:
        """As a file of settings has them; `settings_of` reads them."""
        lda = asdict(self.lda)
        del lda["n_topics"]
        sem = asdict(self.sem)
        sem["sources"] = list(sem["sources"])
        return {**sem, "lda": lda, **asdict(self.run)}


class Option(NamedTuple):
    """An option of a configuration.

    Attributes
    ----------
    key : in a file of settings, such as "lda.n_sweeps"
    kind : int, float, bool, str or tuple
    default : None where another option decides
    about : one line
    """

    key: str
    kind: type
    default: Any
    about: str

    @property
    def flag(self) -> str:
        """Such as "--lda-n-sweeps"."""
        return "--" + re.sub("[._]", "-", self.key)


def options_of(section: str = "") -> list[Option]:
    """The options of a section of a file: "" of the model, "run", "lda" or "characters"."""
    kinds = {"": SEMConfig, "run": RunConfig, "lda": LDAConfig, "characters": CharacterConfig}
    kind = kinds[section]
    about, hints = _attributes(kind), typing.get_type_hints(kind)
    if kind is SEMConfig:  # which leaves these to the class of the optimiser
        about |= _attributes(TrainConfig)
    prefix = f"{section}." if section in ("lda", "characters") else ""
    left_out = {"": ("characters",), "lda": ("n_topics",)}.get(section, ())
    found = []
    for field in fields(kind):
        if field.name not in left_out:
            key, default = prefix + field.name, field.default
            if default is MISSING or key == "lda.beta":  # which is the model's
                default = None
            found.append(Option(key, _kind(hints[field.name]), default, about[field.name]))
    return found


def all_options() -> dict[str, Option]:
    """Every option by its key."""
    return {o.key: o for section in ("", "run", "lda", "characters") for o in options_of(section)}


def add_flags(group: Any, section: str) -> None:
    """Add the flags of a section to a parser, or to a group of one; none has a default there."""
    for option in options_of(section):
        group.add_argument(
            option.flag,
            *OTHER_NAMES.get(option.key, ()),
            dest=option.key,
            default=argparse.SUPPRESS,
            help=_help(option),
            **_reader(option),
        )


def settings_of(file: Mapping[str, Any], flags: Mapping[str, Any], path: Path | None) -> Settings:
    """The settings of a file and of flags, which win.

    Parameters
    ----------
    file, flags : values by key
    path : of the file, for messages

    Raises
    ------
    InputError
        When an option cannot be used: the line names the flag, or the file and the key.
    """
    given = {**file, **flags}

    def make(kind: type, section: str, more: Mapping[str, Any]) -> Any:
        prefix = f"{section}." if section in ("lda", "characters") else ""
        keys = [option.key for option in options_of(section)]
        values = {key.removeprefix(prefix): given[key] for key in keys if key in given}
        try:
            return kind(**{**more, **values})
        except InputError as error:
            raise _located(error, prefix, file, flags, path) from None

    run = make(RunConfig, "run", {})
    sem = make(SEMConfig, "", {"characters": make(CharacterConfig, "characters", {})})
    lda = make(LDAConfig, "lda", {"n_topics": sem.n_topics, "beta": sem.beta})
    return Settings(run, sem, lda)


def _located(
    error: InputError,
    prefix: str,
    file: Mapping[str, Any],
    flags: Mapping[str, Any],
    path: Path | None,
) -> InputError:
    """The error of a configuration, with the flag or the file and key that it is about."""
    name, _, rest = str(error).partition(" ")
    bare = name.removesuffix(":")
    key, colon = prefix + bare, name.removeprefix(bare)
    if key in flags:
        return InputError(f"{all_options()[key].flag}{colon} {rest}")
    if key in file:
        return InputError(f"{path}: {key}{colon} {rest}")
    return InputError(f"{key}{colon} {rest}")


# ------------------------------------------------------------------------- files of settings


def read_file(path: Path) -> dict[str, Any]:
    """The options of a YAML file by key, as they stand there.

    Raises
    ------
    InputError
        When it is no YAML, or has an option that does not exist.
    """
    content = _read_yaml(path)
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise InputError(f"{path}: not options and their values; write lines such as n_topics: 20")
    known, found = all_options(), dict[str, Any]()
    for section, values in {"": content, **content}.items():
        if section not in SECTIONS:
            continue
        if not isinstance(values, dict):
            raise InputError(f"{path}: {section} has no options; write {section}: {{NAME: VALUE}}")
        for name, value in values.items():
            if section or name not in SECTIONS:
                option = known.get(f"{section}.{name}" if section else name)
                if option is None or "." in str(name):
                    raise _unknown(path, section, name, known)
                found[option.key] = _from_yaml(option, value)
    return found


def _unknown(path: Path, section: str, name: Any, known: Mapping[str, Option]) -> InputError:
    """The error for a key that is none, with the one that it resembles."""
    key = f"{section}.{name}" if section else str(name)
    close = difflib.get_close_matches(key, known, 1)
    remedy = f"did you mean {close[0]}?" if close else "python -m lla fit --help lists all"
    return InputError(f"{path}: {key[:80]!r} is no option; {remedy}")


def _read_yaml(path: Path) -> Any:
    try:
        return read_yaml(path, path, max_depth=MAX_DEPTH, kind="a file of settings")
    except FileNotFoundError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); name a YAML file") from None


def _from_yaml(option: Option, value: Any) -> Any:
    """A value as the dataclass takes it: YAML reads 1e-3, which lacks a dot, as a text."""
    if option.kind is float and isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


# --------------------------------------------------------------------------- of a dataclass


def _attributes(kind: type) -> dict[str, str]:
    """The documentation of each field, as the section "Attributes" of a docstring has it."""
    text = re.split(r"\n *Attributes\n *-+\n", kind.__doc__ or "", maxsplit=1)[-1]
    found: dict[str, str] = {}
    names: list[str] = []
    for line in text.splitlines():
        if start := re.match(r" {0,4}([a-z]\w*(?:, \w+)*) ?(?::(.*))?$", line):
            names = start[1].split(", ")
            found |= dict.fromkeys(names, (start[2] or "").strip())
        elif line.strip():
            found |= {name: f"{found[name]} {line.strip()}".strip() for name in names}
    return found


def _kind(hint: Any) -> type:
    """int, float, bool, str or tuple; of an optional value, the other one."""
    if isinstance(hint, types.UnionType):
        (hint,) = [one for one in typing.get_args(hint) if one is not types.NoneType]
    return typing.get_origin(hint) or hint


def _reader(option: Option) -> dict[str, Any]:
    """How argparse reads the flag."""
    if option.kind is bool:
        return {"action": argparse.BooleanOptionalAction}
    if option.kind is tuple:
        return {"nargs": "*", "metavar": "NAME"}
    metavar = {int: "N", float: "X", str: "NAME"}[option.kind]
    return {"type": option.kind, "metavar": metavar}


def _help(option: Option) -> str:
    """Its documentation, choices and default."""
    about = re.sub(r" \((see )?`[^)]*`\)", "", option.about)
    for name, value in {"MANY_TOPICS": MANY_TOPICS, "SPARSE_FROM": SPARSE_FROM}.items():
        about = about.replace(f"`{name}`", str(value))
    about = about.replace("`", "").rstrip(".")
    names = CHOICES.get(option.key)
    if names and not all(name in about for name in names):
        about = f"{about}: {', '.join(names)}"
    default = option.default
    if option.key == "lda.beta":
        default = "that of the model"
    elif option.kind is bool and default is not None:
        default = "yes" if default else "no"
    elif default in (None, ()):
        default = "by K" if default is None else "none"
    return f"{about} (default: {default})".replace("%", "%%")
