"""One call through the gateway with everything on, by kind of call, and beside peers.

Everything on: 20 policies, exchange or call tokens, the journal durable before forwarding. All subjects are on one core
and the load and the server behind on another.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypedDict, Unpack

import httpx2
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from bench.installation import LEGACY, MODERN, Loaded, a_call, loaded, served_upstream
from bench.measured import Measured, Size
from bench.peers import contextforge, envoy, mcp_servers, nginx
from bench.peers.environment import PLACE
from bench.subjects import Rounds, Subject, in_turn, prove
from bench.upstream import LARGE, result_text
from tests.support.processes import Running

NAME = "gateway"
ROUNDS = {Size.QUICK: Rounds(count=3, closed=2, open=1.5), Size.FULL: Rounds(count=4, closed=2, open=4, more=6)}
MANY = 20_000
"""Different tokens that are used in turn."""
FEW_CONNECTIONS, LOW_RATE, PATIENCE = 8, 10.0, 4
"""For peers that answer some tens of requests a second."""
_RENEW_SECONDS = 240
_NEW_TOKENS = 16_000
"""What a round of new tokens gets: more than two seconds can use."""

_SETUPS = {
    "work": "20 policies that hold an argument against constants: a decision is kept for all values between two of"
    " them; a hop token by exchange, kept",
    "cached": "20 policies that read no arguments, so that a decision may be kept; a hop token by exchange, kept",
    "asked": "20 policies that look into a text, so that Cedar is asked for every call; a hop token by exchange, kept",
    "single": "as `work`, but every call goes on with a token of its own, good for it once",
}
_SHORT, _LONG = result_text("echo"), result_text("large")


@dataclass(slots=True)
class Kept:
    """Tokens that are used again and again, and made anew in good time before they expire."""

    loaded: Loaded
    resource: str
    count: int = 1
    _tokens: Sequence[str] = field(default=())
    _made: float = 0.0

    def __call__(self) -> Sequence[str]:
        """The tokens."""
        if not self._tokens or time.monotonic() - self._made > _RENEW_SECONDS:
            self._tokens, self._made = self.loaded.tokens(self.resource, self.count), time.monotonic()
        return self._tokens


class Call(TypedDict, total=False):
    """What differs between calls."""

    era: str
    tool: str
    body_bytes: int


def measure(size: Size, tell: Callable[[str], None]) -> list[Measured]:
    """Start everything, prove each subject, and measure them in turn."""
    PLACE.mkdir(parents=True, exist_ok=True)
    with ExitStack() as up:
        # Beside the repository, on a disk: what is durable there has cost something.
        folder = Path(up.enter_context(tempfile.TemporaryDirectory(prefix="run-", dir=PLACE)))
        server = up.enter_context(served_upstream())
        tell("starting the installation and its peers")
        installation = up.enter_context(loaded(folder / "perhop", server))
        peers = Peers(folder, installation, server, up, tell)
        others = []
        if size is Size.FULL:
            library = up.enter_context(loaded(folder / "library", server, pool="aiohttp"))
            others = [_with_library_pool(library)]
        subjects = [*_ours(installation, size), *others, *(peers.quick() if size is Size.QUICK else peers.full())]
        for subject in subjects:
            prove(subject)
        return in_turn(NAME, subjects, ROUNDS[size], tell, direct=a_call(f"{server}/open", tokens=()))


def _ours(installation: Loaded, size: Size) -> list[Subject]:
    """The kinds of call; each kind but the first differs from it, or from its resource's, in the one thing it names."""
    one = {resource: Kept(installation, resource) for resource in _SETUPS}

    def ours(
        resource: str,
        kind: str = "",
        *,
        tokens: Callable[[], Sequence[str]] | None = None,
        once: bool = False,
        often: bool = False,
        answer: str = _SHORT,
        rate: float = 0.0,
        **call: Unpack[Call],
    ) -> Subject:
        url, other = installation.uri(resource), one["cached" if resource == "work" else "work"]
        given = tokens or one[resource]
        return Subject(
            name=f"perhop, {resource}{', ' if kind else ''}{kind}",
            setup=_SETUPS[resource] + (f"; {kind}" if kind else "; one token, 1 KB, JSON, MCP 2026-07-28"),
            pid=installation.pid,
            ask=lambda: a_call(url, tokens=given(), **call),
            refuses=lambda: a_call(url, tokens=other()),
            answer=answer,
            rate=rate,
            once=once,
            often=often,
        )

    first = [
        ours("work", rate=100.0, often=True),
        ours("cached", rate=0.0 if size is Size.QUICK else 100.0, often=True),
        ours("single", often=True),
    ]
    if size is Size.QUICK:
        return first
    return [
        *first,
        ours("asked", rate=100.0),
        ours("work", "MCP 2025-11-25", era=LEGACY),
        ours("work", "20,000 tokens", tokens=Kept(installation, "work", MANY)),
        ours("work", "every token new", tokens=partial(installation.tokens, "work", _NEW_TOKENS), once=True),
        ours("work", "answer as a stream", tool="echo-stream"),
        ours("work", "100 KB sent", body_bytes=LARGE),
        ours("work", "100 KB answered", tool="large", answer=_LONG),
        ours("work", "100 KB answered as a stream", tool="large-stream", answer=_LONG),
    ]


def _with_library_pool(installation: Loaded) -> Subject:
    """As `perhop, work`, with the connections to the server kept by the library that does so unless told otherwise."""
    good, other = Kept(installation, "work"), Kept(installation, "cached")
    url = installation.uri("work")
    return Subject(
        name="perhop, work, aiohttp's pool",
        setup=f"{_SETUPS['work']}; `upstream_pool: aiohttp`",
        pid=installation.pid,
        ask=lambda: a_call(url, tokens=good()),
        refuses=lambda: a_call(url, tokens=other()),
        answer=_SHORT,
    )


