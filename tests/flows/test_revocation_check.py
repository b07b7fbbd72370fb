"""The check of the revocation bound in a server that runs: figures for every place, and what is really broken is told.

How long anything takes is judged by the product alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import re
import sqlite3
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from perhop.authorization_server.issue import issue_canary
from perhop.authorization_server.revocation_canary import BY, CANARY_CLIENT, issue_revocation_canary
from perhop.control.doctor import Status, diagnose
from perhop.control.doctor.patient import Patient
from perhop.control.doctor.revocation import bound
from perhop.control.running import control_socket
from perhop.demo.run import staged
from perhop.journal.canonical import format_time
from perhop.journal.query import Filter
from perhop.serving.serve import Serving, serving
from perhop.settings import load
from perhop.wiring.revocation_check import Failed, Measured, NotMeasured, Place, Result, RevocationCheck, Round, Rounds
from tests.support.asgi_server import serving as serving_app
from tests.support.certificates import make_ca
from tests.support.commands import Ran, perhop
from tests.support.installations import await_revocation_check, installed_beside
from tests.support.processes import free_port
from tests.support.relay import Relay
from tests.support.upstreams import modern, recording_upstream

SELDOM = Rounds(every=86_400, soon=86_400, patience=6)
"""Once at the start; further rounds are the test's to make. What is broken is given up sooner than usual."""

NAMES = {place: f"revocation bound {place.value}" for place in Place}


@dataclass
class Site:
    """An installation that is served in this process."""

    running: Serving
    http: httpx2.AsyncClient
    folder: Path

    async def first_round(self) -> Round:
        """What the round at the start has found."""
        async with asyncio.timeout(30):
            while (found := self.running.revocation_check.figures.latest) is None:
                await asyncio.sleep(0.01)
        return found

    async def round(self) -> Round:
        """Make another one."""
        return await self.running.revocation_check.run(self.http)

    async def round_in_time(self) -> Round:
        """Rounds until one is within the bound: a machine that is busy with other tests may be late at first."""
        async with asyncio.timeout(25):
            while (found := self.running.revocation_check.figures.latest) is None or found.result is not Result.OK:
                await self.round()
        return found

    async def doctor(self) -> tuple[int, dict[str, dict[str, Any]]]:
        """The exit code of the command, and its findings by their names."""
        ran: Ran = await asyncio.to_thread(perhop, "doctor", "--json", folder=self.folder)
        return ran.code, {each["name"]: each for each in ran.json["checks"]}

    async def metrics(self) -> str:
        return (await self.http.get(f"http://{self.running.plane.settings.listen.ops}/metrics")).text


@contextlib.asynccontextmanager
async def _site(folder: Path) -> AsyncIterator[Site]:
    settings = load(folder / "perhop.yaml", {})
    async with (
        serving(settings, clock=time.time, control=control_socket, rounds=SELDOM) as running,
        httpx2.AsyncClient(timeout=30, trust_env=False) as http,
    ):
        site = Site(running, http, folder)
        await site.first_round()
        yield site


def _issuer(folder: Path, issuer: str) -> str:
    """Let the installation have another issuer; returns where its traffic listener is all the same."""
    file = folder / "perhop.yaml"
    text = file.read_text(encoding="utf-8")
    (before,) = re.findall(r"^issuer: (\S+)$", text, re.M)
    file.write_text(text.replace(f"issuer: {before}", f"issuer: {issuer}"), encoding="utf-8")
    return str(before)


