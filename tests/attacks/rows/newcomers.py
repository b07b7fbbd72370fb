"""Clients that nobody wrote into the configuration: their documents, and their registrations."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from perhop.authorization_server.newcomers.registrations import MAX_WAITING_FROM_ONE_NETWORK
from perhop.tokens.jwks import render_jwks
from perhop.tokens.keys import SigningKey
from tests.attacks.row import Door, Expected, Row, Seen
from tests.attacks.tries import refused, seen_at_sts, tried
from tests.attacks.visitors import Visitor, a_query, redeeming, shown
from tests.attacks.world import World
from tests.support.client_documents import HOST, HOSTED_CALLBACK, OTHER_HOST, as_answer
from tests.support.doors import Wire, send

NOT_KNOWN = Expected("400", "client.authentication")
"""A page for the person, and nothing is sent anywhere."""
ASKED = Expected("200 consent", None, records=0)
DRAFT = "MCP 2026-07-28 authorization"

Publish = Callable[[World, str], str | None]
"""Puts something at this path, or points a name somewhere; gives the client id, or None for the usual one."""


def _looked_at(make: Callable[[World], Mapping[str, Publish]], *, asks: int | None = None) -> Any:
    """Go to the authorization endpoint in the name of each client; `asks` is how often its site hears of it."""

    async def attempt(world: World) -> dict[str, Seen]:
        sights = {}
        async with Visitor(world) as visitor:
            for name, publish in make(world).items():
                path = f"/{secrets.token_hex(6)}.json"
                client_id = publish(world, path) or world.documents.url(path)
                size, asked = world.reader.size(), len(world.documents.asked)
                page = await visitor.open(a_query(world, client_id=client_id, redirect_uri=HOSTED_CALLBACK))
                assert "location" not in page.headers
                sights[name] = shown(world, page, size)
                assert asks is None or len(world.documents.asked) == asked + asks, name
        return sights

    return attempt


def _at(*addresses: str) -> Publish:
    """A host that is admitted, at these addresses."""

    def publish(world: World, path: str) -> str:
        world.documents.addresses[OTHER_HOST] = [addresses]
        return world.documents.url(path, host=OTHER_HOST)

    return publish


def _inner(_: World) -> dict[str, Publish]:
    inner = ("127.0.0.1", "10.0.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "::1", "fd00::1")
    return {address: _at(address) for address in inner}


def _mapped(_: World) -> dict[str, Publish]:
    mapped = ("::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::1", "fec0::1", "::127.0.0.1", "192.88.99.1")
    return {address: _at(address) for address in (*mapped, "2001:0:7f00:1::1")}


def _rebound(_: World) -> dict[str, Publish]:
    """Of the site itself, which may be at a loopback address: what else its name leads to counts as well."""

    def also_at(*answers: tuple[str, ...]) -> Publish:
        def publish(world: World, path: str) -> None:
            world.documents.publish(path=path)
            world.documents.addresses[HOST] = list(answers)

        return publish

    return {
        "mixed": also_at(("127.0.0.1", "10.0.0.1")),
        "mixed families": also_at(("127.0.0.1", "::1")),
        "inner first, allowed at a second look": also_at(("10.0.0.1",), ("127.0.0.1",)),
    }


def _floods(_: World) -> dict[str, Publish]:
    def answering(answer: bytes) -> Publish:
        def publish(world: World, path: str) -> None:
            world.documents.answers[path] = answer

        return publish

    def padded(world: World, path: str) -> None:
        document = json.dumps(world.documents.document(path)).encode()
        world.documents.answers[path] = as_answer(document + b" " * 5121)

    def endless(world: World, path: str) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
        world.documents.answers[path] = head + b"1000\r\n" + b" " * 4096 + b"\r\n1000\r\n" + b" " * 4096 + b"\r\n"

    return {
        "redirect to an inner address": answering(as_answer(b"", "location: http://10.0.0.1/", status="302 Found")),
        "redirect to itself": answering(as_answer(b"", "location: /", status="307 Temporary Redirect")),
        "longer than 5 KiB": padded,
        "longer than 5 KiB in chunks": endless,
        "compressed": answering(as_answer(b"\x1f\x8b\x08" + b"\0" * 99, "content-encoding: gzip")),
        "a page": answering(as_answer(b"<html>", media_type="text/html")),
        "deep": answering(as_answer(b"[" * 2000 + b"]" * 2000)),
    }


def _others(_: World) -> dict[str, Publish]:
    def saying(change: Callable[[str], str]) -> Publish:
        def publish(world: World, path: str) -> None:
            world.documents.publish(path=path, client_id=change(world.documents.url(path)))

        return publish

    return {
        "another client": saying(lambda url: url + "x"),
        "a slash more": saying(lambda url: url + "/"),
        "case of the host": saying(lambda url: url.replace("apps", "Apps")),
        "default port": saying(lambda _: "https://apps.example.com/x"),
        "a list": lambda world, path: (
            world.documents.publish(path=path, client_id=[world.documents.url(path)]) and None
        ),
    }


def _shared(_: World) -> dict[str, Publish]:
    def saying(**changes: Any) -> Publish:
        def publish(world: World, path: str) -> None:
            world.documents.publish(path=path, **changes)

        return publish

    return {
        "a secret": saying(client_secret="a-published-secret-of-43-characters-0000000"),
        "basic": saying(token_endpoint_auth_method="client_secret_basic"),
        "post": saying(token_endpoint_auth_method="client_secret_post"),
        "jwt": saying(token_endpoint_auth_method="client_secret_jwt"),
        "a symmetric key": saying(
            token_endpoint_auth_method="private_key_jwt", jwks={"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "1"}]}
        ),
        "a private key": saying(
            token_endpoint_auth_method="private_key_jwt", jwks={"keys": [{"kty": "OKP", "d": "c2VjcmV0", "kid": "1"}]}
        ),
    }


async def _changed(world: World) -> dict[str, Seen]:
    """A document that a person has allowed says something else the next time that it is read."""
    keys = render_jwks([SigningKey.generate().public()])
    changes: dict[str, dict[str, Any]] = {
        "redirects": {"redirect_uris": [HOSTED_CALLBACK, "https://evil.example/callback"]},
        "keys": {"token_endpoint_auth_method": "private_key_jwt", "jwks": keys},
        "name": {"client_name": "Another"},
    }
    sights = {}
    async with Visitor(world) as ann:
        await ann.sign_in(a_query(world))
        for name, change in changes.items():
            path = f"/{secrets.token_hex(6)}.json"
            client_id = world.documents.publish(path=path)
            query = a_query(world, client_id=client_id, redirect_uri=HOSTED_CALLBACK)
            code = await ann.code(query)
            issued = await world.ask(redeeming(code, client_id=client_id, redirect_uri=HOSTED_CALLBACK))
            assert (await world.received(issued.message["access_token"])) != ""
            world.documents.publish(path=path, **change)
            world.clock.now += 301
            size = world.reader.size()
            sights[name] = shown(world, await ann.open(query), size)
    return sights


async def _impersonated(world: World) -> dict[str, Seen]:
    """A program on a person's machine asks in the name of an application that the person has allowed before."""
    path = f"/{secrets.token_hex(6)}.json"
    client_id = world.documents.publish(path=path, redirect_uris=["http://127.0.0.1:33418/", HOSTED_CALLBACK])
    sights = {}
    async with Visitor(world) as ann:
        await ann.sign_in(a_query(world))
        await ann.code(a_query(world, client_id=client_id, redirect_uri=HOSTED_CALLBACK))
        for port in (33418, 50000):
            uri = f"http://127.0.0.1:{port}/"
            size = world.reader.size()
            page = await ann.open(a_query(world, client_id=client_id, redirect_uri=uri))
            assert "Beware" in page.text
            sights[f"port {port}"] = shown(world, page, size)
    return sights


