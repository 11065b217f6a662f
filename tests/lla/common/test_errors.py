"""What every argument is checked for: one line that names it, its value and the remedy."""

import errno
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from lla.common import errors
from lla.common.errors import LONGEST_LINE, InputError, run_main
from lla.corpus import Corpus, Split
from lla.lda import LDA, LDAConfig


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (0, "n is 0: give 1 or more"),
        (-3, "n is -3: give 1 or more"),
        (np.int64(0), "n is 0: give 1 or more"),
        (2**31, "n is 2147483648: give 2147483647 or less"),
        (10**30, f"n is {10**30}: give 2147483647 or less"),
        *(
            (value, f"n is {shown}: give a whole number, 1 or more")
            for value, shown in [
                (2.0, "2.0"),
                (math.nan, "nan"),
                (True, "True"),
                (np.bool_(True), "a bool"),
                ("3", "'3'"),
                (None, "None"),
                ([3], "a list"),
                (np.array([3]), "a ndarray"),
                (int, "the class int itself"),
            ]
        ),
    ],
)
def test_what_is_no_integer_of_the_range_is_refused(value, line):
    with pytest.raises(InputError) as caught:
        errors.check_integer("n", value)
    assert str(caught.value) == line


def test_a_number_that_python_does_not_write_is_refused():
    with pytest.raises(InputError, match=r"^n is a number of thousands of digits: give 21474836"):
        errors.check_integer("n", 10**9999)


@pytest.mark.parametrize("value", [7, np.int8(7), np.uint64(7)])
def test_an_integer_becomes_a_python_integer(value):
    assert type(errors.check_integer("n", value)) is int
    assert errors.check_integer("n", value) == errors.check_seed(value) == 7


@pytest.mark.parametrize("seed", [-1, np.int64(-1), 1.0, "1", None, True, math.nan, [1]])
def test_what_is_no_seed_is_refused(seed):
    with pytest.raises(InputError, match=r"^seed is .*: give (a whole number, )?0 or more$"):
        errors.check_seed(seed)


def test_a_seed_may_be_larger_than_a_size():
    assert errors.check_seed(2**70) == 2**70


NUMBERS = {
    errors.check_positive: ("x is {}: give a number above 0", [0, -1.0]),
    errors.check_not_negative: ("x is {}: give a number, 0 or more", [-1.0, -1e-9]),
    errors.check_share: ("x is {}: give a share from 0 to below 1", [-0.1, 1, 2.0]),
}


@pytest.mark.parametrize("check", NUMBERS)
def test_what_is_no_number_of_the_range_is_refused(check):
    line, values = NUMBERS[check]
    others = [("0.5", "'0.5'"), (None, "None"), (True, "True"), ((), "a tuple")]
    shown = [(value, str(value)) for value in (*values, math.nan, math.inf, -math.inf, 10**400)]
    for value, text in shown + others:
        with pytest.raises(InputError) as caught:
            check("x", value)
        assert str(caught.value) == line.format(text)


@pytest.mark.parametrize("value", [0.5, np.float32(0.5), np.float64(0.5), Fraction(1, 2)])
@pytest.mark.parametrize("check", NUMBERS)
def test_a_number_becomes_a_python_number(check, value):
    assert type(check("x", value)) is float and check("x", value) == 0.5


def test_a_prior_that_vanishes_in_32_bits_is_refused_as_too_small():
    assert errors.check_prior("beta", 1e-20) == 1e-20
    with pytest.raises(InputError, match=r"^beta is 1e-44: give 1e-20 or more; .* 0 in 32 bits$"):
        errors.check_prior("beta", 1e-44)
    with pytest.raises(InputError, match=r"^alpha is 1e\+20: give 1e\+10 or less$"):
        LDAConfig(alpha=1e20)
    with pytest.raises(InputError, match=r"^rate is 1e\+100: give 1e\+30 or less$"):
        errors.check_positive("rate", 1e100)
    with pytest.raises(InputError, match=r"^beta is 0: give a number above 0$"):
        errors.check_prior("beta", 0)


def test_flags_and_choices():
    assert errors.check_flag("f", np.bool_(False)) is False and errors.check_flag("f", True) is True
    for value in (0, 1, "False", None, np.array([True])):
        with pytest.raises(InputError, match=r"^f is .*: give True or False$"):
            errors.check_flag("f", value)
    assert errors.check_choice("c", "a", ("a", "b")) == "a"
    for value in ("d", "", 1, None, ["a"], np.array(["a", "b"])):
        with pytest.raises(InputError, match=r"^c is .*: choose one of a, b$"):
            errors.check_choice("c", value, ("a", "b"))


