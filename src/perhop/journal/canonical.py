"""A record as text: canonical JSON, one spelling for one record. A field that is None is not written.

The text is the leaf of the tree, so it never changes: new fields may be added, none renamed.

There are two ways to the same text. The quick one joins what is written of each part, once for a part; `strictly`
says what the text is, and takes whatever the quick one does not.

Spec: RFC 8785 §3
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from json.encoder import encode_basestring as _quoted  # Python's escapes are those of RFC 8785 §3.2.2.2
from operator import attrgetter
from typing import Any, NamedTuple, get_args

from perhop.journal.facets import LONGEST_NAME, Facets, facets_of
from perhop.journal.moment import Moment, moment_of
from perhop.journal.moment import format_time as format_time
from perhop.journal.record import (
    CallFacts,
    DecisionFacts,
    Inbound,
    Outbound,
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

_Part = Inbound | Outbound | CallFacts | DecisionFacts | TaskFacts | ReportFacts | RequestFacts | ResultFacts

_MEMBERS = {part: attrgetter(*part.__slots__) for part in get_args(_Part)}
"""All members of a part at once."""

_NO_IN = Inbound()
_NO_OUT = Outbound(jti="", aud="", scope="", exp=0)
_NO_CALL = CallFacts(id="", method="")
_NO_REQUEST = RequestFacts()
_NO_RESULT = ResultFacts()


class Draft(NamedTuple):
    """A record that lacks only its number: the text before `seq`, and the text after it.

    Everything that can fail has been done, so the writer's transaction cannot fail for one bad record. `facets` are
    those that would be read from the body again.
    """

    head: str
    tail: str
    facets: Facets

    def body(self, seq: int) -> str:
        """The canonical JSON with this number."""
        return f'{self.head},"seq":{seq},{self.tail}'


def draft(record: Record, *, time: float) -> Draft:
    """Write the record down. INVARIANT: `event` sorts before `seq`, `time` after it, so neither part is empty.

    Raises: ParamsMalformed
    """
    moment = moment_of(time)
    head, tail = _head(record), _tail(record, moment)
    if _is_sound(head) and _is_sound(tail):
        return Draft(head, tail, _facets(record, moment.microseconds))
    return strictly(record, time=time)


def strictly(record: Record, *, time: float) -> Draft:
    """Write the record down by the rules of canonical JSON, member by member.

    Raises: ParamsMalformed
    """
    fields = {name: value for name, value in _fields(record, time) if value is not None}
    head = canonical_json(_clean({name: value for name, value in fields.items() if name < "seq"})).decode()
    tail = canonical_json(_clean({name: value for name, value in fields.items() if name > "seq"})).decode()
    return Draft(head[:-1], tail[1:], facets_of(fields))


# --- the quick way: it is on the way of every call --------------------------------------------------------------------


def _head(record: Record) -> str:
    """The members before `seq`, in their order."""
    before = "{"
    if record.about is not None:
        before += f'"about":{canonical_json(_clean(record.about)).decode()},'
    if record.call is not None and (call := _written(record.call)):
        before += f'"call":{call},'
    if record.client is not None:
        before += f'"client":{_quoted(record.client)},'
    if record.decision is not None and (decision := _written(record.decision)):
        before += f'"decision":{decision},'
    if record.detail is not None:
        before += f'"detail":{_quoted(record.detail)},'
    head = f'{before}"event":"{record.event}"'
    if record.hop is not None:
        head += f',"hop":{record.hop}'
    if record.inbound is not None and (inbound := _written(record.inbound)):
        head += f',"in":{inbound}'
    if record.outbound is not None and (outbound := _written(record.outbound)):
        head += f',"out":{outbound}'
    if record.owner is not None:
        head += f',"owner":{_quoted(record.owner)}'
    if record.parent_jti is not None:
        head += f',"parent_jti":{_quoted(record.parent_jti)}'
    if record.reason is not None:
        head += f',"reason":{_quoted(record.reason)}'
    if record.report is not None and (report := _written(record.report)):
        head += f',"report":{report}'
    if record.request is not None and (request := _written(record.request)):
        head += f',"request":{request}'
    if record.resource is not None:
        head += f',"resource":{_quoted(record.resource)}'
    if record.result is not None and (result := _written(record.result)):
        head += f',"result":{result}'
    return head


def _tail(record: Record, moment: Moment) -> str:
    """The members after `seq`, in their order."""
    tail = ""
    if record.task is not None and (task := _written(record.task)):
        tail = f'"task":{task},'
    if record.tenant is not None:
        tail += f'"tenant":{_quoted(record.tenant)},'
    tail += f'"time":"{moment.text}"'
    if record.txn is not None:
        tail += f',"txn":{_quoted(record.txn)}'
    return tail + "}"


def _written(part: _Part) -> str:
    """What is written of a part, nothing if it says nothing. A part is a value: its text is made once."""
    try:
        return part.written
    except AttributeError:
        made = _RENDERERS.get(type(part), _render)(part)
        object.__setattr__(part, "written", made)
        return made


def _render(part: _Part) -> str:
    members = _part(part)
    return _QUICK.encode(members) if members is not None else ""


def _render_call(call: CallFacts) -> str:
    text = "{"
    if call.arguments is not None:
        text += f'"arguments":{canonical_json(_clean(call.arguments)).decode()},'
    if call.arguments_mac is not None:
        text += f'"arguments_mac":{_quoted(call.arguments_mac)},'
    if call.data_plane is not None:
        text += f'"data_plane":{_quoted(call.data_plane)},'
    text += f'"id":{_quoted(call.id)},"method":{_quoted(call.method)}'
    if call.name is not None:
        text += f',"name":{_quoted(call.name)}'
    if call.revision is not None:
        text += f',"revision":{_quoted(call.revision)}'
    return text + "}"


def _render_result(result: ResultFacts) -> str:
    said = []
    if result.duration_ms is not None:
        said.append(f'"duration_ms":{result.duration_ms}')
    if result.error is not None:
        said.append(f'"error":{_quoted(result.error)}')
    if result.status is not None:
        said.append(f'"status":{result.status}')
    return f"{{{','.join(said)}}}" if said else ""


_RENDERERS: Mapping[type, Callable[[Any], str]] = {CallFacts: _render_call, ResultFacts: _render_result}
"""Parts that are new in every record, or nearly so."""


def _is_sound(text: str) -> bool:
    """False with half a surrogate pair in it, which is no text in JSON."""
    return text.isascii() or text.encode("utf-8", "replace").decode() == text


def _facets(record: Record, microseconds: int) -> Facets:
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


# --- the strict way ---------------------------------------------------------------------------------------------------


def _fields(record: Record, time: float) -> list[tuple[str, Any]]:
    return [
        ("time", format_time(time)),
        ("event", record.event.value),
        ("reason", record.reason),
        ("txn", record.txn),
        ("hop", record.hop),
        ("parent_jti", record.parent_jti),
        ("in", _part(record.inbound)),
        ("out", _part(record.outbound)),
        ("call", _part(record.call)),
        ("decision", _part(record.decision)),
        ("task", _part(record.task)),
        ("report", _part(record.report)),
        ("request", _part(record.request)),
        ("result", _part(record.result)),
        ("owner", record.owner),
        ("tenant", record.tenant),
        ("resource", record.resource),
        ("client", record.client),
        ("detail", record.detail),
        ("about", record.about),
    ]


def _part(part: _Part | None) -> dict[str, Any] | None:
    """The members that are set; None for a part that says nothing."""
    if part is None:
        return None
    members = zip(part.__slots__, _MEMBERS[type(part)](part), strict=True)
    return {name: value for name, value in members if value is not None} or None


def _clean(value: Any) -> Any:
    """Peers' text as JSON can hold it: half a surrogate pair becomes a question mark, and the record is written."""
    match value:
        case str() if not value.isascii():
            return value.encode("utf-8", "replace").decode()
        case tuple() | list():
            return [_clean(each) for each in value]
        case Mapping():
            return {_clean(name): _clean(each) for name, each in value.items()}
        case _:
            return value
