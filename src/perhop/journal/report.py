"""A report: what a server says it saw of one request, on its way from the server's guard to the journal.

Both ends of that way write and read it here. Never holds a token, a secret or an argument value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from perhop.journal.facets import parse_microseconds
from perhop.journal.record import CallFacts, Event, Inbound, RequestFacts

EVENTS = frozenset({Event.CALL_ADMITTED, Event.CALL_REFUSED, Event.JOURNAL_SUPPRESSED})
"""What a server may report."""

UNREAD = "POST"
"""The `method` of a message that was not read, as at the gateway."""

MAX_TEXT = 2048
MAX_USER_AGENT = 256

_ID = re.compile(r"[0-9a-f]{32}")
_CALL_ID = re.compile(r"[0-9a-f]{16}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_THUMBPRINT = re.compile(r"[A-Za-z0-9_-]{43}")
_REASON = re.compile(r"[a-z]{1,32}\.[a-z_]{1,32}")


class ReportMalformed(ValueError):
    """The members are no report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One request that a server admitted or refused, or a count of refusals.

    `id` is 32 random hex digits, `time` the moment by the server's clock, in the journal's form. `resource` is the
    audience by which the server is addressed. `call.id` is the gateway's where one sent it, else the server's own.
    `inbound` has the token's claims only if its signature held. `about` is of a count: `count`, `first`, `last`.
    """

    id: str
    time: str
    event: Event
    resource: str
    call: CallFacts
    inbound: Inbound | None = None
    txn: str | None = None
    hop: int | None = None
    reason: str | None = None
    request: RequestFacts | None = None
    about: Mapping[str, Any] | None = None


def render_report(report: Report) -> dict[str, Any]:
    """The members of a report; what is None is left out."""
    return _set(
        {
            "id": report.id,
            "time": report.time,
            "event": report.event.value,
            "resource": report.resource,
            "txn": report.txn,
            "hop": report.hop,
            "reason": report.reason,
            "in": _render_inbound(report.inbound),
            "call": _render_call(report.call),
            "request": _render_request(report.request),
            "about": dict(report.about) if report.about is not None else None,
        }
    )


def parse_report(members: object) -> Report:
    """Read what a server sent; members that we do not know are passed over, since servers may be newer than we are.

    Does not look whether the server may speak of this resource, or whether it tells the truth.

    Raises: ReportMalformed
    """
    report = _object(members, "report")
    parsed = Report(
        id=_matching(report, "id", _ID) or _missing("id"),
        time=_moment(report, "time"),
        event=_event(_text(report, "event")),
        resource=_text(report, "resource") or _missing("resource"),
        call=_parse_call(report.get("call")),
        inbound=_parse_inbound(report["in"]) if "in" in report else None,
        txn=_text(report, "txn"),
        hop=_whole(report, "hop", most=64),
        reason=_matching(report, "reason", _REASON),
        request=_parse_request(report["request"]) if "request" in report else None,
        about=_parse_count(report["about"]) if "about" in report else None,
    )
    _check_whole(parsed)
    return parsed


def _check_whole(report: Report) -> None:
    """Every event has what makes it one."""
    match report.event:
        case Event.CALL_ADMITTED:
            has_claims = report.inbound is not None and None not in (report.inbound.jti, report.inbound.aud)
            is_whole = has_claims and report.reason is None
        case Event.CALL_REFUSED:
            is_whole = report.reason is not None
        case _:
            is_whole = report.about is not None and report.reason is not None
    if not is_whole:
        raise ReportMalformed(f"a `{report.event.value}` lacks a member, or has one too many")


def _render_inbound(inbound: Inbound | None) -> dict[str, Any] | None:
    """All but `act`: of a token of ours the journal has it since the token was made."""
    if inbound is None:
        return None
    names = ("jti", "aud", "sub", "agent", "client_id", "scope", "exp", "cnf", "unverified")
    return _set({name: getattr(inbound, name) for name in names})


def _parse_inbound(value: object) -> Inbound:
    claims = _object(value, "in")
    unverified = _matching(claims, "unverified", _DIGEST)
    if unverified is not None:
        # Claims beside it would be nobody's word.
        return Inbound(unverified=unverified)
    return Inbound(
        jti=_text(claims, "jti") or _missing("in.jti"),
        aud=_text(claims, "aud"),
        sub=_text(claims, "sub"),
        agent=_text(claims, "agent"),
        client_id=_text(claims, "client_id"),
        scope=_text(claims, "scope", may_be_empty=True),
        exp=_whole(claims, "exp", most=2**53),
        cnf=_parse_cnf(claims["cnf"]) if "cnf" in claims else None,
    )


def _parse_cnf(value: object) -> dict[str, str]:
    return {"jkt": _matching(_object(value, "in.cnf"), "jkt", _THUMBPRINT) or _missing("in.cnf.jkt")}


def _render_call(call: CallFacts) -> dict[str, Any]:
    return _set({"id": call.id, "method": call.method, "name": call.name, "revision": call.revision})


def _parse_call(value: object) -> CallFacts:
    call = _object(value, "call")
    return CallFacts(
        id=_matching(call, "id", _CALL_ID) or _missing("call.id"),
        method=_text(call, "method") or _missing("call.method"),
        name=_text(call, "name"),
        revision=_text(call, "revision"),
    )


def _render_request(request: RequestFacts | None) -> dict[str, Any] | None:
    if request is None:
        return None
    return _set({"ip": request.ip, "user_agent": request.user_agent, "sender_key": request.sender_key}) or None


def _parse_request(value: object) -> RequestFacts:
    request = _object(value, "request")
    return RequestFacts(
        ip=_text(request, "ip"),
        user_agent=_text(request, "user_agent"),
        sender_key=_matching(request, "sender_key", _THUMBPRINT),
    )


def _parse_count(value: object) -> Mapping[str, Any]:
    about = _object(value, "about")
    count = _whole(about, "count", most=2**53) or _missing("about.count")
    return {"count": count, "first": _moment(about, "first"), "last": _moment(about, "last")}


def _moment(members: Mapping[str, Any], name: str) -> str:
    text = _text(members, name)
    if text is None or parse_microseconds(text) is None:
        raise ReportMalformed(f"`{name}` is not a time")
    return text


def _event(text: str | None) -> Event:
    found = next((event for event in EVENTS if event.value == text), None)
    if found is None:
        raise ReportMalformed("`event`")
    return found


def _object(value: object, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ReportMalformed(f"`{name}` is not an object")
    return value


def _text(members: Mapping[str, Any], name: str, *, may_be_empty: bool = False) -> str | None:
    value = members.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > MAX_TEXT or not (value or may_be_empty):
        raise ReportMalformed(f"`{name}` is not a text of fitting length")
    return value


def _matching(members: Mapping[str, Any], name: str, pattern: re.Pattern[str]) -> str | None:
    value = _text(members, name)
    if value is not None and pattern.fullmatch(value) is None:
        raise ReportMalformed(f"`{name}` is of another form")
    return value


def _whole(members: Mapping[str, Any], name: str, *, most: int) -> int | None:
    value = members.get(name)
    if value is not None and not (type(value) is int and 0 <= value <= most):
        raise ReportMalformed(f"`{name}` is not a whole number of fitting size")
    return value


def _missing(name: str) -> NoReturn:
    raise ReportMalformed(f"`{name}` is missing")


def _set(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}
