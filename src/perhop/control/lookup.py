"""What commands that only read look up: the configuration, held against the database and the journal."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from perhop.authorization_server.newcomers.known import known_clients, metadata_of
from perhop.authorization_server.people_store import FederatedAccount
from perhop.authorization_server.refresh_families import RefreshFamily
from perhop.core.approval import Approval, ApprovalState
from perhop.core.client import Origin
from perhop.core.newcomer import RegistrationState
from perhop.core.registry import Registry
from perhop.core.task import Task
from perhop.errors import NotFound, OperatorError, TaskExpired, TaskSuperseded
from perhop.gateway.approvals import SEAL_PURPOSE, StoredApproval, read_params
from perhop.journal.keys import load_journal_key
from perhop.journal.query import Filter
from perhop.journal.record import Event
from perhop.rules.task import check_in_force
from perhop.settings import Settings
from perhop.storage.engine import open_database
from perhop.storage.journal_reader import JournalQueries
from perhop.storage.stores import Stores, open_stores
from perhop.wiring.keys import load_signing_key

Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class _Files:
    settings: Settings
    stores: Stores
    reader: JournalQueries

    async def registry(self) -> Registry:
        """What the file defines, and the clients that are known besides."""
        rows, registry = self.stores.newcomer_rows, self.settings.registry
        newcomers = known_clients(await rows.documents(), await rows.registrations(), self.settings.admission)
        return replace(registry, clients={**registry.clients, **newcomers, **registry.clients})

    async def standing(self, kind: str) -> Callable[[str], str]:
        disabled = await self.stores.standings.disabled()
        return lambda name: "disabled" if (kind, name) in disabled else "enabled"


async def _clients(files: _Files) -> Rows:
    """The configuration's, then those that are known besides, then those that wait for somebody to adopt them."""
    standing = await files.standing("client")
    today = time.strftime("%Y-%m-%d", time.gmtime())
    known = [
        {
            "id": client.id,
            "owner": client.owner,
            "purpose": client.purpose,
            "expires": client.expires.isoformat(),
            "standing": "expired" if client.expires.isoformat() < today else standing(client.id),
            "origin": client.origin.value,
            "reaches": {name: list(scopes) for name, scopes in client.reaches.items()},
            "serves": list(client.serves),
            "redirect_uris": list(client.redirect_uris),
            "last_used": _last_used(files.reader, client.id),
        }
        for client in (await files.registry()).clients.values()
    ]
    return [*known, *(await _waiting(files))]


async def _waiting(files: _Files) -> Rows:
    now = int(time.time())
    return [
        {
            "id": each.client_id,
            "owner": None,
            "purpose": metadata.name,
            "expires": None,
            "standing": "waiting",
            "origin": Origin.REGISTRATION.value,
            "reaches": {},
            "serves": [],
            "redirect_uris": list(metadata.redirect_uris),
            "last_used": None,
            "lapses": _utc(each.lapses_at),
        }
        for each in await files.stores.newcomer_rows.registrations()
        if each.state is RegistrationState.WAITING and each.lapses_at > now
        for metadata in [metadata_of(each)]
    ]


def _last_used(reader: JournalQueries, client: str) -> str | None:
    """When the journal last saw a permitted call of this client."""
    last = reader.last(Filter(event=Event.CALL_PERMITTED.value, client=client))
    return last.text("time") if last is not None else None


async def _resources(files: _Files) -> Rows:
    standing = await files.standing("resource")
    return [
        {
            "name": resource.name,
            "uri": resource.uri,
            "upstream": resource.upstream.place if resource.upstream else None,
            "server_uri": resource.server_uri,
            "credential": resource.upstream.credential.value if resource.upstream else None,
            "owner": resource.owner,
            "tenant": resource.tenant,
            "risk": resource.risk.value,
            "scopes": list(resource.scopes),
            "standing": standing(resource.name),
        }
        for resource in files.settings.registry.resources.values()
    ]


async def _owners(files: _Files) -> Rows:
    standing = await files.standing("owner")
    registry = await files.registry()
    return [
        {
            "name": owner.name,
            "contact": owner.contact,
            "members": list(owner.members),
            "deputies": list(owner.deputies),
            "resources": [each.name for each in registry.resources.values() if each.owner == owner.name],
            "clients": [each.id for each in registry.clients.values() if each.owner == owner.name],
            "standing": standing(owner.name),
        }
        for owner in registry.owners.values()
    ]


async def _issuers(files: _Files) -> Rows:
    standing = await files.standing("issuer")
    return [
        {
            "name": trusted.name,
            "issuer": trusted.issuer,
            "kind": trusted.kind.value,
            "owner": trusted.owner,
            "clients": list(dict.fromkeys([*trusted.clients, *(rule.client for rule in trusted.workloads)])),
            "standing": standing(trusted.name),
        }
        for trusted in files.settings.registry.trusted_issuers.values()
    ]


async def _accounts(files: _Files) -> Rows:
    return [
        {
            "email": account.email,
            "subject": account.subject,
            "state": "disabled" if account.disabled else "console only" if account.console_only else "enabled",
            "provider": None,
        }
        for account in await files.stores.accounts.list()
    ] + [_federated(each, files.settings.registry) for each in await files.stores.federated_accounts.list()]


def _federated(account: FederatedAccount, registry: Registry) -> dict[str, Any]:
    """Of an issuer that is no longer configured the URL is told; nobody comes by it."""
    way = registry.sign_in.provider_with(account.issuer) or registry.trusted_issuer(account.issuer)
    return {
        "email": account.email,
        "subject": account.subject,
        "state": "disabled" if account.disabled else "enabled" if way is not None else "provider removed",
        "provider": way.name if way is not None else account.issuer,
        "subject_there": account.subject_there,
        "groups": None if account.groups is None else sorted(account.groups),
        "last_sign_in": _utc(account.seen_at) if account.seen_at else None,
    }


