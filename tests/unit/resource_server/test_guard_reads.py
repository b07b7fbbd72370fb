"""What a guard reads at all, and as what: header sections, paths, and bodies that it refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest

from perhop.resource_server import Admitted, Challenge, Guard
from perhop.rules import mcp_message
from perhop.rules.header_bounds import MAX_HEADER_BYTES
from perhop.rules.strict_json import parse_json
from tests.support.offline_issuer import Clock, OfflineIssuer

RESOURCE = "https://mcp.example.com/mcp"


class Site:
    """A guard, and the issuer that it trusts."""

    def __init__(self, resource: str = RESOURCE) -> None:
        clock = Clock()
        self.issuer = OfflineIssuer(clock=clock)
        self.guard = Guard(resource=resource, issuers=[self.issuer.url], http=self.issuer.http(), clock=clock)

    async def check(
        self,
        token: str,
        *more: tuple[str, str],
        method: str = "GET",
        path: str = "/other",
        body: bytes = b"",
        is_json: bool = True,
    ) -> Admitted | Challenge:
        media_type = [("content-type", "application/json")] if is_json else []
        headers = [("authorization", f"Bearer {token}"), *media_type, *more]
        try:
            return await self.guard.check(method=method, path=path, headers=headers, body=body)
        finally:
            await self.guard.aclose()


@pytest.mark.parametrize(("more", "rpc_id", "parses"), [(0, 1, 2), (1, None, 1)])
async def test_a_refused_body_is_parsed_once_more_at_most(
    more: int, rpc_id: int | None, parses: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For the id in the answer; not at all if it has more than 64 KiB, and never where the message was understood."""
    parsed: list[bytes] = []

    def counting(raw: bytes, *, max_bytes: int) -> Any:
        parsed.append(raw)
        return parse_json(raw, max_bytes=max_bytes)

    monkeypatch.setattr(mcp_message, "parse_json", counting)
    site = Site()
    body = b'{"jsonrpc":"2.0","id":1,"method":"unheard/of"}'
    body += b" " * (64 * 1024 - len(body) + more)
    outcome = await site.check(site.issuer.mint(RESOURCE), method="POST", path="/mcp", body=body)
    assert isinstance(outcome, Challenge)
    assert (outcome.status, json.loads(outcome.body)["id"], len(parsed)) == (400, rpc_id, parses)
    parsed.clear()
    bound = {"type": "mcp_call", "method": "ping", "arguments_sha256": "A" * 43, "params_sha256": "A" * 43}
    token = site.issuer.sign(site.issuer.claims(RESOURCE) | {"authorization_details": [bound]})
    outcome = await site.check(token, method="POST", path="/mcp", body=b'{"jsonrpc":"2.0","id":1,"method":"ping"}')
    assert isinstance(outcome, Challenge)
    assert (outcome.reason, len(parsed)) == ("call.mismatch", 1)


@pytest.mark.parametrize("path", ["/mcp\n", "/mcp\x00", "/other\r\n", "/mcp/\x7f"])
async def test_a_path_with_a_control_character_is_refused(path: str) -> None:
    """A router whose pattern ends before the end of a line would serve it as another path than the one judged here."""
    site = Site()
    token = site.issuer.mint(RESOURCE)
    for method, body in (("POST", b'{"jsonrpc":"2.0","id":1,"method":"ping"}'), ("GET", b""), ("PUT", b"")):
        outcome = await site.check(token, method=method, path=path, body=body)
        assert isinstance(outcome, Challenge)
        assert (outcome.status, outcome.reason) == (400, "request.malformed")


@pytest.mark.parametrize(
    ("resource", "path"),
    [(RESOURCE, "/mcp/"), (RESOURCE + "/", "/mcp"), (RESOURCE + "/", "/mcp/"), ("https://mcp.example.com", "/")],
)
async def test_a_message_is_checked_with_or_without_a_slash_at_the_end(resource: str, path: str) -> None:
    """Under either spelling a router may serve the endpoint, so under either the body is read as a message."""
    site = Site(resource=resource)
    token = site.issuer.mint(resource)
    twice = b'{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}'
    outcome = await site.check(token, method="POST", path=path, body=twice)
    assert isinstance(outcome, Challenge)
    assert outcome.status == 400
    once = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
    assert isinstance(await site.check(token, method="POST", path=path, body=once), Admitted)


async def test_a_header_section_has_bounds() -> None:
    """200 fields and 16 KiB are read, one more of either is not."""
    site = Site()
    token = site.issuer.mint(RESOURCE)
    left = MAX_HEADER_BYTES - len("authorization" + "Bearer " + token) - 4
    for headers, fits in (
        ([("a", "")] * 199, True),
        ([("a", "")] * 200, False),
        ([("x-fill", "a" * (left - 10))], True),
        ([("x-fill", "a" * (left - 9))], False),
    ):
        outcome = await site.check(token, *headers, is_json=False)
        assert isinstance(outcome, Admitted) == fits
        if isinstance(outcome, Challenge):
            assert (outcome.status, outcome.reason, outcome.body) == (431, "request.malformed", b"")
