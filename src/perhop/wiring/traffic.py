"""Traffic: what a plane puts on its traffic listener, the authorization server and a gate before each upstream."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import aiohttp

from perhop.authorization_server.app import build_app
from perhop.authorization_server.hop import HopExchanger
from perhop.authorization_server.issuer import Issuer
from perhop.core.resource import CredentialKind, Resource
from perhop.core.token import BoundToken
from perhop.errors import PerhopError
from perhop.gateway.app import GatewayApp, gates_by_path
from perhop.gateway.catalogue import Catalogue
from perhop.gateway.gate import Gate, Limits
from perhop.gateway.open_requests import OpenRequests
from perhop.gateway.open_tasks import OpenTasks
from perhop.gateway.readiness import Readiness
from perhop.gateway.revisions import UpstreamRevisions
from perhop.gateway.revocation_watch import RevocationWatch
from perhop.gateway.self_test import SelfTest
from perhop.gateway.sessions import SessionSealer
from perhop.gateway.upstream.http import HttpUpstream, open_session
from perhop.rules.revocation import Revocation
from perhop.wiring.plane import Plane

AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]

_log = logging.getLogger("perhop")

KEY_CHECK_SECONDS = 5.0
TIDY_SECONDS = 3600.0
NO_TOKEN = "is given no token"
SESSION_SEAL_PURPOSE = b"perhop session seal"


@dataclass(frozen=True, slots=True)
class StandingNow:
    """The authorization server's standing, as the gateway asks for it."""

    plane: Plane

    def check(self, bound: BoundToken, resource: Resource) -> None:
        """Raises: AgentDisabled, AgentExpired, TokenRevoked, OwnerMissing"""
        issuer: Issuer = self.plane.issuer
        issuer.standing.check_token(bound.token, resource, issuer.registry, now=issuer.now())


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """The traffic of an open plane: one ASGI application, and how each gate stands."""

    app: AsgiApp
    gates: tuple[Gate, ...]
    plane: Plane
    exchanger: HopExchanger
    watch: RevocationWatch

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Keep testing the upstreams, and keep house, while the block runs; then end the streams that have no end.

        Begins once the listener is up: a guard that is tested asks it for our keys.
        """
        tests = (_self_test(gate, self.exchanger).keep_running() for gate in self.gates)
        async with contextlib.AsyncExitStack() as stack:
            for work in (*tests, _keep_house(self.plane)):
                stack.push_async_callback(_cancel, asyncio.create_task(work))
            try:
                yield
            finally:
                self.watch.stop()

    def verdicts(self) -> dict[str, str]:
        """What the self-test has shown of every upstream; of one that is given no token there is nothing to show."""
        return {gate.resource.name: _verdict(gate) for gate in self.gates}


def _verdict(gate: Gate) -> str:
    assert gate.resource.upstream is not None
    match gate.resource.upstream.credential:
        case CredentialKind.EXCHANGE | CredentialKind.CALL:
            return gate.readiness.verdict.value
        case CredentialKind.NONE:
            return NO_TOKEN


@contextlib.asynccontextmanager
async def open_traffic(plane: Plane) -> AsyncIterator[Traffic]:
    """Build the gates; they take calls while the block runs."""
    async with contextlib.AsyncExitStack() as stack:
        session = open_session()
        stack.push_async_callback(session.close)
        watch = RevocationWatch(plane.issuer.revocations)
        exchanger = HopExchanger(plane.current_issuer)

        def on_revocation(_: Sequence[Revocation]) -> None:
            exchanger.forget()
            watch.notify()

        stack.callback(plane.issuer.revoker.subscribe(on_revocation))
        gates = tuple(
            _gate(plane, resource, session, watch, exchanger)
            for resource in plane.registry.resources.values()
            if resource.upstream is not None
        )
        gateway = GatewayApp(gates_by_path(gates))
        authorization_server = build_app(plane.issuer.url, plane.current_issuer)

        async def app(asgi_scope: Any, receive: Any, send: Any) -> None:
            chosen: AsgiApp = gateway if gateway.serves(asgi_scope) else authorization_server
            await chosen(asgi_scope, receive, send)

        yield Traffic(app=app, gates=gates, plane=plane, exchanger=exchanger, watch=watch)


def _gate(
    plane: Plane,
    resource: Resource,
    session: aiohttp.ClientSession,
    watch: RevocationWatch,
    exchanger: HopExchanger,
) -> Gate:
    assert resource.upstream is not None
    return Gate(
        resource=resource,
        issuer=plane.issuer.url,
        verify=plane.verify_here,
        revoked=watch,
        standing=StandingNow(plane),
        policy=plane.policy,
        exchanger=exchanger,
        journal=plane.journal,
        upstream=HttpUpstream(resource.upstream.place, session),
        readiness=Readiness(resource.upstream),
        sealer=SessionSealer(
            (plane.journal_key.derive(SESSION_SEAL_PURPOSE),), clock=plane.issuer.clock, random_bytes=os.urandom
        ),
        open_requests=OpenRequests(),
        open_tasks=OpenTasks(),
        revisions=UpstreamRevisions(),
        catalogue=Catalogue(),
        clock=plane.issuer.clock,
        new_call_id=lambda: secrets.token_hex(8),
        limits=Limits(max_call_seconds=plane.settings.max_call),
    )


def _self_test(gate: Gate, exchanger: HopExchanger) -> SelfTest:
    return SelfTest(
        resource=gate.resource,
        tokens=exchanger,
        upstream=gate.upstream,
        readiness=gate.readiness,
        catalogue=gate.catalogue,
        revisions=gate.revisions,
    )


async def _keep_house(plane: Plane) -> NoReturn:
    """Look now and then whether a prepared key's time has come, and hourly for rows that can matter to no token."""
    tidied = float("-inf")
    while True:
        try:
            await plane.advance_keys()
            if time.monotonic() - tidied >= TIDY_SECONDS:
                await plane.forget_expired()
                tidied = time.monotonic()
        except PerhopError as error:
            _log.error("housekeeping failed, and is tried again: %s", error)
        await asyncio.sleep(KEY_CHECK_SECONDS)


async def _cancel(task: asyncio.Task[NoReturn]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
