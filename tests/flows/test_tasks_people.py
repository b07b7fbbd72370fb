"""A person approves a task by consenting to a request that names it, and it is that person's from then on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest

from perhop.authorization_server.revocation import RevokedObject
from perhop.authorization_server.store import Account
from perhop.authorization_server.tasks import MAX_TASKS, MAX_UNPROVED, UNPROVED_LIFETIME, UNPROVED_SECONDS
from perhop.core.client import ClientSecret, GrantType, NoAuthentication
from perhop.core.secret import Secret
from perhop.errors import StorageUnavailable
from perhop.journal.record import Record
from tests.support.authorization_servers import (
    CALENDAR,
    EMAIL,
    PASSWORD,
    PERSON,
    SECRET,
    RunningServer,
    assert_refused,
    claims_of,
    naming,
    running_server,
)
from tests.support.browsers import Browser, a_request, answer_in, form_in, redeem

BOB_EMAIL, BOB = "bob@example.com", "user:bob"
TOOLS = ["calendar/list_*", "calendar/get_event", "rooms/*"]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningServer]:
    async with running_server(tmp_path) as running:
        clients = running.issuer.registry.clients
        # A confidential client of people, which can get tokens for itself as well.
        desk = replace(
            clients["desk-app"],
            authentication=ClientSecret("client_secret_post", Secret(SECRET)),
            grants=frozenset({GrantType.AUTHORIZATION_CODE, GrantType.CLIENT_CREDENTIALS}),
        )
        running.change_registry(clients={**clients, "desk-app": desk})
        bob = Account(email=BOB_EMAIL, subject=BOB, password_hash=running.issuer.passwords.hash(PASSWORD))
        await running.stores.accounts.add(bob)
        yield running


@pytest.fixture
def browser(server: RunningServer) -> Browser:
    return Browser(server)


def _proof() -> dict[str, str]:
    return {"client_id": "desk-app", "client_secret": SECRET}


@pytest.fixture
def begin(server: RunningServer) -> Callable[..., Awaitable[str]]:
    """Begins a task of the application's."""

    async def begun(**changes: object) -> str:
        return await server.task_id(by="desk-app", **{"tools": TOOLS, "client_secret": SECRET} | changes)

    return begun


async def _own_token(server: RunningServer, task: str) -> httpx2.Response:
    return await server.ask(grant_type="client_credentials", resource=CALENDAR, **_proof(), **naming(task))


async def test_the_page_says_what_the_task_is(browser: Browser, begin: Callable[..., Awaitable[str]]) -> None:
    """Purpose, tools, limits and time stand there in words, in a form without scripts."""
    task = await begin(purpose="plan the <trip> to Oslo", limits={"calls": 12, "writes": 0}, expires_in=7_200)
    page = await browser.sign_in(a_request(**naming(task)))
    for shown in (
        "for one task",
        "plan the &lt;trip&gt; to Oslo",
        "calendar: every tool named list_*",
        "calendar: the tool get_event",
        "rooms: every tool, prompt and document",
        "at most 12 calls; none of them may change something",
        "2 hours from now",
    ):
        assert shown in page.text
    assert "<script" not in page.text
    assert form_in(page).buttons == [("decision", "allow"), ("decision", "deny")]


async def test_consenting_approves_the_task(
    server: RunningServer, browser: Browser, begin: Callable[..., Awaitable[str]]
) -> None:
    """The code carries the task into the token; the task is the person's, and the journal says who approved it."""
    task = await begin()
    code = await browser.code(a_request(**naming(task)))
    claims = claims_of(await redeem(server, code, **_proof()))
    assert claims["sub"] == PERSON
    assert claims["authorization_details"] == [{"type": "agent_task", "id": task}]
    known = server.issuer.tasks.find(task)
    assert known is not None
    assert (known.subject, known.approved_at) == (PERSON, server.issuer.now())
    approved = server.records("task.changed")[-1]
    assert (approved["about"]["change"], approved["about"]["by"]) == ("approved", PERSON)


@pytest.mark.parametrize(("happens", "why"), [("ended", "task.expired"), ("storage fails", "journal.unavailable")])
async def test_an_approval_that_came_to_nothing_is_recorded_as_such(
    server: RunningServer,
    browser: Browser,
    begin: Callable[..., Awaitable[str]],
    monkeypatch: pytest.MonkeyPatch,
    happens: str,
    why: str,
) -> None:
    """It is recorded before it is made; where it then cannot be made, the journal does not end with a yes."""
    task = await begin()
    consent = await browser.sign_in(a_request(**naming(task)))
    append, tasks = server.issuer.journal.append, server.issuer.tasks

    async def meanwhile(record: Record) -> int:
        if record.about is not None and record.about.get("change") == "approved" and happens == "ended":
            await tasks.end(task, why="enough", by="operator:test")
        return await append(record)

    async def unwritten(*_: object, **__: object) -> None:
        raise StorageUnavailable("the disk is full")

    monkeypatch.setattr(server.issuer.journal, "append", meanwhile)
    if happens == "storage fails":
        monkeypatch.setattr(server.stores.task_rows, "approve", unwritten)
    await browser.allow(consent)
    known = tasks.find(task)
    assert known is not None
    assert not known.is_approved
    last = server.records("task.changed")[-1]["about"]
    assert (last["change"], last["by"], last["why"]) == ("not approved", PERSON, why)


