"""Tokens whose signature, key or form is not what a verifier may believe."""

from __future__ import annotations

import asyncio
import base64
import json
from functools import partial
from typing import Any

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from perhop.rules import base64url
from perhop.tokens.keys import Algorithm, SigningKey
from tests.attacks.row import Door, Seen
from tests.attacks.tries import BOTH, Target, bearer, refused, tried_at
from tests.attacks.world import ARGUMENT, World, a_call, with_token
from tests.support.forge import (
    as_json,
    assemble,
    good_header,
    hmac_signed,
    public_key_texts,
    replace_signature,
    sign,
    signature_of,
    unsigned,
)

MALFORMED, SIGNATURE = refused("token.malformed"), refused("token.signature")


def _spellings(target: Target) -> dict[str, str]:
    names = (
        "nOnE",
        "NONE",
        "None",
        "es256",
        "hs256",
        "ES256 ",
        "ES384",
        "RS256",
        "PS256",
        "Ed25519",
        "EdDSA",
        "A128GCM",
        "",
    )
    return {name: target.headed(alg=name) for name in names}


def _odd_algorithms(target: Target) -> dict[str, str]:
    odd: dict[str, Any] = {"array": ["ES256"], "number": 1, "null": None, "object": {"alg": "ES256"}, "true": True}
    return {name: target.headed(alg=value) for name, value in odd.items()}


def _public_key_as_secret(target: Target) -> dict[str, str]:
    texts = public_key_texts(target.key).items()
    return {
        f"{name} {alg}": hmac_signed(target.claims(), target.key, secret, alg=alg)
        for name, secret in texts
        for alg in ("HS256", "HS512", "ES256")
    }


def _key_in_header(target: Target) -> dict[str, str]:
    jwk = target.attacker.public().as_jwk()
    own = sign(target.claims(), target.attacker, jwk=jwk)
    return {
        "under it": own,
        "under ours": target.headed(jwk=jwk),
        "our kid": sign(target.claims(), target.attacker, jwk=jwk, kid=target.key.kid),
    }


async def _pointing(door: Door, world: World) -> dict[str, Seen]:
    """Tokens that name a URL of the attacker's, where somebody listens."""
    visits: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visits.append(await reader.read(1))
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    url = "http://{}:{}/jwks".format(*server.sockets[0].getsockname())
    entrance, sights = world.entrance(door), {}
    headers: dict[str, Any] = {"jku": url, "x5u": url, "x5c": [url], "jku and kid": url}
    for name, value in headers.items():
        header = {"jku": value, "kid": world.attacker.kid} if name == "jku and kid" else {name: value}
        token = sign(world.claims(entrance.audience), world.attacker, **header)
        sights[name] = await world.knock(entrance, with_token(a_call("list_events", {"day": ARGUMENT}), token))
    server.close()
    await server.wait_closed()
    assert visits == []
    return sights


def _text_key_ids(target: Target) -> dict[str, str]:
    kids = (
        "../../etc/passwd",
        "' OR '1'='1",
        "https://evil.example/key",
        "/dev/null",
        "x" * 128,
        target.attacker.kid,
        target.key.kid + " ",
        target.key.kid.swapcase(),
    )
    return {kid[:30]: sign(target.claims(), target.attacker, kid=kid) for kid in kids} | {
        "absent": _without_kid(target)
    }


def _without_kid(target: Target) -> str:
    header = good_header(target.key)
    del header["kid"]
    return assemble(as_json(header), as_json(target.claims()), target.key.sign)


def _odd_key_ids(target: Target) -> dict[str, str]:
    odd: dict[str, Any] = {
        "NUL": "a\0b",
        "long": "x" * 4000,
        "array": [target.key.kid],
        "number": 1,
        "empty": "",
        "null": None,
        "line end": "a\nb",
        "non-ASCII": "ключ",
    }
    return {name: target.headed(kid=kid) for name, kid in odd.items()}


