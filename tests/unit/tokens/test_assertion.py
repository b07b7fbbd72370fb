"""Client assertions: from the client itself, for this issuer alone, short."""

from __future__ import annotations

from typing import Any

import pytest

from perhop.errors import ClientAuthenticationFailed
from perhop.tokens.assertion import Assertion, assertion_client_id, read_client_assertion, sign_client_assertion
from perhop.tokens.keys import Algorithm, SigningKey
from tests.support.forge import ABSENT, ISSUER, NOW, good_claims, hmac_signed, public_key_texts, sign, unsigned

KEY = SigningKey.generate()
SECOND = SigningKey.generate(Algorithm.ED25519)
CLIENT = "trip-planner"


def claims(**changes: Any) -> dict[str, Any]:
    good = {"iss": CLIENT, "sub": CLIENT, "aud": ISSUER, "iat": NOW, "exp": NOW + 60, "jti": "a-1"} | changes
    return {name: value for name, value in good.items() if value is not ABSENT}


def read(raw: str, *keys: SigningKey, now: int = NOW) -> Assertion:
    known = {key.kid: key.public() for key in keys or (KEY, SECOND)}
    return read_client_assertion(raw, client_id=CLIENT, keys=known, audience=ISSUER, now=now)


def test_own_assertion_is_read() -> None:
    """What our client library signs, the authorization server takes."""
    raw = sign_client_assertion(client_id=CLIENT, audience=ISSUER, key=KEY, now=NOW, jti="a-1")
    assert read(raw) == Assertion("a-1", NOW + 60, issued_at=NOW)
    assert assertion_client_id(raw) == CLIENT


@pytest.mark.parametrize("typ", [ABSENT, "JWT", "client-authentication+jwt", "application/client-authentication+jwt"])
def test_types_of_assertions(typ: object) -> None:
    """An assertion needs no type, and may have that of RFC 7519 or its own."""
    read(sign(claims(), KEY, typ=typ))


@pytest.mark.parametrize("typ", ["at+jwt", "dpop+jwt", "oauth-id-jag+jwt", "revocations+jwt", "jwt", ""])
def test_other_tokens_are_no_assertions(typ: str) -> None:
    """An access token, a proof or a grant is no client assertion, also with its claims."""
    with pytest.raises(ClientAuthenticationFailed):
        read(sign(claims(), KEY, typ=typ))


def test_key_may_go_unnamed_only_if_it_is_the_only_one() -> None:
    """Without `kid` the one key of a client is tried; of several none is."""
    raw = sign(claims(), KEY, typ="JWT", kid=ABSENT)
    read(raw, KEY)
    with pytest.raises(ClientAuthenticationFailed):
        read(raw, KEY, SECOND)
    with pytest.raises(ClientAuthenticationFailed):
        read(raw, SECOND)


REFUSED: dict[str, dict[str, Any]] = {
    "another issuer": {"iss": "desk-app"},
    "another subject": {"sub": "desk-app"},
    "both another": {"iss": "desk-app", "sub": "desk-app"},
    "no subject": {"sub": ABSENT},
    "no audience": {"aud": ABSENT},
    "token endpoint": {"aud": f"{ISSUER}/token"},
    "another server": {"aud": "https://other.example.com"},
    "issuer with a slash": {"aud": f"{ISSUER}/"},
    "issuer in another case": {"aud": ISSUER.upper()},
    "list of the issuer": {"aud": [ISSUER]},
    "list of two": {"aud": [ISSUER, "https://other.example.com"]},
    "no expiry": {"exp": ABSENT},
    "expiry a text": {"exp": str(NOW + 60)},
    "expired": {"exp": NOW},
    "too long": {"exp": NOW + 361},
    "issued in the future": {"iat": NOW + 61},
    "not yet valid": {"nbf": NOW + 61},
    "issue time a text": {"iat": "now"},
    "no id": {"jti": ABSENT},
    "empty id": {"jti": ""},
    "id a number": {"jti": 1},
    "id long": {"jti": "x" * 257},
}


@pytest.mark.parametrize("changes", REFUSED.values(), ids=REFUSED.keys())
def test_wrong_claims_are_refused(changes: dict[str, Any]) -> None:
    """Each claim is of its one form, and the only audience is the issuer."""
    with pytest.raises(ClientAuthenticationFailed):
        read(sign(claims(**changes), KEY, typ="JWT"))


@pytest.mark.parametrize("changes", [{"exp": NOW + 360}, {"exp": NOW + 1}, {"iat": ABSENT}, {"nbf": NOW + 60}])
def test_times_at_the_bounds_pass(changes: dict[str, Any]) -> None:
    """300 seconds and the skew of clocks ahead are accepted; `iat` may be absent."""
    read(sign(claims(**changes), KEY, typ="JWT"))


def test_forged_assertions_are_refused() -> None:
    """Unsigned, public-key-as-secret and strangers' assertions are refused."""
    forged = [unsigned(claims(), KEY), sign(claims(), SigningKey.generate(), kid=KEY.kid, typ="JWT"), "x", ""]
    forged += [hmac_signed(claims(), KEY, text) for text in public_key_texts(KEY).values()]
    forged += [sign(good_claims(), KEY)]
    for raw in forged:
        with pytest.raises(ClientAuthenticationFailed):
            read(raw)


@pytest.mark.parametrize("raw", ["", "x.y.z", sign(claims(sub=ABSENT), KEY), sign(claims(sub=["a"]), KEY)])
def test_no_client_id_without_a_subject(raw: str) -> None:
    """An assertion that does not say who it is from finds no client."""
    with pytest.raises(ClientAuthenticationFailed):
        assertion_client_id(raw)
