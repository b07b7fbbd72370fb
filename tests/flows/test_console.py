"""The console: a person of the owner's team looks at one exact call, and decides on it; whoever else, does not.

Spec: RFC 9700 §4.7.1
Spec: RFC 9700 §4.16
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from perhop.rules.approval import FRESH_SECONDS, MAX_WHY
from perhop.settings import load
from perhop.wiring.reload import put_in_force
from tests.support.browsers import form_in
from tests.support.consoles import (
    ANN,
    BOB,
    DORA,
    FAY,
    PASSWORD,
    STRANGER,
    ConsoleWorld,
    add_account,
    console_world,
)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[ConsoleWorld]:
    async with console_world(tmp_path / "i") as made:
        yield made


def main_of(page: httpx2.Response) -> str:
    """What the page says, without its head and its style."""
    return re.sub(r"<[^>]+>", "", page.text.partition("<main>")[2]).replace("&#34;", '"')


# --- a call, from the refusal to the answer ------------------------------------------------------------------------


async def test_a_call_that_a_person_approves_passes_once(world: ConsoleWorld) -> None:
    """An agent is refused, a person signs in, looks and approves; the same call passes, and the one after it waits."""
    token = await world.token()
    refused = await world.call(token=token)
    assert (refused.status_code, refused.json()["error"]["data"]["reason"]) == (403, "approval.required")
    approval = refused.json()["error"]["data"]["approval"]
    browser = await world.browser()
    page = await browser.follow(await browser.open("/"))
    page = await browser.follow(page)
    assert form_in(page).fields == ["email", "password"]
    waiting = await browser.follow(await browser.send(page, {"email": BOB, "password": PASSWORD}))
    assert f'href="/approvals/{approval}"' in waiting.text
    page = await browser.open(f"/approvals/{approval}")
    assert form_in(page).buttons == [("decision", "approve"), ("decision", "deny")]
    decided = await browser.send(page, {"decision": "approve", "why": "asked the planners"})
    told = await browser.follow(decided)
    assert told.status_code == 200
    for shown in ("Approved", BOB, "asked the planners", "The agent repeats its call by itself", "passes once"):
        assert shown in main_of(told)
    assert (await world.call(token=token)).status_code == 200
    assert len([each for each in world.upstream.received if b"create_event" in each.body]) == 1
    assert (await world.call(token=token)).json()["error"]["data"]["approval"] != approval
    record = world.records("approval.changed")[1]
    assert record["about"]["approver"] == record["about"]["by"] == world.subjects[BOB]
    assert (record["about"]["change"], record["about"]["why"]) == ("approved", "asked the planners")
    assert record["request"]["ip"] == "127.0.0.1"
    assert "Approved, and made" in main_of(await browser.open(f"/approvals/{approval}"))


async def test_a_call_that_a_person_denies(world: ConsoleWorld) -> None:
    """The page says what the agent hears, and the journal why; the agent hears that it was denied, and not why."""
    approval = await world.asked()
    browser = await world.browser(DORA)
    told = await browser.follow(await browser.decide(approval, "deny", "no events on Fridays"))
    assert "Denied" in main_of(told)
    assert "The agent hears that the owner denied it" in main_of(told)
    answer = await world.call(token=world.token_of("trip-planner", client_id="trip-planner"))
    assert answer.json()["error"]["message"] == "the owner of the resource denied this call"
    assert "Fridays" not in answer.text
    assert world.records("approval.changed")[-1]["about"]["why"] == "no events on Fridays"


async def test_the_page_says_all_there_is_to_know(world: ConsoleWorld) -> None:
    """Who, presented by whom, for whom, what for, where, which policy wants it and why, and how long it waits still."""
    token = world.token_of(ANN, client_id="desk-app")
    assert (await world.call(token=token)).status_code == 403
    (waiting,) = await world.plane.approvals.waiting()
    page = main_of(await (await world.browser(BOB)).open(f"/approvals/{waiting.approval.id}"))
    uri = world.settings.registry.resources["calendar"].uri
    for shown in ("desk-app", "shows people their calendar", "owned by finance-team", ANN, "it named no task", uri):
        assert shown in page
    for shown in ("tools/call", "create_event", "medium risk", "owned by travel-team", "changes-are-approved"):
        assert shown in page
    assert "somebody looks before the &lt;calendar&gt; changes" in page
    assert "Waits 15 minutes more, until " in page
    assert '"day": "2026-11-27"' in page


async def test_the_page_says_whose_word_the_purpose_is(world: ConsoleWorld) -> None:
    """The purpose of a task is the agent's own word until a person has approved it."""
    task = await world.begin_task(purpose="plan lunch", tools=["calendar/*"])
    details = [{"type": "agent_task", "id": task}]
    approval = await world.asked(authorization_details=details)
    browser = await world.browser(BOB)
    page = main_of(await browser.open(f"/approvals/{approval}"))
    assert "plan lunch" in page
    assert "the agent's own word: no person has approved this purpose" in page.replace("&#39;", "'")
    await world.approve_task(task, world.subjects[ANN])
    approval = await world.asked(person=ANN, client_id="trip-planner", authorization_details=details)
    page = main_of(await browser.open(f"/approvals/{approval}"))
    assert f"the purpose of its task, which {ANN} approved" in page


