"""The token that the check of the revocation bound gets, only to take it back: real in everything, and good nowhere.

Its audience is a canary, it has no scope, and it is nobody's: no client can have the name under which it is issued, so
that neither exchange nor gateway would take it for anything, and no agent's records are mixed with it.
"""

from __future__ import annotations

from perhop.authorization_server.canary import new_canary
from perhop.authorization_server.issue import issue_canary
from perhop.authorization_server.issuer import Issuer
from perhop.authorization_server.revocation import Revoked, RevokedObject
from perhop.core.token import MintedToken, TokenDraft
from perhop.rules.delegation import GATEWAY_PREFIX
from perhop.rules.lifetime import HOP_LIFETIME

BY = "revocation_check"
"""Who asked for it, in both its records: so no count and no investigation takes it for anybody's deed."""

CANARY_CLIENT = f"{GATEWAY_PREFIX}-revocation-check"
"""The prefix is no client's, and no resource's name begins like this: so it is no gateway's either."""


async def issue_revocation_canary(issuer: Issuer) -> MintedToken:
    """A token that is good nowhere, for a minute.

    Raises: StorageUnavailable, JournalUnavailable
    """
    now = issuer.now()
    draft = TokenDraft(
        issuer=issuer.url,
        jti=issuer.new_token_id(),
        subject=CANARY_CLIENT,
        client_id=CANARY_CLIENT,
        audience=new_canary(issuer),
        scopes=frozenset(),
        issued_at=now,
        expires_at=now + HOP_LIFETIME,
        txn=issuer.new_token_id(),
    )
    return await issue_canary(draft, issuer, about={"by": BY})


async def revoke_revocation_canary(canary: MintedToken, issuer: Issuer) -> Revoked:
    """Take it back, as an operator takes back a token.

    Raises: StorageUnavailable, JournalUnavailable
    """
    why = "to see how long it takes"
    return await issuer.revoker.revoke(RevokedObject.TOKEN, canary.draft.jti, why=why, by=BY)
