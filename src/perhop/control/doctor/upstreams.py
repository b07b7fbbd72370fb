"""Checks of the MCP servers: whether they answer, look at audiences, point at us, and what they speak and offer.

Spec: RFC 8707 §2
Spec: RFC 9728 §3.3
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

import httpx2

from perhop.client.fetch import MAX_DOCUMENT_BYTES, fetch
from perhop.control.doctor.answers import SECONDS, Answers, in_words
from perhop.control.doctor.finding import Seen, failed, ok, skipped, some, warning
from perhop.control.doctor.patient import Patient
from perhop.core.resource import Resource, Upstream
from perhop.errors import IssuerUnavailable, JsonUnparsable
from perhop.gateway.readiness import Verdict
from perhop.gateway.upstream.tls import tls_trusting
from perhop.rules.challenge import metadata_path, metadata_url
from perhop.rules.strict_json import parse_json

_START = "start the server, or mend `upstream.url`"
_GUARD = "guard the server (docs/guide/guard-a-server.md); see the log of `perhop serve`"


async def reachable(patient: Patient) -> list[Seen]:
    """Whether the servers answer."""
    seen = []
    for resource, _, answers in _asked(patient):
        if not answers.problem:
            seen.append(ok("answers", part=resource.name))
        elif patient.serves:
            seen.append(failed(answers.problem, _START, part=resource.name))
        else:
            seen.append(warning(answers.problem, _START, part=resource.name))
    return seen or [ok("no upstream at a URL")]


async def audience(patient: Patient) -> list[Seen]:
    """Whether a token for somebody else is refused: by the running server's self-test, else by what can be seen."""
    seen = []
    for resource, upstream, answers in _asked(patient):
        if not upstream.credential.is_token:
            seen.append(ok("is given no token; whoever reaches it calls it past Perhop", part=resource.name))
        elif patient.readiness is not None:
            seen.append(_verdict(resource, upstream, patient.readiness))
        elif answers.problem:
            seen.append(skipped(answers.problem, part=resource.name))
        elif answers.takes_strangers:
            seen.append(_open(resource, upstream, "it lets strangers in, without a token of ours"))
        else:
            told = "refuses strangers; whether it looks at audiences is seen while perhop serves"
            seen.append(ok(told, part=resource.name))
    return seen or [ok("no upstream at a URL")]


def _verdict(resource: Resource, upstream: Upstream, readiness: Mapping[str, Any]) -> Seen:
    verdict = readiness["upstreams"].get(resource.name, Verdict.UNTESTED)
    if verdict == Verdict.ENFORCES:
        return ok("refuses a token that is good nowhere, and takes its own", part=resource.name)
    if verdict == Verdict.OPEN:
        return _open(resource, upstream, "it takes a token that is good nowhere")
    words = f"the self-test says `{verdict}`: it was not seen to take its own token and refuse another"
    return (
        warning(words, _GUARD, part=resource.name)
        if upstream.unsafe_open_upstream
        else failed(words, _GUARD, part=resource.name)
    )


def _open(resource: Resource, upstream: Upstream, words: str) -> Seen:
    if upstream.unsafe_open_upstream:
        return warning(f"{words}, and `unsafe_open_upstream` lets calls through", _GUARD, part=resource.name)
    return failed(words, _GUARD, part=resource.name)


async def addresses(patient: Patient) -> list[Seen]:
    """Whether clients find every resource of the gateway at its `uri`."""
    if not patient.serves:
        return [skipped("perhop does not serve here")]
    behind = [each for each in patient.settings.registry.resources.values() if each.upstream is not None]
    return list(await asyncio.gather(*(_address(patient, each) for each in behind))) or [ok("no gateway is in use")]


async def _address(patient: Patient, resource: Resource) -> Seen:
    document = await _fetch_document(patient.http, metadata_url(resource.uri))
    fix = f"`resources.{resource.name}.uri` must lead to `listen.traffic`, through every proxy that stands before it"
    if isinstance(document, str):
        return failed(f"not found at {resource.uri}: {document}", fix, part=resource.name)
    if document.get("resource") != resource.uri or document.get("authorization_servers") != [patient.settings.issuer]:
        return failed(f"something else answers at {resource.uri}", fix, part=resource.name)
    return ok(f"found at {resource.uri}", part=resource.name)


async def metadata(patient: Patient) -> list[Seen]:
    """Whether the servers' own metadata names us, and the audience that we write into tokens."""
    asked = [
        _metadata(patient, resource)
        for resource in patient.settings.registry.resources.values()
        if resource.upstream is None or (resource.upstream.url is not None and resource.upstream.credential.is_token)
    ]
    return list(await asyncio.gather(*asked)) or [ok("no server takes tokens of ours")]


