"""Interpret: what a bound caller asks for. The body is read here and not before.

Spec: MCP 2026-07-28 transports
Spec: MCP 2025-11-25 transports
"""

from __future__ import annotations

from typing import NamedTuple

from perhop.core.call import Call, CallBinding, CallKind, HeaderFields, Headers, SteadyFields, Target
from perhop.core.resource import CredentialKind
from perhop.core.token import BoundToken
from perhop.errors import RequestMalformed, RevisionUnsupported
from perhop.gateway.gate import Gate
from perhop.gateway.request import Request
from perhop.gateway.sessions import session_key
from perhop.rules.call_binding import binding_of
from perhop.rules.mcp_headers import LAST_EVENT, NAME, PARAM_PREFIX, SESSION, VERSION, mirrored_headers, single_header
from perhop.rules.mcp_message import Message, parse_message
from perhop.rules.mcp_methods import MODERN_REVISIONS, Era
from perhop.rules.mcp_param_headers import param_headers
from perhop.rules.session_seal import Principal

_FORWARDED = frozenset({"accept", "user-agent"})
_JSON = ("content-type", "application/json")
_TOOLS_CALL = "tools/call"


async def interpret(request: Request, bound: BoundToken, call_id: str, gate: Gate) -> Call:
    """Read the body, compare it with the headers, and open the session ids that came with it.

    Raises: BodyTooLarge, BodyTooSlow, SessionMismatch, McpTaskUnknown, OnlyPostAllowed, and what `parse_message` raises
    """
    body = await request.body.read() if request.http_method == "POST" else b""
    message = _parse(request, body, gate)
    is_modern = message.era is Era.MODERN
    session, last_event_id = (None, None) if is_modern else _open_ids(message, request, bound, gate)
    if message.kind is CallKind.RESPONSE and not gate.open_requests.is_open(
        session_key(bound, session), message.rpc_id
    ):
        raise RequestMalformed("a response to nothing that the server of this session has asked")
    return Call(
        call_id,
        message.kind,
        message.revision,
        message.method,
        _targets(message, bound, gate) if message.tasks else message.targets,
        message.rendered or message.body,
        _onward_headers(message, request.headers, gate),
        message.rpc_id,
        message.arguments,
        session,
        last_event_id,
        _binding(message, gate),
    )


def _parse(request: Request, body: bytes, gate: Gate) -> Message:
    """One message, of an era that the upstream is not known not to speak."""
    try:
        message = parse_message(request.http_method, request.headers, body)
    except RevisionUnsupported as fact:
        raise gate.revisions.narrow(fact) from fact
    if not gate.revisions.is_spoken(message.era):
        gate.revisions.check(message, has_version=request.header(VERSION) is not None)
    return message


def _targets(message: Message, bound: BoundToken, gate: Gate) -> tuple[Target, ...]:
    """What the message touches; a task stands for the call that has opened it. Raises: McpTaskUnknown."""
    by = Principal.of(bound)
    return (*message.targets, *(gate.open_tasks.opening_of(by, task).target for task in message.tasks))


def _binding(message: Message, gate: Gate) -> CallBinding | None:
    """What a call token for this message is bound to; worked out only where the upstream takes such tokens."""
    upstream = gate.resource.upstream
    is_bound = upstream is not None and upstream.credential is CredentialKind.CALL
    return binding_of(message) if is_bound else None


def _open_ids(message: Message, request: Request, bound: BoundToken, gate: Gate) -> tuple[str | None, str | None]:
    """The upstream's own session and event ids; a revision without sessions ignores both headers."""
    sealed = single_header(request.headers, SESSION)
    session = gate.sealer.unseal_session(sealed, bound) if sealed is not None else None
    sealed = single_header(request.headers, LAST_EVENT) if message.kind is CallKind.STREAM else None
    event = gate.sealer.unseal_event(sealed, bound, session) if sealed is not None else None
    return session, event


class _Onward(NamedTuple):
    """The headers that go on with a usual `tools/call`, and the revision and the name for which they were written."""

    revision: str | None
    name: str | None
    headers: Headers


def _onward_by(steady: SteadyFields) -> _Onward:
    """For the revision and the tool that the headers name: whoever takes it compares both with the body's."""
    fields = dict(steady.fields)
    revision, name = fields.get(VERSION), fields.get(NAME)
    kept = [field for field in steady.fields if field[0] in _FORWARDED]
    if revision in MODERN_REVISIONS:
        kept.extend(mirrored_headers(revision=revision, method=_TOOLS_CALL, name=name))
    elif revision is not None:
        kept.append((VERSION, revision))
    return _Onward(revision, name, (*kept, _JSON))


def _onward_headers(message: Message, headers: Headers, gate: Gate) -> Headers:
    """The caller's headers that go on, by name; what mirrors the body is written anew from the body."""
    is_legacy = message.era is Era.LEGACY
    if message.method == _TOOLS_CALL and type(headers) is HeaderFields and not headers.uncommon:
        usual = headers.steady.follow(_onward_by)
        is_same = usual.revision == message.revision and (is_legacy or usual.name == message.name)
        if is_same and (is_legacy or not gate.catalogue.mirrored_by(message.targets[0].name)):
            return usual.headers
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
        kept.append(_JSON)
    return tuple(kept)


def _param_headers(message: Message, headers: Headers, gate: Gate) -> Headers:
    """The headers that mirror a tool's arguments, as far as we know its schema. Raises: HeaderMismatch."""
    is_call = message.method == _TOOLS_CALL
    annotations = gate.catalogue.mirrored_by(str(message.params["name"])) if is_call else None
    return param_headers(headers, message.arguments or {}, annotations)