async def test_what_the_check_sees_refused_is_no_news(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The log of a server that is well has no refusal in it: nobody but the check was refused."""
    with caplog.at_level("INFO", "perhop"):
        async with _site(folder) as site:
            found = await site.first_round()
    assert isinstance(found.outcomes[Place.GUARD], Measured)
    assert [each.getMessage() for each in caplog.records if "refused" in each.getMessage()] == []


async def test_every_place_is_measured_and_found_within_the_bound(folder: Path) -> None:
    """A round has a figure for each place, and doctor, readiness and metrics tell the same."""
    async with _site(folder) as site:
        found = await site.round_in_time()
        assert (found.result, found.is_whole, set(found.outcomes)) == (Result.OK, True, set(Place))
        told = (await site.http.get(f"http://{site.running.plane.settings.listen.ops}/readyz")).json()
        assert told["ready"]
        assert told["revocation"]["result"] == "ok"
        assert {place for place, each in told["revocation"]["places"].items() if each["seconds"] is not None} == set(
            Place
        )
        _, findings = await site.doctor()
        for name in ("revocation bound", *NAMES.values()):
            assert findings[name]["status"] == "ok", findings[name]
        assert "last checked" in findings["revocation bound"]["seen"]
        scraped = await site.metrics()
        assert set(re.findall(r'^perhop_revocation_seconds\{place="(\w+)"\} ', scraped, re.M)) == set(Place)
        assert re.search(r'^perhop_revocation_checks_total\{result="ok"\} 1\.0$', scraped, re.M)
        assert re.search(r'^perhop_revocation_checks_total\{result="failed"\} 0\.0$', scraped, re.M)
        assert re.search(r"^perhop_revocation_checked_timestamp_seconds [1-9]", scraped, re.M)


async def test_what_is_revoked_for_the_check_is_good_nowhere_and_says_so(folder: Path) -> None:
    """The token's two records name the check, no resource and no client; the audience is a canary without a scope."""
    async with _site(folder) as site:
        found = [each for each in site.running.plane.reader.find(Filter()) if each.part("about").get("by") == BY]
        issued, revoked = found
        assert (issued.text("event"), revoked.text("event")) == ("token.issued", "revocation")
        out = issued.part("out")
        assert out["aud"].startswith(f"{site.running.plane.issuer.url}/canary/")
        assert (out["scope"], out["sub"], issued.text("client")) == ("", CANARY_CLIENT, CANARY_CLIENT)
        assert (issued.text("resource"), issued.text("owner"), issued.text("tenant")) == (None, None, None)
        assert (revoked.part("about")["kind"], revoked.part("about")["value"]) == ("token", out["jti"])
        assert CANARY_CLIENT not in site.running.plane.registry.clients
        scraped = await site.metrics()
        assert re.findall(r'^perhop_revocations_total\{kind="(\w+)"\}', scraped, re.M) == [BY]
        assert re.findall(r'^perhop_tokens_issued_total\{grant="(\w+)"', scraped, re.M) == [BY]


async def test_a_revocation_that_cannot_be_stored_is_found_at_every_place(folder: Path) -> None:
    """Each place still takes the token: the round has failed, doctor exits with 7, and a later round is well again."""
    async with _site(folder) as site:
        shown_at = site.running.revocation_check.figures.shown_at
        database = site.running.plane.settings.database_path
        await asyncio.to_thread(_execute, database, "ALTER TABLE revocation RENAME TO away")
        found = await site.round()
        assert found.result is Result.FAILED
        assert "the revocation failed" in found.problem
        assert {type(each) for each in found.outcomes.values()} == {Failed}
        code, findings = await site.doctor()
        assert code == 7
        assert "the revocation failed" in findings["revocation bound"]["seen"]
        assert {findings[name]["status"] for name in NAMES.values()} == {"failed"}
        for place in (Place.TOKEN_ENDPOINT, Place.GATEWAY, Place.STREAM):
            assert "still took the token" in findings[NAMES[place]]["seen"]
        assert "no fresh revocation feed" in findings[NAMES[Place.GUARD]]["seen"]  # it is read from the same table
        scraped = await site.metrics()
        assert "perhop_revocation_seconds{" not in scraped
        assert re.search(r'^perhop_revocation_checks_total\{result="failed"\} 1\.0$', scraped, re.M)
        assert site.running.revocation_check.figures.shown_at == shown_at
        await asyncio.to_thread(_execute, database, "ALTER TABLE away RENAME TO revocation")
        assert (await site.round_in_time()).is_whole
        assert (await site.doctor())[1]["revocation bound"]["status"] == "ok"


def _execute(database: Path, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(database)) as db:
        db.execute(statement)


async def test_a_journal_that_cannot_be_written_is_found(folder: Path) -> None:
    """No token leaves without a record, so none can be revoked: the round has failed, and doctor exits with 7."""
    async with _site(folder) as site:
        with contextlib.closing(sqlite3.connect(site.running.plane.settings.journal_path)) as other:
            other.execute("BEGIN IMMEDIATE")  # somebody else writes, and does not end
            found = await site.round()
        assert (found.result, dict(found.outcomes)) == (Result.FAILED, {})
        assert "no token was got" in found.problem
        code, findings = await site.doctor()
        assert (code, findings["revocation bound"]["status"]) == (7, "failed")
        assert "no token was got" in findings["revocation bound"]["seen"]


Forward = Callable[[Request], Awaitable[Response]]


def _proxy(url: str, folder: Path, http: httpx2.AsyncClient, at_feed: Callable[[Forward], Forward]) -> Starlette:
    """A proxy at this URL, which is the issuer from now on; what it does with the feed is the test's."""
    listener = _issuer(folder, url)

    async def forward(request: Request) -> Response:
        query = f"?{request.url.query}" if request.url.query else ""
        answer = await http.get(f"{listener}{request.url.path}{query}")
        kept = {"content-type": answer.headers["content-type"]}
        return Response(answer.content, status_code=answer.status_code, headers=kept)

    return Starlette(routes=[Route("/revocations", at_feed(forward)), Route("/{path:path}", forward)])


def _as_it_is(forward: Forward) -> Forward:
    return forward


def _hidden(_: Forward) -> Forward:
    async def nothing(_: Request) -> Response:
        return Response("not here", status_code=404)

    return nothing


def _cached(forward: Forward) -> Forward:
    kept: list[Response] = []

    async def first_answer(request: Request) -> Response:
        if not kept:
            kept.append(await forward(request))
        return kept[0]

    return first_answer


@pytest.mark.parametrize(
    ("at_feed", "said"), [(_hidden, "no fresh revocation feed"), (_cached, "still took the token")]
)
async def test_a_proxy_that_keeps_the_feed_from_guards_is_found(
    at_feed: Callable[[Forward], Forward], said: str, folder: Path
) -> None:
    """It does not pass the feed on, or from a cache: the guard has failed, the other places have not."""
    async with httpx2.AsyncClient(timeout=30, trust_env=False) as http, contextlib.AsyncExitStack() as stack:
        url = await stack.enter_async_context(serving_app(lambda url: _proxy(url, folder, http, at_feed)))
        site = await stack.enter_async_context(_site(folder))
        assert site.running.plane.issuer.url == url
        found = await site.first_round()
        guard = found.outcomes[Place.GUARD]
        assert isinstance(guard, Failed)
        assert said in guard.why
        assert {type(each) for place, each in found.outcomes.items() if place is not Place.GUARD} == {Measured}
        code, findings = await site.doctor()
        assert (code, findings[NAMES[Place.GUARD]]["status"]) == (7, "failed")
        assert "/revocations" in findings[NAMES[Place.GUARD]]["fix"]
        assert findings[NAMES[Place.GATEWAY]]["status"] == "ok"


async def test_a_proxy_that_passes_the_feed_on_is_no_matter(folder: Path) -> None:
    """The guard follows the feed at the issuer's own URL, whatever stands before it."""
    async with httpx2.AsyncClient(timeout=30, trust_env=False) as http, contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(serving_app(lambda url: _proxy(url, folder, http, _as_it_is)))
        site = await stack.enter_async_context(_site(folder))
        assert (await site.first_round()).is_whole


async def test_an_issuer_that_is_not_reached_from_here_is_no_alarm(folder: Path) -> None:
    """The guard is not measured, with the reason in words; the other places are, and the round is well."""
    _issuer(folder, f"http://127.0.0.1:{free_port()}")
    async with _site(folder) as site:
        found = await site.first_round()
        assert (found.result is Result.FAILED, found.is_whole) == (False, False)
        assert isinstance(found.outcomes[Place.GUARD], NotMeasured)
        _, findings = await site.doctor()
        guard = findings[NAMES[Place.GUARD]]
        assert (guard["status"], "nothing answers there" in guard["seen"]) == ("skipped", True)
        assert {type(each) for place, each in found.outcomes.items() if place is not Place.GUARD} == {Measured}
        assert findings["revocation bound"]["status"] == "ok"
        assert 'place="guard"' not in await site.metrics()


@pytest.mark.parametrize("is_believed", [False, True])
async def test_a_private_authority_must_be_believed_here_too(
    is_believed: bool, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a TLS proxy with a certificate of its own authority the guard is measured only where that is believed."""
    authority, tls = make_ca(tmp_path)
    (tmp_path / "ca.pem").write_text(authority, encoding="ascii")
    if is_believed:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    port = free_port()
    file = folder / "perhop.yaml"
    plain = _issuer(folder, f"https://127.0.0.1:{port}")
    listener = plain.removeprefix("http://")
    assert f'traffic: "{listener}"' in file.read_text(encoding="utf-8")

    kept = tmp_path / "kept"
    kept.mkdir()
    host, _, inside = listener.partition(":")
    relay = Relay(host, int(inside), kept)
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(await asyncio.start_server(relay.connect, host, port, ssl=tls))
        stack.push_async_callback(relay.close)
        site = await stack.enter_async_context(_site(folder))
        found = (await site.first_round()).outcomes[Place.GUARD]
        if is_believed:
            assert isinstance(found, Measured)
        else:
            assert isinstance(found, NotMeasured)
            assert "its certificate is not believed" in found.why


async def test_doctor_has_nothing_to_say_against_an_installation_in_which_all_is_well(tmp_path: Path) -> None:
    """With guarded servers behind the gateway, it exits with 0 unless a figure is above the bound."""
    async with staged(tmp_path / "demo") as scene:
        ran = await asyncio.to_thread(perhop, "doctor", "--json", folder=scene.folder)
        failed = [each for each in ran.json["checks"] if each["status"] == "failed"]
        assert [each for each in failed if "which is above 2 s" not in each["seen"]] == []
        assert ran.code == (7 if failed else 0)
        assert set(NAMES.values()) <= {each["name"] for each in ran.json["checks"]}


async def test_a_figure_above_the_bound_is_late(folder: Path) -> None:
    """By a timer on which every look takes three seconds, each place is measured, and found late."""
    seconds = itertools.count(step=3)
    async with _site(folder) as site:
        slow = RevocationCheck(site.running.plane, site.running.traffic, SELDOM, timer=lambda: next(seconds))
        found = await slow.run(site.http)
        assert (found.result, found.is_whole) == (Result.LATE, True)
        assert slow.figures.shown_at == found.ended_at


async def test_the_token_of_the_check_is_taken_nowhere(folder: Path) -> None:
    """As the check gets it, unrevoked: the gateway does not take it, and for any other audience none is made."""
    async with _site(folder) as site:
        issuer = site.running.plane.issuer
        token = await issue_revocation_canary(issuer)
        headers, body = modern("tools/call", {"name": "list_events", "arguments": {}})
        headers |= {"authorization": f"Bearer {token.raw.reveal()}"}
        (calendar,) = [gate.resource for gate in site.running.traffic.gates]
        assert (await site.http.post(calendar.uri, content=body, headers=headers)).status_code == 401
        (refused,) = site.running.plane.reader.find(Filter(event="call.refused"))
        assert refused.text("reason") == "audience.mismatch"
        with pytest.raises(ValueError, match="no canary"):
            await issue_canary(dataclasses.replace(token.draft, audience=calendar.uri), issuer, about={})


WELL = {"seconds": 0.01, "failed": "", "not_measured": ""}


def _told(**changes: Any) -> dict[str, Any]:
    """What readiness says when all is well, with these members changed; `guard` is that place's."""
    places = {place.value: WELL for place in Place} | {"guard": changes.pop("guard", WELL)}
    times = {"began_at": format_time(time.time() - 3600), "ended_at": format_time(time.time() - 60)}
    return {"bound": 2, "every": 300.0, "problem": "", "result": "ok", "places": places, **times, **changes}


@pytest.mark.parametrize(
    ("told", "name", "status", "said"),
    [
        (lambda: _told(), "", Status.OK, "last checked "),
        (lambda: _told(problem="no token was got to revoke"), "", Status.FAILED, "no token was got to revoke"),
        (lambda: _told(ended_at=format_time(time.time() - 7200)), "", Status.FAILED, "though it should be every 300 s"),
        (lambda: _told(ended_at=None), "", Status.FAILED, "though it should be every 300 s"),
        (lambda: _told(ended_at=None, began_at=format_time(time.time() - 1)), "", Status.OK, "has not ended yet"),
        (lambda: None, "", Status.WARNING, "/readyz does not say"),
        (lambda: _told(guard=WELL | {"seconds": 2.0}), "guard", Status.OK, "after 2.000 s"),
        (lambda: _told(guard=WELL | {"seconds": 2.1}), "guard", Status.FAILED, "above 2 s"),
        (lambda: _told(guard=WELL | {"seconds": None, "failed": "still taken"}), "guard", Status.FAILED, "still taken"),
        (lambda: _told(guard=WELL | {"seconds": None, "not_measured": "away"}), "guard", Status.SKIPPED, "away"),
    ],
)
async def test_doctor_judges_what_the_server_tells(
    told: Callable[[], dict[str, Any] | None], name: str, status: Status, said: str, folder: Path
) -> None:
    """The bound is printed in any case; each place is judged by its figure, and the whole by how old it is."""
    # Told now, and not when the tests were collected, which may be long ago.
    revocation = told()
    readiness = {"upstreams": {}} if revocation is None else {"upstreams": {}, "revocation": revocation}
    async with httpx2.AsyncClient() as http:
        patient = Patient(
            settings=load(folder / "perhop.yaml", {}),
            http=http,
            tls=ssl.create_default_context(),
            clock=time.time,
            readiness=readiness,
            answers={},
            free_bytes=lambda _: 0,
            installed=lambda _: None,
        )
        seen = {each.part: each for each in await bound(patient)}
    assert "guards whose feed is up: 2 s" in seen[""].seen
    assert (seen[name].status, said in seen[name].seen) == (status, True), seen[name].seen


async def test_checks_that_have_stopped_are_found(folder: Path) -> None:
    """Three intervals without a round: doctor says how long ago the last one was, and that is a failure."""

    def later(intervals: float) -> Callable[[], float]:
        return lambda: time.time() + intervals * SELDOM.every

    async with _site(folder):
        settings = load(folder / "perhop.yaml", {})
        for intervals, status in ((2.9, Status.OK), (3.1, Status.FAILED)):
            findings = await diagnose(settings, clock=later(intervals))
            (found,) = [each.answer for each in findings if each.name == "revocation bound"]
            assert (found.status, "last checked" in found.seen) == (status, True)


async def test_a_server_that_is_started_as_usual_checks_by_itself(tmp_path: Path) -> None:
    """`perhop serve`, with nothing configured for it, has a figure for every place, and doctor judges each by it."""
    async with (
        recording_upstream() as (url, _),
        installed_beside(tmp_path / "perhop", url, unsafe_open=True) as installation,
    ):
        told = await asyncio.to_thread(await_revocation_check, installation.ops)
        assert (told["result"] == "failed", told["problem"]) == (False, "")
        ran = await asyncio.to_thread(perhop, "doctor", "--json", folder=installation.folder)
        status = {each["name"]: each["status"] for each in ran.json["checks"]}
        for place, name in NAMES.items():
            is_late = told["places"][place.value]["seconds"] > told["bound"]
            assert status[name] == ("failed" if is_late else "ok")
