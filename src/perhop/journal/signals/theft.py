"""Signals of theft or replay: somebody else has the token. Each is one pure function; None if it has nothing to say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from itertools import groupby

from perhop.errors import ProofNonceNeeded
from perhop.journal.signals.signal import Direction, Facts, Side, Signal, Weight, listed, said, seqs
from perhop.journal.tally import Sighting

APART = 60_000_000
"""Microseconds: back and forth between two networks within this time is more than one place at once."""

_UNPROVED = frozenset({"sender.mismatch", "call.mismatch", "token.replayed"})
_MISUSED = _UNPROVED | {"audience.mismatch", "presenter.mismatch"}


def _theft(name: str, direction: Direction, weight: Weight, why: str, records: Sequence[Sighting] = ()) -> Signal:
    return Signal(name=name, side=Side.THEFT, direction=direction, weight=weight, why=why, records=seqs(records))


def wrong_audience(facts: Facts) -> Signal | None:
    """It was tried where it is not good: whoever has it does not know, or tests, what it is for."""
    tried = facts.refused("audience.mismatch")
    if not tried:
        return None
    where = listed(sorted({each.facets.resource or "?" for each in tried}))
    usual = {(each.facets.in_aud, each.facets.resource) for each in tried} <= facts.habit.mismatches
    if usual and not any(map(facts.is_strange, tried)):
        why = f"presented {said(len(tried), 'time')} at {where}; the agent made this mistake before"
        return _theft("wrong-audience", Direction.FOR, Weight.WEAK, why, tried)
    before = "the agent never did so before" if facts.habit.is_known else "little is known of the agent's habits"
    why = f"presented {said(len(tried), 'time')} at {where}, for which it is not good; {before}"
    return _theft("wrong-audience", Direction.FOR, Weight.STRONG, why, tried)


def after_revocation(facts: Facts) -> Signal | None:
    """It was tried after it was revoked, which its owner may do as well, not knowing."""
    innocent = "an agent that was not told does the same"
    return _late(facts, "after-revocation", {"token.revoked"}, after="after its revocation", innocent=innocent)


def after_expiry(facts: Facts) -> Signal | None:
    """It was tried when it had expired: a client that works as it should gets a new one."""
    innocent = "a slow clock or a queue does the same"
    return _late(facts, "after-expiry", {"token.expired"}, after="after it expired", innocent=innocent)


def after_task(facts: Facts) -> Signal | None:
    """It was tried when its task was over: the agent knows that, unless one of its workers was not told."""
    reasons = {"task.superseded", "task.expired"}
    innocent = "a worker of the agent that was not told does the same"
    return _late(facts, "after-task", reasons, after="after its task was over", innocent=innocent)


def _late(facts: Facts, name: str, reasons: Set[str], *, after: str, innocent: str) -> Signal | None:
    """Strong from a network that the agent never used; from its own there is the innocent reading."""
    tried = [each for each in facts.sightings if each.facets.reason in reasons]
    if not tried:
        return None
    strange = [each for each in tried if facts.is_strange(each)]
    if strange:
        why = f"used {said(len(strange), 'time')} {after}, from a network that the agent never used"
        return _theft(name, Direction.FOR, Weight.STRONG, why, strange)
    return _theft(name, Direction.FOR, Weight.WEAK, f"used {said(len(tried), 'time')} {after}; {innocent}", tried)


def outside_task(facts: Facts) -> Signal | None:
    """It was tried for what its task does not cover: whoever did that did not know the task, or did not keep to it."""
    tried = facts.refused("task.outside")
    if not tried:
        return None
    called = {" ".join(filter(None, (each.facets.resource, each.facets.name or each.facets.method))) for each in tried}
    what = f"used {said(len(tried), 'time')} for what its task does not cover ({listed(sorted(called))})"
    strange = [each for each in tried if facts.is_strange(each)]
    if strange:
        why = f"{what}, from a network that the agent never used"
        return _theft("outside-task", Direction.FOR, Weight.STRONG, why, strange)
    why = f"{what}; an agent that goes astray, or was talked into something, does the same"
    return _theft("outside-task", Direction.FOR, Weight.WEAK, why, tried)


def another_key(facts: Facts) -> Signal | None:
    """It came with a proof of another key than its own: whoever sent it has the token, and has not the key."""
    tried = facts.other_keys
    if not tried:
        return None
    why = (
        f"refused {said(len(tried), 'time')}: it came with a proof of another sender's key than the one it is bound to"
    )
    return _theft("another-key", Direction.FOR, Weight.STRONG, why, tried)


def unproved(facts: Facts) -> Signal | None:
    """It came without what it is bound to, or a second time: whoever sent it had the token and nothing else."""
    tried = [each for each in facts.sightings if _is_unproved(each) and each not in facts.other_keys]
    if not tried:
        return None
    reasons = listed(sorted({each.facets.reason or "" for each in tried}))
    why = f"refused {said(len(tried), 'time')} ({reasons}): it came without what it is bound to, or a second time"
    return _theft("unproved", Direction.FOR, Weight.STRONG, why, tried)


def _is_unproved(sighting: Sighting) -> bool:
    """A client that has just begun is refused once, and told a nonce: that says nothing of it."""
    return sighting.facets.reason in _UNPROVED and sighting.facets.error != ProofNonceNeeded.error


def descendant_misused(facts: Facts) -> Signal | None:
    """A token that came from it was tried as only somebody tries it who got it on its way: a server that is not to be
    trusted, or who reads its traffic. The token itself may well be with its owner."""
    tried = [each for each in facts.below if each.facets.reason in _MISUSED - _UNPROVED or _is_unproved(each)]
    if not tried:
        return None
    reasons = listed(sorted({each.facets.reason or "" for each in tried}))
    where = listed(sorted({each.facets.resource or "?" for each in tried}))
    why = f"tokens that came from it were refused {said(len(tried), 'time')} at {where} ({reasons}): see who got them"
    return _theft("descendant-misused", Direction.FOR, Weight.STRONG, why, tried)


def past_the_gateway(facts: Facts) -> Signal | None:
    """A server admitted a call with it that no gateway sent: somebody has a token that only a gateway and that server
    ever hold."""
    came = facts.past_gateway
    if not came:
        return None
    where = listed(sorted({each.facets.resource or "?" for each in came}))
    networks = listed(sorted({each.facets.network or "?" for each in came}))
    why = f"the server of {where} admitted {said(len(came), 'call')} that no gateway sent, from {networks}"
    return _theft("past-the-gateway", Direction.FOR, Weight.STRONG, why, came)


def refresh_reused(facts: Facts) -> Signal | None:
    """A refresh token that had been used came again: two hold what the token came from, or its client sent it twice."""
    came = facts.reused
    if not came:
        return None
    what = f"a spent refresh token of its family came again {said(len(came), 'time')}"
    strange = [each for each in came if facts.is_strange(each)]
    if strange:
        why = f"{what}, from a network that the agent never used"
        return _theft("refresh-reused", Direction.FOR, Weight.STRONG, why, strange)
    why = f"{what}; an application that sends it twice does the same"
    return _theft("refresh-reused", Direction.FOR, Weight.WEAK, why, came)


def foreign_session(facts: Facts) -> Signal | None:
    """It came with a session id that was sealed for somebody else, or has been dead for long."""
    tried = facts.refused("session.mismatch")
    if not tried:
        return None
    strange = [each for each in tried if facts.is_strange(each)]
    if strange:
        why = "used with a session that is not its own, from a network that the agent never used"
        return _theft("foreign-session", Direction.FOR, Weight.STRONG, why, strange)
    why = "used with a session that is not its own, or too old: an agent that kept one for too long does the same"
    return _theft("foreign-session", Direction.FOR, Weight.WEAK, why, tried)


def strange_network(facts: Facts) -> Signal | None:
    """It was used from where the agent had never been."""
    strange = [each for each in facts.uses() if facts.is_strange(each)]
    if not strange:
        return None
    networks = listed(sorted({each.facets.network or "" for each in strange}))
    known = said(len(facts.habit.networks), "network")
    if facts.habit.is_shared:
        why = f"used from {networks}, new for the agent; but its calls came from many networks all along ({known})"
        return _theft("strange-network", Direction.FOR, Weight.WEAK, why, strange)
    why = f"used from {networks}, where none of the agent's {facts.habit.calls} earlier calls came from ({known})"
    return _theft("strange-network", Direction.FOR, Weight.STRONG, why, strange)


def strange_user_agent(facts: Facts) -> Signal | None:
    """It was used by another program than the agent's; an upgrade looks the same."""
    known = facts.habit.user_agents
    strange = [each for each in facts.uses() if each.facets.user_agent and each.facets.user_agent not in known]
    if not facts.habit.is_known or not strange:
        return None
    programs = listed(sorted({f"`{each.facets.user_agent}`" for each in strange}))
    why = f"used by {programs}, which the agent never was; an upgrade looks the same"
    return _theft("strange-user-agent", Direction.FOR, Weight.WEAK, why, strange)


