"""Runs of notebooks that are stopped at random moments: started again, they end with the same.

What is run is ``python -m experiments.runner``, in a folder of its own. A trial passes when the run
ended as its signal has it, none of its processes is left, nothing is half-written, and the same
command then leaves the same measures and fits as a run that nothing disturbed.
"""

import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from children import handles_sigterm
from faults import SIGNALS, Failure, Trial
from trainings import content

from lla.common.files import read_json

ROOT = Path(__file__).parents[2]
ONLY = ("01", "02", "03")  # data, LDA, stochastic EM
LIMIT, ENDING = 900.0, 20.0  # seconds until a run counts as hanging, and its processes as left
MOST_STARTS = 3  # until it must have ended


@dataclass(frozen=True)
class Project:
    """Where the runner is started.

    Attributes
    ----------
    folder : has notebooks/, experiments/ with the profile smoke, and results/
    only : notebooks that are run; empty for all
    begins : the file of a run from whose appearance on moments are counted; "" for its start
    """

    folder: Path
    only: Sequence[str] = ONLY
    begins: str = ""

    @property
    def run(self) -> Path:
        """What the notebooks write to."""
        return self.folder / "results" / "smoke" / "run"

    def clear(self) -> None:
        """As if nothing had run."""
        shutil.rmtree(self.run, ignore_errors=True)

    def start(self) -> subprocess.Popen:
        """The runner, which prints to files."""
        environment = {k: v for k, v in os.environ.items() if k != "LLA_PROGRESS"}
        environment |= {"LLA_ROOT": str(self.folder)}
        path = [str(ROOT), os.environ.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, path))
        command = [sys.executable, "-m", "experiments.runner", "--profile", "smoke"]
        command += ["--only", *self.only] if self.only else []
        with open(self.folder / "err", "wb") as err:
            return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=err)

    def said(self) -> list[str]:
        """The lines of stderr of the last run."""
        return (self.folder / "err").read_text(encoding="utf-8", errors="replace").splitlines()


def committed(folder: Path) -> Project:
    """The committed notebooks and their profiles, and links to the committed results."""
    ignored = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
    shutil.copytree(ROOT / "notebooks", folder / "notebooks", ignore=ignored)
    shutil.copytree(ROOT / "experiments" / "configs", folder / "experiments" / "configs")
    shutil.copy(ROOT / "experiments" / "notebooks.yaml", folder / "experiments")
    (folder / "results").mkdir()
    for path in (ROOT / "results").iterdir():
        if path.name != "smoke":
            (folder / "results" / path.name).symlink_to(path)
    return Project(folder)


def state(project: Project) -> dict[str, Any]:
    """The measures of each result, without those of time, and the fits; raise for what is left."""
    files = [path for path in sorted(project.run.rglob("*")) if path.is_file()]
    left = [path for path in files if path.name.startswith(".") and path.name != ".lock"]
    if left:
        raise Failure(f"half-written: {', '.join(path.name for path in left)}")
    found: dict[str, Any] = {}
    for path in files:
        name = str(path.relative_to(project.run))
        if path.suffix == ".safetensors":
            found[name] = content(path, project.run)
        elif path.suffix == ".json" and path.parent == project.run:
            measures = read_json(path).get("measures", {})
            found[name] = {key: m for key, m in measures.items() if "second" not in str(m)}
    return found


def refer(project: Project) -> tuple[dict[str, Any], float]:
    """What a run leaves that nothing disturbs, and its seconds."""
    project.clear()
    begin = time.monotonic()
    if status := project.start().wait(LIMIT):
        raise RuntimeError(f"it fails undisturbed, status {status}: {project.said()[-3:]}")
    return state(project), time.monotonic() - begin


def run_trial(
    number: int, seed: int, project: Project, wanted: dict[str, Any], seconds: float
) -> Trial:
    """Stop a run; the signal and the moment follow from the number and the seed.

    Parameters
    ----------
    wanted, seconds : from `refer`
    """
    fault = SIGNALS[number % len(SIGNALS)]
    moment = float(np.random.default_rng([seed, number]).random() * seconds)
    trial = Trial(number, fault, "notebooks", f"after {moment:.1f} of {seconds:.1f} s")
    project.clear()
    try:
        trial.resumed = _stop(project, signal.Signals[fault], moment)
        _finish(project, wanted)
    except Failure as failure:
        trial.failure = str(failure)
    return trial


def _stop(project: Project, number: signal.Signals, moment: float) -> bool:
    """Start the run and stop it; whether it had not ended before."""
    run, begin = project.start(), math.inf if project.begins else time.monotonic()
    while run.poll() is None and (
        time.monotonic() - begin < moment
        # Before that it cannot say how it ends.
        or not (number == signal.SIGKILL or handles_sigterm(run.pid))
    ):
        if math.isinf(begin) and (project.run / project.begins).exists():
            begin = time.monotonic()
        time.sleep(0.05)
    if run.poll() is not None:
        return False
    started = psutil.Process(run.pid).children(recursive=True)
    run.send_signal(number)
    status, said = run.wait(LIMIT), project.said()
    _, alive = psutil.wait_procs(started, ENDING)
    if alive:
        for process in alive:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        raise Failure(f"{len(alive)} of its processes are left")
    if status == 0:
        return False
    if number == signal.SIGKILL:
        said_well = status == -number
    else:
        said_well = status == 128 + number and said[-1:] != [] and said[-1].startswith("stopped")
    if not said_well or any("Traceback" in line for line in said):
        raise Failure(f"status {status}: {' / '.join(said)[-1000:]}")
    return True


def _finish(project: Project, wanted: dict[str, Any]) -> None:
    """Start the run until it has ended, and compare what it leaves."""
    for _ in range(MOST_STARTS):
        status = project.start().wait(LIMIT)
        if status == 0:
            break
    else:
        raise Failure(f"it cannot be started again: {' / '.join(project.said())[-1000:]}")
    found = state(project)
    if other := sorted(name for name in wanted | found if found.get(name) != wanted.get(name)):
        raise Failure(f"{', '.join(other)} differ")
