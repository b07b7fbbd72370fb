"""Opening a plane: every part of an installation is made from its files, and what stood before is held against them."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import AsyncIterator, Callable

from perhop.authorization_server.assertion_keys import AssertionKeys
from perhop.authorization_server.epoch import Epoch
from perhop.authorization_server.federation.federation import Federation, LazyHttp
from perhop.authorization_server.interaction.form_seal import FormSeal
from perhop.authorization_server.interaction.known_devices import KnownDevices
from perhop.authorization_server.interaction.pages import Pages
from perhop.authorization_server.interaction.passwords import Passwords
from perhop.authorization_server.interaction.throttle import SignInThrottle
from perhop.authorization_server.issuer import Issuer
from perhop.authorization_server.known_groups import KnownGroups
from perhop.authorization_server.newcomers.directory import Newcomers
from perhop.authorization_server.newcomers.guarded_fetch import GuardedFetch, Resolve, resolve_by_system
from perhop.authorization_server.records_resource import records_uri
from perhop.authorization_server.reports import Reports
from perhop.authorization_server.request_rates import RequestRates
from perhop.authorization_server.revocation import Revoker
from perhop.authorization_server.standing import Standing
from perhop.authorization_server.tasks import Tasks
from perhop.client.connections import Connections
from perhop.core.registry import Registry
from perhop.core.secret import Secret
from perhop.gateway.approvals import SEAL_PURPOSE, Approvals
from perhop.gateway.tool_pins import ToolPins
from perhop.journal.keys import JournalKey, load_journal_key
from perhop.journal.writer import Journal
from perhop.policy.engine import PolicyEngine
from perhop.rules.revocation import Revocations
from perhop.settings import Settings
from perhop.storage.engine import Database, open_database
from perhop.storage.journal_db import open_journal
from perhop.storage.journal_reader import JournalQueries
from perhop.storage.policy_versions import SqlPolicyVersions
from perhop.storage.stores import Stores, open_stores
from perhop.storage.tool_pins import SqlToolPins
from perhop.wiring.beside import new_http
from perhop.wiring.keys import SigningKeys
from perhop.wiring.known_clients import keys_with_newcomers, registry_with_newcomers
from perhop.wiring.known_tools import KnownTools
from perhop.wiring.metrics import Metrics
from perhop.wiring.owed import revoke_wider
from perhop.wiring.people_policy import PeoplePolicy
from perhop.wiring.plane import Clock, Plane
from perhop.wiring.policies import Started, in_force_record, keep_in_force, policies_to_start, refused_record
from perhop.wiring.removed import config_loaded, disable_removed, forget_unadmitted
from perhop.wiring.restored import count_start, find_lost, recover

NONCE_PURPOSE = b"perhop dpop nonce"
"""What the key of the nonces is derived for: it is the same after a restart, and wherever the journal's key is."""
DEVICE_PURPOSE = b"perhop known devices"


@contextlib.asynccontextmanager
async def open_plane(
    settings: Settings, *, clock: Clock, record_start: bool, resolve: Resolve = resolve_by_system
) -> AsyncIterator[Plane]:
    """Open every part; the journal's lock makes this the only writer. Refuses to make what `init` should have made.

    `resolve` finds the hosts of clients' documents.

    Raises: OperatorError, StorageUnavailable, JournalUnavailable
    """
    async with contextlib.AsyncExitStack() as stack:
        journal_key = load_journal_key(settings.keys_dir)
        metrics = Metrics()
        journal = open_journal(settings.journal_path, key=journal_key, clock=clock, witness=metrics)
        stack.push_async_callback(journal.close)
        reader = JournalQueries(settings.journal_path)
        stack.callback(reader.close)
        database = open_database(settings.database_path)
        stack.push_async_callback(database.close)
        rows = SqlPolicyVersions(database)
        started = await policies_to_start(settings, rows, SqlToolPins(database), serves=record_start)
        stores = open_stores(database, reader)
        fetch = GuardedFetch(resolve=resolve)
        newcomers = Newcomers(rows=stores.newcomer_rows, journal=journal, clock=clock, fetch=fetch)
        await newcomers.load()
        newcomers.take(settings.admission, defined=settings.registry.clients)
        policy = PolicyEngine(started.files.policy_set, registry_with_newcomers(settings, newcomers))
        plane = await _assemble(
            settings, journal, journal_key, reader, database, stores, newcomers, policy, metrics, clock=clock
        )
        stack.push_async_callback(plane.tool_pins.close)
        stack.push_async_callback(plane.issuer.assertion_keys.aclose)
        stack.push_async_callback(plane.issuer.federation.http.aclose)
        await _reconcile(plane, record_start=record_start)
        if record_start:
            await _note_policies(plane, started)
        yield plane


