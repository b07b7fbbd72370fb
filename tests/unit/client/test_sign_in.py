"""A person signs in by discovery alone, once, and to nobody but the server's own authorization server."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest

from perhop.client import RegisteredClient, SignIn
from perhop.client.store import MemoryStore
from perhop.errors import (
    AuthorizationNotGranted,
    BrowserUnavailable,
    IssuerUnavailable,
    PkceUnsupported,
    RegistrationImpossible,
    ResourceForeign,
    ResourceUndescribed,
    SettingsError,
    TokenNotGranted,
    WrongDestination,
)
from perhop.rules.pkce import code_challenge
from tests.support.sign_in_world import (
    BESIDE,
    ISSUER,
    METADATA,
    REDIRECT_URI,
    ROOT,
    SERVER,
    SignInWorld,
    issuer_metadata,
    resource_metadata,
)

PLACE = f"https://mcp.example.com{BESIDE}"
OTHER = "https://other.example.com"


async def test_a_person_signs_in_once() -> None:
    """From the challenge to a token for this one resource: metadata, registration, PKCE; then the token is kept."""
    world = SignInWorld()
    sign_in = world.sign_in(name="A desk app")
    for _ in range(2):
        assert (await world.call(sign_in)).status_code == 200
    assert world.gets == [PLACE, ISSUER + METADATA]
    (registered,), (visit,), (form,) = world.registered, world.visits, world.forms
    assert (registered["client_name"], registered["application_type"]) == ("A desk app", "native")
    assert registered["redirect_uris"] == [REDIRECT_URI]
    assert registered["grant_types"] == ["authorization_code", "refresh_token"]
    assert (visit["client_id"], visit["resource"], visit["scope"]) == ("client-1", SERVER, "mcp:read")
    assert (visit["response_type"], visit["code_challenge_method"]) == ("code", "S256")
    assert visit["code_challenge"] == code_challenge(form["code_verifier"])
    assert (form["resource"], form["redirect_uri"]) == (SERVER, REDIRECT_URI)
    assert [call is None for call in world.calls] == [True, False, False]


async def test_all_who_wait_sign_in_together() -> None:
    """Ten calls at once are one way to the browser."""
    world = SignInWorld()
    sign_in = world.sign_in()
    async with world.http(sign_in.auth()) as http:
        answers = await asyncio.gather(*(http.post(SERVER) for _ in range(10)))
    assert {each.status_code for each in answers} == {200}
    assert len(world.visits) == 1


async def test_the_token_goes_to_the_server_alone() -> None:
    """Another path of the same host gets nothing, and nobody is asked to sign in for it."""
    world = SignInWorld()
    sign_in = world.sign_in()
    await world.call(sign_in)
    with pytest.raises(WrongDestination):
        await world.call(sign_in, "https://mcp.example.com/other")
    assert len(world.calls) == 2


async def test_the_metadata_is_looked_for_at_three_places() -> None:
    """Where the challenge points, else beside the path, else at the root; there it may name the whole origin."""
    world = SignInWorld(challenge="Bearer")
    await world.call(world.sign_in())
    assert world.gets[0] == PLACE
    world = SignInWorld(challenge='Bearer resource_metadata="https://mcp.example.com/said"')
    world.documents[PLACE] = None
    world.documents[f"https://mcp.example.com{ROOT}"] = resource_metadata("https://mcp.example.com")
    await world.call(world.sign_in())
    assert world.gets[:3] == ["https://mcp.example.com/said", PLACE, f"https://mcp.example.com{ROOT}"]
    assert world.visits[0]["resource"] == world.forms[0]["resource"] == "https://mcp.example.com"


@pytest.mark.parametrize(
    ("document", "error"),
    [
        (resource_metadata("https://mcp.example.com"), ResourceForeign),
        (resource_metadata("https://mcp.example.com/mcp/"), ResourceForeign),
        (resource_metadata(authorization_servers=None), IssuerUnavailable),
        (resource_metadata(authorization_servers=[]), IssuerUnavailable),
        (resource_metadata(authorization_servers=["http://auth.example.com"]), IssuerUnavailable),
        (resource_metadata(authorization_servers=["http://127.0.0.1:8080"]), ResourceForeign),
        (resource_metadata(authorization_servers=["https://169.254.169.254"]), ResourceForeign),
        (resource_metadata(authorization_servers=["https://auth.localhost"]), ResourceForeign),
        (httpx2.Response(500), IssuerUnavailable),
        (httpx2.Response(302, headers={"location": "https://evil.example/x"}), IssuerUnavailable),
        ([1], IssuerUnavailable),
    ],
)
async def test_a_server_that_describes_another_is_left(document: Any, error: type[Exception]) -> None:
    """Nobody is sent anywhere on the word of such a document."""
    world = SignInWorld()
    world.documents[PLACE] = document
    with pytest.raises(error):
        await world.call(world.sign_in())
    assert (world.visits, world.registered) == ([], [])


async def test_a_server_without_metadata_is_told_apart_from_an_old_one() -> None:
    """Only who says that the server is an old one has its origin believed to be its authorization server."""
    world = SignInWorld(challenge="Bearer")
    world.documents.clear()
    with pytest.raises(ResourceUndescribed):
        await world.call(world.sign_in())
    world.answer = lambda usual: {name: value for name, value in usual.items() if name != "iss"}
    world.registration = {"client_id": "old", "client_secret": "a secret of the old server"}
    assert (await world.call(world.sign_in(is_old_server=True))).status_code == 200
    assert world.visited[0].startswith("https://mcp.example.com/authorize?")
    assert world.token_requests[0].headers["authorization"].startswith("Basic ")


async def test_without_a_promise_of_pkce_nobody_is_sent_away() -> None:
    """S256 must stand in the metadata."""
    for methods in (None, [], ["plain"], "S256"):
        world = SignInWorld()
        world.documents[ISSUER + METADATA] = issuer_metadata(code_challenge_methods_supported=methods)
        with pytest.raises(PkceUnsupported):
            await world.call(world.sign_in())
        assert world.visits == []


@pytest.mark.parametrize(
    "place", ["javascript:alert(1)", "http://auth.example.com/a", "file:///etc/passwd", "data:x", 7]
)
async def test_an_authorization_endpoint_is_for_browsers(place: object) -> None:
    """Only https is shown to a person, or http on this machine for a server of this machine."""
    world = SignInWorld()
    world.documents[ISSUER + METADATA] = issuer_metadata(authorization_endpoint=place)
    with pytest.raises((IssuerUnavailable, BrowserUnavailable)):
        await world.call(world.sign_in())
    assert world.visited == []


async def test_a_no_of_the_person_is_told() -> None:
    """Nothing is redeemed, and the call fails with the reason."""
    world = SignInWorld(answer=lambda usual: {**usual, "error": "access_denied"})
    with pytest.raises(AuthorizationNotGranted, match="access_denied"):
        await world.call(world.sign_in())
    assert world.forms == []


async def test_a_token_is_refreshed_with_a_token_that_is_replaced() -> None:
    """Shortly before its end, with the newest refresh token, for the same resource, and without the person."""
    world = SignInWorld(grant={"expires_in": 300, "refresh_token": "the-first-refresh-token"})
    sign_in = world.sign_in()
    await world.call(sign_in)
    for number, following in ((1, "the-second-refresh-token"), (2, "the-third-refresh-token")):
        world.grant["refresh_token"] = following
        world.clock.now += 290
        assert (await world.call(sign_in)).status_code == 200
        assert world.forms[number]["grant_type"] == "refresh_token"
    assert [form.get("refresh_token") for form in world.forms[1:]] == [
        "the-first-refresh-token",
        "the-second-refresh-token",
    ]
    assert {form["resource"] for form in world.forms} == {SERVER}
    assert len(world.visits) == 1


async def test_a_refresh_token_that_is_refused_is_forgotten_and_the_person_asked() -> None:
    """It is tried once and never again."""
    world = SignInWorld(grant={"expires_in": 300, "refresh_token": "a-refresh-token-that-is-over"})
    sign_in = world.sign_in()
    await world.call(sign_in)
    world.clock.now += 301
    world.good.clear()
    world.refused = {"error": "invalid_grant"}
    with pytest.raises(TokenNotGranted):
        await world.call(sign_in)
    assert [form["grant_type"] for form in world.forms] == [
        "authorization_code",
        "refresh_token",
        "authorization_code",
    ]


@pytest.mark.parametrize("error", ["temporarily_unavailable", "server_error", "slow_down"])
async def test_a_refresh_token_that_is_refused_for_now_is_kept(error: str) -> None:
    """The token at hand serves until its end; then the call fails, nobody is asked, and the next one goes on."""
    world = SignInWorld(grant={"expires_in": 300, "refresh_token": "a-refresh-token-of-a-busy-issuer"})
    sign_in = world.sign_in()
    await world.call(sign_in)
    world.clock.now += 290
    world.refused = {"error": error}
    assert (await world.call(sign_in)).status_code == 200
    world.clock.now += 20
    with pytest.raises(TokenNotGranted, match=error):
        await world.call(sign_in)
    world.refused = None
    assert (await world.call(sign_in)).status_code == 200
    assert [form["grant_type"] for form in world.forms] == ["authorization_code"] + ["refresh_token"] * 3
    assert len(world.visits) == 1


async def test_a_token_serves_until_its_end_when_its_issuer_has_changed() -> None:
    """Metadata that promises PKCE no more hurts once a new token is needed, and is said then."""
    world = SignInWorld(grant={"expires_in": 300, "refresh_token": "a-refresh-token-of-a-changed-issuer"})
    sign_in = world.sign_in()
    await world.call(sign_in)
    world.documents[ISSUER + METADATA] = issuer_metadata(code_challenge_methods_supported=None)
    world.clock.now += 290
    assert (await world.call(sign_in)).status_code == 200
    world.clock.now += 20
    with pytest.raises(PkceUnsupported):
        await world.call(sign_in)


async def _cut_off(world: SignInWorld, sign_in: SignIn) -> None:
    """A call whose caller goes away when the token endpoint has granted and not yet answered."""
    world.answers.clear()
    asked = len(world.forms)
    call = asyncio.create_task(world.call(sign_in))
    while len(world.forms) == asked:
        await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_a_refresh_token_outlives_the_call_that_got_it() -> None:
    """Whoever waits may go away: the one that was replaced is not shown again, which would end the sign-in."""
    world = SignInWorld(grant={"expires_in": 300, "refresh_token": "the-refresh-token-before"})
    sign_in = world.sign_in()
    await world.call(sign_in)
    for following in ("the-refresh-token-of-a-call-cut-off", "the-refresh-token-after"):
        world.grant["refresh_token"] = following
        world.clock.now += 290
        await _cut_off(world, sign_in)
        world.answers.set()
        assert (await world.call(sign_in)).status_code == 200
    assert [form.get("refresh_token") for form in world.forms[1:]] == [
        "the-refresh-token-before",
        "the-refresh-token-of-a-call-cut-off",
    ]


async def test_a_code_is_redeemed_though_its_caller_went_away() -> None:
    """The next call finds what the person has come back with, and asks nobody."""
    world = SignInWorld()
    sign_in = world.sign_in()
    await _cut_off(world, sign_in)
    again = asyncio.create_task(world.call(sign_in))
    while len(world.calls) == 1:
        await asyncio.sleep(0)
    world.answers.set()
    assert (await again).status_code == 200
    assert (len(world.visits), len(world.forms)) == (1, 1)


async def test_what_is_under_way_is_kept_before_connections_are_closed() -> None:
    """A program that ends right after a call was cut off starts again with the newest refresh token."""
    world = SignInWorld(grant={"expires_in": 300, "refresh_token": "the-refresh-token-at-the-end"})
    store = MemoryStore()
    async with world.sign_in(store=store) as sign_in:
        await _cut_off(world, sign_in)
        closing = asyncio.create_task(sign_in.aclose())
        await asyncio.sleep(0)
        world.answers.set()
        await closing
        assert store.signed_in(sign_in.server) is not None


async def test_signing_out_holds_though_a_refresh_is_under_way() -> None:
    """What it brings is not kept."""
    world = SignInWorld(grant={"expires_in": 300, "refresh_token": "a-refresh-token-of-somebody-who-left"})
    store = MemoryStore()
    sign_in = world.sign_in(store=store)
    await world.call(sign_in)
    world.clock.now += 290
    await _cut_off(world, sign_in)
    sign_in.sign_out()
    world.answers.set()
    await sign_in.aclose()
    assert store.signed_in(sign_in.server) is None


async def test_a_token_that_the_server_refuses_is_replaced() -> None:
    """First by the refresh token; a server that refuses whatever it is shown is not asked for ever."""
    world = SignInWorld(grant={"expires_in": 300, "refresh_token": "a-refresh-token-of-a-revoked-one"})
    sign_in = world.sign_in()
    await world.call(sign_in)
    world.good.clear()
    assert (await world.call(sign_in)).status_code == 200
    assert (len(world.visits), len(world.forms)) == (1, 2)
    world.good = _Nothing()
    assert (await world.call(sign_in)).status_code == 401
    assert [form["grant_type"] for form in world.forms[2:]] == ["refresh_token", "authorization_code"]
    assert len(world.visits) == 2


async def test_whoever_answers_after_a_redirect_is_not_the_server() -> None:
    """Its challenge leads nobody anywhere."""
    world = SignInWorld()
    place = "https://evil.example.com/mcp"
    world.redirect = place
    async with world.http(world.sign_in().auth()) as http:
        answer = await http.post(SERVER, json={}, follow_redirects=True)
    assert (answer.status_code, str(answer.url)) == (401, place)
    assert (world.gets, world.visits) == ([], [])


class _Nothing(dict[str, frozenset[str]]):
    """Takes tokens, and knows none."""

    def get(self, key: str, default: Any = None) -> Any:
        return default


async def test_more_scopes_are_asked_for_beside_those_of_before() -> None:
    """A 403 that names a scope leads to one more sign-in, for the union; then the call goes through."""
    world = SignInWorld()
    sign_in = world.sign_in()
    await world.call(sign_in)
    world.needed = frozenset({"mcp:write"})
    assert (await world.call(sign_in)).status_code == 200
    assert [visit["scope"] for visit in world.visits] == ["mcp:read", "mcp:read mcp:write"]


async def test_a_server_that_is_never_content_is_not_asked_for_ever() -> None:
    """The same scopes are asked for twice, whatever the number of calls; then the 403 is the answer."""
    world = SignInWorld(ceiling=frozenset({"mcp:read"}), needed=frozenset({"mcp:admin"}))
    sign_in = world.sign_in()
    for _ in range(3):
        assert (await world.call(sign_in)).status_code == 403
    assert len(world.visited) == 3


async def test_offline_access_is_asked_for_where_it_is_offered() -> None:
    """The authorization server's own list decides."""
    world = SignInWorld()
    world.documents[ISSUER + METADATA] = issuer_metadata(scopes_supported=["offline_access"])
    await world.call(world.sign_in())
    assert world.visits[0]["scope"] == "mcp:read offline_access"


