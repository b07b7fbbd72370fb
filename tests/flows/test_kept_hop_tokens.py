"""Hop tokens are handed out again only to the very same caller, while they last, and never after a revocation."""

from __future__ import annotations

from perhop.authorization_server.drafts import Child, child_of
from perhop.authorization_server.kept_hop_tokens import MAX_KEPT, MIN_LEFT_SECONDS, HopKey, KeptHopTokens
from perhop.core.secret import Secret
from perhop.core.token import HopToken, MintedToken, SenderKey, TokenDraft, VerifiedToken
from perhop.rules.resource_uri import parse_resource_uri
from tests.support.forge import ISSUER, NOW
from tests.support.policies import a_resource

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


def _child() -> Child:
    parent = VerifiedToken(
        issuer=ISSUER,
        jti="parent",
        subject="user:ann",
        client_id="trip-planner",
        audience="https://calendar.example.com/mcp",
        scopes=frozenset({"calendar:read"}),
        issued_at=NOW,
        expires_at=NOW + 300,
        agent="trip-planner",
        fingerprint="f",
    )
    return child_of(
        parent,
        presenter="gateway:calendar",
        audience=UPSTREAM,
        resource=a_resource("calendar"),
        scopes=frozenset({"calendar:read"}),
    )


def test_a_kept_token_is_good_while_it_lasts() -> None:
    """The second call gets the first call's token, until too little of it is left."""
    kept = KeptHopTokens().keep(_key(), _child())
    assert kept.good_token(now=NOW) is None
    kept.token = _token("first", NOW + 60)
    last_moment = NOW + 60 - MIN_LEFT_SECONDS
    assert kept.good_token(now=last_moment) is kept.token
    assert kept.good_token(now=last_moment + 1) is None


def test_everything_that_went_into_a_token_is_in_its_key() -> None:
    """Another caller's token, presenter, key, policy, configuration, scopes, sender or tenant is another hop token."""
    kept = KeptHopTokens()
    first = kept.keep(_key(), _child())
    assert kept.find(_key()) is first
    for name in ("fingerprint", "presenter", "signing_key", "policy_version", "configuration_version"):
        assert kept.find(_key(**{name: "other"})) is None, name
    assert kept.find(_key()._replace(scopes=frozenset())) is None
    assert kept.find(_key()._replace(sender=SenderKey("thumbprint"))) is None
    assert kept.find(_key()._replace(tenant="globex")) is None


def test_memory_is_bounded() -> None:
    """Beyond the bound the least recently used is forgotten."""
    kept, child = KeptHopTokens(), _child()
    for number in range(MAX_KEPT):
        kept.keep(_key(fingerprint=str(number)), child)
    kept.find(_key(fingerprint="0"))
    kept.keep(_key(fingerprint="one more"), child)
    assert kept.find(_key(fingerprint="1")) is None
    assert kept.find(_key(fingerprint="0")) is not None
