"""One message of the MCP endpoint: what it is, which revision it speaks, what it touches.

The body decides; headers must agree with it. Gateway and guard read messages by this one rule, so that they cannot
differ. Does not look at tokens, sessions, scopes or policy, and compares no argument with a schema.

Spec: MCP 2026-07-28 transports
Spec: MCP 2025-11-25 transports
Spec: JSON-RPC 2.0
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any, NamedTuple

from perhop.core.call import CallKind, Headers, values_of
from perhop.errors import (
    BodyTooLarge,
    HeaderMismatch,
    HttpMethodNotAllowed,
    MediaTypeUnsupported,
    OnlyPostAllowed,
    ParamsMalformed,
    PerhopError,
    RequestMalformed,
    RevisionUnsupported,
)
from perhop.rules.mcp_headers import (
    LAST_EVENT,
    SESSION,
    VERSION,
    check_method_header,
    check_name_header,
    check_no_repeats,
    single_header,
)
from perhop.rules.mcp_methods import (
    ASSUMED_REVISION,
    LEGACY_REVISIONS,
    MODERN_REVISIONS,
    SUPPORTED_REVISIONS,
    Era,
    MethodRule,
    method_rule,
)
from perhop.rules.message import (
    CAPABILITIES_KEY,
    MAX_BODY_BYTES,
    MAX_ID_LENGTH,
    MAX_METHOD_LENGTH,
    MAX_SAFE_INTEGER,
    VERSION_KEY,
    Message,
)
from perhop.rules.strict_json import parse_json, render_json
from perhop.rules.usual_call import parse_usual

__all__ = [
    "CAPABILITIES_KEY",
    "MAX_BODY_BYTES",
    "MAX_METHOD_LENGTH",
    "MAX_SAFE_INTEGER",
    "VERSION_KEY",
    "Addressee",
    "Message",
    "addressee_of",
    "parse_message",
    "render_json",
]

MAX_ADDRESSED_BYTES = 64 * 1024
"""A body that is refused and is larger than this is answered under the id null."""

_LONGEST_FOLDED = 128
"""Characters. What it takes to normalise a text grows with the square of its length, and others wait meanwhile."""


def _folded(name: str) -> str:
    """The name as a reader without regard to case takes it.

    Raises: RequestMalformed, for one that is too long to be looked at
    """
    if name.isascii():
        return name.lower()
    if len(name) > _LONGEST_FOLDED:
        raise RequestMalformed(f"a name of more than {_LONGEST_FOLDED} characters is not ASCII")
    return unicodedata.normalize("NFKC", name).casefold()


def _by_fold(*names: str) -> Mapping[str, str]:
    return {_folded(name): name for name in names}


_ENVELOPE = _by_fold("jsonrpc", "id", "method", "params", "result", "error")
_PARAMS = _by_fold(
    *("name", "arguments", "uri", "ref", "_meta", "notifications", "cursor", "requestState", "inputResponses"),
    *("taskId", "task"),
)


def parse_message(http_method: str, headers: Headers, body: bytes) -> Message:
    """Read one message of the MCP endpoint.

    Raises: HttpMethodNotAllowed, MediaTypeUnsupported, BodyTooLarge, JsonUnparsable, RequestMalformed,
    ParamsMalformed, HeaderMismatch, RevisionUnsupported, MethodUnknown
    """
    match http_method:
        case "POST":
            return parse_usual(headers, body) or _parse_post(headers, body)
        case "GET":
            return _parse_bodyless(CallKind.STREAM, headers)
        case "DELETE":
            return _parse_bodyless(CallKind.END, headers)
        case _:
            raise HttpMethodNotAllowed(f"method `{http_method[:16]}`")


class Addressee(NamedTuple):
    """Whom a refusal answers: `rpc_id` is the request's, None where there is none to be had.

    A notification expects no answer at all: what refuses it has nobody to tell.
    """

    rpc_id: str | int | None = None
    is_notification: bool = False


def addressee_of(body: bytes) -> Addressee:
    """Whom to answer where a body is refused that was not understood.

    A large one is not parsed for this: that it is refused must not cost more than that it is read.
    """
    if not 0 < len(body) <= MAX_ADDRESSED_BYTES:
        return Addressee()
    try:
        value = parse_json(body, max_bytes=MAX_ADDRESSED_BYTES)
        if not isinstance(value, dict) or "method" not in value:
            return Addressee()
        return Addressee(_parse_id(value["id"])) if "id" in value else Addressee(is_notification=True)
    except PerhopError:
        return Addressee()


def _parse_bodyless(kind: CallKind, headers: Headers) -> Message:
    """Streams and session ends exist with handshake revisions only. Spec: MCP 2026-07-28 transports."""
    version = single_header(headers, VERSION)
    if version in MODERN_REVISIONS:
        raise OnlyPostAllowed(f"{kind.value} under `{version}`")
    _check_session_headers(headers)
    revision = _legacy_revision(version)
    return Message(kind=kind, era=Era.LEGACY, revision=revision, method=kind.value)


def _parse_post(headers: Headers, body: bytes) -> Message:
    _check_media_type(headers)
    if len(body) > MAX_BODY_BYTES:
        raise BodyTooLarge(f"{len(body)} bytes")
    value = parse_json(body, max_bytes=MAX_BODY_BYTES)
    if not isinstance(value, dict):
        raise RequestMalformed("a batch, or no object")
    _check_spelling(value, _ENVELOPE)
    if value.get("jsonrpc") != "2.0":
        raise RequestMalformed("`jsonrpc` is not `2.0`")
    if "method" in value:
        return _parse_call(headers, value)
    return _parse_response(headers, value)


def _parse_call(headers: Headers, value: Mapping[str, Any]) -> Message:
    """A request or a notification."""
    method = value["method"]
    if not isinstance(method, str) or not 0 < len(method) <= MAX_METHOD_LENGTH:
        raise RequestMalformed("`method` is not a text of fitting length")
    if "result" in value or "error" in value:
        raise RequestMalformed("a request and a response in one")
    is_request = "id" in value
    rpc_id = _parse_id(value["id"]) if is_request else None
    params = value.get("params", {})
    if not isinstance(params, dict):
        raise ParamsMalformed("`params` is not an object")
    _check_spelling(params, _PARAMS)
    era, revision = _era(headers, method, params, is_request=is_request)
    if era is Era.MODERN:
        rule = _check_modern(headers, method, params, is_request=is_request)
    else:
        _check_session_headers(headers)
        rule = method_rule(method, era=era, is_request=is_request)
    name = params.get(rule.mirrored) if rule.mirrored else None
    return Message(
        kind=CallKind.REQUEST if is_request else CallKind.NOTIFICATION,
        era=era,
        revision=revision,
        method=method,
        rpc_id=rpc_id,
        params=params,
        targets=rule.targets(params),
        tasks=rule.tasks(params),
        arguments=_parse_arguments(params) if rule.mirrored == "name" else None,
        value=value,
        name=name if era is Era.MODERN else None,
    )


def _parse_response(headers: Headers, value: Mapping[str, Any]) -> Message:
    """A client's answer to a server's request: handshake revisions only. Spec: MCP 2026-07-28 transports."""
    if ("result" in value) == ("error" in value) or "id" not in value:
        raise RequestMalformed("neither a request nor a response")
    version = single_header(headers, VERSION)
    if version in MODERN_REVISIONS:
        raise RequestMalformed("this revision has no responses from clients")
    _check_session_headers(headers)
    return Message(
        kind=CallKind.RESPONSE,
        era=Era.LEGACY,
        revision=_legacy_revision(version),
        method=CallKind.RESPONSE.value,
        rpc_id=_parse_id(value["id"]),
        value=value,
    )


def _era(headers: Headers, method: str, params: Mapping[str, Any], *, is_request: bool) -> tuple[Era, str]:
    """Era and revision: the body's own metadata decides, and the header must say the same."""
    header = single_header(headers, VERSION)
    meta = params.get("_meta")
    stated = meta.get(VERSION_KEY) if isinstance(meta, dict) else None
    if stated is None:
        if header is None or header in LEGACY_REVISIONS:
            return Era.LEGACY, _negotiated(params) if method == "initialize" else _legacy_revision(header)
        if header in MODERN_REVISIONS:
            if is_request and method != "initialize":
                raise ParamsMalformed(f"`_meta` lacks `{VERSION_KEY}`")
            return Era.MODERN, header
        raise RevisionUnsupported(header[:64], supported=SUPPORTED_REVISIONS)
    if not isinstance(stated, str):
        raise ParamsMalformed(f"`{VERSION_KEY}` is not a text")
    if header != stated:
        raise HeaderMismatch("`MCP-Protocol-Version` does not match the body")
    if stated not in MODERN_REVISIONS:
        # Who states a revision with every request can use such revisions only.
        raise RevisionUnsupported(stated[:64], supported=MODERN_REVISIONS)
    return Era.MODERN, stated


