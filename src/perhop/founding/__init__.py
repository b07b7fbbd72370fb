"""Founding: what `perhop init` makes, and nothing else makes."""

from perhop.founding.found import FirstResource, Founded, found
from perhop.founding.told import AskServer, Told, ask_nobody, ask_server

__all__ = ["AskServer", "FirstResource", "Founded", "Told", "ask_nobody", "ask_server", "found"]