async def _register(world: World, **changes: Any) -> Seen:
    members: dict[str, Any] = {
        "client_name": "Journey",
        "redirect_uris": [HOSTED_CALLBACK],
        "token_endpoint_auth_method": "none",
        **changes,
    }
    size = world.reader.size()
    wire = Wire(headers=(("content-type", "application/json"),), body=json.dumps(members).encode())
    answer = (await send(world.at.traffic, wire.render(path="/register", host=world.at.traffic)))[0]
    return seen_at_sts(world, answer, size)


async def _registered_in_bulk(world: World) -> dict[str, Seen]:
    """What waits is bounded, and what comes above is refused without a trace but its record."""
    world.clock.now += 24 * 3600
    for _ in range(MAX_WAITING_FROM_ONE_NETWORK):
        assert (await _register(world)).answer.status == 201  # type: ignore[union-attr]
    sights = {str(number): await _register(world) for number in range(2)}
    world.clock.now += 24 * 3600
    await world.plane.newcomers.forget_old()
    return sights


async def _hostile_names(world: World) -> dict[str, Seen]:
    names = {
        "bidi": "Jour\u202eyen",
        "isolate": "Jour\u2066ney",
        "zero width": "Jour\u200bney",
        "control": "Jour\x1b[2Jney",
        "line": "Journey\nowner: finance",
        "tag": "Journey\U000e0041",
        "long": "x" * 121,
        "blank": " ",
        "no text": 7,
    }
    return {name: await _register(world, client_name=text) for name, text in names.items()}