def _negotiated(params: Mapping[str, Any]) -> str:
    """What a handshake asks for; the server may answer with another revision."""
    asked = params.get("protocolVersion")
    return asked if isinstance(asked, str) and asked in LEGACY_REVISIONS else ASSUMED_REVISION


def _legacy_revision(header: str | None) -> str:
    if header is None:
        return ASSUMED_REVISION
    if header not in LEGACY_REVISIONS:
        raise RevisionUnsupported(header[:64], supported=SUPPORTED_REVISIONS)
    return header


def _check_session_headers(headers: Headers) -> None:
    """Of two session ids, or two event ids, two readers could take two. Spec: RFC 9110 §5.3."""
    for name in (SESSION, LAST_EVENT):
        single_header(headers, name)


def _check_modern(headers: Headers, method: str, params: Mapping[str, Any], *, is_request: bool) -> MethodRule:
    """What a modern revision wants of every request: its metadata, and mirrored headers that agree."""
    if is_request:
        meta = params.get("_meta")
        if not isinstance(meta, dict) or not isinstance(meta.get(CAPABILITIES_KEY), dict):
            raise ParamsMalformed(f"`_meta` lacks `{CAPABILITIES_KEY}`")
    check_no_repeats(headers)
    check_method_header(headers, method, required=is_request)
    rule = method_rule(method, era=Era.MODERN, is_request=is_request)
    if rule.mirrored is not None:
        name = params.get(rule.mirrored)
        if not isinstance(name, str):
            raise ParamsMalformed(f"`{rule.mirrored}` is not a text")
        check_name_header(headers, name)
    return rule


