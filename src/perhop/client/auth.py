"""An httpx2 `Auth` that carries tokens of one resource to that resource and nowhere else.

Works wherever an `httpx2.Auth` is taken: an `httpx2.AsyncClient`, and through it the official SDK's and FastMCP's
client transports.

Spec: RFC 6750 §2.1
Spec: RFC 9449 §7.1
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from typing import Any, NoReturn

import httpx2

from perhop.client.proof_key import NEEDS_NONCE
from perhop.client.token_request import AccessToken
from perhop.core.resource import ResourceUri
from perhop.errors import SettingsError, WrongDestination
from perhop.rules.issuer_uri import is_private
from perhop.rules.resource_uri import parse_http_uri
from perhop.rules.www_authenticate import bearing_challenges

_DEFAULT_PORTS = {"http": 80, "https": 443}


class TokenCarrier(httpx2.Auth):
    """Puts a token on requests to exactly one resource; any other destination raises WrongDestination.

    A token that is bound to a key goes out with a fresh proof on each request. Which token, and what happens when it is
    refused, is said by who derives from this.

    Raises: SettingsError
    """

    def __init__(self, resource: ResourceUri) -> None:
        check_server(resource)
        self.resource = resource
        self._home = httpx2.URL(resource)

    def sync_auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        """Not offered: tokens are fetched asynchronously.

        Raises: TypeError
        """
        raise TypeError(f"{request.url}: this auth is for httpx2.AsyncClient")

    def _wants_nonce(self, response: httpx2.Response, token: AccessToken) -> bool:
        """True if the proof must be made again, with a nonce that the resource has just given. Spec: RFC 9449 §9."""
        is_new = token.proofs is not None and token.proofs.hear(response.request.url, response.headers)
        return is_new and response.status_code == 401 and NEEDS_NONCE in errors_in(response)

    def _carry(self, request: httpx2.Request, token: AccessToken) -> httpx2.Request:
        if token.proofs is None:
            request.headers["authorization"] = f"Bearer {token.raw.reveal()}"
            request.headers.pop("dpop", None)  # of a token that was refused
        else:
            request.headers["authorization"] = f"DPoP {token.raw.reveal()}"
            request.headers["dpop"] = token.proofs.proof(request.method, request.url, token=token.raw)
        # httpx2 keeps the header on a redirect that stays on the origin, and sees no resources there: the wire is
        # watched, so that a client that follows redirects cannot carry the token to a neighbour on the same host.
        request.extensions = {**request.extensions, "trace": self._watch(request)}
        return request

    def _watch(self, request: httpx2.Request) -> Callable[[str, Mapping[str, Any]], Awaitable[None]]:
        outer = request.extensions.get("trace")
        allowed = {request.url.raw_path, str(request.url).encode()}
        host = request.headers["host"].encode()
        ours = request.headers["authorization"].encode()

        async def trace(event: str, details: Mapping[str, Any]) -> None:
            if event.endswith("send_request_headers.started"):
                sent = details["request"]
                fields = {name.lower(): value for name, value in sent.headers}
                if fields.get(b"authorization") == ours and not (
                    sent.url.target in allowed and fields.get(b"host") == host
                ):
                    self._refuse(bytes(sent.url.target).decode("ascii", "replace"))
            if outer is not None:
                await outer(event, details)

        return trace

    def _check_destination(self, url: httpx2.URL) -> None:
        if not self._is_home(url):
            self._refuse(str(url.copy_with(query=None, userinfo=b"")))

    def _is_home(self, url: httpx2.URL) -> bool:
        """The whole audience must be matched: scheme, host, port and path; prefixes and neighbours are not it."""
        has_query = b"?" in self._home.raw_path
        return _place(url, with_query=has_query) == _place(self._home, with_query=has_query)

    def _refuse(self, where: str) -> NoReturn:
        raise WrongDestination(
            f"a token for `{self.resource}` is not sent to `{where}`",
            advice="call the resource at exactly its URI, or ask for a token for the other one",
        )


class TokenAuth(TokenCarrier):
    """Carries a program's tokens.

    `get` fetches one; its argument is a token that the resource has just refused, or None.
    """

    def __init__(self, resource: ResourceUri, get: Callable[[AccessToken | None], Awaitable[AccessToken]]) -> None:
        super().__init__(resource)
        self._get = get

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        """Send with a token; once more with a fresh one if the resource calls the first invalid.

        Raises: WrongDestination, TokenNotGranted, IssuerUnavailable
        """
        self._check_destination(request.url)
        await request.aread()  # so that the body can be sent twice
        token = await self._get(None)
        response = yield self._carry(request, token)
        if self._wants_nonce(response, token):
            response = yield self._carry(request, token)
        if response.status_code == 401 and "invalid_token" in errors_in(response):
            yield self._carry(request, await self._get(token))


def check_server(server: ResourceUri) -> None:
    """Refuse a server that tokens would go to in clear: http is for this machine alone.

    Spec: RFC 6750 §5.3
    Raises: SettingsError
    """
    if not is_private(parse_http_uri(server)):
        raise SettingsError(
            f"`{server}` must be https, since tokens are sent there", advice="http is for loopback addresses only"
        )


def errors_in(response: httpx2.Response) -> frozenset[str]:
    """The error codes of the challenges that ask for a token. Spec: RFC 6750 §3.1."""
    challenges = bearing_challenges(response.headers.get_list("www-authenticate"))
    return frozenset(each.parameters.get("error", "") for each in challenges)


def _place(url: httpx2.URL, *, with_query: bool) -> tuple[str, bytes, int | None, bytes]:
    path = url.raw_path if with_query else url.raw_path.partition(b"?")[0]
    return url.scheme, url.raw_host, url.port or _DEFAULT_PORTS.get(url.scheme), path
