"""The guard: headers and body in, Admitted or Challenge out. No framework; adapters are thin.

A token is checked as at the gateway, once more and by the same rules: authenticate -> bind audience -> sender ->
revocation -> message -> call. Scopes and policy are the application's.

Spec: RFC 6750 §2.1
Spec: RFC 8707 §2
Spec: RFC 9068 §4
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple
from urllib.parse import quote

import httpx2

from perhop.client.connections import Connections
from perhop.core.call import CallKind, Headers
from perhop.core.resource import Risk, SenderConstraint
from perhop.core.secret import Secret
from perhop.core.token import BoundToken, ProvedToken, VerifiedToken
from perhop.errors import (
    CallMismatch,
    HeadersTooLarge,
    Refused,
    RequestMalformed,
    ScopeInsufficient,
    TokenKeyUnknown,
    Unavailable,
)
from perhop.resource_server.arguments import checked_records, parse_issuers, parse_resource, parse_risk
from perhop.resource_server.asgi import AsgiApp, GuardedApp
from perhop.resource_server.known_tokens import KnownTokens
from perhop.resource_server.memory_replay import MemoryReplay
from perhop.resource_server.refusal import Challenge, render_refusal
from perhop.resource_server.replay import ReplayStore
from perhop.resource_server.revocation_feed import RevocationFeed
from perhop.resource_server.sender_check import SenderCheck
from perhop.resource_server.server_records import ServerRecords
from perhop.resource_server.single_use import SingleUse
from perhop.resource_server.trail import Trail
from perhop.resource_server.trusted_issuer import TrustedIssuer
from perhop.rules.audience import bind_audience
from perhop.rules.bearer import parse_presented
from perhop.rules.call_binding import binding_of, check_call
from perhop.rules.challenge import resource_metadata_document, taken_schemes
from perhop.rules.header_bounds import check_header_bounds
from perhop.rules.mcp_message import Addressee, Message, addressee_of, parse_message
from perhop.rules.plain_request import PlainFields, is_plain_call
from perhop.tokens.kept_tokens import KeptTokens
from perhop.tokens.keys import VerifyKey
from perhop.tokens.verify import Leeway

_MESSAGE_METHODS = frozenset({"POST", "GET", "DELETE"})
_UNESCAPED = "/!$&'()*+,;=:@"
"""What a path holds besides letters, digits and `-._~` without an escape. Spec: RFC 3986 §3.3"""
_log = logging.getLogger("perhop.resource_server")


class Admitted(NamedTuple):
    """The request may be served for this token's subject and agent.

    `presented` is the token as it came: for an exchange, and for nothing else. `answer_headers` belong to the answer,
    whatever that is: the nonce for the sender's next proof, where the token is bound to a key.
    """

    proved: ProvedToken
    presented: Secret
    answer_headers: Headers = ()

    @property
    def token(self) -> BoundToken:
        """The token, which is addressed to this resource and came from whoever may send it."""
        return self.proved.bound


class Guard:
    """Checks every request to one resource. `resource` is the audience by which this server is addressed.

    `risk` `high` refuses all tokens while an issuer's revocation feed is stale. `scopes` is what metadata and
    challenges tell clients to ask for. `sender` `dpop` refuses all tokens that are bound to no key. `replay` remembers
    which call tokens and which proofs were used; the default is the memory of this process, which must then be the only
    one. `records` keeps and delivers what this guard saw: with it, a request is served only when its report is on disk,
    and none that `check_message` has not seen. `http` is for connections to the issuers only.

    Raises: SettingsError
    """

    def __init__(
        self,
        *,
        resource: str,
        issuers: Sequence[str],
        risk: Risk | str = Risk.MEDIUM,
        scopes: Sequence[str] = (),
        sender: SenderConstraint | str = SenderConstraint.ANY,
        replay: ReplayStore | None = None,
        records: ServerRecords | None = None,
        http: httpx2.AsyncClient | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.resource, self._origin, self._path = parse_resource(resource)
        self.risk = parse_risk(risk)
        self.scopes = tuple(scopes)
        self._clock = clock
        self._kept = KeptTokens(Leeway.GUARD)
        self._known = KnownTokens()
        self._used = SingleUse(self.resource, MemoryReplay(clock=clock) if replay is None else replay)
        self._senders = SenderCheck(self.resource, sender=sender, used=self._used, clock=clock)
        self._connections = Connections(http)
        trusted = (TrustedIssuer(name, connections=self._connections, clock=clock) for name in parse_issuers(issuers))
        self._issuers = {issuer.issuer: issuer for issuer in trusted}
        self.records = checked_records(records, self._issuers)
        self._feeds = {
            name: RevocationFeed(issuer, connections=self._connections, clock=clock)
            for name, issuer in self._issuers.items()
        }

    @property
    def issuers(self) -> tuple[str, ...]:
        """The authorization servers that are trusted, as configured."""
        return tuple(self._issuers)

    async def check(
        self,
        *,
        method: str,
        path: str,
        headers: Iterable[tuple[str, str]],
        body: bytes,
        client_certificate: bytes | None = None,
        address: str | None = None,
    ) -> Admitted | Challenge:
        """Check one request. `headers` keeps repeats; `path` is the decoded path without query.

        `address` is who connected, for the records.

        A token that is bound to a key needs a proof of it, for this method and the URI of this path; one that is bound
        to a certificate is refused. Does not look at scopes.

        Spec: RFC 6750 §3
        Spec: RFC 9449 §7
        Spec: RFC 9068 §4
        """
        del client_certificate
        given = tuple(headers)
        try:
            check_header_bounds(given)
        except HeadersTooLarge as fact:
            return self.refuse(fact, address=address)
        fields = tuple([(name.lower(), value) for name, value in given])
        outcome = await self.check_token(fields, method=method, path=path, address=address)
        if isinstance(outcome, Challenge):
            return outcome
        wrong = await self.check_message(outcome, method=method, path=path, headers=fields, body=body, address=address)
        return wrong or outcome

    async def check_token(
        self, headers: Headers, *, method: str = "", path: str = "", address: str | None = None
    ) -> Admitted | Challenge:
        """The first half of `check`: all that needs no body. Names in `headers` are lower case.

        Without `method` and `path` no proof can be for the request, so a token that is bound to a key is refused.

        Does not look at what a call token is bound to, does not use it up, and records no admission: `check_message`
        does.
        """
        raw: str | None = None
        verified: VerifiedToken | None = None
        bound: BoundToken | None = None
        try:
            presented = parse_presented(headers)
            raw = presented.token
            verified, keys, now = await self._verify(raw)
            bound = bind_audience(verified, self.resource)
            if verified.sender is None:
                proved = self._senders.prove_bearer(bound, presented)
            else:
                proved = await self._senders.prove(bound, headers, method=method, uri=self._uri(method, path, headers))
            feed = self._feeds[verified.issuer]
            heard = await self._check_revocation(verified, feed)
            issuer = self._issuers[verified.issuer]
            self._known.keep(proved, issuer=issuer, keys=keys, feed=feed, heard=heard, now=now)
        except (Refused, Unavailable) as fact:
            trail = Trail.of(self.resource, headers, address, verified)
            return self._refuse(fact, trail.presenting(raw) if bound is None else trail.bound())
        return Admitted(proved=proved, presented=Secret(raw), answer_headers=self._senders.nonce_for(headers))

    async def check_again(self, admitted: Admitted, *, headers: Headers, address: str | None) -> Challenge | None:
        """What may be otherwise when a request's body was waited for: keys, times, revocation.

        A proof of the sender's key was for this request, whenever its body comes: it is used up, and not asked for.
        """
        try:
            verified, _, _ = await self._verify(admitted.presented.reveal())
            await self._check_revocation(verified, self._feeds[verified.issuer])
        except (Refused, Unavailable) as fact:
            return self._refuse(fact, self._trail_of(admitted, headers, address))
        return None

    def recognise(self, fields: PlainFields) -> Admitted | None:
        """What `check_token` would give at once for a token that it has admitted before; None says nothing.

        Asks each time: keys, times, revocation.
        """
        authorization = fields.get(b"authorization")
        if authorization is None or b"dpop" in fields:
            return None
        now = int(self._clock())
        proved = self._known.find(authorization, now=now, must_be_fresh=self.risk is Risk.HIGH)
        if proved is None:
            return None
        return Admitted(proved=proved, presented=Secret(authorization[7:].decode("ascii")))

    def is_plain_call(self, admitted: Admitted, *, method: str, path: str, fields: PlainFields, body: bytes) -> bool:
        """True for an MCP request that `check_message` would let pass, and say nothing of; False says nothing."""
        return (
            self.records is None
            and method == "POST"
            and path == self._path
            and admitted.proved.bound.token.call is None
            and is_plain_call(fields, body)
        )

    async def check_message(
        self,
        admitted: Admitted,
        *,
        method: str,
        path: str,
        headers: Headers,
        body: bytes,
        address: str | None = None,
    ) -> Challenge | None:
        """The second half of `check`: an MCP message must be well formed and agree with its headers.

        A token that is bound to a call must be bound to this one, and is used up by it. An MCP message is what comes to
        the resource's path, with or without a `/` at its end, and wherever a proxy has moved it, what carries MCP's
        headers; other requests are the application's own, and no call token is good for them. No path holds a control
        character: there are routers that take one with a line's end for the path without.

        Spec: MCP 2026-07-28 transports
        """
        message: Message | None = None
        is_other = False
        try:
            if not path.isprintable():
                raise RequestMalformed("the path holds a character that is not printable")
            if self._is_message(method, path, headers):
                message = parse_message(method, headers, body)
                await self._check_call(admitted.proved.bound.token, message)
            elif admitted.token.token.call is not None:
                raise CallMismatch("the token is bound to one call, and this is no MCP message")
            else:
                is_other = True
            if self.records is not None:
                trail = self._trail_of(admitted, headers, address)
                await self.records.admitted(trail.asking(message) if message is not None else trail.with_method(method))
        except (Refused, Unavailable) as fact:
            trail = self._trail_of(admitted, headers, address)
            if message is not None:
                trail = trail.asking(message)
            trail = trail.with_method(method) if is_other else trail
            return self._refuse(fact, trail, to=addressee_of(body) if message is None else _sender_of(message))
        return None

    def _is_message(self, method: str, path: str, headers: Headers) -> bool:
        is_at_resource = path.rstrip("/") == self._path.rstrip("/") and method in _MESSAGE_METHODS
        return is_at_resource or (method == "POST" and any(name.startswith("mcp-") for name, _ in headers))

    def _uri(self, method: str, path: str, headers: Headers) -> str:
        """What a proof must be for: `resource`, and of what is no MCP message the path that was asked for, there."""
        is_for_resource = path == self._path or self._is_message(method, path, headers)
        return self.resource if is_for_resource else self._origin + quote(path, safe=_UNESCAPED)

    async def _check_revocation(self, token: VerifiedToken, feed: RevocationFeed) -> int:
        """How many revocations the token has passed. Raises: TokenRevoked, KeysUnavailable."""
        heard = feed.heard()
        if heard is None:
            heard = await feed.hear()
        feed.check(token, must_be_fresh=self.risk is Risk.HIGH or token.call is not None)
        return heard

    async def _check_call(self, token: VerifiedToken, message: Message) -> None:
        """Last of all checks: a token that is refused for anything else is not used up.

        Raises: ParamsMalformed, CallMismatch, TokenReplayed, ReplayUnavailable
        """
        if token.call is not None:
            check_call(token.call, binding_of(message))
            await self._used.use(token)

    def insufficient_scope(self, scope: str) -> Challenge:
        """The answer for an application that misses a scope in an admitted token. Spec: RFC 6750 §3.1."""
        return self.refuse(ScopeInsufficient(scope))

    def metadata(self) -> dict[str, object]:
        """The resource's own metadata document. Spec: RFC 9728 §2."""
        return resource_metadata_document(
            self.resource,
            authorization_servers=self.issuers,
            scopes=self.scopes,
            must_be_bound=self._senders.must_be_bound,
        )

    def asgi(self, app: AsgiApp) -> GuardedApp:
        """The application behind this guard. See `perhop.resource_server.asgi`."""
        return GuardedApp(self, app)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follow the revocation feeds from now on, and close all connections at the end.

        Raises: SettingsError, where single use cannot be kept
        """
        await asyncio.to_thread(self._used.start)  # it may wait for a disk
        for feed in self._feeds.values():
            feed.start()
        if self.records is not None:
            self.records.start()
        try:
            yield
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """Stop what runs on this event loop; the next check starts it again."""
        for feed in self._feeds.values():
            await feed.aclose()
        for issuer in self._issuers.values():
            await issuer.aclose()
        if self.records is not None:
            await self.records.aclose()
        await self._connections.aclose()
        await asyncio.to_thread(self._used.stop)

    async def _verify(self, raw: str) -> tuple[VerifiedToken, Mapping[str, VerifyKey], int]:
        """Verify under the keys of the issuer that the token names, if that is one of ours: the token, these keys, and
        the second."""
        read = self._kept.read(raw)
        # Unverified, and used to choose among our own issuers only: `verify` compares it again.
        claimed = read.claimed_issuer
        issuer = self._issuers.get(claimed) if isinstance(claimed, str) else None
        now = int(self._clock())
        if issuer is None:
            return self._kept.verify(read, keys={}, now=now), {}, now
        keys = issuer.keys_at_hand(now)
        if keys is None:
            keys, now = await issuer.keys(), int(self._clock())
        try:
            return self._kept.verify(read, keys={issuer.issuer: keys}, now=now), keys, now
        except TokenKeyUnknown:
            keys = await issuer.newer_keys()
        return self._kept.verify(read, keys={issuer.issuer: keys}, now=now), keys, now

    def refuse(
        self,
        fact: Refused | Unavailable,
        *,
        admitted: Admitted | None = None,
        headers: Headers = (),
        address: str | None = None,
    ) -> Challenge:
        """The answer that says this fact: for adapters, which find faults of their own."""
        if admitted is not None:
            return self._refuse(fact, self._trail_of(admitted, headers, address))
        return self._refuse(fact, Trail.of(self.resource, headers, address))

    def _trail_of(self, admitted: Admitted, headers: Headers, address: str | None) -> Trail:
        return Trail.of(self.resource, headers, address, admitted.token.token, is_bound=True)

    def _refuse(self, fact: Refused | Unavailable, trail: Trail, *, to: Addressee = Addressee()) -> Challenge:
        """A line in the log, a record where records are kept, and the answer."""
        self._tell(fact)
        if self.records is not None:
            self.records.refused(trail, fact)
        return render_refusal(
            fact,
            resource=self.resource,
            scopes=self.scopes,
            to=to,
            taken=taken_schemes(trail.headers, must_be_bound=self._senders.must_be_bound),
            more=self._senders.nonce_for(trail.headers),
        )

    def _tell(self, fact: Refused | Unavailable) -> None:
        # What a peer sent stands in the detail: escaped, so that it cannot forge a line of the log.
        _log.info("refused: %s: %a", fact.reason, fact.detail)


def _sender_of(message: Message) -> Addressee:
    """Whom an answer to a message goes to. Nobody asked for one to a response."""
    is_request = message.kind is CallKind.REQUEST
    return Addressee(message.rpc_id if is_request else None, message.kind is CallKind.NOTIFICATION)
