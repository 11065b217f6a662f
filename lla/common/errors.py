"""Errors a user can cause, and how a command line shows them: one line, never a traceback."""

import errno
import math
import numbers
import sys
from collections.abc import Callable, Mapping
from typing import Any, NoReturn


class InputError(ValueError):
    """Something the user gave cannot be used; the message names it, its value and the remedy."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(str(message).split()))


def check_integer(name: str, value: object, least: int = 1) -> None:
    """Raise InputError unless `value` is an integer ≥ `least`."""
    if not isinstance(value, numbers.Integral) or isinstance(value, bool):
        raise InputError(f"{name} is {value!r}: give a whole number, {least} or more")
    if value < least:
        raise InputError(f"{name} is {value}: give {least} or more")


def check_positive(name: str, value: object) -> None:
    """Raise InputError unless `value` is a finite number above 0."""
    if not isinstance(value, numbers.Real) or not 0 < value < math.inf:  # type: ignore[operator]
        raise InputError(f"{name} is {value}: give a number above 0")


def check_not_negative(name: str, value: object) -> None:
    """Raise InputError unless `value` is a finite number, 0 or more."""
    if not isinstance(value, numbers.Real) or not 0 <= value < math.inf:  # type: ignore[operator]
        raise InputError(f"{name} is {value}: give a number, 0 or more")


def without_legacy(options: Mapping[str, Any], legacy: Mapping[str, object]) -> dict[str, Any]:
    """Options as an earlier version wrote them, without those that no longer exist.

    Parameters
    ----------
    legacy : what each of these did by default, which is what is still done

    Raises
    ------
    InputError
        When one of them has another value: nothing does that any more.
    """
    for name, value in legacy.items():
        if name in options and options[name] != value:
            raise InputError(
                f"{name} is {options[name]!r}: this version of lla can only do {value!r}; "
                "use the version that wrote it"
            )
    return {name: value for name, value in options.items() if name not in legacy}


def disk_full(error: OSError) -> InputError:
    """The one line for a full disk, naming the file that could not be written.

    Parameters
    ----------
    error : OSError
        An error whose ``errno`` is ``ENOSPC`` or ``EDQUOT``.
    """
    return InputError(
        f"{error.filename or 'a file'}: no space left on the disk; free some space, then run the "
        "same command again"
    )


def is_disk_full(error: OSError) -> bool:
    """Whether `error` says that the disk, or the user's share of it, is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def run_main(main: Callable[[], int | None]) -> NoReturn:
    """Run a command line and leave with its exit status.

    Parameters
    ----------
    main : callable
        Returns the exit status, ``None`` for 0.

    Notes
    -----
    `InputError` and a full disk print ``error: MESSAGE`` and exit with 2; Ctrl-C prints how to go
    on (the exception's own message when it has one) and exits with 130. Anything else is a defect
    of ours and keeps its traceback.
    """
    try:
        status = main() or 0
    except InputError as error:
        status = _say(f"error: {error}", 2)
    except KeyboardInterrupt as stop:
        # A terminal has just shown "^C" at the start of the line.
        start = "\n" if sys.stderr.isatty() else ""
        status = _say(f"{start}{str(stop) or 'stopped; the same command resumes'}", 130)
    except OSError as error:
        if not is_disk_full(error):
            raise
        status = _say(f"error: {disk_full(error)}", 2)
    sys.exit(status)


def _say(line: str, status: int) -> int:
    print(line, file=sys.stderr, flush=True)
    return status
