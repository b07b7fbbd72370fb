"""Search: of what is known here, all that a question about it would be answered with yes.

Known are the clients that reach a resource, the tools that its owner approved or that its server or a scope names, the
resources that the client serves, and the actions. People, prompts and what MCP calls resources are not listed anywhere,
so none is found. Each thing found is judged exactly as a question about it, so a search tells no more.

Spec: AuthZEN 1.0 §8
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from perhop.authorization_server.access.caller import AGENT_TYPES
from perhop.authorization_server.access.judge import Judge
from perhop.authorization_server.access.place import AT, find_place, parse_kind, served_at
from perhop.authorization_server.issuer import Issuer
from perhop.core.resource import Resource
from perhop.errors import AccessRequestMalformed, QuestionUnclear, ResourceNotServed
from perhop.rules import base64url
from perhop.rules.authzen import AskedAction, Evaluation, Search, Sought
from perhop.rules.canonical_json import canonical_json
from perhop.rules.coaz_mcp import Kind, asked_actions

MAX_RESULTS = 1000
USUAL_RESULTS = 100
AT_ONCE = 20
"""Questions that are judged before others may go on."""

Result = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One page of what was found; `next_token` is empty at the end. `resource` is the one asked about, if it is one."""

    results: tuple[Result, ...]
    next_token: str
    resource: Resource | None


async def search(asked: Search, judge: Judge, issuer: Issuer) -> Found:
    """Find what would be permitted, in the order of its names, from where the token says.

    Spec: AuthZEN 1.0 §8.2
    Raises: AccessRequestMalformed
    """
    limit, after = _from_token(asked, judge)
    resource = _resource_of(asked, judge, issuer)
    results: list[Result] = []
    for looked_at, name in enumerate(sorted(_known(asked, judge, issuer))):
        if after is not None and name <= after:
            continue
        if looked_at % AT_ONCE == 0:
            await asyncio.sleep(0)
        if not judge.judge(_question_about(asked, name)).is_permit:
            continue
        if len(results) >= limit:
            return Found(results=tuple(results), next_token=_token(asked, judge, limit, after), resource=resource)
        results.append(_result(asked, name))
        after = name
    return Found(results=tuple(results), next_token="", resource=resource)


def _known(asked: Search, judge: Judge, issuer: Issuer) -> Iterable[str]:
    """The names of all that may be looked at; of what is not known, nothing."""
    try:
        match asked.sought:
            case Sought.SUBJECT:
                return _agents(asked, judge, issuer)
            case Sought.RESOURCE:
                return _things(asked, judge, issuer)
            case Sought.ACTION:
                return asked_actions(parse_kind(asked.pattern.resource.type))
    except (QuestionUnclear, ResourceNotServed):
        return ()


def _agents(asked: Search, judge: Judge, issuer: Issuer) -> Iterable[str]:
    """Spec: AuthZEN 1.0 §8.4."""
    if asked.pattern.subject.type not in AGENT_TYPES:
        return ()
    place = find_place(asked.pattern.resource, judge.client, issuer.registry)
    return [name for name in issuer.registry.clients if judge.reached_scopes(name, place.resource.name) is not None]


def _things(asked: Search, judge: Judge, issuer: Issuer) -> Iterable[str]:
    """Spec: AuthZEN 1.0 §8.5."""
    properties = asked.pattern.resource.properties
    places = served_at(properties, judge.client, issuer.registry)
    match parse_kind(asked.pattern.resource.type):
        case Kind.SERVER:
            return [resource.name for resource in places]
        case Kind.MCP_SERVER:
            return [resource.server_uri for resource in places]
        case Kind.TOOL:
            before = {resource.name: "" if AT in properties else f"{resource.name}/" for resource in places}
            return [before[resource.name] + tool for resource in places for tool in _tools(resource, issuer)]
        case Kind.PROMPT | Kind.RESOURCE | Kind.TASK:
            return ()


def _tools(resource: Resource, issuer: Issuer) -> frozenset[str]:
    """Those that the owner approved or the server lists, and those that a scope names without a wildcard."""
    named = {tool for scope in resource.scopes.values() for tool in scope.tools if "*" not in tool}
    return issuer.tools.names(resource.name) | named


def _question_about(asked: Search, name: str) -> Evaluation:
    pattern = asked.pattern
    match asked.sought:
        case Sought.SUBJECT:
            return replace(pattern, subject=replace(pattern.subject, id=name))
        case Sought.RESOURCE:
            return replace(pattern, resource=replace(pattern.resource, id=name))
        case Sought.ACTION:
            return replace(pattern, action=AskedAction(name, {}))


def _result(asked: Search, name: str) -> Result:
    match asked.sought:
        case Sought.SUBJECT:
            return {"type": asked.pattern.subject.type, "id": name}
        case Sought.RESOURCE:
            return {"type": asked.pattern.resource.type, "id": name}
        case Sought.ACTION:
            return {"name": name}


def _resource_of(asked: Search, judge: Judge, issuer: Issuer) -> Resource | None:
    """The one resource that the search is about, for the record."""
    try:
        if asked.sought is not Sought.RESOURCE:
            return find_place(asked.pattern.resource, judge.client, issuer.registry).resource
        served = served_at(asked.pattern.resource.properties, judge.client, issuer.registry)
    except (QuestionUnclear, ResourceNotServed):
        return None
    return served[0] if len(served) == 1 else None


def _from_token(asked: Search, judge: Judge) -> tuple[int, str | None]:
    """How many may be found, and after which name; a token of another search is refused. Spec: AuthZEN 1.0 §8.2.1."""
    if asked.token is None:
        return min(USUAL_RESULTS if asked.limit is None else asked.limit, MAX_RESULTS), None
    try:
        digest, limit, after = json.loads(base64url.decode(asked.token))
    except (ValueError, TypeError, RecursionError):
        raise AccessRequestMalformed("`page.token` is not one of ours") from None
    is_ours = type(limit) is int and 0 <= limit <= MAX_RESULTS and (after is None or isinstance(after, str))
    if digest != _digest(asked, judge) or not is_ours:
        raise AccessRequestMalformed("`page.token` belongs to another search")
    if asked.limit is not None and min(asked.limit, MAX_RESULTS) != limit:
        raise AccessRequestMalformed("`page.limit` is not that of the search that `page.token` continues")
    return limit, after


def _token(asked: Search, judge: Judge, limit: int, after: str | None) -> str:
    """Where to go on: after a name that was found. So it holds nothing that the client was not told."""
    text = json.dumps([_digest(asked, judge), limit, after], separators=(",", ":"))
    return base64url.encode(text.encode())


def _digest(asked: Search, judge: Judge) -> str:
    pattern = asked.pattern
    whole = [
        [judge.client.id, asked.sought.value],
        *([each.type, each.id, each.properties] for each in (pattern.subject, pattern.resource)),
        [pattern.action.name, pattern.action.properties],
        pattern.context,
    ]
    return hashlib.sha256(canonical_json(whole)).hexdigest()[:32]