def two_places(facts: Facts) -> Signal | None:
    """It was used here, there, and here again, faster than anybody moves."""
    found = next(_back_and_forth(facts.uses()), None)
    if found is None:
        return None
    first, other, again = found
    seconds = ((again.facets.time or 0) - (first.facets.time or 0)) / 1_000_000
    places = f"{first.facets.network} and {other.facets.network}, and back, within {seconds:.0f} s"
    if facts.habit.is_shared:
        why = f"used from {places}; but the agent's calls came from many networks at once all along"
        return _theft("two-places", Direction.FOR, Weight.WEAK, why, found)
    return _theft("two-places", Direction.FOR, Weight.STRONG, f"used from {places}: two holders at once", found)


def _back_and_forth(uses: Sequence[Sighting]) -> Iterator[tuple[Sighting, Sighting, Sighting]]:
    """The last use from one network, the first from another, and the next from the first one, soon after."""
    placed = [each for each in uses if each.facets.network is not None and each.facets.time is not None]
    stays = [list(stay) for _, stay in groupby(placed, key=lambda each: each.facets.network)]
    for here, there, again in zip(stays, stays[1:], stays[2:], strict=False):
        took = (again[0].facets.time or 0) - (here[-1].facets.time or 0)
        if here[0].facets.network == again[0].facets.network and 0 <= took <= APART:
            yield here[-1], there[0], again[0]


