"""Questions of other enforcement points about tokens that say when their person signed in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.access import access_server, reason
from tests.support.authorization_servers import RunningServer


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningServer]:
    async with access_server(tmp_path) as running:
        yield running


async def test_the_sign_in_behind_a_token_is_said_like_its_other_claims(server: RunningServer) -> None:
    """A policy that wants a fresh sign-in believes the claims of the token; a time that is none is no question."""
    server.forbid(
        '@id("all") permit (principal, action, resource); @id("fresh") @authentication("max_age=300") '
        "forbid (principal, action, resource) unless { context.token has auth_time && "
        "context.token.auth_time >= context.request.time - 300 };"
    )
    now = server.issuer.now()

    def asked_at(time: object) -> dict[str, object]:
        properties = {"client_id": "desk-app", "auth_time": time}
        return {"type": "user", "id": "user:ann", "properties": properties}

    assert await reason(server, subject=asked_at(now - 300)) is None
    assert await reason(server, subject=asked_at(now - 301)) == "policy.denied"
    assert await reason(server, subject=asked_at("now")) == "request.malformed"