def _key_of_another_kind(target: Target) -> dict[str, str]:
    retired, claims = target.world.retired, target.claims()
    return {
        "ES256 under the name of an Edwards key": sign(claims, target.key, kid=retired.kid),
        "Ed25519 under the name of a P-256 key": sign(claims, retired, kid=target.key.kid),
        "the other's algorithm": sign(claims, retired, alg=Algorithm.ES256.value),
        "EdDSA": sign(claims, retired, alg="EdDSA"),
    }


def _key_of_another_issuer(target: Target) -> dict[str, str]:
    other = target.world.other
    return {
        "their key under its name": sign(target.claims(), other.key),
        "their key under our name": sign(target.claims(), other.key, kid=target.key.kid),
    }


def _critical(target: Target) -> dict[str, str]:
    return {
        "unknown": target.headed(crit=["x-evil"], **{"x-evil": 1}),
        "empty": target.headed(crit=[]),
        "registered": target.headed(crit=["alg"]),
        "unencoded payload": target.headed(crit=["b64"], b64=False),
        "not a list": target.headed(crit="exp"),
    }


def _other_base64(target: Target) -> dict[str, Any]:
    token = target.claiming()
    header, payload, signature = token.split(".")
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    spare = signature[:-1] + last[last.index(signature[-1]) + 1]
    standard = base64.b64encode(signature_of(_with_standard_alphabet(target))).decode().rstrip("=")
    return {
        "padding": f"{token}==",
        "padding inside": f"{header}=.{payload}.{signature}",
        "spare bits": f"{header}.{payload}.{spare}",
        "standard alphabet": f"{_with_standard_alphabet(target).rpartition('.')[0]}.{standard}",
        "white space": f"{header}.{payload}. {signature}",
        "four parts": f"{token}.",
        "two parts": f"{header}.{payload}",
        "an empty part": f"{header}..{signature}",
    }


def _with_standard_alphabet(target: Target) -> str:
    """A good token in whose signature the two alphabets differ."""
    while True:
        token = target.claiming()
        if set("-_") & set(token.rpartition(".")[2]):
            return token


def _json_serialization(target: Target) -> dict[str, str]:
    header, payload, signature = target.claiming().split(".")
    flat = {"protected": header, "payload": payload, "signature": signature}
    general = {"payload": payload, "signatures": [{"protected": header, "signature": signature}]}
    return {
        "flattened": json.dumps(flat),
        "general": json.dumps(general),
        "encoded": base64url.encode(json.dumps(flat).encode()),
    }


def _encrypted(target: Target) -> dict[str, str]:
    nested = base64url.encode(target.claiming().encode())

    def jwe(header: dict[str, Any]) -> str:
        return f"{base64url.encode(as_json(header))}.AAAA.AAAA.{nested}.AAAA"

    return {
        "direct": jwe({"alg": "dir", "enc": "A128GCM"}),
        "zipped": jwe({"alg": "dir", "enc": "A128GCM", "zip": "DEF"}),
        "costly": jwe({"alg": "PBES2-HS256+A128KW", "enc": "A128GCM", "p2c": 2**31, "p2s": "AAAA"}),
        "signed, with `zip`": target.headed(zip="DEF"),
        "signed, with `enc`": target.headed(enc="A128GCM"),
    }


def _odd_signatures(target: Target) -> dict[str, str]:
    token = target.claiming()
    raw = signature_of(token)
    r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    odd = {
        "DER": encode_dss_signature(r, s),
        "zero": bytes(64),
        "r and s of one": bytes(31) + b"\1" + bytes(31) + b"\1",
        "overlong": bytes(1) + raw[:32] + bytes(1) + raw[32:],
        "with a tail": raw + bytes(1),
        "cut": raw[:-1],
        "beyond the order": (order + 1).to_bytes(32, "big") + raw[32:],
        "another's": signature_of(target.claiming()),
        "empty": b"",
    }
    return {name: replace_signature(token, signature) for name, signature in odd.items()}


def _too_long(target: Target) -> dict[str, str]:
    return {"9 KiB": target.claiming(filler="x" * 9000), "8 KiB and one": _of_length(target, 8193)}


