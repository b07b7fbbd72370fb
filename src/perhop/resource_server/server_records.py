"""Server records: what a guard saw, kept on disk and delivered to the journal of the authorization server.

The gateway records what it sends; this records what arrives. `perhop journal reconcile` holds one against the other.
At least once: a report is forgotten here when the journal has it, and the journal takes it once.

Spec: RFC 8707 §2
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from weakref import WeakKeyDictionary

import httpx2

from perhop.client import TokenSource
from perhop.client.connections import Connections
from perhop.client.fetch import fetch
from perhop.core.resource import ResourceUri
from perhop.core.token import VerifiedToken
from perhop.errors import (
    IssuerUnavailable,
    JournalUnavailable,
    JsonUnparsable,
    PerhopError,
    ProofNonceNeeded,
    Refused,
    TokenMissing,
    Unavailable,
)
from perhop.journal.canonical import format_time
from perhop.journal.record import CallFacts, Event, RequestFacts
from perhop.journal.report import UNREAD, Report, render_report
from perhop.journal.suppression import RefusalCounter, Suppressed
from perhop.resource_server.reports_file import MAX_WAITING, ReportsFile, Waiting
from perhop.resource_server.trail import Trail
from perhop.rules.strict_json import parse_json

MAX_REPORTS = 500
MAX_BODY_BYTES = 900 * 1024
"""Of one delivery: the endpoint takes 500 reports and 1 MiB."""

MAX_ANSWER_BYTES = 1024 * 1024
SECONDS = 10.0
"""For the authorization server to answer, and for a token where one is needed first."""
IDLE_SECONDS = 1.0
"""How long a report of another worker may wait to be noticed."""

FIRST_PAUSE, LAST_PAUSE = 0.25, 30.0
TURN_SECONDS = 30.0
"""For one batch, whatever it waits for; then another worker may deliver it."""
PARTING_SECONDS = 2.0

_log = logging.getLogger("perhop.resource_server")


class ServerRecords:
    """Reports of one server, or of several on one machine, under the client that answers for them.

    `tokens` is that client's source of tokens: the client has `serves` in the authorization server's configuration.
    `path` is a file on a disk of this machine. With `max_waiting` reports in it that could not be delivered, or were
    set aside, no further request is served. Calls with tokens of other issuers are not that journal's to hear.

    Raises: SettingsError
    """

    def __init__(
        self,
        tokens: TokenSource,
        path: str | Path,
        *,
        max_waiting: int = MAX_WAITING,
        http: httpx2.AsyncClient | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.issuer = tokens.issuer
        self._endpoint = f"{tokens.issuer.rstrip('/')}/records"
        self._auth = tokens.auth_for(self._endpoint)
        self._connections = Connections(http)
        self._clock = clock
        self._file = ReportsFile(path, max_waiting=max_waiting)
        self._file.open()
        self._refusals: dict[ResourceUri, RefusalCounter] = {}
        self._counted: deque[tuple[ResourceUri, Suppressed]] = deque()
        self._counting = threading.Lock()
        self._holder = secrets.token_hex(8)
        self._complaint: str | None = None
        self._delivering: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Task[None]] = WeakKeyDictionary()
        self._new: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Event] = WeakKeyDictionary()
        self._starts: WeakKeyDictionary[asyncio.AbstractEventLoop, int] = WeakKeyDictionary()

    # --- what the guard tells ----------------------------------------------------------------------------------------

    async def admitted(self, trail: Trail) -> None:
        """The report of an admitted request is on disk when this returns; only then may the request be served.

        Raises: JournalUnavailable
        """
        if not self._is_ours(trail.caller):
            return
        self._start_delivery()
        await self._file.write(_written(trail.admitted(clock=self._clock)))
        self._wake()

    def refused(self, trail: Trail, fact: Refused | Unavailable) -> None:
        """Report a refusal; of a caller whom nobody knows, ten a second of one address and reason, and then a count.

        A request without a token says nothing of any token, and is not reported.
        """
        if isinstance(fact, TokenMissing):
            return
        if trail.caller is not None and not self._is_ours(trail.caller):
            return
        if isinstance(fact, ProofNonceNeeded):
            return  # no more than how a client that has just begun comes by a nonce
        if not trail.is_bound and not self._is_single(trail, fact.reason):
            return
        with suppress(JournalUnavailable):  # the answer is no anyway; what could not be written is in the log
            self._file.offer(_written(trail.refused(fact, clock=self._clock)))
        with suppress(RuntimeError):  # without an event loop, the next request begins the delivery
            self._start_delivery()
            self._wake()

    def _is_ours(self, token: VerifiedToken | None) -> bool:
        return token is not None and token.issuer == self.issuer

    def _is_single(self, trail: Trail, reason: str) -> bool:
        with self._counting:
            counter = self._refusals.setdefault(trail.resource, RefusalCounter())
            return counter.admit(trail.address or "", reason, now=self._clock())

    # --- delivery ----------------------------------------------------------------------------------------------------

    def waiting(self) -> int:
        """So many reports are not delivered yet. Blocks.

        Raises: JournalUnavailable
        """
        return self._file.waiting()

    def start(self) -> None:
        """Deliver on the running event loop from now on. Each guard that shares these records starts them."""
        loop = asyncio.get_running_loop()
        self._starts[loop] = self._starts.get(loop, 0) + 1
        self._start_delivery()

    def _start_delivery(self) -> None:
        loop = asyncio.get_running_loop()
        task = self._delivering.get(loop)
        if task is None or task.done():
            self._new[loop] = asyncio.Event()
            self._delivering[loop] = loop.create_task(self._deliver())

    async def aclose(self) -> None:
        """The last guard to end delivers what can be delivered in a moment; the rest stays for the next start."""
        loop = asyncio.get_running_loop()
        others = self._starts.pop(loop, 0) - 1
        if others > 0:
            self._starts[loop] = others
            return
        task = self._delivering.pop(loop, None)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
            await self._deliver_last()
            with suppress(PerhopError):
                await asyncio.to_thread(self._file.leaves_turn, self._holder)
        if not self._starts:  # on another event loop
            await asyncio.to_thread(self._file.close)
        await self._connections.aclose()

    def _wake(self) -> None:
        self._new[asyncio.get_running_loop()].set()

    async def _deliver(self) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                self._write_counted(everything=False)
                if not await self._delivered_some():
                    await self._wait_for_more()
            except PerhopError as error:
                self._complain(str(error))
            except Exception:  # whatever it is, it must not be the last delivery
                _log.exception("the delivery of reports to %s broke off", self.issuer)
            else:
                self._complaint, pause = None, FIRST_PAUSE
                continue
            await asyncio.sleep(pause)
            pause = min(2 * pause, LAST_PAUSE)

    async def _deliver_last(self) -> None:
        try:
            async with asyncio.timeout(PARTING_SECONDS):
                self._write_counted(everything=True)
                while await self._delivered_some():
                    pass
        except (PerhopError, TimeoutError):
            pass  # the next start delivers them
        except Exception:  # whatever it is, the file is closed
            _log.exception("the delivery of reports to %s broke off", self.issuer)

    async def _wait_for_more(self) -> None:
        new = self._new[asyncio.get_running_loop()]
        with suppress(TimeoutError):
            async with asyncio.timeout(IDLE_SECONDS):
                await new.wait()
        new.clear()

    async def _delivered_some(self) -> bool:
        """Deliver one batch. False if there was none, or another worker is at it.

        Raises: IssuerUnavailable, TokenNotGranted, JournalUnavailable
        """
        try:
            async with asyncio.timeout(TURN_SECONDS):
                return await self._delivered_in_time()
        except TimeoutError as error:
            raise IssuerUnavailable(f"{self._endpoint}: nothing within {TURN_SECONDS:g} s") from error

    async def _delivered_in_time(self) -> bool:
        if not await asyncio.to_thread(self._file.takes_turn, self._holder, now=self._clock(), seconds=TURN_SECONDS):
            return False
        batch = await asyncio.to_thread(self._file.oldest, MAX_REPORTS, max_bytes=MAX_BODY_BYTES)
        if not batch:
            return False
        refused = await self._send(batch)
        await asyncio.to_thread(self._file.delivered, batch, refused=refused)
        return True

    async def _send(self, batch: Sequence[Waiting]) -> Mapping[int, str]:
        """The numbers of those that the journal will never take, each with the reason.

        Raises: IssuerUnavailable, TokenNotGranted
        """
        body = f'{{"records":[{",".join(each.body for each in batch)}]}}'
        http = self._connections.http()
        headers = {"content-type": "application/json"}
        request = http.build_request("POST", self._endpoint, content=body.encode(), headers=headers)
        answer = await fetch(http, request, max_bytes=MAX_ANSWER_BYTES, seconds=SECONDS, auth=self._auth)
        if answer.status != 200:
            raise IssuerUnavailable(f"{self._endpoint}: HTTP {answer.status}")
        refused = _refused(answer.body)
        numbers = {json.loads(each.body)["id"]: each.number for each in batch} if refused else {}
        for report_id, why in refused.items():
            _log.error("report %a was not taken, and is kept aside: %a", report_id, why)
        return {numbers[report_id]: why for report_id, why in refused.items() if report_id in numbers}

    def _write_counted(self, *, everything: bool) -> None:
        """Raises: JournalUnavailable."""
        with self._counting:
            if not self._counted:
                now = None if everything else self._clock()
                for resource, counter in self._refusals.items():
                    self._counted.extend((resource, each) for each in counter.drain(now=now))
            while self._counted:
                self._file.offer(_written(self._report_of(*self._counted[0])))
                self._counted.popleft()  # only now: what the file does not take is offered again

    def _report_of(self, resource: ResourceUri, counted: Suppressed) -> Report:
        return Report(
            id=secrets.token_hex(16),
            time=format_time(self._clock()),
            event=Event.JOURNAL_SUPPRESSED,
            resource=resource,
            call=CallFacts(id=secrets.token_hex(8), method=UNREAD),
            reason=counted.reason,
            request=RequestFacts(ip=counted.address or None),
            about={"count": counted.count, "first": format_time(counted.first), "last": format_time(counted.last)},
        )

    def _complain(self, problem: str) -> None:
        """Say once what is wrong, and again only when it is something else."""
        if problem != self._complaint:
            _log.warning("reports to %s: %a", self.issuer, problem)
        self._complaint = problem


def _written(report: Report) -> str:
    return json.dumps(render_report(report), ensure_ascii=True, separators=(",", ":"))


def _refused(answer: bytes) -> Mapping[str, str]:
    try:
        document = parse_json(answer, max_bytes=MAX_ANSWER_BYTES)
    except JsonUnparsable:
        document = None
    refused = document.get("refused") if isinstance(document, dict) else None
    if not isinstance(refused, dict):
        raise IssuerUnavailable("the answer to the reports cannot be read")
    return {str(name): str(why) for name, why in refused.items()}
