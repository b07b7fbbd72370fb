"""Versions of the policies: what was in force is kept, somebody else approves, and one can go back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from perhop.control.failure import RemoteFailure
from perhop.control.local import carry_out
from perhop.control.policy_folder import exchange_by_turns, replaced
from perhop.demo.run import staged
from perhop.demo.scene import Scene, call
from perhop.errors import OperatorError, PolicyError
from perhop.journal.query import Filter
from perhop.settings import load
from perhop.storage.journal_reader import JournalQueries
from perhop.wiring.opening import open_plane
from tests.support.commands import make_installation, perhop

GOOD, DENIED = "200", "403 -31403"
NO_LISTING = (
    '@id("no-listing") forbid (principal, action == MCP::Action::"call_tool",'
    ' resource == MCP::Tool::"calendar/list_events");\n'
)
HALF = '@id("half") permit (principal, action'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An installation that nothing serves."""
    folder = tmp_path / "here"
    make_installation(folder)
    return folder


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    """The demo's installation, served in this process."""
    async with staged(tmp_path / "demo") as staged_scene:
        yield staged_scene


def require_review(folder: Path) -> None:
    """Let every change of the policies need a second person."""
    path = folder / "perhop.yaml"
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump({**document, "policy_review": "required"}, sort_keys=False), encoding="utf-8")


def listed(folder: Path) -> list[dict[str, Any]]:
    """What `perhop policy list` says."""
    found: list[dict[str, Any]] = perhop("policy", "list", "--json", folder=folder).json
    return found


def changes(folder: Path) -> list[dict[str, Any]]:
    """What the journal says of changes of the policies."""
    with JournalQueries(folder / "journal.db") as reader:
        return [dict(each.part("about")) for each in reader.find(Filter(event="policy.changed"))]


def starts_with(folder: Path) -> tuple[str, str]:
    """The version that a start goes by, and why it is not what the folder holds."""

    async def start() -> tuple[str, str]:
        settings = load(folder / "perhop.yaml", {})
        async with open_plane(settings, clock=time.time, record_start=True) as plane:
            return plane.policy.version, plane.policies_refused

    return asyncio.run(start())


async def try_list(scene: Scene) -> str:
    """List events, and say what was seen."""
    token = (await scene.token("trip-planner", "calendar")).reveal()
    return (await scene.at_gateway("calendar", token, call("list_events", {"day": "monday"}))).observed


def propose(folder: Path, author: str) -> str:
    """Propose what the folder holds, and give the version."""
    return str(perhop("policy", "propose", "--by", author, "--json", folder=folder).json["version"])


def test_a_version_is_proposed_and_approved_by_somebody_else(folder: Path) -> None:
    """Its author cannot; both names are in the journal, with the operator who entered them."""
    version = propose(folder, "ann")
    again = perhop("policy", "propose", "--by", "eve", "--json", folder=folder).json
    assert (again["proposed"], again["author"]) == (False, "ann")
    refused = perhop("policy", "approve", version, "--by", "Ann", folder=folder)
    assert (refused.code, "cannot approve it" in refused.err) == (1, True)
    approved = perhop("policy", "approve", version[:6], "--by", "bob", "--json", folder=folder).json
    assert (approved["approved"], approved["author"], approved["reviewer"]) == (True, "ann", "bob")
    later = perhop("policy", "approve", version, "--by", "carl", "--json", folder=folder).json
    assert (later["approved"], later["reviewer"]) == (False, "bob")
    proposed, noted = changes(folder)
    assert (proposed["change"], proposed["author"], proposed["version"]) == ("proposed", "ann", version)
    assert (noted["change"], noted["author"], noted["reviewer"]) == ("approved", "ann", "bob")
    assert noted["by"].startswith("operator:")
    (row,) = listed(folder)
    assert (row["is_in_force"], row["is_in_folder"], row["reviewer"]) == (False, True, "bob")
    assert perhop("policy", "approve", "ffffff", "--by", "bob", folder=folder).code == 6


def test_versions_are_shown_and_compared(folder: Path) -> None:
    """The files as they were kept; line by line, to another version or to the folder."""
    start = folder / "policies/start.cedar"
    text = start.read_text(encoding="utf-8")
    one = propose(folder, "ann")
    start.write_text(text + NO_LISTING, encoding="utf-8")
    assert "+" + NO_LISTING.strip() in perhop("policy", "diff", one, folder=folder).out
    two = propose(folder, "ann")
    (folder / "policies/more.cedar").write_text("// more\n", encoding="utf-8")
    assert perhop("policy", "show", one, "--json", folder=folder).json["files"] == {"start.cedar": text}
    assert NO_LISTING in perhop("policy", "show", two, folder=folder).out
    diff = perhop("policy", "diff", two, one, "--json", folder=folder).json
    assert (diff["from"], diff["to"], "-" + NO_LISTING.strip() in diff["diff"]) == (two, one, True)
    assert "+++ the folder/more.cedar" in perhop("policy", "diff", two, folder=folder).out
    assert perhop("policy", "diff", one, one, folder=folder).out == ""
    assert "which is not in force and was not proposed" in perhop("policy", "list", folder=folder).err


