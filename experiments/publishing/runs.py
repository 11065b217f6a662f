"""``make publish``, for maintainers: a run becomes the committed results of its profile.

It takes the results, figures and scores of notebooks whose last run is whole and current, and
renews the report (``experiments.report``) from them. What `make tune` and
``experiments.studies.showcase`` have written beside them goes along. With ``--add`` a run of a part
of a notebook is added to what is committed (``merging``).
"""

import argparse
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments import results
from experiments.claims import write_scores
from experiments.publishing.merging import claims_after, merge_results
from experiments.report.inputs import PROFILES, read_results
from experiments.runner import only_run
from experiments.steps import Step, choose, fingerprints, load_steps, read_stamp, up_to_date
from lla.common.errors import InputError
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
    or `data`, then add. What is committed stays, and what is new stands beside it (``merging``). A
    result says under "added" which of its measures came later, and where they were made. Its
    figures are drawn anew where they follow from results alone (``drawing``).

    Parameters
    ----------
    only : notebooks, by number or name

    Returns
    -------
    list of str
        The files that changed, and a line for each figure that lacks what was added.

    Raises
    ------
    InputError
        When the new cannot stand beside the committed (`merge_results`). Nothing is changed then.
    """
    if not only:
        raise InputError("--add: name the notebooks whose run is added, as in --only 10 12")
    chosen = choose(load_steps(profile), only)
    with only_run(profile):
        run, committed = results.run_dir(profile), results.profile_dir(profile)
        files = [file for step in chosen for file in step.files(run)]
        made = {f.stem: results.with_scores(f, read_json(f)) for f in files if f.suffix == ".json"}
        before = read_results(committed)
        merged = {n: merge_results(before[n], made[n], n) for n in made if n in before}
        grown = {name: result for name, result in merged.items() if result is not None}
        after = before | made | {n: grown.get(n, before[n]) for n in merged}
        for name, result in grown.items():
            result["claims"] = claims_after(name, after, made[name])
        figures = _draw(grown, after, {file.name for file in (*files, *committed.glob("*.png"))})
        stay = _undrawn_figures(grown, after, figures.keys(), committed)
        changed = _write_added(grown, before, figures, committed)
        for file in files:
            of_result = file.suffix in (".json", ".safetensors")
            is_new = file.stem not in before if of_result else not (committed / file.name).exists()
            if is_new and _copy(file, committed / file.name):
                changed.append(_shown(committed / file.name))
    from experiments.report import pages

    return [*changed, *stay, *pages.write_report()]


def _draw(
    grown: Mapping[str, Any], after: Mapping[str, Any], names: Collection[str]
) -> dict[str, Any]:
    """By name of its file, each figure that follows from results alone and is one of `names`."""
    from experiments.publishing.drawing import figures_of

    drawn = {
        "_".join(filter(None, (name, suffix))) + ".png": figure
        for name in grown
        for suffix, figure in figures_of(name, after).items()
    }
    return {name: figure for name, figure in drawn.items() if name in names}


def _undrawn_figures(
    grown: Mapping[str, Any], after: Mapping[str, Any], drawn: Collection[str], committed: Path
) -> list[str]:
    """A line for each committed figure of a result that has grown and that is not drawn anew."""
    lines = []
    for file in sorted(set(committed.glob("*.png")) - {committed / name for name in drawn}):
        names = [name for name in after if results.belongs_to(file.stem, name)]
        if names and max(names, key=len) in grown:
            lines.append(f"{_shown(file)} stays: it shows more than the numbers of its result")
    return lines


def _write_added(
    grown: Mapping[str, Any],
    before: Mapping[str, Any],
    figures: Mapping[str, Any],
    committed: Path,
) -> list[str]:
    """Write what has grown, and its figures; returns the names of the files."""
    from matplotlib import pyplot as plt

    written = []
    for name, result in grown.items():
        path = committed / f"{name}.json"
        write_json(path, {key: value for key, value in result.items() if key != "scores"})
        written.append(path)
        if result.get("scores") is not before[name].get("scores"):
            write_scores(path.with_suffix(".safetensors"), result["scores"])
            written.append(path.with_suffix(".safetensors"))
    for file, figure in figures.items():
        results.save_figure(figure, committed / file)
        written.append(committed / file)
    plt.close("all")
    return [_shown(path) for path in written]


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
        help="add what is new in a run of these notebooks to the committed results; the rest stays",
    )
    options = parser.parse_args(argv)
    if options.add:
        lines = add_run(options.profile, options.only) or ["The run has nothing new to add."]
    else:
        lines = publish_run(options.profile, options.only, options.set)
    print("\n".join(lines) or "The run is what is committed.")
    return 0
