"""What one message of the MCP endpoint says: the value that `mcp_message` reads it into, and the bounds of one.

Spec: MCP 2026-07-28 transports
Spec: MCP 2025-11-25 transports
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from perhop.core.call import CallKind, Headers, Target
from perhop.rules.mcp_headers import mirrored_headers
from perhop.rules.mcp_methods import Era
from perhop.rules.strict_json import render_json

MAX_BODY_BYTES = 1024 * 1024
MAX_ID_LENGTH = 256
MAX_METHOD_LENGTH = 256
MAX_SAFE_INTEGER = 2**53 - 1
"""Beyond it, a peer that reads numbers as doubles takes two ids for one."""

VERSION_KEY = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES_KEY = "io.modelcontextprotocol/clientCapabilities"


@dataclass(slots=True)  # one is made for every call: as frozen, but by its types
class Message:
    """One message. `value` is what its body says, None without one.

    `method` is `response`, `GET` or `DELETE` where there is none. `arguments` is None where the method has none.
    `tasks` are the McpTasks that it is about: each must be judged as the call that has opened it. `name` is what a
    modern revision mirrors in a header. `rendered` is `body` where that is written already.
    """

    kind: Final[CallKind]
    era: Final[Era]
    revision: Final[str]
    method: Final[str]
    value: Final[Mapping[str, Any] | None] = None
    rpc_id: Final[str | int | None] = None
    params: Final[Mapping[str, Any]] = field(default_factory=dict)
    targets: Final[tuple[Target, ...]] = ()
    tasks: Final[tuple[str, ...]] = ()
    arguments: Final[Mapping[str, Any] | None] = None
    name: Final[str | None] = None
    rendered: Final[bytes | None] = field(default=None, compare=False, repr=False)

    @property
    def mirrored(self) -> Headers:
        """The headers that a modern revision wants beside this body."""
        if self.era is not Era.MODERN:
            return ()
        return mirrored_headers(revision=self.revision, method=self.method, name=self.name)

    @property
    def body(self) -> bytes:
        """What may go on: written anew from the parsed value, so nobody reads it differently."""
        if self.rendered is not None:
            return self.rendered
        return b"" if self.value is None else render_json(self.value)
