"""People who sign in at an OpenID provider: who they are here, who is let in, and what ends their way in."""

from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from perhop.authorization_server.federation.attempts import ATTEMPT_LIFETIME, Attempt, Attempts
from perhop.authorization_server.federation.provider_documents import (
    KEYS_ASKED_ANEW,
    KEYS_KEPT,
    METADATA_KEPT,
    RETRY_SECONDS,
)
from perhop.authorization_server.known_groups import KnownGroups
from perhop.authorization_server.people_store import FederatedAccount
from perhop.authorization_server.store import Place
from perhop.core.secret import Secret
from perhop.tokens.keys import SigningKey
from tests.support.authorization_servers import (
    EMAIL,
    PASSWORD,
    PERSON,
    RunningServer,
    assert_refused,
    claims_of,
    running_server,
)
from tests.support.browsers import a_request, answer_in, form_in, redeem
from tests.support.forge import ABSENT
from tests.support.openid_providers import ANN_THERE, ANYONE, OpenIdProvider, Person, a_provider, know, one_way


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningServer]:
    async with running_server(tmp_path) as running:
        yield running


@pytest.fixture
def login(server: RunningServer) -> OpenIdProvider:
    """The provider that the server knows as `corp`."""
    provider = OpenIdProvider(now=server.clock, person=dict(ANN_THERE))
    know(server, provider)
    return provider


async def _subject(server: RunningServer, person: Person, login: OpenIdProvider) -> str:
    consent = await person.follow(await person.signed_in(login))
    code = answer_in(await person.allow(consent) if consent.status_code == 200 else consent)["code"]
    return str(claims_of(await redeem(server, code))["sub"])


async def test_a_person_of_a_provider_gives_an_application_a_token(
    server: RunningServer, login: OpenIdProvider
) -> None:
    """The button, the provider, back, consent, code, token: for a subject of ours, the same at every sign-in."""
    subject = await _subject(server, Person(server), login)
    assert re.fullmatch(r"user:[A-Za-z0-9_-]{22}", subject)
    (added,) = server.records("account.changed")
    assert added["about"] == {"account": subject, "change": "added", "by": "provider:corp"}
    server.http.cookies.clear()
    login.person |= {"email": "ann.smith@example.com"}
    assert await _subject(server, Person(server), login) == subject
    assert len(server.records("account.changed")) == 1
    kept = await server.stores.federated_accounts.of_subject(subject)
    assert kept is not None
    assert kept.email == "ann.smith@example.com"


async def test_a_subject_is_its_issuers(server: RunningServer, login: OpenIdProvider) -> None:
    """The same subject, and the same address, of another issuer is another person; nobody is found by an address."""
    other = OpenIdProvider(now=server.clock, issuer="https://evil.example.net", person=dict(ANN_THERE))
    stranger = a_provider("other", other.issuer, email_domains=(), admits=ANYONE)
    know(server, login, other, ways=one_way(a_provider(), stranger))
    ann = await _subject(server, Person(server), login)
    server.http.cookies.clear()
    person = Person(server)
    url = await person.go(await person.open(a_request()), "other")
    consent = await person.follow(await person.back(other.sign_in(url)))
    someone = claims_of(await redeem(server, answer_in(await person.allow(consent))["code"]))["sub"]
    assert len({ann, someone, PERSON}) == 3


async def test_a_person_has_one_name_whoever_brings_them(server: RunningServer, login: OpenIdProvider) -> None:
    """Whom an assertion of the same issuer named before signs in under that name."""
    asserted = FederatedAccount(
        issuer=login.issuer,
        subject_there=login.person["sub"],
        subject="user:of-an-assertion",
        email=None,
        groups=None,
        seen_at=0,
    )
    await server.stores.federated_accounts.add(asserted)
    assert await _subject(server, Person(server), login) == "user:of-an-assertion"


async def test_who_is_let_in(server: RunningServer, login: OpenIdProvider) -> None:
    """Only a verified address of the provider's own domains lets somebody in, unless anyone is."""
    strangers: list[dict[str, Any]] = [
        {"sub": "x"},
        {"sub": "x", "email": EMAIL},
        {"sub": "x", "email": EMAIL, "email_verified": False},
        {"sub": "x", "email": EMAIL, "email_verified": "true"},
        {"sub": "x", "email": "ann@example.com.evil.net", "email_verified": True},
        {"sub": "x", "email": "ann@sub.example.com", "email_verified": True},
        {"sub": "x", "email": "ann@evil.net@example.com", "email_verified": True},
        {"sub": "x", "email": ["ann@example.com"], "email_verified": True},
    ]
    for stranger in strangers:
        login.person = stranger
        refused = await Person(server).signed_in(login)
        assert refused.status_code == 403, stranger
        assert "does not sign in here" in refused.text
        assert server.last_refusal()["reason"] == "client.authentication"
    assert await server.stores.federated_accounts.list() == []
    server.change_registry(sign_in=one_way(a_provider(email_domains=(), admits=ANYONE)))
    login.person = {"sub": "x"}
    assert (await Person(server).signed_in(login)).status_code == 303


