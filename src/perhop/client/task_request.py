"""The endpoint for tasks, from the client's side: what it is about to do goes out, the task's id comes back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx2

from perhop.client.fetch import MAX_DOCUMENT_BYTES, fetch
from perhop.client.token_request import TOKEN_SECONDS, Form, parse_document, refusal
from perhop.errors import IssuerUnavailable, SettingsError

MAX_LIFETIME = 366 * 86_400


@dataclass(frozen=True, slots=True)
class BegunTask:
    """A task as the authorization server took it. `expires_at` is in seconds since the epoch, by our clock."""

    id: str
    expires_at: float


def task_members(
    purpose: str,
    tools: Iterable[str],
    *,
    limits: Mapping[str, int] | None,
    expires_in: int,
    supersedes: str | None,
) -> dict[str, Any]:
    """What is said of a task. Whether it is within bounds is for the authorization server to say.

    Raises: SettingsError
    """
    if isinstance(tools, str):
        raise SettingsError("`tools` is one text", advice='give a list of patterns, as ["calendar/list_*"]')
    members: dict[str, Any] = {"purpose": purpose, "tools": list(tools), "expires_in": expires_in}
    if limits is not None:
        members["limits"] = dict(limits)
    if supersedes is not None:
        members["supersedes"] = supersedes
    return members


async def begin_task(
    http: httpx2.AsyncClient,
    endpoint: str,
    members: Mapping[str, Any],
    *,
    authorization: str | None,
    identity: Form,
    now: float,
) -> BegunTask:
    """Begin one task; `identity` says who asks. `now` is the time before the request.

    Raises: TokenNotGranted, IssuerUnavailable
    """
    headers = {"accept": "application/json", "content-type": "application/json"}
    if authorization is not None:
        headers["authorization"] = authorization
    content = json.dumps({**members, **dict(identity)}).encode()
    request = http.build_request("POST", endpoint, content=content, headers=headers)
    answer = await fetch(http, request, max_bytes=MAX_DOCUMENT_BYTES, seconds=TOKEN_SECONDS)
    document = parse_document(answer.body) if answer.status in (201, 400, 401, 403, 429) else {}
    if answer.status != 201:
        raise refusal(answer.status, document)
    task, lifetime = document.get("id"), document.get("expires_in")
    if not isinstance(task, str) or not task or type(lifetime) is not int or not 0 < lifetime <= MAX_LIFETIME:
        raise IssuerUnavailable("tasks endpoint: the answer names no task")
    return BegunTask(task, now + lifetime)
