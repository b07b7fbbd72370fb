"""What the journal costs a call: `python -m bench.journal_cost [CALLS] [TOKENS] [FOLDER]`. Run by hand.

Builds the trail and both records of every call and appends them, with 32 appenders at a time, on the disk of FOLDER
(a journal that is there goes on). CPU a call of the whole process and of the writer's thread; what is left is the event
loop's. To hold two versions against each other, run it in turns with the `src` of the other first in PYTHONPATH.
"""

from __future__ import annotations

import asyncio
import cProfile
import json
import os
import pstats
import secrets
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from perhop.core.actor import Actor
from perhop.core.call import Call, CallKind
from perhop.core.decision import Allow, Permit
from perhop.core.resource import Resource, ResourceUri
from perhop.core.secret import Secret
from perhop.core.token import BoundToken, HopToken, MintedToken, TokenDraft, VerifiedToken
from perhop.gateway.record import record
from perhop.gateway.request import Request
from perhop.gateway.trail import Trail
from perhop.journal.keys import JournalKey, load_journal_key
from perhop.journal.writer import Journal
from perhop.storage.journal_db import open_journal
from tests.support.journals import make_journal

APPENDERS = 32
WARM_UP = 1000
ARGUMENTS = {"calendar": "work", "limit": 20, "query": "all meetings of the week " * 8, "is_full": True}


class _Scene:
    """Everything that a call has when its records are made, for as many tokens as are asked for."""

    def __init__(self, journal: Journal, tokens: int) -> None:
        uri = ResourceUri("http://127.0.0.1:8420/mcp/calendar")
        self.server = ResourceUri("http://127.0.0.1:9001/mcp")
        self.resource = Resource(name="calendar", uri=uri, owner="travel-team", scopes={}, tenant="acme")
        self.journal = journal
        self.gate = cast(
            Any,
            SimpleNamespace(
                resource=self.resource,
                journal=journal,
                clock=time.time,
                new_call_id=_call_ids(),
                tasks=SimpleNamespace(facts=lambda _: None),
            ),
        )
        self.tokens = [self._token() for _ in range(tokens)]
        self.allow = Allow(("calendar-readers", "work-hours"), "v12")

    def _token(self) -> tuple[Request, VerifiedToken, HopToken]:
        now = int(time.time())
        fingerprint, txn = secrets.token_hex(32), secrets.token_urlsafe(16)
        headers = (
            ("host", "127.0.0.1:8420"),
            ("user-agent", "travel-agent/2.1 (python)"),
            ("content-type", "application/json"),
            ("authorization", "Bearer " + secrets.token_urlsafe(360)),
        )
        about = {"subject": "user:anna", "scopes": frozenset({"calendar:read", "calendar:write"}), "txn": txn}
        token = VerifiedToken(
            issuer="http://127.0.0.1:8420",
            jti=secrets.token_urlsafe(16),
            client_id="trip-planner",
            audience=self.resource.uri,
            issued_at=now,
            expires_at=now + 300,
            agent="trip-planner",
            fingerprint=fingerprint,
            tenant="acme",
            **about,  # type: ignore[arg-type]
        )
        draft = TokenDraft(
            issuer=token.issuer,
            jti=secrets.token_urlsafe(16),
            client_id="gateway:perhop",
            audience=self.server,
            issued_at=now,
            expires_at=now + 60,
            hop=2,
            agent="trip-planner",
            actor=Actor("gateway:perhop"),
            parent_jti=token.jti,
            **about,  # type: ignore[arg-type]
        )
        request = Request(http_method="POST", headers=headers, address="192.0.2.17", body=cast(Any, None))
        return request, token, HopToken(MintedToken(Secret("x"), draft))

    async def call(self, number: int) -> None:
        """One call, from its trail to its outcome."""
        request, token, onward = self.tokens[number % len(self.tokens)]
        trail = Trail.of(request, self.gate).by(token, self.gate)
        call = Call(
            id=trail.call_id,
            kind=CallKind.REQUEST,
            revision="2026-07-28",
            method="tools/call",
            targets=(),
            body=b"",
            headers=request.headers,
            arguments=ARGUMENTS,
        )
        trail = trail.asking(call, self.gate)
        bound = BoundToken(token, self.resource.uri)
        trail = trail.permitted(Permit(bound, None, self.resource, call, self.allow), onward)
        await record(trail, self.journal)
        ended = trail.end_record(status=200, error=None, now=time.time())
        if hasattr(self.journal, "note"):
            self.journal.note(ended)
        else:  # a version in which the end of an answer waited
            await self.journal.append(ended)


def _call_ids() -> Callable[[], str]:
    """As wiring gives them to a gate: of a version without the module, as it was then."""
    try:
        from perhop.gateway.call_ids import CallIds
    except ImportError:
        return lambda: secrets.token_hex(8)
    return CallIds(secrets.token_bytes, time.time).new


def _writer_seconds(journal: Journal) -> float:
    native = journal._thread.native_id
    stat = Path(f"/proc/self/task/{native}/schedstat").read_text(encoding="ascii")
    return int(stat.split()[0]) / 1e9


async def _calls(scene: _Scene, count: int) -> None:
    numbers = iter(range(count))

    async def appender() -> None:
        for number in numbers:
            await scene.call(number)

    await asyncio.gather(*(appender() for _ in range(APPENDERS)))


async def main(count: int, tokens: int, folder: Path, *, profiled: bool) -> None:
    """Warm up, measure, print one line of JSON."""
    is_new = not (folder / "journal.db").exists()
    key: JournalKey = make_journal(folder).key if is_new else load_journal_key(folder / "keys")
    journal = open_journal(folder / "journal.db", key=key, clock=time.time)
    try:
        scene = _Scene(journal, tokens)
        await _calls(scene, WARM_UP)
        if profiled:
            profile = cProfile.Profile()
            profile.enable()
            await _calls(scene, count)
            profile.disable()
            stats = pstats.Stats(profile)
            sys.stdout.write(f"{stats.total_calls / count:.1f} calls of functions a call in the event loop\n")  # type: ignore[attr-defined]
            stats.sort_stats("tottime").print_stats(40)
            return
        before = os.stat(folder / "journal.db").st_size
        began, cpu, writer = time.perf_counter(), time.process_time(), _writer_seconds(journal)
        await _calls(scene, count)
        took, used = time.perf_counter() - began, time.process_time() - cpu
        written = _writer_seconds(journal) - writer
        found = {
            "cpu_us": 1e6 * used / count,
            "writer_us": 1e6 * written / count,
            "loop_us": 1e6 * (used - written) / count,
            "calls_a_second": count / took,
            "kb_a_call": (os.stat(folder / "journal.db").st_size - before) / 1024 / count,
        }
        sys.stdout.write(json.dumps({name: round(value, 1) for name, value in found.items()}) + "\n")
    finally:
        await journal.close()


if __name__ == "__main__":
    words = [each for each in sys.argv[1:] if not each.startswith("--")]
    with tempfile.TemporaryDirectory(prefix="perhop-journal-") as made_here:
        asyncio.run(
            main(
                int(words[0]) if words else 10_000,
                int(words[1]) if len(words) > 1 else 100,
                Path(words[2] if len(words) > 2 else made_here),
                profiled="--profile" in sys.argv,
            )
        )
