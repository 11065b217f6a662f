"""Every folder of the project, once."""

import os
from pathlib import Path

from lla.common.errors import InputError

PROFILES = ("smoke", "small", "medium", "paper")


ROOT = Path(os.environ.get("LLA_ROOT") or Path(__file__).parents[1]).resolve()


CONFIGS = ROOT / "experiments" / "configs"


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
