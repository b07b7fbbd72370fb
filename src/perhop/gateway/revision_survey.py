"""Find out which revisions an upstream speaks, asking as a client of our own.

Evidence for one era is needed to say that the other is not spoken: an upstream that says no to both has shown nothing.

Spec: MCP 2026-07-28 versioning
Spec: MCP 2025-11-25 lifecycle
"""

from __future__ import annotations

from perhop.gateway.revisions import Spoken
from perhop.gateway.tool_listing import Asking, Listing, Outcome, Page, Presenting
from perhop.gateway.upstream.interface import Upstream
from perhop.rules.mcp_headers import SESSION, VERSION
from perhop.rules.mcp_methods import LEGACY_REVISIONS, MODERN_REVISIONS, Era

UNSUPPORTED_REVISION = -32022

_SAYS_NOTHING = frozenset({401, 403, 407, 408, 425, 429})
"""Answers that are about the caller or the moment, as all from 500 on are."""


async def survey_revisions(upstream: Upstream, presenting: Presenting, listing: Listing) -> Spoken:
    """The revisions of each era, as far as there is evidence. `listing` is what came of asking for the tools.

    Raises: UpstreamUnavailable, AnswerUnfit, and what `presenting` raises
    """
    asking = Asking(upstream, presenting)
    modern = _modern(await asking.discover(), listing)
    if listing.revision in LEGACY_REVISIONS:
        legacy: tuple[str, ...] | None = (listing.revision,)
    else:
        legacy = await _legacy(asking)
    known = {Era.MODERN: modern, Era.LEGACY: legacy}
    is_evident = any(known.values())
    return {era: spoken for era, spoken in known.items() if spoken is not None and (spoken or is_evident)}


def _modern(discovered: Page, listing: Listing) -> tuple[str, ...] | None:
    """None where the server has shown neither that it speaks the stateless revision nor that it does not."""
    named = discovered.result.get("supportedVersions", _named_by(discovered))
    if isinstance(named, list):
        return tuple(each for each in MODERN_REVISIONS if each in named)
    if _is_silent(discovered) or listing.revision in MODERN_REVISIONS:
        return None
    return ()


async def _legacy(asking: Asking) -> tuple[str, ...] | None:
    """The same for the revisions with a handshake, by a handshake."""
    opened = await asking.open()
    if opened.outcome is Outcome.ACCEPTED and opened.result:
        agreed = opened.result.get("protocolVersion")
        if opened.session is not None:
            version = agreed if isinstance(agreed, str) else LEGACY_REVISIONS[0]
            await asking.end(((VERSION, version), (SESSION, opened.session)))
        return (agreed,) if isinstance(agreed, str) and agreed in LEGACY_REVISIONS else None
    named = _named_by(opened)
    if isinstance(named, list):
        return tuple(each for each in LEGACY_REVISIONS if each in named)
    return None if _is_silent(opened) else ()


def _named_by(page: Page) -> object:
    """What an error of the modern era names as supported. Spec: MCP 2026-07-28 versioning."""
    data = page.error.get("data") if page.error.get("code") == UNSUPPORTED_REVISION else None
    return data.get("supported") if isinstance(data, dict) else None


def _is_silent(page: Page) -> bool:
    return page.status in _SAYS_NOTHING or page.status >= 500
