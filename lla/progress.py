"""How far a long loop is: a bar for people, a line in a file for the runner."""

import io
import json
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm as auto_bar
from tqdm.std import tqdm as plain_bar

SECONDS_BEFORE_A_BAR = 3.0
SECONDS_BETWEEN_LINES = 0.5


def progress(
    iterable: Iterable[Any] | None = None,
    *,
    total: float | None = None,
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
    description : str
        What is being done, in a few words.
    unit : str
        What one step is, such as ``"document"``.

    Returns
    -------
    tqdm
        A bar that appears after a few seconds and leaves nothing behind. Where the environment
        variable ``LLA_PROGRESS`` names a file, nothing is shown: the file then holds one JSON line
        ``{"description", "n", "total", "elapsed"}``. ``LLA_PROGRESS=/dev/null`` is plain silence.
    """
    options = {"total": total, "desc": description, "unit": unit, "leave": False}
    if target := os.environ.get("LLA_PROGRESS"):
        return _FileBar(iterable, target=target, **options)
    return auto_bar(iterable, delay=SECONDS_BEFORE_A_BAR, **options)


class _FileBar(plain_bar):
    """A bar whose display is a small JSON file, replaced whole so that no reader sees half."""

    # No watching thread: a loop that stands still has nothing new to tell.
    monitor_interval = 0

    def __init__(self, *args: Any, target: str, **options: Any) -> None:
        self._target = None if target == os.devnull else Path(target)
        self._last_write = -float("inf")
        super().__init__(
            *args, file=io.StringIO(), mininterval=SECONDS_BETWEEN_LINES, **options
        )

    def display(self, *_: Any, **__: Any) -> bool:
        """Write the state, at most twice a second."""
        now = time.monotonic()
        if self._target is None or now - self._last_write < SECONDS_BETWEEN_LINES:
            return True
        self._last_write = now
        state = self.format_dict
        line = {
            "description": (self.desc or "").removesuffix(": "),
            "n": state["n"],
            "total": state["total"],
            "elapsed": state["elapsed"],
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
        self.disable = True
        super().close()