async def test_userinfo_says_what_the_id_token_does_not(server: RunningServer, login: OpenIdProvider) -> None:
    """Claims that the ID token lacks come from UserInfo, if that is of the same subject."""
    login.document = {"userinfo_endpoint": f"{login.issuer}/userinfo"}
    login.person = {"sub": "ann-there"}
    login.userinfo = dict(ANN_THERE)
    assert (await Person(server).signed_in(login)).status_code == 303
    login.userinfo = {**ANN_THERE, "sub": "bob-there"}
    assert (await Person(server).signed_in(login)).status_code == 400
    assert server.last_refusal()["reason"] == "token.malformed"
    login.statuses = {"userinfo": 500}
    assert (await Person(server).signed_in(login)).status_code == 503


MIXED = [
    ({"email_verified": True}, {"email": "ann@example.com", "email_verified": False}),
    ({"email_verified": True}, {"email": "ann@example.com"}),
    ({"email": "ann@example.com"}, {"email": "ann@example.net", "email_verified": True}),
]


@pytest.mark.parametrize(("in_id_token", "in_userinfo"), MIXED)
async def test_an_address_is_not_verified_by_another_document(
    server: RunningServer, login: OpenIdProvider, in_id_token: dict[str, Any], in_userinfo: dict[str, Any]
) -> None:
    """`email_verified` is of the `email` beside it, whether the ID token or UserInfo is the one that names it."""
    # Groups are wanted, so that UserInfo is asked although the ID token has an address.
    server.change_registry(sign_in=one_way(a_provider(groups_claim="groups")))
    login.document = {"userinfo_endpoint": f"{login.issuer}/userinfo"}
    login.person = {"sub": "ann-there", **in_id_token}
    login.userinfo = {"sub": "ann-there", "groups": ["travel"], **in_userinfo}
    assert (await Person(server).signed_in(login)).status_code == 403
    assert server.last_refusal()["reason"] == "client.authentication"
    assert "userinfo" in login.seen


async def test_an_address_and_its_verification_come_from_userinfo_together(
    server: RunningServer, login: OpenIdProvider
) -> None:
    """An ID token that names no address has no word on the one that UserInfo names."""
    login.document = {"userinfo_endpoint": f"{login.issuer}/userinfo"}
    login.person = {"sub": "ann-there", "email_verified": False}
    login.userinfo = dict(ANN_THERE)
    assert (await Person(server).signed_in(login)).status_code == 303


async def test_a_way_that_is_closed_is_closed_at_once(server: RunningServer, login: OpenIdProvider) -> None:
    """A provider that is taken out, a domain that it loses, a disabled account: sessions and refresh tokens end."""
    person = Person(server)
    consent = await person.follow(await person.signed_in(login))
    granted = (await redeem(server, answer_in(await person.allow(consent))["code"])).json()
    assert form_in(await person.open(a_request(scope="calendar:read calendar:read"))).fields == []

    async def refreshed() -> httpx2.Response:
        answer = await server.ask(
            grant_type="refresh_token", refresh_token=granted["refresh_token"], client_id="desk-app"
        )
        if answer.status_code == 200:
            granted.update(answer.json())
        return answer

    assert (await refreshed()).status_code == 200
    closed = [
        one_way(),
        one_way(a_provider(email_domains=("example.org",))),
        one_way(a_provider(issuer="https://login.example.org")),
    ]
    for ways in closed:
        server.change_registry(sign_in=ways)
        assert "email" in form_in(await person.open(a_request())).fields
        assert_refused(await refreshed(), "invalid_grant")
        server.change_registry(sign_in=one_way(a_provider()))
        assert answer_in(await person.open(a_request()))["code"]
        assert (await refreshed()).status_code == 200
    (account,) = await server.stores.federated_accounts.list()
    await server.stores.federated_accounts.disable(account.subject)
    assert "email" in form_in(await person.open(a_request())).fields
    assert_refused(await refreshed(), "invalid_grant")
    assert (await person.signed_in(login)).status_code == 403


