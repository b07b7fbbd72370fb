"""The database, as the authorization server asks for it. Apart from the issuer: who only reads loads no pages."""

from __future__ import annotations

from dataclasses import dataclass

from perhop.authorization_server.people_store import Consents, FederatedAccounts
from perhop.authorization_server.refresh_families import RefreshTokens
from perhop.authorization_server.store import (
    Accounts,
    Assertions,
    AuthorizationCodes,
    Lineage,
    RevocationRows,
    SignIns,
    TokenRecords,
)
from perhop.tokens.possession import ProofMemory


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """The database, by what is asked of it."""

    token_records: TokenRecords
    lineage: Lineage
    codes: AuthorizationCodes
    refresh_tokens: RefreshTokens
    assertions: Assertions
    proofs: ProofMemory
    accounts: Accounts
    federated_accounts: FederatedAccounts
    sign_ins: SignIns
    consents: Consents
    revocation_rows: RevocationRows
