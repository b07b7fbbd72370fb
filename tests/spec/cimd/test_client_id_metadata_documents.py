"""Client ID metadata documents: a client is what the document at its id says, if its host is admitted.

Spec: draft-ietf-oauth-client-id-metadata-document §3
Spec: draft-ietf-oauth-client-id-metadata-document §4
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from perhop.authorization_server.newcomers.documents import BACK_OFF_SECONDS
from perhop.authorization_server.newcomers.known import MAX_DOCUMENT_BYTES
from perhop.errors import ClientDocumentRefused
from perhop.rules.client_id_url import parse_client_id_url
from perhop.tokens.jwks import render_jwks
from perhop.tokens.keys import SigningKey
from tests.support.authorization_servers import ASSERTION_TYPE, CALENDAR, PERSON, assert_refused, claims_of
from tests.support.browsers import Browser, a_request, answer_in, form_in, redeem
from tests.support.client_documents import HOST, HOSTED_CALLBACK, OTHER_HOST, PATH, as_answer
from tests.support.newcomers import Place, a_place

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEYS_PATH = "/oauth/jwks.json"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def built(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    async with a_place(tmp_path_factory.mktemp("place")) as place:
        yield place


@pytest_asyncio.fixture(loop_scope="module")
async def place(built: Place) -> Place:
    """A place at which nobody has been, whose clock is far from any back-off of another test."""
    built.server.clock.now += 24 * 3600
    built.server.http.cookies.clear()
    built.site.answers.clear()
    built.site.asked.clear()
    built.site.looked_up.clear()
    for known in tuple(built.newcomers.clients):
        await built.newcomers.forget(known)
        await built.server.stores.consents.take_back(PERSON, known, CALENDAR, now=built.server.issuer.now())
    built.admit(built.site.rule())
    return built


async def assert_unknown(place: Place, client_id: str, *said: str) -> None:
    """A person is shown the page for applications that are not known, and the journal says why."""
    page = await place.page(client_id)
    assert (page.status_code, "location" in page.headers) == (400, False), page.text
    assert "is not known here" in page.text
    refusal = place.refusal()
    assert refusal["reason"] == "client.authentication"
    assert all(each in refusal["detail"] for each in said), refusal["detail"]


async def test_a_person_allows_a_client_that_publishes_what_it_is(place: Place) -> None:
    """A client whose host is admitted gets a token for the person, with its URL as its id."""
    client_id = place.site.publish()
    claims = claims_of(await place.token(client_id))
    assert (claims["client_id"], claims["sub"], claims["scope"]) == (client_id, "user:ann", "calendar:read")
    assert place.site.asked == [(f"{HOST}:{place.site.port}", PATH)], "one request was enough for all of it"


@pytest.mark.parametrize(
    "client_id",
    [
        "https://apps.example.com",
        "https://apps.example.com/",
        "https://apps.example.com/x?y",
        "https://apps.example.com/x#y",
        "https://apps.example.com/x#",
        "https://ann@apps.example.com/x",
        "https://apps.example.com/a/../x",
        "https://apps.example.com/a/%2e%2e/x",
        "https://apps.example.com/./x",
        "https://apps.example.com:443/x",
        "https://APPS.example.com/x",
        "HTTPS://apps.example.com/x",
        "https://apps.example.com./x",
        "https://2130706433/x",
        "https://0x7f.1/x",
        "https://apps.example.com\\@inner/x",
        "http://apps.example.com/x",
    ],
)
async def test_a_client_id_has_one_spelling(client_id: str) -> None:
    """A client id that is a URL is https with a path, and written in the one way that is canonical."""
    with pytest.raises(ClientDocumentRefused):
        parse_client_id_url(client_id)


async def test_without_a_rule_nothing_is_fetched(place: Place) -> None:
    """A client whose host no rule admits is not known, and its host is not so much as looked up."""
    place.site.publish()
    for client_id in (place.site.url(host=OTHER_HOST), "https://apps.example.com/oauth/client.json"):
        await assert_unknown(place, client_id, "no rule of `client_documents` admits")
    assert (place.site.looked_up, place.site.asked) == ([], [])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"client_id": "https://apps.example.com/oauth/client.json"}, "`client_id` is not exactly the URL"),
        ({"client_id": None}, "`client_id` is not exactly the URL"),
        ({"client_name": None}, "`client_name`"),
        ({"client_name": "Jour\u202eney"}, "does not show"),
        ({"client_name": "Jour\nney"}, "does not show"),
        ({"client_name": "x" * 121}, "`client_name`"),
        ({"redirect_uris": None}, "`redirect_uris`"),
        ({"redirect_uris": []}, "`redirect_uris`"),
        ({"redirect_uris": ["myapp://callback"]}, "no redirect URI"),
        ({"client_secret": "s" * 43}, "a client secret"),
        ({"client_secret_expires_at": 0}, "a client secret"),
        ({"token_endpoint_auth_method": "client_secret_basic"}, "shares a secret"),
        ({"token_endpoint_auth_method": "client_secret_jwt"}, "shares a secret"),
        ({"token_endpoint_auth_method": "private_key_jwt"}, "without `jwks`"),
        ({"token_endpoint_auth_method": "tls_client_auth"}, "no authentication method"),
        (
            {"token_endpoint_auth_method": None, "token_endpoint_auth_methods_supported": ["client_secret_post"]},
            "no au",
        ),
        ({"grant_types": ["client_credentials"]}, "does not use authorization codes"),
        ({"response_types": ["token"]}, "does not use authorization codes"),
        ({"application_type": "web", "redirect_uris": ["http://127.0.0.1/callback"]}, "no redirect URI"),
    ],
)
async def test_a_document_that_is_not_good_is_no_client(place: Place, changes: dict[str, object], said: str) -> None:
    """A document of another client, one without a name or a redirect URI, or with a shared secret, is refused."""
    await assert_unknown(place, place.site.publish(**changes), said)


async def test_a_list_is_no_document(place: Place) -> None:
    """What is no JSON object, or says a member twice, is no document."""
    for body in (b"[]", b'{"client_id": "a", "client_id": "b"}', b"\xff", b""):
        place.site.answers[PATH] = as_answer(body)
        place.server.clock.now += BACK_OFF_SECONDS
        await assert_unknown(place, place.site.url(), "not JSON" if body != b"[]" else "not a JSON object")


async def test_a_document_has_five_kibibytes_at_most(place: Place) -> None:
    """A document of exactly 5 KiB is read, and one of an octet more is not."""
    document = json.dumps(place.site.document()).encode()
    exact = document + b" " * (MAX_DOCUMENT_BYTES - len(document))
    place.site.answers[PATH] = as_answer(exact + b" ")
    await assert_unknown(place, place.site.url(), "longer than 5120 bytes")
    place.site.answers[PATH] = as_answer(exact)
    place.server.clock.now += BACK_OFF_SECONDS
    assert (await place.page(place.site.url())).status_code == 200


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (as_answer(b"", f"location: https://{HOST}/", status="302 Found"), "HTTP 302"),
        (as_answer({}, status="201 Created"), "HTTP 201"),
        (as_answer({}, status="500 Internal Server Error"), "HTTP 500"),
        (as_answer({}, media_type="text/html"), "not JSON by its content type"),
        (as_answer(b"\x1f\x8b" + b"\0" * 60, "content-encoding: gzip"), "an encoding that was not asked for"),
        (b"nonsense\r\n\r\n", "RemoteProtocolError"),
    ],
)
async def test_only_a_whole_json_answer_of_200_counts(place: Place, answer: bytes, said: str) -> None:
    """A redirect is not followed, and neither another status nor another content type or encoding is a document."""
    place.site.answers[PATH] = answer
    await assert_unknown(place, place.site.url(), said)
    assert len(place.site.asked) == 1


async def test_a_document_is_read_again_when_its_server_says(place: Place) -> None:
    """A document is gone by for as long as its `Cache-Control` says, and read again after that."""
    client_id = place.site.publish("cache-control: max-age=3600")
    await place.page(client_id)
    place.server.clock.now += 3599
    await place.page(client_id)
    assert len(place.site.asked) == 1
    place.server.clock.now += 1
    await place.page(client_id)
    assert len(place.site.asked) == 2


async def test_a_failure_is_no_document(place: Place) -> None:
    """What failed is asked for again after a short while, and is gone by as soon as it is good."""
    await assert_unknown(place, place.site.url(), "HTTP 404")
    client_id = place.site.publish()
    await assert_unknown(place, client_id, "not asked again yet")
    assert len(place.site.asked) == 1
    place.server.clock.now += BACK_OFF_SECONDS
    assert (await place.page(client_id)).status_code == 200


async def test_a_document_that_is_gone_gives_nothing_more(place: Place) -> None:
    """When a document cannot be had any more its client gets no token, and its last one stays good at the gateway."""
    client_id = place.site.publish()
    answer = await place.token(client_id)
    place.site.answers.clear()
    place.server.clock.now += 400
    await assert_unknown(place, client_id, "HTTP 404")
    refresh = {"grant_type": "refresh_token", "refresh_token": answer.json()["refresh_token"], "client_id": client_id}
    assert_refused(await place.server.ask(**refresh), "invalid_client", status=401)
    assert client_id in place.server.issuer.registry.clients


async def test_keys_at_an_address_of_their_own(place: Place) -> None:
    """A client with `jwks_uri` proves itself by a key from there, and by nothing else."""
    key, other = SigningKey.generate(), SigningKey.generate()
    place.site.answers[KEYS_PATH] = as_answer(render_jwks([key.public()]))
    client_id = place.site.publish(token_endpoint_auth_method="private_key_jwt", jwks_uri=place.site.url(KEYS_PATH))
    code = await Browser(place.server).code(place.request(client_id))

    def proof(signer: SigningKey) -> dict[str, str]:
        assertion = place.server.assertion(client_id, signer)
        return {"client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}

    changes = {"client_id": client_id, "redirect_uri": HOSTED_CALLBACK}
    assert_refused(await redeem(place.server, code, **changes), "invalid_client", status=401)
    assert_refused(await redeem(place.server, code, **changes, **proof(other)), "invalid_client", status=401)
    assert claims_of(await redeem(place.server, code, **changes, **proof(key)))["client_id"] == client_id


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"keys": [{"kty": "oct", "k": "AAAA", "kid": "1"}]}, "symmetric or private"),
        ({"keys": []}, "no key that verifies"),
        ({"keys": [{"kty": "EC", "crv": "P-521"}]}, "no key that verifies"),
        ({"keys": [{"kty": "OKP", "kid": str(number)} for number in range(51)]}, "more than 50"),
        ({}, "no list"),
    ],
)
async def test_a_key_set_that_is_not_good_is_no_client(place: Place, members: object, said: str) -> None:
    """A key set with a symmetric key, too many of them, or none that verifies refuses the client."""
    place.site.answers[KEYS_PATH] = as_answer(members)
    client_id = place.site.publish(token_endpoint_auth_method="private_key_jwt", jwks_uri=place.site.url(KEYS_PATH))
    await assert_unknown(place, client_id, said)


async def test_keys_are_fetched_by_the_same_guard(place: Place) -> None:
    """Keys at an address that is not public, or not https, are not fetched; what a rule opens is for its own host."""
    place.site.addresses = {OTHER_HOST: [("10.0.0.1",)]}
    for jwks_uri, said in (
        (f"https://{OTHER_HOST}/keys", "`10.0.0.1`, which is no public address"),
        (place.site.url(KEYS_PATH, host=OTHER_HOST), "`127.0.0.1`, which is no public address"),
        ("http://apps.example.com/keys", "not https"),
        ("file:///etc/passwd", "not a canonical URL"),
    ):
        place.server.clock.now += BACK_OFF_SECONDS
        client_id = place.site.publish(token_endpoint_auth_method="private_key_jwt", jwks_uri=jwks_uri)
        await assert_unknown(place, client_id, said)
    assert {path for _, path in place.site.asked} == {PATH}


async def test_the_consent_page_says_whose_word_it_is(place: Place) -> None:
    """A person reads the host that publishes the client, the host that the answer goes to, and the name escaped."""
    client_id = place.site.publish(client_name="<b>Journey</b>")
    page = await Browser(place.server).sign_in(place.request(client_id))
    assert f"{HOST}:{place.site.port}; the name is the application's own word" in page.text
    assert "&lt;b&gt;Journey&lt;/b&gt;" in page.text
    assert "Beware" not in page.text


async def test_a_client_on_loopback_comes_with_a_warning_each_time(place: Place) -> None:
    """Where the answer goes to a person's own machine, on whatever port, they are warned, and asked every time."""
    client_id = place.site.publish(redirect_uris=["http://127.0.0.1:33418/", HOSTED_CALLBACK])
    ann = Browser(place.server)
    page = await ann.sign_in(place.request(client_id, redirect_uri="http://127.0.0.1:50000/"))
    assert "Beware" in page.text
    assert "code" in answer_in(await ann.allow(page))
    again = await ann.open(place.request(client_id, redirect_uri="http://127.0.0.1:50001/"))
    assert (again.status_code, form_in(again).buttons[0]) == (200, ("decision", "allow"))
    elsewhere = await ann.open(place.request(client_id))
    assert elsewhere.status_code == 303, "what was allowed is known where the answer goes to the site itself"


