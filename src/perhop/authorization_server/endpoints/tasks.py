"""`/tasks`: a client says what it is about to do, before it asks for tokens to do it with.

Spec: RFC 9396 §2
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from perhop.authorization_server.client_auth.authenticate import authenticate_client
from perhop.authorization_server.client_auth.credentials import parse_credentials
from perhop.authorization_server.endpoints.refuse import refuse
from perhop.authorization_server.endpoints.render import NO_STORE
from perhop.authorization_server.form import Form, read_body
from perhop.authorization_server.issuer import Issuer
from perhop.authorization_server.tasks import TaskRequest
from perhop.authorization_server.trail import Trail
from perhop.core.client import Client
from perhop.core.registry import Registry
from perhop.core.task import Task, TaskLimits, ToolPattern
from perhop.errors import (
    JsonUnparsable,
    Refused,
    TargetInvalid,
    TaskExpired,
    TaskOutside,
    TaskRefused,
    TaskRequestMalformed,
    TaskSuperseded,
    Unavailable,
)
from perhop.rules.reach import client_reach
from perhop.rules.strict_json import parse_json
from perhop.rules.visible_text import is_unseen

TASKS_PATH = "/tasks"
MAX_BODY_BYTES = 64 * 1024
MAX_PURPOSE = 500
MAX_PATTERNS = 100
MAX_PATTERN = 512
MAX_LIMIT = 1_000_000_000
MAX_EXPIRES_IN = 30 * 24 * 3600

_CREDENTIALS = frozenset({"client_id", "client_secret", "client_assertion", "client_assertion_type"})
_OF_A_TASK = frozenset({"purpose", "tools", "limits", "expires_in", "supersedes"})
_LIMITS = frozenset({"calls", "writes"})

Members = Mapping[str, Any]


async def tasks(request: Request, issuer: Issuer) -> Response:
    """Read -> authenticate client -> parse the task -> look what the client reaches -> begin -> respond.

    A task grants nothing, so whether a token can be had under it is not looked at here.
    """
    trail = Trail.of(request)
    authorization = request.headers.getlist("authorization")
    try:
        members = await _read(request)
        client = await authenticate_client(parse_credentials(authorization, _credentials(members)), issuer)
        trail = trail.by(client)
        issuer.rates.check_client(client, trail.request.ip, issuer.rate_limits)
        asked = parse_task_request({name: members[name] for name in members if name not in _CREDENTIALS})
        check_reach(asked, client, issuer.registry)
        trail = trail.under(issuer.tasks.facts(asked.supersedes))
        task = await _begin(asked, client, trail, issuer)
    except (Refused, Unavailable) as fact:
        return await refuse(fact, trail, issuer, tried_header=bool(authorization))
    body = {"id": task.id, "expires_in": task.expires_at - task.created_at}
    return JSONResponse(body, status_code=201, headers=dict(NO_STORE))


async def _begin(asked: TaskRequest, client: Client, trail: Trail, issuer: Issuer) -> Task:
    """Raises: TaskRefused, TooManyTasks, StorageUnavailable, JournalUnavailable."""
    try:
        return await issuer.tasks.begin(asked, client, task_id=issuer.new_id(), request=trail.request)
    except (TaskOutside, TaskSuperseded, TaskExpired) as fact:
        raise TaskRefused(fact) from None


async def _read(request: Request) -> Members:
    """Raises: TaskRequestMalformed, BodyTooLarge, BodyTooSlow, TokenRequestMalformed."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise TaskRequestMalformed("the content type is not `application/json`")
    try:
        document = parse_json(await read_body(request, max_bytes=MAX_BODY_BYTES), max_bytes=MAX_BODY_BYTES)
    except JsonUnparsable as fact:
        raise TaskRequestMalformed(fact.detail) from None
    if not isinstance(document, dict):
        raise TaskRequestMalformed("the body is not a JSON object")
    return document


def _credentials(members: Members) -> Form:
    """The members that say who asks, as the token endpoint has them. Raises: TaskRequestMalformed."""
    found = {name: members[name] for name in _CREDENTIALS if name in members}
    if not all(isinstance(value, str) for value in found.values()):
        raise TaskRequestMalformed("a member of the client's authentication is not a text")
    return Form({name: (value,) for name, value in found.items()})


def parse_task_request(members: Members) -> TaskRequest:
    """Read the members of a task; one that is not known, or of another type, refuses it.

    Does not look whether the resources exist.

    Raises: TaskRequestMalformed
    """
    unknown = sorted(members.keys() - _OF_A_TASK)
    if unknown:
        raise TaskRequestMalformed(f"not a member of a task: `{unknown[0][:64]}`")
    supersedes = members.get("supersedes")
    if "supersedes" in members and not (isinstance(supersedes, str) and supersedes):
        raise TaskRequestMalformed("`supersedes` is not the id of a task")
    return TaskRequest(
        purpose=_purpose(members.get("purpose")),
        tools=_tools(members.get("tools")),
        limits=_limits(members.get("limits", {})),
        expires_in=_whole(members.get("expires_in"), "expires_in", least=1, most=MAX_EXPIRES_IN),
        supersedes=supersedes,
    )


def check_reach(asked: TaskRequest, client: Client, registry: Registry) -> None:
    """Refuse a resource that no token of this client leads to, directly or over hops.

    Raises: TargetInvalid
    """
    reached = {each.resource.name for each in client_reach(client, registry)}
    beyond = sorted({pattern.resource for pattern in asked.tools} - reached)
    if beyond:
        raise TargetInvalid(f"`{beyond[0][:128]}` is no resource that client `{client.id}` leads to")


def _purpose(value: object) -> str:
    """What a person may have to read, as one line."""
    if not isinstance(value, str) or not 0 < len(value) <= MAX_PURPOSE or not value.isprintable() or value.isspace():
        raise TaskRequestMalformed(f"`purpose` is not one line of 1 to {MAX_PURPOSE} characters")
    if any(is_unseen(letter) for letter in value):
        raise TaskRequestMalformed("`purpose` holds a character that does not show")
    return value


def _tools(value: object) -> tuple[ToolPattern, ...]:
    if not isinstance(value, list) or not 0 < len(value) <= MAX_PATTERNS:
        raise TaskRequestMalformed(f"`tools` is not a list of 1 to {MAX_PATTERNS} patterns")
    return tuple(dict.fromkeys(_pattern(each) for each in value))


def _pattern(value: object) -> ToolPattern:
    if not isinstance(value, str) or len(value) > MAX_PATTERN or any(is_unseen(letter) for letter in value):
        raise TaskRequestMalformed(f"a pattern of `tools` is not a text of at most {MAX_PATTERN} characters")
    resource, slash, glob = value.partition("/")
    if not (resource and slash and glob):
        raise TaskRequestMalformed("a pattern of `tools` is not `RESOURCE/GLOB`")
    return ToolPattern(resource, glob)


def _limits(value: object) -> TaskLimits:
    if not isinstance(value, dict) or not value.keys() <= _LIMITS:
        raise TaskRequestMalformed("`limits` is not an object of `calls` and `writes`")
    found = {name: _whole(each, f"limits.{name}", least=0, most=MAX_LIMIT) for name, each in value.items()}
    return TaskLimits(calls=found.get("calls"), writes=found.get("writes"))


def _whole(value: object, name: str, *, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise TaskRequestMalformed(f"`{name}` is not a whole number from {least} to {most}")
    return value
