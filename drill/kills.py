"""A server that is killed at any moment, many times: whatever a client was told is in the journal, which goes on.

Clients call through the gateway while `kill -9` ends `perhop serve`, during its start as well as under load. After each
kill the file is held against the clients' and the servers' word, and verified; then the same installation is started
again.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from drill.installation import PERHOP, DrillFailed, Site, found, free_site, get_token, port_of, serving, serving_tools
from drill.wire import tool_call
from perhop.journal.keys import JournalKey, load_journal_key
from perhop.journal.query import Filter
from perhop.journal.record import Event
from perhop.journal.verify import verify_journal
from perhop.rules.canonical_json import canonical_json
from perhop.storage.journal_reader import JournalQueries, JournalSnapshot
from tests.support.processes import answers, started

CLIENTS = 6
ROUNDS_OF_AN_INSTALLATION = 50
"""Then another one begins, so that the whole journal can be verified after every kill."""

STARTING_OF_A_HUNDRED = 35
LONGEST_LOAD_SECONDS = 0.4
FIRST_START_SECONDS = 2.0
PATIENCE_SECONDS = 60.0
TOKEN_SECONDS = 200.0
_PAUSE = 0.02

Tell = Callable[[str], None]


@dataclass(slots=True)
class Kills:
    """What was seen, added up."""

    kills: int = 0
    while_starting: int = 0
    acknowledged: int = 0
    ran: int = 0
    permits: int = 0
    ended: int = 0
    unfinished: int = 0
    verified_records: int = 0
    longest_journal: int = 0
    installations: int = 0
    not_answered: Counter[str] = field(default_factory=Counter)

    def add(self, other: Kills) -> None:
        """Take in what another lane saw."""
        for name in self.__slots__:
            mine, theirs = getattr(self, name), getattr(other, name)
            if name == "longest_journal":
                setattr(self, name, max(mine, theirs))
            else:
                setattr(self, name, mine + theirs)

    def lines(self) -> list[str]:
        """For people."""
        return [
            f"kills                          {self.kills}, {self.while_starting} of them while the server started",
            f"installations                  {self.installations}, the longest journal {self.longest_journal} records",
            f"calls that a client saw end    {self.acknowledged}: each has its permit; of the outcomes,",
            f"                               {self.ended} are recorded and {self.unfinished} are listed as unfinished",
            f"tools that a server ran        {self.ran}: each has its permit",
            f"permits in the journals        {self.permits}",
            f"records verified, added up     {self.verified_records}, the whole journal after every kill: all ok",
            f"calls without an answer        {dict(self.not_answered)}",
        ]


@dataclass(slots=True)
class _Round:
    """One life of the server."""

    name: str
    is_open: asyncio.Event = field(default_factory=asyncio.Event)
    first_answer: asyncio.Event = field(default_factory=asyncio.Event)
    is_killed: bool = False
    acknowledged: list[str] = field(default_factory=list)


class _Lane:
    """One installation after another, killed again and again."""

    def __init__(self, folder: Path, *, kills: int, seed: int, tell: Tell) -> None:
        self._folder = folder
        self._wanted = kills
        self._chance = random.Random(seed)
        self._tell = tell
        self.seen = Kills()
        self._start_seconds = FIRST_START_SECONDS

    async def run(self) -> Kills:
        """All rounds. Raises: DrillFailed."""
        while self.seen.kills < self._wanted:
            rounds = min(ROUNDS_OF_AN_INSTALLATION, self._wanted - self.seen.kills)
            site = free_site(self._folder / f"installation-{self.seen.installations}")
            await asyncio.to_thread(found, site)
            self.seen.installations += 1
            tools = serving_tools(site)
            await asyncio.to_thread(tools.__enter__)
            try:
                installation = _Killed(site, self)
                for _ in range(rounds):
                    await installation.live_and_die()
                await installation.stop_in_peace()
            finally:
                await asyncio.to_thread(tools.__exit__, None, None, None)
        return self.seen

    def moment(self) -> tuple[bool, float]:
        """Whether the next kill comes while the server starts, and after how many seconds."""
        if self._chance.randrange(100) < STARTING_OF_A_HUNDRED:
            return True, self._chance.uniform(0, self._start_seconds)
        return False, self._chance.uniform(0, LONGEST_LOAD_SECONDS)

    def started_in(self, seconds: float) -> None:
        """How long it took to the first answer: a kill during the start falls anywhere within."""
        self._start_seconds = seconds

    def tell(self) -> None:
        """Progress, now and then."""
        if self.seen.kills % 10 == 0:
            self._tell(f"{self.seen.kills} kills, {self.seen.acknowledged} calls acknowledged, nothing lost")


class _Killed:
    """One installation, with what its clients were told, and what was found in its journal so far."""

    def __init__(self, site: Site, lane: _Lane) -> None:
        self._site = site
        self._lane = lane
        self._key: JournalKey = load_journal_key(site.folder / "keys")
        self._token = ""
        self._token_until = 0.0
        self._asking = asyncio.Lock()
        self._checked = 0
        self._ran = 0
        self._kept: list[str] = []
        self._calls: dict[str, str] = {}
        self._ends: dict[str, Any] = {}

    async def live_and_die(self) -> None:
        """Start, be called, be killed at a random moment; then look at what is left."""
        seen = self._lane.seen
        life = _Round(f"{secrets.token_hex(4)}-{seen.kills}")
        is_early, seconds = self._lane.moment()
        began = time.monotonic()
        starting = started([PERHOP, "serve"], folder=self._site.folder)
        running = await asyncio.to_thread(starting.__enter__)
        try:
            clients = [asyncio.create_task(self._client(life, number)) for number in range(CLIENTS)]
            clients.append(asyncio.create_task(self._look_for_door(life)))
            if not is_early:
                await self._first_answer(life, running.process, clients)
                self._lane.started_in(time.monotonic() - began)
            await asyncio.sleep(seconds)
            running.process.kill()
            life.is_killed = True
            code = await asyncio.to_thread(running.process.wait)
            if code != -9:
                raise DrillFailed(f"the server ended by itself, with {code}\n{running.output()}")
            await asyncio.gather(*clients)
        finally:
            await asyncio.to_thread(starting.__exit__, None, None, None)
        seen.kills += 1
        seen.while_starting += is_early
        await asyncio.to_thread(self._check, life)
        self._lane.tell()

    async def _first_answer(self, life: _Round, process: Any, clients: list[asyncio.Task[None]]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not life.first_answer.is_set():
            for client in clients:
                if client.done():
                    client.result()
            if process.poll() is not None or time.monotonic() > deadline:
                raise DrillFailed("the server did not come up, or did not let a call through")
            await asyncio.sleep(_PAUSE)

    async def _look_for_door(self, life: _Round) -> None:
        """One looks whether the server takes connections, so that the others cost nothing until it does."""
        while not life.is_killed and not await asyncio.to_thread(answers, port_of(self._site.traffic)):
            await asyncio.sleep(_PAUSE)
        life.is_open.set()

    async def _client(self, life: _Round, number: int) -> None:
        """Call, and call again, until the server is gone for good."""
        await life.is_open.wait()
        async with httpx2.AsyncClient(timeout=PATIENCE_SECONDS) as http:
            sent = 0
            while True:
                sent += 1
                marker = f"{life.name}-{number}-{sent}"
                headers, body = tool_call("search", {"text": marker})
                try:
                    bearer = {"authorization": f"Bearer {await self._good_token(http)}"}
                    answer = await http.post(self._site.uri("hub"), headers=headers | bearer, content=body)
                except httpx2.HTTPError as error:
                    if life.is_killed:
                        return
                    self._lane.seen.not_answered[type(error).__name__] += 1
                    await asyncio.sleep(_PAUSE)
                    continue
                if answer.status_code == 200:
                    life.acknowledged.append(marker)
                    life.first_answer.set()
                elif answer.status_code == 503:
                    # Not yet: the self-test has not been made.
                    self._lane.seen.not_answered["503"] += 1
                    await asyncio.sleep(_PAUSE)
                else:
                    raise DrillFailed(f"a call was answered {answer.status_code}: {answer.text}")

    async def _good_token(self, http: httpx2.AsyncClient) -> str:
        async with self._asking:
            if time.monotonic() > self._token_until:
                self._token = await get_token(http, self._site)
                self._token_until = time.monotonic() + TOKEN_SECONDS
            return self._token

    async def stop_in_peace(self) -> None:
        """A last start and a stop with all that belongs to it: the journal is signed to its last record."""
        async with httpx2.AsyncClient(timeout=PATIENCE_SECONDS) as http:
            life = _Round("last")
            lifetime = serving(self._site)
            await asyncio.to_thread(lifetime.__enter__)
            try:
                headers, body = tool_call("search", {"text": "last"})
                bearer = {"authorization": f"Bearer {await get_token(http, self._site)}"}
                (await http.post(self._site.uri("hub"), headers=headers | bearer, content=body)).raise_for_status()
                life.acknowledged.append("last")
            finally:
                await asyncio.to_thread(lifetime.__exit__, None, None, None)
        signed = await asyncio.to_thread(self._check, life)
        if signed != self._checked:
            raise DrillFailed(f"a journal of {self._checked} records was signed to {signed} only when it was closed")

    def _check(self, life: _Round) -> int:
        """The journal verifies as a whole, goes on from what was published, and knows of every call."""
        published = self._site.folder / "journal.checkpoint"
        kept = [*self._kept, *([published.read_text(encoding="utf-8")] if published.exists() else [])]
        with JournalSnapshot(self._site.folder / "journal.db") as snapshot:
            found = verify_journal(snapshot, self._key.verify_key, checkpoints=kept)
        if not found.ok:
            raise DrillFailed(f"after kill {self._lane.seen.kills}: {found.problem}")
        if found.records < self._checked:
            raise DrillFailed(f"there were {self._checked} records, and now there are {found.records}")
        self._kept = kept[-1:]
        seen = self._lane.seen
        seen.verified_records += found.records
        seen.longest_journal = max(seen.longest_journal, found.records)
        with JournalQueries(self._site.folder / "journal.db") as reader:
            self._read(reader)
            unfinished = {entry.part("call").get("id") for entry in reader.unfinished()}
        self._hold(life, unfinished)
        self._checked = found.records
        return found.signed

    def _read(self, reader: JournalQueries) -> None:
        for entry in reader.find(Filter(first=self._checked + 1)):
            call = entry.part("call")
            match entry.fields.get("event"):
                case Event.CALL_PERMITTED.value:
                    self._calls[call["arguments_mac"]] = call["id"]
                    self._lane.seen.permits += 1
                case Event.CALL_ENDED.value:
                    self._ends[call["id"]] = entry.part("result").get("status")

    def _hold(self, life: _Round, unfinished: set[Any]) -> None:
        """Every word that was given, against the journal. Raises: DrillFailed."""
        seen = self._lane.seen
        for marker in life.acknowledged:
            call = self._permit_of(marker, "a client was answered")
            if call in self._ends:
                if self._ends[call] != 200:
                    raise DrillFailed(f"call `{marker}` was answered 200, and is recorded as {self._ends[call]}")
                seen.ended += 1
            elif call in unfinished:
                seen.unfinished += 1
            else:
                raise DrillFailed(f"call `{marker}` has no outcome, and is not listed as unfinished")
        seen.acknowledged += len(life.acknowledged)
        ran = self._site.ran_tools()
        for tool in ran[self._ran :]:
            self._permit_of(tool["text"], "a server ran it")
        seen.ran += len(ran) - self._ran
        self._ran = len(ran)

    def _permit_of(self, marker: str, why: str) -> str:
        call = self._calls.get(self._key.mac(canonical_json({"text": marker})))
        if call is None:
            raise DrillFailed(f"call `{marker}` has no permit in the journal, and {why}")
        return call


async def kill_many(folder: Path, *, kills: int, seed: int, lanes: int = 1, tell: Tell = lambda _: None) -> Kills:
    """Kill so many times, in so many installations at once.

    Raises: DrillFailed
    """
    shares = [kills // lanes + (number < kills % lanes) for number in range(lanes)]
    running = [
        _Lane(
            folder / f"lane-{number}",
            kills=share,
            seed=seed + number,
            tell=lambda text, number=number: tell(f"lane {number + 1}: {text}"),  # type: ignore[misc]
        )
        for number, share in enumerate(shares)
        if share
    ]
    total = Kills()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(lane.run()) for lane in running]
    for task in tasks:
        total.add(task.result())
    return total
