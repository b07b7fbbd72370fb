"""The quick way to a record's text: what is written of each part, once for a part, and joined. See `canonical`.

Spec: RFC 8785 §3
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from json.encoder import encode_basestring  # Python's escapes are those of RFC 8785 §3.2.2.2
from typing import Any

from perhop.journal.facets import LONGEST_NAME, Facets
from perhop.journal.record import (
    CallFacts,
    DecisionFacts,
    Inbound,
    Outbound,
    Part,
    Record,
    ReportFacts,
    RequestFacts,
    ResultFacts,
    TaskFacts,
)
from perhop.rules.canonical_json import canonical_json
from perhop.rules.networks import network_of

# For texts, integers and objects with ASCII names this is the RFC 8785 form, several times faster.
_QUICK = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))

quoted = encode_basestring
"""A text between quotation marks."""

_Kept = Inbound | Outbound | DecisionFacts | TaskFacts | ReportFacts | RequestFacts

_NO_IN = Inbound()
_NO_OUT = Outbound(jti="", aud="", scope="", exp=0)
_NO_CALL = CallFacts(id="", method="")
_NO_REQUEST = RequestFacts()
_NO_RESULT = ResultFacts()


def write_head(record: Record) -> str:
    """The members before `seq`, in their order."""
    call, result = record.call, record.result
    called = f'"call":{{{write_until_id(call)}{quoted(call.id)}{write_after_id(call)},' if call is not None else ""
    return f"{write_until_call(record)}{called}{write_after_call(record)}{write_result(result)}"


def write_until_call(record: Record) -> str:
    """The beginning, and what stands before `call`."""
    about = record.about
    if about is None:
        return "{"
    return f'{{"about":{_write_texts(about) or canonical_json(clean(about)).decode()},'


def _write_texts(members: Mapping[str, Any]) -> str:
    """An object of nothing but texts, under ASCII names; nothing for any other."""
    for name, value in members.items():
        if type(value) is not str or not name.isascii():
            return ""
    return f"{{{','.join([f'{quoted(name)}:{quoted(value)}' for name, value in sorted(members.items())])}}}"


def write_until_id(call: CallFacts) -> str:
    """The members of `call` before its id, and the name of that."""
    text = ""
    if call.arguments is not None:
        text += f'"arguments":{canonical_json(clean(call.arguments)).decode()},'
    if call.arguments_mac is not None:
        text += f'"arguments_mac":{quoted(call.arguments_mac)},'
    if call.data_plane is not None:
        text += f'"data_plane":{quoted(call.data_plane)},'
    return f'{text}"id":'


def write_after_id(call: CallFacts) -> str:
    """The members of `call` after its id, and its end."""
    text = f',"method":{quoted(call.method)}'
    if call.name is not None:
        text += f',"name":{quoted(call.name)}'
    if call.revision is not None:
        text += f',"revision":{quoted(call.revision)}'
    return text + "}"


def write_after_call(record: Record) -> str:
    """What stands between `call` and `result`."""
    before = ""
    if record.client is not None:
        before += f'"client":{quoted(record.client)},'
    if record.decision is not None and (decision := _written(record.decision)):
        before += f'"decision":{decision},'
    if record.detail is not None:
        before += f'"detail":{quoted(record.detail)},'
    head = f'{before}"event":"{record.event._value_}"'
    if record.hop is not None:
        head += f',"hop":{record.hop}'
    if record.inbound is not None and (inbound := _written(record.inbound)):
        head += f',"in":{inbound}'
    if record.outbound is not None and (outbound := _written(record.outbound)):
        head += f',"out":{outbound}'
    if record.owner is not None:
        head += f',"owner":{quoted(record.owner)}'
    if record.parent_jti is not None:
        head += f',"parent_jti":{quoted(record.parent_jti)}'
    if record.reason is not None:
        head += f',"reason":{quoted(record.reason)}'
    if record.report is not None and (report := _written(record.report)):
        head += f',"report":{report}'
    if record.request is not None and (request := _written(record.request)):
        head += f',"request":{request}'
    if record.resource is not None:
        head += f',"resource":{quoted(record.resource)}'
    return head


def write_result(result: ResultFacts | None) -> str:
    """How it ended, the last member before `seq`; nothing if that is not said."""
    if result is None:
        return ""
    status, error, duration_ms = result
    said = f'"duration_ms":{duration_ms},' if duration_ms is not None else ""
    if error is not None:
        said += f'"error":{quoted(error)},'
    if status is not None:
        said += f'"status":{status},'
    return f',"result":{{{said[:-1]}}}' if said else ""


def write_tail(record: Record, time: str) -> str:
    """The members after `seq`, in their order."""
    return f"{write_until_time(record)}{time}{write_after_time(record)}"


def write_until_time(record: Record) -> str:
    """What stands between `seq` and the time."""
    text = ""
    if record.task is not None and (task := _written(record.task)):
        text = f'"task":{task},'
    if record.tenant is not None:
        text += f'"tenant":{quoted(record.tenant)},'
    return f'{text}"time":"'


def write_after_time(record: Record) -> str:
    """What stands after the time, and the end."""
    return f'","txn":{quoted(record.txn)}}}' if record.txn is not None else '"}'


def _written(part: _Kept) -> str:
    """What is written of a part, nothing if it says nothing. A part is a value: its text is made once."""
    try:
        return part.written
    except AttributeError:
        if type(part) is Outbound:
            made = _write_outbound(part)
        else:
            members = members_of(part)
            made = _QUICK.encode(members) if members is not None else ""
        object.__setattr__(part, "written", made)
        return made


def _write_outbound(out: Outbound) -> str:
    """As of any other part, whose members are looked at one by one: every token that goes out is another."""
    act = f'"act":{_QUICK.encode(out.act)},' if out.act is not None else ""
    cnf = f'"cnf":{_QUICK.encode(out.cnf)},' if out.cnf is not None else ""
    sub = f',"sub":{quoted(out.sub)}' if out.sub is not None else ""
    said = f'"exp":{out.exp},"jti":{quoted(out.jti)},"scope":{quoted(out.scope)}'
    return f'{{{act}"aud":{quoted(out.aud)},{cnf}{said}{sub}}}'


def is_sound(text: str) -> bool:
    """False with half a surrogate pair in it, which is no text in JSON."""
    return text.isascii() or text.encode("utf-8", "replace").decode() == text


def find_facets(record: Record, microseconds: int) -> Facets:
    """The facets of a sound record, as `facets_of` finds them in its members: an empty text says nothing."""
    inbound, outbound, call = record.inbound or _NO_IN, record.outbound or _NO_OUT, record.call or _NO_CALL
    request, result = record.request or _NO_REQUEST, record.result or _NO_RESULT
    client = record.client or inbound.client_id or None
    subject = inbound.sub or outbound.sub or None
    name, status = call.name, result.status
    return Facets(
        microseconds,
        record.txn or None,
        inbound.jti or None,
        outbound.jti or None,
        call.id or None,
        subject if subject != client else None,
        network_of(request.ip) if request.ip else None,
        request.user_agent or None,
        record.event._value_,
        record.reason or None,
        client,
        inbound.agent or client,
        record.tenant or None,
        record.resource or None,
        inbound.aud or None,
        outbound.aud or None,
        call.method or None,
        name[:LONGEST_NAME] if name else None,
        status if status is not None and 0 <= status < 1000 else None,
        result.error or None,
        call.data_plane or None,
    )


def members_of(part: Part | CallFacts | ResultFacts | None) -> dict[str, Any] | None:
    """The members that are set; None for a part that says nothing."""
    if part is None:
        return None
    members = part._asdict() if isinstance(part, tuple) else {name: getattr(part, name) for name in part.__slots__}
    return {name: value for name, value in members.items() if value is not None} or None


def clean(value: Any) -> Any:
    """Peers' text as JSON can hold it: half a surrogate pair becomes a question mark, and the record is written."""
    match value:
        case str() if not value.isascii():
            return value.encode("utf-8", "replace").decode()
        case tuple() | list():
            return [clean(each) for each in value]
        case Mapping():
            return {clean(name): clean(each) for name, each in value.items()}
        case _:
            return value
