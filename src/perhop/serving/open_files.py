"""Open files: every connection is one, and a call is a second one towards its upstream."""

from __future__ import annotations

import logging
import resource

from perhop.serving.listeners import MAX_CONNECTIONS

FILES_OF_A_CONNECTION = 2
OTHER_FILES = 256
"""Databases, the journal, local servers, exports and listeners."""
FEW_CONNECTIONS = 5_000
"""Below this the log warns; more is enough for most, and only noted."""

_log = logging.getLogger("perhop")


def room_for_connections() -> int:
    """Raise our limit of open files to what is needed, as far as the system lets us; returns for how many
    connections there is room then, at most `MAX_CONNECTIONS`.

    Systems give a process 1024 unless it asks. A file too many would fail whoever opens it, the journal too.
    """
    needed = FILES_OF_A_CONNECTION * MAX_CONNECTIONS + OTHER_FILES
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if _is_less(limit, needed):
        wanted = most if _is_less(most, needed) else needed
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
            limit = wanted
        except (OSError, ValueError) as error:
            _log.warning("the limit of open files stays at %d: %s", limit, error)
    if not _is_less(limit, needed):
        return MAX_CONNECTIONS
    room = max((limit - OTHER_FILES) // FILES_OF_A_CONNECTION, 1)
    level = logging.WARNING if room < FEW_CONNECTIONS else logging.INFO
    _log.log(level, "%d open files are allowed: there is room for %d connections, not %d", limit, room, MAX_CONNECTIONS)
    return room


def _is_less(limit: int, needed: int) -> bool:
    return limit != resource.RLIM_INFINITY and limit < needed
