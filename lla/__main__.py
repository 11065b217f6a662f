"""``python -m lla``: train a model on one's own data, and use it."""

from lla.command import main
from lla.common.errors import run_main

if __name__ == "__main__":
    run_main(main)
