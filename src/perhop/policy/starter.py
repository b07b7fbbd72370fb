"""The policy that a new installation begins with."""

from __future__ import annotations

from importlib.resources import files

STARTER_FILE = "start.cedar"
"""The name it gets in the folder of policies."""


def load_starter_policy() -> str:
    """The text of the first policy file."""
    return files("perhop.policy").joinpath("starter.cedar").read_text(encoding="utf-8")