async def test_an_address_of_a_providers_domain_is_the_providers(server: RunningServer, login: OpenIdProvider) -> None:
    """A local account with such an address does not sign in, and its session ends; others do."""
    person = Person(server)
    page = await person.open(a_request())
    refused = await person.send(page, {"email": EMAIL, "password": PASSWORD})
    assert refused.status_code == 403
    server.change_registry(sign_in=one_way(a_provider(email_domains=("example.org",))))
    assert (await person.send(refused, {"email": EMAIL, "password": PASSWORD})).status_code == 303
    assert form_in(await person.open(a_request())).buttons
    server.change_registry(sign_in=one_way(a_provider()))
    assert "password" in form_in(await person.open(a_request())).fields


async def test_local_sign_in_can_be_off(server: RunningServer, login: OpenIdProvider) -> None:
    """Then the form has no fields, and a password that is sent all the same signs nobody in."""
    server.change_registry(sign_in=one_way(a_provider(email_domains=("example.org",)), local_accounts=False))
    person = Person(server)
    page = await person.open(a_request())
    assert form_in(page).fields == []
    assert form_in(page).buttons == [("provider", "corp")]
    assert (await person.send(page, {"email": EMAIL, "password": PASSWORD})).status_code == 403


async def test_a_provider_that_is_down_signs_nobody_in(server: RunningServer, login: OpenIdProvider) -> None:
    """Metadata, keys, token endpoint: whatever is down, there is a page that says so, 503, and no session."""
    person = Person(server)
    login.statuses = {"openid-configuration": 500}
    page = await person.send(await person.open(a_request()), {"provider": "corp"})
    assert (page.status_code, page.headers["retry-after"]) == (503, "30")
    assert "Corp" in page.text
    assert "does not answer" in page.text
    assert "Begin again" in page.text
    again = await person.send(await person.open(a_request()), {"provider": "corp"})
    assert again.status_code == 503
    assert login.seen.count("openid-configuration") == 1, "it is left alone for a while"
    for part in ("token", "keys"):
        server.clock.now += RETRY_SECONDS
        login.statuses = {part: 500}
        down = await person.signed_in(login)
        assert down.status_code == 503, part
        assert "perhop-session" not in down.headers.get("set-cookie", "")
        assert server.last_refusal()["reason"] == "upstream.unavailable"
    server.clock.now += RETRY_SECONDS
    login.statuses = {}
    assert (await person.signed_in(login)).status_code == 303


async def test_what_a_provider_publishes_is_kept_for_a_while(server: RunningServer, login: OpenIdProvider) -> None:
    """Metadata for an hour, keys for ten minutes; a key that is not known is looked for, twice a minute at most."""
    assert (await Person(server).signed_in(login)).status_code == 303
    assert (await Person(server).signed_in(login)).status_code == 303
    assert (login.seen.count("openid-configuration"), login.seen.count("keys")) == (1, 1)
    login.key = SigningKey.generate()
    assert (await Person(server).signed_in(login)).status_code == 400
    server.clock.now += KEYS_ASKED_ANEW
    assert (await Person(server).signed_in(login)).status_code == 303
    server.clock.now += KEYS_KEPT
    login.statuses = {"keys": 500}
    assert (await Person(server).signed_in(login)).status_code == 503
    login.statuses = {"openid-configuration": 500}
    server.clock.now += METADATA_KEPT
    page = await Person(server).open(a_request())
    assert (await Person(server).send(page, {"provider": "corp"})).status_code == 503


async def test_metadata_that_is_not_good_is_none(server: RunningServer, login: OpenIdProvider) -> None:
    """Of another issuer, with an endpoint that anybody could read along with, or without a way to authenticate."""
    wrong: list[dict[str, Any]] = [
        {"issuer": "https://login.example.com/"},
        {"token_endpoint": "http://login.example.com/token"},
        {"token_endpoint": "http://127.0.0.1/token"},
        {"jwks_uri": "https://login.example.com/../keys"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"authorization_endpoint": ABSENT},
        {"token_endpoint_auth_methods_supported": ["private_key_jwt"]},
    ]
    person = Person(server)
    for document in wrong:
        login.document = document
        server.clock.now += RETRY_SECONDS
        page = await person.open(a_request())
        assert (await person.send(page, {"provider": "corp"})).status_code == 503, document


async def test_what_a_provider_is_asked(server: RunningServer, login: OpenIdProvider) -> None:
    """A fresh state, nonce and challenge each time, and a redirect URI of its own; the secret may go by POST."""
    person = Person(server)
    urls = [await person.go(await person.open(a_request())) for _ in range(2)]
    first, second = ({name: each[0] for name, each in parse_qs(urlsplit(url).query).items()} for url in urls)
    assert first["redirect_uri"] == f"{server.issuer.url}/sign-in/corp/callback"
    assert first["scope"] == "openid email"
    assert all(first[name] != second[name] for name in ("state", "nonce", "code_challenge"))
    login.document = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
    server.clock.now += METADATA_KEPT
    assert (await Person(server).signed_in(login)).status_code == 303


