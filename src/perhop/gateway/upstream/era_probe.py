"""Which era a stdio server speaks: asked once, before anything else is sent to its process.

Spec: MCP 2026-07-28 transports
Spec: MCP 2025-11-25 lifecycle
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from perhop.errors import UpstreamUnavailable
from perhop.gateway.upstream.conversation import Conversation
from perhop.rules.mcp_message import CAPABILITIES_KEY, VERSION_KEY
from perhop.rules.mcp_methods import LEGACY_REVISIONS, MODERN_REVISIONS

PROBE_SECONDS = 5.0
"""A server of the handshake era may not answer the probe at all; a starter may still be fetching the server."""

_CLIENT = {"name": "perhop-gateway", "version": "1"}
_META = {
    VERSION_KEY: MODERN_REVISIONS[0],
    CAPABILITIES_KEY: {},
    "io.modelcontextprotocol/clientInfo": _CLIENT,
}
DISCOVER = {"jsonrpc": "2.0", "id": "discover", "method": "server/discover", "params": {"_meta": _META}}
_INITIALIZE = {
    "jsonrpc": "2.0",
    "id": "initialize",
    "method": "initialize",
    "params": {"protocolVersion": LEGACY_REVISIONS[0], "capabilities": {}, "clientInfo": _CLIENT},
}
PING = {"jsonrpc": "2.0", "id": "ping", "method": "ping"}
"""For the handshake era, as `DISCOVER` for the other: a question that every server answers at once."""

_INITIALIZED = {"jsonrpc": "2.0", "method": "notifications/initialized"}

Answer = asyncio.Task[Mapping[str, Any]]

Agreed = str
"""The revision that a handshake came to."""


async def meet(conversation: Conversation, *, seconds: float, discovers: bool) -> Agreed | None:
    """Find out the server's era: None for the stateless one, else the handshake is done and has come to a revision.

    `discovers` is False for a server that did not survive being asked for a discovery.

    Raises: UpstreamUnavailable
    """
    discovering = _ask(conversation, DISCOVER) if discovers else None
    opening: Answer | None = None
    try:
        async with asyncio.timeout(seconds):
            if discovering is not None:
                await asyncio.wait({discovering}, timeout=PROBE_SECONDS)
                if _is_modern(discovering):
                    return None
            opening = _ask(conversation, _INITIALIZE)
            # The answer to the probe may come late; it counts as long as the handshake has not been answered.
            both = {each for each in (discovering, opening) if each is not None and not each.done()}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if discovering is not None and _is_modern(discovering):
                return None
            answer = await opening
    except TimeoutError:
        raise UpstreamUnavailable(f"it did not answer within {seconds:g} s") from None
    finally:
        for each in (discovering, opening):
            if each is not None:
                each.cancel()
    revision = _agreed(answer)
    if revision is None:
        said = json.dumps(answer.get("error") or answer.get("result"))[:200]
        raise UpstreamUnavailable(f"it takes no handshake of a revision that is served here, and answers {said}")
    conversation.tell(_INITIALIZED)
    return revision


async def takes_handshake(conversation: Conversation, *, seconds: float) -> bool:
    """True if a process of the server that was asked nothing else takes a handshake of a revision that is served here.

    Raises: UpstreamUnavailable
    """
    try:
        async with asyncio.timeout(seconds):
            return _agreed(await conversation.answer(_INITIALIZE)) is not None
    except TimeoutError:
        raise UpstreamUnavailable(f"it did not answer a handshake within {seconds:g} s") from None


def _ask(conversation: Conversation, message: Mapping[str, Any]) -> Answer:
    return asyncio.create_task(conversation.answer(message))


def _is_modern(discovering: Answer) -> bool:
    """True for an answer that names a revision of ours.

    Raises: UpstreamUnavailable
    """
    if not discovering.done():
        return False
    answer = discovering.result()
    result, error = answer.get("result"), answer.get("error")
    named = result.get("supportedVersions") if isinstance(result, dict) else _supported(error)
    if not isinstance(named, list) or any(each in LEGACY_REVISIONS for each in named if isinstance(each, str)):
        return isinstance(named, list) and MODERN_REVISIONS[0] in named
    if MODERN_REVISIONS[0] not in named:
        raise UpstreamUnavailable(f"it speaks only {json.dumps(named)[:100]}, which is not served here")
    return True


def _supported(error: object) -> object:
    """What an error of the modern era says is supported. Spec: MCP 2026-07-28 basic/versioning."""
    data = error.get("data") if isinstance(error, dict) and error.get("code") == -32022 else None
    return data.get("supported") if isinstance(data, dict) else None


def _agreed(answer: Mapping[str, Any]) -> Agreed | None:
    """The revision that the server answered a handshake with; None if it refuses, or names none that is served here."""
    result = answer.get("result")
    revision = result.get("protocolVersion") if isinstance(result, dict) else None
    return revision if revision in LEGACY_REVISIONS else None