async def test_calls_of_one_tool_can_be_told_apart_in_the_list(world: ConsoleWorld) -> None:
    """Each has its id, as the agent hears it, and one line of its arguments: cut, escaped, nothing in it unseen."""
    calls = [{"title": "<b>Lunch"}, {"title": "Din\u202ener"}, {"about": "x" * 5000, "title": "never"}]
    ids = [await world.asked(each) for each in calls]
    page = (await (await world.browser(BOB)).open("/approvals")).text
    for approval in ids:
        assert f"<code>{approval}</code>" in page
    assert "&#34;title&#34;: &#34;&lt;b&gt;Lunch&#34;}</code>" in page
    assert 'Din<span class="unseen">\\u202e</span>ner' in page
    assert f"{{&#34;about&#34;: &#34;{'x' * 109}…</code>" in page
    assert "x" * 200 not in page
    assert "never" not in page
    assert "<b>" not in page


async def test_after_a_wrong_password_the_address_is_still_there(world: ConsoleWorld) -> None:
    """As it was typed, escaped, no longer than an address is; and what comes next is the password."""
    browser = await world.browser()
    page = await browser.sign_in('Bob"><i>@example.com', password="wrong")
    assert page.status_code == 403
    assert 'value="Bob&#34;&gt;&lt;i&gt;@example.com"' in page.text
    assert re.search(r'<input id="password"[^>]* autofocus>', page.text)
    assert page.text.count("autofocus") == 1
    page = await browser.sign_in("b" * 300, password="wrong")
    assert re.search(r'value="b{254}"', page.text)


async def test_the_list_is_of_ones_own_teams(world: ConsoleWorld) -> None:
    """Of another team's calls not even a line is there; who is of no team is told so."""
    calendar = await world.asked()
    payroll = await world.asked({"amount": 9}, resource="payroll", tool="pay")
    shown = {email: (await (await world.browser(email)).open("/approvals")).text for email in (BOB, DORA, FAY)}
    for email in (BOB, DORA):
        assert calendar in shown[email]
        assert payroll not in shown[email]
        assert "amount" not in shown[email]
    assert payroll in shown[FAY]
    assert calendar not in shown[FAY]
    assert "Lunch" not in shown[FAY]
    stranger = (await (await world.browser(STRANGER)).open("/approvals")).text
    assert "You are of no team that owns a server" in stranger
    await (await world.browser(FAY)).decide(payroll, "deny")
    assert "Nothing waits for finance-team" in (await (await world.browser(FAY)).open("/approvals")).text


async def test_the_admin_of_init_signs_in_here(world: ConsoleWorld) -> None:
    """The account for the console only is let in at the console, under a name that is no address."""
    await add_account(world.plane, "root", console_only=True)
    browser = await world.browser("root")
    assert (await browser.open("/approvals")).status_code == 200


async def test_what_is_over_is_shown_as_it_ended(world: ConsoleWorld) -> None:
    """What nobody decided in time, and what was approved and not used, says so, and has no form."""
    late, unused = await world.asked(), await world.asked({"title": "Dinner"})
    browser = await world.browser(BOB)
    await browser.decide(unused, "approve")
    world.clock.ahead = 1000
    assert "Nobody decided in time" in main_of(await browser.open(f"/approvals/{late}"))
    page = await browser.open(f"/approvals/{unused}")
    assert "Approved, and not made" in main_of(page)
    assert form_in(page).buttons == []


