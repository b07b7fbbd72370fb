"""RFC 9449 §4: what a proof of possession must be. The RFC's own examples, and one thing wrong at a time."""

from __future__ import annotations

import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS, PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given, settings
from hypothesis import strategies as st

from perhop.errors import ProofNonceNeeded, ProofRefused
from perhop.rules.dpop import PROOF_ALGORITHMS, normalise_uri, single_proof, token_hash
from perhop.rules.dpop_nonce import Nonces
from perhop.tokens.keys import Algorithm
from perhop.tokens.proof import ProofFor, check_proof
from tests.support.dpop import ProofKey, a_proof, encoded
from tests.support.forge import ABSENT

EXAMPLES = json.loads((Path(__file__).parents[2] / "vectors" / "rfc9449-4-7.json").read_text("utf-8"))
NOW = 1_800_000_000
URI = "https://mcp.example.com/mcp"
TOKEN = "the.access.token"
NONCES = Nonces(b"k" * 32, URI)
WANTED = ProofFor(method="POST", uri=URI, nonces=NONCES, token=TOKEN)
KEY = ProofKey()


def proof(**changes: Any) -> str:
    usual: dict[str, Any] = {"now": NOW, "token": TOKEN, "nonce": NONCES.current(NOW)}
    return a_proof(KEY, "POST", URI, **(usual | changes))


@pytest.mark.parametrize("name", ["token_request", "resource_request"])
def test_the_examples_lack_nothing_but_our_nonce(name: str) -> None:
    """RFC 9449 §4.1 and §7.1: both proofs hold in everything, so a nonce, looked at last, is all that is asked for."""
    example = EXAMPLES[name]
    nonces = Nonces(b"k" * 32, example["uri"])
    wanted = ProofFor(method=example["method"], uri=example["uri"], nonces=nonces, token=example.get("token"))
    with pytest.raises(ProofNonceNeeded):
        check_proof(example["proof"], wanted, now=example["time"])
    signed, _, signature = example["proof"].rpartition(".")
    changed = f"{signed}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"
    with pytest.raises(ProofRefused) as refused:
        check_proof(changed, wanted, now=example["time"])
    assert refused.value.error == "invalid_dpop_proof"


def test_the_example_token_has_the_examples_digest() -> None:
    """RFC 9449 §7.1: `ath` of the example."""
    assert token_hash(EXAMPLES["resource_request"]["token"]) == "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"


def test_a_good_proof_says_whose_key_it_is_of() -> None:
    """The key's thumbprint names it, whatever name it gives itself; `until` is when the proof goes stale."""
    checked = check_proof(proof(jti="j", header={"jwk": KEY.jwk | {"kid": "mine"}}), WANTED, now=NOW)
    assert (checked.key, checked.jti, checked.until) == (KEY.thumbprint, "j", NOW + 60)


RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
WEAK_RSA = rsa.generate_private_key(public_exponent=65537, key_size=1024)
EDWARDS = Ed25519PrivateKey.generate()


def rsa_jwk(key: rsa.RSAPrivateKey) -> dict[str, Any]:
    numbers = key.public_key().public_numbers()
    n = numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8)
    return {"kty": "RSA", "n": encoded(n), "e": encoded(numbers.e.to_bytes(3))}


ED_JWK = {"kty": "OKP", "crv": "Ed25519", "x": encoded(EDWARDS.public_key().public_bytes_raw())}


@pytest.mark.parametrize(
    ("algorithm", "jwk", "sign"),
    [
        ("Ed25519", ED_JWK, EDWARDS.sign),
        ("RS256", rsa_jwk(RSA), lambda signed: RSA.sign(signed, PKCS1v15(), SHA256())),
        ("PS256", rsa_jwk(RSA), lambda signed: RSA.sign(signed, PSS(MGF1(SHA256()), 32), SHA256())),
    ],
)
def test_what_signs_tokens_signs_proofs(algorithm: str, jwk: dict[str, Any], sign: Any) -> None:
    """Every algorithm that metadata names is taken, and they are those of tokens."""
    made = proof(header={"alg": algorithm, "jwk": jwk}, sign=sign)
    assert len(check_proof(made, WANTED, now=NOW).key) == 43
    assert set(PROOF_ALGORITHMS) == {each.value for each in Algorithm}


