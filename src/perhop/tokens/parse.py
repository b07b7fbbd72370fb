"""Our own strict front parser of compact JWS: what is not in its one form never reaches a library or a key.

Decides nothing about trust: no signature, type, time or audience is looked at here.

Spec: RFC 7515 §7.1
Spec: RFC 7519 §4
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from perhop.errors import JsonUnparsable, TokenMalformed
from perhop.rules import base64url
from perhop.rules.strict_json import parse_json
from perhop.tokens.keys import is_key_id

MAX_TOKEN_BYTES = 8 * 1024

# JWS compact serialization has exactly three parts; an empty third is `alg: none`, which is refused by its name.
_SHAPE = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]*)")
# Parameters that would change what is verified, or with whose key. RFC 7515 §4.1, RFC 7797 §3, RFC 7516 §4.1
_REFUSED_PARAMETERS = ("crit", "b64", "zip", "enc", "jwk", "jku", "x5u", "x5c")
# A proof of possession brings its own key, and there is nobody else whose key it could be. RFC 9449 §4.2
_REFUSED_IN_PROOFS = tuple(name for name in _REFUSED_PARAMETERS if name != "jwk")
_SHORT_HEADER = 512
"""Characters; what is longer is read anew each time, so that what is kept stays small."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactJws:
    """The parts of a compact JWS whose payload is a JSON object. Nothing in it is verified.

    `media_type` is the header's `typ`, None where it is absent. What the token could be put together from again does
    not print.
    """

    header: Mapping[str, Any]
    algorithm: str
    media_type: str | None
    key_id: str | None
    payload: Mapping[str, Any]
    signed: bytes = field(repr=False)
    signature: bytes = field(repr=False)


def parse_compact(raw: str, *, max_bytes: int = MAX_TOKEN_BYTES) -> CompactJws:
    """Split and decode a compact JWS.

    Spec: RFC 7515 §5.2
    Spec: RFC 7515 §4
    Raises: TokenMalformed
    """
    return _parse(raw, max_bytes, _REFUSED_PARAMETERS)


def parse_self_keyed(raw: str, *, max_bytes: int) -> CompactJws:
    """The same for a proof, which names its own key in its header: good for showing possession, and for nothing else.

    Spec: RFC 9449 §4.2
    Raises: TokenMalformed
    """
    return _parse(raw, max_bytes, _REFUSED_IN_PROOFS)


def _parse(raw: str, max_bytes: int, refused_parameters: tuple[str, ...]) -> CompactJws:
    if len(raw) > max_bytes:
        raise TokenMalformed(f"longer than {max_bytes} bytes")
    shape = _SHAPE.fullmatch(raw)
    if shape is None:
        raise TokenMalformed("not three parts of base64url")
    header_text, payload_text, signature_text = shape.groups()
    try:
        payload_bytes, signature = base64url.decode(payload_text), base64url.decode(signature_text)
        parse = _parse_short_header if len(header_text) <= _SHORT_HEADER else _parse_header
        header = parse(header_text, refused_parameters)
    except ValueError as error:
        raise TokenMalformed(str(error)) from None
    return CompactJws(
        header=header.members,
        algorithm=header.algorithm,
        media_type=header.media_type,
        key_id=header.key_id,
        payload=_parse_object(payload_bytes, "payload"),
        signed=raw[: shape.end(2)].encode("ascii"),
        signature=signature,
    )


@dataclass(frozen=True, slots=True)
class _Header:
    members: Mapping[str, Any]
    algorithm: str
    media_type: str | None
    key_id: str | None


def _parse_header(text: str, refused_parameters: tuple[str, ...]) -> _Header:
    """Raises: TokenMalformed, ValueError."""
    members = _parse_object(base64url.decode(text), "header")
    refused = [name for name in refused_parameters if name in members]
    if refused:
        raise TokenMalformed(f"the header parameter `{refused[0]}` is refused")
    # One reading is given to everybody who brings this header, so nobody may write on it.
    return _Header(
        MappingProxyType(members), _parse_algorithm(members), _parse_media_type(members), _parse_key_id(members)
    )


# Tokens under one key have one header, letter by letter. Only what was read without a fault is kept, a reading follows
# from the text and from what is refused in it, and it says nothing of trust.
_parse_short_header = lru_cache(maxsize=256)(_parse_header)


def _parse_object(raw: bytes, part: str) -> dict[str, Any]:
    try:
        value = parse_json(raw, max_bytes=len(raw))
    except JsonUnparsable as error:
        raise TokenMalformed(f"the {part} is not JSON: {error.detail}") from None
    if not isinstance(value, dict):
        raise TokenMalformed(f"the {part} is not a JSON object")
    return value


def _parse_algorithm(header: dict[str, Any]) -> str:
    algorithm = header.get("alg")
    if not isinstance(algorithm, str):
        raise TokenMalformed("`alg` is not a string")
    return algorithm


def _parse_media_type(header: dict[str, Any]) -> str | None:
    media_type = header.get("typ")
    if "typ" in header and not isinstance(media_type, str):
        raise TokenMalformed("`typ` is not a string")
    return media_type


def _parse_key_id(header: dict[str, Any]) -> str | None:
    key_id = header.get("kid")
    if "kid" in header and not is_key_id(key_id):
        raise TokenMalformed("`kid` is not 1 to 128 printable ASCII characters")
    return key_id
