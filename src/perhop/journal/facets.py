"""Facets: what of a record can be looked for and counted, taken from its body.

They are kept beside the records, so that a question does not read the bodies. Nothing rests on them that cannot be
made from the bodies again, and `verify` holds every one against its body.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from perhop.rules.networks import network_of

LONGEST_NAME = 256
"""Characters of a tool's name or of an MCP resource's URI; a peer chooses it, and the body has all of it."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_TIME_LENGTH = len("2026-09-21T14:13:20.250000Z")


class Facets(NamedTuple):
    """The facets of one record; None for what it does not say. `time` is in microseconds since the epoch.

    `person` is the subject, where that is not the client itself. `network` is the /24 or /48 of the address. `client`
    presented the token or asked for it; `agent` is whose work it is. `in_aud` and `out_aud` are the audiences of the
    tokens that came in and went out.
    """

    time: int | None = None
    txn: str | None = None
    in_jti: str | None = None
    out_jti: str | None = None
    call_id: str | None = None
    person: str | None = None
    network: str | None = None
    user_agent: str | None = None
    event: str | None = None
    reason: str | None = None
    client: str | None = None
    agent: str | None = None
    tenant: str | None = None
    resource: str | None = None
    in_aud: str | None = None
    out_aud: str | None = None
    method: str | None = None
    name: str | None = None
    status: int | None = None
    error: str | None = None


KIND = Facets._fields[Facets._fields.index("event") :]
"""The facets that together say what kind of event it was; a busy journal has thousands of kinds, not millions."""


def parse_body(body: str | bytes) -> Mapping[str, Any]:
    """The members of a body; none of one that is no JSON object any more."""
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


def facets_of(fields: Mapping[str, Any]) -> Facets:
    """The facets of a record with these members, whatever somebody may have made of them."""
    inbound, outbound, call = _part(fields, "in"), _part(fields, "out"), _part(fields, "call")
    request, result = _part(fields, "request"), _part(fields, "result")
    client = _text(fields, "client") or _text(inbound, "client_id")
    subject = _text(inbound, "sub") or _text(outbound, "sub")
    name, ip, status = _text(call, "name"), _text(request, "ip"), result.get("status")
    return Facets(
        time=parse_microseconds(_text(fields, "time")),
        txn=_text(fields, "txn"),
        in_jti=_text(inbound, "jti"),
        out_jti=_text(outbound, "jti"),
        call_id=_text(call, "id"),
        person=subject if subject != client else None,
        network=network_of(ip) if ip else None,
        user_agent=_text(request, "user_agent"),
        event=_text(fields, "event"),
        reason=_text(fields, "reason"),
        client=client,
        agent=_text(inbound, "agent") or client,
        tenant=_text(fields, "tenant"),
        resource=_text(fields, "resource"),
        in_aud=_text(inbound, "aud"),
        out_aud=_text(outbound, "aud"),
        method=_text(call, "method"),
        name=name[:LONGEST_NAME] if name else None,
        status=status if type(status) is int and 0 <= status < 1000 else None,
        error=_text(result, "error"),
    )


def parse_microseconds(text: str | None) -> int | None:
    """A time as the journal writes it, in microseconds since the epoch; None for anything else."""
    if text is None or len(text) != _TIME_LENGTH or text[-1] != "Z":
        return None
    try:
        return (datetime.fromisoformat(text) - _EPOCH) // _MICROSECOND
    except ValueError:
        return None


def format_microseconds(moment: int) -> str:
    """A time as the journal writes it."""
    return (_EPOCH + moment * _MICROSECOND).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _part(fields: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = fields.get(name)
    return found if isinstance(found, dict) else {}


def _text(fields: Mapping[str, Any], name: str) -> str | None:
    """The member if it is a text that can be stored; an empty one says nothing."""
    found = fields.get(name)
    if not isinstance(found, str) or not found:
        return None
    # Half a surrogate pair stands in no record that we wrote, but may stand in one that was changed.
    return found if found.isascii() else found.encode("utf-8", "replace").decode()