async def test_denying_approves_nothing(
    server: RunningServer, browser: Browser, begin: Callable[..., Awaitable[str]]
) -> None:
    """After a no the task is nobody's, and there is no code."""
    task = await begin()
    page = await browser.sign_in(a_request(**naming(task)))
    redirect = await browser.send(page, {"decision": "deny"})
    assert answer_in(redirect)["error"] == "access_denied"
    known = server.issuer.tasks.find(task)
    assert known is not None
    assert known.subject is None
    assert server.records("token.refused")[-1]["task"]["id"] == task


async def test_a_stored_consent_does_not_stand_for_a_task(
    browser: Browser, begin: Callable[..., Awaitable[str]]
) -> None:
    """Who has allowed the application before is asked all the same for a task not seen yet, and not again after."""
    await browser.code()
    assert (await browser.open(a_request())).status_code == 303
    task = await begin()
    page = await browser.open(a_request(**naming(task)))
    assert page.status_code == 200
    await browser.allow(page)
    assert (await browser.open(a_request(**naming(task)))).status_code == 303
    assert (await browser.open(a_request(**naming(await begin())))).status_code == 200


async def test_allowing_a_task_allows_nothing_without_it(
    server: RunningServer, browser: Browser, begin: Callable[..., Awaitable[str]]
) -> None:
    """No consent is stored: the same application without a task, or under another one, is asked for anew."""
    await browser.code(a_request(**naming(await begin())))
    assert await server.stores.consents.get(PERSON, "desk-app", CALENDAR) is None
    assert (await browser.open(a_request())).status_code == 200
    assert (await browser.open(a_request(**naming(await begin())))).status_code == 200


async def test_an_approved_task_is_good_for_nobody_else(
    server: RunningServer, begin: Callable[..., Awaitable[str]]
) -> None:
    """Another person cannot approve it, and the client itself gets no token under it any more."""
    task = await begin()
    assert (await _own_token(server, task)).status_code == 200
    code = await Browser(server).code(a_request(**naming(task)))
    server.http.cookies.clear()
    bobs = await Browser(server).sign_in(a_request(**naming(task)), email=BOB_EMAIL)
    assert answer_in(bobs)["error"] == "invalid_authorization_details"
    assert_refused(await _own_token(server, task), "invalid_authorization_details")
    assert server.last_refusal()["reason"] == "task.outside"
    assert claims_of(await redeem(server, code, **_proof()))["sub"] == PERSON


async def test_the_successor_of_a_persons_task_is_that_persons(
    server: RunningServer, begin: Callable[..., Awaitable[str]]
) -> None:
    """Once a person has consented, whoever supersedes cannot take the next task to anybody else; it waits for a yes."""
    old = await begin()
    await Browser(server).code(a_request(**naming(old)))
    new = await begin(supersedes=old, purpose="and now to Rome", tools=["calendar/*"])
    known = server.issuer.tasks.find(new)
    assert known is not None
    assert (known.subject, known.is_approved) == (PERSON, False)
    assert_refused(await _own_token(server, new), "invalid_authorization_details")
    assert (await Browser(server).open(a_request(**naming(new)))).status_code == 200
    server.http.cookies.clear()
    bobs = await Browser(server).sign_in(a_request(**naming(new)), email=BOB_EMAIL)
    assert answer_in(bobs)["error"] == "invalid_authorization_details"


async def test_a_form_of_a_superseded_task_approves_nothing(
    server: RunningServer, browser: Browser, begin: Callable[..., Awaitable[str]]
) -> None:
    """The task changes while the page is open: the yes of that page is for a task that is over."""
    old = await begin()
    page = await browser.sign_in(a_request(**naming(old)))
    await begin(supersedes=old)
    redirect = await browser.allow(page)
    assert answer_in(redirect)["error"] == "invalid_authorization_details"
    known = server.issuer.tasks.find(old)
    assert known is not None
    assert known.subject is None


