"""Founding: what `perhop init` makes, and nothing else makes."""

from perhop.founding.found import Founded, found

__all__ = ["Founded", "found"]
