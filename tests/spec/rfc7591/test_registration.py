"""Dynamic client registration: whoever comes is kept for a day, and gets nothing until an owner has adopted it.

Spec: RFC 7591 §3
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from datetime import date
from typing import Any

import pytest
import pytest_asyncio

from perhop.authorization_server.newcomers.registrations import (
    MAX_WAITING,
    MAX_WAITING_FROM_ONE_NETWORK,
    WAITING_SECONDS,
)
from perhop.core.newcomer import Adoption
from perhop.errors import NotFound, TooManyRegistrations
from perhop.journal.record import RequestFacts
from perhop.tokens.jwks import render_jwks
from perhop.tokens.keys import SigningKey
from tests.support.authorization_servers import ASSERTION_TYPE, assert_refused, claims_of
from tests.support.browsers import Browser, answer_in, redeem
from tests.support.client_documents import HOSTED_CALLBACK
from tests.support.leaks.scan import THE_SCAN
from tests.support.leaks.secrets import Kind
from tests.support.newcomers import Place, a_place

pytestmark = pytest.mark.asyncio(loop_scope="module")

BY = "operator:ann"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def built(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    async with a_place(tmp_path_factory.mktemp("place")) as place:
        yield place


@pytest_asyncio.fixture(loop_scope="module")
async def place(built: Place) -> Place:
    """A place where clients may register, and none waits."""
    built.server.clock.now += WAITING_SECONDS
    built.server.http.cookies.clear()
    built.admit(registers=True)
    await built.newcomers.registrations.lapse()
    return built


def adoption(place: Place, **changes: Any) -> Adoption:
    usual: dict[str, Any] = {
        "owner": "travel-team",
        "purpose": "plans journeys",
        "expires": date(2030, 1, 31),
        "reaches": {"calendar": ("calendar:read",)},
        "by": BY,
        "at": int(place.server.clock.now),
    }
    return Adoption(**(usual | changes))


def changes_since(place: Place, size: int) -> list[str]:
    return [each["about"]["change"] for each in place.server.records("client.changed")[size:]]


async def test_a_client_that_an_owner_adopted_gets_a_token(place: Place) -> None:
    """A client that registered itself gets a token for a person once an owner has adopted it."""
    size = len(place.server.records("client.changed"))
    client_id = (await place.register()).json()["client_id"]
    await place.newcomers.adopt(client_id, adoption(place))
    claims = claims_of(await place.token(client_id))
    assert (claims["client_id"], claims["scope"]) == (client_id, "calendar:read")
    assert changes_since(place, size) == ["registered", "adopted"]


async def test_what_was_registered_is_told(place: Place) -> None:
    """The answer is 201, kept by no cache, with an id, what was registered, and no secret for a public client."""
    answer = await place.register(
        client_name="Journey ✈",
        application_type="native",
        redirect_uris=["http://127.0.0.1/callback"],
        grant_types=["authorization_code", "urn:ietf:params:oauth:grant-type:jwt-bearer"],
        logo_uri="https://apps.example.com/logo.png",
        scope="everything",
    )
    told = answer.json()
    assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
    assert told.pop("client_id").startswith("registered-")
    assert told.pop("client_id_issued_at") == int(place.server.clock.now)
    assert told == {
        "client_name": "Journey ✈",
        "redirect_uris": ["http://127.0.0.1/callback"],
        "grant_types": ["authorization_code"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
        "application_type": "native",
    }


async def test_until_it_is_adopted_nothing_is_given(place: Place) -> None:
    """A client that nobody has adopted is told so: a person on a page, the client by `invalid_client`."""
    client_id = (await place.register()).json()["client_id"]
    page = await place.page(client_id)
    assert (page.status_code, "no team answers for it yet" in page.text) == (400, True)
    assert place.refusal()["reason"] == "owner.missing"
    for grant in ("authorization_code", "refresh_token", "client_credentials"):
        answer = await place.server.ask(grant_type=grant, client_id=client_id, code="c", refresh_token="r")
        assert_refused(answer, "invalid_client", status=401)
        assert place.refusal()["reason"] == "owner.missing"


async def test_a_secret_is_shown_once_and_kept_as_a_hash(place: Place) -> None:
    """A confidential client's secret is in the answer alone; it is good by the method that was registered."""
    told = (await place.register(token_endpoint_auth_method=None)).json()
    client_id, secret = told["client_id"], THE_SCAN.note(told["client_secret"], Kind.CLIENT_SECRET)
    assert (told["token_endpoint_auth_method"], told["client_secret_expires_at"]) == ("client_secret_basic", 0)
    kept = place.newcomers.registrations.find(client_id)
    assert kept is not None
    assert kept.secret_sha256 == hashlib.sha256(secret.encode()).hexdigest()
    await place.newcomers.adopt(client_id, adoption(place))
    code = await Browser(place.server).code(place.request(client_id))
    changes = {"client_id": client_id, "redirect_uri": HOSTED_CALLBACK}
    assert_refused(await redeem(place.server, code, **changes), "invalid_client", status=401)
    wrong = await redeem(place.server, code, client_secret="wrong" * 9, **changes)
    assert_refused(wrong, "invalid_client", status=401)
    assert_refused(await redeem(place.server, code, client_secret=secret, **changes), "invalid_client", status=401)
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": HOSTED_CALLBACK,
        "code_verifier": "the-verifier-of-a-code-in-a-test-0123456789",
    }
    guessed = await place.server.http.post("/token", data=form, auth=(client_id, "wrong" * 9))
    assert_refused(guessed, "invalid_client", status=401)
    answer = await place.server.http.post("/token", data=form, auth=(client_id, secret))
    assert claims_of(answer)["client_id"] == client_id