async def _metadata(patient: Patient, resource: Resource) -> Seen:
    document = await _fetch_metadata(patient, resource)
    if isinstance(document, str):
        if resource.upstream is None:
            fix = "guard the server with `perhop.resource_server`, which serves it; clients find their way by it"
            return warning(document, fix, part=resource.name)
        return ok(f"{document}; behind the gateway no client needs it", part=resource.name)
    named, servers = document.get("resource"), document.get("authorization_servers")
    if named != resource.server_uri:
        fix = f"guard it as `{resource.server_uri}`, or mend the configuration: both must be the same text"
        return failed(f"it calls itself {named!a}, and tokens are for `{resource.server_uri}`", fix, part=resource.name)
    if not isinstance(servers, list) or patient.settings.issuer not in servers:
        fix = f"let the server's guard trust `{patient.settings.issuer}`"
        return failed(f"it sends clients to {servers!a}, not to us", fix, part=resource.name)
    return ok("names us, and its audience", part=resource.name)


async def _fetch_metadata(patient: Patient, resource: Resource) -> dict[str, Any] | str:
    """The document, or why there is none. Not beyond the server's own origin, whatever it named."""
    own = None if resource.upstream is None else resource.upstream.ca_certificates
    found: dict[str, Any] | str = "it serves none"
    async with httpx2.AsyncClient(verify=patient.tls if own is None else tls_trusting(own), trust_env=False) as http:
        for url in _metadata_urls(patient, resource):
            found = await _fetch_document(http, url)
            if isinstance(found, dict):
                return found
    return found


async def _fetch_document(http: httpx2.AsyncClient, url: str) -> dict[str, Any] | str:
    request = http.build_request("GET", url, headers={"accept": "application/json"})
    try:
        answer = await fetch(http, request, max_bytes=MAX_DOCUMENT_BYTES, seconds=SECONDS)
        if answer.status != 200:
            return "it serves none"
        document = parse_json(answer.body, max_bytes=MAX_DOCUMENT_BYTES)
    except IssuerUnavailable as failure:
        return in_words(failure)
    except JsonUnparsable as failure:
        return f"{url} is not JSON: {failure.detail}"
    return document if isinstance(document, dict) else f"{url} is no JSON object"


def _metadata_urls(patient: Patient, resource: Resource) -> Iterator[str]:
    if resource.upstream is None or resource.upstream.url is None:
        yield metadata_url(resource.uri)
        return
    scheme, _, rest = resource.upstream.url.partition("://")
    origin = f"{scheme}://{rest.partition('/')[0].partition('?')[0]}"
    answers = patient.answers.get(resource.name, Answers())
    if answers.metadata_url.startswith(f"{origin}/"):
        yield answers.metadata_url
    yield origin + metadata_path(resource.server_uri)


async def revisions(patient: Patient) -> list[Seen]:
    """Which revisions of MCP the servers speak."""
    seen = []
    for resource, _, answers in _asked(patient):
        if answers.revisions:
            seen.append(ok(f"speaks {', '.join(answers.revisions)}", part=resource.name))
        elif answers.problem or answers.wants_token:
            seen.append(skipped(answers.problem or "it tells only those who have a token", part=resource.name))
        else:
            words = "it speaks no revision that is served here"
            seen.append(failed(words, "see whether `upstream.url` is its MCP endpoint", part=resource.name))
    return seen or [ok("no upstream at a URL")]


async def tools(patient: Patient) -> list[Seen]:
    """Whether scopes and the servers' tools know each other."""
    seen = []
    for resource, _, answers in _asked(patient):
        if not answers.told.definitions:
            why = answers.problem or answers.told.problem
            seen.append(skipped(f"{why}; while perhop serves: `perhop resource tools`", part=resource.name))
        elif not resource.lists_tools:
            seen.append(ok("no scope lists tools: any of them may be called with any scope", part=resource.name))
        else:
            names = sorted(str(each.get("name")) for each in answers.told.definitions)
            seen.append(_tools(resource, names))
    return seen or [ok("no upstream at a URL")]


def _tools(resource: Resource, names: list[str]) -> Seen:
    unlisted = [name for name in names if resource.scope_for(name) is None]
    empty = [
        scope.name for scope in resource.scopes.values() if scope.tools and not any(scope.lists(name) for name in names)
    ]
    gone = [tool for scope in resource.scopes.values() for tool in scope.tools if "*" not in tool and tool not in names]
    parts = [f"no scope lists {some(unlisted)}: nobody can call them"] if unlisted else []
    parts += [f"scopes that list no tool of the server: {some(empty)}"] if empty else []
    parts += [f"listed, and not there: {some(gone)}"] if gone else []
    if parts:
        return warning("; ".join(parts), f"mend `resources.{resource.name}.scopes`", part=resource.name)
    return ok(f"tools: {len(names)}, each in a scope", part=resource.name)


def _asked(patient: Patient) -> Iterator[tuple[Resource, Upstream, Answers]]:
    """Every upstream that was asked, with what it answered."""
    for name, answers in patient.answers.items():
        resource = patient.settings.registry.resources[name]
        assert resource.upstream is not None
        yield resource, resource.upstream, answers
