"""Lineage: chains that go through database and journal alike."""

from __future__ import annotations

from dataclasses import asdict

import pytest
from sqlalchemy import insert

from perhop.authorization_server.store import TokenRecord
from perhop.errors import JournalUnavailable
from perhop.storage.schema import token_record
from tests.storage.conftest import NOW, Opened
from tests.support.journals import a_permit
from tests.support.token_records import a_token_record

CALENDAR = "http://127.0.0.1:8420/mcp/calendar"
CALENDAR_SERVER = "http://127.0.0.1:9001/mcp"
ROOMS = "http://127.0.0.1:8420/mcp/rooms"


async def _permit(opened: Opened, number: int, parent: str) -> None:
    async with opened.journal.writing(lambda: float(NOW)) as journal:
        await journal.append(a_permit(number, parent=parent))


def _jtis(records: object) -> list[str]:
    return sorted(each.jti for each in records)  # type: ignore[attr-defined]


@pytest.fixture
async def chain(opened: Opened) -> Opened:
    """first (database) -> out-1 (journal) -> onward (database) -> last (database, expired); apart: stranger."""
    add = opened.stores.token_records.add
    await add(a_token_record("first"))
    await _permit(opened, 1, "first")
    await add(a_token_record("onward", parent_jti="out-1", audience=ROOMS, client_id="calendar-server", hop=3))
    await add(a_token_record("last", parent_jti="onward", audience="http://127.0.0.1:9002/mcp", expires_at=NOW))
    await add(a_token_record("child-of-expired", parent_jti="last", audience="http://127.0.0.1:9003/mcp"))
    await add(a_token_record("stranger", subject="user:bob", agent="desk-app", client_id="desk-app", tenant=None))
    return opened


async def test_audiences_are_those_of_the_whole_chain(chain: Opened) -> None:
    """A token's lineage has its own audience and every one above it, in whichever file they lie."""
    assert await chain.stores.lineage.audiences("onward") == {ROOMS, CALENDAR_SERVER, CALENDAR}
    assert await chain.stores.lineage.audiences("first") == {CALENDAR}


async def test_a_token_without_a_record_has_no_lineage(chain: Opened) -> None:
    """An unknown token is the first of its chain, and has no audience here."""
    assert await chain.stores.lineage.audiences("nobody") == frozenset()


async def test_a_parent_without_a_record_is_known_by_its_child(opened: Opened) -> None:
    """The audience of a token under a key taken over is in the lineage of what came from it."""
    await opened.stores.token_records.add(a_token_record("child", parent_jti="foreign", parent_audience=ROOMS))
    await _permit(opened, 2, "foreign-too")
    assert await opened.stores.lineage.audiences("child") == {CALENDAR, ROOMS}
    assert await opened.stores.lineage.audiences("out-2") == {CALENDAR_SERVER, CALENDAR}


async def test_what_is_above_a_token_is_kept_for_it_alone(chain: Opened) -> None:
    """Asked again, each token still has its own lineage, and nobody else's."""
    for _ in range(2):
        assert await chain.stores.lineage.audiences("onward") == {ROOMS, CALENDAR_SERVER, CALENDAR}
        assert await chain.stores.lineage.audiences("out-1") == {CALENDAR_SERVER, CALENDAR}
        assert await chain.stores.lineage.audiences("first") == {CALENDAR}
        assert await chain.stores.lineage.audiences("stranger") == {CALENDAR}


async def test_a_chain_with_a_gap_is_looked_up_anew(opened: Opened) -> None:
    """Where a parent had no record when it was looked for, it counts as soon as it has one; so does the token."""
    assert await opened.stores.lineage.audiences("child") == frozenset()
    await opened.stores.token_records.add(a_token_record("child", parent_jti="out-1", audience=ROOMS))
    assert await opened.stores.lineage.audiences("child") == {ROOMS}
    await _permit(opened, 1, "first")
    assert await opened.stores.lineage.audiences("child") == {ROOMS, CALENDAR_SERVER, CALENDAR}
    await opened.stores.token_records.add(a_token_record("first", audience="http://127.0.0.1:9002/mcp"))
    assert "http://127.0.0.1:9002/mcp" in await opened.stores.lineage.audiences("child")


