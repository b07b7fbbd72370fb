"""Fetching what a client names, which is a request to wherever somebody else chose.

A name is looked up once. Every address that it has must be a public one, or of the networks that a rule lists; then
the connection goes to an address that was looked at, while TLS and `Host` have the name. No redirect is followed, no
proxy of the environment is asked, nothing is decompressed, and what is read is capped in bytes and in time.

Spec: draft-ietf-oauth-client-id-metadata-document §6.5
Spec: MCP 2026-07-28 security best practices
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import httpx2

from perhop.client.fetch import Answer, fetch
from perhop.core.newcomer import TrustRule
from perhop.errors import ClientDocumentRefused, IssuerUnavailable
from perhop.rules.public_address import is_public
from perhop.rules.resource_uri import HttpUri

FETCH_SECONDS = 3.0
"""For all of it: the name, the connection, TLS and the answer."""
MAX_ADDRESSES = 8

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses of a host. Raises OSError."""

_JSON = re.compile(r"application/(?:[a-z0-9.!#$&^_-]+\+)?json")


@dataclass(frozen=True, slots=True)
class Fetched:
    """A JSON text, not yet read, and what its server says of keeping it."""

    body: bytes
    cache_control: str
    age: str


async def resolve_by_system(host: str, port: int) -> Sequence[str]:
    """The addresses of a host, as this machine finds them. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(address[0]) for *_, address in found))


class GuardedFetch:
    """Fetches JSON documents for the rules that admit their hosts."""

    def __init__(self, *, resolve: Resolve = resolve_by_system, seconds: float = FETCH_SECONDS) -> None:
        self._resolve = resolve
        self._seconds = seconds
        self._tls: dict[str | None, ssl.SSLContext] = {}

    async def get(self, uri: HttpUri, rule: TrustRule, *, max_bytes: int) -> Fetched:
        """One document. Only a 200 whose content type is JSON is one; what it says is not looked at.

        Raises: ClientDocumentRefused
        """
        try:
            async with asyncio.timeout(self._seconds):
                address = await self._find(uri, rule)
                answer = await self._ask(uri, address, await self._trust(rule), max_bytes=max_bytes)
        except TimeoutError:
            raise ClientDocumentRefused(f"`{uri}` took longer than {self._seconds:g} s") from None
        except IssuerUnavailable as error:
            raise ClientDocumentRefused(f"`{uri}`: {error.detail}") from None
        if answer.status != 200:
            raise ClientDocumentRefused(f"`{uri}` answered HTTP {answer.status}")
        media_type = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
        if _JSON.fullmatch(media_type) is None:
            raise ClientDocumentRefused(f"`{uri}` is not JSON by its content type")
        return Fetched(answer.body, answer.headers.get("cache-control", ""), answer.headers.get("age", ""))

    async def _find(self, uri: HttpUri, rule: TrustRule) -> str:
        """The address to connect to, once every one of them was looked at.

        INVARIANT: nothing is asked of a name again between this look and the connection.

        Raises: ClientDocumentRefused
        """
        try:
            addresses = await self._resolve(uri.host.strip("[]"), uri.port or 443)
        except (OSError, UnicodeError) as error:
            raise ClientDocumentRefused(f"`{uri.host}` has no address: {error}") from None
        if not 0 < len(addresses) <= MAX_ADDRESSES:
            raise ClientDocumentRefused(f"`{uri.host}` has no address, or more than {MAX_ADDRESSES}")
        inner = [each for each in addresses if not is_public(each, inner=rule.inner_networks)]
        if inner:
            raise ClientDocumentRefused(f"`{uri.host}` is at `{inner[0][:64]}`, which is no public address")
        return addresses[0]

    async def _ask(self, uri: HttpUri, address: str, tls: ssl.SSLContext, *, max_bytes: int) -> Answer:
        """Raises: IssuerUnavailable."""
        host = f"[{address}]" if ":" in address else address
        # A client for this one request: no cookie and no connection is left for the next.
        async with httpx2.AsyncClient(verify=tls, trust_env=False, follow_redirects=False) as http:
            request = http.build_request(
                "GET",
                f"https://{host}:{uri.port or 443}{uri.path}{f'?{uri.query}' if uri.query is not None else ''}",
                headers={
                    "host": uri.origin.partition("://")[2],
                    "accept": "application/json",
                    "user-agent": "perhop",
                },
                # INVARIANT: the certificate must be for the name, whatever the address.
                extensions={"sni_hostname": uri.host.strip("[]")},
            )
            return await fetch(http, request, max_bytes=max_bytes, seconds=self._seconds)

    async def _trust(self, rule: TrustRule) -> ssl.SSLContext:
        """The authorities that are believed; reading the system's file blocks, so it is done elsewhere, and once."""
        if rule.ca_pem not in self._tls:
            self._tls[rule.ca_pem] = await asyncio.to_thread(ssl.create_default_context, cadata=rule.ca_pem)
        return self._tls[rule.ca_pem]
