"""Forward auth: another proxy asks about a request that it holds, and gets a no, or a yes with the token to go on with.

It asks by `GET /authz/NAME` with the request's headers and none of its body, or by `POST` with the body as well. Which
resource is asked about is chosen by the proxy's configuration, never by the request.

What is not ours to do here: the answer is not seen, so lists are not filtered, no stream is cut and no outcome is
recorded; and the body that the proxy sends on is held against the headers by the guard of the server alone.

Spec: MCP 2026-07-28 transports
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from urllib.parse import urlsplit

from perhop.core.call import Call, Headers, Reply
from perhop.core.decision import Permit
from perhop.core.resource import CredentialKind, Resource
from perhop.core.short_way import short_way
from perhop.core.token import BoundToken, Onward
from perhop.errors import BodyNeeded, MethodUnknownModern, Refused, RequestMalformed, Unavailable
from perhop.gateway.app import AsgiScope, Send, answer_while_wanted, raw_path, read_headers, send_whole
from perhop.gateway.approve import approve
from perhop.gateway.authenticate import authenticate, check_standing, prove_sender
from perhop.gateway.body import Receive, RequestBody
from perhop.gateway.count import count
from perhop.gateway.cover import cover
from perhop.gateway.data_planes.asking import Held, Proxy, is_asked_by, parse_held
from perhop.gateway.decide import decide
from perhop.gateway.door import check_door
from perhop.gateway.exchange import exchange
from perhop.gateway.forward import upstream_headers
from perhop.gateway.gate import Gate, Policy
from perhop.gateway.interpret import interpret
from perhop.gateway.record import record, record_failure, record_refusal
from perhop.gateway.refusal import refuse, with_nonce
from perhop.gateway.request import Request
from perhop.gateway.trail import Trail
from perhop.rules.audience import bind_audience
from perhop.rules.mcp_methods import STANDING_STREAM
from perhop.rules.mcp_mirrored import check_modern, parse_mirrored

PLACE = "/authz/"
HTTP_METHODS = ("GET", "POST")

REFUSAL = "x-perhop-refusal"
"""The body of a refusal once more, for a proxy that drops the body."""

_ONWARD = frozenset({"authorization", "traceparent"})

_log = logging.getLogger("perhop.gateway")


async def check(held: Held, gate: Gate) -> Reply:
    """The verbs of the pipeline, and in the end: tell the proxy."""
    request = held.request
    trail = Trail.of(request, gate)
    try:
        check_door(request, gate.resource)
        _check_target(held, gate.resource)
        caller = authenticate(request, gate)
        trail = trail.by(caller, gate)
        bound = bind_audience(caller, gate.resource.uri)
        proved = await prove_sender(request, bound, gate)
        in_force = await check_standing(request, proved, gate)
        call = await interpret_held(held, bound, trail.call_id, gate)
        trail = trail.asking(call, gate)
        covered = cover(in_force, call, gate)
        allowed = decide(request, covered, gate)
        approved = await approve(allowed, gate)
        permit = await count(approved, gate)
        _check_still_good(request, bound, gate)  # the body took its time, and so may a person's approval and the count
        onward = exchange(permit, gate)
        trail = trail.permitted(permit, onward)
        await record(trail, gate.journal)  # in and out, durable, or the proxy hears no yes
        _check_still_good(request, bound, gate)  # nobody watches the call from here on, as the gateway would
    except (Refused, Unavailable) as fact:
        await record_refusal(fact, trail.naming_token(request), gate.journal, now=gate.clock())
        return _with_refusal(refuse(fact, request, trail))
    except BaseException as failure:
        await record_failure(failure, trail.naming_token(request), gate.journal, now=gate.clock())
        raise
    return _permitted(permit, onward)


def _check_still_good(request: Request, bound: BoundToken, gate: Gate) -> None:
    """Refuse a token that was good when it came, and is not any more.

    Raises: what `authenticate` raises, TaskOutside, TaskSuperseded, TaskExpired, TokenRevoked, AgentDisabled,
        AgentExpired, OwnerMissing
    """
    authenticate(request, gate)  # its times, and the keys of its issuer
    gate.tasks.check_token(bound.token)
    gate.revoked.check(bound)
    gate.standing.check(bound, gate.resource)


async def interpret_held(held: Held, bound: BoundToken, call_id: str, gate: Gate) -> Call:
    """What a bound caller asks for: by the body if it is here, else by the headers where these suffice.

    Sessions, and streams that outlive a token, are for a data plane that sees the answers.

    Raises: OnlyPostAllowed, RevisionUnsupported, BodyNeeded, MethodUnknownModern, and what `interpret` raises
    """
    request = held.request
    check_modern(request.http_method, request.headers)
    call = await interpret(request, bound, call_id, gate) if held.has_body else _told_by_headers(request, call_id, gate)
    if call.method == STANDING_STREAM:
        raise MethodUnknownModern("nobody could cut this stream when its token ends")
    return call


def what_needs_the_body(resource: Resource, policy: Policy) -> str:
    """Why no call of this resource can be decided without its body; empty if headers suffice."""
    if resource.upstream is not None and resource.upstream.credential is CredentialKind.CALL:
        return "its upstream takes call tokens, which are bound to the body"
    needing = policy.needing_body(resource.name)
    return f"policies ask for more than headers tell: {', '.join(needing)}" if needing else ""


def _told_by_headers(request: Request, call_id: str, gate: Gate) -> Call:
    needed = what_needs_the_body(gate.resource, gate.policy)
    if needed:
        raise BodyNeeded(needed)
    message = parse_mirrored(request.http_method, request.headers)
    return Call(
        id=call_id,
        kind=message.kind,
        revision=message.revision,
        method=message.method,
        targets=message.targets,
        body=message.body,
        headers=message.mirrored,
    )


def _check_target(held: Held, resource: Resource) -> None:
    """The proxy may take several spellings for one place; the resource has one."""
    if held.target != (urlsplit(resource.uri).path or "/"):
        raise RequestMalformed("the request target is not the path of the resource, as it is written")


def _permitted(permit: Permit, onward: Onward) -> Reply:
    """Yes; `X-Perhop-Authorization` is what goes on as `Authorization`, and without it nothing does."""
    headers = [(f"x-perhop-{name}", value) for name, value in upstream_headers(permit, onward) if name in _ONWARD]
    kept = (("cache-control", "no-store"), ("content-length", "0"))
    return Reply(status=200, headers=(*kept, *headers), body=b"")


def _with_refusal(reply: Reply) -> Reply:
    """The same refusal, its body in a header too."""
    if not reply.body:
        return reply
    assert isinstance(reply.body, bytes)  # a refusal's
    refusal = json.dumps(json.loads(reply.body), separators=(",", ":"))
    return replace(reply, headers=(*reply.headers, (REFUSAL, refusal)))


class ForwardAuthApp:
    """`/authz/NAME` for each gate, as an ASGI application on a listener of its own; nothing else is there.

    Who is not the proxy gets 404 for everything: a yes carries a token for the server.
    """

    def __init__(self, gates: Iterable[Gate], proxy: Proxy) -> None:
        self._gates: Mapping[str, Gate] = {}
        self._proxy = proxy
        self.take(gates)

    def take(self, gates: Iterable[Gate]) -> None:
        """Answer by these gates from now on; requests on their way end with the gates they began with."""
        self._gates = {PLACE + gate.resource.name: gate for gate in gates}

    async def __call__(self, asgi_scope: AsgiScope, receive: Receive, send: Send) -> None:
        gate, headers = self._gates.get(raw_path(asgi_scope)), read_headers(asgi_scope)
        if not is_asked_by(self._proxy, headers):
            _log.warning("`%s` was asked by somebody who does not know the secret of the proxy", PLACE)
            gate = None
        if gate is None or asgi_scope["method"] not in HTTP_METHODS:
            await send_whole(send, 404, (), b"")
            return
        await _answer(gate, asgi_scope, headers, receive, send)


async def _answer(gate: Gate, asgi_scope: AsgiScope, headers: Headers, receive: Receive, send: Send) -> None:
    length = next((value for name, value in headers if name == "content-length"), None)
    body = RequestBody(receive, seconds=gate.limits.body_seconds, stated_length=length, way=short_way(asgi_scope))
    try:
        held = parse_held(headers, body, has_body=asgi_scope["method"] == "POST")
    except RequestMalformed as fact:
        _log.warning("the proxy does not say what it asks about: %s", fact.detail)
        await send_whole(send, fact.status, (), b"")
        return
    if not held.has_body:
        body.settle()
    await answer_while_wanted(_checked, held, gate, body, send)


async def _checked(held: Held, gate: Gate) -> Reply:
    """The answer; the nonce in it is for the sender of the request that the proxy holds."""
    return with_nonce(await check(held, gate), held.request, gate)
