"""What a command may change: one function an operation, and the table of them.

The arguments and the result of each are JSON, since they cross the control socket. Every operation leaves a record.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, assert_never

from perhop.authorization_server.operator_issuance import issue_for_operator
from perhop.authorization_server.refresh_families import hash_refresh_token
from perhop.authorization_server.revocation import EVERYTHING, RevokedObject
from perhop.control.accounts import account_add, account_disable, account_enable, account_password
from perhop.control.approvals import decide_approval
from perhop.control.archiving import cut_journal
from perhop.control.grants import revoke_grants
from perhop.control.issue_refused import explained
from perhop.control.operator import by_operator as _by
from perhop.control.policy_versions import approve, propose, rollback
from perhop.control.registrations import adopt_client, reject_client
from perhop.control.tasks import end_task
from perhop.control.tools import approve_tools, show_tools
from perhop.errors import NotFound, OperatorError, Refused, SettingsError, TokenExpired
from perhop.journal.record import Event, Record
from perhop.rules.mentioned import may_be_id, may_be_secret
from perhop.tokens.inspect import inspect_token
from perhop.tokens.keys import Algorithm, KeyState
from perhop.wiring.plane import Plane
from perhop.wiring.reload import preview, put_in_force, read_again
from perhop.wiring.removed import clients_by_issuer
from perhop.wiring.restored import begin_epoch

Operation = Callable[..., Awaitable[Mapping[str, Any]]]


async def revoke(plane: Plane, *, kind: str, value: str, why: str, dry_run: bool = False) -> Mapping[str, Any]:
    """Revoke by token, agent, subject, resource, tenant, task or refresh family; descendants along. Or everything.

    What is not known is revoked, too. A refresh token that is given as a token stands for its family. Refresh tokens
    end with what they stand for: `families` counts theirs.

    With `dry_run` nothing happens and nothing is recorded. `calls` are those on their way that are cut, `streams` those
    of them that have no end of their own; zero where no server answers this.
    """
    named = RevokedObject(kind)
    if named is RevokedObject.TOKEN:
        named, value = await _token_named(plane, value)
    known = await _is_known(plane, named, value)
    if not known and named is not RevokedObject.TOKEN and may_be_secret(value):
        # What is revoked is recorded, and so shown to everybody who reads the journal.
        raise SettingsError(
            f"no {named.value} of this name is known, and it may be a secret",
            advice="`--token -` reads a token from stdin, and revokes what it stands for",
        )
    open_calls = plane.metrics.open_calls()
    revoker = plane.issuer.revoker
    if dry_run:
        revoked = await revoker.preview(named, value)
    elif named is RevokedObject.ALL:
        revoked = await begin_epoch(plane, why=why, by=_by())
    else:
        revoked = await revoker.revoke(named, value, why=why, by=_by())
    cut = [each for each in open_calls if each.jti in revoked.jtis]
    return {
        "kind": named.value,
        "value": value,
        "revoked": not dry_run,
        "known": known,
        "live": revoked.live,
        "families": len(revoked.families),
        "calls": len(cut),
        "streams": sum(each.is_standing for each in cut),
        "jtis": list(revoked.jtis),
    }


async def _token_named(plane: Plane, given: str) -> tuple[RevokedObject, str]:
    """What a token, its id or a refresh token names. Whatever else was given may hold a secret: it goes nowhere.

    Raises: SettingsError, BearerRefused, StorageUnavailable
    """
    if given.count(".") == 2:
        return RevokedObject.TOKEN, _jti_of(plane, given)
    is_text = given.isascii()
    stored = await plane.issuer.stores.refresh_tokens.find(hash_refresh_token(given)) if is_text else None
    if stored is not None:
        return RevokedObject.FAMILY, stored.family.id
    if not may_be_id(given):
        raise SettingsError(
            "this is neither a token nor the id of one",
            advice="give the whole token and nothing else, or its `jti`; `--token -` reads it from stdin",
        )
    return RevokedObject.TOKEN, given


def _jti_of(plane: Plane, raw: str) -> str:
    """The id of a token of ours, which may have expired."""
    try:
        return plane.verify_here(raw).jti
    except TokenExpired:
        # Times are looked at last: the signature held.
        return str(inspect_token(raw, now=0).claims["jti"])


async def _is_known(plane: Plane, kind: RevokedObject, value: str) -> bool:
    """True if the configuration, the accounts or the records of tokens hold something of this name."""
    registry = plane.registry
    match kind:
        case RevokedObject.TOKEN:
            return bool(await plane.issuer.stores.lineage.audiences(value))
        case RevokedObject.AGENT:
            return value in registry.clients
        case RevokedObject.SUBJECT:
            stores = plane.issuer.stores
            if value in registry.clients or await stores.accounts.of_subject(value) is not None:
                return True
            return await stores.federated_accounts.of_subject(value) is not None
        case RevokedObject.RESOURCE:
            uris = {uri for each in registry.resources.values() for uri in (each.uri, each.server_uri)}
            return value in registry.resources or value in uris
        case RevokedObject.TENANT:
            return any(each.tenant == value for each in registry.resources.values())
        case RevokedObject.TASK:
            return plane.issuer.tasks.find(value) is not None
        case RevokedObject.ALL:
            return True
        case RevokedObject.FAMILY:
            return await plane.issuer.stores.refresh_tokens.family(value) is not None
        case _:
            assert_never(kind)


async def disable(plane: Plane, *, kind: str, name: str, why: str) -> Mapping[str, Any]:
    """Disable a client, a resource, an issuer, or an owner with all that it answers for; and revoke the tokens."""
    _defined(plane, kind, name)
    await plane.issuer.standing.disable(kind, name, why=why, now=plane.issuer.now())
    await plane.journal.append(_changed(Event.CONFIG_LOADED, kind=kind, name=name, change="disabled", why=why))
    jtis: set[str] = set()
    # Of an issuer's clients only tokens end: their refresh tokens rest on a person's consent, not on its word.
    keeps = kind == "issuer"
    for revoked_as, value in await _tokens_of(plane, kind, name):
        revoked = await plane.issuer.revoker.revoke(
            revoked_as, value, why=why or f"{kind} {name} disabled", by=_by(), keeps_families=keeps
        )
        jtis.update(revoked.jtis)
    return {"kind": kind, "name": name, "live": len(jtis)}


async def _tokens_of(plane: Plane, kind: str, name: str) -> list[tuple[RevokedObject, str]]:
    registry = plane.registry
    match kind:
        case "issuer":
            clients = await asyncio.to_thread(clients_by_issuer, plane, name)
            return [(RevokedObject.AGENT, client) for client in clients]
        case "client":
            return [(RevokedObject.AGENT, name)]
        case "resource":
            return [(RevokedObject.RESOURCE, name)]
        case _:
            clients = [each.id for each in registry.clients.values() if each.owner == name]
            resources = [each.name for each in registry.resources.values() if each.owner == name]
            return [
                *((RevokedObject.AGENT, client) for client in clients),
                *((RevokedObject.RESOURCE, resource) for resource in resources),
            ]


async def enable(plane: Plane, *, kind: str, name: str) -> Mapping[str, Any]:
    """Lift a disabling."""
    _defined(plane, kind, name)
    # Recorded first: what gives power back is never done without a record.
    await plane.journal.append(_changed(Event.CONFIG_LOADED, kind=kind, name=name, change="enabled"))
    lifted = await plane.issuer.standing.enable(kind, name, now=plane.issuer.now())
    return {"kind": kind, "name": name, "was_disabled": lifted}


async def token_issue(plane: Plane, *, client: str, resource: str, scopes: list[str] | None) -> Mapping[str, Any]:
    """Issue a token for a client, by the rules of client credentials."""
    if resource not in plane.registry.resources and "://" not in resource:
        raise _undefined("resource", resource)
    try:
        minted = await issue_for_operator(plane.issuer, client_id=client, resource=resource, scopes=scopes)
    except Refused as fact:
        raise explained(fact, plane.registry, client=client, resource=resource, scopes=scopes or ()) or fact from fact
    return {
        "access_token": minted.raw.reveal(),
        "token_type": "Bearer",
        "expires_in": minted.draft.expires_at - minted.draft.issued_at,
        "scope": " ".join(sorted(minted.draft.scopes)),
        "resource": minted.draft.audience,
        "jti": minted.draft.jti,
    }


async def key_rotate(plane: Plane, *, alg: str | None, now: bool, revoke_others: bool) -> Mapping[str, Any]:
    """Make the next signing key; with `revoke_others`, no signature of another key counts any more."""
    if alg is not None and alg not in {Algorithm.ES256, Algorithm.ED25519, Algorithm.RS256}:
        raise SettingsError(f"unknown algorithm `{alg}`", advice="choose ES256, Ed25519 or RS256")
    others = [key.kid for key, state in plane.issuer.keyring.entries if state is not KeyState.REVOKED]
    rotated = await plane.rotate_key(Algorithm(alg) if alg else None, at_once=now, revoke_others=revoke_others)
    await plane.journal.append(
        _changed(Event.KEY_CHANGED, kid=rotated.kid, state=rotated.state.value, alg=rotated.algorithm.value)
    )
    for kid in others if revoke_others else ():
        await plane.journal.append(_changed(Event.KEY_CHANGED, kid=kid, state=KeyState.REVOKED.value))
    if revoke_others:
        # Guards hold keys for minutes, and hear of this at once. Refresh tokens are under no key, and go on.
        revoker = plane.issuer.revoker
        await revoker.revoke(RevokedObject.ALL, EVERYTHING, why="keys were revoked", by=_by(), keeps_families=True)
    signs_from = "now" if rotated.state is KeyState.ACTIVE else _utc(rotated.signs_from)
    return {"kid": rotated.kid, "alg": rotated.algorithm.value, "state": rotated.state.value, "signs_from": signs_from}


async def apply(plane: Plane, *, dry_run: bool) -> Mapping[str, Any]:
    """Read the configuration and the policies again, and go by them. `serving` is False where nobody had to be told."""
    try:
        settings, warnings = await read_again(plane)
    except SettingsError:
        plane.last_reload_was_good &= dry_run
        raise
    applied = await (preview(plane, settings) if dry_run else put_in_force(plane, settings, by=_by()))
    return {
        "applied": not dry_run,
        "serving": bool(plane.followers),
        "version": applied.version,
        "policy_version": applied.policy_version,
        "changes": [each.as_json() for each in applied.changes],
        "revoked": applied.revoked,
        "warnings": [str(each) for each in warnings],
        "unsafe": list(applied.unsafe),
    }


_SAME_VERSION = "use the same version of perhop for the command and the server"

OPERATIONS: Mapping[str, Operation] = {
    "apply": apply,
    "approval.decide": decide_approval,
    "client.adopt": adopt_client,
    "client.reject": reject_client,
    "revoke": revoke,
    "standing.disable": disable,
    "standing.enable": enable,
    "account.add": account_add,
    "account.password": account_password,
    "account.disable": account_disable,
    "account.enable": account_enable,
    "grant.revoke": revoke_grants,
    "task.end": end_task,
    "token.issue": token_issue,
    "key.rotate": key_rotate,
    "tools.show": show_tools,
    "tools.approve": approve_tools,
    "policy.propose": propose,
    "policy.approve": approve,
    "policy.rollback": rollback,
    "journal.cut": cut_journal,
}


async def run_operation(plane: Plane, name: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """Run the operation of this name.

    Raises: NotFound, OperatorError, Refused, Unavailable
    """
    operation = OPERATIONS.get(name)
    if operation is None:
        raise NotFound(f"there is no operation `{name}`", advice=_SAME_VERSION)
    try:
        inspect.signature(operation).bind(plane, **arguments)
    except TypeError as error:
        raise OperatorError(f"the operation `{name}` takes other arguments", advice=_SAME_VERSION) from error
    return await operation(plane, **arguments)


def _defined(plane: Plane, kind: str, name: str) -> None:
    names: Mapping[str, object] = {
        "client": plane.registry.clients,
        "resource": plane.registry.resources,
        "owner": plane.registry.owners,
        "issuer": plane.registry.trusted_issuers,
    }[kind]
    # A client can be disabled before it has ever come, if a rule would admit it.
    if name not in names and not (kind == "client" and plane.newcomers.admits(name)):
        raise _undefined(kind, name)


def _undefined(kind: str, name: str) -> NotFound:
    return NotFound(f"the configuration defines no {kind} `{name}`", advice=f"run `perhop {kind} list`")


def _changed(event: Event, **about: str) -> Record:
    return Record(event=event, about={**about, "by": _by()})


def _utc(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
