"""What a token costs at the endpoint that issues it, by grant, and beside other authorization servers.

Perhop's is the whole installation: every token is recorded, on disk in the journal and, where anything rests on it, in
the database, before it goes out, and policies are asked. The others keep everything in memory and record nothing. An
ES256 JWT for each answer. Of the others, the quick form has Authlib only.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlencode

import httpx2

from bench.chained import NEXT, Chain, chained_loop
from bench.installation import Loaded, loaded, on_disk, served_upstream
from bench.load import Ask, LoadFailed, closed_loop
from bench.measured import Measured, Size, in_rounds
from bench.peers import token_servers
from bench.token_clients import PORTAL, SERVER, TokenClients, agent_basic, subject_token

NAME = "token_endpoint"
CONNECTIONS = 16
ROUNDS = {Size.QUICK: 2, Size.FULL: 5}
SECONDS = {Size.QUICK: 1.0, Size.FULL: 2.0}
ASSERTIONS_A_SECOND = 6_000
"""More than the endpoint can take; each is sent once."""

_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
_ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
_FORM = {"content-type": "application/x-www-form-urlencoded"}
Figures = dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Subject:
    """One grant at one server. `measure` runs it for so many seconds."""

    name: str
    setup: str
    measure: Callable[[float], Figures]


def measure(size: Size, tell: Callable[[str], None]) -> list[Measured]:
    """Every grant of every server in each round."""
    clients = TokenClients()
    with ExitStack() as up:
        folder = Path(up.enter_context(on_disk()))
        server = up.enter_context(served_upstream())
        tell("starting the installation and its peers")
        installation = up.enter_context(loaded(folder / "perhop", server, more=clients.configuration))
        subjects = [*_ours(installation, clients), *_peers(up, size, tell)]
        seen: dict[str, list[Figures]] = {each.name: [] for each in subjects}
        for number in range(ROUNDS[size]):
            tell(f"round {number + 1} of {ROUNDS[size]}")
            for each in subjects:
                seen[each.name].append(each.measure(SECONDS[size]))
        return [found for each in subjects for found in in_rounds(NAME, each.name, each.setup, seen[each.name])]


def _ours(installation: Loaded, clients: TokenClients) -> Sequence[_Subject]:
    url, pid = f"{installation.issuer}/token", installation.pid
    work, cached = installation.uri("work"), installation.uri("cached")
    families = asyncio.run(clients.refresh_tokens(installation, CONNECTIONS))
    own = _ask(url, {"grant_type": "client_credentials", "resource": work}, agent_basic(installation))

    def exchange(seconds: float) -> Figures:
        form = {"grant_type": _EXCHANGE, "resource": cached, "subject_token_type": _ACCESS_TOKEN}
        form["subject_token"] = subject_token(installation)
        return _closed(_ask(url, form, clients.basic(SERVER)), pid, seconds)

    def sign(seconds: float) -> Figures:
        bodies = clients.assertions(installation.issuer, round(ASSERTIONS_A_SECOND * seconds))
        target = urlencode({"resource": work}).encode()
        ask = replace(own, values=(), bodies=[body + b"&" + target for body in bodies])
        found = closed_loop(ask, pid, seconds=seconds, connections=CONNECTIONS)
        if found.requests > len(bodies):
            raise LoadFailed(f"{found.requests} requests, but only {len(bodies)} assertions")
        return found.figures

    chain = Chain(
        url=url,
        form={"grant_type": "refresh_token"},
        first=families,
        headers={"authorization": clients.basic(PORTAL)},
    )
    return (
        _Subject(
            name="perhop, client_credentials",
            setup="client_secret_basic; recorded before it goes out",
            measure=lambda seconds: _closed(own, pid, seconds),
        ),
        _Subject(name="perhop, private_key_jwt", setup="the same; an assertion for each request", measure=sign),
        _Subject(name="perhop, token exchange", setup="RFC 8693: one subject token, one hop", measure=exchange),
        _Subject(
            name="perhop, refresh",
            setup="each refresh token good once; consent, account and family looked at again",
            measure=_Refreshing(chain, pid),
        ),
    )


def _peers(up: ExitStack, size: Size, tell: Callable[[str], None]) -> Sequence[_Subject]:
    form = {"grant_type": "client_credentials", "client_id": token_servers.CLIENT, "scope": "work:use"}
    form |= {"client_secret": token_servers.SECRET, "resource": token_servers.RESOURCE}
    authlib, authlib_url = up.enter_context(token_servers.authlib_server(tell))
    quick = [
        _Subject(
            name="authlib, client_credentials",
            setup=token_servers.AUTHLIB_SETUP,
            measure=lambda seconds: _closed(_ask(authlib_url, form), authlib.pid, seconds),
        )
    ]
    if size is Size.QUICK:
        return quick
    oidc, oidc_url = up.enter_context(token_servers.oidc_server())
    first = [secrets.token_urlsafe(32) for _ in range(CONNECTIONS)]
    sdk, sdk_url = up.enter_context(token_servers.sdk_server(first, tell))
    asked = {"grant_type": "refresh_token", "client_id": token_servers.CLIENT, "client_secret": token_servers.SECRET}
    return [
        *quick,
        _Subject(
            name="oidc-provider, client_credentials",
            setup=token_servers.OIDC_SETUP,
            measure=lambda seconds: _closed(_ask(oidc_url, form), oidc.pid, seconds),
        ),
        _Subject(
            name="mcp SDK, refresh",
            setup=token_servers.SDK_SETUP,
            measure=_Refreshing(Chain(url=sdk_url, form=asked, first=first), sdk.pid),
        ),
    ]


class _Refreshing:
    """Goes on in each round where the families stood after the last."""

    def __init__(self, chain: Chain, pid: int) -> None:
        self._chain, self._pid = chain, pid

    def __call__(self, seconds: float) -> Figures:
        found, self._chain = chained_loop(self._chain, self._pid, seconds=seconds)
        return found.figures


def _ask(url: str, form: Mapping[str, str], authorization: str = "") -> Ask:
    return Ask(
        url=url,
        body=urlencode(form).encode(),
        headers=_FORM,
        values=[authorization] if authorization else (),
    )


def _closed(ask: Ask, pid: int, seconds: float) -> Figures:
    """The answer is looked at once, and then it is asked for without a pause."""
    headers = {**ask.headers, **({"authorization": ask.values[0]} if ask.values else {})}
    answer = httpx2.post(ask.url, content=ask.body, headers=headers, timeout=30)
    if answer.status_code != 200 or not _is_jwt(answer.text) or NEXT in answer.json():
        raise LoadFailed(f"{ask.url} answered {answer.status_code}: {answer.text[:300]}")
    return closed_loop(ask, pid, seconds=seconds, connections=CONNECTIONS).figures


def _is_jwt(text: str) -> bool:
    return str(json.loads(text).get("access_token", "")).count(".") == 2
