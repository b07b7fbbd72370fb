"""One MCP request as we see it, and the answer that goes back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, TypeVar

Followed = TypeVar("Followed")

Headers = tuple[tuple[str, str], ...]
"""Header fields in order; names lower case, repeats kept."""


class SteadyFields:
    """Header fields that a client sends alike with every request; found by their octets, and kept with what follows.

    `fields` and `by_name` are as in `HeaderFields`. Nothing in it tells who the sender is.
    """

    __slots__ = ("_followed", "by_name", "fields")

    def __init__(self, octets: tuple[tuple[bytes, bytes], ...]) -> None:
        self.fields: Final = tuple([(_NAMES[name], value.decode("latin-1")) for name, value in octets])
        by_name: dict[str, list[str]] = {}
        for name, text in self.fields:
            by_name.setdefault(name, []).append(text)
        self.by_name: Final = {name: tuple(values) for name, values in by_name.items()}
        self._followed: Final[dict[Callable[[SteadyFields], Any], Any]] = {}

    def follow(self, work_out: Callable[[SteadyFields], Followed]) -> Followed:
        """What follows from these fields and nothing else, worked out once. `work_out` is a function of a module."""
        found: Followed
        try:
            found = self._followed[work_out]
        except KeyError:
            found = self._followed[work_out] = work_out(self)
        return found


class HeaderFields(tuple[tuple[str, str], ...]):
    """The same, of a request: `values_of` finds a field without a walk over all of them.

    The steady fields come first; of one name all are in order. `uncommon` are those whose names are not `_COMMON`.
    """

    by_name: dict[str, tuple[str, ...]]
    steady: SteadyFields
    uncommon: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, fields: Iterable[tuple[bytes, bytes]]) -> HeaderFields:
        """As they came in, whatever the case of their names. A byte is a character."""
        if type(fields) is not list:
            fields = list(fields)
        try:
            steady = _kept.get(key := tuple([each for each in fields if each[0] in _STEADY])) or _keep(key)
        except TypeError:  # a server whose fields are lists
            return cls.of([(bytes(name), bytes(value)) for name, value in fields])
        by_name = steady.by_name.copy()
        read: list[tuple[str, str]] = []
        uncommon: list[tuple[str, str]] = []
        repeated: dict[str, list[str]] = {}
        for octets, value in fields:
            if octets in _STEADY:
                continue
            text = value.decode("latin-1")
            name = _NAMES.get(octets)
            if name is None:
                name = octets.decode("latin-1").lower()
                if name in _COMMON:
                    return cls.of([(other.lower(), text) for other, text in fields])
                uncommon.append((name, text))
            read.append((name, text))
            if name in by_name:
                repeated.setdefault(name, [*by_name[name]]).append(text)
            else:
                by_name[name] = (text,)
        for name, values in repeated.items():
            by_name[name] = tuple(values)
        made = cls((*steady.fields, *read))
        made.by_name = by_name
        made.steady = steady
        made.uncommon = tuple(uncommon)
        return made


_STEADY = frozenset(
    {
        *(b"accept", b"accept-encoding", b"accept-language", b"connection", b"content-encoding", b"content-type"),
        *(b"host", b"mcp-method", b"mcp-name", b"mcp-protocol-version", b"origin", b"user-agent"),
    }
)
"""Names of what a client sends alike each time; none of what is secret, or tells one request from another."""

_NAMES = {
    octets: octets.decode()
    for octets in (
        *_STEADY,
        *(b"authorization", b"content-length", b"dpop", b"last-event-id", b"mcp-session-id", b"traceparent"),
        *(b"tracestate", b"x-forwarded-for", b"x-request-id"),
    )
}
"""Names that come with nearly every request, read once."""

_COMMON = frozenset(_NAMES.values())

MOST_STEADY = 1024
MOST_FIELDS = 24
LONGEST_STEADY = 4096
"""Anybody chooses what a request says: neither how many sets are kept nor how long they are may fill our memory."""

_kept: dict[tuple[tuple[bytes, bytes], ...], SteadyFields] = {}


def _keep(octets: tuple[tuple[bytes, bytes], ...]) -> SteadyFields:
    steady = SteadyFields(octets)
    if len(octets) <= MOST_FIELDS and sum([len(value) for _, value in octets]) <= LONGEST_STEADY:
        if len(_kept) >= MOST_STEADY:
            _kept.clear()
        _kept[octets] = steady
    return steady


def values_of(headers: Headers, name: str) -> tuple[str, ...]:
    """Every value of a field, in order; empty if it did not come."""
    if type(headers) is HeaderFields:
        return headers.by_name.get(name, ())
    return tuple([value for each, value in headers if each == name])


class CallKind(StrEnum):
    """What a message of the MCP endpoint is. The values of the last three stand as `method` in the journal."""

    REQUEST = "request"
    NOTIFICATION = "notification"
    RESPONSE = "response"
    STREAM = "GET"
    END = "DELETE"


class Action(StrEnum):
    """What policy is asked about: the actions of the Cedar schema."""

    CALL_TOOL = "call_tool"
    GET_PROMPT = "get_prompt"
    READ_RESOURCE = "read_resource"
    LIST = "list"
    EXCHANGE = "exchange"
    ISSUE = "issue"

    __hash__ = str.__hash__  # an enumeration's own is a call of Python for each look into a dict


@dataclass(frozen=True, slots=True)
class Target:
    """One thing that a call touches: `name` is the tool, the prompt or the MCP resource's URI; empty for LIST.

    `arguments` are those of an earlier call that this one is about, None where the call's own count.
    """

    action: Action
    name: str = ""
    arguments: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallBinding:
    """The one message that a call token is good for: RFC 9396 `mcp_call`.

    `name` is `params.name` or `params.uri`, None where there is neither. The digests are base64url SHA-256 over the
    RFC 8785 form of `params.arguments`, and of `params` without `_meta`.
    """

    method: str
    name: str | None
    arguments_sha256: str
    params_sha256: str


@dataclass(slots=True)  # one is made for every call: as frozen, but by its types, which costs a tenth
class Call:
    """One interpreted message; what is forwarded is `body`, and nothing was decided on anything else.

    `id` is ours and random; `rpc_id` is the peer's. `targets` is empty where any bound token suffices; several for a
    listen filter, and each must be permitted. `session` and `last_event_id` are the upstream's own values, unsealed.
    `binding` is what a call token for it says, None where
    the upstream takes none.
    """

    id: Final[str]
    kind: Final[CallKind]
    revision: Final[str]
    method: Final[str]
    targets: Final[tuple[Target, ...]]
    body: Final[bytes]
    headers: Final[Headers]
    rpc_id: Final[str | int | None] = None
    arguments: Final[Mapping[str, Any] | None] = None
    session: Final[str | None] = None
    last_event_id: Final[str | None] = None
    binding: Final[CallBinding | None] = None

    @property
    def name(self) -> str | None:
        """The tool, prompt or URI that the message names, for the journal."""
        return self.targets[0].name or None if self.targets else None


@dataclass(slots=True, kw_only=True)
class Reply:
    """The answer that goes to the caller; the body is whole, or a stream of chunks, possibly none.

    Of a whole one, `ended` is told once whether it was sent.
    """

    status: Final[int]
    headers: Final[Headers]
    body: Final[bytes | AsyncIterator[bytes]]
    ended: Final[Callable[[bool], None] | None] = None
