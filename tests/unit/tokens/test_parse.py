"""The front parser: a token has one form, and every other is refused before a key is touched."""

from __future__ import annotations

import json
from typing import Any

import pytest

from perhop.errors import TokenMalformed
from perhop.tokens.keys import SigningKey
from perhop.tokens.parse import parse_compact
from tests.support.forge import ABSENT, NOW, RESOURCE, as_json, assemble, good_claims, good_header, sign
from tests.support.verifier import KEY, check, refuse


@pytest.mark.parametrize("alg", [["ES256"], 1, None, True, {"alg": "ES256"}, ABSENT])
def test_algorithm_is_a_text(alg: object) -> None:
    """An `alg` of another type, or none at all, is malformed."""
    refuse(sign(good_claims(), KEY, alg=alg), TokenMalformed)


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
    with pytest.raises(TokenMalformed, match="longer"):
        parse_compact(raw)
