"""Signals of overbroad authorization: the rightful holder may do too much. Each is one pure function."""

from __future__ import annotations

from collections.abc import Sequence

from perhop.journal.record import Event
from perhop.journal.signals.signal import Direction, Facts, Side, Signal, Weight, listed, said, seqs
from perhop.journal.tally import Sighting

FAR = 4
SOME = 2
MANY_SUBJECTS = 20
MANY_TENANTS = 3

_BEYOND = frozenset(
    {"scope.insufficient", "policy.denied", "hop.unknown", "presenter.mismatch", "task.outside", "limit.exceeded"}
)


def _overbroad(name: str, direction: Direction, weight: Weight, why: str, records: Sequence[Sighting] = ()) -> Signal:
    return Signal(name=name, side=Side.OVERBROAD, direction=direction, weight=weight, why=why, records=seqs(records))


def unused_scopes(facts: Facts) -> Signal | None:
    """The token holds scopes that the agent does not use."""
    if facts.resource is None or not facts.scopes or not facts.habit.is_known:
        return None
    unused = [scope for scope in facts.scopes if (facts.resource, scope) not in facts.habit.scopes]
    if not unused:
        why = f"the agent used every scope of the token before ({listed(facts.scopes)})"
        return _overbroad("unused-scopes", Direction.AGAINST, Weight.WEAK, why)
    weight = Weight.STRONG if len(unused) * 2 >= len(facts.scopes) else Weight.WEAK
    why = (
        f"{len(unused)} of {said(len(facts.scopes), 'scope')} ({listed(unused)}) served none of the agent's"
        f" {facts.habit.calls} earlier calls"
    )
    return _overbroad("unused-scopes", Direction.FOR, weight, why)


def reach_beyond_use(facts: Facts) -> Signal | None:
    """The token can call far more tools than the agent did before."""
    could = {(each.resource, tool) for each in facts.could for tool in each.permitted}
    used = len(could & facts.habit.tools)
    if not could or not facts.habit.is_known:
        return None
    numbers = f"{said(len(could), 'tool')} in reach, {used} of them used by the agent before"
    if used == len(could):
        return _overbroad("reach-beyond-use", Direction.AGAINST, Weight.STRONG, f"no reach beyond use: {numbers}")
    ratio = len(could) / max(1, used)
    if ratio < SOME:
        return _overbroad("reach-beyond-use", Direction.AGAINST, Weight.WEAK, f"little reach beyond use: {numbers}")
    weight = Weight.STRONG if ratio >= FAR else Weight.WEAK
    return _overbroad(
        "reach-beyond-use", Direction.FOR, weight, f"reach beyond use: {numbers}, {ratio:.1f} times as many"
    )


def shared_client(facts: Facts) -> Signal | None:
    """One client stands for many: whoever leaks it, nobody can tell who."""
    habit = facts.habit
    if not habit.is_known or not habit.is_shared:
        return None
    why = (
        f"the agent's calls came from three networks or more in {habit.shared_hours} of its {habit.active_hours} active"
        f" hours, {said(len(habit.networks), 'network')} in all: one client for many"
    )
    return _overbroad("shared-client", Direction.FOR, Weight.STRONG, why)


def standing_credential(facts: Facts) -> Signal | None:
    """The client proves itself by something that can be copied and does not end."""
    match facts.credential:
        case "client_secret":
            why = "the client has a secret, which is sent with every request for a token and does not end by itself"
        case "none":
            why = "the client has no credential at all: whoever knows its name can ask for tokens as it does"
        case _:
            return None
    return _overbroad("standing-credential", Direction.FOR, Weight.WEAK, why)


def new_tools_permitted(facts: Facts) -> Signal | None:
    """The agent did what it never did before, and nothing had to be refused: the right was there all along."""
    if not facts.habit.is_known or any(each.facets.reason for each in facts.sightings):
        return None
    new = [
        each
        for each in facts.permitted(below=True)
        if each.facets.name is not None and (each.facets.resource or "", each.facets.name) not in facts.habit.tools
    ]
    if not new:
        return None
    tools = listed(sorted({f"{each.facets.resource}/{each.facets.name}" for each in new}))
    why = f"{said(len(new), 'call')} of {tools}, which the agent never called before, were permitted and none refused"
    weight = Weight.WEAK if any(map(facts.is_strange, facts.uses())) else Weight.STRONG
    return _overbroad("new-tools-permitted", Direction.FOR, weight, why, new)


def bulk_use(facts: Facts) -> Signal | None:
    """It worked over many people, or many tenants, at once."""
    permitted = facts.permitted(below=True)
    tenants = sorted({each.facets.tenant for each in permitted if each.facets.tenant})
    if len(tenants) >= MANY_TENANTS:
        why = f"the token and those that came from it were used at {len(tenants)} tenants ({listed(tenants)})"
        return _overbroad("bulk-use", Direction.FOR, Weight.STRONG, why, permitted)
    if facts.subjects < MANY_SUBJECTS:
        return None
    why = (
        f"the agent acted for {facts.subjects} people within one hour while the token lived;"
        f" before, for {facts.usual_subjects} at most"
    )
    weight = Weight.STRONG if facts.subjects >= FAR * max(1, facts.usual_subjects) else Weight.WEAK
    return _overbroad("bulk-use", Direction.FOR, weight, why)


def held_at_the_edge(facts: Facts) -> Signal | None:
    """What went beyond the authorization was refused: it is no wider than it should be there."""
    refused = [each for each in facts.sightings if each.facets.reason in _BEYOND]
    if not refused:
        return None
    reasons = listed(sorted({each.facets.reason or "" for each in refused}))
    refusals = said(len(refused), "attempt")
    asked = sum(each.facets.event == Event.TOKEN_REFUSED.value for each in refused)
    onward = f", {asked} of them to go on elsewhere" if asked else ""
    why = f"{refusals} to do more{onward}, refused ({reasons}): the authorization held there"
    return _overbroad("held-at-the-edge", Direction.AGAINST, Weight.WEAK, why, refused)


OVERBROAD = (
    unused_scopes,
    reach_beyond_use,
    shared_client,
    standing_credential,
    new_tools_permitted,
    bulk_use,
    held_at_the_edge,
)