ROWS: tuple[Row, ...] = (
    tried(
        "client-document-at-an-inner-address",
        "a client whose document is at an address that is not public",
        f"{DRAFT}; CWE-918",
        Door.AUTHORIZE,
        _looked_at(_inner, asks=0),
        NOT_KNOWN,
    ),
    tried(
        "client-document-at-a-mapped-address",
        "an inner address in the clothes of another",
        "CVE-2026-49857; CWE-918",
        Door.AUTHORIZE,
        _looked_at(_mapped, asks=0),
        NOT_KNOWN,
    ),
    tried(
        "client-document-by-rebound-name",
        "a name that leads to several places, or to others from look to look",
        f"{DRAFT}; CWE-367",
        Door.AUTHORIZE,
        _looked_at(_rebound, asks=0),
        NOT_KNOWN,
    ),
    tried(
        "client-document-that-redirects-or-floods",
        "a document that leads elsewhere, or never ends",
        f"{DRAFT}; CWE-409",
        Door.AUTHORIZE,
        _looked_at(_floods, asks=1),
        NOT_KNOWN,
    ),
    tried(
        "client-document-of-another-client",
        "a document that says it is another client's",
        DRAFT,
        Door.AUTHORIZE,
        _looked_at(_others, asks=1),
        NOT_KNOWN,
    ),
    tried(
        "client-document-with-a-shared-secret",
        "a document that publishes what should be secret",
        DRAFT,
        Door.AUTHORIZE,
        _looked_at(_shared, asks=1),
        NOT_KNOWN,
    ),
    tried(
        "client-document-changed-after-consent",
        "a document that says something else once a person has allowed it",
        DRAFT,
        Door.AUTHORIZE,
        _changed,
        ASKED,
    ),
    tried(
        "client-document-of-a-known-client-on-loopback",
        "a program that asks in the name of an application that was allowed",
        f"{DRAFT}; RFC 8252 §8.6",
        Door.AUTHORIZE,
        _impersonated,
        ASKED,
    ),
    tried(
        "registration-flood",
        "more clients than anybody can look at",
        "RFC 7591 §5",
        Door.STS,
        _registered_in_bulk,
        refused("limit.exceeded", "429 temporarily_unavailable"),
    ),
    tried(
        "registration-with-a-hostile-name",
        "a name that shows as another",
        "RFC 7591 §5; CWE-451",
        Door.STS,
        _hostile_names,
        refused("request.malformed", "400 invalid_client_metadata"),
    ),
)
