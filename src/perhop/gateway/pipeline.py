"""One request through the gateway, from its first header to its record. Each verb is a file of its own beside this one.

An order that is wrong does not type-check: policy is asked about a call that was held against its task, what policy
allows may want a person's approval, counting what is approved makes the Permit, the exchange wants a Permit, and what
is forwarded wants a token that only the exchange can make.
"""

from __future__ import annotations

from perhop.core.call import Reply
from perhop.errors import Refused, Unavailable
from perhop.gateway.approve import approve
from perhop.gateway.authenticate import authenticate, check_standing, prove_sender
from perhop.gateway.count import count
from perhop.gateway.cover import cover
from perhop.gateway.decide import decide
from perhop.gateway.door import check_door
from perhop.gateway.exchange import exchange
from perhop.gateway.forward import forward
from perhop.gateway.gate import Gate
from perhop.gateway.interpret import interpret
from perhop.gateway.record import record, record_failure, record_refusal, recording_its_end
from perhop.gateway.refusal import refuse
from perhop.gateway.request import Request
from perhop.gateway.trail import Trail
from perhop.rules.audience import bind_audience


async def handle(request: Request, gate: Gate) -> Reply:
    """Authenticate, bind audience, prove sender, interpret, cover, decide, approve, count, exchange, record, forward.

    And record again: how it ended.
    """
    trail = Trail.of(request, gate)
    try:
        check_door(request, gate.resource)
        caller = authenticate(request, gate)
        trail = trail.by(caller, gate)
        bound = bind_audience(caller, gate.resource.uri)
        proved = await prove_sender(request, bound, gate)
        in_force = await check_standing(request, proved, gate)
        call = await interpret(request, bound, trail.call_id, gate)  # the body is read for a bound caller only
        trail = trail.asking(call, gate)
        covered = cover(in_force, call, gate)
        allowed = decide(request, covered, gate)
        approved = await approve(allowed, gate)  # by a person, where policy wants that: once, and nobody waits here
        permit = await count(approved, gate)  # one call less for its task, whatever becomes of it
        onward = exchange(permit, gate)  # HopToken | NoCredential; the caller's token is not in it
        trail = trail.permitted(permit, onward)
        await record(trail, gate.journal)  # in and out, durable, or nothing is forwarded
        answer = await forward(request, permit, onward, gate)
    except (Refused, Unavailable) as fact:
        await record_refusal(fact, trail.naming_token(request), gate.journal, now=gate.clock())
        return refuse(fact, request, trail)
    except BaseException as failure:  # our own error, or the caller is gone: recorded here, answered at the edge
        await record_failure(failure, trail.naming_token(request), gate.journal, now=gate.clock())
        raise
    return recording_its_end(answer, trail, gate.journal, clock=gate.clock)