# --- who decides ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("email", [FAY, STRANGER])
async def test_another_teams_approval(world: ConsoleWorld, email: str) -> None:
    """Looking and deciding get the very answer of an approval that is not there, and change nothing."""
    approval = await world.asked()
    browser = await world.browser(email)
    nothing = await browser.open("/approvals/no-such-approval")
    there = await browser.open(f"/approvals/{approval}")
    assert nothing.status_code == there.status_code == 404
    assert nothing.text == there.text
    page = await (await world.browser(BOB)).open(f"/approvals/{approval}")
    sent = {**form_in(page).hidden, "decision": "approve"}
    assert (await browser.post(f"/approvals/{approval}", sent)).status_code == 404
    assert await world.state(approval) == "waiting"


async def test_a_requesters_own_approval(world: ConsoleWorld) -> None:
    """The person for whom the agent acts sees the call, and has no button; a form sent all the same is refused."""
    approval = await world.asked(person=ANN)
    browser = await world.browser(ANN)
    assert "somebody else of the team decides" in (await browser.open("/approvals")).text
    page = await browser.open(f"/approvals/{approval}")
    assert form_in(page).buttons == []
    assert "nobody approves a call that is made for themselves" in page.text
    other = await (await world.browser(BOB)).open(f"/approvals/{approval}")
    answer = await browser.post(f"/approvals/{approval}", {**form_in(other).hidden, "decision": "approve"})
    assert answer.status_code == 403
    assert await world.state(approval) == "waiting"


async def test_a_stale_sign_in(world: ConsoleWorld) -> None:
    """After five minutes the person signs in again, comes back to the call, and finds the reason typed already."""
    approval = await world.asked()
    browser = await world.browser(BOB)
    page = await browser.open(f"/approvals/{approval}")
    world.clock.ahead += FRESH_SECONDS + 1
    why = "first line\r\n<second> & “third”"
    again = await browser.send(page, {"decision": "approve", "why": why})
    assert again.status_code == 403
    assert await world.state(approval) == "waiting"
    assert form_in(again).fields == ["email", "password"]
    assert "Show once more that it is you" in again.text
    back = await browser.send(again, {"email": BOB, "password": PASSWORD})
    assert back.headers["location"] == f"/approvals/{approval}"
    page = await browser.follow(back)
    assert ">first line\n&lt;second&gt; &amp; “third”</textarea>" in page.text
    await browser.send(page, {"decision": "approve", "why": why})
    assert await world.state(approval) == "approved"
    assert world.records("approval.changed")[-1]["about"]["why"] == "first line\n<second> & “third”"


async def test_a_reason_is_kept_for_one_session_and_one_call(world: ConsoleWorld) -> None:
    """What one person typed about one call stands on no other page, and in no URL and no cookie."""
    approval, other = await world.asked(), await world.asked({"title": "Dinner"})
    browser = await world.browser(BOB)
    page = await browser.open(f"/approvals/{approval}")
    world.clock.ahead += FRESH_SECONDS + 1
    again = await browser.send(page, {"decision": "deny", "why": "a reason of bob's"})
    back = await browser.send(again, {"email": BOB, "password": PASSWORD})
    assert "reason" not in back.headers["location"] + back.headers["set-cookie"]
    assert "a reason of bob" in (await browser.follow(back)).text
    assert "a reason of bob" not in (await browser.open(f"/approvals/{other}")).text
    assert "a reason of bob" not in (await (await world.browser(DORA)).open(f"/approvals/{approval}")).text


async def test_a_double_submit(world: ConsoleWorld) -> None:
    """The form sent twice decides once; the second time, and the second person, are told what was decided."""
    approval = await world.asked()
    browser, second = await world.browser(BOB), await world.browser(DORA)
    page, others = await browser.open(f"/approvals/{approval}"), await second.open(f"/approvals/{approval}")
    assert (await browser.send(page, {"decision": "approve"})).status_code == 303
    for answer in (await browser.send(page, {"decision": "deny"}), await second.send(others, {"decision": "deny"})):
        assert answer.status_code == 409
        assert "Your decision changed nothing" in main_of(answer)
        assert f"by {BOB}" in main_of(answer)
    assert await world.state(approval) == "approved"
    assert len(world.records("approval.changed")) == 2


