"""Where the run is listened to: HTTP clients, processes that are waited for, the log, and folders that pytest gives.

All of it is others' code that tests call in many places. What a test reads by other means, it shows to the scan itself.
"""

from __future__ import annotations

import asyncio.subprocess
import logging
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.support.leaks.exceptions import LOGGERS
from tests.support.leaks.files import Sight
from tests.support.leaks.scan import Scan

_SHOWN = "perhop.tests.shown"


@contextmanager
def listening(scan: Scan) -> Iterator[None]:
    """Everything that the taps see inside the block is shown to this scan."""
    with pytest.MonkeyPatch.context() as patch, _log_of(scan):
        _tap_http(scan, patch)
        _tap_processes(scan, patch)
        _tap_folders(scan, patch)
        yield


def _tap_http(scan: Scan, patch: pytest.MonkeyPatch) -> None:
    send, async_send = httpx2.Client.send, httpx2.AsyncClient.send
    read, async_read = httpx2.Response.read, httpx2.Response.aread

    def sends(self: httpx2.Client, request: httpx2.Request, **more: Any) -> httpx2.Response:
        answer = send(self, request, **more)
        _show(scan, *answer.history, answer)
        return answer

    async def sends_async(self: httpx2.AsyncClient, request: httpx2.Request, **more: Any) -> httpx2.Response:
        answer = await async_send(self, request, **more)
        _show(scan, *answer.history, answer)
        return answer

    def reads(self: httpx2.Response) -> bytes:
        octets = read(self)
        _show(scan, self)
        return octets

    async def reads_async(self: httpx2.Response) -> bytes:
        octets = await async_read(self)
        _show(scan, self)
        return octets

    patch.setattr(httpx2.Client, "send", sends)
    patch.setattr(httpx2.AsyncClient, "send", sends_async)
    patch.setattr(httpx2.Response, "read", reads)
    patch.setattr(httpx2.Response, "aread", reads_async)


def _show(scan: Scan, *answers: httpx2.Response) -> None:
    """Show each of these once, as soon as its body is there; what presented secrets is noted either way."""
    for answer in answers:
        is_read = hasattr(answer, "_content")
        if answer.extensions.get(_SHOWN, False) or not hasattr(answer, "_request") or answer._request is None:
            continue
        answer.extensions[_SHOWN] = is_read
        request = answer.request
        content = request.content if hasattr(request, "_content") else b""
        asked = request.method, str(request.url), request.headers.multi_items(), content
        headers = answer.headers.multi_items()
        if is_read:
            scan.show_exchange(asked, answer.status_code, headers, answer.content)
        else:
            scan.note_exchange(asked, answer.status_code, headers, b"")


def _tap_processes(scan: Scan, patch: pytest.MonkeyPatch) -> None:
    communicate = subprocess.Popen.communicate
    async_communicate = asyncio.subprocess.Process.communicate

    def communicates(self: subprocess.Popen[Any], *args: Any, **more: Any) -> tuple[Any, Any]:
        out, err = communicate(self, *args, **more)
        scan.show_output(_words(self.args), out, err)
        return out, err

    async def communicates_async(self: asyncio.subprocess.Process, *args: Any, **more: Any) -> tuple[Any, Any]:
        out, err = await async_communicate(self, *args, **more)
        process = self._transport.get_extra_info("subprocess")  # type: ignore[attr-defined]
        scan.show_output(_words(process.args), out, err)
        return out, err

    patch.setattr(subprocess.Popen, "communicate", communicates)
    patch.setattr(asyncio.subprocess.Process, "communicate", communicates_async)


def _words(arguments: Any) -> list[str]:
    return [arguments] if isinstance(arguments, str) else [str(word) for word in arguments]


def _tap_folders(scan: Scan, patch: pytest.MonkeyPatch) -> None:
    make: Callable[..., Path] = pytest.TempPathFactory.mktemp

    def makes(self: pytest.TempPathFactory, *args: Any, **more: Any) -> Path:
        folder = make(self, *args, **more)
        scan.open_folder(folder)
        return folder

    patch.setattr(pytest.TempPathFactory, "mktemp", makes)


class _Lines(logging.Handler):
    """Every record that is logged, with the trace of its exception."""

    def __init__(self, scan: Scan) -> None:
        super().__init__()
        self._scan = scan
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception:
            self.handleError(record)
            return
        place = f"log of `{record.name}` ({Path(record.pathname).name}, line {record.lineno})"
        self._scan.show(Sight.LOG, place, line, allowed=LOGGERS.get(record.name.partition(".")[0]))


@contextmanager
def _log_of(scan: Scan) -> Iterator[None]:
    """Perhop logs as much as `perhop serve` does, also in the process of the tests."""
    root, ours = logging.getLogger(), logging.getLogger("perhop")
    lines, level = _Lines(scan), ours.level
    root.addHandler(lines)
    ours.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(lines)
        ours.setLevel(level)