async def test_a_client_registers_its_keys(place: Place) -> None:
    """A client that registered a public key proves itself by it."""
    key = SigningKey.generate()
    answer = await place.register(token_endpoint_auth_method="private_key_jwt", jwks=render_jwks([key.public()]))
    client_id = answer.json()["client_id"]
    await place.newcomers.adopt(client_id, adoption(place))
    code = await Browser(place.server).code(place.request(client_id))
    proof = {
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": place.server.assertion(client_id, key),
        "client_id": client_id,
        "redirect_uri": HOSTED_CALLBACK,
    }
    assert claims_of(await redeem(place.server, code, **proof))["client_id"] == client_id


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"redirect_uris": None}, "invalid_redirect_uri"),
        ({"redirect_uris": []}, "invalid_redirect_uri"),
        ({"redirect_uris": ["http://apps.example.com/callback"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["javascript:alert(1)"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https://apps.example.com/#x"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["myapp://callback"], "application_type": "native"}, "invalid_redirect_uri"),
        ({"redirect_uris": ["http://127.0.0.1/callback"], "application_type": "web"}, "invalid_redirect_uri"),
        ({"redirect_uris": [f"https://apps.example.com/{number}" for number in range(21)]}, "invalid_redirect_uri"),
        ({"application_type": "desktop"}, "invalid_client_metadata"),
        ({"client_name": None}, "invalid_client_metadata"),
        ({"client_name": "Jour\u202eney"}, "invalid_client_metadata"),
        ({"client_name": "Jour\u200bney"}, "invalid_client_metadata"),
        ({"client_name": "Jour\x00ney"}, "invalid_client_metadata"),
        ({"client_name": "x" * 121}, "invalid_client_metadata"),
        ({"grant_types": ["client_credentials"]}, "invalid_client_metadata"),
        ({"response_types": ["token"]}, "invalid_client_metadata"),
        ({"token_endpoint_auth_method": "client_secret_jwt"}, "invalid_client_metadata"),
        ({"token_endpoint_auth_method": "private_key_jwt"}, "invalid_client_metadata"),
        ({"jwks_uri": "https://apps.example.com/jwks"}, "invalid_client_metadata"),
        ({"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": []}}, "invalid_client_metadata"),
        (
            {"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [{"kty": "oct", "k": "AA"}]}},
            "invalid_client_metadata",
        ),
        ({"padding": "x" * 16 * 1024}, "invalid_request"),
    ],
)
async def test_what_cannot_be_registered_is_refused(place: Place, changes: dict[str, Any], error: str) -> None:
    """Redirect URIs of other kinds, a name that does not show, and methods that we do not take are refused."""
    answer = await place.register(**changes)
    assert_refused(answer, error, status=413 if error == "invalid_request" else 400)
    assert not any(place.newcomers.registrations.is_waiting(each.client_id) for each in _all(place))


def _all(place: Place) -> Any:
    return place.newcomers.registrations.all()


async def test_what_is_no_json_is_refused(place: Place) -> None:
    """A form, and a JSON text that is no object, register nothing."""
    for content, media_type in ((b"{}", "application/x-www-form-urlencoded"), (b"[]", "application/json")):
        answer = await place.server.http.post("/register", content=content, headers={"content-type": media_type})
        assert_refused(answer, "invalid_client_metadata")


async def test_a_client_that_nobody_adopts_lapses(place: Place) -> None:
    """After a day a client that waits is gone, cannot be adopted any more, and the journal says so."""
    size = len(place.server.records("client.changed"))
    client_id = (await place.register()).json()["client_id"]
    place.server.clock.now += WAITING_SECONDS
    with pytest.raises(NotFound):
        await place.newcomers.adopt(client_id, adoption(place))
    await place.newcomers.forget_old()
    assert (place.newcomers.registrations.find(client_id), changes_since(place, size)) == (
        None,
        ["registered", "lapsed"],
    )
    assert_refused(await place.server.ask(grant_type="x", client_id=client_id), "invalid_client", status=401)
    assert place.refusal()["reason"] == "client.authentication"


async def test_a_client_that_is_rejected_is_gone(place: Place) -> None:
    """A rejected client is forgotten at once, with a record that says why."""
    client_id = (await place.register()).json()["client_id"]
    await place.newcomers.registrations.reject(client_id, why="never heard of it", by=BY)
    about = place.server.records("client.changed")[-1]["about"]
    assert (about["change"], about["why"], about["by"]) == ("rejected", "never heard of it", BY)
    assert place.newcomers.registrations.find(client_id) is None
    with pytest.raises(NotFound):
        await place.newcomers.adopt(client_id, adoption(place))


async def test_one_network_cannot_take_all_the_room(place: Place) -> None:
    """From one network twenty may wait and no more, a hundred in all; then 429, and what waits can still be adopted."""
    for _ in range(MAX_WAITING_FROM_ONE_NETWORK):
        last = await place.register()
        assert last.status_code == 201
    assert_refused(await place.register(), "temporarily_unavailable", status=429)
    assert place.refusal()["reason"] == "limit.exceeded"
    raw = (
        b'{"client_name": "Journey", "redirect_uris": ["https://a.example.com/"], "token_endpoint_auth_method": "none"}'
    )
    registrations = place.newcomers.registrations
    for number in range(MAX_WAITING - MAX_WAITING_FROM_ONE_NETWORK):
        facts = RequestFacts(ip=f"10.0.{number}.1")
        await registrations.register(raw, client_id=f"other-{number}", new_secret=lambda: "", request=facts)
    assert sum(registrations.is_waiting(each.client_id) for each in registrations.all()) == MAX_WAITING
    elsewhere = RequestFacts(ip="192.168.7.7")
    with pytest.raises(TooManyRegistrations):
        await registrations.register(raw, client_id="one-more", new_secret=lambda: "", request=elsewhere)
    await registrations.reject("other-0", why="", by=BY)
    await registrations.reject(last.json()["client_id"], why="", by=BY)
    assert (await place.register()).status_code == 201


async def test_registration_is_off_unless_it_is_on(place: Place) -> None:
    """Where registration is off nothing is there, and the metadata does not name it."""

    async def told() -> object:
        document = await place.server.http.get("/.well-known/oauth-authorization-server")
        return document.json().get("registration_endpoint")

    assert await told() == f"{place.server.issuer.url}/register"
    place.admit()
    assert (await told(), (await place.register()).status_code) == (None, 404)


async def test_an_adopted_client_outlives_a_restart(place: Place) -> None:
    """After a restart an adopted client is known as it was adopted, and one that waits still waits."""
    adopted, waiting = [(await place.register()).json()["client_id"] for _ in range(2)]
    await place.newcomers.adopt(adopted, adoption(place))
    await place.restart()
    client = place.server.issuer.registry.clients[adopted]
    assert (client.owner, client.purpose, client.reaches) == (
        "travel-team",
        "plans journeys",
        {"calendar": ("calendar:read",)},
    )
    assert place.newcomers.registrations.is_waiting(waiting)
    assert waiting not in place.server.issuer.registry.clients


async def test_a_registered_id_is_nobody_elses(place: Place) -> None:
    """An id that we give is none of a person, a gateway or a document, and comes once."""
    ids = {(await place.register()).json()["client_id"] for _ in range(5)}
    assert len(ids) == 5
    assert not any(each.startswith(("user:", "gateway:", "https:")) for each in ids)


async def test_a_name_is_escaped_where_people_read_it(place: Place) -> None:
    """Of a name that looks like HTML a person reads the letters."""
    client_id = (await place.register(client_name="<script>alert(1)</script>")).json()["client_id"]
    await place.newcomers.adopt(client_id, adoption(place, purpose="<script>alert(1)</script>"))
    page = await Browser(place.server).sign_in(place.request(client_id))
    assert "&lt;script&gt;" in page.text
    assert "<script" not in page.text
    assert "code" in answer_in(await Browser(place.server).allow(page))


async def test_what_was_registered_can_be_adopted_whatever_script_it_is_in(place: Place) -> None:
    """What fits when it comes fits when it is read again."""
    place.admit(registers=True)
    answer = await place.register(**{"client_name#ja": "旅" * 3000})
    assert answer.status_code == 201
    adoption = Adoption(
        owner="travel-team",
        purpose="a journey",
        expires=date(2030, 1, 1),
        reaches={"calendar": ("calendar:read",)},
        by="ann",
        at=0,
    )
    adopted = await place.newcomers.adopt(answer.json()["client_id"], adoption)
    assert adopted.client_id == answer.json()["client_id"]
