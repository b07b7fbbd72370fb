"""Prepared incidents, told apart by `perhop incident` and `perhop blast-radius`, with the right evidence."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from perhop.journal.record import RequestFacts
from tests.support.commands import perhop
from tests.support.incidents import (
    HOME,
    LEAKED,
    MONDAY,
    STORIES,
    STRANGER,
    TOKEN,
    Story,
    Token,
    called,
    issued,
    ordinary_weeks,
    refused,
    tell,
    write,
)

EVERY = ("list_events", "get_event", "create_event", "delete_event", "share_calendar")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a prepared incident, made once."""
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name) / "installation"
            tell(STORIES[name](), made[name])
        return made[name]

    return folder


def _incident(folder: Path, *words: str) -> dict[str, Any]:
    ran = perhop("incident", LEAKED, *words, "--json", folder=folder)
    assert ran.code == 0, ran.err
    found: dict[str, Any] = ran.json
    return found


def _told_now(story: Story, folder: Path) -> dict[str, Any]:
    tell(story, folder)
    return _incident(folder)


def _signals(found: dict[str, Any]) -> dict[tuple[str, str], tuple[str, str]]:
    return {(each["side"], each["name"]): (each["weight"], each["direction"]) for each in found["signals"]}


@pytest.mark.parametrize(
    ("name", "leans", "signals"),
    [
        (
            "theft",
            "theft",
            {
                ("theft", "wrong-audience"): ("strong", "for"),
                ("theft", "after-revocation"): ("strong", "for"),
                ("theft", "strange-network"): ("strong", "for"),
                ("theft", "strange-user-agent"): ("weak", "for"),
                ("theft", "two-places"): ("strong", "for"),
                ("theft", "usual-hours"): ("weak", "against"),
                ("overbroad", "unused-scopes"): ("weak", "against"),
                ("overbroad", "reach-beyond-use"): ("weak", "for"),
                ("overbroad", "standing-credential"): ("weak", "for"),
            },
        ),
        (
            "overbroad",
            "overbroad",
            {
                ("theft", "same-place"): ("strong", "against"),
                ("theft", "usual-hours"): ("weak", "against"),
                ("overbroad", "unused-scopes"): ("strong", "for"),
                ("overbroad", "reach-beyond-use"): ("strong", "for"),
                ("overbroad", "standing-credential"): ("weak", "for"),
                ("overbroad", "new-tools-permitted"): ("strong", "for"),
            },
        ),
        (
            "mixed",
            "both",
            {
                ("theft", "wrong-audience"): ("strong", "for"),
                ("theft", "strange-network"): ("strong", "for"),
                ("theft", "strange-user-agent"): ("weak", "for"),
                ("theft", "usual-hours"): ("weak", "against"),
                ("overbroad", "unused-scopes"): ("strong", "for"),
                ("overbroad", "reach-beyond-use"): ("strong", "for"),
                ("overbroad", "standing-credential"): ("weak", "for"),
            },
        ),
        (
            "harmless",
            "neither",
            {
                ("theft", "same-place"): ("strong", "against"),
                ("theft", "usual-hours"): ("weak", "against"),
                ("overbroad", "unused-scopes"): ("weak", "against"),
                ("overbroad", "reach-beyond-use"): ("weak", "for"),
                ("overbroad", "standing-credential"): ("weak", "for"),
            },
        ),
        (
            "off_task",
            "theft",
            {
                ("theft", "after-task"): ("strong", "for"),
                ("theft", "outside-task"): ("strong", "for"),
                ("theft", "strange-network"): ("strong", "for"),
                ("theft", "strange-user-agent"): ("weak", "for"),
                ("theft", "usual-hours"): ("weak", "against"),
                ("overbroad", "unused-scopes"): ("weak", "against"),
                ("overbroad", "reach-beyond-use"): ("weak", "for"),
                ("overbroad", "standing-credential"): ("weak", "for"),
                ("overbroad", "held-at-the-edge"): ("weak", "against"),
            },
        ),
        (
            "strayed",
            "neither",
            {
                ("theft", "after-task"): ("weak", "for"),
                ("theft", "outside-task"): ("weak", "for"),
                ("theft", "same-place"): ("strong", "against"),
                ("theft", "usual-hours"): ("weak", "against"),
                ("overbroad", "unused-scopes"): ("weak", "against"),
                ("overbroad", "reach-beyond-use"): ("weak", "for"),
                ("overbroad", "standing-credential"): ("weak", "for"),
                ("overbroad", "held-at-the-edge"): ("weak", "against"),
            },
        ),
        (
            "without_the_key",
            "theft",
            {
                ("theft", "another-key"): ("strong", "for"),
                ("theft", "unproved"): ("strong", "for"),
                ("theft", "strange-network"): ("strong", "for"),
                ("theft", "strange-user-agent"): ("weak", "for"),
                ("theft", "usual-hours"): ("weak", "against"),
                ("overbroad", "unused-scopes"): ("weak", "against"),
                ("overbroad", "reach-beyond-use"): ("weak", "for"),
                ("overbroad", "standing-credential"): ("weak", "for"),
            },
        ),
        (
            "told_a_nonce",
            "neither",
            {
                ("theft", "same-place"): ("strong", "against"),
                ("theft", "usual-hours"): ("weak", "against"),
                ("overbroad", "unused-scopes"): ("weak", "against"),
                ("overbroad", "reach-beyond-use"): ("weak", "for"),
                ("overbroad", "standing-credential"): ("weak", "for"),
            },
        ),
    ],
)
def test_incidents_are_told_apart(
    told: Callable[[str], Path], name: str, leans: str, signals: dict[tuple[str, str], tuple[str, str]]
) -> None:
    """Each incident shows exactly its signals, and the summary follows from them."""
    found = _incident(told(name))
    assert _signals(found) == signals
    assert found["summary"]["leans"] == leans
    counted = found["summary"]["theft"]
    assert counted["strong_for"] == sum(
        key[0] == "theft" and value == ("strong", "for") for key, value in signals.items()
    )


