"""Delegation: the chain is written from the verified parent, and is bounded."""

from __future__ import annotations

import pytest

from perhop.core.actor import Actor, MayAct
from perhop.core.token import VerifiedToken
from perhop.errors import ChainCycle, ChainTooDeep, PresenterMismatch
from perhop.rules.delegation import check_chain_depth, check_cycle, check_may_act, next_actor
from perhop.rules.resource_uri import parse_resource_uri

CALENDAR = parse_resource_uri("https://calendar.example/mcp")
ROOMS = parse_resource_uri("https://rooms.example/mcp")


def parent(*, sub: str = "user:ann", actor: Actor | None = None, may_act: MayAct | None = None) -> VerifiedToken:
    return VerifiedToken(
        issuer="https://auth.example",
        jti="j",
        subject=sub,
        client_id="trip-planner",
        audience=CALENDAR,
        scopes=frozenset(),
        issued_at=0,
        expires_at=300,
        agent="trip-planner",
        fingerprint="00",
        actor=actor,
        may_act=may_act,
    )


def chain(*subjects: str) -> Actor:
    actor = Actor(subjects[-1])
    for subject in reversed(subjects[:-1]):
        actor = Actor(subject, actor)
    return actor


def test_first_exchange_keeps_the_client_of_a_persons_token() -> None:
    """Behind the presenter stands the client that the person used."""
    assert list(next_actor(parent(), "gateway:calendar").chain()) == ["gateway:calendar", "trip-planner"]


def test_first_exchange_of_an_agents_own_token_has_one_actor() -> None:
    """A client that is itself the subject is not written down as its own actor."""
    assert next_actor(parent(sub="trip-planner"), "gateway:calendar") == Actor("gateway:calendar")


def test_later_exchanges_wrap_the_chain() -> None:
    """The parent's chain stands unchanged behind the presenter."""
    before = chain("gateway:calendar", "trip-planner")
    assert next_actor(parent(actor=before), "calendar-server") == Actor("calendar-server", before)


def test_presenter_that_is_the_subject_is_written_down() -> None:
    """An actor of the subject's own name hides no link of the chain."""
    before = chain("gateway:calendar")
    assert next_actor(parent(sub="calendar-server", actor=before), "calendar-server") == Actor(
        "calendar-server", before
    )


def test_four_actors_are_the_bound() -> None:
    """Four actors are a chain, five are too many."""
    check_chain_depth(chain("d", "c", "b", "a"))
    with pytest.raises(ChainTooDeep):
        check_chain_depth(chain("e", "d", "c", "b", "a"))


def test_gateways_do_not_count() -> None:
    """The gateways between four actors add no depth."""
    check_chain_depth(chain("gateway:d", "d", "gateway:c", "c", "gateway:b", "b", "gateway:a", "a"))


@pytest.mark.parametrize("name", ["Gateway:x", "gateway", "a-gateway:x"])
def test_only_the_exact_prefix_is_a_gateway(name: str) -> None:
    """A client whose name merely looks like a gateway's counts."""
    with pytest.raises(ChainTooDeep):
        check_chain_depth(chain(name, "d", "c", "b", "a"))


def test_target_that_was_there_before_is_a_cycle() -> None:
    """A chain does not come back to an audience that it had."""
    check_cycle(ROOMS, frozenset({CALENDAR}))
    with pytest.raises(ChainCycle):
        check_cycle(CALENDAR, frozenset({CALENDAR, ROOMS}))


ISSUER = "https://auth.example"


@pytest.mark.parametrize(
    "may_act",
    [
        None,
        MayAct(frozenset({"calendar-server"})),
        MayAct(frozenset({"x", "calendar-server"})),
        MayAct(frozenset({"calendar-server"}), ISSUER),
    ],
)
def test_named_presenter_may_act(may_act: MayAct | None) -> None:
    """A presenter that `may_act` names, or a token that names nobody, passes."""
    check_may_act(parent(may_act=may_act), "calendar-server", ISSUER)


@pytest.mark.parametrize(
    "may_act",
    [
        MayAct(frozenset({"rooms-server"})),
        MayAct(frozenset({"Calendar-Server"})),
        MayAct(frozenset({"calendar-server"}), ISSUER + "/"),
        MayAct(frozenset({"calendar-server"}), "https://other.example"),
    ],
)
def test_other_presenter_may_not_act(may_act: MayAct) -> None:
    """Another name, another case and another issuer are refused."""
    with pytest.raises(PresenterMismatch):
        check_may_act(parent(may_act=may_act), "calendar-server", ISSUER)
