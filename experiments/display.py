"""The runner's live line: notebook, cell, loop, time elapsed and remaining.

On a terminal the line is rewritten; in a log a new one comes every 15 seconds, without control
characters. Time remaining is what an earlier run took, scaled by how this machine compares so far.
"""

import json
import shutil
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SECONDS_BETWEEN_LINES = 15.0  # where stderr is no terminal
MIN_NAME_WIDTH = 8


class Display:
    """The runner's one live line: notebook, cell, loop, time elapsed and remaining.

    Parameters
    ----------
    names : sequence of str
        All notebooks that are shown, in order.
    expected : dict of str to float
        The notebooks that will run, in order, with the seconds each took before; 0 if not known.
    loop_file : Path
        Where `progress` in the notebook's kernel writes.
    """

    def __init__(self, names: Sequence[str], expected: dict[str, float], loop_file: Path) -> None:
        self.names, self.expected, self.loop_file = list(names), expected, loop_file
        self.left = list(expected)
        self.finished: list[tuple[float, float]] = []  # (expected, taken), seconds
        self.live = sys.stderr.isatty()
        self.begin = self.step_begin = self.last_line = time.monotonic()
        self.cell = (0, 0)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> "Display":
        left = self._time_left(self.begin, None)
        print(
            f"{len(self.left)} of {len(self.names)} notebooks to run{left}",
            file=sys.stderr,
            flush=True,
        )
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._thread.join()
        self._clear()
        self.loop_file.unlink(missing_ok=True)

    def start(self) -> None:
        """Note that the next notebook starts."""
        self.step_begin, self.cell = time.monotonic(), (0, 0)
        self._show(self.step_begin)

    def start_cell(self, number: int, of: int) -> None:
        """Note that cell `number` starts; the progress of the last cell's loop is forgotten."""
        self.cell = (number, of)
        self.loop_file.unlink(missing_ok=True)

    def end(self, calibrates: bool = True) -> float:
        """Note that the notebook is done; how many seconds it took.

        Parameters
        ----------
        calibrates : whether its time scales what is left; no, if parts of it were done before
        """
        taken = time.monotonic() - self.step_begin
        name = self.left.pop(0)
        if calibrates:
            self.finished.append((self.expected[name], taken))
        self.note(name, f"done in {clock(taken)}")
        return taken

    def note(self, name: str, text: str) -> None:
        """Print one lasting line about a notebook."""
        self._clear()
        print(f"{self._place(name)}  {text}", file=sys.stderr, flush=True)
        self.last_line = time.monotonic()

    def line(self, now: float, width: int = 1000) -> str:
        """The line at time `now` of ``time.monotonic``; the loop is cut to fit into `width`."""
        number, of = self.cell
        place = f"{self._place(self.left[0])}  {f'cell {number}/{of}' if of else 'starting'}"
        loop, step, loop_left = self._loop(), "", None
        if loop:
            n, total = loop["n"], loop["total"]
            step = f"  {loop['description'] or 'step'} {n:.10g}" + (f"/{total}" if total else "")
            done = n - loop.get("initial", 0)
            if total and done > 0:
                loop_left = max(loop["elapsed"] / done * (total - n), 0.0)
        times = f"  {clock(now - self.begin)} elapsed{self._time_left(now, loop_left)}"
        room = width - len(place) - len(times)
        if len(step) > room:
            step = f"{step[: room - 1]}…" if room > MIN_NAME_WIDTH else ""
        return f"{place}{step}{times}"[:width]

    def _place(self, name: str) -> str:
        return f"[{self.names.index(name) + 1}/{len(self.names)}] {name}"

    def _loop(self) -> dict[str, Any] | None:
        try:
            return json.loads(self.loop_file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def _time_left(self, now: float, loop_left: float | None) -> str:
        if not self.left:
            return ""
        if not all(self.expected[name] for name in self.left):
            return "" if loop_left is None else f", about {clock(loop_left)} left in this loop"
        known = [(expected, taken) for expected, taken in self.finished if expected]
        pace = sum(taken for _, taken in known) / sum(e for e, _ in known) if known else 1.0
        here, *after = (pace * self.expected[name] for name in self.left)
        seconds = max(here - (now - self.step_begin), loop_left or 0.0) + sum(after)
        return f", about {clock(seconds)} left"

    def _clear(self) -> None:
        if self.live:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def _tick(self) -> None:
        while not self._closed.wait(0.5):
            now = time.monotonic()
            if self.left and (self.live or now - self.last_line >= SECONDS_BETWEEN_LINES):
                self._show(now)

    def _show(self, now: float) -> None:
        """Print the line as it is at time `now`."""
        self.last_line = now
        if self.live:
            line = f"\r{self.line(now, shutil.get_terminal_size().columns - 1)}\x1b[K"
        else:
            line = self.line(now)
        print(line, end="" if self.live else "\n", file=sys.stderr, flush=True)


def clock(seconds: float) -> str:
    """Seconds as ``m:ss`` or ``h:mm:ss``."""
    minutes, second = divmod(round(max(seconds, 0.0)), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
