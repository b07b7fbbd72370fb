"""Settings: the only reader of `perhop.yaml` and of the environment.

`load` gives frozen values built from the core types; nothing below wiring sees them. Every problem of a file is told
at once, each with its line. Nothing here can be written that passes a caller's token on, gives several audiences, or
switches the audience check or the journal off; what weakens anything starts with `unsafe_`.
"""

from perhop.settings.load import check, check_start, expired, load, load_with_expired, render, show
from perhop.settings.problems import Problem
from perhop.settings.reference import Setting, describe, schema
from perhop.settings.values import Address, Listen, Settings

__all__ = [
    "Address",
    "Listen",
    "Problem",
    "Setting",
    "Settings",
    "check",
    "check_start",
    "describe",
    "expired",
    "load",
    "load_with_expired",
    "render",
    "schema",
    "show",
]