async def test_a_person_who_says_no_there(server: RunningServer, login: OpenIdProvider) -> None:
    """Who does not sign in at the provider is told so, and begins again from where they were."""
    person = Person(server)
    url = await person.go(await person.open(a_request(scope="calendar:read")))
    state = parse_qs(urlsplit(url).query)["state"][0]
    page = await person.back(
        f"{server.issuer.url}/sign-in/corp/callback?error=access_denied&state={state}&iss={login.issuer}"
    )
    assert page.status_code == 400
    (back,) = re.findall(r'<a href="([^"]*)">Begin again', page.text)
    assert form_in(await person.back(f"{server.issuer.url}{html.unescape(back)}")).fields == ["email", "password"]
    assert login.seen.count("token") == 0


async def test_a_sign_in_waits_ten_minutes(server: RunningServer, login: OpenIdProvider) -> None:
    """An answer that comes later than that finds nothing to answer."""
    person = Person(server)
    url = login.sign_in(await person.go(await person.open(a_request())))
    server.clock.now += ATTEMPT_LIFETIME
    assert (await person.back(url)).status_code == 400
    assert server.last_refusal()["reason"] == "session.mismatch"


def test_a_flood_of_sign_ins_pushes_out_its_own() -> None:
    """Where all places are taken, the network that has taken most of them loses its oldest."""

    def attempt(state: str, network: str) -> Attempt:
        return Attempt(
            state=state,
            provider="corp",
            issuer="https://login.example.com",
            place=Place.AUTHORIZE,
            browser="b",
            network=network,
            nonce="n",
            verifier=Secret("v"),
            redirect_uri="https://auth.example.com/sign-in/corp/callback",
            back="/authorize",
            began_at=1,
        )

    attempts = Attempts(capacity=10)
    attempts.add(attempt("ann", "192.0.2.0/24"))
    for number in range(50):
        attempts.add(attempt(f"flood-{number}", "198.51.100.0/24"))
    assert len(attempts) == 10
    assert attempts.take("flood-0", now=2) is None
    assert attempts.take("ann", now=2) is not None
    assert attempts.take("ann", now=2) is None


async def test_a_policy_permits_by_group(server: RunningServer, login: OpenIdProvider) -> None:
    """Groups are those of the last sign-in, for as long as the provider's settings say; then they are not known."""
    ways = one_way(a_provider(groups_claim="groups", groups_hold=3600))
    server.change_registry(sign_in=ways)
    server.forbid(
        '@id("staff-only") forbid (principal, action == MCP::Action::"issue", resource)'
        ' unless { context has subject && context.subject has groups && context.subject.groups.contains("staff") };'
    )
    login.person = {**ANN_THERE, "groups": ["staff", "travellers"]}
    person = Person(server)
    consent = await person.follow(await person.signed_in(login))
    granted = await redeem(server, answer_in(await person.allow(consent))["code"])
    assert granted.status_code == 200
    (account,) = await server.stores.federated_accounts.list()
    assert account.groups == {"staff", "travellers"}
    server.clock.now += 3600
    refused = await server.ask(
        grant_type="refresh_token", refresh_token=granted.json()["refresh_token"], client_id="desk-app"
    )
    assert_refused(refused, "invalid_target")
    assert server.last_refusal()["reason"] == "policy.denied"
    assert (await person.follow(await person.signed_in(login))).status_code == 303
    login.person = {**ANN_THERE, "groups": ["travellers"]}
    assert answer_in(await person.follow(await person.signed_in(login)))["error"] == "invalid_target"
    login.person = {**ANN_THERE, "groups": "staff"}
    assert answer_in(await person.follow(await person.signed_in(login)))["error"] == "invalid_target"
    login.person = {**ANN_THERE, "groups": ["staff"]}
    assert answer_in(await person.follow(await person.signed_in(login)))["code"]
    server.change_registry(sign_in=one_way(a_provider()))
    assert answer_in(await person.open(a_request()))["error"] == "invalid_target"


async def test_groups_are_known_after_a_restart(server: RunningServer, login: OpenIdProvider) -> None:
    """They are in the database, and read from there before the first question."""
    server.change_registry(sign_in=one_way(a_provider(groups_claim="groups")))
    login.person = {**ANN_THERE, "groups": ["staff"]}
    await Person(server).signed_in(login)
    (account,) = await server.stores.federated_accounts.list()
    groups = KnownGroups(lambda: server.issuer.registry.sign_in)
    await groups.load(server.stores.federated_accounts)
    assert groups.of(account.subject, now=server.issuer.now()) == {"staff"}
    assert groups.of("user:bob", now=server.issuer.now()) is None
    assert groups.of(None, now=server.issuer.now()) is None