WRONG: list[tuple[str, dict[str, Any]]] = [
    ("another type", {"header": {"typ": "JWT"}}),
    ("an access token's type", {"header": {"typ": "at+jwt"}}),
    ("no type", {"header": {"typ": ABSENT}}),
    ("unsigned", {"header": {"alg": "none"}, "sign": lambda _: b""}),
    ("symmetric", {"header": {"alg": "HS256"}, "sign": lambda signed: hmac.digest(b"k", signed, "sha256")}),
    ("another algorithm's name", {"header": {"alg": "es256"}}),
    ("an algorithm of another key type", {"header": {"alg": "RS256"}}),
    ("no key", {"header": {"jwk": ABSENT}}),
    ("a key by name", {"header": {"jwk": ABSENT, "kid": "k"}}),
    ("a key that is a text", {"header": {"jwk": json.dumps(KEY.jwk)}}),
    ("a private key", {"header": {"jwk": KEY.private_jwk}}),
    ("a symmetric key", {"header": {"jwk": {"kty": "oct", "k": "YWJj"}}}),
    ("a key for encryption", {"header": {"jwk": KEY.jwk | {"use": "enc"}}}),
    ("a key of another curve", {"header": {"jwk": KEY.jwk | {"crv": "P-384"}}}),
    ("a point off the curve", {"header": {"jwk": KEY.jwk | {"y": encoded(b"\1" * 32)}}}),
    (
        "a short RSA key",
        {
            "header": {"alg": "RS256", "jwk": rsa_jwk(WEAK_RSA)},
            "sign": lambda signed: WEAK_RSA.sign(signed, PKCS1v15(), SHA256()),
        },
    ),
    ("another key's signature", {"sign": ProofKey().sign}),
    ("a signature of zeros", {"sign": lambda _: bytes(64)}),
    ("a key from elsewhere", {"header": {"jku": "https://evil.example/keys"}}),
    ("a critical extension", {"header": {"crit": ["x"], "x": 1}}),
    ("no id", {"jti": ABSENT}),
    ("an empty id", {"jti": ""}),
    ("an id that is no text", {"jti": 7}),
    ("a long id", {"jti": "j" * 257}),
    ("another method", {"htm": "GET"}),
    ("the method in small letters", {"htm": "post"}),
    ("no method", {"htm": ABSENT}),
    ("another path", {"htu": URI + "x"}),
    ("a path below", {"htu": URI + "/"}),
    ("another port", {"htu": "https://mcp.example.com:8443/mcp"}),
    ("another scheme", {"htu": "http://mcp.example.com/mcp"}),
    ("a path in capitals", {"htu": "https://mcp.example.com/MCP"}),
    ("a user's name in front", {"htu": "https://a@mcp.example.com/mcp"}),
    ("no URI", {"htu": ABSENT}),
    ("a list of URIs", {"htu": [URI]}),
    ("a relative URI", {"htu": "/mcp"}),
    ("another token's digest", {"token": "another.access.token"}),
    ("no digest of the token", {"token": None}),
    ("a digest that is no text", {"ath": 7}),
    ("too old", {"iat": NOW - 61}),
    ("made ahead", {"iat": NOW + 61}),
    ("a time that is a text", {"iat": str(NOW)}),
    ("a time with a fraction", {"iat": NOW + 0.5}),
    ("no time", {"iat": ABSENT}),
]


@pytest.mark.parametrize(("changes"), [changes for _, changes in WRONG], ids=[name for name, _ in WRONG])
def test_a_proof_with_one_thing_wrong_is_refused(changes: dict[str, Any]) -> None:
    """RFC 9449 §4.3: each check refuses by itself, and none of it is taken for a missing nonce."""
    with pytest.raises(ProofRefused) as refused:
        check_proof(proof(**changes), WANTED, now=NOW)
    assert (refused.value.error, refused.value.reason) == ("invalid_dpop_proof", "sender.mismatch")


@pytest.mark.parametrize("ago", [-60, 0, 60])
def test_a_proof_counts_for_a_minute_either_way(ago: int) -> None:
    """RFC 9449 §11.1: clocks may differ by as much as a proof may be old."""
    assert check_proof(proof(iat=NOW - ago), WANTED, now=NOW).until == NOW - ago + 60


