"""Verifying: every defect of a token is refused, each for its own reason."""

from __future__ import annotations

from typing import Any

import pytest

from perhop.errors import (
    AudienceMismatch,
    AudienceMissing,
    AudienceMultiple,
    BearerRefused,
    TokenExpired,
    TokenIssuerUnknown,
    TokenKeyUnknown,
    TokenLifetimeTooLong,
    TokenMalformed,
    TokenNotYetValid,
    TokenSignatureInvalid,
    TokenTypeWrong,
)
from perhop.rules import base64url
from perhop.rules.audience import bind_audience
from perhop.rules.resource_uri import parse_resource_uri
from perhop.tokens.keys import SigningKey, VerifyKey
from perhop.tokens.verify import Leeway, verify
from tests.support.forge import (
    ABSENT,
    ISSUER,
    NOW,
    RESOURCE,
    as_json,
    good_claims,
    hmac_signed,
    public_key_texts,
    replace_signature,
    sign,
    signature_of,
    unsigned,
)
from tests.support.verifier import EDWARDS, FOREIGN, KEY, OTHER_ISSUER, check, refuse


@pytest.mark.parametrize("key", [KEY, EDWARDS], ids=["ES256", "Ed25519"])
def test_good_token_is_verified(key: SigningKey) -> None:
    """Every claim of a good token is there, as received."""
    raw = sign(
        good_claims(
            agent="desk-app",
            act={"sub": "gateway:calendar", "act": {"sub": "trip-planner"}},
            may_act={"sub": ["a", "b"], "iss": ISSUER},
            tenant="acme",
            hop=2,
            unknown={"deep": [1]},
        ),
        key,
    )
    token = check(raw)
    assert (token.issuer, token.jti, token.subject, token.audience) == (ISSUER, "token-1", "user:ann", RESOURCE)
    assert (token.client_id, token.agent, token.tenant, token.txn) == ("trip-planner", "desk-app", "acme", "txn-1")
    assert (token.issued_at, token.expires_at, token.hop) == (NOW, NOW + 300, 2)
    assert token.scopes == {"calendar:read"}
    assert token.actor is not None
    assert list(token.actor.chain()) == ["gateway:calendar", "trip-planner"]
    assert token.may_act is not None
    assert (token.may_act.subjects, token.may_act.issuer) == ({"a", "b"}, ISSUER)
    assert len(token.fingerprint) == 64
    assert token.call is None
    assert token.sender is None


def test_only_the_required_claims_suffice() -> None:
    """A foreign issuer's token needs none of our own claims; without scope it has none."""
    token = check(sign(good_claims(scope=ABSENT, txn=ABSENT, hop=ABSENT), KEY))
    assert (token.scopes, token.txn, token.hop, token.tenant, token.actor) == (frozenset(), None, 1, None, None)
    assert token.agent == token.client_id


@pytest.mark.parametrize("typ", ["at+jwt", "application/at+jwt"])
def test_both_spellings_of_the_type(typ: str) -> None:
    """RFC 9068 allows the media type with and without its prefix."""
    check(sign(good_claims(), KEY, typ=typ))


@pytest.mark.parametrize(
    "typ",
    [
        ABSENT,
        "JWT",
        "",
        "AT+JWT",
        "at+jwt ",
        "oauth-id-jag+jwt",
        "logout+jwt",
        "secevent+jwt",
        "dpop+jwt",
        "client-authentication+jwt",
        "revocations+jwt",
        "application/application/at+jwt",
    ],
)
def test_other_kinds_of_token_are_refused(typ: object) -> None:
    """An id token, ID-JAG, logout token, event, proof, assertion or statement is no access token."""
    refuse(sign(good_claims(), KEY, typ=typ), TokenTypeWrong)


@pytest.mark.parametrize(
    "alg", ["none", "nOnE", "NONE", "None", "", "hs256", "HS256", "ES256K", "es256", "EdDSA", "RS512"]
)
def test_unsigned_and_foreign_algorithms_are_refused(alg: str) -> None:
    """No spelling of `none`, and no algorithm but ours, passes without a signature or with a true one."""
    refuse(unsigned(good_claims(), KEY, alg=alg), TokenSignatureInvalid)
    refuse(sign(good_claims(), KEY, alg=alg), TokenSignatureInvalid)


def test_empty_signature_is_refused() -> None:
    """A right algorithm over an empty signature is refused."""
    refuse(unsigned(good_claims(), KEY, alg="ES256"), TokenSignatureInvalid)