async def test_a_client_is_what_it_is_at_one_issuer() -> None:
    """Registered beforehand, it comes with its secret; nothing of it goes to another issuer that the server names."""
    world = SignInWorld()
    secret = "a-secret-of-a-registered-client"
    client = RegisteredClient.at(ISSUER, client_id="desk", client_secret=secret)
    await world.call(world.sign_in(clients=[client]))
    assert world.registered == []
    assert world.token_requests[0].headers["authorization"].startswith("Basic ")
    world.documents[PLACE] = resource_metadata(authorization_servers=[OTHER])
    world.documents[OTHER + METADATA] = issuer_metadata(OTHER)
    with pytest.raises(RegistrationImpossible, match="is registered at"):
        await world.call(world.sign_in(clients=[client]))
    assert len(world.visits) == 1
    assert OTHER + METADATA not in world.gets


async def test_a_secret_goes_where_it_is_taken() -> None:
    """Into the form, for a server that takes it there alone."""
    world = SignInWorld()
    world.documents[ISSUER + METADATA] = issuer_metadata(token_endpoint_auth_methods_supported=["client_secret_post"])
    client = RegisteredClient.at(ISSUER, client_id="desk", client_secret="a-secret-for-the-form")
    await world.call(world.sign_in(clients=[client]))
    assert "authorization" not in world.token_requests[0].headers
    assert world.forms[0]["client_secret"] == "a-secret-for-the-form"


