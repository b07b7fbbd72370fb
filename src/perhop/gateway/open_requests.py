"""Open requests: what servers have asked of clients and not been answered yet.

A client's JSON-RPC response goes on only to one of these. Kept in memory: after a restart an open request is gone, and
the server that asked it waits no longer than it would for a client that went away.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NewType

from perhop.rules.message import MAX_ID_LENGTH

SessionKey = NewType("SessionKey", tuple[str, ...])
"""Principal and session: what one client's open requests are kept under."""

MAX_SESSIONS = 10_000
MAX_OPEN = 1_000


class OpenRequests:
    """Ids of server requests by session; the least recently used sessions are forgotten first."""

    def __init__(self) -> None:
        self._open: OrderedDict[SessionKey, OrderedDict[str | int, None]] = OrderedDict()

    def opened(self, session: SessionKey, rpc_id: str | int) -> None:
        """The server has asked something, and the client is about to see it.

        An id that no answer of a client may bear is not kept: nothing comes back to it.
        """
        if isinstance(rpc_id, str) and len(rpc_id) > MAX_ID_LENGTH:
            return
        ids = self._open.setdefault(session, OrderedDict())
        self._open.move_to_end(session)
        ids[rpc_id] = None
        if len(ids) > MAX_OPEN:
            ids.popitem(last=False)
        if len(self._open) > MAX_SESSIONS:
            self._open.popitem(last=False)

    def is_open(self, session: SessionKey, rpc_id: str | int | None) -> bool:
        """True if this session's server waits for an answer to this id."""
        return rpc_id is not None and rpc_id in self._open.get(session, ())

    def answered(self, session: SessionKey, rpc_id: str | int | None) -> bool:
        """An answer goes on, and there is no second one; False if this request is not open."""
        ids = self._open.get(session)
        if ids is None or rpc_id is None or rpc_id not in ids:
            return False
        del ids[rpc_id]
        if not ids:
            del self._open[session]
        return True

    def ended(self, session: SessionKey) -> None:
        """The session is over."""
        self._open.pop(session, None)