async def _grants(files: _Files) -> Rows:
    stores, registry = files.stores, files.settings.registry
    emails = await _emails(stores)
    families = await stores.refresh_tokens.in_force(now=int(time.time()))
    held: dict[tuple[str, str, str], list[RefreshFamily]] = {}
    for family in families:
        held.setdefault((family.subject, family.client_id, family.resource), []).append(family)
    found = {(each.subject, each.client_id, each.resource): each for each in await stores.consents.all()}
    rows = []
    for key in dict.fromkeys((*found, *held)):
        consent, (subject, client, uri) = found.get(key), key
        resource = registry.resource_at(uri)
        since = consent.granted_at if consent is not None else held[key][0].began_at
        rows.append(
            {
                "subject": subject,
                "email": emails.get(subject),
                "client": client,
                "resource": resource.name if resource is not None else None,
                "uri": uri,
                "scopes": sorted(consent.scopes if consent is not None else held[key][0].scopes),
                "consent": consent is not None,
                "since": _utc(since),
                "last_used": _utc(consent.used_at) if consent is not None else None,
                "families": [family.id for family in held.get(key, [])],
            }
        )
    return rows


async def _emails(stores: Stores) -> Mapping[str, str | None]:
    """Addresses by subject; of a federated account the one that its provider has verified."""
    federated: dict[str, str | None] = {each.subject: each.email for each in await stores.federated_accounts.list()}
    return federated | {account.subject: account.email for account in await stores.accounts.list()}


async def _tasks(files: _Files) -> Rows:
    now = int(time.time())
    return [
        {
            "id": task.id,
            "client": task.client,
            "subject": task.subject,
            "purpose": task.purpose,
            "tools": [str(pattern) for pattern in task.tools],
            "limits": {"calls": task.limits.calls, "writes": task.limits.writes},
            "calls": stored.used.calls,
            "writes": stored.used.writes,
            "state": _state_of(task, now=now),
            "superseded_by": task.superseded_by,
            "approved": _utc(task.approved_at),
            "ended": _utc(task.ended_at),
            "begun": _utc(task.created_at),
            "expires": _utc(task.expires_at),
        }
        for stored in await files.stores.task_rows.all(since=0)
        for task in [stored.task]
    ]


def _state_of(task: Task, *, now: int) -> str:
    try:
        check_in_force(task, now=now)
    except TaskSuperseded:
        return "superseded"
    except TaskExpired:
        return "expired" if task.ended_at is None else "ended"
    return "in force"


def _utc(seconds: int | None) -> str | None:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds)) if seconds is not None else None


async def _approvals(files: _Files) -> Rows:
    registry, now = files.settings.registry, int(time.time())
    emails = await _emails(files.stores)
    return [
        {
            "id": approval.id,
            "state": _state_of_approval(approval, now=now),
            "agent": approval.call.agent,
            "subject": approval.call.subject,
            "client": approval.client_id,
            "task": approval.call.task,
            "resource": approval.resource,
            "audience": approval.call.audience,
            "owner": registry.resources[approval.resource].owner if approval.resource in registry.resources else None,
            "method": approval.call.method,
            "name": approval.name,
            "params_sha256": approval.call.params_sha256,
            "policies": list(approval.policies),
            "policy_version": approval.call.policy_version,
            "asked": _utc(approval.asked_at),
            "expires": _utc(approval.expires_at),
            "decided": _utc(approval.decided_at),
            "decided_by": emails.get(approval.decided_by or "", approval.decided_by),
            "why": approval.why,
            "used": _utc(approval.used_at),
            "params": _params(stored, files.settings),
        }
        for stored in await files.stores.approval_rows.all()
        for approval in [stored.approval]
    ]


def _state_of_approval(approval: Approval, *, now: int) -> str:
    """What has run out is expired, also before it is written down, and also when it was approved and never used."""
    is_open = approval.state in (ApprovalState.WAITING, ApprovalState.APPROVED)
    return "expired" if is_open and approval.expires_at <= now else approval.state.value


def _params(stored: StoredApproval, settings: Settings) -> Mapping[str, Any] | None:
    """What the call says; None where that is forgotten, or the key is not for us to read."""
    if stored.sealed is None:
        return None
    try:
        return read_params(stored, key=load_journal_key(settings.keys_dir).derive(SEAL_PURPOSE))
    except (OperatorError, OSError):
        return None


async def _keys(files: _Files) -> Rows:
    states = await files.stores.key_states.all()
    rows = []
    for file in sorted(files.settings.keys_dir.glob("signing-*.pem")):
        key = load_signing_key(file)
        state, since = states.get(key.kid, ("unknown", 0))
        at = _utc(since or None)
        rows.append({"kid": key.kid, "alg": key.algorithm.value, "state": state, "since": at})
    return rows


LOOKUPS: Mapping[str, Callable[[_Files], Awaitable[Rows]]] = {
    "clients": _clients,
    "resources": _resources,
    "owners": _owners,
    "issuers": _issuers,
    "accounts": _accounts,
    "grants": _grants,
    "tasks": _tasks,
    "approvals": _approvals,
    "keys": _keys,
}


async def look_up(settings: Settings, what: str) -> Rows:
    """The rows of one table of `LOOKUPS`, read from the files whether or not a server runs.

    Raises: OperatorError, StorageUnavailable
    """
    if what not in LOOKUPS:
        raise NotFound(f"there is no list of `{what}`")
    database = open_database(settings.database_path)
    try:
        with JournalQueries(settings.journal_path) as reader:
            return await LOOKUPS[what](_Files(settings, open_stores(database, reader), reader))
    finally:
        await database.close()
