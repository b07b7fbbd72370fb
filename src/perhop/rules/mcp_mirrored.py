"""What the headers of a request say of a body that is not there to be read.

Good for a decision only where the server behind holds the body against the same headers, and refuses it if they differ.

Spec: MCP 2026-07-28 transports
"""

from __future__ import annotations

from perhop.core.call import CallKind, Headers
from perhop.errors import HeaderMismatch, MethodUnknownModern, OnlyPostAllowed, RevisionUnsupported
from perhop.rules.mcp_headers import (
    METHOD,
    NAME,
    VERSION,
    check_no_repeats,
    decode_mirrored,
    single_header,
)
from perhop.rules.mcp_message import Message
from perhop.rules.mcp_methods import ASSUMED_REVISION, MODERN_REVISIONS, NOTIFICATIONS, Era, MethodRule, method_rule


def check_modern(http_method: str, headers: Headers) -> str:
    """The revision of a request, which must be one that keeps no session and mirrors its body in headers.

    Spec: MCP 2026-07-28 transports
    Raises: OnlyPostAllowed, RevisionUnsupported, HeaderMismatch
    """
    if http_method != "POST":
        raise OnlyPostAllowed(f"method `{http_method[:16]}`")
    revision = single_header(headers, VERSION) or ASSUMED_REVISION
    if revision not in MODERN_REVISIONS:
        raise RevisionUnsupported(revision[:64], supported=MODERN_REVISIONS)
    return revision


def parse_mirrored(http_method: str, headers: Headers) -> Message:
    """Read the message that the mirrored headers tell of; it has no body, no parameters and no id.

    A method of which no header says what it touches is not known here.

    Spec: MCP 2026-07-28 transports
    Raises: OnlyPostAllowed, RevisionUnsupported, HeaderMismatch, MethodUnknownModern, ParamsMalformed
    """
    revision = check_modern(http_method, headers)
    check_no_repeats(headers)
    method = single_header(headers, METHOD)
    if method is None:
        raise HeaderMismatch("no `Mcp-Method`, and no body")
    is_request = method not in NOTIFICATIONS
    rule = method_rule(method, era=Era.MODERN, is_request=is_request)
    if not rule.is_told_by_headers:
        raise MethodUnknownModern(f"no header says what `{method}` touches")
    name = _mirrored_name(headers, rule)
    return Message(
        kind=CallKind.REQUEST if is_request else CallKind.NOTIFICATION,
        era=Era.MODERN,
        revision=revision,
        method=method,
        targets=rule.targets({} if rule.mirrored is None else {rule.mirrored: name}),
        name=name,
    )


def _mirrored_name(headers: Headers, rule: MethodRule) -> str | None:
    if rule.mirrored is None:
        return None
    written = single_header(headers, NAME)
    if written is None:
        raise HeaderMismatch("no `Mcp-Name`, and no body")
    return decode_mirrored(written)
