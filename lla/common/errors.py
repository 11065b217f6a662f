"""Errors a user can cause, and how a command line shows them: one line, never a traceback."""

import errno
import math
import numbers
import os
import reprlib
import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn

LARGEST = 2**31 - 1  # counts and sizes are 32-bit integers in places
LARGEST_EXACT = 2**53  # whole numbers up to here are floats without rounding
LARGEST_NUMBER = 1e30  # what 32 bits hold, with room for sums
LONGEST_LINE = 1500  # characters of a message
SMALLEST_PRIOR = 1e-20
HOW_TO_MAKE = {  # what an argument must be, and how one comes by it
    "Split": ", such as lla.split_corpus(corpus) returns",
    "Corpus": ", such as lla.load_corpus reads",
    "SEMConfig": ", such as lla.SEMConfig(n_topics=20)",
    "LDAConfig": ", such as lla.LDAConfig(n_topics=20)",
    "Iterable": ", such as a list",
    "Model": ", such as lla.fit_sem returns",
    "Workers": ", such as lla.inference.distributed.torchrun_workers() gives",
}


class InputError(ValueError):
    """Something the user gave cannot be used; the message names it, its value and the remedy."""

    def __init__(self, message: str) -> None:
        # Names of files may hold bytes that are no UTF-8; whatever shows the line must be able to.
        text = str(message).encode("utf-8", "backslashreplace").decode("utf-8")
        line = " ".join(text.split())
        if len(line) > LONGEST_LINE:  # it quotes what it should describe; its remedy is at the end
            line = f"{line[: LONGEST_LINE - 300]} ... {line[-295:]}"
        super().__init__(line)


class NumericalError(InputError, FloatingPointError):
    """Numbers that are not finite: training diverged, or a model rules out what it is given."""


def diverged(learning_rate: float, what: str = "") -> NumericalError:
    """The error of a training that has diverged; `what` is the number that shows it."""
    shown = f": {what}" if what else ""
    return NumericalError(
        f"training diverged{shown} at learning_rate={learning_rate}; give a smaller learning_rate"
    )


def check_integer(name: str, value: object, least: int = 1, most: int | None = LARGEST) -> int:
    """`value` as a Python integer.

    Raises
    ------
    InputError
        Unless it is a whole number in these limits; a bool is none, NumPy's integers are.
    """
    if not isinstance(value, numbers.Integral) or isinstance(value, bool):
        raise InputError(f"{name} is {describe(value)}: give a whole number, {least} or more")
    number = int(value)
    if number < least:
        raise InputError(f"{name} is {describe(number)}: give {least} or more")
    if most is not None and number > most:
        raise InputError(f"{name} is {describe(number)}: give {most} or less")
    return number


def check_seed(value: object, name: str = "seed") -> int:
    """`value` as a Python integer; raise InputError unless it is a whole number, 0 or more."""
    return check_integer(name, value, least=0, most=None)


def check_number(name: str, value: object, wanted: str = "a number") -> float:
    """`value`, NumPy's as Python's; raise InputError unless it is a finite number and no bool.

    Integers that a float may not hold exactly become one: kernels take none of any size.
    """
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        with suppress(OverflowError):
            number = float(value)
            if math.isfinite(number):
                if isinstance(value, int) and abs(value) <= LARGEST_EXACT:
                    return value
                return number
    raise InputError(f"{name} is {describe(value)}: give {wanted}")


def check_positive(name: str, value: object, most: float = LARGEST_NUMBER) -> float:
    """`value`; raise InputError unless it is a number above 0, and `most` or less."""
    number = check_number(name, value, "a number above 0")
    if number <= 0:
        raise InputError(f"{name} is {describe(value)}: give a number above 0")
    if number > most:
        raise InputError(f"{name} is {describe(value)}: give {most:.0e} or less")
    return number


def check_not_negative(name: str, value: object) -> float:
    """`value`; raise InputError unless it is a finite number, 0 or more."""
    number = check_number(name, value, "a number, 0 or more")
    if number < 0:
        raise InputError(f"{name} is {describe(value)}: give a number, 0 or more")
    return number


def check_prior(name: str, value: object, most: float = LARGEST_NUMBER) -> float:
    """`value`; raise InputError unless it can be the parameter of a Dirichlet prior."""
    number = check_positive(name, value, most)
    if number < SMALLEST_PRIOR:
        raise InputError(
            f"{name} is {describe(value)}: give {SMALLEST_PRIOR} or more; probabilities that "
            "follow from a smaller one are 0 in 32 bits"
        )
    return number


