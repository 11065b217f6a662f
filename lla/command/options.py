"""The options of every command. Loads no Torch, so that ``--help`` answers at once."""

import argparse
from collections.abc import Callable
from pathlib import Path

from lla.topics.words import ORDERS

ABOUT = """Train a model, and write it with a model card.

LDA finds topics to start from; stochastic EM trains the LSTM and the topics jointly; the held-out
part of the documents is scored, beside LDA and the unigram."""
EXAMPLE = """examples:
  python -m lla fit texts.txt --topics 100 --min-count 5 --output my_model
  python -m lla fit my_corpus --model word_lla --no-joint --seed 3 --output independent
  python -m lla fit my_corpus --config settings.yaml --hidden-size 200 --output larger
where settings.yaml has lines such as
  n_topics: 20
  emission: personal
  learning_rate: 0.01
  batch_size: 16
  initial_epochs: 3
  lda: {n_sweeps: 500, alpha: 0.5}
which suit some hundred histories of users; the defaults suit ten thousand documents and more. The
model card of a model ends with all its settings, as such a file.

several processes, on one machine or more:
  torchrun --nproc-per-node 4 -m lla fit my_corpus --n-shards 4 --lda-n-shards 4 --output my_model
The same settings give the same model on 1, 2 or 4 processes, and in one without torchrun. As many
processes as --n-shards share the M-step, as --lda-n-shards LDA's sparse sampler; LDA of fewer than
100 topics is drawn by every process alike. All read CORPUS and MODEL.unfinished, and the first
writes: on several machines both are in folders that all can read. If a process dies all end, and
the same command goes on from the last checkpoint. With --device cuda each has a GPU of its own."""


def add_options(command: argparse.ArgumentParser, name: str) -> None:
    """Add those of a command to its parser."""
    if name != "fit":
        command.add_argument("model", metavar="MODEL", help="folder that python -m lla fit wrote")
    OPTIONS[name](command)


def _fit_options(command: argparse.ArgumentParser) -> None:
    from lla.command.settings import add_flags  # here: Numba, which LDA's settings load

    command.description, command.epilog = ABOUT, EXAMPLE
    command.usage = "python -m lla fit CORPUS --output MODEL [options]"
    command.add_argument(
        "corpus", metavar="CORPUS", help="a corpus folder, or a text file, a document per line"
    )
    command.add_argument("--output", required=True, metavar="MODEL", help="folder of the model")
    command.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="options in YAML; flags take precedence (default: none)",
    )
    command.add_argument(
        "--overwrite",
        action="store_true",
        help="replace another model in MODEL, and checkpoints of other settings (default: refuse)",
    )
    command.add_argument(
        "--threads",
        type=int,
        metavar="N",
        help="threads of each process; results do not depend on it (default: LLA_THREADS, else all "
        "cores, shared by the processes of torchrun)",
    )
    command.add_argument(
        "--device", metavar="NAME", help="device of Torch, such as cuda (default: the CPU)"
    )
    command.add_argument(
        "--about", default="", metavar="TEXT", help="first lines of the model card (default: none)"
    )
    add_flags(command.add_argument_group("corpus, seed and scores"), "run")
    add_flags(command.add_argument_group("the model, and stochastic EM"), "")
    add_flags(command.add_argument_group("LDA, where topics start"), "lda")
    add_flags(command.add_argument_group("characters, for char_lla and char_lstm"), "characters")


def _evaluate_options(command: argparse.ArgumentParser) -> None:
    command.description = """Perplexity of held-out words, and how well next items are ranked.

Of the corpus that the model was trained on, the same words are held out as then; of another one,
the last two fifths of each document. Words that the model does not know are left out."""
    command.epilog = """examples:
  python -m lla evaluate my_model
  python -m lla evaluate my_model other_texts.txt --ranking --cutoffs 1 10"""
    _add_corpus(command)
    command.add_argument(
        "--ranking", action="store_true", help="recall, NDCG and MRR of next items, too"
    )
    command.add_argument(
        "--cutoffs",
        type=int,
        nargs="+",
        default=[5, 10, 20],
        metavar="K",
        help="ranks at which recall and NDCG are cut (default: 5 10 20)",
    )
    command.add_argument(
        "--observed",
        type=float,
        metavar="X",
        help="part of each document that is not scored, of another corpus (default: 0.6)",
    )
    _add_draws(command, seed="that of the fit")


