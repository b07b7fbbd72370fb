"""What a client loses by another configuration is lost for good: also where the disk is full, or nothing served."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import yaml

from perhop.control.operations import run_operation
from perhop.demo.run import staged
from perhop.demo.scene import call
from perhop.errors import JournalUnavailable, TokenRevoked
from perhop.journal.query import Filter
from perhop.journal.record import Event, Record
from perhop.settings import load
from perhop.storage.token_records import given_now
from perhop.wiring.opening import open_plane
from perhop.wiring.plane import Plane
from tests.support.token_records import own_token

WIDE = "{calendar: [calendar:read, calendar:write], rooms: [rooms:read]}"
PLAN = call("plan_meeting", {"title": "review", "day": "monday", "people": 3})
NARROW = "{calendar: [calendar:read], rooms: [rooms:read]}"


def _rewrite(folder: Path, old: str, new: str) -> None:
    path = folder / "perhop.yaml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


async def _token(plane: Plane, resource: str = "calendar") -> str:
    asked = {"client": "planner", "resource": resource, "scopes": None}
    return str((await run_operation(plane, "token.issue", asked))["access_token"])


def _is_revoked(plane: Plane, token: str) -> bool:
    try:
        plane.issuer.revocations.check(plane.verify_here(token))
    except TokenRevoked:
        return True
    return False


def _revocations(plane: Plane) -> list[str]:
    return [str(entry.part("about")["value"]) for entry in plane.reader.find(Filter(event="revocation"))]


@pytest.mark.parametrize("change", ["narrowed", "client removed", "resource removed"])
async def test_what_a_full_disk_left_undone_is_done_by_the_next_change(
    folder: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """Where revocations cannot be recorded, `apply` fails, and is not good until the same file is applied again."""
    async with open_plane(load(folder / "perhop.yaml", os.environ), clock=time.time, record_start=True) as plane:
        token = await _token(plane)
        if change == "narrowed":
            _rewrite(folder, WIDE, NARROW)
        elif change == "client removed":
            _rewrite(folder, "  planner:", "  another:")
        else:
            _rewrite(folder, WIDE, "{rooms: [rooms:read]}")
            path = folder / "perhop.yaml"
            before, _, after = path.read_text(encoding="utf-8").partition("  calendar:\n")
            path.write_text(before + "  rooms:\n" + after.partition("  rooms:\n")[2], encoding="utf-8")
        append = plane.journal.append

        async def full(record: Record) -> object:
            if record.event is Event.REVOCATION:
                raise JournalUnavailable("the disk is full")
            return await append(record)

        async def fail(*_: object, **__: object) -> None:
            raise JournalUnavailable("the disk is full")

        with monkeypatch.context() as context:
            context.setattr(plane.journal, "append", full)
            context.setattr(plane.issuer.revoker, "revoke", fail)
            with pytest.raises(JournalUnavailable):
                await run_operation(plane, "apply", {"dry_run": False})
            assert not plane.last_reload_was_good
            with pytest.raises(JournalUnavailable):
                await run_operation(plane, "apply", {"dry_run": False})
        assert not _is_revoked(plane, token)
        assert not plane.last_reload_was_good
        again = await run_operation(plane, "apply", {"dry_run": False})
        assert (again["changes"], again["revoked"]) == ([], 1)
        assert (_is_revoked(plane, token), plane.last_reload_was_good, plane.owed) == (True, True, [])
        done = len(_revocations(plane))
        await run_operation(plane, "apply", {"dry_run": False})
        assert len(_revocations(plane)) == done


@pytest.mark.parametrize("fails", [True, False])
async def test_one_revocation_that_fails_holds_up_no_other(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *, fails: bool
) -> None:
    """Tokens are refused at once although the record of it fails; the record follows with the next change."""
    async with open_plane(load(folder / "perhop.yaml", os.environ), clock=time.time, record_start=True) as plane:
        token = await _token(plane)
        _rewrite(folder, WIDE, NARROW)
        append = plane.journal.append

        async def full(record: Record) -> object:
            if record.event is Event.REVOCATION and fails:
                raise JournalUnavailable("the disk is full")
            return await append(record)

        with monkeypatch.context() as context:
            context.setattr(plane.journal, "append", full)
            if fails:
                with pytest.raises(JournalUnavailable):
                    await run_operation(plane, "apply", {"dry_run": False})
            else:
                await run_operation(plane, "apply", {"dry_run": False})
        assert _is_revoked(plane, token)
        await run_operation(plane, "apply", {"dry_run": False})
        assert _revocations(plane).count("planner") == 1


async def _token_without_row(plane: Plane, **changes: object) -> str:
    """Another one of its second has the row."""
    second = plane.issuer.now()
    plane.issuer.last_row.stands(second)
    token = await own_token(plane.issuer, "planner", "calendar", issued_at=second, **changes)
    assert await given_now(plane.database, now=second) == []
    return token


@pytest.mark.parametrize("issue_one", [_token, _token_without_row])
async def test_a_client_that_was_narrowed_while_nothing_served_loses_its_wide_tokens_at_the_start(
    folder: Path, issue_one: Callable[[Plane], Awaitable[str]]
) -> None:
    """Its tokens are revoked once; a start at which nothing is wider revokes nothing, and a narrow token is good."""
    async with open_plane(load(folder / "perhop.yaml", os.environ), clock=time.time, record_start=True) as plane:
        wide = await issue_one(plane)
    async with open_plane(load(folder / "perhop.yaml", os.environ), clock=time.time, record_start=True) as plane:
        assert not _is_revoked(plane, wide)
    _rewrite(folder, WIDE, NARROW)
    for _ in range(2):
        async with open_plane(load(folder / "perhop.yaml", os.environ), clock=time.time, record_start=True) as plane:
            assert _is_revoked(plane, wide)
            assert _revocations(plane) == ["planner"]


async def test_a_token_for_an_address_that_is_gone_ends_with_the_next_resource_that_is_removed(folder: Path) -> None:
    """As one with a row does: what is at no address of the configuration any more is found, whatever its name was."""
    gone = "http://127.0.0.1:1/mcp"
    async with open_plane(load(folder / "perhop.yaml", os.environ), clock=time.time, record_start=True) as plane:
        token = await _token_without_row(plane, audience=gone)
    path = folder / "perhop.yaml"
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    del document["resources"]["rooms"], document["clients"]["idler"]
    document["clients"]["planner"]["reaches"].pop("rooms")
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    async with open_plane(load(path, os.environ), clock=time.time, record_start=True) as plane:
        assert gone in _revocations(plane)
        assert _is_revoked(plane, token)


async def test_a_server_that_no_longer_serves_a_resource_loses_what_it_exchanged(tmp_path: Path) -> None:
    """A token that came of another is held against what its client serves; one of a client that serves it stays."""
    async with staged(tmp_path / "demo") as scene:
        token = (await scene.token("trip-planner", "calendar")).reveal()
        assert (await scene.at_gateway("calendar", token, PLAN)).observed == "200"
        settings = scene.settings
    file = settings.file
    async with open_plane(load(file, os.environ), clock=time.time, record_start=True) as plane:
        assert "calendar-server" not in _revocations(plane)
    text = file.read_text(encoding="utf-8")
    assert "serves: [calendar]" in text
    file.write_text(text.replace("serves: [calendar]", "serves: []"), encoding="utf-8")
    async with open_plane(load(file, os.environ), clock=time.time, record_start=True) as plane:
        assert "calendar-server" in _revocations(plane)
