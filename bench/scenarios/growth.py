"""What grows with what: memory and time against resources, clients, policies, live grants, tokens and open streams.

Installations that differ from a small one in one thing take turns. `cpu_us` is a call with everything on, of the same
resource in each; `start_cpu_seconds` is from the start of `perhop serve` until it is ready, every server's self-test
made. Streams are `subscriptions/listen` of 2026-07-28, through the gateway to the server behind, with nothing on them.
The quick form leaves resources and clients out.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sqlite3
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from bench.chained import Chain, chained_loop
from bench.held_streams import held
from bench.installation import MODERN, Loaded, loaded, on_disk, policies, served_upstream
from bench.load import Ask, closed_loop
from bench.measured import Measured, Size, in_rounds
from bench.processes import cpu_seconds, resident_bytes
from bench.token_clients import PORTAL, TokenClients

NAME = "growth"
ROUNDS = {Size.QUICK: 1, Size.FULL: 3}
SECONDS = {Size.QUICK: 1.0, Size.FULL: 2.0}
STREAMS = {Size.QUICK: 500, Size.FULL: 10_000}
RESOURCES, CLIENTS = 300, 5_000
POLICIES = {Size.QUICK: 300, Size.FULL: 5_000}
GRANTS = {Size.QUICK: 2_000, Size.FULL: 100_000}
TOKENS = {Size.QUICK: 1_000, Size.FULL: 20_000}
_FAMILIES = 8
_LISTENERS = 50
"""Different tokens of the streams, and streams that are opened and closed before anything is counted."""
_IDLE_SECONDS = {Size.QUICK: 2.0, Size.FULL: 10.0}
_SPARE_DESCRIPTORS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class _Subject:
    """An installation that differs from the small one in one thing."""

    name: str
    setup: str
    extra: int = 0
    more: str = ""
    work: str | None = None


def measure(size: Size, tell: Callable[[str], None]) -> list[Measured]:
    """First what installations cost by their size, in rounds; then, at the small one, grants, tokens and streams."""
    may_open = raise_descriptors()
    clients = TokenClients()
    with ExitStack() as up:
        folder = Path(up.enter_context(on_disk()))
        server = up.enter_context(served_upstream())
        running: dict[str, Loaded] = {}
        subjects = _subjects(size, clients)
        first: dict[str, dict[str, float]] = {}
        for number, each in enumerate(subjects):
            tell(f"starting an installation: {each.name}")
            policies_of = {} if each.work is None else {"work": each.work}
            place = folder / str(number)
            it = up.enter_context(loaded(place, server, more=each.more, extra=each.extra, policies_of=policies_of))
            running[each.name] = it
            first[each.name] = {"start_cpu_seconds": cpu_seconds(it.pid)}
        found = _calls(size, subjects, running, first, tell)
        small = running[subjects[0].name]
        found += _grants(size, small, clients, tell)
        found += _tokens(size, small, tell)
        found += _streams(size, small, may_open, tell)
        return found


def raise_descriptors() -> int:
    """Let this process and those that it starts open as many files as the system allows; how many that is."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def streams_within(wanted: int, descriptors: int) -> int:
    """So many streams, or as many as leave the gateway, which needs two descriptors for each, some for itself."""
    return max(1, min(wanted, (descriptors - _SPARE_DESCRIPTORS) // 2))


def kilobytes_each(before: int, after: int, count: int) -> float:
    """What one of so many took, of bytes."""
    return (after - before) / count / 1024


def _subjects(size: Size, clients: TokenClients) -> list[_Subject]:
    many = "".join(
        f"  other-{number}: {{owner: bench, purpose: is there, expires: 2099-12-31, authentication: "
        f'{{method: client_secret_basic, secret: {clients.secret}}}, reaches: {{work: ["work:use"]}}}}\n'
        for number in range(CLIENTS)
    )
    quick = [
        _Subject(
            name="small",
            setup="four resources with twenty policies each, four clients",
            more=clients.configuration,
        ),
        _Subject(
            name=f"{POLICIES[size]:,} policies more",
            setup="the small one and so many policies about other tools of the same resource",
            work=policies("work", like="work") + _about_others(POLICIES[size]),
        ),
    ]
    if size is Size.QUICK:
        return quick
    return [
        *quick,
        _Subject(
            name=f"{RESOURCES:,} resources more",
            setup="the small one and so many resources, each with a server and a policy",
            extra=RESOURCES,
        ),
        _Subject(name=f"{CLIENTS:,} clients more", setup="the small one and so many clients", more=many),
    ]


def _about_others(count: int) -> str:
    what = 'action == MCP::Action::"call_tool", resource == MCP::Tool::"work/unlike-{0}"'
    when = "context.arguments has amount && context.arguments.amount > {0}"
    rule = f'@id("unlike-{{0}}") forbid (principal, {what}) when {{{{ {when} }}}};\n'
    return "".join(rule.format(number) for number in range(count))


def _calls(
    size: Size,
    subjects: list[_Subject],
    running: dict[str, Loaded],
    first: dict[str, dict[str, float]],
    tell: Callable[[str], None],
) -> list[Measured]:
    seen: dict[str, list[dict[str, float]]] = {each.name: [] for each in subjects}
    for number in range(ROUNDS[size]):
        tell(f"calls, round {number + 1} of {ROUNDS[size]}")
        for name, it in running.items():
            took = closed_loop(it.asks("work", tokens=it.tokens("work")), it.pid, seconds=SECONDS[size])
            figures = {"cpu_us": took.figures["cpu_us"], "resident_mb": resident_bytes(it.pid) / 2**20}
            seen[name].append({**figures, **first[name]})
    return [found for each in subjects for found in in_rounds(NAME, each.name, each.setup, seen[each.name])]


def _grants(size: Size, it: Loaded, clients: TokenClients, tell: Callable[[str], None]) -> list[Measured]:
    """A refresh among few live families and their tokens, and among many."""
    families = asyncio.run(clients.refresh_tokens(it, _FAMILIES))
    headers = {"authorization": clients.basic(PORTAL)}
    chain = Chain(url=f"{it.issuer}/token", form={"grant_type": "refresh_token"}, first=families, headers=headers)
    few: list[dict[str, float]] = []
    many: list[dict[str, float]] = []
    for rounds in (few, many):
        tell(f"a refresh among {'few' if rounds is few else f'{GRANTS[size]:,}'} live grants")
        for _ in range(ROUNDS[size]):
            took, chain = chained_loop(chain, it.pid, seconds=SECONDS[size])
            figures = {"cpu_us": took.figures["cpu_us"], "resident_mb": resident_bytes(it.pid) / 2**20}
            rounds.append(figures)
        if rounds is few:
            _add_grants(it.folder / "perhop.db", GRANTS[size])
    setup = "refresh_token; so many live families in the database, each with a live token and one that was issued"
    return [
        *in_rounds(NAME, f"{_FAMILIES} live grants", setup, few),
        *in_rounds(NAME, f"{GRANTS[size]:,} live grants", setup, many),
    ]


def _add_grants(database: Path, count: int) -> None:
    """More rows like one that is there: a family, its live refresh token, and an access token."""
    renamed = {
        "refresh_family": ("id", "code_hash"),
        "refresh_token": ("token_hash", "family"),
        "token_record": ("jti", "txn", "family"),
    }
    where = {"refresh_token": " WHERE spent_at IS NULL", "token_record": " WHERE family IS NOT NULL"}
    with closing(sqlite3.connect(database, timeout=30)) as connection, connection:
        for table, names in renamed.items():
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            taken = ", ".join(f"{each} || '-' || number" if each in names else each for each in columns)
            connection.execute(
                "WITH RECURSIVE numbers(number) AS"
                " (SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < ?)"
                f" INSERT INTO {table} ({', '.join(columns)})"
                f" SELECT {taken} FROM (SELECT * FROM {table}{where.get(table, '')} LIMIT 1), numbers",
                (count,),
            )


def _tokens(size: Size, it: Loaded, tell: Callable[[str], None]) -> list[Measured]:
    """What the gateway keeps of each token that it has seen."""
    tell(f"{TOKENS[size]:,} tokens")
    closed_loop(it.asks("work", tokens=it.tokens("work")), it.pid, seconds=1)
    tokens = it.tokens("work", TOKENS[size])
    before, sent = resident_bytes(it.pid), 0
    while sent < len(tokens):
        sent += closed_loop(it.asks("work", tokens=[*tokens[sent:], *tokens[:sent]]), it.pid, seconds=3).requests
    figures = {"token_kb": kilobytes_each(before, resident_bytes(it.pid), len(tokens))}
    return in_rounds(NAME, f"{TOKENS[size]:,} tokens in use", "calls with so many tokens, each used", [figures])


def _streams(size: Size, it: Loaded, may_open: int, tell: Callable[[str], None]) -> list[Measured]:
    count = streams_within(STREAMS[size], may_open)
    if count < STREAMS[size]:
        tell(f"{count:,} streams instead of {STREAMS[size]:,}: a process may open {may_open:,} files here")
    ask = _listening(it)
    with held(ask, _LISTENERS):
        pass
    time.sleep(1)
    before, cpu_before = resident_bytes(it.pid), cpu_seconds(it.pid)
    tell(f"opening {count:,} streams")
    with held(ask, count) as seconds:
        opened = cpu_seconds(it.pid) - cpu_before
        tell(f"open after {seconds:.0f} s")
        idle_from, began = cpu_seconds(it.pid), time.perf_counter()
        time.sleep(_IDLE_SECONDS[size])
        idle = (cpu_seconds(it.pid) - idle_from) / (time.perf_counter() - began)
        figures = {
            "stream_kb": kilobytes_each(before, resident_bytes(it.pid), count),
            "cpu_us": 1e6 * opened / count,
            "idle_cpu_ms": 1e3 * idle,
        }
    setup = f"{count:,} of `subscriptions/listen`, open at the same time, nothing on them; {_LISTENERS} tokens"
    return in_rounds(NAME, "idle streams", setup, [figures])


def _listening(it: Loaded) -> Ask:
    about = {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    params = {"_meta": about, "notifications": {"toolsListChanged": True}}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": params}).encode()
    like = it.asks("work", tokens=it.tokens("work", _LISTENERS))
    headers = {name: value for name, value in like.headers.items() if name != "mcp-name"}
    return Ask(url=like.url, body=body, headers={**headers, "mcp-method": "subscriptions/listen"}, values=like.values)
