"""``make publish``, for maintainers: a run becomes the committed results of its profile.

It takes the results, figures and scores of notebooks whose last run is whole and current, and
renews the report (``experiments.report``) from them. What `make tune` and
``experiments.studies.showcase`` have written beside them goes along.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments import results
from experiments.report.inputs import PROFILES
from experiments.runner import only_run
from experiments.steps import Step, choose, fingerprints, load_steps, read_stamp, up_to_date
from lla.common.errors import InputError, run_main
from lla.common.files import atomic_write, read_json, write_json

BESIDE = ("tuning.json", "tuning_*.json", "showcase.json")  # results that no notebook makes


def publish_run(profile: str, only: Sequence[str] = (), of_set: str = "") -> list[str]:
    """Copy a run over the committed results and renew the report.

    Parameters
    ----------
    only : notebooks, by number or name; empty for all of the set
    of_set : as of `steps.choose`

    Returns
    -------
    list of str
        The files that changed, those removed with a minus sign before them.

    Raises
    ------
    InputError
        When the profile has no committed results, or one of the notebooks has not run to its end
        or was run by other code or settings than the checkout's. Nothing is changed then.
    """
    if profile not in PROFILES:
        raise InputError(f"profile is {profile!r}: give one of {', '.join(PROFILES)}")
    steps = load_steps(profile)
    current, chosen = fingerprints(steps), choose(steps, only, of_set)
    with only_run(profile):
        for step in chosen:
            check_current(step, current[step.name])
        run, committed = results.run_dir(profile), results.profile_dir(profile)
        files = [file for step in chosen for file in step.files(run)]
        files += [] if only else files_beside(run)
        kept = {file.name for file in files}
        dropped = [f for step in chosen for f in step.files(committed) if f.name not in kept]
        targets = {file: committed / file.name for file in files}
        changed = [_shown(target) for file, target in targets.items() if _copy(file, target)]
        for file in dropped:
            file.unlink()
        if taken := {step.name: step.seconds_taken for step in chosen if step.seconds_taken}:
            results.write_seconds(committed, results.read_seconds(committed) | taken)
    from experiments.report import pages

    return [*changed, *(f"-{_shown(file)}" for file in dropped), *pages.write_report()]


def add_run(profile: str, only: Sequence[str]) -> list[str]:
    """Add what a run measured to the committed results: more models, or more data sets.

    For a profile of which a whole run takes too long: run a notebook with its parameter `models`
    or `data`, then add. What both measured is taken from the run; all else stays. A result says
    under "added" which of its measures came later, and where they were made. Figures that are
    committed stay as they are.

    Parameters
    ----------
    only : notebooks, by number or name

    Returns
    -------
    list of str
        The files that changed.

    Raises
    ------
    InputError
        When a result was made with other seeds than the committed one, or on another corpus
        though both measured the same. Nothing is changed then.
    """
    if not only:
        raise InputError("--add: name the notebooks whose run is added, as in --only 10 12")
    chosen = choose(load_steps(profile), only)
    with only_run(profile):
        run, committed = results.run_dir(profile), results.profile_dir(profile)
        files = [file for step in chosen for file in step.files(run)]
        merged = {}
        for file in files:
            target = committed / file.name
            if file.suffix == ".json":
                before = read_json(target) if target.is_file() else {}
                merged[target] = merge_results(before, read_json(file), file.name)
        new = [f for f in files if f.suffix != ".json" and not (committed / f.name).exists()]
        for target, result in merged.items():
            write_json(target, result)
        copied = [committed / file.name for file in new if _copy(file, committed / file.name)]
    from experiments.report import pages

    return [*map(_shown, (*merged, *copied)), *pages.write_report()]


def merge_results(committed: Mapping[str, Any], run: Mapping[str, Any], name: str) -> Any:
    """A committed result with the measures of a run added; the run's alone where there is none."""
    if not committed:
        return run
    if committed["seeds"] != run["seeds"]:
        raise InputError(f"{name}: seeds {run['seeds']}, but {committed['seeds']} are committed")
    both = committed["measures"].keys() & run["measures"].keys()
    corpora = [result["environment"]["corpus"] for result in (committed, run)]
    if both and corpora[0] != corpora[1]:
        raise InputError(f"{name}: of another corpus than the committed result: run it on that one")
    added = {
        "measures": sorted(run["measures"]),
        "environment": run["environment"],
        "seconds": run["seconds"],
    }
    statements = {claim["statement"] for claim in run["claims"]}
    kept = [claim for claim in committed["claims"] if claim["statement"] not in statements]
    return {
        **committed,
        "config": _merged(committed["config"], run["config"]),
        "measures": committed["measures"] | run["measures"],
        "claims": kept + run["claims"],
        "seconds": committed["seconds"] + run["seconds"],
        "peak_memory": max(committed["peak_memory"], run["peak_memory"]),
        "extra": _merged(committed["extra"], run["extra"]),
        "added": [*committed.get("added", []), added],
    }


def _merged(one: Any, other: Any) -> Any:
    """Mappings key by key, lists with what is new at their ends; of anything else the second."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one | {k: _merged(one[k], v) if k in one else v for k, v in other.items()}
    if isinstance(one, list) and isinstance(other, list):
        return one + [entry for entry in other if entry not in one]
    return other


def check_current(step: Step, fingerprint: str) -> None:
    """Raise `InputError` unless the step's last run is whole and of this code and configuration."""
    again = f"run `make reproduce PROFILE={step.profile} ONLY={step.name.split('_', 1)[0]}` first"
    stamp = read_stamp(step.stamp)
    if not stamp:
        raise InputError(f"{step.name} has no whole run in profile {step.profile}: {again}")
    if stamp.get("fingerprint") != fingerprint:
        raise InputError(
            f"{step.name} was run by other code or configuration than the checkout's: {again}"
        )
    if not up_to_date(step, fingerprint):
        raise InputError(f"{step.name}: its files in the run are not those it wrote: {again}")


def files_beside(run: Path) -> list[Path]:
    """Results that no notebook makes; `InputError` for one of a corpus that the run has not."""
    files = sorted(file for pattern in BESIDE for file in run.glob(pattern))
    others = [file for file in run.glob("*.json") if file not in files]
    corpora = {read_json(file)["environment"]["corpus"] for file in others}
    for file in files:
        if read_json(file)["environment"]["corpus"] not in corpora:
            raise InputError(f"{_shown(file)} is of another corpus than the run: make it again")
    return files


def _copy(source: Path, target: Path) -> bool:
    """Whether the copy changed anything."""
    content = source.read_bytes()
    if target.is_file() and target.read_bytes() == content:
        return False
    with atomic_write(target) as file:
        file.write(content)
    return True


def _shown(file: Path) -> str:
    return file.relative_to(results.ROOT).as_posix()


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m experiments.publishing", description=__doc__)
    parser.add_argument("--profile", default="small", help=", ".join(PROFILES))
    parser.add_argument("--only", nargs="+", default=(), metavar="NN", help="these notebooks alone")
    parser.add_argument(
        "--set",
        default="",
        metavar="NAME",
        help="also the notebooks of this set; all: of every set",
    )
    parser.add_argument(
        "--add",
        action="store_true",
        help="add what these notebooks measured to the committed results, replace nothing else",
    )
    options = parser.parse_args(argv)
    if options.add:
        changed = add_run(options.profile, options.only)
    else:
        changed = publish_run(options.profile, options.only, options.set)
    print("\n".join(changed) or "The run is what is committed.")
    return 0


if __name__ == "__main__":
    run_main(main)
