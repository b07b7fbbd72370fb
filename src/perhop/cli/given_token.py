"""A token as a person gives it to a command: by its id, pasted whole, or on stdin."""

from __future__ import annotations

import sys

from perhop.cli.output import say
from perhop.errors import SettingsError
from perhop.rules.mentioned import mentioned

METAVAR = "JTI|TOKEN|-"

_LONG = 100
"""Characters. No id of ours has dots or comes near it, and with a part missing a token is longer still."""


def read_token(given: str) -> str:
    """What was given, or what stands on stdin for `-`, which keeps a token out of a shell's history.

    Raises: SettingsError
    """
    if given == "-" and sys.stdin.isatty():
        say("Paste the token, then press Ctrl-D.")
    name = (sys.stdin.read() if given == "-" else given).strip()
    # Taken for an id, it would stand in a record for good.
    if "." in name and name.count(".") != 2 and len(name) > _LONG:
        raise SettingsError(
            f"`{mentioned(name)}` is neither a token nor the id of one",
            advice="give its `jti`, or the token with all of its three parts and nothing else",
        )
    return name


def read_token_id(given: str) -> str:
    """The id to look up records by. A whole token is not verified: one that expired, or was forged, is looked up too.

    What is neither is given back as it is, for the records to know nothing of.

    Raises: SettingsError
    """
    from perhop.tokens.inspect import claimed_jti

    name = read_token(given)
    return claimed_jti(name) or name
