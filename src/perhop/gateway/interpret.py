"""Interpret: what a bound caller asks for. The body is read here and not before.

Spec: MCP 2026-07-28 transports
Spec: MCP 2025-11-25 transports
"""

from __future__ import annotations

from perhop.core.call import Call, CallBinding, CallKind, Headers, Target
from perhop.core.resource import CredentialKind
from perhop.core.token import BoundToken
from perhop.errors import RequestMalformed, RevisionUnsupported
from perhop.gateway.gate import Gate
from perhop.gateway.request import Request
from perhop.gateway.sessions import session_key
from perhop.rules.call_binding import binding_of
from perhop.rules.mcp_headers import LAST_EVENT, PARAM_PREFIX, SESSION, VERSION, single_header
from perhop.rules.mcp_message import Message, parse_message
from perhop.rules.mcp_methods import Era
from perhop.rules.mcp_param_headers import param_headers
from perhop.rules.session_seal import Principal

_FORWARDED = frozenset({"accept", "user-agent"})


async def interpret(request: Request, bound: BoundToken, call_id: str, gate: Gate) -> Call:
    """Read the body, compare it with the headers, and open the session ids that came with it.

    Raises: BodyTooLarge, BodyTooSlow, SessionMismatch, McpTaskUnknown, OnlyPostAllowed, and what `parse_message` raises
    """
    body = await request.body.read() if request.http_method == "POST" else b""
    message = _parse(request, body, gate)
    session, last_event_id = _open_ids(message, request, bound, gate)
    if message.kind is CallKind.RESPONSE and not gate.open_requests.is_open(
        session_key(bound, session), message.rpc_id
    ):
        raise RequestMalformed("a response to nothing that the server of this session has asked")
    return Call(
        id=call_id,
        kind=message.kind,
        revision=message.revision,
        method=message.method,
        targets=_targets(message, bound, gate),
        body=message.body,
        headers=_onward_headers(message, request.headers, gate),
        binding=_binding(message, gate),
        rpc_id=message.rpc_id,
        arguments=message.arguments,
        session=session,
        last_event_id=last_event_id,
    )


def _parse(request: Request, body: bytes, gate: Gate) -> Message:
    """One message, of an era that the upstream is not known not to speak."""
    try:
        message = parse_message(request.http_method, request.headers, body)
    except RevisionUnsupported as fact:
        raise gate.revisions.narrow(fact) from fact
    gate.revisions.check(message, has_version=request.header(VERSION) is not None)
    return message


def _targets(message: Message, bound: BoundToken, gate: Gate) -> tuple[Target, ...]:
    """What the message touches; a task stands for the call that has opened it. Raises: McpTaskUnknown."""
    if not message.tasks:
        return message.targets
    by = Principal.of(bound)
    return (*message.targets, *(gate.open_tasks.opening_of(by, task).target for task in message.tasks))


def _binding(message: Message, gate: Gate) -> CallBinding | None:
    """What a call token for this message is bound to; worked out only where the upstream takes such tokens."""
    upstream = gate.resource.upstream
    is_bound = upstream is not None and upstream.credential is CredentialKind.CALL
    return binding_of(message) if is_bound else None


def _open_ids(message: Message, request: Request, bound: BoundToken, gate: Gate) -> tuple[str | None, str | None]:
    """The upstream's own session and event ids; a revision without sessions ignores both headers."""
    match message.era:
        case Era.MODERN:
            return None, None
        case Era.LEGACY:
            sealed = single_header(request.headers, SESSION)
            session = gate.sealer.unseal_session(sealed, bound) if sealed is not None else None
            sealed = single_header(request.headers, LAST_EVENT) if message.kind is CallKind.STREAM else None
            event = gate.sealer.unseal_event(sealed, bound, session) if sealed is not None else None
            return session, event


def _onward_headers(message: Message, headers: Headers, gate: Gate) -> Headers:
    """The caller's headers that go on, by name; what mirrors the body is written anew from the body."""
    kept = [field for field in headers if field[0] in _FORWARDED]
    match message.era:
        case Era.MODERN:
            kept.extend(message.mirrored)
            kept.extend(_param_headers(message, headers, gate))
        case Era.LEGACY:
            kept.extend((name, value) for name, value in headers if name.startswith(PARAM_PREFIX))
            version = single_header(headers, VERSION)
            if version is not None:
                kept.append((VERSION, version))
    if message.value is not None:
        kept.append(("content-type", "application/json"))
    return tuple(kept)


def _param_headers(message: Message, headers: Headers, gate: Gate) -> Headers:
    """The headers that mirror a tool's arguments, as far as we know its schema. Raises: HeaderMismatch."""
    is_call = message.method == "tools/call"
    annotations = gate.catalogue.mirrored_by(str(message.params["name"])) if is_call else None
    return param_headers(headers, message.arguments or {}, annotations)