async def test_a_document_names_the_client_where_documents_are_taken() -> None:
    """Its address is the client's id, and nothing is registered; where they are not taken, it registers."""
    document = "https://desk.example.com/client.json"
    world = SignInWorld()
    world.documents[ISSUER + METADATA] = issuer_metadata(client_id_metadata_document_supported=True)
    await world.call(world.sign_in(client_document=document))
    assert (world.registered, world.visits[0]["client_id"], world.forms[0]["client_id"]) == ([], document, document)
    world = SignInWorld()
    await world.call(world.sign_in(client_document=document))
    assert world.visits[0]["client_id"] == "client-1"


@pytest.mark.parametrize("document", ["http://d.example/c", "https://d.example", "https://d.example/c?x=1", "c.json"])
def test_an_address_that_is_no_documents_is_refused(document: str) -> None:
    """https with a path, and as it will be compared."""
    with pytest.raises(SettingsError):
        SignInWorld().sign_in(client_document=document)


async def test_who_cannot_register_is_told_so() -> None:
    """Without an endpoint, and where the endpoint says no."""
    world = SignInWorld()
    world.documents[ISSUER + METADATA] = issuer_metadata(registration_endpoint=None)
    with pytest.raises(RegistrationImpossible, match="registers none"):
        await world.call(world.sign_in())
    world = SignInWorld(registration={"error": "invalid_redirect_uri"})
    with pytest.raises(RegistrationImpossible, match="invalid_redirect_uri"):
        await world.call(world.sign_in())
    assert world.visits == []