@pytest.mark.parametrize("changes", [{"redirect_uris": [HOSTED_CALLBACK, "https://apps.example.com/new"]}, {"jwks": 1}])
async def test_a_document_that_changed_is_asked_about_again(place: Place, changes: dict[str, object]) -> None:
    """A consent lapses, and refresh tokens with it, when the redirect URIs or the keys of the document change."""
    if "jwks" in changes:
        keys = render_jwks([SigningKey.generate().public()])
        changes = {"jwks": keys, "token_endpoint_auth_method": "private_key_jwt"}
    client_id = place.site.publish()
    ann = Browser(place.server)
    first = await redeem(
        place.server,
        await ann.code(place.request(client_id)),
        client_id=client_id,
        redirect_uri=HOSTED_CALLBACK,
    )
    assert (await ann.open(place.request(client_id))).status_code == 303
    place.site.publish(**changes)
    place.server.clock.now += 301
    assert (await ann.open(place.request(client_id))).status_code == 200
    refresh = {
        "grant_type": "refresh_token",
        "refresh_token": first.json()["refresh_token"],
        "client_id": client_id,
    }
    error = "invalid_client" if "jwks" in changes else "invalid_grant"
    assert_refused(await place.server.ask(**refresh), error, status=401 if "jwks" in changes else 400)