def test_a_start_keeps_the_policies_and_notes_a_change(folder: Path) -> None:
    """The first start and one with other policies leave a record each; one with the same leaves none."""
    first, _ = starts_with(folder)
    assert starts_with(folder)[0] == first
    (folder / "policies/more.cedar").write_text(NO_LISTING, encoding="utf-8")
    second, _ = starts_with(folder)
    assert [(each.get("old"), each["version"], each["change"]) for each in changes(folder)] == [
        (None, first, "in force"),
        (first, second, "in force"),
    ]
    assert changes(folder)[1]["policies"] == ["no-listing"]
    assert [
        (row["version"], row["is_in_force"]) for row in sorted(listed(folder), key=lambda row: row["is_in_force"])
    ] == [
        (first, False),
        (second, True),
    ]


def test_a_start_with_a_required_review_goes_by_what_was_approved_last(folder: Path) -> None:
    """Without any approval it does not start; with one, other policies and broken ones are passed over, and told."""
    require_review(folder)
    with pytest.raises(PolicyError, match="nobody has approved version"):
        starts_with(folder)
    approved = propose(folder, "ann")
    assert perhop("policy", "approve", approved, "--by", "bob", folder=folder).code == 0
    assert starts_with(folder) == (approved, "")
    more = folder / "policies/more.cedar"
    more.write_text(NO_LISTING, encoding="utf-8")
    version, refused = starts_with(folder)
    assert (version, "nobody has approved version" in refused) == (approved, True)
    assert "which nobody has approved" in perhop("doctor", folder=folder).out
    more.write_text(HALF, encoding="utf-8")
    version, refused = starts_with(folder)
    assert (version, "more.cedar:1" in refused) == (approved, True)
    assert [each["change"] for each in changes(folder)] == ["proposed", "approved", "in force", "refused", "refused"]
    more.write_text(NO_LISTING, encoding="utf-8")
    second = propose(folder, "ann")
    # Approved and never put in force: nobody has decided that it should be.
    assert perhop("policy", "approve", second, "--by", "bob", folder=folder).code == 0
    more.write_text(HALF, encoding="utf-8")
    assert starts_with(folder)[0] == approved


def test_a_command_goes_by_a_closed_set_where_nothing_is_approved(folder: Path) -> None:
    """It can propose and approve, and gets no token past the review."""
    require_review(folder)
    ran = perhop("token", "issue", "--client", "planner", "--resource", "rooms", folder=folder)
    assert (ran.code, ran.out) == (3, "")


async def test_a_running_server_takes_no_version_that_nobody_approved(scene: Scene) -> None:
    """`apply` is refused and the old version stays; approved by somebody else, it is in force, with both names."""
    require_review(scene.folder)
    for _ in range(2):
        with pytest.raises(RemoteFailure, match="nobody has approved version"):
            await carry_out(scene.settings, "apply", {"dry_run": False})
        first = await carry_out(scene.settings, "policy.propose", {"by": "ann"})
    await carry_out(scene.settings, "policy.approve", {"version": first["version"], "by": "bob"})
    await carry_out(scene.settings, "apply", {"dry_run": False})
    (scene.folder / "policies/more.cedar").write_text(NO_LISTING, encoding="utf-8")
    with pytest.raises(RemoteFailure, match="nobody has approved version"):
        await carry_out(scene.settings, "apply", {"dry_run": True})
    with pytest.raises(RemoteFailure, match="nobody has approved version"):
        await carry_out(scene.settings, "apply", {"dry_run": False})
    assert await try_list(scene) == GOOD
    second = await carry_out(scene.settings, "policy.propose", {"by": "ann"})
    with pytest.raises(RemoteFailure, match="cannot approve it"):
        await carry_out(scene.settings, "policy.approve", {"version": second["version"], "by": "ann"})
    await carry_out(scene.settings, "policy.approve", {"version": second["version"], "by": "bob"})
    assert await try_list(scene) == GOOD
    await carry_out(scene.settings, "apply", {"dry_run": False})
    assert await try_list(scene) == DENIED
    last = changes(scene.folder)[-1]
    assert (last["change"], last["old"], last["version"]) == ("in force", first["version"], second["version"])
    assert (last["author"], last["reviewer"]) == ("ann", "bob")
    assert "refused" in [each["change"] for each in changes(scene.folder)]


