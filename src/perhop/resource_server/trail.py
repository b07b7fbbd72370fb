"""The trail of one request at a guard: what its report will say. Every step returns a new trail.

INVARIANT: a trail holds no token; of one whose signature did not hold, only a digest.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from perhop.core.call import Headers
from perhop.core.resource import ResourceUri
from perhop.core.token import VerifiedToken
from perhop.errors import Refused, SenderMismatch, TokenExpired, Unavailable
from perhop.journal.canonical import format_time
from perhop.journal.record import CallFacts, Event, Inbound, RequestFacts
from perhop.journal.report import MAX_TEXT, MAX_USER_AGENT, UNREAD, Report
from perhop.rules.mcp_message import Message
from perhop.rules.trace_context import TRACEPARENT, call_id_in

MAX_ADDRESS = 64
"""Characters: those of an IPv6 address with its zone, and then some."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trail:
    """What is known so far. `address` is who connected: behind a gateway, the gateway. `raw` is never kept."""

    resource: ResourceUri
    headers: Headers
    address: str | None = None
    digest: str | None = None
    caller: VerifiedToken | None = None
    is_bound: bool = False
    method: str = UNREAD
    name: str | None = None
    revision: str | None = None

    @classmethod
    def of(
        cls,
        resource: ResourceUri,
        headers: Headers,
        address: str | None,
        caller: VerifiedToken | None = None,
        *,
        is_bound: bool = False,
    ) -> Trail:
        """The trail of a request that is not read yet. Who connected may be any text, where a proxy tells it: cut, so
        that the report is one that the journal takes."""
        known = address[:MAX_ADDRESS] or None if address is not None else None
        return cls(resource=resource, headers=headers, address=known, caller=caller, is_bound=is_bound)

    def presenting(self, raw: str | None) -> Trail:
        """A token came, or none; until its signature holds, its digest is all there is to say."""
        if raw is None:
            return self
        return replace(self, digest=hashlib.sha256(raw.encode("utf-8", "replace")).hexdigest())

    def bound(self) -> Trail:
        """It is addressed to this server."""
        return replace(self, is_bound=True)

    def asking(self, message: Message) -> Trail:
        """The message is understood. Of its arguments nothing is kept."""
        name = message.targets[0].name if message.targets else ""
        return replace(self, method=message.method, name=name[:MAX_TEXT] or None, revision=message.revision)

    def with_method(self, http_method: str) -> Trail:
        """A request of the application's own, which is no MCP message."""
        return replace(self, method=http_method[:MAX_TEXT])

    def admitted(self, *, clock: Callable[[], float] = time.time) -> Report:
        """The request may be served."""
        assert self.caller is not None
        return self._report(Event.CALL_ADMITTED, Inbound.of(self.caller), None, clock())

    def refused(self, fact: Refused | Unavailable, *, clock: Callable[[], float] = time.time) -> Report:
        """It may not."""
        key = fact.key if isinstance(fact, SenderMismatch) else None
        return self._report(Event.CALL_REFUSED, self._inbound(fact), fact.reason, clock(), sender_key=key)

    def call_id(self) -> str:
        """The gateway's id of this call where it sent one, else one of our own."""
        token = self.caller
        traceparent = next((value for name, value in self.headers if name == TRACEPARENT), "")
        sent = call_id_in(traceparent, token.txn or token.jti) if token is not None else None
        return sent or secrets.token_hex(8)

    def _inbound(self, fact: Refused | Unavailable) -> Inbound | None:
        if self.caller is not None:
            return Inbound.of(self.caller)
        if isinstance(fact, TokenExpired) and fact.jti is not None:
            return Inbound(jti=fact.jti)  # its signature held
        return Inbound(unverified=self.digest) if self.digest is not None else None

    def _report(
        self, event: Event, inbound: Inbound | None, reason: str | None, now: float, *, sender_key: str | None = None
    ) -> Report:
        agent = next((value for name, value in self.headers if name == "user-agent"), None)
        return Report(
            id=secrets.token_hex(16),
            time=format_time(now),
            event=event,
            resource=self.resource,
            txn=self.caller.txn if self.caller is not None else None,
            hop=self.caller.hop if self.caller is not None else None,
            reason=reason,
            inbound=inbound,
            call=CallFacts(id=self.call_id(), method=self.method, name=self.name, revision=self.revision),
            request=RequestFacts(
                ip=self.address, user_agent=agent[:MAX_USER_AGENT] if agent else None, sender_key=sender_key
            ),
        )
