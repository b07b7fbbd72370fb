"""The helpers for authors' tests: the check finds the faults that it is there to find."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from perhop.resource_server import Guard
from perhop.resource_server.testing import ThrowawayIssuer, assert_audience_enforced, throwaway_issuer
from perhop.tokens.parse import parse_compact

RESOURCE = "http://127.0.0.1:9001/mcp"


async def _serves_all(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def _serves_none(_scope: Any, _receive: Any, send: Any) -> None:
    headers = [(b"www-authenticate", b"Bearer")]
    await send({"type": "http.response.start", "status": 401, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def _application(accepts: Callable[[dict[str, Any] | None], bool]) -> Any:
    """A server that believes every token and looks at nothing but what `accepts` says of its claims."""

    async def app(asgi_scope: Any, receive: Any, send: Any) -> None:
        if asgi_scope["type"] == "lifespan":
            raise RuntimeError("no lifespan")
        values = [value for name, value in asgi_scope["headers"] if name == b"authorization"]
        claims = dict(parse_compact(values[0].decode()[7:]).payload) if values else None
        await (_serves_all if accepts(claims) else _serves_none)(asgi_scope, receive, send)

    return app


async def test_a_guarded_application_passes() -> None:
    """All attempts on a guarded application end as they should, and are told one by one."""
    async with throwaway_issuer() as issuer:
        guard = Guard(resource=RESOURCE, issuers=[issuer.url])

        async def app(asgi_scope: Any, receive: Any, send: Any) -> None:
            if asgi_scope["type"] == "lifespan":
                await receive()
                await send({"type": "lifespan.startup.complete"})
                await receive()
                await send({"type": "lifespan.shutdown.complete"})
            else:
                await _serves_all(asgi_scope, receive, send)

        attempts = await assert_audience_enforced(guard.asgi(app), issuer=issuer, resource=RESOURCE)
    assert len(attempts) > 20
    assert [attempt.title for attempt in attempts if attempt.is_good] == ["a right token"]


@pytest.mark.parametrize(
    ("accepts", "fault"),
    [
        (lambda claims: True, "no token: HTTP 200"),
        (lambda claims: claims is not None, "a token for another resource: HTTP 200"),
        (lambda claims: RESOURCE in ((claims or {}).get("aud") or ()), "a token for two resources: HTTP 200"),
        (lambda claims: str((claims or {}).get("aud")).startswith(RESOURCE), "whose name begins alike: HTTP 200"),
        (lambda claims: str((claims or {}).get("aud")).rstrip("/") == RESOURCE, "and a slash: HTTP 200"),
        (lambda claims: (claims or {}).get("aud", RESOURCE) == RESOURCE, "a token without audience: HTTP 200"),
        (lambda claims: False, "a right token: HTTP 401"),
    ],
)
async def test_each_fault_is_found(accepts: Callable[[dict[str, Any] | None], bool], fault: str) -> None:
    """A server that checks too little, or takes nothing at all, does not pass."""
    async with throwaway_issuer() as issuer:
        with pytest.raises(AssertionError, match=fault):
            await assert_audience_enforced(_application(accepts), issuer=issuer, resource=RESOURCE)


async def test_an_issuer_keeps_to_itself() -> None:
    """Tokens of one issuer to throw away are worth nothing where another one is trusted."""
    async with throwaway_issuer() as one, throwaway_issuer() as other:
        guard = Guard(resource=RESOURCE, issuers=[one.url])
        assert isinstance(other, ThrowawayIssuer)
        outcome = await guard.check(
            method="GET", path="/", headers=[("Authorization", f"Bearer {other.mint(RESOURCE)}")], body=b""
        )
        assert outcome.reason == "token.issuer"  # type: ignore[union-attr]  # an Admitted has none, and fails here
        await guard.aclose()