def test_every_record_that_a_signal_rests_on_is_one_of_the_token(told: Callable[[str], Path]) -> None:
    """The numbers lead to records in which the token came in."""
    folder = told("theft")
    for signal in _incident(folder)["signals"]:
        assert bool(signal["records"]) == (signal["side"] == "theft")
        for seq in signal["records"]:
            record = perhop("journal", "prove", str(seq), folder=folder).json["record"]
            assert LEAKED in record


def test_the_blast_radius_of_a_token(told: Callable[[str], Path]) -> None:
    """Where it was good, where else it was tried, what it could reach and did, and what is left."""
    folder = told("theft")
    found = perhop("blast-radius", "--token", LEAKED, "--json", folder=folder).json
    assert [(each["resource"], each["hops"]) for each in found["could"]] == [("calendar", 0), ("rooms", 1)]
    assert {(each["resource"], each["name"], each["count"]) for each in found["did"]} == {
        ("calendar", "list_events", 2),
        ("calendar", "create_event", 1),
    }
    assert {(each["resource"], each["reason"]) for each in found["refused"]} == {
        ("payroll", "audience.mismatch"),
        ("calendar", "token.revoked"),
    }
    assert {each["resource"]: (each["untouched"], each["tools"]) for each in found["possible"]} == {
        "calendar": (False, ["delete_event", "get_event", "share_calendar"]),
        "rooms": (True, ["book_room", "cancel_room", "find_room", "list_rooms", "print_badges"]),
    }
    verified = perhop("journal", "verify", "--json", folder=folder).json
    assert found["rests_on"] == {
        "records": verified["records"],
        "signed": verified["records"],
        "root": verified["root"],
        "first": 1,
        "archived_until": None,
    }


def test_policy_narrows_what_could_be_reached(tmp_path: Path) -> None:
    """A tool that scopes list and policy forbids this agent is denied, and is not merely possible."""
    folder = tmp_path / "installation"
    tell(STORIES["harmless"](), folder)
    (folder / "policies/narrow.cedar").write_text(
        '@id("no-sharing") @reason("never")\n'
        'forbid (principal == MCP::Agent::"planner", action == MCP::Action::"call_tool", resource)\n'
        'when { resource.name == "share_calendar" };\n'
    )
    could = perhop("blast-radius", "--token", LEAKED, "--json", folder=folder).json["could"][0]
    assert could["denied"] == ["share_calendar"]
    assert "share_calendar" not in could["permitted"]


@pytest.mark.parametrize(
    ("words", "did"),
    [
        (("--agent", "planner"), 99),
        (("--subject", "planner"), 99),
        (("--resource", "calendar"), 99),
        (("--resource", "https://calendar.example.com/mcp"), 99),
        (("--agent", "planner", "--since", "2026-09-20"), 3),
        (("--agent", "planner", "--until", "2026-09-20"), 96),
        (("--agent", "calendar-server"), 0),
        (("--subject", "user:nobody"), 0),
    ],
)
def test_the_blast_radius_of_anything_else(told: Callable[[str], Path], words: tuple[str, ...], did: int) -> None:
    """Agents, subjects and resources, in a window or all along; of what the journal does not know there is nothing."""
    found = perhop("blast-radius", *words, "--json", folder=told("theft")).json
    assert sum(each["count"] for each in found["did"]) == did
    reachable = {each["resource"] for each in found["could"]}
    expected = {"calendar-server": {"rooms"}, "user:nobody": set()}.get(words[1], {"calendar", "rooms"})
    assert reachable == expected


