"""Reading a fitted model."""

from lla.topics.explorer import explore

__all__ = ["explore"]
