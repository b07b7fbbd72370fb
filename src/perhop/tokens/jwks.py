"""JWK Sets: ours as published, an issuer's as fetched, a client's as configured.

Spec: RFC 7517 §5
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from perhop.errors import JsonUnparsable, KeysUnavailable, KeyUnusable
from perhop.rules.strict_json import parse_json
from perhop.tokens.keys import VerifyKey, keys_by_id, parse_jwk

MAX_JWKS_BYTES = 64 * 1024
MAX_JWKS_KEYS = 50


def parse_jwks(raw: bytes) -> dict[str, VerifyKey]:
    """Take an issuer's key set: `kid` -> key, of the keys that verify.

    A set that mixes in a symmetric or private key, or names two keys alike, is refused whole: nobody can tell which
    of its keys to believe. A key that is merely not for us (encryption, another curve, too weak, no `kid`) is passed
    over, so a token under it finds no key.

    Spec: RFC 7517 §5
    Raises: KeysUnavailable
    """
    try:
        document = parse_json(raw, max_bytes=MAX_JWKS_BYTES)
    except JsonUnparsable as error:
        raise KeysUnavailable(f"the key set is not JSON: {error.detail}") from None
    return parse_key_set(document)


def parse_key_set(document: Any) -> dict[str, VerifyKey]:
    """The same for one that is read already. Raises: KeysUnavailable."""
    members = _members(document)
    _check_members(members)
    keys: dict[str, VerifyKey] = {}
    for jwk in members:
        try:
            key = parse_jwk(jwk)
        except KeyUnusable:
            continue
        if "kid" in jwk:
            keys[key.kid] = key
    return keys


def usable_members(document: Any) -> tuple[Mapping[str, Any], ...]:
    """The members of a client's key set that verify signatures, by the same rules as an issuer's.

    Raises: KeysUnavailable
    """
    members = _members(document)
    _check_members(members)
    return tuple(each for each in members if _is_usable(each))


def _is_usable(jwk: Mapping[str, Any]) -> bool:
    try:
        parse_jwk(jwk)
    except KeyUnusable:
        return False
    return True


def _members(document: Any) -> list[dict[str, Any]]:
    members = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(members, list) or not all(isinstance(each, dict) for each in members):
        raise KeysUnavailable("the key set has no list `keys` of objects")
    if len(members) > MAX_JWKS_KEYS:
        raise KeysUnavailable(f"the key set has more than {MAX_JWKS_KEYS} keys")
    return members


def _check_members(members: list[dict[str, Any]]) -> None:
    if any(each.get("kty") == "oct" or "d" in each or "k" in each for each in members):
        raise KeysUnavailable("the key set publishes a symmetric or private key")
    names = [each["kid"] for each in members if isinstance(each.get("kid"), str)]
    if len(set(names)) != len(names):
        raise KeysUnavailable("the key set names two keys alike")


def client_keys(members: Iterable[Mapping[str, Any]]) -> dict[str, VerifyKey]:
    """Take a client's configured keys: every one must be usable; without `kid` the thumbprint names it.

    Raises: KeyUnusable
    """
    return keys_by_id(parse_jwk(each) for each in members)


def render_jwks(keys: Iterable[VerifyKey]) -> dict[str, Any]:
    """The JWK Set document of these keys. Spec: RFC 7517 §5."""
    return {"keys": [key.as_jwk() for key in keys]}
