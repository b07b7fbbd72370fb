"""Proofs of possession for tests: good ones, and whatever else an attacker may sign or leave unsigned.

They are made with `cryptography` alone, so that what is checked was not made by what checks it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Callable, Generator, Mapping
from typing import Any

import httpx2
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from tests.support.forge import ABSENT

Sign = Callable[[bytes], bytes]


def encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class ProofKey:
    """A client's key, P-256."""

    def __init__(self) -> None:
        self._private = ec.generate_private_key(ec.SECP256R1())
        point = self._private.public_key().public_numbers()
        x, y = (encoded(number.to_bytes(32)) for number in (point.x, point.y))
        self.jwk: dict[str, Any] = {"kty": "EC", "crv": "P-256", "x": x, "y": y}
        ordered = json.dumps({"crv": "P-256", "kty": "EC", "x": x, "y": y}, separators=(",", ":"))
        self.thumbprint = encoded(hashlib.sha256(ordered.encode()).digest())

    @property
    def private_jwk(self) -> dict[str, Any]:
        return self.jwk | {"d": encoded(self._private.private_numbers().private_value.to_bytes(32))}

    def sign(self, signed: bytes) -> bytes:
        r, s = decode_dss_signature(self._private.sign(signed, ec.ECDSA(SHA256())))
        return r.to_bytes(32) + s.to_bytes(32)


def a_proof(
    key: ProofKey,
    method: str,
    uri: str,
    *,
    now: float,
    token: str | None = None,
    nonce: str | None = None,
    header: Mapping[str, Any] | None = None,
    sign: Sign | None = None,
    **claims: Any,
) -> str:
    """A proof for one request, but for these members of the header and these claims; ABSENT leaves one out."""
    usual: dict[str, Any] = {"jti": secrets.token_urlsafe(12), "htm": method, "htu": uri, "iat": int(now)}
    if token is not None:
        usual["ath"] = encoded(hashlib.sha256(token.encode()).digest())
    if nonce is not None:
        usual["nonce"] = nonce
    parameters = {"typ": "dpop+jwt", "alg": "ES256", "jwk": key.jwk, **(header or {})}
    signed = f"{_part(parameters)}.{_part({**usual, **claims})}"
    return f"{signed}.{encoded((sign or key.sign)(signed.encode()))}"


def _part(members: Mapping[str, Any]) -> str:
    kept = {name: value for name, value in members.items() if value is not ABSENT}
    return encoded(json.dumps(kept, separators=(",", ":")).encode())


class DpopAuth(httpx2.Auth):
    """Sends a bound token as a client should: a fresh proof each time, and once more when a nonce is asked for."""

    def __init__(self, key: ProofKey, token: str, *, clock: Callable[[], float] = time.time) -> None:
        self._key = key
        self._token = token
        self._clock = clock
        self.nonce: str | None = None

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        response = yield self._proved(request)
        said, self.nonce = self.nonce, response.headers.get("dpop-nonce", self.nonce)
        if response.status_code == 401 and self.nonce != said:
            yield self._proved(request)

    def _proved(self, request: httpx2.Request) -> httpx2.Request:
        request.headers["authorization"] = f"DPoP {self._token}"
        request.headers["dpop"] = a_proof(
            self._key, request.method, str(request.url), now=self._clock(), token=self._token, nonce=self.nonce
        )
        return request