def same_place(facts: Facts) -> Signal | None:
    """Everything came from where the agent always is, from one program: no second holder is seen."""
    uses = [each for each in facts.uses() if each.facets.network is not None]
    networks = {each.facets.network for each in uses}
    programs = {each.facets.user_agent for each in uses}
    if len(networks) != 1 or len(programs) != 1 or not facts.habit.is_known:
        return None
    if any(map(facts.is_strange, uses)) or not programs <= {*facts.habit.user_agents, None}:
        return None
    why = f"every use came from {uses[0].facets.network} and one program, as the agent's earlier calls did"
    return _theft("same-place", Direction.AGAINST, Weight.STRONG, why, uses)


def usual_hours(facts: Facts) -> Signal | None:
    """It was used at hours at which the agent works anyway; at others, if its hours are its own."""
    uses = [each for each in facts.uses() if each.facets.time is not None]
    if not uses or not facts.habit.is_known:
        return None
    outside = [each for each in uses if _hour(each) not in facts.habit.hours]
    if not outside:
        return _theft(
            "usual-hours", Direction.AGAINST, Weight.WEAK, "used only at hours at which the agent works", uses
        )
    if len(facts.habit.hours) > 16:
        return None
    times = said(len(outside), "time")
    why = f"used {times} at hours (UTC) at which the agent made none of its {facts.habit.calls} earlier calls"
    return _theft("usual-hours", Direction.FOR, Weight.WEAK, why, outside)


def _hour(sighting: Sighting) -> int:
    return (sighting.facets.time or 0) // 3_600_000_000 % 24


THEFT = (
    wrong_audience,
    after_revocation,
    after_expiry,
    after_task,
    outside_task,
    another_key,
    unproved,
    descendant_misused,
    past_the_gateway,
    refresh_reused,
    foreign_session,
    strange_network,
    strange_user_agent,
    two_places,
    same_place,
    usual_hours,
)
