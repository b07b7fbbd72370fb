"""Minting: what the draft says is what a verifier reads."""

from __future__ import annotations

from dataclasses import replace

import pytest

from perhop.core.actor import Actor
from perhop.core.token import TokenDraft
from perhop.errors import TokenRequestMalformed
from perhop.tokens.keys import Algorithm, SigningKey
from perhop.tokens.mint import mint
from perhop.tokens.parse import parse_compact
from perhop.tokens.verify import Leeway, verify
from tests.support.forge import ISSUER, NOW, RESOURCE

KEY = SigningKey.generate()
FIRST = TokenDraft(
    issuer=ISSUER,
    jti="token-1",
    subject="user:ann",
    client_id="trip-planner",
    audience=RESOURCE,
    scopes=frozenset({"b", "a"}),
    issued_at=NOW,
    expires_at=NOW + 300,
    txn="txn-1",
)
CHILD = replace(
    FIRST,
    jti="token-2",
    client_id="calendar-server",
    hop=3,
    agent="trip-planner",
    actor=Actor("calendar-server", Actor("gateway:calendar", Actor("trip-planner"))),
    tenant="acme",
    task="task-1",
    parent_jti="token-1",
)


def test_first_token_has_exactly_these_claims() -> None:
    """A first token names one audience and no actor, and its agent is its client."""
    jws = parse_compact(mint(FIRST, KEY).raw.reveal())
    assert jws.header == {"alg": "ES256", "kid": KEY.kid, "typ": "at+jwt"}
    assert jws.payload == {
        "iss": ISSUER,
        "sub": "user:ann",
        "client_id": "trip-planner",
        "aud": "https://mcp.example.com/mcp",
        "iat": NOW,
        "exp": NOW + 300,
        "jti": "token-1",
        "scope": "a b",
        "txn": "txn-1",
        "hop": 1,
    }


def test_child_carries_its_chain() -> None:
    """A child's actors, agent, tenant and task stand in its claims; its parent does not."""
    payload = parse_compact(mint(CHILD, KEY).raw.reveal()).payload
    assert payload["act"] == {
        "sub": "calendar-server",
        "act": {"sub": "gateway:calendar", "act": {"sub": "trip-planner"}},
    }
    assert (payload["agent"], payload["tenant"], payload["hop"]) == ("trip-planner", "acme", 3)
    assert payload["authorization_details"] == [{"type": "agent_task", "id": "task-1"}]
    assert "token-1" not in payload.values()


@pytest.mark.parametrize("algorithm", [Algorithm.ES256, Algorithm.ED25519, Algorithm.RS256])
@pytest.mark.parametrize("draft", [FIRST, CHILD], ids=["first", "child"])
def test_verifier_reads_what_was_drafted(draft: TokenDraft, algorithm: Algorithm) -> None:
    """Every claim survives signing and verifying, under each algorithm that we sign with."""
    key = SigningKey.generate(algorithm)
    minted = mint(draft, key)
    token = verify(minted.raw.reveal(), keys={ISSUER: {key.kid: key.public()}}, now=NOW, leeway=Leeway.NONE)
    assert minted.draft == draft
    assert (token.issuer, token.jti, token.subject, token.client_id) == (
        draft.issuer,
        draft.jti,
        draft.subject,
        draft.client_id,
    )
    assert (token.audience, token.scopes, token.actor) == (draft.audience, draft.scopes, draft.actor)
    assert (token.issued_at, token.expires_at, token.hop) == (draft.issued_at, draft.expires_at, draft.hop)
    assert (token.agent, token.txn, token.tenant) == ("trip-planner", draft.txn, draft.tenant)
    assert token.task == draft.task


@pytest.mark.parametrize("lifetime", [0, -1, 901])
def test_no_token_that_every_verifier_would_refuse(lifetime: int) -> None:
    """A draft of no or too long a lifetime is a mistake of ours and is not signed."""
    with pytest.raises(ValueError, match="lifetime"):
        mint(replace(FIRST, expires_at=NOW + lifetime), KEY)


def test_no_token_that_is_too_long_to_be_read() -> None:
    """A token that would not fit is refused, not issued and then turned away everywhere."""
    with pytest.raises(TokenRequestMalformed):
        mint(replace(FIRST, scopes=frozenset({"x" * 6000})), KEY)


def test_minted_token_is_not_printed() -> None:
    """`repr` of a minted token shows its draft and a fingerprint, not the token."""
    minted = mint(FIRST, KEY)
    assert minted.raw.reveal() not in repr(minted)
    assert "Secret(sha256:" in repr(minted)