@dataclass(frozen=True)
class Example:
    size: object = 3
    rate: object = None

    def __post_init__(self):
        errors.check_each(self, errors.check_integer, "size")
        errors.check_each(self, errors.optional(errors.check_positive), "rate")


def test_a_configuration_keeps_python_numbers():
    made = Example(np.int16(200), np.float32(0.5))
    assert (type(made.size), type(made.rate)) == (int, float)
    assert made == Example(200, 0.5) and Example().rate is None
    with pytest.raises(InputError, match=r"^rate is 0: give a number above 0$"):
        Example(rate=0)
    with pytest.raises(InputError, match=r"^rte is no option of Example: size, rate are$"):
        errors.check_options({"rte": 1}, Example)


def test_an_instance_of_another_class_is_named():
    corpus = Corpus.from_documents([[0]], ["a"])
    line = "split is a Corpus: give a Split, such as lla.split_corpus(corpus) returns"
    with pytest.raises(InputError) as caught:
        errors.check_instance("split", corpus, Split)
    assert str(caught.value) == line
    with pytest.raises(InputError, match=r"^config is the class LDAConfig itself: give an LDAC"):
        errors.check_instance("config", LDAConfig, LDAConfig)
    with pytest.raises(InputError, match=r"^x is a dict: give an LDA$"):
        errors.check_instance("x", {}, LDA)


@pytest.mark.parametrize("value", [3, None, b"a", True, "", "a\0b", Path, ["a"]])
def test_what_is_no_path_is_refused(value):
    with pytest.raises(InputError, match=r"^file is .*: give the name of a file or folder$"):
        errors.check_path("file", value)


def test_a_path_may_begin_with_a_tilde(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert errors.check_path("file", "~/a") == errors.check_path("file", Path("~/a"))
    assert errors.check_path("file", "~/a") == tmp_path / "a"
    assert errors.check_path("file", "~nobody-of-this-name/a") == Path("~nobody-of-this-name/a")


def test_a_callback_can_be_called():
    errors.check_callback("on_iteration", None)
    errors.check_callback("on_iteration", print)
    with pytest.raises(InputError, match=r"^on_iteration is 3: give a function, or leave it out$"):
        errors.check_callback("on_iteration", 3)


def test_an_integer_too_long_for_a_kernel_becomes_a_float():
    beta = LDAConfig(n_topics=2, beta=10**30).beta
    assert isinstance(beta, float) and beta == 1e30
    assert type(errors.check_number("n", 2**53)) is int
    assert type(errors.check_number("n", 2**53 + 1)) is float


def exit_of(capsys, main):
    """The exit status of a command line, and what it printed to stderr."""
    with pytest.raises(SystemExit) as caught:
        run_main(main)
    return caught.value.code, capsys.readouterr().err


def test_sigterm_ends_as_ctrl_c_does_with_its_own_status(capsys):
    def wait(line=""):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        except KeyboardInterrupt:
            os.kill(os.getpid(), signal.SIGTERM)  # a second one lets the first be put away
            raise KeyboardInterrupt(line) from None

    assert exit_of(capsys, wait) == (143, "stopped; the same command resumes\n")
    stopped = "stopped; the same command goes on from m.unfinished"
    assert exit_of(capsys, lambda: wait(stopped)) == (143, f"{stopped}\n")
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL

    def interrupt():
        raise KeyboardInterrupt

    assert exit_of(capsys, interrupt) == (130, "stopped; the same command resumes\n")


def test_the_status_is_the_same_where_an_interrupt_comes_while_a_class_is_made(tmp_path):
    lines = [
        "from lla.common.errors import run_main",
        "run_main(lambda: exec('raise KeyboardInterrupt'))",  # as a dataclass's methods are made
    ]
    (tmp_path / "stopped.py").write_text("\n".join(lines))
    path = os.pathsep.join([str(Path(errors.__file__).parents[2]), str(tmp_path)])
    ended = subprocess.run(
        [sys.executable, "-m", "stopped"],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (130, "stopped; the same command resumes\n")


def test_sigterm_that_somebody_handles_is_left_to_them(capsys):
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        status, _ = exit_of(capsys, lambda: os.kill(os.getpid(), signal.SIGTERM))
        assert status == 0 and signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_file_that_is_larger_than_allowed_says_so(capsys):
    def write():
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), "m")

    status, err = exit_of(capsys, write)
    assert status == 2
    assert err == (
        "error: m: larger than this disk or this account allows; raise the limit (ulimit -f) or "
        "name another disk, then run the same command again\n"
    )


def test_a_message_that_quotes_a_whole_file_keeps_its_start_and_its_remedy():
    line = str(InputError(f"a.csv: {'x' * 10**6} is no number; write one"))
    assert len(line) == LONGEST_LINE and line.startswith("a.csv: xx")
    assert line.endswith("x is no number; write one")