async def test_a_server_that_moves_to_another_issuer_takes_no_credentials_along() -> None:
    """The program registers anew, and neither its old id nor its old refresh token is seen there."""
    world = SignInWorld(grant={"expires_in": 300, "refresh_token": "a-refresh-token-of-the-first-issuer"})
    world.registration = {"client_id": "known-at-the-first", "token_endpoint_auth_method": "none"}
    store = MemoryStore()
    await world.call(world.sign_in(store=store))
    world.documents[PLACE] = resource_metadata(authorization_servers=[OTHER])
    world.documents[OTHER + METADATA] = issuer_metadata(OTHER)
    world.good.clear()
    world.registration = None
    assert (await world.call(world.sign_in(store=store))).status_code == 200
    assert [form["grant_type"] for form in world.forms] == ["authorization_code"] * 2
    assert world.visits[1]["client_id"] == "client-2"
    assert str(world.token_requests[1].url).startswith(OTHER)
    assert (store.client(ISSUER), store.client(OTHER)) != (None, None)


@pytest.mark.parametrize("method", [[], {}, 1, None, "private_key_jwt", "client_secret_basic"])
async def test_a_registration_that_cannot_be_used_is_not_kept(method: Any) -> None:
    """A way to authenticate that is no text, that we do not have, or that lacks its secret."""
    world, store = SignInWorld(registration={"client_id": "c", "token_endpoint_auth_method": method}), MemoryStore()
    with pytest.raises(IssuerUnavailable, match="a way to authenticate"):
        await world.call(world.sign_in(store=store))
    assert store.client(ISSUER) is None


