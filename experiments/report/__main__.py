"""The command ``python -m experiments.report``."""

from experiments.report.pages import main
from lla.common.errors import run_main

run_main(main)