@pytest.mark.parametrize(
    "nonce",
    [
        None,
        "",
        "x",
        7,
        Nonces(b"k" * 32, "https://auth.example.com/token").current(NOW),
        Nonces(b"j" * 32, URI).current(NOW),
        NONCES.current(NOW - 180),
        NONCES.current(NOW + 120),
    ],
)
def test_a_nonce_is_of_this_server_and_lately(nonce: Any) -> None:
    """RFC 9449 §8, §9: none, one of another server or key, or an old one: another is asked for, with its own error."""
    with pytest.raises(ProofNonceNeeded) as refused:
        check_proof(proof(nonce=nonce), WANTED, now=NOW)
    assert refused.value.error == "use_dpop_nonce"


@pytest.mark.parametrize("given_at", [NOW - 120, NOW - 60, NOW, NOW + 60])
def test_a_nonce_is_taken_for_two_minutes(given_at: int) -> None:
    """A nonce is good after the next one is given, and from a replica whose clock is a little ahead."""
    assert check_proof(proof(nonce=NONCES.current(given_at)), WANTED, now=NOW).key == KEY.thumbprint


@pytest.mark.parametrize(
    ("said", "configured"),
    [
        ("https://mcp.example.com/mcp?x=1", URI),
        ("https://mcp.example.com/mcp#x", URI),
        ("HTTPS://MCP.Example.COM:443/mcp", URI),
        ("https://mcp.example.com/%6dcp", URI),
        ("https://mcp.example.com/a/../mcp", URI),
        ("https://mcp.example.com/./mcp", URI),
        ("https://mcp.example.com", "https://mcp.example.com/"),
        ("http://[::1]:80/x", "http://[::1]/x"),
        ("https://mcp.example.com/a%2fb", "https://mcp.example.com/a%2Fb"),
        ("https://mcp.example.com/mcp", "https://mcp.example.com/mcp?tenant=a"),
    ],
)
def test_one_uri_has_several_spellings(said: str, configured: str) -> None:
    """RFC 9449 §4.3: normalised by syntax and scheme; query and fragment are passed over."""
    assert normalise_uri(said) == normalise_uri(configured) is not None


@pytest.mark.parametrize(
    "text", ["", "mcp", "ftp://a/b", "https://", "https:///x", "https://a b/c", "https://a/" + "x" * 2048]
)
def test_what_is_no_web_address_equals_nothing(text: str) -> None:
    """Not even itself: nothing that is configured is of this form."""
    assert normalise_uri(text) is None


@pytest.mark.parametrize("count", [0, 2, 3])
def test_a_request_has_exactly_one_proof(count: int) -> None:
    """RFC 9449 §4.3: no header, or more than one, is refused, also where they are alike."""
    headers = tuple((name, proof()) for name in ("DPoP", "dpop", "Dpop")[:count])
    with pytest.raises(ProofRefused):
        single_proof(headers)


def test_a_proof_has_a_bound() -> None:
    """8 KiB are read; one more is refused before anything is parsed."""
    assert single_proof((("dpop", "a" * 8192),)) == "a" * 8192
    with pytest.raises(ProofRefused):
        single_proof((("dpop", "a" * 8193),))


@settings(max_examples=60, deadline=None)
@given(st.one_of(st.text(), st.lists(st.binary(max_size=40), min_size=3, max_size=3)))
def test_whatever_comes_is_refused(made: str | list[bytes]) -> None:
    """No text, and no three parts of whatever octets, are a proof, and none of them breaks anything."""
    raw = made if isinstance(made, str) else ".".join(encoded(each) for each in made)
    with pytest.raises(ProofRefused):
        check_proof(raw, WANTED, now=NOW)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["jti", "htm", "htu", "iat", "ath", "nonce"]), _JSON)
def test_no_other_value_of_a_claim_passes_by_accident(claim: str, value: Any) -> None:
    """A signed proof with any other value is refused, but for another `jti`, which is the client's choice, or time."""
    try:
        checked = check_proof(proof(**{claim: value}), WANTED, now=NOW)
    except ProofRefused:
        return
    assert claim in ("jti", "iat")
    assert isinstance(checked.jti, str)
    assert checked.jti
    assert NOW <= checked.until <= NOW + 120


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from(["kty", "crv", "x", "y", "n", "e", "d", "use", "alg", "key_ops"]), _JSON))
def test_no_odd_key_breaks_anything(members: dict[str, Any]) -> None:
    """Whatever stands in `jwk`, the answer is a refusal, unless it is the very key that signed."""
    try:
        checked = check_proof(proof(header={"jwk": KEY.jwk | members}), WANTED, now=NOW)
    except ProofRefused:
        return
    assert checked.key == KEY.thumbprint
