"""Hostile servers and authorization servers, as our own client meets them when it finds its way by itself.

Nobody is sent anywhere, no code is redeemed and no token leaves: what a row expects is the error that the program gets.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2

from perhop.client import RegisteredClient
from perhop.errors import PerhopError
from tests.attacks.row import Door, Expected, Row, Seen
from tests.attacks.tries import tried
from tests.attacks.world import World
from tests.support.sign_in_world import (
    BESIDE,
    ISSUER,
    METADATA,
    ROOT,
    SERVER,
    SignInWorld,
    issuer_metadata,
    resource_metadata,
)
from tests.support.windows import STATE, come_back

PLACE = f"https://mcp.example.com{BESIDE}"
EVIL = "https://evil.example.com"
SECRET = "a-secret-of-our-client-at-its-issuer"

Prepare = Callable[[SignInWorld], object]
Attempt = Callable[[World], Awaitable[Mapping[str, Seen]]]


def _raised(fact: str) -> Expected:
    return Expected(fact, None, records=0)


def _meeting(variants: Mapping[str, Prepare], *, may_visit: bool = False, **arguments: Any) -> Attempt:
    """Each variant: a world that was made hostile, and one call there. Whatever the error, no code was redeemed."""

    async def attempt(_: World) -> dict[str, Seen]:
        sights = {}
        for name, prepare in variants.items():
            world = SignInWorld()
            prepare(world)
            try:
                answer = await world.call(world.sign_in(**arguments))
                sights[name] = Seen(observed=str(answer.status_code))
            except PerhopError as fact:
                sights[name] = Seen(observed=type(fact).__name__)
            assert world.forms == [], name
            assert may_visit or world.visited == [], name
            assert all(call is None for call in world.calls), name
        return sights

    return attempt


def _described(**changes: Any) -> Prepare:
    return lambda world: world.documents.update({PLACE: resource_metadata(**changes)})


def _promising(**changes: Any) -> Prepare:
    return lambda world: world.documents.update({ISSUER + METADATA: issuer_metadata(**changes)})


def _answering(**changes: str | None) -> Prepare:
    def prepare(world: SignInWorld) -> None:
        def answer(usual: dict[str, str]) -> dict[str, str]:
            return {name: value for name, value in {**usual, **changes}.items() if value is not None}

        world.answer = answer

    return prepare


def _elsewhere(url: str) -> Prepare:
    return lambda world: setattr(world, "challenge", f'Bearer resource_metadata="{url}"')


_STRANGERS: Mapping[str, Prepare] = {
    "another server's name": _described(resource="https://bank.example.com/mcp"),
    "a longer path": _described(resource=f"{SERVER}/admin"),
    "a slash more": _described(resource=f"{SERVER}/"),
    "the whole origin": _described(resource="https://mcp.example.com"),
    "no name": _described(resource=None),
    "two names": lambda world: world.documents.update({PLACE: {**resource_metadata(), "resource": [SERVER, EVIL]}}),
    "at another origin": _elsewhere(f"{EVIL}{BESIDE}"),
    "at an inner address": _elsewhere("http://169.254.169.254/latest/meta-data"),
    "on this machine": _elsewhere("http://127.0.0.1:8080/x"),
    "in a file": _elsewhere("file:///etc/passwd"),
    "an issuer on this machine": _described(authorization_servers=["http://localhost:8080"]),
}


def _of_root(world: SignInWorld) -> None:
    """At the root, a document that speaks for a neighbour."""
    world.documents[PLACE] = None
    world.documents[f"https://mcp.example.com{ROOT}"] = resource_metadata("https://mcp.example.com/other")


_ELSEWHERE: Mapping[str, Prepare] = {
    "a script": _promising(authorization_endpoint="javascript:fetch('//evil.example.com')"),
    "a page in the text": _promising(authorization_endpoint="data:text/html,x"),
    "a file": _promising(authorization_endpoint="file:///etc/passwd"),
    "without TLS": _promising(authorization_endpoint="http://evil.example.com/authorize"),
    "a name before the host": _promising(authorization_endpoint="https://auth.example.com@evil.example.com/a"),
    "codes without TLS": _promising(token_endpoint="http://evil.example.com/token"),
    "codes to this machine": _promising(token_endpoint="http://127.0.0.1:1/token"),
    "metadata of another issuer": _promising(issuer=EVIL),
    "an issuer with a slash more": _promising(issuer=f"{ISSUER}/"),
    "registration without TLS": _promising(registration_endpoint="http://evil.example.com/register"),
}

_ANSWERS: Mapping[str, Prepare] = {
    "nobody": _answering(iss=None),
    "somebody else": _answering(iss=EVIL),
    "a slash more": _answering(iss=f"{ISSUER}/"),
    "another case": _answering(iss=ISSUER.upper()),
    "the port as well": _answering(iss=f"{ISSUER}:443"),
    "an error of somebody else": _answering(iss=EVIL, code=None, error="access_denied"),
}


def _unpromised(world: SignInWorld) -> None:
    """Not advertised, and named all the same: somebody else."""
    _promising(authorization_response_iss_parameter_supported=None)(world)
    _answering(iss=EVIL)(world)


def _fixed_state(world: SignInWorld) -> None:
    world.answer = lambda usual: urlencode({**usual, "state": "the-state-of-an-attacker"})


def _two_states(world: SignInWorld) -> None:
    world.answer = lambda usual: urlencode([*usual.items()]) + "&state=the-state-of-an-attacker"


async def _stolen_registration(_: World) -> dict[str, Seen]:
    """A server names an issuer of the attacker's: what we are at our own issuer is not shown there."""
    world = SignInWorld()
    world.documents[PLACE] = resource_metadata(authorization_servers=[EVIL])
    world.documents[EVIL + METADATA] = issuer_metadata(EVIL)
    client = RegisteredClient.at(ISSUER, client_id="desk", client_secret=SECRET)
    try:
        await world.call(world.sign_in(clients=[client]))
    except PerhopError as fact:
        seen = Seen(observed=type(fact).__name__)
    else:
        seen = Seen(observed="200")
    assert (world.visited, world.forms, world.registered) == ([], [], [])
    return {"": seen}


