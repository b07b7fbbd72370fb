"""The owner's webhook: told at least once of each call that waits, signed, and never of what the call says.

Spec: Standard Webhooks 1.0
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from perhop.core.approval import Approval, ApprovalState
from perhop.gateway.approvals import StoredApproval
from perhop.rules.approval import call_digest
from perhop.wiring.webhooks import Delivery
from tests.support.certificates import make_ca
from tests.support.leaks.scan import THE_SCAN
from tests.support.leaks.secrets import Kind
from tests.support.upstreams import modern
from tests.support.webhook_receivers import receiver
from tests.support.webhook_sites import KEY, POLICIES, QUICK, SAID, SECRET, Site, webhook_site


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with webhook_site(tmp_path) as made:
        yield made


async def test_a_team_is_told_of_a_call_that_waits(site: Site) -> None:
    """Who wants to do what, for whom, until when, and by which policies: all of it, and nothing more."""
    async with site.working():
        approval = await site.ask()
        got = await site.receiver.next()
    stored = (await site.world.approvals.get(approval)).approval
    assert (got.method, got.path, got.headers["content-type"]) == (
        "POST",
        "/hooks/approvals?key=of-the-receiver-and-nobody-else".partition("?")[0],
        "application/json",
    )
    assert got.message["type"] == "approval.requested"
    assert _seconds(got.message["timestamp"]) == stored.asked_at
    data = got.message["data"]
    assert _seconds(data.pop("expires_at")) == stored.expires_at
    assert data == {
        "approval": approval,
        "url": f"https://console.example.com/{approval}",
        "agent": "trip-planner",
        "client": "trip-planner",
        "subject": "user:ann",
        "resource": "calendar",
        "owner": "travel-team",
        "task": None,
        "method": "tools/call",
        "name": "create_event",
        "policies": ["asks"],
        "policy_version": site.world.gate.policy.version,
    }


def _seconds(text: str) -> int:
    assert text.endswith("Z")
    return int(datetime.fromisoformat(text).timestamp())


async def test_the_page_where_a_person_decides_is_named(site: Site) -> None:
    """`url`, for this very approval."""
    async with site.working():
        approval = await site.ask()
        got = await site.receiver.next()
    assert got.message["data"]["url"] == f"https://console.example.com/{approval}"


async def test_nothing_of_what_the_call_says_is_told(site: Site) -> None:
    """No argument, no token and no digest that one could try values against: not in the body, not in a header."""
    async with site.working():
        await site.ask()
        got = await site.receiver.next()
    stored = (await site.world.approvals.get(got.approval)).approval
    whole = got.body.decode() + str(got.headers)
    assert [each for each in (SAID, "title", stored.call.params_sha256, "eyJ", SECRET) if each in whole] == []


async def test_a_message_is_signed_with_the_secret_of_the_owner(site: Site) -> None:
    """The signature is that of the specification, over id, time and body; with another secret it does not hold."""
    async with site.working():
        await site.ask()
        got = await site.receiver.next()
    assert got.is_signed_with(KEY)
    assert not got.is_signed_with(KEY[::-1])
    assert not got.is_signed_with(SECRET.encode())
    assert not replace(got, body=got.body.replace(b"create_event", b"delete_event")).is_signed_with(KEY)
    moved = {**got.headers, "webhook-timestamp": str(int(got.headers["webhook-timestamp"]) + 1)}
    assert not replace(got, headers=moved).is_signed_with(KEY)
    assert abs(int(got.headers["webhook-timestamp"]) - site.world.clock()) < 60


async def test_a_secret_that_is_not_encoded_is_the_key_itself(site: Site) -> None:
    """Byte for byte, as it is written."""
    plain = THE_SCAN.note("a-plain-secret-of-the-travel-team-1", Kind.CLIENT_SECRET)
    site.tell(site.receiver.url, secret=plain)
    async with site.working():
        await site.ask()
        assert (await site.receiver.next()).is_signed_with(plain.encode())


async def test_what_was_not_taken_is_told_again_as_the_same_message(site: Site) -> None:
    """After each answer but 2xx: with the same id and body, signed for the time of the attempt. Once taken, no more."""
    site.receiver.answers = [500, 404, 429]
    async with site.working():
        approval = await site.ask()
        first = await site.receiver.next()
        site.world.clock.ahead = 100
        again = [await site.receiver.next() for _ in range(3)]
        await site.told(approval)
        other = await site.ask("another title")
        assert (await site.receiver.next()).approval == other
    assert {each.headers["webhook-id"] for each in again} == {first.headers["webhook-id"]}
    assert {each.body for each in again} == {first.body}
    last = again[-1]
    assert int(last.headers["webhook-timestamp"]) >= int(first.headers["webhook-timestamp"]) + 99
    assert all(each.is_signed_with(KEY) for each in (first, *again))
    counts = site.made[-1].counts
    assert (counts["travel-team", Delivery.REFUSED], counts["travel-team", Delivery.TAKEN]) == (3, 2)


async def test_each_approval_is_a_message_of_its_own(site: Site) -> None:
    """Ids differ, and the same call that is made again while it waits is told once."""
    async with site.working():
        approvals = [await site.ask(), await site.ask("another title")]
        assert await site.ask() == approvals[0]
        got = [await site.receiver.next() for _ in range(2)]
        for each in approvals:
            await site.told(each)
        third = await site.ask("a third title")
        assert (await site.receiver.next()).approval == third
    assert sorted(each.approval for each in got) == sorted(approvals)
    ids = {each.headers["webhook-id"] for each in got}
    assert len(ids) == 2
    assert not any("." in each for each in ids)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed(site: Site, status: int) -> None:
    """It is an answer like any other that is not 2xx: nobody else is told, and the same address is tried again."""
    async with receiver() as elsewhere, site.working():
        site.receiver.location, site.receiver.answers = elsewhere.url, [status]
        await site.ask()
        first, second = await site.receiver.next(), await site.receiver.next()
        assert first.headers["webhook-id"] == second.headers["webhook-id"]
        assert elsewhere.got.empty()


async def test_a_receiver_that_hangs_delays_no_call(site: Site) -> None:
    """Calls are answered, decided and repeated while the first message waits for its answer."""
    site.receiver.open.clear()
    async with site.working():
        approval = await site.ask()
        await site.receiver.next()
        await site.ask("another title")
        await site.decide(approval)
        call = modern("tools/call", {"name": "create_event", "arguments": {"title": SAID}})
        assert (await site.world.send(call, token=site.world.token(sub="user:ann"))).status_code == 200
        assert site.made[-1].counts.total() == 0
        site.receiver.open.set()


async def test_after_a_restart_is_told_what_was_left(site: Site) -> None:
    """What was taken is not told again; what was under way, as the same message, and what came meanwhile are."""
    async with site.working():
        taken = await site.ask("the first title")
        assert (await site.receiver.next()).approval == taken
        await site.told(taken)
        site.receiver.open.clear()
        left = await site.ask()
        cut_off = await site.receiver.next()
    site.receiver.open.set()
    missed = await site.ask("a third title")
    async with site.working():
        got = [await site.receiver.next() for _ in range(2)]
        await site.told(left)
        await site.told(missed)
        assert site.receiver.got.empty()
    ids = {each.approval: each.headers["webhook-id"] for each in got}
    assert ids.keys() == {left, missed}
    assert ids[left] == cut_off.headers["webhook-id"]


async def _decided(site: Site, approval: str) -> None:
    await site.decide(approval)


async def _expired(site: Site, _: str) -> None:
    site.world.clock.ahead = 901


async def _under_other_policies(site: Site, _: str) -> None:
    site.world.take_policies(POLICIES, '@id("more") permit (principal, action, resource) when { false };')


@pytest.mark.parametrize("happens", [_decided, _expired, _under_other_policies])
async def test_what_can_no_longer_be_decided_is_not_told(
    site: Site, happens: Callable[[Site, str], Awaitable[None]]
) -> None:
    """Once a person has decided, the time is over or the policies are others, nobody is asked to look."""
    site.receiver.answers = [500]
    site.patience = replace(QUICK, first_pause=3600, last_pause=3600)
    async with site.working():
        approval = await site.ask()
        await site.receiver.next()
        await site.until(lambda each: each.status()["travel-team"]["waiting"] == 1)
    await happens(site, approval)
    async with site.working():  # with no pause left over
        other = await site.ask("another title")
        assert (await site.receiver.next()).approval == other
        await site.told(other)
        await site.until(lambda each: each.status()["travel-team"]["waiting"] == 0)
        assert site.receiver.got.empty()


async def test_a_message_that_is_refused_holds_up_no_other(site: Site) -> None:
    """The next one is told, though the first was not taken; and what is new does not wait for the pause."""
    site.patience = replace(QUICK, first_pause=3600, last_pause=3600)
    site.receiver.answers = [422]
    asked = {await site.ask(), await site.ask("another title")}
    async with site.working():
        _, taken = [(await site.receiver.next()).approval for _ in range(2)]
        await site.told(taken)
        assert taken in asked
        await site.until(lambda each: bool(each.status()["travel-team"]["problem"]))
        new = await site.ask("a third title")
        assert (await site.receiver.next()).approval == new
        await site.told(new)
        assert site.receiver.got.empty()


async def test_an_owner_who_cannot_be_reached_holds_up_no_other(site: Site) -> None:
    """While one receiver hangs, another team is told."""
    resource = next(iter(site.registry.resources.values()))
    rooms = replace(resource, name="rooms", owner="facilities")
    site.registry = replace(site.registry, resources={**site.registry.resources, "rooms": rooms})
    site.receiver.open.clear()
    async with receiver() as of_facilities, site.working():
        site.tell(of_facilities.url, owner="facilities")
        own = await site.ask()
        await site.receiver.next()
        stored = await site.world.approvals.get(own)
        theirs = replace(
            stored.approval,
            id="theirs",
            resource="rooms",
            call=replace(stored.approval.call, agent="another-agent"),
            state=ApprovalState.WAITING,
        )
        await _waits(site, theirs)
        got = await of_facilities.next()
        assert (got.approval, got.message["data"]["owner"]) == ("theirs", "facilities")
        site.receiver.open.set()


async def _waits(site: Site, approval: Approval) -> None:
    rows, now = site.world.approval_rows, int(site.world.clock())
    assert await rows.ask(call_digest(approval.call), StoredApproval(approval, b""), most=99, now=now) is not None


async def test_an_owner_without_a_webhook_is_told_nothing(site: Site) -> None:
    """And one that gets a webhook while a call waits is told of it at once; another URL counts from then on."""
    bare = {name: replace(owner, webhook=None) for name, owner in site.registry.owners.items()}
    site.registry = replace(site.registry, owners=bare)
    async with receiver() as moved, site.working():
        approval = await site.ask()
        assert site.made[-1].status() == {}
        site.receiver.answers = [500] * 1000
        site.tell(site.receiver.url)
        assert (await site.receiver.next()).approval == approval
        site.tell(moved.url)
        assert (await moved.next()).approval == approval


async def test_a_problem_is_logged_once_and_its_end_too(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """However often it is tried, and another problem is told again; without the URL, in which a key may stand."""
    caplog.set_level(logging.INFO, "perhop.webhook")
    site.receiver.answers = [500, 500, 500, 403, 403]
    async with site.working():
        approval = await site.ask()
        for _ in range(6):
            await site.receiver.next()
        await site.told(approval)
        await site.until(lambda each: not each.status()["travel-team"]["problem"])
    assert [each.getMessage() for each in caplog.records if each.name == "perhop.webhook"] == [
        "the webhook of owner `travel-team` was not told, and is tried again: it answered HTTP 500",
        "the webhook of owner `travel-team` was not told, and is tried again: it answered HTTP 403",
        "the webhook of owner `travel-team` is told again",
    ]
    assert "of-the-receiver-and-nobody-else" not in caplog.text


async def test_a_receiver_whose_certificate_nobody_believes_is_told_nothing(site: Site, tmp_path: Path) -> None:
    """Nothing is sent, and why is said."""
    _, tls = make_ca(tmp_path)
    heard: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(1))
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0, ssl=tls)
    async with server:
        site.tell(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook")
        async with site.working():
            await site.ask()
            webhooks = await site.until(lambda each: each.counts["travel-team", Delivery.UNREACHABLE] > 1)
            problem = str(webhooks.status()["travel-team"]["problem"])
    assert problem.startswith("its certificate is not believed")
    assert not any(heard)


async def test_nobody_who_answers_is_no_end(site: Site) -> None:
    """A port where nothing listens, then the receiver: it is told in the end, and what was wrong is known meanwhile."""
    live = site.receiver.url
    site.tell("http://127.0.0.1:1/hook")
    async with site.working():
        approval = await site.ask()
        webhooks = await site.until(lambda each: each.counts["travel-team", Delivery.UNREACHABLE] > 2)
        assert webhooks.status()["travel-team"] == {"waiting": 1, "problem": "nothing answers there"}
        site.tell(live)
        assert (await site.receiver.next()).approval == approval


async def test_an_answer_that_does_not_come_is_given_up(site: Site) -> None:
    """A receiver that hangs is asked again, and that it did not answer is said."""
    site.patience = replace(QUICK, answer=0.05)
    site.receiver.open.clear()
    async with site.working():
        await site.ask()
        ids = {(await site.receiver.next()).headers["webhook-id"] for _ in range(3)}
        webhooks = await site.until(lambda each: each.counts["travel-team", Delivery.UNREACHABLE] > 1)
        assert "did not answer" in str(webhooks.status()["travel-team"]["problem"])
    assert len(ids) == 1