def _topics_options(command: argparse.ArgumentParser) -> None:
    command.description = "The words of each topic, the largest topic first."
    command.epilog = """examples:
  python -m lla topics my_model --words 5
  python -m lla topics my_model --by relevance --csv topics.csv"""
    command.add_argument(
        "--words", type=int, default=10, metavar="N", help="words per topic (default: 10)"
    )
    command.add_argument(
        "--by",
        default="probability",
        metavar="ORDER",
        help=f"order of the words: {', '.join(ORDERS)}; lift is p(word | topic) / p(word), "
        "relevance lies between (default: probability)",
    )
    command.add_argument(
        "--relevance",
        type=float,
        default=0.6,
        metavar="X",
        help="λ of --by relevance: 1 is the order of probability, 0 that of lift (default: 0.6)",
    )
    command.add_argument(
        "--min-count",
        type=float,
        default=5,
        metavar="X",
        help="for lift and relevance: words with fewer tokens in a topic follow all others "
        "(default: 5)",
    )
    command.add_argument(
        "--csv",
        dest="table",
        metavar="FILE",
        help="write a row per topic and word; a word that a spreadsheet would take for a formula "
        "has an apostrophe before it (default: print text)",
    )


def _recommend_options(command: argparse.ArgumentParser) -> None:
    command.description = """The likeliest next items after a history, each with its probability.

Without --history, each line of the standard input is one; its number stands before its items."""
    command.epilog = """examples:
  python -m lla recommend my_model --history "milk bread milk" -n 5
  python -m lla recommend my_model --exclude-seen < histories.txt
  python -m lla recommend my_model --separator , --history "oat milk,rye bread" """
    command.add_argument(
        "--history",
        metavar="ITEMS",
        help='items, the earliest first; "" is a new user (default: lines of the standard input)',
    )
    command.add_argument(
        "-n", type=int, default=10, dest="n", metavar="N", help="items wanted (default: 10)"
    )
    command.add_argument(
        "--separator",
        metavar="C",
        help="what stands between items (default: blanks; a text is read as the corpus was)",
    )
    command.add_argument(
        "--exclude-seen", action="store_true", help="leave out items of the history (default: no)"
    )
    _add_draws(command, seed="0", threads=False)


def _explore_options(command: argparse.ArgumentParser) -> None:
    command.description = """One HTML page: the topics, how they follow one another, and the model
as it reads documents and forecasts. It opens from the disk and loads nothing else."""
    command.epilog = """examples:
  python -m lla explore my_model --output page.html
  python -m lla explore my_model other_texts.txt --output page.html --title "Other texts" """
    _add_corpus(command)
    command.add_argument(
        "--output", required=True, metavar="FILE", help="file of the page, such as page.html"
    )
    command.add_argument(
        "--title", default="", metavar="TEXT", help="title of the page (default: a general one)"
    )


def _add_corpus(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "corpus",
        nargs="?",
        metavar="CORPUS",
        help="a corpus folder, or a text file (default: the one that the model was trained on)",
    )


def _add_draws(command: argparse.ArgumentParser, seed: str, threads: bool = True) -> None:
    command.add_argument(
        "--particles",
        type=int,
        default=16,
        metavar="N",
        help="topic histories carried; more reduce the sampling error (default: 16)",
    )
    command.add_argument(
        "--seed", type=int, metavar="N", help=f"seed of the draws (default: {seed})"
    )
    if threads:
        command.add_argument(
            "--threads",
            type=int,
            metavar="N",
            help="threads; results do not depend on it (default: LLA_THREADS, else all cores)",
        )


OPTIONS: dict[str, Callable[[argparse.ArgumentParser], None]] = {
    "fit": _fit_options,
    "evaluate": _evaluate_options,
    "topics": _topics_options,
    "recommend": _recommend_options,
    "explore": _explore_options,
}