def _of_length(target: Target, length: int) -> str:
    """A good token of just this length: its claims grow until it fits."""
    claims = target.claims(filler="")
    for size in range(length):
        token = sign(claims | {"filler": "x" * ((length - 800) * 3 // 4 + size)}, target.key)
        if len(token) >= length:
            return token
    raise AssertionError("no filler is long enough")


def _costly_json(target: Target) -> dict[str, str]:
    claims = as_json(target.claims())[:-1]
    inside = {
        "deep": b',"x":' + b"[" * 2500 + b"]" * 2500,
        "deep header": b"",
        "digits": b',"x":' + b"9" * 5000,
        "keys": b"".join(b',"%d":0' % number for number in range(1001)),
        "exponent": b',"x":1e400',
    }
    tokens = {name: sign(claims + more + b"}", target.key) for name, more in inside.items()}
    header = as_json(good_header(target.key))[:-1] + b',"x":' + b"[" * 2500 + b"]" * 2500 + b"}"
    return tokens | {"deep header": assemble(header, claims + b"}", target.key.sign)}


def _duplicates(target: Target) -> dict[str, str]:
    claims, header = as_json(target.claims()), as_json(good_header(target.key))
    foreign = b'{"aud":"https://other.example.com/mcp",'
    return {
        "aud, ours last": sign(foreign + claims[1:], target.key),
        "aud, ours first": sign(claims[:-1] + b",%s}" % foreign[1:-1], target.key),
        "escaped name": sign(claims[:-1] + b',"\\u0061ud":"https://other.example.com/mcp"}', target.key),
        "alg in the header": assemble(b'{"alg":"none",' + header[1:], claims, target.key.sign),
        "kid in the header": assemble(header[:-1] + b',"kid":"x"}', claims, target.key.sign),
    }


def _odd_text(target: Target) -> dict[str, str]:
    claims, header = as_json(target.claims()), as_json(good_header(target.key))
    good = claims.decode()
    return {
        "BOM": sign(b"\xef\xbb\xbf" + claims, target.key),
        "BOM in the header": assemble(b"\xef\xbb\xbf" + header, claims, target.key.sign),
        "UTF-16": sign(good.encode("utf-16"), target.key),
        "UTF-16 without BOM": sign(good.encode("utf-16-le"), target.key),
        "overlong": sign(claims[:-1] + b',"x":"\xc0\xaf"}', target.key),
        "lone surrogate": sign(claims[:-1] + b',"x":"\\ud800"}', target.key),
        "encoded surrogate": sign(claims[:-1] + b',"x":"\xed\xa0\x80"}', target.key),
        "NaN": sign(claims[:-1] + b',"x":NaN}', target.key),
        "trailing bytes": sign(claims + b"{}", target.key),
        "not an object": sign(b"[%s]" % claims, target.key),
        "empty": sign(b"", target.key),
    }


def _tampered_after_a_good_one(door: Door) -> Any:
    async def attempt(world: World) -> dict[str, Seen]:
        entrance = world.entrance(door)
        call = a_call("list_events", {"day": ARGUMENT})
        claims = world.claims(entrance.audience, scope="calendar:read")
        good = sign(claims, world.key)
        assert (await world.knock(entrance, with_token(call, good))).passed == 1
        wider = sign(claims | {"scope": "calendar:read calendar:write"}, world.attacker, kid=world.key.kid)
        signed = good.rpartition(".")[0]
        changed = {
            "another signature": f"{signed}.{wider.rpartition('.')[2]}",
            "other claims": f"{wider.rpartition('.')[0]}.{good.rpartition('.')[2]}",
            "the last character": replace_signature(
                good, signature_of(good)[:-1] + bytes([signature_of(good)[-1] ^ 1])
            ),
        }
        return {name: await world.knock(entrance, with_token(call, each)) for name, each in changed.items()}

    return attempt


def _attacker_signs(target: Target) -> dict[str, str]:
    keys = {each.value: SigningKey.generate(each) for each in (Algorithm.ES256, Algorithm.ED25519, Algorithm.RS256)}
    return {name: sign(target.claims(), key) for name, key in keys.items()}


ROWS = (
    bearer(
        "unsigned-token",
        "`alg: none` and an empty signature",
        "RFC 8725 §3.1; CVE-2026-28802",
        lambda t: {"none": unsigned(t.claims(), t.key), "none, with a signature": t.headed(alg="none")},
        SIGNATURE,
    ),
    bearer(
        "algorithm-in-another-spelling",
        "an algorithm that is not ours, or is not written as it is",
        "RFC 8725 §3.1",
        _spellings,
        SIGNATURE,
    ),
    bearer(
        "algorithm-that-is-no-text", "`alg` as an array, a number or null", "RFC 8725 §3.1", _odd_algorithms, MALFORMED
    ),
    bearer(
        "public-key-as-hmac-secret",
        "an HMAC under the text of our public key",
        "RFC 8725 §2.1; CVE-2024-33663; CVE-2026-11800",
        _public_key_as_secret,
        SIGNATURE,
    ),
    bearer("strangers-key", "a token under a key of the attacker's own", "RFC 9068 §4", _attacker_signs, SIGNATURE),
    bearer(
        "key-in-the-header",
        "`jwk` with the attacker's key",
        "RFC 8725 §3.10; CVE-2026-27962",
        _key_in_header,
        MALFORMED,
    ),
    tried_at(
        "key-behind-a-url",
        "`jku`, `x5u` or `x5c` that lead to the attacker, where nobody ever comes",
        "RFC 8725 §3.10",
        {door: (partial(_pointing, door), MALFORMED) for door in BOTH},
    ),
    bearer(
        "key-id-as-injection",
        "`kid` as a path, a query, a URL, or another case of ours",
        "RFC 8725 §3.10",
        _text_key_ids,
        SIGNATURE,
    ),
    bearer(
        "key-id-that-is-no-text",
        "`kid` with control characters, too long, or no text at all",
        "RFC 8725 §3.10",
        _odd_key_ids,
        MALFORMED,
    ),
    bearer(
        "key-of-another-kind",
        "the name of one key over the signature of another of ours",
        "RFC 8725 §3.1; CVE-2026-48523",
        _key_of_another_kind,
        SIGNATURE,
    ),
    bearer(
        "key-of-another-issuer",
        "a key that is good for another issuer",
        "RFC 8725 §3.8; CVE-2026-1486",
        _key_of_another_issuer,
        SIGNATURE,
    ),
    bearer(
        "critical-header",
        "`crit`, whatever it names, and `b64`",
        "RFC 7515 §4.1.11; CVE-2025-59420; CVE-2026-48525",
        _critical,
        MALFORMED,
    ),
    bearer(
        "other-base64",
        "the same token in other letters: padding, spare bits, another alphabet",
        "RFC 7515 §2; Wycheproof",
        _other_base64,
        MALFORMED,
    ),
    bearer(
        "json-serialization", "a JWS in JSON instead of three parts", "RFC 8725 §2.4", _json_serialization, MALFORMED
    ),
    bearer(
        "encrypted-token",
        "a JWE, also one that is costly to open, and headers of one",
        "RFC 8725 §2.4; CVE-2026-27932; CVE-2024-28102",
        _encrypted,
        MALFORMED,
    ),
    bearer(
        "odd-signature",
        "a signature in DER, of zeros, overlong, cut, or another token's",
        "RFC 7518 §3.4; Wycheproof",
        _odd_signatures,
        SIGNATURE,
    ),
    bearer("oversized-token", "a token of more than 8 KiB", "RFC 8725 §3.11", _too_long, MALFORMED),
    bearer(
        "costly-json",
        "claims that nest thousands deep, or numbers of thousands of digits",
        "RFC 8259 §9",
        _costly_json,
        MALFORMED,
    ),
    bearer("duplicate-member", "`aud`, `alg` or `kid` twice", "RFC 7519 §4; RFC 7515 §4", _duplicates, MALFORMED),
    bearer(
        "odd-text",
        "a byte order mark, UTF-16, overlong UTF-8, a lone surrogate, NaN",
        "RFC 8725 §3.7",
        _odd_text,
        MALFORMED,
    ),
    tried_at(
        "tampered-after-a-good-one",
        "a token that begins like one that was just accepted",
        "CVE-2026-35030",
        {door: (_tampered_after_a_good_one(door), SIGNATURE) for door in BOTH},
    ),
)