def _parse_arguments(params: Mapping[str, Any]) -> Mapping[str, Any]:
    arguments = params.get("arguments", {})
    if not isinstance(arguments, dict):
        raise ParamsMalformed("`arguments` is not an object")
    # A server that reads names without regard to case would take the second of two such arguments for the first.
    if len(arguments) > 1 and len({_folded(key) for key in arguments}) != len(arguments):
        raise ParamsMalformed("two arguments differ only in the case of their names")
    return arguments


def _parse_id(value: Any) -> str | int:
    """An id is a text or an integer, never null. Spec: MCP 2025-11-25 base protocol."""
    if isinstance(value, str) and len(value) <= MAX_ID_LENGTH:
        return value
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MAX_SAFE_INTEGER:
        return value
    raise RequestMalformed("`id` is neither a text nor an integer of fitting size")


def _check_spelling(members: Mapping[str, Any], known: Mapping[str, str]) -> None:
    """Refuse members that a reader without regard to case would take for ones that we know."""
    for member in members:
        # Each known name is its own fold, but for those with capital letters.
        if known.get(member) != member and known.get(_folded(member), member) != member:
            raise RequestMalformed("a member's name differs from a known one only in its case")


def _check_media_type(headers: Headers) -> None:
    """The body is JSON, in UTF-8, as it stands. Spec: MCP 2025-11-25 transports."""
    types, encodings = values_of(headers, "content-type"), values_of(headers, "content-encoding")
    if types == ("application/json",) and not encodings:
        return
    if len(types) != 1 or any(each.strip().lower() != "identity" for each in encodings):
        raise MediaTypeUnsupported("no content type, several, or a content encoding")
    media_type, _, parameters = types[0].partition(";")
    if media_type.strip().lower() != "application/json":
        raise MediaTypeUnsupported("not application/json")
    if parameters.strip().lower().replace(" ", "") not in ("", "charset=utf-8", 'charset="utf-8"'):
        raise MediaTypeUnsupported("a charset other than utf-8")
