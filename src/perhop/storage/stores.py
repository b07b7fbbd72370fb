"""Every store of one open database, for wiring."""

from __future__ import annotations

from dataclasses import dataclass

from perhop.authorization_server import stores
from perhop.authorization_server.epoch import Epochs
from perhop.authorization_server.newcomers.rows import NewcomerRows
from perhop.authorization_server.store import KeyStates, Standings, TaskRows
from perhop.gateway.approvals import ApprovalRows
from perhop.gateway.tool_pins import ToolPinRows
from perhop.policy.versions import PolicyVersionRows
from perhop.storage.accounts import SqlAccounts
from perhop.storage.approvals import SqlApprovalRows
from perhop.storage.assertions import SqlAssertions
from perhop.storage.authorization_codes import SqlAuthorizationCodes
from perhop.storage.consents import SqlConsents
from perhop.storage.engine import Database
from perhop.storage.epochs import SqlEpochs
from perhop.storage.federated_accounts import SqlFederatedAccounts
from perhop.storage.key_states import SqlKeyStates
from perhop.storage.lineage import Journaled, SqlLineage
from perhop.storage.newcomers import SqlNewcomers
from perhop.storage.policy_versions import SqlPolicyVersions
from perhop.storage.proofs import SqlProofs
from perhop.storage.refresh_families import SqlRefreshTokens
from perhop.storage.revocations import SqlRevocationRows
from perhop.storage.sign_ins import SqlSignIns
from perhop.storage.standings import SqlStandings
from perhop.storage.tasks import SqlTaskRows
from perhop.storage.token_records import SqlTokenRecords
from perhop.storage.tool_pins import SqlToolPins


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores(stores.Stores):
    """What the issuer asks of the database, and what wiring and the commands ask besides."""

    standings: Standings
    key_states: KeyStates
    tool_pins: ToolPinRows
    policy_versions: PolicyVersionRows
    task_rows: TaskRows
    approval_rows: ApprovalRows
    epochs: Epochs
    newcomer_rows: NewcomerRows


def open_stores(database: Database, journaled: Journaled) -> Stores:
    """Every Protocol that the products declare, over one database; `journaled` is the journal's reader."""
    return Stores(
        token_records=SqlTokenRecords(database),
        lineage=SqlLineage(database, journaled),
        codes=SqlAuthorizationCodes(database),
        refresh_tokens=SqlRefreshTokens(database),
        assertions=SqlAssertions(database),
        proofs=SqlProofs(database),
        accounts=SqlAccounts(database),
        federated_accounts=SqlFederatedAccounts(database),
        sign_ins=SqlSignIns(database),
        consents=SqlConsents(database),
        revocation_rows=SqlRevocationRows(database),
        standings=SqlStandings(database),
        key_states=SqlKeyStates(database),
        tool_pins=SqlToolPins(database),
        policy_versions=SqlPolicyVersions(database),
        task_rows=SqlTaskRows(database),
        approval_rows=SqlApprovalRows(database),
        epochs=SqlEpochs(database),
        newcomer_rows=SqlNewcomers(database),
    )
