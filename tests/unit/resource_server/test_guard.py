"""The guard: headers and body in, Admitted or Challenge out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from perhop.errors import SettingsError
from perhop.resource_server import Admitted, Challenge, Guard, SqliteReplay
from perhop.resource_server.testing.loopback_http import Reply, json_reply
from perhop.rules.call_binding import bind_call
from perhop.tokens.jwks import render_jwks
from perhop.tokens.keys import Algorithm, SigningKey
from tests.support import forge
from tests.support.offline_issuer import Clock, OfflineIssuer

RESOURCE = "https://mcp.example.com/mcp"
JSON = ("content-type", "application/json")


class Site:
    """A guard, the issuer that it trusts, and the clock of both."""

    def __init__(self, **changes: Any) -> None:
        self.clock = Clock()
        self.issuer = OfflineIssuer(clock=self.clock)
        arguments = {"resource": RESOURCE, "issuers": [self.issuer.url]} | changes
        self.guard = Guard(**arguments, http=self.issuer.http(), clock=self.clock)

    async def check(self, token: str, **changes: Any) -> Admitted | Challenge:
        arguments = {
            "method": "GET",
            "path": "/other",
            "headers": [("Authorization", f"Bearer {token}")],
            "body": b"",
        } | changes
        try:
            return await self.guard.check(**arguments)
        finally:
            await self.guard.aclose()

    async def reason(self, token: str) -> str:
        """Why a token is refused; it must be refused with 401 and a challenge."""
        outcome = await self.check(token)
        assert isinstance(outcome, Challenge)
        assert outcome.status == 401
        assert 'error="invalid_token"' in dict(outcome.headers)["www-authenticate"]
        assert outcome.body == b""
        return outcome.reason


async def test_a_right_token_is_admitted() -> None:
    """The token's facts are on the outcome, and the token itself does not print."""
    site = Site()
    claims = site.issuer.claims(RESOURCE, scopes=["a", "b"]) | {
        "agent": "trip-planner",
        "act": {"sub": "gateway:calendar", "act": {"sub": "trip-planner"}},
        "tenant": "acme",
        "txn": "t",
    }
    raw = site.issuer.sign(claims)
    outcome = await site.check(raw)
    assert isinstance(outcome, Admitted)
    token = outcome.token
    assert (token.issuer, token.jti, token.subject) == (site.issuer.url, claims["jti"], "user:throwaway")
    assert (token.agent, token.client_id) == ("trip-planner", "throwaway-client")
    assert token.actors == ("gateway:calendar", "trip-planner")
    assert (token.resource, token.tenant, token.txn, token.task) == (RESOURCE, "acme", "t", None)
    assert token.scopes == {"a", "b"}
    assert token.expires_at == claims["exp"]
    assert outcome.presented.reveal() == raw
    assert raw not in repr(outcome)


