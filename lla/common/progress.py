"""Progress of a long loop: a bar on a terminal or in a notebook, a line elsewhere, or a file."""

import io
import json
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

from tqdm.std import tqdm as plain_bar

SECONDS_BEFORE_A_BAR = 3.0
SECONDS_BETWEEN_WRITES = 0.5  # of the file
NOTEBOOK_COLUMNS = 100
SECONDS_BETWEEN_LINES = 15.0  # where there is no terminal


def progress(
    iterable: Iterable[Any] | None = None,
    *,
    total: float | None = None,
    initial: float = 0,
    description: str = "",
    unit: str = "it",
) -> plain_bar:
    """Wrap a loop to show its progress.

    Parameters
    ----------
    iterable : iterable, optional
        What the loop runs over; without it, call ``update`` on the returned bar.
    total : float, optional
        Number of steps; taken from ``len(iterable)`` when it has one.
    initial : float
        Steps done before this start; the time left is estimated from the others.
    description : str
        What is being done, in a few words.
    unit : str
        What one step is, such as ``"document"``.

    Returns
    -------
    tqdm
        A bar that appears after a few seconds and leaves nothing behind. Where stderr is neither a
        terminal nor a notebook, a plain line every 15 seconds instead. In a notebook that a program
        executes nothing is shown, so that nothing is saved. Where the environment
        variable ``LLA_PROGRESS`` names a file, nothing is shown: the file then holds one JSON
        line of ``description``, ``n``, ``initial``, ``total`` and ``elapsed`` (seconds).
        ``LLA_PROGRESS=/dev/null`` is plain silence.
    """
    options = {"total": total, "initial": initial, "desc": description, "unit": unit}
    options["leave"] = False
    if target := os.environ.get("LLA_PROGRESS"):
        return _FileBar(iterable, target=target, **options)
    if (kernel := _kernel()) is not None:
        if _has_reader(kernel):
            return _NotebookBar(iterable, **options)
        return _FileBar(iterable, target=os.devnull, **options)
    if sys.stderr.isatty():
        return plain_bar(iterable, delay=SECONDS_BEFORE_A_BAR, **options)
    return _LineBar(iterable, **options)


def _kernel() -> Any:
    """The Jupyter kernel that this process is; None elsewhere, IPython in a terminal included."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return getattr(shell, "kernel", None)


def _has_reader(kernel: Any) -> bool:
    """Whether someone can see the cell run: a program, such as nbconvert, answers no `input()`."""
    return getattr(kernel, "_allow_stdin", True)


class _OuterBar(plain_bar):
    """A bar without a display of its own: it reports the outermost of nested loops.

    That one has an estimate of the time left; an inner loop counts as a fraction of its step.
    """

    monitor_interval = 0  # no watching thread: a loop that stands still has nothing to report
    _open: ClassVar[list["_OuterBar"]] = []

    def __init__(self, *args: Any, last_report: float, interval: float, **options: Any) -> None:
        self._last_report, self._interval = last_report, interval
        self._open.append(self)
        super().__init__(*args, file=io.StringIO(), mininterval=SECONDS_BETWEEN_WRITES, **options)

    def display(self, *_: Any, **__: Any) -> bool:
        """Report the outermost loop, at most once per interval."""
        now, outer = time.monotonic(), self._open[0] if self._open else self
        if now - outer._last_report >= outer._interval:
            outer._last_report = now
            part = min(self.n / self.total, 1.0) if outer is not self and self.total else 0.0
            outer.report(outer.n + part)
        return True

    def report(self, n: float) -> None:
        """Show that `n` steps are done."""
        raise NotImplementedError

    def close(self) -> None:
        """End the bar."""
        if self in self._open:
            self._open.remove(self)
        self.disable = True
        super().close()


class _LineBar(_OuterBar):
    """Plain lines on stderr, without control characters; none for a loop that is soon done."""

    def __init__(self, *args: Any, **options: Any) -> None:
        start = time.monotonic()
        super().__init__(*args, last_report=start, interval=SECONDS_BETWEEN_LINES, **options)

    def report(self, n: float) -> None:
        elapsed = self.format_dict["elapsed"]
        line = f"{(self.desc or '').removesuffix(': ')}: {n:.0f}"
        if self.total:
            line += f"/{self.total:.0f}"
        line += f" {self.unit}, {self.format_interval(elapsed)} elapsed"
        if self.total and n > self.initial:
            left = elapsed * (self.total - n) / (n - self.initial)
            line += f", {self.format_interval(left)} remaining"
        print(line, file=sys.stderr, flush=True)


class _NotebookBar(_OuterBar):
    """A line of text under a notebook's cell, which is blank again when the loop has ended.

    ipywidgets would save their state with the notebook.
    """

    _line: ClassVar[tuple[int, Any]] = (-1, None)  # a cell's number, and its line: one per cell

    def __init__(self, *args: Any, **options: Any) -> None:
        self._shown = False
        due = time.monotonic() + SECONDS_BEFORE_A_BAR
        last_report = due - SECONDS_BETWEEN_WRITES
        super().__init__(*args, last_report=last_report, interval=SECONDS_BETWEEN_WRITES, **options)

    def report(self, n: float) -> None:
        self._show(self.format_meter(**(self.format_dict | {"n": n, "ncols": NOTEBOOK_COLUMNS})))
        self._shown = True

    def close(self) -> None:
        """End the bar."""
        super().close()
        if self._shown:
            self._show("")
            self._shown = False

    def _show(self, text: str) -> None:
        from IPython import get_ipython  # here: this process is a notebook's kernel
        from IPython.display import display

        content, cell = {"text/plain": text}, get_ipython().execution_count
        if self._line[0] == cell:
            self._line[1].update(content, raw=True)
        else:
            _NotebookBar._line = (cell, display(content, raw=True, display_id=True))


class _FileBar(_OuterBar):
    """A small JSON file, replaced whole so that no reader sees half."""

    def __init__(self, *args: Any, target: str, **options: Any) -> None:
        self._target = None if target == os.devnull else Path(target)
        never = -float("inf")
        super().__init__(*args, last_report=never, interval=SECONDS_BETWEEN_WRITES, **options)

    def report(self, n: float) -> None:
        if self._target is None:
            return
        line = {
            "description": (self.desc or "").removesuffix(": "),
            "n": round(n, 2),
            "initial": self.initial,
            "total": self.total,
            "elapsed": self.format_dict["elapsed"],
        }
        temporary = self._target.with_name(f"{self._target.name}.{os.getpid()}.tmp")
        try:
            temporary.write_text(json.dumps(line) + "\n", encoding="utf-8")
            temporary.replace(self._target)
        except OSError:
            # A loop of an hour must not die because its progress could not be shown.
            self._target = None