@pytest.mark.parametrize("ends_by", ["superseded", "ended", "expired", "revoked"])
async def test_a_code_of_a_task_that_is_over_gives_nothing(
    server: RunningServer, browser: Browser, begin: Callable[..., Awaitable[str]], ends_by: str
) -> None:
    """Superseded, ended, expired or revoked between consent and redemption: `invalid_grant`, with the reason."""
    task = await begin(expires_in=30)
    code = await browser.code(a_request(**naming(task)))
    match ends_by:
        case "superseded":
            await begin(supersedes=task)
        case "ended":
            await server.issuer.tasks.end(task, why="test", by="test")
        case "expired":
            server.clock.now += 30
        case _:
            await server.issuer.revoker.revoke(RevokedObject.TASK, task, why="test", by="test")
    assert_refused(await redeem(server, code, **_proof()), "invalid_grant")
    reasons = {"superseded": "task.superseded", "revoked": "request.malformed"}
    assert server.last_refusal()["reason"] == reasons.get(ends_by, "task.expired")


async def test_a_code_is_redeemed_under_its_own_task_only(
    server: RunningServer, browser: Browser, begin: Callable[..., Awaitable[str]]
) -> None:
    """At the token endpoint the request may name the code's task again, and no other; nor add one to a code without."""
    task, other = await begin(), await begin()
    code = await browser.code(a_request(**naming(task)))
    answer = await redeem(server, code, **_proof(), **naming(other))
    assert_refused(answer, "invalid_authorization_details")
    code = answer_in(await browser.allow(await browser.open(a_request(**naming(task)))))["code"]
    assert (await redeem(server, code, **_proof(), **naming(task))).status_code == 200
    plain = answer_in(await browser.allow(await browser.open(a_request())))["code"]
    assert_refused(await redeem(server, plain, **_proof(), **naming(task)), "invalid_authorization_details")


@pytest.mark.parametrize("details", ["[]", "x", '[{"type":"agent_task","id":"unknown"}]'])
async def test_a_request_with_a_bad_task_goes_back_to_the_application(browser: Browser, details: str) -> None:
    """The error is the one of RFC 9396, at the redirect URI, before anybody signs in."""
    answer = answer_in(await browser.open(a_request(authorization_details=details)))
    assert answer["error"] == "invalid_authorization_details"
    assert EMAIL not in str(answer)


async def test_a_policy_may_permit_by_an_approved_purpose(
    server: RunningServer, browser: Browser, begin: Callable[..., Awaitable[str]]
) -> None:
    """Where policy wants an approved purpose, the person is asked, and then a token is had; but not for the client."""
    server.forbid(
        '@id("approved") forbid (principal, action == MCP::Action::"issue", resource)'
        ' unless {context has task && context.task has purpose && context.task.purpose like "plan*"};'
    )
    task = await begin()
    assert_refused(await _own_token(server, task), "invalid_target")
    code = await browser.code(a_request(**naming(task)))
    assert (await redeem(server, code, **_proof())).status_code == 200
    unfit = await begin(purpose="read everything")
    assert answer_in(await browser.open(a_request(**naming(unfit))))["error"] == "invalid_target"


@pytest.mark.parametrize("changes", [{"purpose": "\u3164" * 20}, {"tools": ["calendar/\u3164*"]}])
async def test_nobody_approves_what_does_not_show(server: RunningServer, changes: dict[str, object]) -> None:
    """Letters that show nothing make no purpose, and no pattern."""
    assert_refused(await server.begin_task(**changes), "invalid_request")


async def test_a_purpose_paints_over_nothing(
    server: RunningServer, browser: Browser, begin: Callable[..., Awaitable[str]]
) -> None:
    """Marks beyond what a language needs are written out, for the person who is asked."""
    page = await browser.sign_in(a_request(**naming(await begin(purpose="tidy e" + "\u0301\u0302\u0303\u0304" * 9))))
    assert "\\u0304" in page.text
    assert "\u0304" not in page.text


async def test_strangers_lock_no_public_client_out_of_tasks(server: RunningServer) -> None:
    """Who begins as many tasks as may be, in another's name and for as long as may be, has filled nothing by that."""
    server.change_client("desk-app", authentication=NoAuthentication())
    begun = await server.begin_task(by="desk-app", expires_in=30 * 24 * 3600)
    assert begun.json()["expires_in"] == UNPROVED_LIFETIME
    assert UNPROVED_LIFETIME // UNPROVED_SECONDS * MAX_UNPROVED + MAX_UNPROVED < MAX_TASKS


async def test_the_answer_names_the_task_of_the_token(server: RunningServer) -> None:
    """What the token carries, the client is told. Spec: RFC 9396 §7."""
    task = await server.task_id()
    answer = await server.planner_token(**naming(task))
    assert answer.json()["authorization_details"] == claims_of(answer)["authorization_details"]
    assert answer.json()["authorization_details"] == [{"type": "agent_task", "id": task}]
    assert "authorization_details" not in (await server.planner_token()).json()
