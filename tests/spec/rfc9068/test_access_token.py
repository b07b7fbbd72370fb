"""RFC 9068: the profile of our access tokens, as minted and as demanded."""

from __future__ import annotations

import pytest

from perhop.core.token import TokenDraft
from perhop.errors import AudienceMismatch, BearerRefused
from perhop.rules.audience import bind_audience
from perhop.rules.resource_uri import parse_resource_uri
from perhop.tokens.keys import Algorithm, SigningKey
from perhop.tokens.mint import mint
from perhop.tokens.parse import parse_compact
from perhop.tokens.verify import Leeway, verify
from tests.support.forge import ABSENT, ISSUER, NOW, RESOURCE, good_claims, sign, unsigned

KEY = SigningKey.generate()
KEYS = {ISSUER: {KEY.kid: KEY.public()}}


def draft() -> TokenDraft:
    return TokenDraft(
        issuer=ISSUER,
        jti="token-1",
        subject="user:ann",
        client_id="trip-planner",
        audience=RESOURCE,
        scopes=frozenset({"calendar:read"}),
        issued_at=NOW,
        expires_at=NOW + 300,
        txn="txn-1",
    )


def refused(raw: str, *, now: int = NOW) -> str:
    with pytest.raises(BearerRefused) as refusal:
        verify(raw, keys=KEYS, now=now, leeway=Leeway.NONE)
    assert (refusal.value.status, refusal.value.error) == (401, "invalid_token")
    return refusal.value.reason


def test_tokens_are_signed_and_typed() -> None:
    """§2.1: access tokens "MUST be signed", never with none, and their `typ` is "at+jwt"."""
    for algorithm in (Algorithm.ES256, Algorithm.ED25519):
        header = parse_compact(mint(draft(), SigningKey.generate(algorithm)).raw.reveal()).header
        assert (header["typ"], header["alg"]) == ("at+jwt", algorithm.value)


def test_tokens_have_every_required_claim() -> None:
    """§2.2: iss, exp, aud, sub, client_id, iat and jti are REQUIRED; scope stands where one was granted."""
    payload = parse_compact(mint(draft(), KEY).raw.reveal()).payload
    assert {"iss", "exp", "aud", "sub", "client_id", "iat", "jti", "scope"} <= payload.keys()


def test_audience_is_the_resource_indicator() -> None:
    """§3: with a `resource` parameter the `aud` claim "SHOULD have the same value"."""
    assert parse_compact(mint(draft(), KEY).raw.reveal()).payload["aud"] == RESOURCE


@pytest.mark.parametrize("claim", ["iss", "exp", "sub", "client_id", "iat", "jti", "aud"])
def test_required_claims_are_demanded_of_every_issuer(claim: str) -> None:
    """§2.2: a token without a required claim is refused, whoever issued it."""
    assert refused(sign(good_claims(**{claim: ABSENT}), KEY)) in ("token.malformed", "audience.missing")


def test_validation_of_the_type() -> None:
    """§4: the server "MUST verify that the 'typ' header value is 'at+jwt' or 'application/at+jwt'"."""
    verify(sign(good_claims(), KEY, typ="application/at+jwt"), keys=KEYS, now=NOW, leeway=Leeway.NONE)
    assert refused(sign(good_claims(), KEY, typ="JWT")) == "token.type"


def test_validation_of_the_issuer() -> None:
    """§4: the issuer identifier "MUST exactly match the value of the 'iss' claim"."""
    assert refused(sign(good_claims(issuer=f"{ISSUER}/"), KEY)) == "token.issuer"


def test_validation_of_the_audience() -> None:
    """§4: the server MUST validate that `aud` "contains a resource indicator value" for itself."""
    token = verify(sign(good_claims(), KEY), keys=KEYS, now=NOW, leeway=Leeway.NONE)
    with pytest.raises(AudienceMismatch):
        bind_audience(token, parse_resource_uri("https://other.example.com/mcp"))


def test_validation_of_the_signature() -> None:
    """§4: the server "MUST reject any JWT in which the value of 'alg' is 'none'", and any other signature."""
    assert refused(unsigned(good_claims(), KEY)) == "token.signature"
    assert refused(sign(good_claims(), SigningKey.generate(), kid=KEY.kid)) == "token.signature"


def test_validation_of_the_expiry() -> None:
    """§4: the current time "MUST be before the time represented by the 'exp' claim"."""
    assert refused(sign(good_claims(), KEY), now=NOW + 300) == "token.expired"
