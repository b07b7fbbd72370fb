"""One MCP request as we see it, and the answer that goes back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

Headers = tuple[tuple[str, str], ...]
"""Header fields in order; names lower case, repeats kept."""


class HeaderFields(tuple[tuple[str, str], ...]):
    """The same, of a request: `values_of` finds a field without a walk over all of them."""

    # A text where nothing came twice, as is usual.
    by_name: dict[str, str | tuple[str, ...]]

    @classmethod
    def of(cls, fields: Iterable[tuple[bytes, bytes]]) -> HeaderFields:
        """As they came in, whatever the case of their names. A byte is a character."""
        made = cls(
            [
                (_NAMES.get(octets) or octets.decode("latin-1").lower(), value.decode("latin-1"))
                for octets, value in fields
            ]
        )
        by_name: dict[str, str | tuple[str, ...]] = dict(made)
        if len(by_name) < len(made):
            repeated: dict[str, tuple[str, ...]] = {}
            for name, text in made:
                repeated[name] = (*repeated.get(name, ()), text)
            by_name = dict(repeated)
        made.by_name = by_name
        return made


_NAMES = {
    name.encode(): name
    for name in (
        *("accept", "accept-encoding", "accept-language", "authorization", "connection", "content-length"),
        *("content-type", "dpop", "host", "last-event-id", "mcp-method", "mcp-name", "mcp-protocol-version"),
        *("mcp-session-id", "origin", "traceparent", "tracestate", "user-agent", "x-forwarded-for", "x-request-id"),
    )
}
"""Names that come with nearly every request, read once."""


def values_of(headers: Headers, name: str) -> tuple[str, ...]:
    """Every value of a field, in order; empty if it did not come."""
    if type(headers) is HeaderFields:
        value = headers.by_name.get(name, ())
        return (value,) if isinstance(value, str) else value
    return tuple(value for each, value in headers if each == name)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One interpreted message; what is forwarded is `body`, and nothing was decided on anything else.

    `id` is ours and random; `rpc_id` is the peer's. `targets` is empty where any bound token suffices; several for a
    listen filter, and each must be permitted. `session` and `last_event_id` are the upstream's own values, unsealed.
    `binding` is what a call token for it says, None where
    the upstream takes none.
    """

    id: str
    kind: CallKind
    revision: str
    method: str
    targets: tuple[Target, ...]
    body: bytes
    headers: Headers
    rpc_id: str | int | None = None
    arguments: Mapping[str, Any] | None = None
    session: str | None = None
    last_event_id: str | None = None
    binding: CallBinding | None = None

    @property
    def name(self) -> str | None:
        """The tool, prompt or URI that the message names, for the journal."""
        return self.targets[0].name or None if self.targets else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The answer that goes to the caller; the body is whole, or a stream of chunks, possibly none.

    Of a whole one, `ended` is told once whether it was sent.
    """

    status: int
    headers: Headers
    body: bytes | AsyncIterator[bytes]
    ended: Callable[[bool], None] | None = None