async def test_a_registration_that_was_lost_is_made_anew() -> None:
    """A client that its issuer knows no more is forgotten here, too."""
    world = SignInWorld()
    store = MemoryStore()
    world.refused = {"error": "invalid_client"}
    with pytest.raises(TokenNotGranted):
        await world.call(world.sign_in(store=store))
    world.refused = None
    await world.call(world.sign_in(store=store))
    assert len(world.registered) == 2


async def test_a_registration_for_another_address_is_made_anew() -> None:
    """The port of before was taken: a server that compares every letter would refuse the new one."""
    world = SignInWorld()
    store = MemoryStore()
    await world.call(world.sign_in(store=store))
    world.redirect_uri = "http://127.0.0.1:40002/callback"
    world.sign_in(store=store).sign_out()
    await world.call(world.sign_in(store=store))
    assert [each["redirect_uris"] for each in world.registered] == [[REDIRECT_URI], [world.redirect_uri]]
    assert [visit["client_id"] for visit in world.visits] == ["client-1", "client-2"]


async def test_a_refresh_token_is_used_by_the_client_that_got_it() -> None:
    """A program that has become another client at the same issuer does not show it."""
    world = SignInWorld(grant={"expires_in": 300, "refresh_token": "a-refresh-token-of-another-client"})
    store = MemoryStore()
    await world.call(world.sign_in(store=store))
    store.keep_client(RegisteredClient(issuer=ISSUER, client_id="another", redirect_uri=REDIRECT_URI))
    world.clock.now += 301
    world.good.clear()
    await world.call(world.sign_in(store=store))
    assert [form["grant_type"] for form in world.forms] == ["authorization_code"] * 2


async def test_after_signing_out_the_person_is_asked_again() -> None:
    """Nothing is kept for the server."""
    world = SignInWorld()
    sign_in = world.sign_in()
    await world.call(sign_in)
    sign_in.sign_out()
    await world.call(sign_in)
    assert len(world.visits) == 2


def test_a_server_is_a_url() -> None:
    """What is no URL of a server is refused at once."""
    with pytest.raises(SettingsError, match="no URL of a server"):
        SignInWorld().sign_in(server="mcp.example.com")


@pytest.mark.parametrize(
    "server", ["http://mcp.example.com/mcp", "http://10.0.0.1/mcp", "http://127.0.0.1.example/mcp"]
)
def test_a_server_that_tokens_would_go_to_in_clear_is_refused(server: str) -> None:
    """http is for this machine alone."""
    with pytest.raises(SettingsError, match="must be https"):
        SignInWorld().sign_in(server=server)
    assert SignInWorld().sign_in(server="http://127.0.0.1:9001/mcp").auth().resource == "http://127.0.0.1:9001/mcp"
