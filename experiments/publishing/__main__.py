"""The command ``python -m experiments.publishing``."""

from experiments.publishing.runs import main
from lla.common.errors import run_main

run_main(main)
