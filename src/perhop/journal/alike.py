"""Records that are alike: what they share is written once. The last of the three ways to a record's text.

Two records of one token's calls of one tool differ in the time, in the call's id, in the MAC of its arguments and in
how it ended. An `Alike` holds the rest as text, and the records that come after it are four pieces around these.

Spec: RFC 8785 §3
"""

from __future__ import annotations

from perhop.journal.facets import Facets
from perhop.journal.quick_text import (
    find_facets,
    is_sound,
    quoted,
    write_after_call,
    write_after_id,
    write_after_time,
    write_head,
    write_result,
    write_tail,
    write_until_call,
    write_until_id,
    write_until_time,
)
from perhop.journal.record import SHARED, Alike, Record, ResultFacts

_CALL_ID, _STATUS, _ERROR, _PLANE = (
    Facets._fields.index(name) for name in ("call_id", "status", "error", "data_plane")
)
_NO_RESULT = ResultFacts()
_as_tuple = tuple.__new__  # as `Facets(...)`, without the function that Python writes for it


def alike_to(record: Record) -> Alike | None:
    """What the records share that are like this one; None if only the other ways can write it."""
    call = record.call
    if call is None or not (is_sound(write_head(record)) and is_sound(write_tail(record, ""))):
        return None
    called = call._replace(id="", arguments=None, arguments_mac=None)
    facets = find_facets(record, 0)
    return Alike(
        members=record[:SHARED],
        called=(call.method, call.name, call.revision, call.data_plane),
        until_call=f'{write_until_call(record)}"call":{{',
        until_id=write_until_id(called),
        after_id=f"{write_after_id(called)},{write_after_call(record)}",
        until_time=write_until_time(record),
        after_time=write_after_time(record),
        facets_until_call=facets[1:_CALL_ID],
        facets_until_result=facets[_CALL_ID + 1 : _STATUS],
    )


def draft_alike(record: Record, alike: Alike, time: str, microseconds: int) -> tuple[str, str, Facets] | None:
    """Head, tail and facets of a record; None if it is not one of these after all, or another way must look at it."""
    call = record.call
    if call is None or call.arguments is not None or record[:SHARED] != alike.members:
        return None
    if (call.method, call.name, call.revision, call.data_plane) != alike.called:
        return None
    mac, result = call.arguments_mac, record.result
    said = f'"arguments_mac":{quoted(mac)},' if mac is not None else ""
    head = f"{alike.until_call}{said}{alike.until_id}{quoted(call.id)}{alike.after_id}"
    if result is None:
        result = _NO_RESULT
    else:
        head += write_result(result)
    if not head.isascii() and not is_sound(head):
        return None
    status = result.status
    facets = _as_tuple(
        Facets,
        (
            microseconds,
            *alike.facets_until_call,
            call.id or None,
            *alike.facets_until_result,
            status if status is not None and 0 <= status < 1000 else None,
            result.error or None,
            call.data_plane or None,
        ),
    )
    return head, f"{alike.until_time}{time}{alike.after_time}", facets
