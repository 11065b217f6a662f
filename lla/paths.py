"""Every folder of the project, once."""

import os
from pathlib import Path

from lla.errors import InputError

PROFILES = ("smoke", "small", "medium", "paper")

ROOT = Path(os.environ.get("LLA_ROOT") or Path(__file__).parents[1]).resolve()
CONFIGS = ROOT / "configs"
NOTEBOOKS = ROOT / "notebooks"
RESULTS = ROOT / "results"


def profile_dir(profile: str) -> Path:
    """Folder of a profile's results (``results/PROFILE``); not created.

    Raises
    ------
    InputError
        When `profile` is not one of ``PROFILES``.
    """
    if profile not in PROFILES:
        raise InputError(f"profile {profile!r} does not exist; choose one of {', '.join(PROFILES)}")
    return RESULTS / profile


def work_dir(profile: str) -> Path:
    """Folder of a profile's corpora, models and checkpoints, ignored by git; created if missing."""
    folder = profile_dir(profile) / "work"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def data_dir() -> Path | None:
    """Folder of large raw data, named by the environment variable ``LLA_DATA``.

    Returns
    -------
    Path or None
        ``None`` when the variable is not set.

    Raises
    ------
    InputError
        When it names something that is not a folder.
    """
    value = os.environ.get("LLA_DATA")
    if not value:
        return None
    folder = Path(value).expanduser().resolve()
    if not folder.is_dir():
        raise InputError(f"LLA_DATA={value}: no such folder; name the folder that holds the data")
    return folder