class Peers:
    """Peers, each started when it is asked for, until the stack ends. All take tokens for the resource `work`."""

    def __init__(
        self, folder: Path, installation: Loaded, server: str, up: ExitStack, tell: Callable[[str], None]
    ) -> None:
        self._folder, self._server, self._up, self._tell = folder, server, up, tell
        self._key = folder / "key.pem"
        self._key.write_bytes(_public_key(installation.folder))
        self._issuer, self._audience = installation.issuer, installation.uri("work")
        self._jwks = httpx2.get(f"{installation.issuer}/jwks", timeout=10).text
        self._installation = installation
        self._good, self._foreign = Kept(installation, "work"), Kept(installation, "cached")

    def quick(self) -> list[Subject]:
        """The three that most targets name; of the latter two only CPU and calls a second."""
        others = [self._envoy(cache=False)[0], self._mcp_server("fastmcp")[0]]
        return [self._nginx()[0], *(replace(each, rate=0.0) for each in others)]

    def full(self) -> list[Subject]:
        """All of them."""
        return [
            *_first_often(self._nginx()),
            *_first_often(self._envoy(cache=False)[:1]),
            *self._envoy(cache=True),
            *self._mcp_server("mcp sdk"),
            *_first_often(self._mcp_server("fastmcp")),
            self._proxy(),
            self._contextforge(),
        ]

    def _nginx(self) -> list[Subject]:
        process, url = self._up.enter_context(nginx.running(self._folder / "nginx", self._server))

        def subject(kind: str, answer: str = _SHORT, **call: Unpack[Call]) -> Subject:
            return Subject(
                name=f"nginx{', ' if kind else ''}{kind}",
                setup=nginx.SETUP,
                pid=process.pid,
                ask=lambda: a_call(f"{url}/open", tokens=(), **call),
                answer=answer,
                rate=0.0 if kind else 100.0,
            )

        return [
            subject(""),
            subject("answer as a stream", tool="echo-stream"),
            subject("100 KB sent", body_bytes=LARGE),
            subject("100 KB answered", _LONG, tool="large"),
        ]

    def _envoy(self, *, cache: bool) -> list[Subject]:
        name, told = ("envoy, cache", "a cache of 1,000 tokens") if cache else ("envoy", "no cache of tokens")
        process, url = self._up.enter_context(
            envoy.running(
                self._folder / name.replace(", ", "-"),
                self._server,
                jwks=self._jwks,
                issuer=self._issuer,
                audience=self._audience,
                cache=cache,
                tell=self._tell,
            )
        )
        setup, many = envoy.SETUP.format(cache=told), Kept(self._installation, "work", MANY)
        one = self._checking(name, setup, process, f"{url}/open")
        return [one, self._checking(f"{name}, 20,000 tokens", setup, process, f"{url}/open", tokens=many, rate=0.0)]

    def _mcp_server(self, which: str) -> list[Subject]:
        start = mcp_servers.sdk_server if which == "mcp sdk" else mcp_servers.fastmcp_server
        setup = mcp_servers.SDK_SETUP if which == "mcp sdk" else mcp_servers.FASTMCP_SETUP
        process, url = self._up.enter_context(
            start(self._key, issuer=self._issuer, audience=self._audience, tell=self._tell)
        )
        legacy = self._checking(f"{which} server, MCP 2025-11-25", setup, process, url, rate=0.0, era=LEGACY)
        return [self._checking(f"{which} server", setup, process, url), legacy]

    def _proxy(self) -> Subject:
        process, url = self._up.enter_context(
            mcp_servers.fastmcp_server(
                self._key, issuer=self._issuer, audience=self._audience, tell=self._tell, behind=f"{self._server}/open"
            )
        )
        return self._few(self._checking("fastmcp proxy", mcp_servers.PROXY_SETUP, process, url))

    def _contextforge(self) -> Subject:
        process, ask, refuses = self._up.enter_context(
            contextforge.running(self._folder / "contextforge", f"{self._server}/open", self._tell)
        )
        return self._few(
            Subject(
                name="contextforge",
                setup=contextforge.SETUP,
                pid=process.pid,
                ask=ask,
                refuses=refuses,
                answer=_SHORT,
            )
        )

    def _few(self, subject: Subject) -> Subject:
        """The same, asked as little as it can answer."""
        return replace(subject, rate=LOW_RATE, connections=FEW_CONNECTIONS, patience=PATIENCE)

    def _checking(
        self,
        name: str,
        setup: str,
        process: Running,
        url: str,
        *,
        tokens: Kept | None = None,
        rate: float = 100.0,
        era: str = MODERN,
    ) -> Subject:
        """One that takes our tokens, and refuses those for another resource."""
        return Subject(
            name=name,
            setup=setup,
            pid=process.pid,
            ask=lambda: a_call(url, tokens=(tokens or self._good)(), era=era),
            refuses=lambda: a_call(url, tokens=self._foreign(), era=era),
            answer=_SHORT,
            rate=rate,
        )


def _first_often(subjects: Sequence[Subject]) -> list[Subject]:
    """The first is named by a target, and the others are not."""
    return [replace(subjects[0], often=True), *subjects[1:]]


def _public_key(installation: Path) -> bytes:
    (file,) = (installation / "keys").glob("signing-*.pem")
    key = load_pem_private_key(file.read_bytes(), None).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
