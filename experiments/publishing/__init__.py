"""A run becomes the committed results of its profile, or is added to them: for maintainers."""

from experiments.publishing.runs import add_run, main, publish_run

__all__ = ["add_run", "main", "publish_run"]
