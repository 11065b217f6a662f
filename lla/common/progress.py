"""Progress of a long loop: a bar for people, a line in a file for the runner, which shows it."""

import io
import json
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

from tqdm.auto import tqdm as auto_bar
from tqdm.std import tqdm as plain_bar

SECONDS_BEFORE_A_BAR = 3.0


SECONDS_BETWEEN_WRITES = 0.5


def progress(
    iterable: Iterable[Any] | None = None,
    *,
    total: float | None = None,
    initial: float = 0,
    description: str = "",
    unit: str = "it",
) -> plain_bar:
    """Wrap a loop so that whoever waits for it sees how far it is.

    Parameters
    ----------
    iterable : iterable, optional
        What the loop runs over; without it, call ``update`` on the returned bar.
    total : float, optional
        Number of steps; taken from ``len(iterable)`` when it has one.
    initial : float
        Steps done before this start; the time left is reckoned from the others.
    description : str
        What is being done, in a few words.
    unit : str
        What one step is, such as ``"document"``.

    Returns
    -------
    tqdm
        A bar that appears after a few seconds and leaves nothing behind. Where the environment
        variable ``LLA_PROGRESS`` names a file, nothing is shown: the file then holds one JSON
        line of ``description``, ``n``, ``initial``, ``total`` and ``elapsed`` (seconds).
        ``LLA_PROGRESS=/dev/null`` is plain silence.
    """
    options = {"total": total, "initial": initial, "desc": description, "unit": unit}
    options["leave"] = False
    if target := os.environ.get("LLA_PROGRESS"):
        return _FileBar(iterable, target=target, **options)
    return auto_bar(iterable, delay=SECONDS_BEFORE_A_BAR, **options)


class _FileBar(plain_bar):
    """A bar whose display is a small JSON file, replaced whole so that no reader sees half.

    Of loops within loops the file tells of the outermost, which knows how long is left; an inner
    loop counts as the part of a step that it has done.
    """

    # No watching thread: a loop that stands still has nothing new to tell.
    monitor_interval = 0
    _open: ClassVar[list["_FileBar"]] = []

    def __init__(self, *args: Any, target: str, **options: Any) -> None:
        self._target = None if target == os.devnull else Path(target)
        self._last_write = -float("inf")
        self._open.append(self)
        super().__init__(*args, file=io.StringIO(), mininterval=SECONDS_BETWEEN_WRITES, **options)

    def display(self, *_: Any, **__: Any) -> bool:
        """Write the state of the outermost loop, at most twice a second."""
        now = time.monotonic()
        if self._target is None or now - self._last_write < SECONDS_BETWEEN_WRITES:
            return True
        self._last_write = now
        outer = self._open[0] if self._open else self
        part = min(self.n / self.total, 1.0) if outer is not self and self.total else 0.0
        line = {
            "description": (outer.desc or "").removesuffix(": "),
            "n": round(outer.n + part, 2),
            "initial": outer.initial,
            "total": outer.total,
            "elapsed": outer.format_dict["elapsed"],
        }
        temporary = self._target.with_name(f"{self._target.name}.{os.getpid()}.tmp")
        try:
            temporary.write_text(json.dumps(line) + "\n", encoding="utf-8")
            temporary.replace(self._target)
        except OSError:
            # A loop of an hour must not die because its progress could not be shown.
            self._target = None
        return True

    def close(self) -> None:
        """End the bar; the last line stays until the next loop writes its own."""
        if self in self._open:
            self._open.remove(self)
        self.disable = True
        super().close()