async def test_a_decision_under_other_policies(world: ConsoleWorld) -> None:
    """A call that was asked for under policies that are no longer in force cannot be decided, and the page says so."""
    approval = await world.asked()
    browser = await world.browser(BOB)
    page = await browser.open(f"/approvals/{approval}")
    more = world.settings.policies_dir / "more.cedar"
    more.write_text('@id("more") forbid (principal, action, resource) when { false };\n', encoding="utf-8")
    await put_in_force(world.plane, load(world.settings.file, {}), by="test")
    answer = await browser.send(page, {"decision": "approve"})
    assert answer.status_code == 409
    assert "policies that are no longer in force" in main_of(answer)
    page = await browser.open(f"/approvals/{approval}")
    assert form_in(page).buttons == []
    assert await world.state(approval) == "waiting"


async def _reconfigure(world: ConsoleWorld, old: str, new: str) -> None:
    text = world.settings.file.read_text(encoding="utf-8")
    assert old in text
    world.settings.file.write_text(text.replace(old, new, 1), encoding="utf-8")
    await put_in_force(world.plane, load(world.settings.file, {}), by="test")


async def test_a_page_that_said_something_else(world: ConsoleWorld) -> None:
    """Who saw another purpose, or another owner, than is in force now has not decided on what is."""
    approval = await world.asked()
    browser = await world.browser(BOB)
    page = await browser.open(f"/approvals/{approval}")
    await _reconfigure(world, "plans business trips", "empties calendars")
    again = await browser.send(page, {"decision": "approve"})
    assert again.status_code == 403
    assert "the call is shown differently now" in again.text
    assert "empties calendars" in again.text
    assert await world.state(approval) == "waiting"
    await browser.send(again, {"decision": "approve"})
    assert await world.state(approval) == "approved"


async def test_a_person_who_has_left_the_team(world: ConsoleWorld) -> None:
    """Who is taken out of the team, or whose account is disabled, sees and decides nothing, page or no page."""
    approval = await world.asked()
    browser, other = await world.browser(BOB), await world.browser(ANN)
    page, others = [await each.open(f"/approvals/{approval}") for each in (browser, other)]
    await _reconfigure(world, ", Bob@example.com", "")
    assert (await browser.send(page, {"decision": "approve"})).status_code == 404
    assert (await browser.open(f"/approvals/{approval}")).status_code == 404
    await world.plane.stores.accounts.disable(ANN)
    assert (await other.send(others, {"decision": "approve"})).headers["location"].startswith("/sign-in")
    assert await world.state(approval) == "waiting"


async def test_a_reason_has_a_length(world: ConsoleWorld) -> None:
    """One character more than is kept: nothing is decided, and what was typed stands there still."""
    approval = await world.asked()
    browser = await world.browser(BOB)
    answer = await browser.decide(approval, "approve", "x" * (MAX_WHY + 1))
    assert answer.status_code == 400
    assert "x" * (MAX_WHY + 1) in answer.text
    assert await world.state(approval) == "waiting"
    await browser.send(answer, {"decision": "approve", "why": "x" * MAX_WHY})
    assert await world.state(approval) == "approved"


@pytest.mark.parametrize("sent", [{}, {"decision": "allow"}, {"decision": ""}, {"decision": "Approve"}])
async def test_a_form_that_says_nothing_decides_nothing(world: ConsoleWorld, sent: dict[str, str]) -> None:
    """Neither approve nor deny: the page again."""
    approval = await world.asked()
    browser = await world.browser(BOB)
    page = await browser.open(f"/approvals/{approval}")
    answer = await browser.send(page, sent)
    assert answer.status_code == 400
    assert form_in(answer).buttons
    assert await world.state(approval) == "waiting"


async def test_two_decisions_in_one_form(world: ConsoleWorld) -> None:
    """Who approves and denies at once has done neither."""
    approval = await world.asked()
    browser = await world.browser(BOB)
    hidden = form_in(await browser.open(f"/approvals/{approval}")).hidden
    body = "&".join([*(f"{name}={value}" for name, value in hidden.items()), "decision=deny", "decision=approve"])
    answer = await browser.http.post(
        f"{world.console}/approvals/{approval}",
        content=body,
        headers={"content-type": "application/x-www-form-urlencoded"},
    )
    assert answer.status_code == 400
    assert await world.state(approval) == "waiting"
