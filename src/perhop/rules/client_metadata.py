"""What a client says of itself, read strictly: in a document at its URL, or when it registers.

Members that we do not go by are left alone, and nothing that they name is ever fetched (`logo_uri`, `client_uri` and
their like).

Spec: RFC 7591 §2
Spec: draft-ietf-oauth-client-id-metadata-document §4.1
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from perhop.core.client import GrantType
from perhop.core.newcomer import ClientMetadata
from perhop.errors import ClientMetadataInvalid, JsonUnparsable, RedirectRefused, RedirectUriInvalid
from perhop.rules.redirect_uri import is_loopback_only, parse_redirect_uri
from perhop.rules.strict_json import parse_json
from perhop.rules.visible_text import is_unseen

MAX_NAME = 120
MAX_REDIRECT_URIS = 20
PUBLIC, BY_KEY = "none", "private_key_jwt"
BY_SECRET = ("client_secret_basic", "client_secret_post")

_FOR_PEOPLE = frozenset({GrantType.AUTHORIZATION_CODE, GrantType.REFRESH_TOKEN})
"""A client that nobody wrote down acts for people who were asked, and never by itself."""

Members = Mapping[str, Any]


def parse_members(raw: bytes, *, max_bytes: int) -> Members:
    """The JSON object. Raises: ClientMetadataInvalid."""
    try:
        document = parse_json(raw, max_bytes=max_bytes)
    except JsonUnparsable as error:
        raise ClientMetadataInvalid(f"not JSON: {error.detail}") from None
    if not isinstance(document, dict):
        raise ClientMetadataInvalid("not a JSON object")
    return document


def read_document(members: Members, *, client_id: str) -> ClientMetadata:
    """What a client's document says; it must be that client's own, and hold nothing that is secret.

    One document is for every authorization server, so what does not apply here is passed over: grants, redirect URIs of
    other kinds, authentication methods besides one that we take.

    Spec: draft-ietf-oauth-client-id-metadata-document §4.1
    Spec: MCP 2026-07-28 authorization
    Raises: ClientMetadataInvalid
    """
    if members.get("client_id") != client_id:
        raise ClientMetadataInvalid("`client_id` is not exactly the URL of the document")
    if "client_secret" in members or "client_secret_expires_at" in members:
        raise ClientMetadataInvalid("the document holds a client secret, which everybody can read")
    kind = _application_type(members)
    redirect_uris = tuple(uri for uri in _redirect_uris(members) if _is_usable(uri, kind))
    if not redirect_uris:
        raise RedirectUriInvalid("no redirect URI is https, or http to a loopback address")
    return ClientMetadata(
        name=_name(members),
        redirect_uris=redirect_uris,
        grants=_grants(members),
        method=_method_of_document(members),
        **_key_set(members),
        application_type=kind,
    )


def read_registration(members: Members) -> ClientMetadata:
    """What a client registers with. It speaks to us alone, so what cannot be used is refused, but for other grants.

    Spec: RFC 7591 §2
    Spec: MCP 2026-07-28 authorization
    Raises: ClientMetadataInvalid, RedirectUriInvalid
    """
    kind = _application_type(members)
    redirect_uris = _redirect_uris(members)
    for uri in redirect_uris:
        if not _is_usable(uri, kind):
            raise RedirectUriInvalid(f"`{uri[:256]}` is not a redirect URI for `{kind or 'any application'}`")
    method = members.get("token_endpoint_auth_method", BY_SECRET[0])
    if method not in (PUBLIC, BY_KEY, *BY_SECRET):
        raise ClientMetadataInvalid("`token_endpoint_auth_method` is not one that we take")
    keys = _key_set(members)
    if "jwks_uri" in members or (keys["jwks"] is not None) != (method == BY_KEY):
        # Fetching from wherever somebody unknown says is not done for a client that nobody has adopted.
        raise ClientMetadataInvalid(f"`jwks` goes with `{BY_KEY}` and with nothing else, and `jwks_uri` is not taken")
    return ClientMetadata(
        name=_name(members),
        redirect_uris=redirect_uris,
        grants=_grants(members),
        method=method,
        jwks=keys["jwks"],
        application_type=kind,
    )


def _name(members: Members) -> str:
    """What people will read, so it shows as it is. Letters that look like others are not looked for."""
    name = members.get("client_name")
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME or name != name.strip():
        raise ClientMetadataInvalid(f"`client_name` is not a text of 1 to {MAX_NAME} characters")
    if any(is_unseen(letter) for letter in name):
        raise ClientMetadataInvalid("`client_name` holds a character that does not show")
    return name


def _application_type(members: Members) -> str | None:
    kind = members.get("application_type")
    if kind not in (None, "native", "web"):
        raise ClientMetadataInvalid("`application_type` is neither `native` nor `web`")
    return kind


def _redirect_uris(members: Members) -> tuple[str, ...]:
    uris = members.get("redirect_uris")
    if not isinstance(uris, list) or not all(isinstance(each, str) for each in uris):
        raise RedirectUriInvalid("`redirect_uris` is not a list of texts")
    if not 0 < len(uris) <= MAX_REDIRECT_URIS:
        raise RedirectUriInvalid(f"`redirect_uris` does not hold 1 to {MAX_REDIRECT_URIS}")
    return tuple(dict.fromkeys(uris))


def _is_usable(uri: str, kind: str | None) -> bool:
    """True for https; for a loopback address, too, unless the application says that it lives on the web.

    Spec: MCP 2026-07-28 authorization
    """
    try:
        parse_redirect_uri(uri)
    except RedirectRefused:
        return False
    return kind != "web" or not is_loopback_only((uri,))


def _grants(members: Members) -> frozenset[GrantType]:
    """Those that we would give. Spec: RFC 7591 §2."""
    asked = members.get("grant_types", [GrantType.AUTHORIZATION_CODE.value])
    responses = members.get("response_types", ["code"])
    if not isinstance(asked, list) or not isinstance(responses, list):
        raise ClientMetadataInvalid("`grant_types` or `response_types` is not a list")
    grants = frozenset(each for each in _FOR_PEOPLE if each.value in asked)
    if GrantType.AUTHORIZATION_CODE not in grants or "code" not in responses:
        raise ClientMetadataInvalid("it does not use authorization codes, and gets nothing by anything else")
    return grants


def _method_of_document(members: Members) -> str:
    """The method that the document names, else the best of those that it offers, else what its keys tell.

    What `token_endpoint_auth_method` names is refused if everybody could do it, or we cannot, unless something else is
    offered besides.

    Spec: draft-ietf-oauth-client-id-metadata-document §4.1
    """
    offered = members.get("token_endpoint_auth_methods_supported")
    if offered is not None and not isinstance(offered, list):
        raise ClientMetadataInvalid("`token_endpoint_auth_methods_supported` is not a list")
    named = members.get("token_endpoint_auth_method")
    has_keys = "jwks" in members or "jwks_uri" in members
    if isinstance(named, str) and named.startswith("client_secret_"):
        raise ClientMetadataInvalid("`token_endpoint_auth_method` shares a secret, which a published document cannot")
    if named in (PUBLIC, BY_KEY):
        return _with_keys(str(named), has_keys=has_keys)
    if named is None and offered is None:
        return BY_KEY if has_keys else PUBLIC
    return _with_keys(_best(offered or (), has_keys=has_keys), has_keys=has_keys)


def _best(offered: Sequence[Any], *, has_keys: bool) -> str:
    if BY_KEY in offered and has_keys:
        return BY_KEY
    if PUBLIC in offered:
        return PUBLIC
    raise ClientMetadataInvalid("it offers no authentication method that we take")


def _with_keys(method: str, *, has_keys: bool) -> str:
    if method == BY_KEY and not has_keys:
        raise ClientMetadataInvalid(f"`{BY_KEY}` without `jwks` or `jwks_uri`")
    return method


def _key_set(members: Members) -> dict[str, Any]:
    """`jwks` or `jwks_uri`. Spec: RFC 7591 §2."""
    jwks, jwks_uri = members.get("jwks"), members.get("jwks_uri")
    if jwks is not None and jwks_uri is not None:
        raise ClientMetadataInvalid("`jwks` and `jwks_uri` are both there")
    if not isinstance(jwks, dict | None) or not isinstance(jwks_uri, str | None):
        raise ClientMetadataInvalid("`jwks` is not an object, or `jwks_uri` is not a text")
    return {"jwks": jwks, "jwks_uri": jwks_uri}