async def test_metadata_says_that_documents_are_read(place: Place) -> None:
    """The metadata names the feature where any host is admitted, and nowhere else."""

    async def told() -> object:
        document = await place.server.http.get("/.well-known/oauth-authorization-server")
        return document.json().get("client_id_metadata_document_supported")

    assert await told() is True
    place.admit()
    assert await told() is None


async def test_an_id_of_the_configuration_is_never_fetched(place: Place) -> None:
    """A client that the configuration defines under a URL is what the configuration says."""
    client_id = place.site.publish(redirect_uris=["https://evil.example.com/callback"])
    place.server.issuer.registry.clients.maps[0][client_id] = place.server.issuer.registry.clients["desk-app"]  # type: ignore[attr-defined]
    place.admit(place.site.rule())
    page = await Browser(place.server).open(a_request(client_id=client_id))
    assert (page.status_code, place.site.asked) == (200, [])
    place.server.issuer.registry.clients.maps[0].pop(client_id)  # type: ignore[attr-defined]


async def test_a_rule_says_what_its_clients_reach(place: Place) -> None:
    """A client reaches what its rule says, whatever its document asks for, and is never given a token for itself."""
    client_id = place.site.publish(scope="calendar:write", grant_types=["authorization_code", "client_credentials"])
    assert answer_in(await place.page(client_id, scope="calendar:write"))["error"] == "invalid_scope"
    alone = await place.server.ask(grant_type="client_credentials", client_id=client_id)
    assert_refused(alone, "unauthorized_client")