@pytest.mark.parametrize(
    ("audience", "reason"),
    [
        ("https://other.example.com/mcp", "audience.mismatch"),
        (RESOURCE + "/", "audience.mismatch"),
        (RESOURCE + "-admin", "audience.mismatch"),
        (RESOURCE + "/x", "audience.mismatch"),
        (RESOURCE[:-1], "audience.mismatch"),
        ("https://mcp.example.com", "audience.mismatch"),
        ("https://mcp.example.com/", "audience.mismatch"),
        ("https://mcp.example.com:443/mcp", "audience.mismatch"),
        ("HTTPS://mcp.example.com/mcp", "audience.mismatch"),
        ("https://MCP.example.com/mcp", "audience.mismatch"),
        ("https://mcp.example.com/%6dcp", "audience.mismatch"),
        ("https://mcp.example.com/x/../mcp", "audience.mismatch"),
        ("http://mcp.example.com/mcp", "audience.mismatch"),
        (" " + RESOURCE, "audience.mismatch"),
        (RESOURCE + "\n", "token.malformed"),
        ("*", "audience.mismatch"),
        ("https://mcp.example.com/*", "audience.mismatch"),
        ("https://auth.example.com", "audience.mismatch"),
        ("throwaway-client", "audience.mismatch"),
        ([RESOURCE], "audience.multiple"),
        ([RESOURCE, "https://other.example.com/mcp"], "audience.multiple"),
        ([], "audience.multiple"),
        (None, "audience.missing"),
        ("", "audience.missing"),
        (forge.ABSENT, "audience.missing"),
        (7, "token.malformed"),
        ({"value": RESOURCE}, "token.malformed"),
        (True, "token.malformed"),
    ],
)
async def test_only_the_one_audience_is_taken(audience: object, reason: str) -> None:
    """Compared byte for byte with one string; lists, near misses and other types are refused, each for its reason."""
    site = Site()
    claims = {k: v for k, v in (site.issuer.claims(RESOURCE) | {"aud": audience}).items() if v is not forge.ABSENT}
    assert await site.reason(site.issuer.sign(claims)) == reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"iss": "https://auth.example.com/"}, "token.issuer"),
        ({"iss": "https://AUTH.example.com"}, "token.issuer"),
        ({"iss": ["https://auth.example.com"]}, "token.malformed"),
        ({"exp": forge.ABSENT}, "token.malformed"),
        ({"iat": forge.ABSENT}, "token.malformed"),
        ({"jti": forge.ABSENT}, "token.malformed"),
        ({"sub": forge.ABSENT}, "token.malformed"),
        ({"client_id": forge.ABSENT}, "token.malformed"),
        ({"exp": str(forge.NOW + 60)}, "token.malformed"),
        ({"exp": forge.NOW + 901}, "token.lifetime"),
        ({"iat": forge.NOW + 61, "exp": forge.NOW + 90}, "token.lifetime"),
        ({"nbf": forge.NOW + 61}, "token.lifetime"),
        ({"cnf": {"jkt": "x" * 43}}, "sender.mismatch"),
    ],
)
async def test_a_claim_that_is_wrong_is_refused_for_its_reason(changes: dict[str, Any], reason: str) -> None:
    """Issuers are compared byte for byte, required claims are required, times are bounded, bound tokens need proof."""
    site = Site()
    claims = {k: v for k, v in (site.issuer.claims(RESOURCE) | changes).items() if v is not forge.ABSENT}
    assert await site.reason(site.issuer.sign(claims)) == reason


ADD = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "add", "arguments": {"a": 1, "b": 2}}}


def call_token(site: Site, message: dict[str, Any], **changes: Any) -> str:
    """A token for one message, as the gateway mints it."""
    bound = bind_call(message["method"], message.get("params", {}))
    named = {} if bound.name is None else {"name": bound.name}
    digests = {"arguments_sha256": bound.arguments_sha256, "params_sha256": bound.params_sha256}
    detail = {"type": "mcp_call", "method": bound.method, **named, **digests}
    claims = site.issuer.claims(RESOURCE) | {"authorization_details": [detail]} | changes
    return site.issuer.sign({name: value for name, value in claims.items() if value is not forge.ABSENT})


async def send(site: Site, token: str, message: dict[str, Any], **changes: Any) -> Admitted | Challenge:
    """POST this message of a handshake revision with this token."""
    headers = [("authorization", f"Bearer {token}"), JSON, ("mcp-protocol-version", "2025-11-25")]
    arguments = {"method": "POST", "path": "/mcp", "headers": headers, "body": json.dumps(message).encode()} | changes
    return await site.guard.check(**arguments)


async def test_a_call_token_is_good_for_its_call_once() -> None:
    """The call passes; the same again is a replay, also with the token's signature written in its other way."""
    site = Site()
    token = call_token(site, ADD)
    try:
        assert isinstance(await send(site, token, ADD), Admitted)
        again = await send(site, token, {**ADD, "id": 2})
        assert isinstance(again, Challenge)
        assert (again.status, again.reason, again.body) == (401, "token.replayed", b"")
    finally:
        await site.guard.aclose()


@pytest.mark.parametrize(
    ("message", "changes"),
    [
        ({**ADD, "params": {"name": "add", "arguments": {"a": 1, "b": 3}}}, {}),
        ({**ADD, "params": {"name": "add"}}, {}),
        ({**ADD, "params": {"name": "drop", "arguments": {"a": 1, "b": 2}}}, {}),
        ({**ADD, "params": {**ADD["params"], "task": {"ttl": 1}}}, {}),  # type: ignore[dict-item]
        ({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}, {}),
        ({"jsonrpc": "2.0", "method": "notifications/initialized"}, {}),
        ({"jsonrpc": "2.0", "id": 1, "result": {}}, {}),
        (ADD, {"method": "GET", "body": b""}),
        (ADD, {"method": "DELETE", "body": b""}),
        (ADD, {"path": "/admin", "method": "GET"}),
    ],
)
async def test_a_call_token_is_good_for_nothing_else(message: dict[str, Any], changes: dict[str, Any]) -> None:
    """Another call, another kind of message, another path: refused, and the token is still good for its call."""
    site = Site()
    token = call_token(site, ADD)
    try:
        outcome = await send(site, token, message, **changes)
        assert isinstance(outcome, Challenge)
        assert (outcome.status, outcome.reason) == (401, "call.mismatch")
        assert isinstance(await send(site, token, ADD), Admitted)
    finally:
        await site.guard.aclose()


