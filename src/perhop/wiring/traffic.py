"""Traffic: what a plane puts on its traffic listener, the authorization server and a gate before each upstream."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, assert_never

from perhop.authorization_server.app import build_app
from perhop.authorization_server.hop import HopExchanger
from perhop.core.resource import CredentialKind, DataPlane, Resource
from perhop.errors import PerhopError
from perhop.gateway.app import GatewayApp, gates_by_path
from perhop.gateway.call_ids import CallIds
from perhop.gateway.call_rates import CallRates
from perhop.gateway.catalogue import Catalogue
from perhop.gateway.data_planes.asking import BySecret, BySocket
from perhop.gateway.data_planes.forward_auth import ForwardAuthApp
from perhop.gateway.gate import Gate, Limits
from perhop.gateway.open_requests import OpenRequests
from perhop.gateway.open_tasks import OpenTasks
from perhop.gateway.readiness import Readiness, Verdict
from perhop.gateway.revisions import UpstreamRevisions
from perhop.gateway.revocation_watch import RevocationWatch
from perhop.gateway.self_test import SelfTest
from perhop.gateway.sessions import SessionSealer
from perhop.gateway.upstream.interface import OpenUpstream
from perhop.policy.engine import PolicyEngine
from perhop.rules.dpop_nonce import Nonces
from perhop.rules.revocation import Revocation
from perhop.settings import Settings
from perhop.settings.values import AuthzAddress, AuthzSocket
from perhop.tokens.possession import ProofDesk
from perhop.wiring.plane import Plane
from perhop.wiring.standing_now import StandingNow
from perhop.wiring.timed import TimedExchanger, TimedPolicy
from perhop.wiring.upstreams import Upstreams

_log = logging.getLogger("perhop")

KEY_CHECK_SECONDS = 5.0
TIDY_SECONDS = 3600.0
NO_TOKEN = "is given no token"
SESSION_SEAL_PURPOSE = b"perhop session seal"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolsStanding:
    """Whether the owner has approved a resource's tools, and which of them have been seen otherwise since."""

    is_pinned: bool
    quarantined: tuple[str, ...]


class Traffic:
    """The traffic of an open plane: its ASGI application, and a gate before each upstream.

    `authz` is for the proxies that carry calls themselves; None where the settings have no listener for them.
    Follows the plane: `preparing` builds the gates of another configuration, and what it gives puts them in place.
    """

    def __init__(self, plane: Plane, upstreams: Upstreams, exchanger: HopExchanger) -> None:
        self.plane = plane
        self.gates: tuple[Gate, ...] = ()
        self._upstreams = upstreams
        self._exchanger = exchanger
        self._rates = CallRates(lambda: plane.settings.rate_limits, clock=plane.issuer.clock)
        # A gate that was replaced is watched as long as a call of its time runs.
        self._watches: weakref.WeakSet[RevocationWatch] = weakref.WeakSet()
        self._gateway = GatewayApp({})
        self._call_ids = CallIds(secrets.token_bytes, plane.issuer.clock)
        self.authz = _authz(plane.settings)
        self._authorization_server = build_app(plane.issuer.url, plane.current_issuer)
        self._tests: list[asyncio.Task[NoReturn]] = []
        self._works = False

    def app(self, asgi_scope: Any, receive: Any, send: Any) -> Awaitable[None]:
        """The application of the traffic listener."""
        answering = self._gateway.answering(asgi_scope, receive, send)
        return self._authorization_server(asgi_scope, receive, send) if answering is None else answering

    @contextlib.asynccontextmanager
    async def preparing(self, settings: Settings, policy: PolicyEngine) -> AsyncIterator[Callable[[], None]]:
        """Build the gates of a configuration. An upstream that is new is tested before it gets calls.

        Calls on their way end with the gates they began with; streams that have no end of their own are cut there.
        """
        before = {gate.resource.name: gate for gate in self.gates}
        resources = settings.registry.resources
        prepared = self._upstreams.prepare(resources.values(), settings.upstream_pool)
        try:
            gates = tuple(
                self._gate(resources[name], way, settings, policy, before.get(name))
                for name, way in prepared.ways.items()
            )
            if self._works:
                untested = [gate for gate in gates if gate.readiness.verdict is Verdict.UNTESTED]
                await asyncio.gather(*(self._self_test(gate).run() for gate in untested))

            def change_over() -> None:
                prepared.take()
                self._change_over(gates)

            yield change_over
        finally:
            prepared.drop()

    def _change_over(self, gates: tuple[Gate, ...]) -> None:
        for gate in self.gates:
            gate.revoked.supersede("another configuration is in force")
        self.gates = gates
        self.plane.open_upstreams.clear()
        self.plane.open_upstreams.update({gate.resource.name: gate.upstream for gate in gates})
        self.plane.known_tools.take({gate.resource.name: gate.catalogue for gate in gates})
        self._gateway.take(gates_by_path(gates))
        if self.authz is not None:
            self.authz.take(gate for gate in gates if gate.resource.data_plane is DataPlane.FORWARD_AUTH)
        if self._works:
            self._begin_tests()

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Keep testing the upstreams, and keep house, while the block runs; then end the streams that have no end.

        Begins once the listener is up: a guard that is tested asks it for our keys.
        """
        house = asyncio.create_task(_keep_house(self.plane))
        self._works = True
        self._begin_tests()
        try:
            yield
        finally:
            self._works = False
            for gate in self.gates:
                gate.revoked.supersede("the gateway stops")
            await _cancel(house, *self._tests)

    def new_watch(self) -> RevocationWatch:
        """A watch that is told of every revocation for as long as somebody holds it."""
        watch = RevocationWatch(self.plane.issuer.revocations)
        self._watches.add(watch)
        return watch

    def stop_all(self) -> None:
        """What still runs has had its time: end it with a last word."""
        for watch in tuple(self._watches):
            watch.stop_all()

    def on_revocation(self, _: Sequence[Revocation]) -> None:
        """Tell everyone who keeps something that may be of a revoked token."""
        self._exchanger.forget()
        for watch in tuple(self._watches):
            watch.notify()

    def _begin_tests(self) -> None:
        for task in self._tests:
            task.cancel()
        self._tests = [asyncio.create_task(self._self_test(gate).keep_running()) for gate in self.gates]

    def _self_test(self, gate: Gate) -> SelfTest:
        return SelfTest(
            resource=gate.resource,
            tokens=self._exchanger,
            upstream=gate.upstream,
            readiness=gate.readiness,
            catalogue=gate.catalogue,
            revisions=gate.revisions,
        )

    def _gate(
        self, resource: Resource, way: OpenUpstream, settings: Settings, policy: PolicyEngine, before: Gate | None
    ) -> Gate:
        """The gate of a resource; what was learned of the same upstream before goes along."""
        assert resource.upstream is not None
        plane = self.plane
        same = before if before is not None and _is_same(before.resource, resource) else None
        return Gate(
            resource=resource,
            issuer=plane.issuer.url,
            verify=plane.verify_here,
            proofs=ProofDesk(nonces=Nonces(plane.issuer.nonce_key, resource.uri), memory=plane.stores.proofs),
            revoked=self.new_watch(),
            standing=StandingNow(plane),
            rates=self._rates,
            tasks=plane.issuer.tasks,
            approvals=plane.approvals,
            policy=TimedPolicy(plane.policy_told_of_people(policy), plane.metrics),
            exchanger=TimedExchanger(self._exchanger, plane.metrics),
            journal=plane.journal,
            upstream=way,
            readiness=same.readiness if same else Readiness(resource.upstream),
            sealer=SessionSealer(
                (plane.journal_key.derive(SESSION_SEAL_PURPOSE),), clock=plane.issuer.clock, random_bytes=os.urandom
            ),
            open_requests=same.open_requests if same else OpenRequests(),
            open_tasks=same.open_tasks if same else OpenTasks(),
            revisions=same.revisions if same else UpstreamRevisions(),
            catalogue=same.catalogue if same else Catalogue(plane.tool_pins.of(resource.name)),
            clock=plane.issuer.clock,
            new_call_id=self._call_ids.new,
            limits=Limits(max_call_seconds=settings.max_call),
        )

    def verdicts(self) -> dict[str, str]:
        """What the self-test has shown of every upstream; of one that is given no token there is nothing to show."""
        return {gate.resource.name: _verdict(gate) for gate in self.gates}

    def tools(self) -> dict[str, ToolsStanding]:
        """How the tools of every upstream stand with their resource's owner."""
        return {
            gate.resource.name: ToolsStanding(
                is_pinned=gate.catalogue.is_pinned, quarantined=tuple(sorted(gate.catalogue.quarantined))
            )
            for gate in self.gates
        }