async def test_a_rollback_writes_the_files_back_and_puts_them_in_force(scene: Scene) -> None:
    """What is not a policy stays; what was there is kept, and one can come forward again."""
    policies = scene.folder / "policies"
    before = {path.name: path.read_text(encoding="utf-8") for path in policies.glob("*.cedar")}
    first = changes(scene.folder)[-1]["version"]
    (policies / "tests").mkdir()
    (policies / "tests/cases.yaml").write_text("cases: []\n", encoding="utf-8")
    (policies / "more.cedar").write_text(NO_LISTING, encoding="utf-8")
    second = (await carry_out(scene.settings, "apply", {"dry_run": False}))["policy_version"]
    assert await try_list(scene) == DENIED
    result = await carry_out(scene.settings, "policy.rollback", {"version": first})
    assert (result["version"], result["before"], result["serving"]) == (first, second, True)
    assert await try_list(scene) == GOOD
    assert {path.name: path.read_text(encoding="utf-8") for path in policies.glob("*.cedar")} == before
    assert (policies / "tests/cases.yaml").read_text(encoding="utf-8") == "cases: []\n"
    assert [path.name for path in scene.folder.iterdir() if path.name.startswith(".")] == []
    forward = await carry_out(scene.settings, "policy.rollback", {"version": second[:8]})
    assert (forward["version"], await try_list(scene)) == (second, DENIED)


def test_a_rollback_mends_a_folder_that_is_broken_while_nothing_serves(folder: Path) -> None:
    """The next start goes by it; the broken files are kept, too."""
    version = propose(folder, "ann")
    assert perhop("policy", "rollback", version, "--yes", folder=folder).code == 0
    (folder / "policies/more.cedar").write_text(HALF, encoding="utf-8")
    assert perhop("policy", "check", folder=folder).code == 7
    ran = perhop("policy", "rollback", version, "--json", folder=folder)
    assert (ran.code, ran.json["serving"]) == (0, False)
    assert perhop("policy", "check", folder=folder).code == 0
    assert HALF in perhop("policy", "show", ran.json["before"], folder=folder).out


def test_a_rollback_is_refused_where_a_review_is_required_and_missing(folder: Path) -> None:
    """A version that nobody approved does not come in by the back door."""
    version = propose(folder, "ann")
    (folder / "policies/more.cedar").write_text(NO_LISTING, encoding="utf-8")
    require_review(folder)
    ran = perhop("policy", "rollback", version, folder=folder)
    assert (ran.code, "nobody has approved" in ran.err) == (1, True)
    assert (folder / "policies/more.cedar").exists()


def test_a_folder_is_as_it_was_if_the_new_policies_are_not_taken(tmp_path: Path) -> None:
    """Files, folders below and hidden files, whatever happens in between."""
    folder = tmp_path / "policies"
    (folder / ".git").mkdir(parents=True)
    (folder / ".git/head").write_text("x", encoding="utf-8")
    (folder / "old.cedar").write_text("// old", encoding="utf-8")

    def take_none() -> None:
        with replaced(folder, {"new.cedar": "// new"}):
            assert sorted(path.name for path in folder.iterdir()) == [".git", "new.cedar"]
            assert (folder / ".git/head").read_text(encoding="utf-8") == "x"
            raise RuntimeError

    with pytest.raises(RuntimeError):
        take_none()
    assert sorted(path.name for path in folder.iterdir()) == [".git", "old.cedar"]
    assert [path.name for path in tmp_path.iterdir()] == ["policies"]


def test_a_folder_behind_a_link_is_replaced_where_it_is(tmp_path: Path) -> None:
    """The link stays one."""
    (tmp_path / "real").mkdir()
    (tmp_path / "policies").symlink_to("real")
    with replaced(tmp_path / "policies", {"new.cedar": "// new"}):
        pass
    assert (tmp_path / "policies").is_symlink()
    assert (tmp_path / "real/new.cedar").read_text(encoding="utf-8") == "// new"


def test_a_folder_that_cannot_be_replaced_is_told_with_advice(tmp_path: Path) -> None:
    """What can be done instead is said."""
    with pytest.raises(OperatorError, match="cannot be replaced") as refused, replaced(tmp_path / "nosuch", {}):
        pass
    assert "perhop policy show" in refused.value.advice()


def test_folders_change_places_by_turns(tmp_path: Path) -> None:
    """Where the system has no exchange, three steps do it."""
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "is").write_text(name, encoding="utf-8")
    exchange_by_turns(tmp_path / "one", tmp_path / "other")
    assert [(tmp_path / name / "is").read_text(encoding="utf-8") for name in ("one", "other")] == ["other", "one"]
    assert len(list(tmp_path.iterdir())) == 2
