"""The folder a corpus is written to: checked before any work, replaced only when asked for."""

import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from data_prep.io.find import printable
from lla.common.errors import InputError, check_flag
from lla.common.files import check_holds_only, check_replaceable
from lla.corpus import Corpus, load_corpus
from lla.corpus.folder import EARLIER_NAMES, FILES, NAMES

log = logging.getLogger("data_prep")
# What a user chooses; other entries of a manifest depend on the version of the programs.
CHOSEN = (
    *("source", "raw_sha256", "licence", "options", "vocabulary_sha256", "tokenizer"),
    *("clicks", "personal_dynamics"),
)
MAX_SHOWN = 60  # characters of a value in a message
REPLACE = "give --overwrite (in Python overwrite=True) to replace it, or name another folder"


def check_output(output: Path, manifest: Mapping[str, Any], overwrite: bool) -> bool:
    """Whether `output` holds a corpus made from the sources and options of `manifest`.

    Raises
    ------
    InputError
        If it holds anything that is not part of a corpus, or, unless `overwrite`, a corpus made
        from other sources or with other options.
    """
    check_flag("overwrite", overwrite)
    check_replaceable(output)
    if (there := _manifest_of(output)) is not None:
        # As it reads when it is written and read again.
        here = json.loads(json.dumps(manifest))
        if all(there.get(key) == value for key, value in here.items()):
            return True
        different = [_difference(key, there.get(key), here.get(key)) for key in CHOSEN]
        first = next(filter(None, different), "")
        if first and not overwrite:
            raise InputError(f"{output}: exists, {first}: {REPLACE}")
        reason = first or "made by another version of the programs"
        log.info("%s: exists, %s: is made anew", printable(str(output)), reason)
    _check_removable(output)
    return False


def build_if_changed(
    output: Path, manifest: dict[str, Any], make: Callable[[], None], overwrite: bool = False
) -> Corpus:
    """The corpus in `output`, made by `make` unless it exists with the same `manifest`.

    If `make` fails, empty parent folders of `output` that did not exist before are removed.

    Parameters
    ----------
    overwrite : bool
        Whether a corpus made from other sources or with other options is replaced.
    """
    if check_output(output, manifest, overwrite):
        try:
            corpus = load_corpus(output)
        except InputError as error:
            _check_removable(output)
            log.info("%s: damaged, made anew (%s)", printable(str(output)), error)
        else:
            log.info("%s: exists, made from the same files and options", printable(str(output)))
            return corpus
    missing = [p for p in (output.parent, *output.parent.parents) if not p.exists()]
    try:
        make()
    except BaseException:
        for folder in missing:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
        raise
    return load_corpus(output, verify=False)


def _check_removable(output: Path) -> None:
    """Refuse to replace a folder with other files in it, which would be deleted."""
    check_holds_only(output, (*FILES, NAMES, EARLIER_NAMES[0]), "corpus")


def _manifest_of(folder: Path) -> dict[str, Any] | None:
    """What `folder` was made from; None if it is no corpus, or one too damaged to tell."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        log.info("%s: its manifest is damaged (%s), is made anew", folder, error)
        return None
    if not isinstance(manifest, dict) or not isinstance(manifest.get("sha256"), dict):
        raise InputError(
            f"{folder}: its manifest.json is not that of a corpus; name another folder"
        )
    return manifest


def _difference(key: str, there: Any, here: Any) -> str:
    """How an entry of two manifests differs, in words; empty if it does not."""
    # What only one version writes is the version's, not the user's.
    if there == here or there is None or here is None:
        return ""
    if key == "raw_sha256":
        changed = [name for name in here if there.get(name) != here[name]]
        return f"made when {', '.join(changed or here)} had other content"
    if key == "vocabulary_sha256":
        return "made when the corpus of --vocabulary-of had other words"
    if not isinstance(there, dict) or not isinstance(here, dict):
        return f"made with another {key} (there {_short(there)}, here {_short(here)})"
    for name in here:
        if name in there and there[name] != here[name]:
            values = f"there {_short(there[name])}, here {_short(here[name])}"
            return f"made with another {name} ({values})"
    return ""


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."