async def test_a_restart_keeps_who_has_tokens(place: Place) -> None:
    """After a restart a client is known by whose document a token was issued, and one that only passed by is not."""
    kept, passing = place.site.publish(), place.site.publish(path="/passing")
    size = len(place.server.records("client.changed"))
    await place.token(kept)
    await place.page(passing)
    asked = len(place.site.asked)
    await place.restart()
    clients = place.server.issuer.registry.clients
    assert (kept in clients, passing in clients) == (True, False)
    assert len(place.site.asked) == asked
    changes = [(each["client"], each["about"]["change"]) for each in place.server.records("client.changed")[size:]]
    assert changes == [(kept, "document")]


async def test_a_newcomer_at_the_other_endpoints(place: Place) -> None:
    """A newcomer gives its token back at `/revoke`; at `/introspect` one that proves nothing hears nothing."""
    client_id = place.site.publish()
    raw = (await place.token(client_id)).json()["access_token"]
    told = await place.server.http.post("/introspect", data={"token": raw, "client_id": client_id})
    assert_refused(told, "invalid_client", status=401)
    answer = await place.server.http.post("/revoke", data={"token": raw, "client_id": client_id})
    assert answer.status_code == 200
    assert place.server.records("revocation")[-1]["about"]["by"] == f"client:{client_id}"