@pytest.mark.parametrize("form", public_key_texts(KEY))
@pytest.mark.parametrize("alg", ["HS256", "ES256"])
def test_public_key_is_no_secret(form: str, alg: str) -> None:
    """HMAC under any form of the public key is refused, whatever the header calls it."""
    refuse(hmac_signed(good_claims(), KEY, public_key_texts(KEY)[form], alg=alg), TokenSignatureInvalid)


@pytest.mark.parametrize("kid", ["unknown", "../../etc/passwd", "' OR 1=1 --", "https://evil.example/", ABSENT])
def test_unknown_key_ids_are_refused(kid: object) -> None:
    """A `kid` that names no key of ours is looked up and nothing else, and no other key is tried."""
    refuse(sign(good_claims(), KEY, kid=kid), TokenKeyUnknown)


def test_key_of_another_type_is_refused() -> None:
    """The header cannot pair a key with another key's algorithm."""
    refuse(sign(good_claims(), KEY, kid=EDWARDS.kid), TokenSignatureInvalid)
    refuse(sign(good_claims(), EDWARDS, kid=KEY.kid), TokenSignatureInvalid)
    refuse(sign(good_claims(), KEY, alg="Ed25519"), TokenSignatureInvalid)
    refuse(sign(good_claims(), KEY, alg="RS256"), TokenSignatureInvalid)


def test_key_counts_for_its_issuer_only() -> None:
    """One trusted issuer cannot speak for another, not even under the other's key id."""
    check(sign(good_claims(issuer=OTHER_ISSUER), FOREIGN))
    refuse(sign(good_claims(), FOREIGN), TokenKeyUnknown)
    refuse(sign(good_claims(), FOREIGN, kid=KEY.kid), TokenSignatureInvalid)


@pytest.mark.parametrize(
    "issuer", [f"{ISSUER}/", ISSUER.upper(), "https://AUTH.example.com", f"{ISSUER}:443", "https://staging.example.com"]
)
def test_issuer_is_compared_exactly(issuer: str) -> None:
    """A slash, another case and a default port make another issuer, which is unknown."""
    refuse(sign(good_claims(issuer=issuer), KEY), TokenIssuerUnknown)


@pytest.mark.parametrize("issuer", [ABSENT, None, "", 1, [ISSUER], {"iss": ISSUER}])
def test_issuer_is_a_text(issuer: object) -> None:
    """A missing issuer, and a list of issuers, are malformed."""
    refuse(sign(good_claims(**{"iss": issuer}), KEY), TokenMalformed)


def test_altered_tokens_are_refused() -> None:
    """Another payload under the same signature does not hold."""
    header, _, signature = sign(good_claims(), KEY).split(".")
    payload = base64url.encode(as_json(good_claims(sub="user:eve")))
    refuse(f"{header}.{payload}.{signature}", TokenSignatureInvalid)


def der(signature: bytes) -> bytes:
    """The ASN.1 form of a raw ECDSA signature."""

    def integer(raw: bytes) -> bytes:
        body = raw.lstrip(b"\0")
        body = b"\0" + body if body[:1] >= b"\x80" else body
        return b"\x02" + bytes([len(body)]) + body

    body = integer(signature[:32]) + integer(signature[32:])
    return b"\x30" + bytes([len(body)]) + body


def test_odd_signatures_are_refused() -> None:
    """DER, zeros, short, long and doubled signatures are refused."""
    token = sign(good_claims(), KEY)
    good = signature_of(token)
    check(replace_signature(token, good))
    for bad in (
        der(good),
        bytes(64),
        good[:-1],
        good + b"\0",
        b"\0" + good,
        good * 2,
        good[32:] + good[:32],
        bytes(4096),
    ):
        refuse(replace_signature(token, bad), TokenSignatureInvalid)


@pytest.mark.parametrize(
    ("audience", "fact"),
    [
        (ABSENT, AudienceMissing),
        (None, AudienceMissing),
        ("", AudienceMissing),
        ([], AudienceMultiple),
        ([RESOURCE], AudienceMultiple),
        ([RESOURCE, "https://other.example/mcp"], AudienceMultiple),
        ([1], AudienceMultiple),
        (1, TokenMalformed),
        (True, TokenMalformed),
        ({"aud": RESOURCE}, TokenMalformed),
        (f"{RESOURCE}\n", TokenMalformed),
        ("x" * 2049, TokenMalformed),
    ],
)
def test_audience_is_one_text(audience: object, fact: type[BearerRefused]) -> None:
    """A token without audience, or with a list of them, is refused for that."""
    refuse(sign(good_claims(aud=audience), KEY), fact)