def check_share(name: str, value: object) -> float:
    """`value`; raise InputError unless it is a number from 0 to below 1."""
    number = check_number(name, value, "a share from 0 to below 1")
    if not 0 <= number < 1:
        raise InputError(f"{name} is {describe(value)}: give a share from 0 to below 1")
    return number


def check_flag(name: str, value: object) -> bool:
    """`value` as a Python bool; raise InputError unless it is True or False, also NumPy's."""
    if isinstance(value, bool):
        return value
    if str(getattr(value, "dtype", "")) == "bool" and getattr(value, "ndim", 1) == 0:
        return bool(value)
    raise InputError(f"{name} is {describe(value)}: give True or False")


def check_choice(name: str, value: object, choices: Collection[str]) -> str:
    """`value`; raise InputError unless it is one of these texts."""
    if not isinstance(value, str) or value not in choices:
        raise InputError(f"{name} is {describe(value)}: choose one of {', '.join(choices)}")
    return value


def check_each(config: object, check: Callable[..., Any], *names: str, **limits: Any) -> None:
    """Check these fields of a frozen configuration; NumPy's numbers become Python's.

    Parameters
    ----------
    check : called as ``check(name, value, **limits)``; what it returns is stored
    """
    for name in names:
        object.__setattr__(config, name, check(name, getattr(config, name), **limits))


def optional(check: Callable[..., Any]) -> Callable[..., Any]:
    """The same check, which also lets None pass."""

    def check_if_given(name: str, value: object, **limits: Any) -> Any:
        return None if value is None else check(name, value, **limits)

    return check_if_given


def check_instance(name: str, value: object, kind: type) -> None:
    """Raise InputError unless `value` is of this class; the message says what makes one."""
    if not isinstance(value, kind):
        how = HOW_TO_MAKE.get(kind.__name__, "")
        wanted = "a text" if kind is str else _an(kind.__name__)
        raise InputError(f"{name} is {describe(value)}: give {wanted}{how}")


def check_function(name: str, value: object) -> None:
    """Raise InputError unless `value` can be called."""
    if not callable(value):
        raise InputError(f"{name} is {describe(value)}: give a function")


def check_callback(name: str, value: object) -> None:
    """Raise InputError unless `value` is None or can be called."""
    if value is not None and not callable(value):
        raise InputError(f"{name} is {describe(value)}: give a function, or leave it out")


def check_options(options: Mapping[str, Any], kind: type) -> None:
    """Raise InputError if there are options that this class of configuration lacks."""
    known = [field.name for field in fields(kind)]
    if unknown := [name for name in options if name not in known]:
        raise InputError(f"{unknown[0]} is no option of {kind.__name__}: {', '.join(known)} are")


def check_list(name: str, values: Any, wanted: str = "a list") -> tuple[Any, ...]:
    """`values` as a tuple; raise InputError unless they come one after the other."""
    try:
        if not isinstance(values, (str, bytes)):
            return tuple(values)
    except TypeError:  # also an array of no dimension, which is Iterable
        pass
    raise InputError(f"{name} is {describe(values)}: give {wanted}")


def check_text(name: str, value: object) -> str:
    """`value`; raise InputError unless it is a text."""
    if not isinstance(value, str):
        raise InputError(f"{name} is {describe(value)}: give text, such as {str(value)[:20]!r}")
    return value


def check_texts(name: str, values: Any) -> tuple[str, ...]:
    """`values` as a tuple; raise InputError unless they are texts, or a text of single letters."""
    texts = (
        tuple(values) if isinstance(values, str) else check_list(name, values, "a list of texts")
    )
    for text in texts:
        if not isinstance(text, str):
            raise InputError(f"{name} holds {describe(text)}: give a list of texts")
    return texts


def check_path(name: str, value: object) -> Path:
    """`value` as a path, ``~`` replaced; raise InputError unless it is a text or a path."""
    if not isinstance(value, (str, os.PathLike)) or not isinstance(os.fspath(value), str):
        raise InputError(f"{name} is {describe(value)}: give the name of a file or folder")
    text = os.fspath(value)
    if not text or "\0" in text:
        raise InputError(f"{name} is {describe(text)}: give the name of a file or folder")
    try:
        return Path(text).expanduser()
    except RuntimeError:  # a file that only begins with a tilde
        return Path(text)


