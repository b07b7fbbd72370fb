"""The operator: who carries out a command, as the journal names them."""

from __future__ import annotations

import os
import pwd


def by_operator() -> str:
    """The operating system's user under whom this process runs."""
    try:
        return f"operator:{pwd.getpwuid(os.getuid()).pw_name}"
    except KeyError:  # in a container nobody may have named the user
        return f"operator:{os.getuid()}"
