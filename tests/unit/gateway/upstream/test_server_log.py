"""The log of a stdio server: one entry a line, harmless, and not too many."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perhop.gateway.upstream.server_log import MAX_CHARACTERS, MAX_ENTRIES, WINDOW_SECONDS, ServerLog, as_printable


@given(line=st.binary(max_size=200))
def test_nothing_that_a_server_writes_passes_for_more_than_a_text(line: bytes) -> None:
    """Whatever the octets, what is logged is printable and on one line."""
    assert as_printable(line).isprintable()


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (b"plain, \xc3\xa4", "plain, ä"),
        (b"a\x1b[2Jb", "a\\x1b[2Jb"),
        (b"a\rb", "a\\rb"),
        (b"a\xffb", "a\\xffb"),
        ("a\u2028b\u202ec".encode(), "a\\u2028b\\u202ec"),
    ],
)
def test_what_is_not_printable_is_escaped(line: bytes, shown: str) -> None:
    """Control characters, line separators and direction marks are shown as what they are."""
    assert as_printable(line) == shown


@pytest.mark.parametrize(("length", "is_cut"), [(MAX_CHARACTERS, False), (MAX_CHARACTERS + 1, True)])
def test_an_entry_is_bounded(length: int, is_cut: bool) -> None:
    """At the bound it is whole, one character above it is cut, and says so."""
    assert as_printable(b"x" * length) == "x" * MAX_CHARACTERS + ("…" if is_cut else "")


def test_beyond_a_rate_entries_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    """So many in a window are written; the next window begins with the number of those that were not."""
    now = [0.0]
    log = ServerLog("calendar", clock=lambda: now[0])
    with caplog.at_level(logging.INFO, "perhop.upstream"):
        for number in range(MAX_ENTRIES + 3):
            log.say(b"line %d" % number)
        assert len(caplog.records) == MAX_ENTRIES
        now[0] += WINDOW_SECONDS
        log.complain("wrote garbage; it is ignored")
    assert [(record.levelname, record.getMessage()) for record in caplog.records[MAX_ENTRIES:]] == [
        ("WARNING", "`calendar`: entries left out: 3"),
        ("WARNING", "`calendar` wrote garbage; it is ignored"),
    ]


def test_a_line_that_is_too_long_is_only_mentioned(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing of it is kept."""
    with caplog.at_level(logging.INFO, "perhop.upstream"):
        ServerLog("calendar", clock=lambda: 0.0).say(None)
    assert [record.getMessage() for record in caplog.records] == ["`calendar` says: (a very long line)"]
