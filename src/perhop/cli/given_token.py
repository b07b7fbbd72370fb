"""A token as a person gives it to a command: by its id, pasted whole, or on stdin."""

from __future__ import annotations

import sys

from perhop.cli.output import say

METAVAR = "JTI|TOKEN|-"


def read_token(given: str) -> str:
    """What was given, or what stands on stdin for `-`, which keeps a token out of a shell's history."""
    if given == "-" and sys.stdin.isatty():
        say("Paste the token, then press Ctrl-D.")
    return (sys.stdin.read() if given == "-" else given).strip()


def read_token_id(given: str) -> str:
    """The id to look up records by. A whole token is not verified: one that expired, or was forged, is looked up too.

    What is neither is given back as it is, for the records to know nothing of.
    """
    from perhop.tokens.inspect import claimed_jti

    name = read_token(given)
    return claimed_jti(name) or name
