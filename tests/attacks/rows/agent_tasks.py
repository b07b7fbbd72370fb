"""Tasks of agents: somebody else's, one that is over, and ways around what a task covers or how much it may do."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Mapping
from typing import Any

from perhop.authorization_server.tasks import TaskRequest
from perhop.core.task import Task, TaskLimits, ToolPattern
from perhop.journal.record import RequestFacts
from tests.attacks.row import PASSES_GATEWAY, PASSES_GUARD, Door, Row, Seen
from tests.attacks.tries import DECIDES, asking, refused, seen_at_sts, tried, tried_at
from tests.attacks.world import ARGUMENT, World, a_call, a_request, with_token
from tests.support.doors import Wire, send

CALL = a_call("list_events", {"day": ARGUMENT})
OUTSIDE = refused("task.outside", "403 -31403")
NO_DETAILS = refused("task.outside", "400 invalid_authorization_details")
BOUND_SECONDS = 2


async def _begin(
    world: World, *tools: str, by: str = "planner", calls: int | None = None, supersedes: str | None = None
) -> Task:
    asked = TaskRequest(
        purpose="is attacked",
        tools=tuple(ToolPattern(*each.split("/", 1)) for each in tools or ("calendar/*", "rooms/*")),
        limits=TaskLimits(calls=calls),
        expires_in=600,
        supersedes=supersedes,
    )
    client = world.plane.registry.clients[by]
    tasks = world.plane.issuer.tasks
    return await tasks.begin(asked, client, task_id=secrets.token_hex(8), request=RequestFacts())


def _detail(*tasks: Task) -> list[dict[str, str]]:
    return [{"type": "agent_task", "id": task.id} for task in tasks]


def _forged(world: World, door: Door, task: Task, **changes: Any) -> str:
    return world.forge(world.entrance(door).audience, authorization_details=_detail(task), **changes)


def _asking(world: World, client: str, *tasks: Task, **more: str) -> list[tuple[str, str]]:
    named = ("authorization_details", json.dumps(_detail(*tasks)))
    asked = [("grant_type", "client_credentials"), ("resource", world.at.uri("calendar")), named, *more.items()]
    return [*asked, *world.proof(client)]


async def _knock(world: World, token: str, wire: Wire = CALL) -> Seen:
    return await world.knock(world.entrance(Door.GATEWAY), with_token(wire, token))


async def _token(world: World, task: Task) -> str:
    answer = await world.ask(_asking(world, "planner", task))
    assert answer.status == 200, answer
    return str(answer.message["access_token"])


# --- somebody else's --------------------------------------------------------------------------------------------------


async def _foreign_at_sts(world: World) -> Mapping[str, Seen]:
    task = await _begin(world)
    return await asking(lambda here: {"by id": _asking(here, "mallory", task)})(world)


async def _foreign_at_gateway(world: World) -> Seen:
    task = await _begin(world)
    thief = {"sub": "mallory", "client_id": "mallory", "agent": "mallory"}
    return await _knock(world, _forged(world, Door.GATEWAY, task, **thief))


async def _superseding(world: World) -> dict[str, Seen]:
    """A stranger who has read the id in a token tries to put a wider task in its place; so does one who guesses."""
    sights, task = {}, await _begin(world, "calendar/list_*")
    for name, old in {"known": task.id, "guessed": "1"}.items():
        members = {"purpose": "more", "tools": ["calendar/*"], "expires_in": 600, "supersedes": old}
        body = json.dumps({**members, **dict(world.proof("mallory"))}).encode()
        world.tick()
        size = world.reader.size()
        answer = await world.post_form(body, path="/tasks", media_type="application/json")
        sights[name] = seen_at_sts(world, answer, size)
    assert (await _knock(world, _forged(world, Door.GATEWAY, task))).outcome == PASSES_GATEWAY.outcome
    return sights


async def _approved(world: World) -> Task:
    task = await _begin(world)
    return await world.plane.issuer.tasks.approve(task, subject="user:ann", request=RequestFacts())


async def _of_another_subject_at_sts(world: World) -> Mapping[str, Seen]:
    task = await _approved(world)
    return await asking(lambda here: {"the client itself": _asking(here, "planner", task)})(world)


async def _of_another_subject_at_gateway(world: World) -> dict[str, Seen]:
    task = await _approved(world)
    assert (await _knock(world, _forged(world, Door.GATEWAY, task, sub="user:ann"))).passed == 1
    others = {"another person": "user:bob", "the client itself": "planner"}
    return {name: await _knock(world, _forged(world, Door.GATEWAY, task, sub=sub)) for name, sub in others.items()}


# --- more than one, or none that can be read --------------------------------------------------------------------------


async def _odd_details(world: World) -> dict[str, Seen]:
    narrow, wide = await _begin(world, "calendar/list_*"), await _begin(world)
    odd: dict[str, Any] = {
        "two": _detail(narrow, wide),
        "one twice": _detail(narrow, narrow),
        "none": [],
        "a call beside it": [*_detail(wide), {"type": "mcp_call", "method": "tools/call"}],
        "another type": [{"type": "Agent_Task", "id": wide.id}],
        "a member more": [{**_detail(wide)[0], "tools": ["calendar/*"]}],
        "no list": _detail(wide)[0],
    }
    texts = {name: json.dumps(each) for name, each in odd.items()}
    texts["a member twice"] = f'[{{"type":"agent_task","id":"{narrow.id}","id":"{wide.id}"}}]'
    sights = {}
    for name, text in texts.items():
        usual = [("grant_type", "client_credentials"), ("resource", world.at.uri("calendar"))]
        form = [*usual, ("authorization_details", text), *world.proof("planner")]
        size = world.reader.size()
        sights[name] = seen_at_sts(world, await world.ask(form), size)
    return sights


# --- over -------------------------------------------------------------------------------------------------------------


async def _superseded_at_gateway(world: World) -> dict[str, Seen]:
    old = await _begin(world)
    token, forged = await _token(world, old), _forged(world, Door.GATEWAY, old)
    assert (await _knock(world, token)).passed == 1
    await _begin(world, supersedes=old.id)
    return {
        "issued before": await _knock(world, token),
        "a fresh one": await _knock(world, forged),
        "a handshake": await _knock(world, token, a_request("server/discover")),
    }


async def _superseded_at_sts(world: World) -> dict[str, Seen]:
    old = await _begin(world)
    received = await world.received(await _token(world, old))
    await _begin(world, supersedes=old.id)
    return dict(await asking(lambda here: here.exchange("calendar-server", received, here.at.uri("rooms")))(world))


async def _superseded_at_guard(world: World) -> Seen:
    """Past the gateway, with what the gateway got for a call under the task."""
    old = await _begin(world)
    received = await world.received(await _token(world, old))
    entrance = world.entrance(Door.GUARD)
    assert (await world.knock(entrance, with_token(CALL, received))).outcome == PASSES_GUARD.outcome
    await _begin(world, supersedes=old.id)
    now = world.clock.now
    async with asyncio.timeout(BOUND_SECONDS):
        while (seen := await world.knock(entrance, with_token(CALL, received))).passed:
            world.clock.now = now  # it is the wire that takes time here
    return seen


# --- around it --------------------------------------------------------------------------------------------------------


async def _widened(world: World) -> dict[str, Seen]:
    """Every scope, every right of policy, and other things of the same server: the task stays what it is."""
    task = await _begin(world, "calendar/list_*")
    token = await _token(world, task)
    create = a_call("create_event", {"title": ARGUMENT})
    reference = {"ref": {"type": "ref/prompt", "name": "greet"}, "argument": {"name": "n", "value": "a"}}
    wires = {
        "a tool that the scope has": create,
        "the name in another case": a_call("LIST_events", {}),
        "a prompt": a_request("prompts/get", {"name": "greet"}),
        "a document": a_request("resources/read", {"uri": "note://today"}),
        "a completion": a_request("completion/complete", reference),
        "a listener": a_request("subscriptions/listen", {"notifications": {"resourceSubscriptions": ["a://b"]}}),
    }
    return {name: await _knock(world, token, wire) for name, wire in wires.items()}


async def _beyond_its_resources(world: World) -> Mapping[str, Seen]:
    """A chain goes no further than the task, though the hop is there and the scope too."""
    task = await _begin(world, "calendar/*")
    received = await world.received(await _token(world, task))
    form = world.exchange("calendar-server", received, world.at.uri("rooms"))
    return await asking(lambda _: {"along a hop": form})(world)


async def _another_at_exchange(world: World) -> Mapping[str, Seen]:
    """The server that calls on names another task, wider than the one it was called under."""
    narrow, wide = await _begin(world, "calendar/*"), await _begin(world)
    received = await world.received(await _token(world, narrow))
    named = ("authorization_details", json.dumps(_detail(wide)))
    return await asking(lambda here: here.exchange("calendar-server", received, here.at.uri("rooms"), named))(world)


async def _in_parallel(world: World) -> Seen:
    """Ten at once where three are left: whoever counts after looking lets more through."""
    task = await _begin(world, "calendar/list_*", calls=3)
    entrance, token = world.entrance(Door.GATEWAY), await _token(world, task)
    raw = with_token(CALL, token).render(path=entrance.path, host=entrance.address)
    before = entrance.passed()
    answers = await asyncio.gather(*(send(entrance.address, raw) for _ in range(10)))
    assert sorted(answer.status for (answer,) in answers) == [200] * 3 + [429] * 7
    assert entrance.passed() - before == 3
    return await _knock(world, token)


def _without(door: Door) -> Any:
    async def attempt(world: World) -> Seen:
        task = await _begin(world, "calendar/list_*", calls=0)
        await _begin(world, supersedes=task.id)
        entrance = world.entrance(door)
        return await world.knock(entrance, with_token(CALL, world.forge(entrance.audience)))

    return attempt


ROWS: tuple[Row, ...] = (
    tried_at(
        "foreign-agent-task",
        "another client's task, named by its id",
        "RFC 9396 §5; OWASP Agentic ASI03",
        {Door.STS: (_foreign_at_sts, NO_DETAILS), Door.GATEWAY: (_foreign_at_gateway, OUTSIDE)},
        only=DECIDES,
    ),
    tried(
        "agent-task-superseded-by-a-stranger",
        "a wider task in the place of one that somebody else began",
        "RFC 9396 §5; OWASP Agentic ASI01",
        Door.STS,
        _superseding,
        NO_DETAILS,
    ),
    tried_at(
        "agent-task-of-another-subject",
        "a task that one person approved, for somebody else",
        "RFC 9396 §7; OWASP Agentic ASI03",
        {Door.STS: (_of_another_subject_at_sts, NO_DETAILS), Door.GATEWAY: (_of_another_subject_at_gateway, OUTSIDE)},
        only=DECIDES,
    ),
    tried(
        "several-agent-tasks",
        "two tasks in one request, or details that can be read in two ways",
        "RFC 9396 §2; RFC 9396 §5",
        Door.STS,
        _odd_details,
        refused("request.malformed", "400 invalid_authorization_details"),
    ),
    tried_at(
        "superseded-agent-task",
        "a token of a task that another one has replaced",
        "RFC 9396 §9; OWASP Agentic ASI01",
        {
            Door.GATEWAY: (_superseded_at_gateway, refused("task.superseded", "403 -31403")),
            Door.STS: (_superseded_at_sts, refused("task.superseded", "400 invalid_request")),
            Door.GUARD: (_superseded_at_guard, refused("token.revoked")),
        },
        differs="a guard knows no tasks: it hears that the tokens of one are revoked",
    ),
    tried(
        "agent-task-widened",
        "more than the task covers, by a scope, a prompt, a document or a completion",
        "RFC 9396 §9; MCP 2026-07-28 authorization",
        Door.GATEWAY,
        _widened,
        OUTSIDE,
        only=DECIDES,
    ),
    tried(
        "agent-task-beyond-its-resources",
        "an exchange to a resource that the task does not name",
        "RFC 8693 §2.2.2; RFC 9396 §9",
        Door.STS,
        _beyond_its_resources,
        refused("task.outside", "400 invalid_request"),
    ),
    tried(
        "agent-task-changed-at-exchange",
        "another task than the subject token's",
        "RFC 8693 §2.1; RFC 9396 §6",
        Door.STS,
        _another_at_exchange,
        NO_DETAILS,
    ),
    tried(
        "agent-task-counted-in-parallel",
        "more calls than are left, all at once",
        "CWE-367; OWASP Agentic ASI02",
        Door.GATEWAY,
        _in_parallel,
        refused("limit.exceeded", "429 -31429"),
        only=DECIDES,
    ),
    tried_at(
        "token-without-an-agent-task",
        "the end of a task that another token names: this one must pass",
        "RFC 9396 §9",
        {
            Door.GATEWAY: (_without(Door.GATEWAY), PASSES_GATEWAY),
            Door.GUARD: (_without(Door.GUARD), PASSES_GUARD),
        },
    ),
)