def check_development(split: Any) -> None:
    """Raise InputError unless a development document has a held-out word.

    Parameters
    ----------
    split : a `lla.corpus.Split`
    """
    n_held_out, development = split.n_held_out, split.development
    if n_held_out[development].any():
        return
    if not n_held_out.any():
        raise InputError(
            "split: no document has a held-out word to decide when to stop; give documents of 3 "
            "words or more, or split_corpus a smaller observed part"
        )
    if len(development) == 1:  # which is reported; split_corpus can set none aside
        raise InputError(
            "split: its only document is reported, and none is left to decide when to stop; give "
            "two documents or more"
        )
    if not development.any():
        raise InputError(
            "development: this split has no document to decide when to stop; give split_corpus a "
            "development part, such as 0.1"
        )
    raise InputError(
        f"development: none of its {int(development.sum())} documents has a held-out word to "
        "decide when to stop; give split_corpus a larger development part, or another seed"
    )


def describe(value: object) -> str:
    """A value in a message: numbers and texts as written, anything else by its class."""
    if isinstance(value, str):
        return reprlib.repr(str(value))  # NumPy's texts, too
    if value is None or isinstance(value, (bytes, bool)):
        return reprlib.repr(value)
    if isinstance(value, numbers.Number):
        try:
            return str(value)
        except ValueError:  # Python writes no integer of more than some thousand digits
            return "a number of thousands of digits"
    if isinstance(value, type):
        return f"the class {value.__name__} itself"
    return _an(type(value).__name__)


def _an(name: str) -> str:
    """A name with its article."""
    letters = "AEFHILMNORSX" if name[:2].isupper() else "AEIOU"
    return f"{'an' if name[0].upper() in letters else 'a'} {name}"


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
        One of which `is_disk_full` is true.
    """
    if error.errno == errno.EFBIG:
        reason = "larger than this disk or this account allows"
        remedy = "raise the limit (ulimit -f) or name another disk"
    else:
        reason, remedy = "no space left on the disk", "free some space"
    return InputError(
        f"{error.filename or 'a file'}: {reason}; {remedy}, then run the same command again"
    )


def is_disk_full(error: OSError) -> bool:
    """Whether `error` says that the disk, the user's share of it, or a file has reached its end."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def run_main(main: Callable[[], int | None]) -> NoReturn:
    """Run a command line and leave with its exit status.

    Parameters
    ----------
    main : callable
        Returns the exit status, ``None`` for 0.

    Notes
    -----
    `InputError` and a full disk print ``error: MESSAGE`` and exit with 2; Ctrl-C prints how to go
    on (the exception's own message when it has one) and exits with 130, SIGTERM likewise with 143.
    Anything else is a defect of ours and keeps its traceback.
    """
    with _termination() as terminated:
        try:
            status = main() or 0
        except InputError as error:
            status = _say(f"error: {error}", 2)
        except KeyboardInterrupt as stop:
            # CPython ends by SIGINT, whatever the status, after an interrupt that passed through an
            # `exec` of text, such as that of a dataclass; the next `exec` takes that back.
            exec("")
            # A terminal has just shown "^C" at the start of the line.
            start = "\n" if sys.stderr.isatty() and not terminated else ""
            line = f"{start}{str(stop) or 'stopped; the same command resumes'}"
            status = _say(line, 143 if terminated else 130)
        except OSError as error:
            if not is_disk_full(error):
                raise
            status = _say(f"error: {disk_full(error)}", 2)
    sys.exit(status)


@contextmanager
def _termination() -> Iterator[list[int]]:
    """Turn SIGTERM into `KeyboardInterrupt`, once; the list is no longer empty then."""
    received: list[int] = []

    def stop(number: int, _: object) -> None:
        signal.signal(number, signal.SIG_IGN)  # what is being put away is left to its end
        if received:
            return
        received.append(number)
        raise KeyboardInterrupt

    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield received  # somebody else handles it, or it is to be ignored
        return
    signal.signal(signal.SIGTERM, stop)
    try:
        yield received
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _say(line: str, status: int) -> int:
    with suppress(OSError):  # a log on a full disk
        print(line, file=sys.stderr, flush=True)
    return status