async def test_descendants_are_found_at_every_depth(chain: Opened) -> None:
    """Descendants are the unexpired tokens below, through the journal and through an expired one, without strangers."""
    assert _jtis(await chain.stores.lineage.descendants("first", now=NOW)) == ["child-of-expired", "onward", "out-1"]
    assert _jtis(await chain.stores.lineage.descendants("onward", now=NOW)) == ["child-of-expired"]
    assert _jtis(await chain.stores.lineage.descendants("stranger", now=NOW)) == []


async def test_descendants_end_with_their_expiry(chain: Opened) -> None:
    """What has expired is no descendant; the hop token is the first to go."""
    assert _jtis(await chain.stores.lineage.descendants("first", now=NOW + 60)) == ["child-of-expired", "onward"]
    assert _jtis(await chain.stores.lineage.descendants("first", now=NOW + 300)) == []


async def test_a_chain_that_bites_its_tail_ends(opened: Opened) -> None:
    """Records that make a circle, which only damage can write, are walked once."""
    for jti, parent in (("a", "b"), ("b", "c"), ("c", "a")):
        await opened.stores.token_records.add(a_token_record(jti, parent_jti=parent))
    assert _jtis(await opened.stores.lineage.descendants("a", now=NOW)) == ["b", "c"]
    assert await opened.stores.lineage.audiences("a") == {CALENDAR}


async def test_a_broad_tree_is_found_whole(opened: Opened) -> None:
    """More children than one statement names are all found, and theirs."""
    children = [f"child-{number}" for number in range(600)]
    rows = [asdict(a_token_record(jti, parent_jti="root")) for jti in children]
    await opened.database.write(lambda connection: connection.execute(insert(token_record), rows))
    await opened.stores.token_records.add(a_token_record("grandchild", parent_jti="child-599"))
    assert _jtis(await opened.stores.lineage.descendants("root", now=NOW)) == sorted([*children, "grandchild"])


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("jti", "out-1", ["out-1"]),
        ("sub", "trip-planner", ["child-of-expired", "first", "onward", "out-1"]),
        ("sub", "user:bob", ["stranger"]),
        ("agent", "trip-planner", ["child-of-expired", "first", "onward", "out-1"]),
        ("agent", "calendar-server", ["onward"]),
        ("aud", CALENDAR_SERVER, ["out-1"]),
        ("aud", ROOMS, ["onward"]),
        ("tenant", "acme", ["child-of-expired", "first", "onward", "out-1"]),
        ("family", "acme", []),
        ("task", "acme", []),
    ],
)
async def test_live_tokens_are_found_by_what_a_revocation_names(
    chain: Opened, kind: str, value: str, expected: list[str]
) -> None:
    """Every kind of revocation finds exactly the unexpired tokens that it names, in both files."""
    assert _jtis(await chain.stores.lineage.live(kind, value, now=NOW)) == expected


async def test_a_family_is_found(opened: Opened) -> None:
    """Tokens of one family are found by its name."""
    await opened.stores.token_records.add(a_token_record("member", family="f-1"))
    found: list[TokenRecord] = list(await opened.stores.lineage.live("family", "f-1", now=NOW))
    assert _jtis(found) == ["member"]


async def test_an_unreadable_journal_is_no_answer(opened: Opened) -> None:
    """When the permits cannot be read, lineage does not answer with half the truth."""
    await opened.stores.token_records.add(a_token_record("first"))
    for file in (opened.journal.path, opened.journal.path.with_name("journal.db-wal")):
        if file.exists():
            file.write_bytes(b"no database" * 1000)
    with pytest.raises(JournalUnavailable):
        await opened.stores.lineage.descendants("first", now=NOW)


async def test_one_token_is_looked_up_and_the_others_are_not_read(
    chain: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked for by its id, a token is found by it, in either file, and only while it lives."""
    journaled = chain.stores.lineage.journaled  # type: ignore[attr-defined]
    for verb in ("permitted_since", "issued_since"):
        monkeypatch.setattr(journaled, verb, lambda _: pytest.fail("everything was read"))
    assert _jtis(await chain.stores.lineage.live("jti", "out-1", now=NOW)) == ["out-1"]
    assert _jtis(await chain.stores.lineage.live("jti", "onward", now=NOW)) == ["onward"]
    assert await chain.stores.lineage.live("jti", "out-1", now=NOW + 60) == []
    assert await chain.stores.lineage.live("jti", "nobody", now=NOW) == []
