"""How many connections there is room for, by the limit of open files."""

from __future__ import annotations

import resource

import pytest

from perhop.serving.listeners import MAX_CONNECTIONS
from perhop.serving.open_files import FEW_CONNECTIONS, FILES_OF_A_CONNECTION, OTHER_FILES, room_for_connections

NEEDED = FILES_OF_A_CONNECTION * MAX_CONNECTIONS + OTHER_FILES
ENDLESS = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("limit", "most", "becomes", "room"),
    [
        (1024, 1_048_576, NEEDED, MAX_CONNECTIONS),
        (1024, ENDLESS, NEEDED, MAX_CONNECTIONS),
        (1024, 4096, 4096, 1920),
        (4096, 4096, 4096, 1920),
        (64, 64, 64, 1),
        (NEEDED, NEEDED, NEEDED, MAX_CONNECTIONS),
        (1_048_576, 1_048_576, 1_048_576, MAX_CONNECTIONS),
        (ENDLESS, ENDLESS, ENDLESS, MAX_CONNECTIONS),
    ],
)
def test_the_limit_is_raised_as_far_as_it_may_be(
    limit: int, most: int, becomes: int, room: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """To what is needed and no further, and never lowered; where there is room for few, the log warns."""
    now = [(limit, most)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: now[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: now.append(limits))
    assert (room_for_connections(), now[-1]) == (room, (becomes, most))
    assert len(caplog.records) == (room < FEW_CONNECTIONS)


def test_a_system_that_lets_nothing_be_raised(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What is there is what is reckoned with, and the start goes on."""

    def refuse(*_: object) -> None:
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, ENDLESS))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert room_for_connections() == (1024 - OTHER_FILES) // FILES_OF_A_CONNECTION
    assert "not allowed to raise" in caplog.text
