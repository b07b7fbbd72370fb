"""RFC 6749 §2.3 and §3.2: how a client says who it is, and how parameters are read."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote_plus

import pytest

from perhop.core.client import ClientSecret
from perhop.core.secret import Secret
from tests.support.authorization_servers import (
    CALENDAR,
    FORM,
    SECRET,
    RunningServer,
    assert_refused,
    claims_of,
    running_server,
)

ASK = {"grant_type": "client_credentials", "resource": CALENDAR}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningServer]:
    async with running_server(tmp_path) as running:
        yield running


def _basic(name: str, secret: str) -> dict[str, str]:
    pair = f"{quote_plus(name)}:{quote_plus(secret)}"
    return {"authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


async def test_a_secret_in_the_header(server: RunningServer) -> None:
    """A client of `client_secret_basic` gets a token, also if it repeats its own id in the body."""
    claims_of(await server.http.post("/token", data=ASK, headers=_basic("basic", SECRET)))
    claims_of(await server.http.post("/token", data=ASK | {"client_id": "basic"}, headers=_basic("basic", SECRET)))


async def test_a_secret_in_the_body(server: RunningServer) -> None:
    """A client of `client_secret_post` gets a token."""
    claims_of(await server.ask(**ASK, client_id="poster", client_secret=SECRET))


async def test_a_secret_is_form_encoded_inside_the_header(server: RunningServer) -> None:
    """Characters that a form encodes are encoded in the Basic credentials."""
    secret = "a secret: with+percent%41 and \u00fcmlaut, long enough"
    server.change_client("basic", authentication=ClientSecret("client_secret_basic", Secret(secret)))
    claims_of(await server.http.post("/token", data=ASK, headers=_basic("basic", secret)))


@pytest.mark.parametrize("secret", ["", "s", SECRET[:-1], SECRET + "s", SECRET.upper()])
async def test_a_wrong_secret_is_refused(server: RunningServer, secret: str) -> None:
    """A wrong secret is 401, and over Basic the answer names the scheme."""
    answer = await server.http.post("/token", data=ASK, headers=_basic("basic", secret))
    assert_refused(answer, "invalid_client", status=401)
    assert answer.headers["www-authenticate"].startswith("Basic ")
    posted = await server.ask(**ASK, client_id="poster", client_secret=secret)
    assert_refused(posted, "invalid_client", status=401)
    assert "www-authenticate" not in posted.headers
    assert SECRET[:-1] not in str(server.records())


ODD_HEADERS: list[str] = [
    "Basic",
    "Basic ",
    "Basic !!!",
    "Basic bm9jb2xvbg==",
    "Bearer abc",
    "Digest x=y",
    "Basic  YmFzaWM6cw==",
]


async def test_an_odd_header_is_refused(server: RunningServer, subtests: pytest.Subtests) -> None:
    """Anything but well-formed Basic credentials is 401."""
    for value in ODD_HEADERS:
        with subtests.test(value=value):
            answer = await server.http.post("/token", data=ASK, headers={"authorization": value})
            assert_refused(answer, "invalid_client", status=401)


async def test_each_client_has_one_method(server: RunningServer) -> None:
    """A good secret by the other method, or a bare name for a client with credentials, is refused."""
    assert_refused(await server.ask(**ASK, client_id="basic", client_secret=SECRET), "invalid_client", status=401)
    answer = await server.http.post("/token", data=ASK, headers=_basic("poster", SECRET))
    assert_refused(answer, "invalid_client", status=401)
    for name in ("basic", "poster", "trip-planner", "stranger"):
        assert_refused(await server.ask(**ASK, client_id=name), "invalid_client", status=401)
    assert_refused(await server.ask(**ASK, client_id="desk-app", client_secret=SECRET), "invalid_client", status=401)


async def test_two_methods_at_once_are_refused(server: RunningServer) -> None:
    """A request with two proofs is malformed, even if both are good."""
    both = {"client_id": "poster", "client_secret": SECRET}
    assert_refused(
        await server.http.post("/token", data=ASK | both, headers=_basic("basic", SECRET)), "invalid_request"
    )
    assert_refused(await server.ask(**ASK, **both, **server.proof("trip-planner")), "invalid_request")
    answer = await server.http.post("/token", data=ASK | server.proof("trip-planner"), headers=_basic("basic", SECRET))
    assert_refused(answer, "invalid_request")
    twice = [("authorization", _basic("basic", SECRET)["authorization"])] * 2
    assert_refused(await server.http.post("/token", data=ASK, headers=twice), "invalid_request")


async def test_another_client_id_in_the_body_is_refused(server: RunningServer) -> None:
    """`client_id` must be the one that authenticated."""
    answer = await server.http.post("/token", data=ASK | {"client_id": "poster"}, headers=_basic("basic", SECRET))
    assert_refused(answer, "invalid_request")


async def test_no_client_at_all_is_refused(server: RunningServer) -> None:
    """A request that names no client is 401, and the journal names none."""
    assert_refused(await server.ask(**ASK), "invalid_client", status=401)
    assert server.last_refusal()["reason"] == "client.authentication"
    assert server.last_refusal().get("client") is None


REPEATED: list[str] = ["grant_type", "client_id", "client_secret", "scope", "x-unknown"]


async def test_a_repeated_parameter_is_refused(server: RunningServer, subtests: pytest.Subtests) -> None:
    """Any parameter but `resource` that is there twice makes the request malformed, known or not, empty or not."""
    for name in REPEATED:
        with subtests.test(name=name):
            pairs = {**ASK, "client_id": "poster", "client_secret": SECRET}
            body = "&".join(f"{key}={quote_plus(value)}" for key, value in pairs.items()) + f"&{name}=&{name}=1"
            answer = await server.http.post("/token", content=body, headers={"content-type": FORM})
            assert_refused(answer, "invalid_request")


MALFORMED_FORMS: list[bytes] = [
    b"grant_type=%zz",
    b"grant_type=%f",
    b"grant_type=%ff",
    b"grant_type=\xff",
    b"a b=c",
    b"a=\x00",
    b"a&" * 101,
]


async def test_a_malformed_form_is_refused(server: RunningServer, subtests: pytest.Subtests) -> None:
    """A body that is not form-encoded UTF-8, or has too many parameters, is malformed."""
    for body in MALFORMED_FORMS:
        with subtests.test(body=body):
            answer = await server.http.post("/token", content=body, headers={"content-type": FORM})
            assert_refused(answer, "invalid_request")


OTHER_CONTENT_TYPES: list[str] = [
    "application/json",
    "multipart/form-data",
    "text/plain",
    f"{FORM}; charset=latin-1",
    "",
]


async def test_another_content_type_is_refused(server: RunningServer, subtests: pytest.Subtests) -> None:
    """Only form-encoded bodies are read."""
    for kind in OTHER_CONTENT_TYPES:
        with subtests.test(kind=kind):
            answer = await server.http.post(
                "/token", content=b"grant_type=x", headers={"content-type": kind} if kind else {}
            )
            assert_refused(answer, "invalid_request")


async def test_a_charset_of_utf_8_may_be_named(server: RunningServer) -> None:
    """The one parameter of the content type that says what holds anyway is taken."""
    body = f"grant_type=client_credentials&resource={quote_plus(CALENDAR)}&client_id=poster&client_secret={SECRET}"
    claims_of(await server.http.post("/token", content=body, headers={"content-type": f"{FORM}; charset=UTF-8"}))


@pytest.mark.parametrize(("padding", "status"), [(0, 401), (1, 413)])
async def test_the_body_has_a_bound(server: RunningServer, padding: int, status: int) -> None:
    """A body of 64 KiB is read, one byte more is not."""
    start = b"grant_type=client_credentials&x="
    body = start + b"y" * (64 * 1024 - len(start) + padding)
    answer = await server.http.post("/token", content=body, headers={"content-type": FORM})
    assert answer.status_code == status


async def test_a_missing_grant_type_is_malformed(server: RunningServer) -> None:
    """`grant_type` is required; an empty one is none."""
    answer = await server.planner_token(grant_type="")
    assert_refused(answer, "invalid_request")


async def test_parameters_in_the_query_are_not_read(server: RunningServer) -> None:
    """Credentials and parameters in the URL count for nothing."""
    url = (
        f"/token?grant_type=client_credentials&resource={quote_plus(CALENDAR)}&client_id=poster&client_secret={SECRET}"
    )
    answer = await server.http.post(url, content=b"", headers={"content-type": FORM})
    assert_refused(answer, "invalid_client", status=401)


async def test_a_token_is_got_by_post_only(server: RunningServer) -> None:
    """GET is not a method of the token endpoint."""
    assert (await server.http.get("/token")).status_code == 405
