"""Hop tokens are handed out again only to the very same caller, while they last, and never after a revocation."""

from __future__ import annotations

from perhop.authorization_server.kept_hop_tokens import MAX_KEPT, MIN_LEFT_SECONDS, HopKey, KeptHopTokens
from perhop.core.secret import Secret
from perhop.core.token import HopToken, MintedToken, TokenDraft
from perhop.rules.resource_uri import parse_resource_uri
from tests.support.forge import ISSUER, NOW

UPSTREAM = parse_resource_uri("https://upstream.example.com/mcp")


def _token(name: str, expires_at: int) -> HopToken:
    draft = TokenDraft(
        issuer=ISSUER,
        jti=name,
        subject="user:ann",
        client_id="gateway:calendar",
        audience=UPSTREAM,
        scopes=frozenset({"calendar:read"}),
        issued_at=NOW,
        expires_at=expires_at,
        txn="txn-1",
    )
    return HopToken(MintedToken(Secret(name), draft))


def _key(**changes: str) -> HopKey:
    members = {
        "fingerprint": "f",
        "presenter": "gateway:calendar",
        "signing_key": "k",
        "policy_version": "p",
        "configuration_version": "c",
        **changes,
    }
    return HopKey(audience=UPSTREAM, scopes=frozenset({"calendar:read"}), **members)


def test_the_same_caller_gets_the_same_token_while_it_lasts() -> None:
    """The second call gets the first call's token, until too little of it is left."""
    kept = KeptHopTokens()
    first = kept.get_or_make(_key(), lambda: _token("first", NOW + 60), now=NOW)
    last_moment = NOW + 60 - MIN_LEFT_SECONDS
    assert kept.get_or_make(_key(), lambda: _token("second", NOW + 90), now=last_moment) is first
    assert kept.get_or_make(_key(), lambda: _token("third", NOW + 120), now=last_moment + 1).jti == "third"


def test_everything_that_went_into_a_token_is_in_its_key() -> None:
    """Another caller's token, presenter, key, policy or configuration is another hop token."""
    kept = KeptHopTokens()
    kept.get_or_make(_key(), lambda: _token("first", NOW + 60), now=NOW)
    for name in ("fingerprint", "presenter", "signing_key", "policy_version", "configuration_version"):
        other = kept.get_or_make(_key(**{name: "other"}), lambda: _token("other", NOW + 60), now=NOW)
        assert other.jti == "other", name
    narrower = HopKey("f", "gateway:calendar", UPSTREAM, frozenset(), "k", "p", "c")
    assert kept.get_or_make(narrower, lambda: _token("narrower", NOW + 60), now=NOW).jti == "narrower"


def test_memory_is_bounded() -> None:
    """Beyond the bound the least recently used token is forgotten."""
    kept = KeptHopTokens()
    token = _token("any", NOW + 60)
    for number in range(MAX_KEPT + 1):
        kept.get_or_make(_key(fingerprint=str(number)), lambda: token, now=NOW)
    anew = kept.get_or_make(_key(fingerprint="0"), lambda: _token("anew", NOW + 60), now=NOW)
    assert anew.jti == "anew"
