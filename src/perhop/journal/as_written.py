"""Reading number and facets out of a body as our writer writes it, without making objects of all the rest.

Most of the time that verification takes would go into parsing. A body that fits the pattern, from its first byte to its
last, is one JSON object in which every member that a facet is made of stands once at most, with a value that needs no
unescaping: it can be read in one way only, and the groups are what a parser would have found. Whatever does not fit is
for the parser.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache

from perhop.journal.facets import LONGEST_NAME, Facets, parse_microseconds
from perhop.journal.record import CallFacts, Inbound, Outbound, Record, RequestFacts, ResultFacts
from perhop.rules.networks import network_of

# ASCII without quote, backslash and control characters: what stands between the quotes is the text.
_LETTER = r"[ !#-\[\]-~]"
_STRING = f'"{_LETTER}*+"'
_NUMBER = "(?:0|[1-9][0-9]{0,18})"

_TEXT = f'"({_LETTER}++)"'
_STATUS = "(0|[1-9][0-9]{0,2})"
_SEQ = "([1-9][0-9]{0,18})"
_LONGEST_CHAIN = 9
"""Actors of a chain that are read, one within the other: four, and a gateway at each hop."""


def _value(depth: int) -> str:
    """Any JSON value without escapes and fractions, nested no deeper than this."""
    plain = f"{_STRING}|{_NUMBER}|true|false|null"
    if depth == 0:
        return f"(?:{plain})"
    inner = _value(depth - 1)
    # A comma only where something follows, none where nothing does.
    array = rf"\[(?:{inner}(?:,(?!\])|(?=\])))*+\]"
    members = rf"\{{(?:{_STRING}:{inner}(?:,(?!\}})|(?=\}})))*+\}}"
    return f"(?:{plain}|{array}|{members})"


def _chain(length: int) -> str:
    """An actor with those before it, as many at most."""
    before = f'(?:"act":{_chain(length - 1)},)?' if length > 1 else ""
    return rf'\{{{before}"sub":{_STRING}\}}'


def _members(names: Iterable[str], noted: Mapping[str, str]) -> str:
    """An object with these members in their order, each once at most; `noted` are the patterns of some values."""
    any_ = _value(2)
    parts = (rf'(?:"{name}":{noted.get(name, any_)}(?:,(?=")|(?=\}})))?' for name in sorted(names))
    return rf"\{{{''.join(parts)}\}}"


@cache
def _written() -> re.Pattern[str]:
    """Made when the first body is read: whoever reads none does not wait for it."""
    act = {"act": _chain(_LONGEST_CHAIN)}
    parts = {
        "in": _members(Inbound.__slots__, act | dict.fromkeys(("jti", "aud", "sub", "agent", "client_id"), _TEXT)),
        "out": _members(Outbound.__slots__, act | dict.fromkeys(("jti", "aud", "sub"), _TEXT)),
        "call": _members(CallFacts._fields, dict.fromkeys(("id", "method", "name", "data_plane"), _TEXT)),
        "request": _members(RequestFacts.__slots__, dict.fromkeys(("ip", "user_agent"), _TEXT)),
        "result": _members(ResultFacts._fields, {"error": _TEXT, "status": _STATUS}),
    }
    own = dict.fromkeys(("client", "event", "reason", "resource", "tenant", "time", "txn"), _TEXT)
    names = {*Record._fields, *parts, "seq", "time"} - {"inbound", "outbound", "alike"}
    return re.compile(_members(names, {**parts, **own, "seq": _SEQ}))


def read_as_written(body: bytes) -> tuple[int, Facets] | None:
    """The record's number and facets, as a parser and `facets_of` would give them; None if only those can tell."""
    try:
        found = _written().fullmatch(body.decode("ascii"))
    except UnicodeDecodeError:
        return None
    if found is None:
        return None
    # The groups stand in the order of the names: call, client, event, in, out, reason, ...
    (
        data_plane,
        call_id,
        method,
        name,
        own_client,
        event,
        in_agent,
        in_aud,
        in_client,
        in_jti,
        in_sub,
        out_aud,
        out_jti,
        out_sub,
        reason,
        ip,
        user_agent,
        resource,
        error,
        status,
        seq,
        tenant,
        time,
        txn,
    ) = found.groups()
    if seq is None:
        return None
    client = own_client or in_client
    subject = in_sub or out_sub
    facets = Facets(
        parse_microseconds(time),
        txn,
        in_jti,
        out_jti,
        call_id,
        subject if subject != client else None,
        network_of(ip) if ip is not None else None,
        user_agent,
        event,
        reason,
        client,
        in_agent or client,
        tenant,
        resource,
        in_aud,
        out_aud,
        method,
        name[:LONGEST_NAME] if name is not None else None,
        int(status) if status is not None else None,
        error,
        data_plane,
    )
    return int(seq), facets