def test_a_shared_client_is_seen_and_weakens_a_strange_network(tmp_path: Path) -> None:
    """Where one client always worked from many networks at once, one more says little of theft, and much of design."""
    places = [RequestFacts(ip=f"192.0.{number}.7", user_agent="planner/3.1") for number in range(4)]
    start = MONDAY + 13 * 24 * 3600 + 3600
    steps = [issued(TOKEN), *called(TOKEN, 1, "list_events", places[0]), *called(TOKEN, 2, "list_events", HOME)]
    story = [*ordinary_weeks(EVERY, places=places), *((start + number, each) for number, each in enumerate(steps))]
    signals = _signals(_told_now(story, tmp_path / "installation"))
    assert signals["overbroad", "shared-client"] == ("strong", "for")
    assert signals["theft", "strange-network"] == ("weak", "for")


def test_a_move_is_not_two_places(tmp_path: Path) -> None:
    """An agent that goes from one network to another, once, was at one place at a time."""
    start = MONDAY + 13 * 24 * 3600 + 3600
    elsewhere = RequestFacts(ip="198.51.100.9", user_agent="planner/3.1")
    steps = [*called(TOKEN, 1, "list_events"), *called(TOKEN, 2, "list_events", elsewhere)]
    story = [*ordinary_weeks(EVERY), *((start + number, each) for number, each in enumerate(steps))]
    assert ("theft", "two-places") not in _signals(_told_now(story, tmp_path / "installation"))


def test_an_agent_without_a_past_is_not_judged_by_it(tmp_path: Path) -> None:
    """With no earlier calls nothing is strange, and there are not enough records to tell."""
    story: Story = [(MONDAY + number, each) for number, each in enumerate([issued(TOKEN), *called(TOKEN, 1, "x")])]
    found = _told_now(story, tmp_path / "installation")
    assert set(_signals(found)) == {("overbroad", "standing-credential")}
    assert found["summary"]["leans"] == "not enough records"


def test_use_after_expiry(tmp_path: Path) -> None:
    """An expired token is known by its id, and what it was refused for speaks."""
    start = MONDAY + 13 * 24 * 3600 + 3600
    steps = [issued(TOKEN), refused(TOKEN, "token.expired", RequestFacts(ip="198.51.100.9"))]
    story = [*ordinary_weeks(EVERY), *((start + number, each) for number, each in enumerate(steps))]
    found = _told_now(story, tmp_path / "installation")
    assert _signals(found)["theft", "after-expiry"] == ("strong", "for")


def test_a_server_that_replays_what_it_was_given_is_seen_in_the_token_it_came_from(tmp_path: Path) -> None:
    """The token of the hop was tried elsewhere: its parent's incident says so, and names the record."""
    given = Token(jti="given-to-the-rooms", scope="rooms:read")
    hop = issued(given)._replace(inbound=TOKEN.inbound(), resource="rooms", hop=2)
    steps = [issued(TOKEN), *called(TOKEN, 1, "list_events"), hop]
    start = MONDAY + 13 * 24 * 3600 + 3600
    steps.append(refused(given, "audience.mismatch", STRANGER, at="payroll", tool="get_salary"))
    story = [*ordinary_weeks(EVERY), *((start + number, each) for number, each in enumerate(steps))]
    found = _told_now(story, tmp_path / "installation")
    assert _signals(found)["theft", "descendant-misused"] == ("strong", "for")
    assert ("theft", "wrong-audience") not in _signals(found)
    (signal,) = [each for each in found["signals"] if each["name"] == "descendant-misused"]
    (seq,) = signal["records"]
    record = perhop("journal", "prove", str(seq), folder=tmp_path / "installation").json["record"]
    assert given.jti in record
    assert "payroll" in record


def test_the_token_of_a_hop_is_its_agents(tmp_path: Path) -> None:
    """The record of the exchange names the agent with the token that came in; so do incident and blast radius."""
    given = Token(jti="given-to-the-rooms", scope="rooms:read")
    hop = issued(given)._replace(inbound=TOKEN.inbound(), resource="rooms", hop=2, client="calendar-server")
    tell([(MONDAY, issued(TOKEN)), (MONDAY + 1, hop)], tmp_path / "installation")
    found = perhop("incident", given.jti, "--json", folder=tmp_path / "installation").json
    assert (found["token"]["agent"], found["token"]["client"]) == ("planner", "calendar-server")


