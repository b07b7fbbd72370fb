"""What OpenID providers publish of themselves: their endpoints, and their keys. Kept for a while, never longer.

Spec: OpenID Connect Discovery 1.0 §4
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import httpx2

from perhop.client.fetch import MAX_DOCUMENT_BYTES, fetch
from perhop.core.provider import Provider
from perhop.errors import IssuerUnavailable, JsonUnparsable, KeysUnavailable, ProviderUnavailable, TargetInvalid
from perhop.rules.issuer_uri import is_loopback
from perhop.rules.resource_uri import parse_http_uri
from perhop.rules.strict_json import parse_json
from perhop.tokens.jwks import MAX_JWKS_BYTES, parse_jwks
from perhop.tokens.keys import VerifyKey

FETCH_SECONDS = 5.0
METADATA_KEPT = 3600
"""Seconds."""
KEYS_KEPT = 600
"""Seconds until a key that the provider has taken back is no longer believed."""
RETRY_SECONDS = 5
"""Seconds after a failure for which a document is not asked for again: a crowd asks no provider that is down."""
KEYS_ASKED_ANEW = 30
"""Seconds between two looks for a key that is not known: whoever makes names up must not have us ask each time."""

BASIC, POST = "client_secret_basic", "client_secret_post"

_T = TypeVar("_T")

OpenHttp = Callable[[], Awaitable[httpx2.AsyncClient]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderMetadata:
    """What we need of a provider's metadata. `names_issuer`: its answers always carry `iss`. Spec: RFC 9207 §3."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None
    names_issuer: bool
    authentication: str


def metadata_url(issuer: str) -> str:
    """Where a provider's metadata is. Spec: OpenID Connect Discovery 1.0 §4.1."""
    return f"{issuer.removesuffix('/')}/.well-known/openid-configuration"


def parse_provider_metadata(raw: bytes, *, issuer: str) -> ProviderMetadata:
    """Read a metadata document that must be this provider's own.

    Spec: OpenID Connect Discovery 1.0 §4.3
    Raises: ProviderUnavailable
    """
    try:
        document = parse_json(raw, max_bytes=MAX_DOCUMENT_BYTES)
    except JsonUnparsable as error:
        raise ProviderUnavailable(f"metadata of `{issuer}`: {error.detail}") from None
    if not isinstance(document, dict) or document.get("issuer") != issuer:
        raise ProviderUnavailable(f"metadata of `{issuer}` is not its own")
    return ProviderMetadata(
        issuer=issuer,
        authorization_endpoint=_endpoint(document, "authorization_endpoint", issuer),
        token_endpoint=_endpoint(document, "token_endpoint", issuer),
        jwks_uri=_endpoint(document, "jwks_uri", issuer),
        userinfo_endpoint=_endpoint(document, "userinfo_endpoint", issuer)
        if document.get("userinfo_endpoint") is not None
        else None,
        names_issuer=document.get("authorization_response_iss_parameter_supported") is True,
        authentication=_authentication(document, issuer),
    )


def _authentication(document: Mapping[str, Any], issuer: str) -> str:
    """Spec: OpenID Connect Discovery 1.0 §3."""
    methods = document.get("token_endpoint_auth_methods_supported", [BASIC])
    for method in (BASIC, POST):
        if isinstance(methods, list) and method in methods:
            return method
    raise ProviderUnavailable(f"metadata of `{issuer}`: its token endpoint takes no client secret")


def _endpoint(document: Mapping[str, Any], member: str, issuer: str) -> str:
    """A URL of the metadata: https, or http on loopback if the issuer is there too."""
    value = document.get(member)
    try:
        uri = parse_http_uri(value) if isinstance(value, str) else None
    except TargetInvalid:
        uri = None
    on_this_machine = uri is not None and issuer.startswith("http://") and is_loopback(uri.host)
    if uri is None or (uri.scheme != "https" and not on_this_machine):
        raise ProviderUnavailable(f"metadata of `{issuer}`: unusable {member} {value!a}")
    return str(value)


@dataclass(frozen=True, slots=True)
class _Kept(Generic[_T]):
    value: _T
    since: int


class ProviderDocuments:
    """Fetches what is asked for and keeps it for its time. What cannot be had anew is not believed any longer."""

    def __init__(self, open_http: OpenHttp, clock: Callable[[], float]) -> None:
        self._open_http = open_http
        self._clock = clock
        self._metadata: dict[str, _Kept[ProviderMetadata]] = {}
        self._keys: dict[str, _Kept[Mapping[str, VerifyKey]]] = {}
        self._failed: dict[str, _Kept[ProviderUnavailable]] = {}

    async def metadata(self, provider: Provider) -> ProviderMetadata:
        """Where the provider's endpoints are.

        Raises: ProviderUnavailable
        """
        kept = self._metadata.get(provider.issuer)
        if kept is None or self._age(kept) >= METADATA_KEPT:
            raw = await self._fetch(metadata_url(provider.issuer), MAX_DOCUMENT_BYTES)
            kept = _Kept(parse_provider_metadata(raw, issuer=provider.issuer), self._now())
            self._metadata[provider.issuer] = kept
        return kept.value

    async def keys(self, provider: Provider, key_id: str | None) -> Mapping[str, VerifyKey]:
        """The provider's keys; asked for anew where none of this name is known.

        Raises: ProviderUnavailable
        """
        kept = self._keys.get(provider.issuer)
        lacks = kept is not None and key_id is not None and key_id not in kept.value
        if kept is None or self._age(kept) >= (KEYS_ASKED_ANEW if lacks else KEYS_KEPT):
            metadata = await self.metadata(provider)
            try:
                keys = parse_jwks(await self._fetch(metadata.jwks_uri, MAX_JWKS_BYTES))
            except KeysUnavailable as error:
                raise ProviderUnavailable(f"keys of `{provider.issuer}`: {error.detail}") from None
            kept = self._keys[provider.issuer] = _Kept(keys, self._now())
        return kept.value

    async def _fetch(self, url: str, max_bytes: int) -> bytes:
        """Raises: ProviderUnavailable, also for one that did not answer just now."""
        failed = self._failed.get(url)
        if failed is not None and self._age(failed) < RETRY_SECONDS:
            raise ProviderUnavailable(failed.value.detail)
        try:
            body = await self._ask(url, max_bytes)
        except ProviderUnavailable as fact:
            self._failed[url] = _Kept(fact, self._now())
            raise
        self._failed.pop(url, None)
        return body

    async def _ask(self, url: str, max_bytes: int) -> bytes:
        http = await self._open_http()
        request = http.build_request("GET", url, headers={"accept": "application/json"})
        try:
            answer = await fetch(http, request, max_bytes=max_bytes, seconds=FETCH_SECONDS)
        except IssuerUnavailable as error:
            raise ProviderUnavailable(error.detail) from error
        if answer.status != 200:
            raise ProviderUnavailable(f"{url}: HTTP {answer.status}")
        return answer.body

    def _age(self, kept: _Kept[Any]) -> int:
        return self._now() - kept.since

    def _now(self) -> int:
        return int(self._clock())
