"""Verifying: every defect of a token is refused, each for its own reason."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from perhop.core.token import VerifiedToken
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
from perhop.rules.audience import bind_audience
from perhop.rules.resource_uri import parse_resource_uri
from perhop.tokens import base64url
from perhop.tokens.keys import Algorithm, SigningKey, VerifyKey
from perhop.tokens.verify import Leeway, verify
from tests.support.forge import (
    ABSENT,
    ISSUER,
    NOW,
    RESOURCE,
    as_json,
    assemble,
    good_claims,
    good_header,
    hmac_signed,
    public_key_texts,
    replace_signature,
    sign,
    signature_of,
    unsigned,
)

KEY = SigningKey.generate()
EDWARDS = SigningKey.generate(Algorithm.ED25519)
FOREIGN = SigningKey.generate()
OTHER_ISSUER = "https://other.example.com"
KEYS = {
    ISSUER: {key.kid: key.public() for key in (KEY, EDWARDS)},
    OTHER_ISSUER: {FOREIGN.kid: FOREIGN.public()},
}


def check(raw: str, *, now: int = NOW, leeway: Leeway = Leeway.NONE) -> VerifiedToken:
    return verify(raw, keys=KEYS, now=now, leeway=leeway)


def refuse(raw: str, fact: type[BearerRefused], **context: Any) -> None:
    with pytest.raises(BearerRefused) as refusal:
        check(raw, **context)
    assert refusal.type is fact, refusal.value


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
    assert not token.call_bound
    assert not token.sender_bound


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


@pytest.mark.parametrize("alg", [["ES256"], 1, None, True, {"alg": "ES256"}, ABSENT])
def test_algorithm_is_a_text(alg: object) -> None:
    """An `alg` of another type, or none at all, is malformed."""
    refuse(sign(good_claims(), KEY, alg=alg), TokenMalformed)


def test_empty_signature_is_refused() -> None:
    """A right algorithm over an empty signature is refused."""
    refuse(unsigned(good_claims(), KEY, alg="ES256"), TokenSignatureInvalid)


@pytest.mark.parametrize("form", public_key_texts(KEY))
@pytest.mark.parametrize("alg", ["HS256", "ES256"])
def test_public_key_is_no_secret(form: str, alg: str) -> None:
    """HMAC under any form of the public key is refused, whatever the header calls it."""
    refuse(hmac_signed(good_claims(), KEY, public_key_texts(KEY)[form], alg=alg), TokenSignatureInvalid)


ATTACKER = SigningKey.generate()


@pytest.mark.parametrize(
    "parameters",
    [
        {"jwk": ATTACKER.public().as_jwk()},
        {"jku": "http://127.0.0.1:1/jwks"},
        {"x5u": "http://127.0.0.1:1/cert"},
        {"x5c": ["AAAA"]},
        {"crit": ["exp"], "exp": 1},
        {"crit": []},
        {"crit": ["alg"]},
        {"crit": None},
        {"crit": ["b64"], "b64": False},
        {"b64": False},
        {"b64": True},
        {"zip": "DEF"},
        {"enc": "A256GCM"},
    ],
)
def test_headers_that_change_the_rules_are_refused(parameters: dict[str, Any]) -> None:
    """Keys, addresses, critical extensions and other encodings in the header are refused, also truly signed."""
    refuse(sign(good_claims(), KEY, **parameters), TokenMalformed)
    refuse(sign(good_claims(), ATTACKER, kid=KEY.kid, **parameters), TokenMalformed)


@pytest.mark.parametrize("kid", ["x\0", "x\n", "k" * 129, "", ["a"], 1, None, {"a": 1}, True])
def test_malformed_key_ids_are_refused(kid: object) -> None:
    """A `kid` that is no short printable text is malformed."""
    refuse(sign(good_claims(), KEY, kid=kid), TokenMalformed)


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


def spoiled_tokens() -> dict[str, str]:
    token = sign(good_claims(), KEY)
    header, payload, signature = token.split(".")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    spare_bits = alphabet[alphabet.index(signature[-1]) + 1]
    return {
        "empty": "",
        "one part": header,
        "two parts": f"{header}.{payload}",
        "four parts": f"{token}.",
        "five parts (JWE)": f"{token}.AAAA.AAAA",
        "no header": f".{payload}.{signature}",
        "no payload": f"{header}..{signature}",
        "padding": f"{token}==",
        "spare bits": f"{header}.{payload}.{signature[:-1]}{spare_bits}",
        "other alphabet": f"{header}.{payload}.+{signature[1:]}",
        "space before": f" {token}",
        "line break after": f"{token}\n",
        "space inside": f"{header}. {payload}.{signature}",
        "no-break space": f"{token}\u00a0",
        "full-width letter": f"Ａ{token}",
        "JSON serialization": json.dumps({"payload": payload, "protected": header, "signature": signature}),
        "header not an object": assemble(b'["ES256"]', as_json(good_claims()), KEY.sign),
        "payload not an object": assemble(as_json(good_header(KEY)), b'"text"', KEY.sign),
        "payload not JSON": assemble(as_json(good_header(KEY)), b"text", KEY.sign),
    }


@pytest.mark.parametrize("raw", spoiled_tokens().values(), ids=spoiled_tokens().keys())
def test_other_forms_are_malformed(raw: str) -> None:
    """A token has one form, and a truly signed one in another form is refused."""
    refuse(raw, TokenMalformed)


GOOD = as_json(good_claims()).decode()
SPOILED_JSON = {
    "audience twice": GOOD.replace('"aud":', f'"aud":"{RESOURCE}","aud":').encode(),
    "audience twice by escape": GOOD.replace('"aud":', f'"\\u0061ud":"{RESOURCE}","aud":').encode(),
    "byte order mark": b"\xef\xbb\xbf" + GOOD.encode(),
    "UTF-16": GOOD.encode("utf-16"),
    "overlong UTF-8": GOOD.replace("user:ann", "user\xc0\xbaann").encode("latin-1"),
    "lone surrogate": GOOD.replace("user:ann", "\\ud800").encode(),
    "NaN": GOOD.replace('"hop":1', '"hop":NaN').encode(),
    "Infinity": GOOD.replace(f'"exp":{NOW + 300}', '"exp":Infinity').encode(),
    "beyond doubles": GOOD.replace(f'"exp":{NOW + 300}', '"exp":1e400').encode(),
    "5,000 digits": GOOD.replace(f'"exp":{NOW + 300}', f'"exp":{"9" * 5000}').encode(),
    "deep": GOOD.replace('"hop":1', f'"deep":{"[" * 33}{"]" * 33}').encode(),
    "trailing": GOOD.encode() + b"{}",
}


@pytest.mark.parametrize("payload", SPOILED_JSON.values(), ids=SPOILED_JSON.keys())
def test_ambiguous_claims_are_malformed(payload: bytes) -> None:
    """Claims that two parsers might read differently are refused although the signature holds."""
    refuse(sign(payload, KEY), TokenMalformed)


def test_ambiguous_header_is_malformed() -> None:
    """A header with a parameter twice is refused although the signature holds."""
    header = as_json(good_header(KEY)).replace(b'{"alg"', b'{"alg":"none","alg"')
    refuse(assemble(header, GOOD.encode(), KEY.sign), TokenMalformed)


@pytest.mark.parametrize("claim", ["sub", "client_id", "iat", "exp", "jti"])
def test_required_claims(claim: str) -> None:
    """A token without one of the required claims is malformed, also where a look-alike is there."""
    refuse(sign(good_claims(**{claim: ABSENT}), KEY), TokenMalformed)
    lookalike = {claim.title(): good_claims()[claim], f"{claim}\u200b": good_claims()[claim]}
    refuse(sign(good_claims(**{claim: ABSENT}, **lookalike), KEY), TokenMalformed)


@pytest.mark.parametrize("claim", ["sub", "client_id", "jti", "txn", "agent", "tenant"])
@pytest.mark.parametrize("value", ["", None, 1, True, [], {}, ["x"], "x\n", "x\0", "x\u202e", "x" * 2049])
def test_names_are_printable_texts(claim: str, value: object) -> None:
    """A name of another type, of no or too many characters, or with invisible ones is malformed."""
    refuse(sign(good_claims(**{claim: value}), KEY), TokenMalformed)


@pytest.mark.parametrize("claim", ["iat", "exp", "nbf"])
@pytest.mark.parametrize(
    "value",
    [str(NOW), True, None, -1, 0.5, float(NOW), [NOW], {}, 10**30, f"{NOW}\n"],
    ids=lambda value: repr(value)[:20],
)
def test_times_are_whole_seconds(claim: str, value: object) -> None:
    """A time that is a text, a boolean, a fraction or absurd is malformed."""
    refuse(sign(good_claims(**{claim: value}), KEY), TokenMalformed)


@pytest.mark.parametrize(
    "changes",
    [
        {"scope": ["a"]},
        {"scope": "a  b"},
        {"scope": "a\tb"},
        {"scope": None},
        {"scope": "x" * 2049},
        {"hop": 0},
        {"hop": True},
        {"hop": "1"},
        {"hop": 65},
        {"act": "calendar-server"},
        {"act": {}},
        {"act": None},
        {"act": {"sub": 1}},
        {"act": {"sub": "a", "act": None}},
        {"act": {"sub": "a", "act": {"act": {"sub": "b"}}}},
        {"may_act": {}},
        {"may_act": {"sub": []}},
        {"may_act": {"sub": None}},
        {"may_act": {"sub": ["a", 1]}},
        {"may_act": {"sub": "a", "iss": None}},
        {"may_act": {"sub": "a", "email": "a@example.com"}},
        {"may_act": "a"},
        {"cnf": None},
        {"cnf": {}},
        {"cnf": "jkt"},
        {"authorization_details": {}},
        {"authorization_details": None},
        {"authorization_details": ["agent_task"]},
        {"authorization_details": [{}]},
        {"authorization_details": [{"type": "payment"}]},
        {"authorization_details": [{"type": "agent_task"}]},
        {"authorization_details": [{"type": "agent_task", "id": "1"}, {"type": "agent_task", "id": "2"}]},
        {"exp": NOW},
        {"exp": NOW - 10},
    ],
)
def test_malformed_optional_claims(changes: dict[str, Any]) -> None:
    """A claim that we read is of its form or the token is refused: nothing is guessed."""
    refuse(sign(good_claims(**changes), KEY), TokenMalformed)


def nested_actor(depth: int) -> dict[str, Any]:
    actor: dict[str, Any] = {"sub": "a"}
    for _ in range(depth - 1):
        actor = {"sub": "a", "act": actor}
    return actor


def test_actor_chains_are_bounded() -> None:
    """Sixteen actors are read, seventeen are not."""
    token = check(sign(good_claims(act=nested_actor(16)), KEY))
    assert token.actor is not None
    assert len(list(token.actor.chain())) == 16
    refuse(sign(good_claims(act=nested_actor(17)), KEY), TokenMalformed)


def test_bound_tokens_are_marked() -> None:
    """A sender constraint, a single call and a task are told to whoever admits the token."""
    assert check(sign(good_claims(cnf={"jkt": "x"}), KEY)).sender_bound
    assert check(sign(good_claims(cnf={"unknown": "x"}), KEY)).sender_bound
    details = [{"type": "mcp_call", "method": "tools/call"}, {"type": "agent_task", "id": "task-1"}]
    token = check(sign(good_claims(authorization_details=details), KEY))
    assert (token.call_bound, token.task) == (True, "task-1")


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


def test_size_is_bounded() -> None:
    """A token of 8 KiB is read, one byte more is not."""

    def padded(length: int) -> str:
        return sign(good_claims(pad="x" * length), KEY)

    longest = next(token for length in range(5900, 5400, -1) if len(token := padded(length)) <= 8192)
    assert len(longest) in (8191, 8192)
    check(longest)
    refuse(longest.ljust(8193, "A"), TokenMalformed)


@pytest.mark.parametrize(
    "raw", ["A" * 1_000_000, "A.A." + "A" * 1_000_000, "." * 1_000_000], ids=["text", "parts", "dots"]
)
def test_huge_tokens_cost_nothing(raw: str) -> None:
    """A megabyte is refused by its length, before it is looked at."""
    started = time.perf_counter()
    refuse(raw, TokenMalformed)
    assert time.perf_counter() - started < 0.05


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