def test_since_bounds_what_is_compared_with(told: Callable[[str], Path]) -> None:
    """Of a past that begins after the agent's last call nothing is known."""
    assert _incident(told("theft"))["habit"]["calls"] == 96
    assert _incident(told("theft"), "--since", "2026-09-20")["habit"]["calls"] == 0


@pytest.mark.parametrize("command", [("incident",), ("blast-radius", "--token")])
def test_an_unknown_token_is_not_found(told: Callable[[str], Path], command: tuple[str, ...]) -> None:
    """Exit code 6, and the id as it was given, even one that begins like an option."""
    ran = perhop(*command, "-8_3HRxgT1Cs84W-YDSv8w", folder=told("harmless"))
    assert (ran.code, ran.out) == (6, "")
    assert "-8_3HRxgT1Cs84W-YDSv8w" in ran.err


@pytest.mark.parametrize(
    "words",
    [
        ("blast-radius",),
        ("blast-radius", "--agent", "a", "--token", "b"),
        ("blast-radius", "--agent", "planner", "--since", "yesterday"),
        ("incident", LEAKED, "--since", "yesterday"),
    ],
)
def test_wrong_use(told: Callable[[str], Path], words: tuple[str, ...]) -> None:
    """Exit code 2 for a question that cannot be meant."""
    assert perhop(*words, folder=told("harmless")).code == 2


def test_an_unknown_resource_is_not_found(told: Callable[[str], Path]) -> None:
    """What the configuration does not name has no reach."""
    assert perhop("blast-radius", "--resource", "nowhere", folder=told("harmless")).code == 6


HOSTILE = '<script>alert(1)</script>"\x1b[2J\u202e&{{x}}'


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A token that was used under names that are meant to do harm."""
    folder = tmp_path_factory.mktemp("hostile") / "installation"
    stranger = RequestFacts(ip="198.51.100.9", user_agent=HOSTILE)
    steps = [
        issued(TOKEN),
        *called(TOKEN, 1, HOSTILE, stranger),
        refused(TOKEN, "policy.denied", stranger, tool=HOSTILE),
    ]
    start = MONDAY + 13 * 24 * 3600 + 3600
    tell([*ordinary_weeks(EVERY), *((start + number, each) for number, each in enumerate(steps))], folder)
    return folder


def test_a_terminal_obeys_no_name(hostile: Path) -> None:
    """Whatever a peer named a tool, no control character and no change of direction is printed."""
    for words in (("incident", LEAKED), ("blast-radius", "--token", LEAKED)):
        out = perhop(*words, folder=hostile).out
        assert "alert(1)" in out
        assert all(each.isprintable() for each in out.replace("\n", ""))


def test_a_page_runs_nothing_and_fetches_nothing(hostile: Path) -> None:
    """No script, no address to fetch, no attribute with a name of a peer; and only its owner may read it."""
    ran = perhop("incident", LEAKED, "--html", "report.html", folder=hostile)
    assert ran.code == 0, ran.err
    file = hostile / "report.html"
    text = file.read_text(encoding="utf-8")
    page = _Page()
    page.feed(text)
    assert {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "object", "a", "form", "base"} == set()
    assert [name for _, attributes in page.tags for name in attributes if name.startswith("on")] == []
    assert re.findall(r"\s(?:src|href)=|url\(", text) == []
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert not {"\x1b", "\u202e"} & set(text)
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_page_shows_all_parts(told: Callable[[str], Path]) -> None:
    """The tree, both pictures, every signal and the checkpoint stand on one page."""
    folder = told("mixed")
    found = _incident(folder, "--html", "report.html")
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert text.count("<svg") == 2
    assert "hop 1: good for https://calendar.example.com/mcp" in text
    assert found["rests_on"]["root"] in text
    assert all(each["name"] in text for each in found["signals"])
    assert 'class="chip done"' in text


def test_a_report_that_cannot_be_written_is_said(told: Callable[[str], Path], tmp_path: Path) -> None:
    """The path is named, and nothing stands half written."""
    ran = perhop("incident", LEAKED, "--html", str(tmp_path / "no/such/report.html"), folder=told("harmless"))
    assert ran.code == 1
    assert "report.html" in ran.err


def test_two_tokens_in_one_journal_are_two_stories(tmp_path: Path) -> None:
    """What happened to another token is no part of this one's."""
    folder = tmp_path / "installation"
    tell(STORIES["harmless"](), folder)
    write([(MONDAY + 14 * 24 * 3600, refused(TOKEN, "audience.mismatch", HOME, at="payroll"))], folder)
    assert perhop("incident", "ordinary-3", "--json", folder=folder).json["summary"]["leans"] != "theft"