async def _foreign_callback(_: World) -> dict[str, Seen]:
    """A page of the person's browser sends a code of the attacker's to the program that waits for its own."""

    async def act(http: httpx2.AsyncClient, place: str) -> None:
        evil = await http.get(f"{place}?code=of-the-attacker&state=of-the-attacker")
        assert evil.status_code == 404
        await http.get(f"{place}?code=ours&state={STATE}")

    query = await come_back(act)
    return {"": Seen(observed=parse_qs(urlsplit(f"?{query}").query)["code"][0])}


ROWS: tuple[Row, ...] = (
    tried(
        "resource-metadata-of-a-stranger",
        "a server that describes itself as another one, or points elsewhere for it",
        "RFC 9728 §3.3; RFC 9728 §7.3; CWE-918",
        Door.CLIENT,
        _meeting({**_STRANGERS, "a neighbour's, at the root": _of_root}),
        _raised("ResourceForeign"),
    ),
    tried(
        "server-that-sends-a-code-elsewhere",
        "metadata that leads people or their codes somewhere else",
        "RFC 8414 §3.3; RFC 9700 §4.4; MCP security best practices",
        Door.CLIENT,
        _meeting(_ELSEWHERE),
        _raised("IssuerUnavailable"),
    ),
    tried(
        "answer-of-another-issuer",
        "a mix-up: an authorization answer that names nobody, somebody else, or almost the right one",
        "RFC 9207 §2.4; RFC 9700 §4.4",
        Door.CLIENT,
        _meeting({**_ANSWERS, "somebody else, unpromised": _unpromised}, may_visit=True),
        _raised("IssuerMismatch"),
    ),
    tried(
        "answer-to-another-request",
        "an authorization answer with a state that is not ours, or with two",
        "RFC 6749 §10.12; RFC 9700 §4.7",
        Door.CLIENT,
        _meeting({"another state": _fixed_state}, may_visit=True),
        _raised("StateMismatch"),
    ),
    tried(
        "answer-with-two-states",
        "an authorization answer that says everything, and one thing twice",
        "RFC 6749 §3.1; RFC 9700 §4.7",
        Door.CLIENT,
        _meeting({"two states": _two_states}, may_visit=True),
        _raised("AuthorizationAnswerMalformed"),
    ),
    tried(
        "code-without-a-promise-of-pkce",
        "an authorization server that does not say that it takes S256",
        "RFC 9700 §2.1.1; RFC 7636 §7.2",
        Door.CLIENT,
        _meeting(
            {
                "nothing": _promising(code_challenge_methods_supported=None),
                "plain": _promising(code_challenge_methods_supported=["plain"]),
            }
        ),
        _raised("PkceUnsupported"),
    ),
    tried(
        "credentials-for-another-issuer",
        "a server that names an attacker's issuer for a client that is registered elsewhere",
        "SEP-2352; RFC 9700 §4.4",
        Door.CLIENT,
        _stolen_registration,
        _raised("RegistrationImpossible"),
    ),
    tried(
        "code-injected-at-the-loopback",
        "a page that sends a code of its own to the address where a program waits",
        "RFC 8252 §8.9; RFC 9700 §4.5",
        Door.CLIENT,
        _foreign_callback,
        _raised("ours"),
    ),
)
