"""The guarded fetch: one lookup, every address looked at, a connection to one of them, no more read than allowed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
import pytest_asyncio

from perhop.authorization_server.newcomers.guarded_fetch import GuardedFetch
from perhop.errors import ClientDocumentRefused
from perhop.rules.resource_uri import parse_http_uri
from tests.support.client_documents import HOST, PATH, Site, a_site, as_answer

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMIT = 5 * 1024


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def built(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    async with a_site(tmp_path_factory.mktemp("site")) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def site(built: Site) -> Site:
    built.asked.clear()
    built.looked_up.clear()
    built.addresses.clear()
    built.publish()
    return built


async def fetch(site: Site, *, seconds: float = 5, **changes: object) -> bytes:
    guarded = GuardedFetch(resolve=site.resolve, seconds=seconds)
    return (await guarded.get(parse_http_uri(site.url()), site.rule(**changes), max_bytes=LIMIT)).body


async def test_a_document_comes_with_the_name_and_from_the_address(site: Site) -> None:
    """The connection goes to the address that was found, with the name in `Host` and in TLS."""
    assert b"Journey" in await fetch(site)
    assert (site.asked, site.looked_up) == ([(f"{HOST}:{site.port}", PATH)], [HOST])


@pytest.mark.parametrize(
    "addresses",
    [
        ("10.0.0.1",),
        ("127.0.0.1", "10.0.0.1"),
        ("127.0.0.1", "::1"),
        ("::ffff:127.0.0.1",),
        ("64:ff9b::7f00:1",),
        ("8.8.8.8", "169.254.169.254"),
        (),
        tuple(f"8.8.8.{number}" for number in range(9)),
    ],
)
async def test_one_address_that_is_not_public_is_enough(site: Site, addresses: Sequence[str]) -> None:
    """Of several addresses every one is looked at, and nothing is sent if one of them is not allowed."""
    site.addresses = {HOST: [addresses]}
    with pytest.raises(ClientDocumentRefused, match=r"no public address|no address, or more"):
        await fetch(site)
    assert site.asked == []


async def test_a_name_that_changes_is_asked_once(site: Site) -> None:
    """A name that leads elsewhere at a second look is not looked up a second time."""
    site.addresses = {HOST: [("127.0.0.1",), ("10.0.0.1",)]}
    assert b"Journey" in await fetch(site)
    assert site.looked_up == [HOST]


async def test_loopback_is_inner_unless_a_rule_lists_it(site: Site) -> None:
    """Without `unsafe_inner_networks` this machine is not asked."""
    with pytest.raises(ClientDocumentRefused, match=r"`127\.0\.0\.1`, which is no public address"):
        await fetch(site, inner_networks=())
    assert site.asked == []


async def test_the_certificate_must_be_for_the_name(site: Site) -> None:
    """A server that holds a certificate for other names only, or one that nobody believes, is not read."""
    elsewhere = f"https://another.example.com:{site.port}{PATH}"
    guarded = GuardedFetch(resolve=site.resolve)
    with pytest.raises(ClientDocumentRefused, match=r"CERTIFICATE_VERIFY_FAILED|certificate"):
        await guarded.get(parse_http_uri(elsewhere), site.rule(), max_bytes=LIMIT)
    with pytest.raises(ClientDocumentRefused, match=r"CERTIFICATE_VERIFY_FAILED|certificate"):
        await fetch(site, ca_pem=None)
    assert site.asked == []


async def test_an_answer_that_never_ends_is_cut(site: Site) -> None:
    """An answer that drips, and a server that says nothing, end after the time for all of it."""

    async def never() -> bytes:
        await asyncio.Event().wait()
        return b""

    site.answers[PATH] = lambda _: never()
    with pytest.raises(ClientDocumentRefused, match=r"longer than 0\.5 s|Timeout"):
        await fetch(site, seconds=0.5)


async def test_a_lookup_that_never_ends_is_cut(site: Site) -> None:
    """The time counts from before the name is looked up."""

    async def resolve(_host: str, _port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return ()

    guarded = GuardedFetch(resolve=resolve, seconds=0.1)
    with pytest.raises(ClientDocumentRefused, match=r"longer than 0\.1 s"):
        await guarded.get(parse_http_uri(site.url()), site.rule(), max_bytes=LIMIT)


async def test_the_next_request_knows_nothing_of_the_last(site: Site) -> None:
    """A cookie that a server sets is not sent again, and each request has a connection of its own."""
    site.answers[PATH] = as_answer({}, "set-cookie: a=b; Secure")
    await fetch(site)
    guarded = GuardedFetch(resolve=site.resolve)
    for _ in range(2):
        await guarded.get(parse_http_uri(site.url()), site.rule(), max_bytes=LIMIT)
    assert len(site.asked) == 3
    assert not any("cookie" in head.lower() for head in site.heads)