async def _assemble(
    settings: Settings,
    journal: Journal,
    journal_key: JournalKey,
    reader: JournalQueries,
    database: Database,
    stores: Stores,
    newcomers: Newcomers,
    policy: PolicyEngine,
    metrics: Metrics,
    *,
    clock: Clock,
) -> Plane:
    signing_keys = SigningKeys(settings.keys_dir, stores.key_states, clock=clock)
    revocations = Revocations()

    def registry_in_force() -> Registry:
        return plane.registry

    revoker = Revoker(
        rows=stores.revocation_rows,
        lineage=stores.lineage,
        journal=journal,
        revocations=revocations,
        registry=registry_in_force,
        built_in=(records_uri(settings.issuer),),
        clock=clock,
    )
    await revoker.load()
    tasks = Tasks(rows=stores.task_rows, journal=journal, revoker=revoker, clock=clock)
    await tasks.load()
    epoch = Epoch(stores.epochs)
    await epoch.load()
    tool_pins = ToolPins(rows=stores.tool_pins, journal=journal, clock=clock)
    await tool_pins.load()
    known_tools = KnownTools(tool_pins)
    groups = KnownGroups(lambda: plane.registry.sign_in)
    await groups.load(stores.federated_accounts)
    issuer = Issuer(
        url=settings.issuer,
        registry=policy.registry,
        client_keys=keys_with_newcomers(settings, newcomers),
        assertion_keys=AssertionKeys(connections=Connections(), clock=clock),
        keyring=await signing_keys.load(),
        policy=PeoplePolicy(policy, groups),
        stores=stores,
        journal=journal,
        revocations=revocations,
        revoker=revoker,
        reports=Reports(journal=journal, calls=reader),
        tools=known_tools,
        standing=Standing(stores.standings),
        newcomers=newcomers,
        tasks=tasks,
        epoch=epoch,
        passwords=Passwords(),
        form_seal=FormSeal(Secret(secrets.token_hex(32))),
        rates=RequestRates(clock),
        rate_limits=settings.rate_limits,
        groups=groups,
        federation=Federation.over(LazyHttp(new_http), clock=clock),
        throttle=SignInThrottle(clock),
        devices=KnownDevices(Secret(journal_key.derive(DEVICE_PURPOSE).hex())),
        pages=Pages(),
        clock=clock,
        randomness=os.urandom,
        nonce_key=journal_key.derive(NONCE_PURPOSE),
    )
    plane = Plane(
        settings=settings,
        journal=journal,
        journal_key=journal_key,
        reader=reader,
        database=database,
        stores=stores,
        signing_keys=signing_keys,
        policy=policy,
        issuer=issuer,
        tool_pins=tool_pins,
        known_tools=known_tools,
        metrics=metrics,
        newcomers=newcomers,
        approvals=_approvals(lambda: plane, stores, journal, journal_key, issuer),
    )
    return plane


def _approvals(
    plane: Callable[[], Plane], stores: Stores, journal: Journal, journal_key: JournalKey, issuer: Issuer
) -> Approvals:
    return Approvals(
        rows=stores.approval_rows,
        journal=journal,
        key=journal_key.derive(SEAL_PURPOSE),
        registry=lambda: plane().registry,
        policy_version=lambda: plane().policy.version,
        lifetime=lambda: plane().settings.approval_wait,
        new_id=issuer.new_id,
        random_bytes=issuer.randomness,
        clock=issuer.clock,
    )


async def _reconcile(plane: Plane, *, record_start: bool) -> None:
    await plane.issuer.standing.load()
    lost = await find_lost(plane)
    if lost is not None:
        await recover(plane, lost)
    removed = await disable_removed(plane)
    await forget_unadmitted(plane)
    await revoke_wider(plane)
    if record_start:
        start = await count_start(plane)
        await plane.journal.append(config_loaded(plane.settings, plane.policy, removed=removed, start=start))
    elif removed:
        await plane.journal.append(config_loaded(plane.settings, plane.policy, removed=removed))


async def _note_policies(plane: Plane, started: Started) -> None:
    """Leave a record of the policies that a start goes by, if they are others than before, and keep them."""
    rows = plane.stores.policy_versions
    if started.refused:
        plane.policies_refused, plane.last_reload_was_good = started.refused, False
        await plane.journal.append(refused_record(started.refused, by="perhop"))
    changed = await in_force_record(started.files, rows, by="perhop")
    if changed is not None:
        await plane.journal.append(changed)
    await keep_in_force(started.files, rows, by="perhop", now=plane.issuer.now())