def _authz(settings: Settings) -> ForwardAuthApp | None:
    match listener := settings.listen.authz:
        case None:
            return None
        case AuthzSocket():
            return ForwardAuthApp((), BySocket())
        case AuthzAddress(secret=secret):
            return ForwardAuthApp((), BySecret(secret))
        case _:
            assert_never(listener)


def _is_same(before: Resource, now: Resource) -> bool:
    """True if what was learned of the one holds for the other: its sessions, its tools and how it took a canary."""
    return (before.uri, before.tenant, before.upstream) == (now.uri, now.tenant, now.upstream)


def _verdict(gate: Gate) -> str:
    assert gate.resource.upstream is not None
    match gate.resource.upstream.credential:
        case CredentialKind.EXCHANGE | CredentialKind.CALL:
            return gate.readiness.verdict.value
        case CredentialKind.NONE:
            return NO_TOKEN


@contextlib.asynccontextmanager
async def open_traffic(plane: Plane) -> AsyncIterator[Traffic]:
    """Build the gates; they take calls while the block runs, and go along when the plane goes by another file."""
    async with contextlib.AsyncExitStack() as stack:
        upstreams = Upstreams(inherited=plane.settings.inherited)
        stack.push_async_callback(upstreams.aclose)
        traffic = Traffic(plane, upstreams, HopExchanger(plane.current_issuer))
        stack.callback(plane.issuer.revoker.subscribe(traffic.on_revocation))
        async with traffic.preparing(plane.settings, plane.policy) as put_in_place:
            put_in_place()
        plane.followers.append(traffic)
        stack.callback(plane.followers.remove, traffic)
        stack.callback(plane.open_upstreams.clear)
        yield traffic


async def _keep_house(plane: Plane) -> NoReturn:
    """Look now and then whether a prepared key's time has come, and hourly for rows that can matter to no token.

    What was quarantined while the disk was full is written when it no longer is.
    """
    tidied = float("-inf")
    while True:
        try:
            await plane.advance_keys()
            await plane.tool_pins.keep()
            await plane.approvals.expire()
            if time.monotonic() - tidied >= TIDY_SECONDS:
                await plane.forget_expired()
                tidied = time.monotonic()
        except PerhopError as error:
            _log.error("housekeeping failed, and is tried again: %s", error)
        await asyncio.sleep(KEY_CHECK_SECONDS)


async def _cancel(*tasks: asyncio.Task[NoReturn]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
