"""A stolen token of an integration: what the thief does with it, against what the journal says was done.

Nothing here is made up but the addresses: real tokens from the real endpoint, a real gateway and real servers. The
thief is in another network because the gateway believes the addresses that a proxy on this machine tells it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from drill.installation import HUB_SECRET, HUB_SERVER, PERHOP, DrillFailed, Site, clean_environment, get_token, perhop
from drill.machine import heading, lap, say, tell
from drill.wire import listen, tool_call
from perhop.tokens.parse import parse_compact
from tests.support.busy_journals import network_of_worker

HOME = {"x-forwarded-for": f"{network_of_worker(0)}.7", "user-agent": "agent/1"}
AWAY = {"x-forwarded-for": "203.0.113.66", "user-agent": "curl/8.9.1"}
AT_ONCE = 4
WRONG_TRIES = 8
"""Beyond ten refusals a second of one address the journal counts and does not list."""

_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
_ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"

Calls = Counter[tuple[str, str]]
"""How many calls of which tool at which resource."""


@dataclass(slots=True)
class Theft:
    """What was done, as those know who did it."""

    token: str
    jti: str
    integration: Calls = field(default_factory=Counter)
    thief: Calls = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)


async def steal_and_use(site: Site, *, pages: int) -> Theft:
    """The integration works as always; somebody else has its token, and reads whatever it opens.

    Raises: DrillFailed
    """
    async with httpx2.AsyncClient(timeout=60) as http:
        token = await get_token(http, site, forwarded_for=HOME["x-forwarded-for"])
        theft = Theft(token=token, jti=str(parse_compact(token).payload["jti"]))
        room = asyncio.Semaphore(AT_ONCE)
        for page in range(pages):
            # The integration does not know, and goes on.
            text = {"text": f"as always {page}"}
            await _call(http, site, theft, "search", text, HOME, theft.integration)
            async with asyncio.TaskGroup() as group:
                for tenant in site.tenants:
                    group.create_task(_export(http, site, theft, tenant, page, room))
        for number in range(5):
            await _call(http, site, theft, "search", {"text": f"password {number}"}, AWAY, theft.thief)
        for tenant in list(site.tenants)[:WRONG_TRIES]:
            await _try_elsewhere(http, site, theft, f"crm-{tenant}")
    return theft


async def _export(
    http: httpx2.AsyncClient, site: Site, theft: Theft, tenant: str, page: int, room: asyncio.Semaphore
) -> None:
    async with room:
        await _call(http, site, theft, "export_page", {"tenant": tenant, "page": page}, AWAY, theft.thief)
        theft.thief[f"crm-{tenant}", "list_contacts"] += 1


async def _call(
    http: httpx2.AsyncClient,
    site: Site,
    theft: Theft,
    tool: str,
    arguments: Mapping[str, Any],
    place: Mapping[str, str],
    counted: Calls,
) -> None:
    headers, body = tool_call(tool, arguments)
    sent = {**headers, **place, "authorization": f"Bearer {theft.token}"}
    answer = await http.post(site.uri("hub"), headers=sent, content=body)
    if answer.status_code != 200 or answer.json()["result"].get("isError"):
        raise DrillFailed(f"the stolen token did not work: {answer.status_code} {answer.text}")
    counted["hub", tool] += 1


async def _try_elsewhere(http: httpx2.AsyncClient, site: Site, theft: Theft, resource: str) -> None:
    headers, body = tool_call("get_contact", {"name": "anybody"})
    sent = {**headers, **AWAY, "authorization": f"Bearer {theft.token}"}
    answer = await http.post(site.uri(resource), headers=sent, content=body)
    if answer.status_code != 401:
        raise DrillFailed(f"the token of the hub was answered {answer.status_code} at {resource}")
    theft.refused[resource] += 1


def ask_for_the_blast_radius(site: Site, theft: Theft) -> None:
    """From the id of the token to all that was done with it, and what came from it. Raises: DrillFailed."""
    with lap() as took:
        found = json.loads(perhop(site.folder, "blast-radius", "--token", theft.jti, "--json"))
    done = Counter({(each["resource"], each["name"]): each["count"] for each in found["did"]})
    methods = {each["method"] for each in found["did"]}
    refused = Counter({each["resource"]: each["count"] for each in found["refused"]})
    reasons = {each["reason"] for each in found["refused"]}
    truth = theft.integration + theft.thief
    ran = Counter((each["server"], each["tool"]) for each in site.ran_tools())
    if not (done == truth == ran and methods == {"tools/call"}):
        raise DrillFailed(f"the journal has {done}, the callers made {truth}, the servers ran {ran}; {methods}")
    if refused != theft.refused or reasons != {"audience.mismatch"}:
        raise DrillFailed(f"the journal has refusals {refused} for {reasons}, and there were {theft.refused}")
    if len(found["tokens"]) < 2 + len(site.tenants):
        raise DrillFailed(f"only {len(found['tokens'])} tokens were found to have come from it")
    say(f"{'from the jti to the blast radius':<44} {took.seconds:8.2f} s   with the start of the command")
    say(
        f"  found: {sum(done.values())} calls of {len(done)} tools at {len({name for name, _ in done})} resources, with"
        f" {len(found['tokens'])} tokens; {sum(refused.values())} refusals: exactly what was done"
    )


def ask_what_it_was(site: Site, theft: Theft) -> None:
    """Theft, with its signals. Raises: DrillFailed."""
    with lap() as took:
        found = json.loads(perhop(site.folder, "incident", theft.jti, "--json"))
    signals = [each for each in found["signals"] if (each["side"], each["direction"]) == ("theft", "for")]
    names = {each["name"] for each in signals}
    leans = found["summary"]["leans"]
    if leans not in ("theft", "both") or not {"wrong-audience", "strange-network", "two-places"} <= names:
        raise DrillFailed(f"the incident leans to {leans}, with {names}")
    say(f"{'what it was':<44} {took.seconds:8.2f} s   leans to: {leans}")
    for each in signals:
        say(f"  {each['weight']:<6} {each['name']:<20} {each['why']}")


@dataclass(slots=True)
class _Gone:
    """When a place first refused, after the command was started."""

    at: dict[str, float] = field(default_factory=dict)


async def revoke(site: Site, theft: Theft) -> None:
    """From the start of the command until everybody refuses: gateway, token endpoint, open stream, guard.

    Raises: DrillFailed
    """
    gone = _Gone()
    async with httpx2.AsyncClient(timeout=60) as http, _stream(http, site, theft) as stream:
        await _call(http, site, theft, "search", {"text": "once more"}, AWAY, theft.thief)
        hop_token = site.received.read_text(encoding="utf-8")
        began = time.perf_counter()
        asked = asyncio.create_task(_revoke(site, theft))
        probes = {
            "gateway": _until_refused(lambda: _at_gateway(http, site, theft.token)),
            "token endpoint": _until_refused(lambda: _at_token_endpoint(http, site, hop_token)),
            "open stream": _until_cut(stream),
            "guard, by its feed": _until_refused(lambda: _at_guard(http, site, hop_token)),
        }
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            for name, probe in probes.items():
                group.create_task(_noting(gone, name, probe, began))
        took = await asked
    say(f"{'from `perhop revoke` to its end everywhere':<44} {max(gone.at.values()):8.2f} s")
    say(f"  {'the command itself':<42} {took:8.2f} s")
    for name, seconds in gone.at.items():
        say(f"  {name:<42} {seconds:8.2f} s")


async def _noting(gone: _Gone, name: str, probe: Awaitable[None], began: float) -> None:
    await probe
    gone.at[name] = time.perf_counter() - began


async def _revoke(site: Site, theft: Theft) -> float:
    began = time.perf_counter()
    words = ("revoke", "--token", theft.jti, "--why", "found in the logs of somebody else", "--json")
    process = await asyncio.create_subprocess_exec(
        PERHOP, *words, cwd=site.folder, env=clean_environment(), stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    if process.returncode != 0 or not json.loads(said)["revoked"]:
        raise DrillFailed(f"perhop revoke: exit code {process.returncode}")
    return time.perf_counter() - began


async def _until_refused(ask: Callable[[], Awaitable[int]]) -> None:
    while (status := await ask()) == 200:
        await asyncio.sleep(0.01)
    if status not in (400, 401):
        raise DrillFailed(f"a revoked token was answered {status}")


async def _at_gateway(http: httpx2.AsyncClient, site: Site, token: str) -> int:
    headers, body = tool_call("search", {"text": "still there?"})
    sent = {**headers, **AWAY, "authorization": f"Bearer {token}"}
    return (await http.post(site.uri("hub"), headers=sent, content=body)).status_code


async def _at_guard(http: httpx2.AsyncClient, site: Site, hop_token: str) -> int:
    headers, body = tool_call("search", {"text": "past the gateway"})
    sent = {**headers, "authorization": f"Bearer {hop_token}"}
    return (await http.post(f"http://{site.hub}/mcp", headers=sent, content=body)).status_code


async def _at_token_endpoint(http: httpx2.AsyncClient, site: Site, hop_token: str) -> int:
    tenant = next(iter(site.tenants))
    form = {
        "grant_type": _EXCHANGE,
        "subject_token": hop_token,
        "subject_token_type": _ACCESS_TOKEN,
        "resource": site.uri(f"crm-{tenant}"),
    }
    return (await http.post(f"{site.issuer}/token", data=form, auth=(HUB_SERVER, HUB_SECRET))).status_code


@contextlib.asynccontextmanager
async def _stream(http: httpx2.AsyncClient, site: Site, theft: Theft) -> AsyncIterator[AsyncIterator[str]]:
    headers, body = listen()
    sent = {**headers, **AWAY, "authorization": f"Bearer {theft.token}"}
    async with http.stream("POST", site.uri("hub"), headers=sent, content=body) as answer:
        if answer.status_code != 200:
            raise DrillFailed(f"no stream was opened: {answer.status_code}")
        lines = answer.aiter_lines()
        await asyncio.wait_for(anext(lines), 30)
        yield lines


async def _until_cut(lines: AsyncIterator[str]) -> None:
    last = [line async for line in lines if line.startswith("data:")][-1]
    if json.loads(last.removeprefix("data:"))["error"]["code"] != -31401:
        raise DrillFailed(f"the stream did not end because of the token: {last}")


def hand_over(site: Site, theft: Theft, outside: Path) -> None:
    """A bundle that verifies in an empty folder with the public key alone, without a network. Raises: DrillFailed."""
    with lap() as made:
        perhop(site.folder, "incident", theft.jti, "--bundle", str(outside / "incident.zip"), "--json")
    shutil.copy(site.folder / "keys" / "journal.vkey", outside)
    prefix = offline()
    words = ("journal", "verify-bundle", "incident.zip", "--public-key", "journal.vkey", "--json")
    with lap() as checked:
        found = json.loads(perhop(outside, *words, prefix=prefix))
    if not found["ok"] or found["key"] != "given" or found["token"] != theft.jti:
        raise DrillFailed(f"the bundle does not verify: {found}")
    size = (outside / "incident.zip").stat().st_size
    where = "in a network namespace of its own, which has no network" if prefix else "this machine allows no namespace"
    say(f"{'from the jti to a bundle':<44} {made.seconds:8.2f} s   {found['records']} records, {size / 1e6:.1f} MB")
    say(f"{'the bundle verified in an empty folder':<44} {checked.seconds:8.2f} s   {where}")


def offline() -> tuple[str, ...]:
    """What runs a command without a network; empty where the system does not let us."""
    prefix = ("unshare", "--user", "--map-root-user", "--net")
    try:
        done = subprocess.run([*prefix, sys.executable, "-c", ""], capture_output=True, check=False)
    except OSError:
        return ()
    return prefix if done.returncode == 0 else ()


async def play(site: Site, *, pages: int, outside: Path) -> Theft:
    """The whole story, while the installation is served. Raises: DrillFailed."""
    tell("the thief is at work")
    theft = await steal_and_use(site, pages=pages)
    heading("A stolen token")
    say(f"the thief made {sum(theft.thief.values())} calls; what the callers did:")
    for (resource, tool), count in sorted((theft.integration + theft.thief).items()):
        say(f"  {resource:<16} {tool:<16} {count:>6}")
    await asyncio.to_thread(ask_for_the_blast_radius, site, theft)
    await asyncio.to_thread(ask_what_it_was, site, theft)
    await revoke(site, theft)
    await asyncio.to_thread(hand_over, site, theft, outside)
    return theft