@pytest.mark.parametrize(
    "audience",
    [
        "https://mcp.example.com/mcp/",
        "https://mcp.example.com/mc",
        "https://mcp.example.com/mcp2",
        "https://mcp.example.com/mcp/x",
        "https://mcp.example.com",
        "https://mcp.example.com/",
        "https://mcp.example.com:443/mcp",
        "HTTPS://mcp.example.com/mcp",
        "https://MCP.example.com/mcp",
        "https://mcp.example.com/%6Dcp",
        "https://mcp.example.com/mcp?",
        "https://mcp.example.com/mcp#",
        "http://mcp.example.com/mcp",
        "https://mcp.example.com/x/../mcp",
        "https://user@mcp.example.com/mcp",
        " https://mcp.example.com/mcp",
        "https://mcp.example.com/mcp ",
        "*",
        "https://mcp.example.com/*",
        ".*",
        "https://mcp.example.com/mcp https://other.example",
        "trip-planner",
        ISSUER,
    ],
)
def test_audience_is_compared_byte_for_byte(audience: str) -> None:
    """Nothing near to the resource's URI is the resource's URI."""
    token = check(sign(good_claims(audience=audience), KEY))
    with pytest.raises(AudienceMismatch):
        bind_audience(token, RESOURCE)


def test_right_audience_binds() -> None:
    """The one right audience binds, and only to its resource."""
    token = check(sign(good_claims(), KEY))
    assert bind_audience(token, RESOURCE).resource == RESOURCE
    with pytest.raises(AudienceMismatch):
        bind_audience(token, parse_resource_uri("https://mcp.example.com/other"))


@pytest.mark.parametrize(
    ("changes", "now", "fact"),
    [
        ({"iat": NOW + 61, "exp": NOW + 100}, NOW, TokenNotYetValid),
        ({"nbf": NOW + 61}, NOW, TokenNotYetValid),
        ({"exp": NOW + 901}, NOW, TokenLifetimeTooLong),
        ({}, NOW + 300, TokenExpired),
    ],
)
def test_times_are_checked(changes: dict[str, Any], now: int, fact: type[BearerRefused]) -> None:
    """A token from the future, one too long and one expired are each refused for that."""
    refuse(sign(good_claims(**changes), KEY), fact, now=now)


def test_expiry_to_the_second() -> None:
    """Without leeway a token ends at `exp`; the guard allows a fifth of the lifetime more, to the second."""
    token = sign(good_claims(), KEY)
    check(token, now=NOW + 299)
    refuse(token, TokenExpired, now=NOW + 300)
    check(token, now=NOW + 359, leeway=Leeway.GUARD)
    refuse(token, TokenExpired, now=NOW + 360, leeway=Leeway.GUARD)


class Forbidden(dict[str, VerifyKey]):
    """Keys of which none may be asked for."""

    def get(self, *_: object) -> Any:
        raise AssertionError("a key was looked up")


@pytest.mark.parametrize("raw", [unsigned(good_claims(), KEY), sign(good_claims(), KEY, typ="JWT"), "A.A.A"])
def test_cheap_checks_come_first(raw: str) -> None:
    """No key is touched for a token that its form, type or algorithm condemns."""
    with pytest.raises(BearerRefused):
        verify(raw, keys={ISSUER: Forbidden()}, now=NOW, leeway=Leeway.NONE)


ORDER = [
    ({}, {"crit": []}, TokenMalformed),
    ({}, {"typ": "JWT"}, TokenTypeWrong),
    ({}, {"alg": "none"}, TokenSignatureInvalid),
    ({"iss": "https://unknown.example"}, {}, TokenIssuerUnknown),
    ({}, {"kid": "unknown"}, TokenKeyUnknown),
    ({"jti": ""}, {}, TokenMalformed),
    ({"nbf": NOW + 61}, {}, TokenNotYetValid),
    ({"exp": NOW + 901}, {}, TokenLifetimeTooLong),
    ({"aud": [RESOURCE]}, {}, AudienceMultiple),
]


@pytest.mark.parametrize("first", range(len(ORDER)))
def test_first_failing_check_gives_the_reason(first: int) -> None:
    """Of several defects the one that is checked first is named, so that two doors name the same."""
    claims: dict[str, Any] = good_claims()
    header: dict[str, Any] = {}
    for claim_changes, header_changes, _ in ORDER[first:]:
        claims |= claim_changes
        header |= header_changes
    refuse(sign(claims, KEY, **header), ORDER[first][2])
