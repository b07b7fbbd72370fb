"""A person's browser: opened at the authorization server, and awaited at an address of this machine.

Spec: RFC 8252 §7.3
"""

from __future__ import annotations

import asyncio
import webbrowser
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol
from urllib.parse import urlsplit

from perhop.errors import BrowserUnavailable, RedirectRefused, SettingsError, TargetInvalid
from perhop.rules.authorization_answer import MAX_ANSWER_LENGTH, is_answer_to
from perhop.rules.issuer_uri import is_private
from perhop.rules.redirect_uri import is_loopback_only, parse_redirect_uri
from perhop.rules.resource_uri import parse_http_uri

PATIENCE_SECONDS = 300.0
_HEAD_SECONDS = 5.0

_PAGE = b"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Perhop</title></head>
<body><p>You can close this page and go back to your program.</p></body></html>
"""
_OK, _NOT_FOUND = "200 OK", "404 Not Found"


class Receiver(Protocol):
    """Stands ready where the answer of an authorization server will come."""

    @property
    def redirect_uri(self) -> str:
        """The address to be sent back to."""

    async def answer_to(self, url: str, state: str) -> str:
        """Send the person to this URL; the query that they come back with, which carries this state.

        Raises: BrowserUnavailable
        """


class WayToPerson(Protocol):
    """How the person is reached: by the browser of this machine, or however a program that is no desktop does it."""

    def receiving(self, redirect_uri: str | None) -> AbstractAsyncContextManager[Receiver]:
        """A receiver, at this address if that is still possible: the one that a client was registered with."""


class PersonsBrowser:
    """The browser of whoever sits at this machine.

    `redirect_uri` is http to a loopback address; without a port it takes one that is free. `open_url` opens a browser
    and says whether it could. The answer is awaited for `patience` seconds.

    Raises: SettingsError
    """

    def __init__(
        self,
        *,
        redirect_uri: str = "http://127.0.0.1/callback",
        open_url: Callable[[str], bool] = webbrowser.open,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        try:
            is_here = is_loopback_only([parse_redirect_uri(redirect_uri)]) and redirect_uri.startswith("http://")
        except RedirectRefused:
            is_here = False
        if not is_here:
            raise SettingsError(
                f"`{redirect_uri}` is no address of this machine", advice="take `http://127.0.0.1/callback`"
            )
        self._redirect_uri = redirect_uri
        self._open = open_url
        self._patience = patience

    @asynccontextmanager
    async def receiving(self, redirect_uri: str | None) -> AsyncIterator[Receiver]:
        """Listen while the block runs.

        Raises: BrowserUnavailable
        """
        receiver = _Receiver(self._redirect_uri, self._open, self._patience)
        before = urlsplit(redirect_uri or "").port
        await receiver.listen(urlsplit(self._redirect_uri).port, before)
        try:
            yield receiver
        finally:
            await receiver.aclose()


class _Receiver:
    def __init__(self, redirect_uri: str, open_url: Callable[[str], bool], patience: float) -> None:
        parts = urlsplit(redirect_uri)
        self._host = "[::1]" if parts.hostname == "::1" else parts.hostname
        self._path = parts.path or "/"
        self._open = open_url
        self._patience = patience
        self._server: asyncio.Server | None = None
        self._authority = ""
        self._awaited: tuple[str, asyncio.Future[str]] | None = None
        self.redirect_uri = ""

    async def listen(self, fixed: int | None, before: int | None) -> None:
        """At the fixed port, or at the one of before, or at any."""
        address = "::1" if self._host == "[::1]" else "127.0.0.1"
        for port in (fixed,) if fixed is not None else (before, 0):
            try:
                self._server = None if port is None else await asyncio.start_server(self._converse, address, port)
            except OSError as error:
                if fixed is not None:
                    raise BrowserUnavailable(
                        f"port {fixed} of this machine is taken", advice="end what listens there, or take another port"
                    ) from error
            if self._server is not None:
                break
        assert self._server is not None, "some port is free"
        self._authority = f"{self._host}:{self._server.sockets[0].getsockname()[1]}"
        self.redirect_uri = f"http://{self._authority}{self._path}"

    async def answer_to(self, url: str, state: str) -> str:
        check_authorization_url(url)
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._awaited = state, answer
        if not await asyncio.to_thread(self._open, url):
            raise BrowserUnavailable("no browser could be opened", advice="give `PersonsBrowser(open_url=...)`")
        try:
            return await asyncio.wait_for(answer, self._patience)
        except TimeoutError:
            raise BrowserUnavailable(
                f"nobody came back from the browser within {self._patience:g} s", advice="sign in anew"
            ) from None

    async def aclose(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        query = None
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _HEAD_SECONDS)
            query = self._query_in(head)
            writer.write(_render(_NOT_FOUND if query is None else _OK, b"" if query is None else _PAGE))
            await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # whoever it was has gone, or speaks something else
        finally:
            writer.close()
            if query is not None and self._awaited is not None and not self._awaited[1].done():
                self._awaited[1].set_result(query)

    def _query_in(self, head: bytes) -> str | None:
        """The query of the answer that is awaited; whatever else knocks here is told nothing, and ends nothing.

        `Host` must be ours, so that no page of another site reaches this address by a name of its own.
        """
        lines = head.decode("latin-1").split("\r\n")
        target = lines[0].removeprefix("GET ").removesuffix(" HTTP/1.1")
        path, _, query = target.partition("?")
        hosts = [line.partition(":")[2].strip() for line in lines[1:] if line.lower().startswith("host:")]
        is_ours = lines[0] == f"GET {target} HTTP/1.1" and path == self._path and hosts == [self._authority]
        if not is_ours or len(query) > MAX_ANSWER_LENGTH or self._awaited is None:
            return None
        return query if is_answer_to(query, self._awaited[0]) else None


def check_authorization_url(url: str) -> None:
    """Refuse to show a person anything but https, or http on this machine.

    Spec: MCP 2026-07-28 security best practices
    Raises: BrowserUnavailable
    """
    try:
        uri = parse_http_uri(url.partition("?")[0])
    except TargetInvalid as error:
        raise BrowserUnavailable(f"the authorization endpoint is not for a browser: {error.detail}") from None
    if not is_private(uri):
        raise BrowserUnavailable("the authorization endpoint is not https")


def _render(status: str, page: bytes) -> bytes:
    fields = (
        f"HTTP/1.1 {status}",
        "Content-Type: text/html; charset=utf-8",
        f"Content-Length: {len(page)}",
        "Content-Security-Policy: default-src 'none'; frame-ancestors 'none'",
        "Referrer-Policy: no-referrer",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        "Connection: close",
        "",
        "",
    )
    return "\r\n".join(fields).encode("ascii") + page
