"""The guide is walked as it is written: its files, its commands, and what they print."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.sources import ROOT
from tests.support.walkthrough import PageWrong, Step, is_as_shown, walking

DOCS = ROOT / "docs"


def test_the_first_resource(tmp_path: Path) -> None:
    """A server that checks nobody gets a gateway, policies, a record and a person who approves; then a client."""
    with walking(tmp_path) as walk:
        walk.follow(DOCS / "guide/first-resource.md")
        walk.follow(DOCS / "guide/approvals.md")
        walk.follow(DOCS / "guide/clients.md")


def test_a_local_server(tmp_path: Path) -> None:
    """A server that Perhop runs is configured, called, seen and logged, as the page says."""
    with walking(tmp_path) as walk:
        walk.follow(DOCS / "guide/local-server.md")


def test_a_page_that_is_wrong_is_found(tmp_path: Path) -> None:
    """A command that prints something else than its page shows ends the walk."""
    with walking(tmp_path) as walk:
        walk.take(Step("echo 8420 one 2 three", shown="8420 one … three"))
        with pytest.raises(PageWrong):
            walk.take(Step("echo one 2 four", shown="one … three"))


def test_identifiers_may_differ_and_nothing_else() -> None:
    """An id of 128 bits stands for any other; a word does not."""
    assert is_as_shown("jti 87HzxbqucrSEFxe2RE7TSg ok", "jti yT0C7Yuta_qBjE2lB03OXA ok")
    assert not is_as_shown("jti 87HzxbqucrSEFxe2RE7TSg ok", "jti short ok")
    assert not is_as_shown("401", "403")
