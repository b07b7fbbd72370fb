"""The table itself: every row can be named, looked up and tried."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from tests.attacks.catalogue import NOT_APPLICABLE, ROWS
from tests.attacks.row import Door, Row

SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
SOURCE = re.compile(
    r"RFC \d+ (§\d+(\.\d+)*|Appendix [A-Z])|RFC \d+$|RFC 10070|CVE-\d{4}-\d+|GHSA(-[a-z0-9]{4}){3}|CWE-\d+|SEP-\d+"
    r"|MCP|OWASP|AISVS|MAESTRO|NIST|Wycheproof|JSONTestSuite|JSON-RPC|Unicode|Keycloak"
)
IDS = [row.slug for row in ROWS]


def test_every_slug_is_there_once() -> None:
    """No two attacks share a name, built or not."""
    assert [slug for slug, count in Counter([*IDS, *NOT_APPLICABLE]).items() if count > 1] == []


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_a_row_is_whole(row: Row) -> None:
    """It has a name, says in words what is tried, cites where it is known from, and expects something at each door."""
    assert SLUG.fullmatch(row.slug)
    assert row.title
    assert all(SOURCE.match(source) for source in row.source.split("; ")), row.source
    assert row.doors
    assert row.attempts.keys() == row.expected.keys()


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_gateway_and_guard_are_expected_to_agree(row: Row) -> None:
    """A row at both doors expects one answer of both, unless it says why they differ."""
    if {Door.GATEWAY, Door.GUARD} <= row.doors and not row.differs:
        gateway, guard = row.expected[Door.GATEWAY], row.expected[Door.GUARD]
        assert gateway.observed == guard.observed
        assert (gateway.reason == guard.reason) or guard.records == 0


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_a_row_at_one_door_of_two_says_why(row: Row) -> None:
    """What gateway and guard could both be sent is sent to both, or the row says what speaks against it."""
    at = {Door.GATEWAY, Door.GUARD} & row.doors
    assert bool(row.only) == (len(at) == 1)


def test_every_door_is_attacked() -> None:
    """There are rows for each of the doors."""
    assert {door for row in ROWS for door in row.doors} == set(Door)


@pytest.mark.parametrize("slug", NOT_APPLICABLE)
def test_an_attack_that_waits_says_for_what(slug: str) -> None:
    """An attack on a part that is not built names the part."""
    assert SLUG.fullmatch(slug)
    assert NOT_APPLICABLE[slug]