async def test_a_call_token_that_is_refused_is_not_used_up() -> None:
    """Single use comes last: a body that does not agree with its headers costs nobody their call."""
    site = Site()
    token = call_token(site, ADD)
    try:
        broken = await send(site, token, ADD, body=b"{")
        assert isinstance(broken, Challenge)
        assert broken.status == 400
        assert isinstance(await send(site, token, ADD), Admitted)
    finally:
        await site.guard.aclose()


async def test_a_call_token_is_refused_where_the_feed_is_stale() -> None:
    """Whatever the risk: a call token is for what must be known to be allowed now."""
    site = Site(risk="low")
    try:
        assert isinstance(await send(site, call_token(site, ADD), ADD), Admitted)
        site.issuer.is_down = True
        site.clock.now += 60
        refused = await send(site, call_token(site, ADD), ADD)
        assert isinstance(refused, Challenge)
        assert (refused.status, refused.reason) == (503, "upstream.unavailable")
        plain = site.issuer.mint(RESOURCE)
        assert isinstance(await send(site, plain, ADD), Admitted)
    finally:
        await site.guard.aclose()


async def test_two_guards_of_one_resource_need_a_shared_store(tmp_path: Path) -> None:
    """Each with a memory of its own, the second takes no call token, and does not start; with one store both do."""
    first, second = Site(), Site()
    try:
        assert isinstance(await send(first, call_token(first, ADD), ADD), Admitted)
        refused = await send(second, call_token(second, ADD), ADD)
        assert isinstance(refused, Challenge)
        assert (refused.status, refused.reason) == (503, "upstream.unavailable")
        with pytest.raises(SettingsError, match="another process"):
            async with second.guard.running():
                pass
    finally:
        await first.guard.aclose()
        await second.guard.aclose()
    sharing = [Site(replay=SqliteReplay(tmp_path / "used.db")) for _ in range(2)]
    for each in sharing:
        assert isinstance(await send(each, call_token(each, ADD), ADD), Admitted)
        await each.guard.aclose()


async def test_a_token_of_a_task_is_admitted_and_says_so() -> None:
    """The task is the application's to know; the guard judges no tasks."""
    site = Site()
    claims = site.issuer.claims(RESOURCE) | {"authorization_details": [{"type": "agent_task", "id": "task-1"}]}
    outcome = await site.check(site.issuer.sign(claims))
    assert isinstance(outcome, Admitted)
    assert outcome.token.task == "task-1"


async def test_a_forged_token_is_refused_for_its_reason() -> None:
    """No algorithm, a shared secret, a stranger's key, foreign keys in the header and other types do not pass."""
    site = Site()
    claims, key = site.issuer.claims(RESOURCE), site.issuer.key
    stranger = SigningKey.generate()
    forged = {
        forge.unsigned(claims, key): "token.signature",
        forge.unsigned(claims, key, alg="nOnE"): "token.signature",
        forge.hmac_signed(claims, key, key.public().as_public_pem()): "token.signature",
        forge.sign(claims, stranger, kid=key.kid): "token.signature",
        forge.sign(claims, stranger): "token.signature",
        forge.sign(claims, SigningKey.generate(Algorithm.ED25519), kid=key.kid): "token.signature",
        forge.sign(claims, key, jku="https://evil.example/jwks"): "token.malformed",
        forge.sign(claims, key, jwk=stranger.public().as_jwk()): "token.malformed",
        forge.sign(claims, key, crit=[]): "token.malformed",
        forge.sign(claims, key, typ="JWT"): "token.type",
        forge.sign(claims, key, typ="oauth-id-jag+jwt"): "token.type",
        forge.sign(claims, key, typ=forge.ABSENT): "token.type",
        site.issuer.sign(claims) + "=": "token.malformed",
        "x": "token.malformed",
        "a.b.c": "token.malformed",
        "a.b.c.d.e": "token.malformed",
    }
    assert {token: await site.reason(token) for token in forged} == forged
    assert all(request.path != "/jwks" or "evil" not in request.headers["host"] for request in site.issuer.sent)


