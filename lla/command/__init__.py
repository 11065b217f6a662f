"""The command line: fit, evaluate, topics, recommend, explore.

Only what a command needs is imported: no ``--help`` loads Torch.
"""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from lla.common.errors import InputError

ABOUT = """Train a Latent LSTM Allocation (Zaheer, Ahmed, Smola, 2017) on your own data, and use it.

A corpus is a folder that `python -m data_prep` made, or a text file with a document (or the history
of a user) on each line, its words (or items) separated by blanks, the earliest first."""
EXAMPLE = """example:
  python -m lla fit texts.txt --topics 50 --min-count 5 --output my_model
  python -m lla topics my_model
  python -m lla recommend my_model --history "the first words of a text"

COMMAND --help tells more. Errors are one line and exit status 2; after Ctrl-C (status 130) or
SIGTERM (143) the same command goes on where it stopped."""
COMMANDS = {  # what `--help` lists
    "fit": "train a model, and write it with a model card",
    "evaluate": "perplexity of held-out words, and how well next items are ranked",
    "topics": "the words of each topic, as text or CSV",
    "recommend": "the likeliest next items after a history",
    "explore": "one HTML page to look at the topics and to watch the model read",
}


class Parser(argparse.ArgumentParser):
    """Errors are one line, as those of everything else are."""

    def __init__(self, **options) -> None:
        super().__init__(
            **options, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
        )

    def error(self, message: str) -> NoReturn:
        """Raise InputError, for `run_main` to show."""
        raise InputError(f"{message} ({self.prog} --help tells more)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status.

    Parameters
    ----------
    arguments : without the program's name; by default those of this process

    Raises
    ------
    InputError
        When something given cannot be used.
    KeyboardInterrupt
        When the user stops it, with a line that says how to go on.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    logging.basicConfig(format="%(message)s")
    options = vars(_parser(arguments).parse_args(arguments))
    name = options.pop("command")
    module = import_module(f"lla.command.{'fit' if name == 'fit' else 'use'}")
    try:
        getattr(module, name)(**options)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads, such as `head`, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _parser(arguments: Sequence[str]) -> Parser:
    """All commands by name, and the options of the one that is wanted."""
    usage = "python -m lla COMMAND [options]"
    parser = Parser(prog="python -m lla", usage=usage, description=ABOUT, epilog=EXAMPLE)
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND ...", prog="python -m lla", required=True
    )
    wanted = next((word for word in arguments if not word.startswith("-")), None)
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary)
        if name == wanted:
            from lla.command.options import add_options

            add_options(command, name)
            command.set_defaults(command=name)
    return parser