async def test_a_rule_that_is_gone_takes_its_clients_along(place: Place) -> None:
    """Without its rule a client is not known any more, and its kept document is named as one to be forgotten."""
    client_id = place.site.publish()
    await place.token(client_id)
    place.admit()
    assert client_id not in place.server.issuer.registry.clients
    assert place.newcomers.unadmitted() == (client_id,)


async def test_standing_holds_for_newcomers(place: Place) -> None:
    """A client whose rule has expired, whose owner is gone, or that an operator disabled, gets nothing."""
    client_id = place.site.publish()
    standing, now = place.server.issuer.standing, place.server.issuer.now()
    await standing.disable("client", client_id, why="", now=now)
    await place.page(client_id)
    assert place.refusal()["reason"] == "client.disabled"
    await standing.enable("client", client_id, now=now)
    place.admit(place.site.rule(owner="nobody"))
    await place.page(client_id)
    assert place.refusal()["reason"] == "owner.missing"


async def test_policy_sees_a_newcomer_in_its_owner(place: Place) -> None:
    """A policy can name a newcomer by its URL, and by the owner that its rule gives it, as soon as it is known."""
    issuer = place.server.issuer
    client_id = place.site.publish()
    for principal in (f'principal == MCP::Agent::"{client_id}"', 'principal in MCP::Owner::"travel-team"'):
        place.server.forbid(f'@id("no") forbid ({principal}, action == MCP::Action::"issue", resource);')
        answer = await Browser(place.server).sign_in(place.request(client_id))
        assert answer_in(answer)["error"] == "invalid_target"
        await place.newcomers.forget(client_id)
        place.server.http.cookies.clear()
    place.server.change(policy=issuer.policy)