async def test_no_token_gets_a_challenge_without_error() -> None:
    """Who sends nothing is told where to ask, and for which scopes."""
    site = Site(scopes=["calendar:read"])
    outcome = await site.check("", headers=[("host", "x")])
    assert isinstance(outcome, Challenge)
    assert (outcome.status, outcome.reason, outcome.body) == (401, "token.malformed", b"")
    assert dict(outcome.headers)["www-authenticate"] == (
        'Bearer scope="calendar:read", '
        'resource_metadata="https://mcp.example.com/.well-known/oauth-protected-resource/mcp", '
        'DPoP algs="ES256 Ed25519 RS256 PS256"'
    )
    assert site.issuer.sent == []


async def test_a_repeated_header_is_refused_whatever_its_case() -> None:
    """Two Authorization fields are refused, even when they are equal and spelled apart."""
    site = Site()
    raw = f"Bearer {site.issuer.mint(RESOURCE)}"
    outcome = await site.check("", headers=[("AUTHORIZATION", raw), ("authorization", raw)])
    assert isinstance(outcome, Challenge)
    assert outcome.reason == "token.malformed"


@pytest.mark.parametrize(("lifetime", "leeway"), [(300, 60), (60, 12), (900, 60), (4, 0)])
async def test_the_leeway_is_a_fifth_of_the_lifetime_and_at_most_a_minute(lifetime: int, leeway: int) -> None:
    """One second before the end of the leeway a token passes, at its end it has expired."""
    site = Site()
    raw = site.issuer.mint(RESOURCE, lifetime=lifetime)
    site.clock.now += lifetime + leeway - 1
    assert isinstance(await site.check(raw), Admitted)
    site.clock.now += 1
    assert await site.reason(raw) == "token.expired"


async def test_a_key_counts_for_its_own_issuer_only() -> None:
    """A token of one trusted issuer is not verified with the key of another, whatever it is called."""
    clock = Clock()
    one, two = (OfflineIssuer(clock=clock, url=f"https://{name}.example.com") for name in ("one", "two"))
    guard = Guard(resource=RESOURCE, issuers=[one.url, two.url], http=_both(one, two), clock=clock)
    headers = (("authorization", f"Bearer {one.sign(one.claims(RESOURCE) | {'iss': two.url})}"),)
    outcome = await guard.check_token(headers)
    assert isinstance(outcome, Challenge)
    assert outcome.reason == "token.signature"
    for issuer in (one, two):
        good = await guard.check_token((("authorization", f"Bearer {issuer.mint(RESOURCE)}"),))
        assert isinstance(good, Admitted)
    one.is_down = True
    clock.now += 3599
    good = await guard.check_token((("authorization", f"Bearer {two.mint(RESOURCE)}"),))
    assert isinstance(good, Admitted)
    await guard.aclose()


def _both(*issuers: OfflineIssuer) -> Any:
    import httpx2

    async def handle(request: httpx2.Request) -> httpx2.Response:
        return await next(each for each in issuers if each.url.endswith(request.url.host))._handle(request)

    return httpx2.AsyncClient(transport=httpx2.MockTransport(handle))


CALL = {
    "jsonrpc": "2.0",
    "id": 7,
    "method": "tools/call",
    "params": {
        "name": "book",
        "arguments": {},
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        },
    },
}
MODERN = [JSON, ("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", "book")]


@pytest.mark.parametrize("path", ["/mcp", "/moved-by-a-proxy"])
async def test_headers_must_agree_with_the_body(path: str) -> None:
    """At the resource's path, and wherever MCP's headers come, a name in the headers is the one in the body."""
    site = Site()
    bearer = ("authorization", f"Bearer {site.issuer.mint(RESOURCE)}")
    body = json.dumps(CALL).encode()
    good = await site.check("", method="POST", path=path, headers=[bearer, *MODERN], body=body)
    assert isinstance(good, Admitted)
    lying = [bearer, *MODERN[:-1], ("mcp-name", "list")]
    outcome = await site.check("", method="POST", path=path, headers=lying, body=body)
    assert isinstance(outcome, Challenge)
    assert (outcome.status, outcome.reason) == (400, "header.mismatch")
    answer = json.loads(outcome.body)
    assert (answer["id"], answer["error"]["code"]) == (7, -32020)
    assert "www-authenticate" not in dict(outcome.headers)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}', 400, -32700),
        (b"[]", 400, -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"unheard/of"}', 400, -32601),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}', 400, -32602),
    ],
)
async def test_a_malformed_message_is_refused(body: bytes, status: int, code: int) -> None:
    """What is no MCP message gets the JSON-RPC error that says so."""
    site = Site()
    headers = [("authorization", f"Bearer {site.issuer.mint(RESOURCE)}"), JSON]
    outcome = await site.check("", method="POST", path="/mcp", headers=headers, body=body)
    assert isinstance(outcome, Challenge)
    assert (outcome.status, json.loads(outcome.body)["error"]["code"]) == (status, code)


