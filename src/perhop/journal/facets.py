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
    tokens that came in and went out. `data_plane` is set where another proxy carries the call, and nobody sees its end.
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
    data_plane: str | None = None


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
    """The facets of a record with these members, whatever somebody may have made of them.

    Written for speed: it is on the way of every record.
    """
    get = fields.get
    inbound, outbound, call = _part(get("in")), _part(get("out")), _part(get("call"))
    request, result = _part(get("request")), _part(get("result"))
    name, ip, time, status = call.get("name"), request.get("ip"), get("time"), result.get("status")
    client = _text(get("client")) or _text(inbound.get("client_id"))
    subject = _text(inbound.get("sub")) or _text(outbound.get("sub"))
    return Facets(
        parse_microseconds(time) if type(time) is str else None,
        _text(get("txn")),
        _text(inbound.get("jti")),
        _text(outbound.get("jti")),
        _text(call.get("id")),
        subject if subject != client else None,
        network_of(ip) if type(ip) is str and ip else None,
        _text(request.get("user_agent")),
        _text(get("event")),
        _text(get("reason")),
        client,
        _text(inbound.get("agent")) or client,
        _text(get("tenant")),
        _text(get("resource")),
        _text(inbound.get("aud")),
        _text(outbound.get("aud")),
        _text(call.get("method")),
        _text(name[:LONGEST_NAME]) if type(name) is str else None,
        status if type(status) is int and 0 <= status < 1000 else None,
        _text(result.get("error")),
        _text(call.get("data_plane")),
    )


def parse_microseconds(text: str | None) -> int | None:
    """A time as the journal writes it, in microseconds since the epoch; None for anything else."""
    if text is None or len(text) != _TIME_LENGTH or not text.endswith("Z"):
        return None
    try:
        return (datetime.fromisoformat(text) - _EPOCH) // _MICROSECOND
    except ValueError:
        return None


def format_microseconds(moment: int) -> str:
    """A time as the journal writes it."""
    return (_EPOCH + moment * _MICROSECOND).isoformat(timespec="microseconds").replace("+00:00", "Z")


_NOTHING: Mapping[str, Any] = {}


def _part(found: object) -> Mapping[str, Any]:
    return found if type(found) is dict else _NOTHING


def _text(found: object) -> str | None:
    """The member if it is a text; an empty one says nothing."""
    if type(found) is not str or not found:
        return None
    # Half a surrogate pair cannot be stored; in the body of a record that we wrote, a question mark has its place, too.
    return found if found.isascii() else found.encode("utf-8", "replace").decode()