async def test_a_notification_is_refused_without_a_body() -> None:
    """Who expects no answer gets the status alone."""
    site = Site()
    headers = [("authorization", f"Bearer {site.issuer.mint(RESOURCE)}"), JSON]
    body = b'{"jsonrpc":"2.0","method":"notifications/unheard-of"}'
    outcome = await site.check("", method="POST", path="/mcp", headers=headers, body=body)
    assert isinstance(outcome, Challenge)
    assert (outcome.status, outcome.reason, outcome.body) == (400, "method.unknown", b"")


async def test_a_wrong_token_comes_before_a_wrong_body() -> None:
    """A stranger learns nothing of what the body should be."""
    site = Site()
    outcome = await site.check(site.issuer.mint("https://other.example.com"), method="POST", path="/mcp", body=b"{")
    assert isinstance(outcome, Challenge)
    assert outcome.reason == "audience.mismatch"


async def test_an_application_may_ask_for_a_scope() -> None:
    """The challenge of an application that misses a scope is 403 and names it."""
    outcome = Site(scopes=["a"]).guard.insufficient_scope("calendar:write")
    assert (outcome.status, outcome.reason, outcome.body) == (403, "scope.insufficient", b"")
    assert 'scope="calendar:write"' in dict(outcome.headers)["www-authenticate"]


async def test_without_keys_the_answer_is_503() -> None:
    """An issuer that cannot be asked is no reason to call a token invalid, and none to take it."""
    site = Site()
    site.issuer.is_down = True
    outcome = await site.check(site.issuer.mint(RESOURCE))
    assert isinstance(outcome, Challenge)
    assert (outcome.status, outcome.reason) == (503, "upstream.unavailable")
    fields = dict(outcome.headers)
    assert fields["retry-after"] == "1"
    assert "www-authenticate" not in fields
    assert json.loads(outcome.body)["error"]["code"] == -31503


@pytest.mark.parametrize(
    "jwks",
    [
        Reply(500, (), b""),
        Reply(302, (("location", "https://auth.example.com/elsewhere"),), b""),
        json_reply({"keys": [{"kty": "oct", "k": "AAAA", "kid": "x"}]}),
        Reply(200, (), b'{"keys":[]}' + b" " * 65536),
    ],
)
async def test_a_poisoned_key_set_is_not_used(jwks: Reply) -> None:
    """Errors, redirects, shared secrets and key sets beyond 64 KiB give no keys."""
    site = Site()
    site.issuer.replies["/jwks"] = jwks
    outcome = await site.check(site.issuer.mint(RESOURCE))
    assert isinstance(outcome, Challenge)
    assert outcome.status == 503


async def test_two_keys_of_one_name_spoil_the_set() -> None:
    """Nobody can tell which of two keys of one name to believe, so the old set stays."""
    site = Site()
    assert isinstance(await site.check(site.issuer.mint(RESOURCE)), Admitted)
    one = site.issuer.key.public().as_jwk()
    two = SigningKey.generate().public().as_jwk() | {"kid": one["kid"]}
    site.issuer.replies["/jwks"] = json_reply({"keys": [one, two]})
    site.clock.now += 601
    assert isinstance(await site.check(site.issuer.mint(RESOURCE)), Admitted)
    assert render_jwks([site.issuer.key.public()])["keys"] == [one]


@pytest.mark.parametrize(
    "changes",
    [
        {"issuers": []},
        {"issuers": "https://auth.example.com"},
        {"issuers": ["http://auth.example.com"]},
        {"resource": "calendar"},
        {"resource": "https://mcp.example.com/mcp#x"},
        {"resource": "https://mcp.example.com/*"},
        {"resource": ""},
        {"risk": "none"},
    ],
)
def test_a_guard_that_could_not_guard_is_refused(changes: dict[str, Any]) -> None:
    """One resource and at least one issuer, and no way to say that nothing is checked."""
    with pytest.raises(SettingsError):
        Site(**changes)


def test_resource_and_issuers_are_required() -> None:
    """Nothing stands in for a resource or an issuer that was left out."""
    with pytest.raises(TypeError):
        Guard(resource=RESOURCE)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Guard(issuers=["https://auth.example.com"])  # type: ignore[call-arg]
