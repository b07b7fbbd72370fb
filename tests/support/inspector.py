"""The MCP Inspector's command line, as a client in tests: one call, one process, its answer as JSON."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from scripts.fetch_real import entry_of, environment, node

PACKAGE = "@modelcontextprotocol/inspector"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspected:
    """How one run of the Inspector ended."""

    exit_code: int
    output: str
    errors: str

    def answer(self) -> dict[str, Any]:
        """The JSON-RPC result. Raises: AssertionError when there was none."""
        try:
            answer: dict[str, Any] = json.loads(self.output)["result"]
        except (json.JSONDecodeError, KeyError):
            raise AssertionError(f"the Inspector ended with {self.exit_code}\n{self.output}\n{self.errors}") from None
        return answer

    def failure(self) -> dict[str, Any]:
        """What the Inspector says went wrong: `code` and `message`. Raises: AssertionError when nothing did."""
        try:
            failure: dict[str, Any] = json.loads(self.errors)["error"]
        except (json.JSONDecodeError, KeyError):
            raise AssertionError(f"the Inspector ended with {self.exit_code}\n{self.output}\n{self.errors}") from None
        return failure


async def inspect(
    url: str,
    method: str,
    *options: str,
    headers: Mapping[str, str] | None = None,
    token: str | None = None,
    era: Literal["legacy", "modern"] = "legacy",
    within: float = 60.0,
) -> Inspected:
    """Call one method of the MCP server at a URL, e.g. `await inspect(url, "tools/call", "--tool-name", "echo")`.

    A token is sent as the server's bearer token. `legacy` opens with a handshake, `modern` is MCP 2026-07-28. Nothing
    of the developer's own Inspector is read or written, and no browser is opened.
    """
    sent = {**(headers or {}), **({"Authorization": f"Bearer {token}"} if token is not None else {})}
    words: list[str] = [str(node()), str(entry_of(PACKAGE, "mcp-inspector")), "--cli", "--transport", "http"]
    words += ["--protocol-era", era, "--stored-auth-only", "--quiet", "--format", "json"]
    words += ["--server-url", url, "--method", method, *options, *_header_options(sent)]
    with tempfile.TemporaryDirectory(prefix="perhop-inspector-") as home:
        return await _run(words, Path(home), within)


def _header_options(headers: Mapping[str, str]) -> Sequence[str]:
    return [word for name, value in headers.items() for word in ("--header", f"{name}: {value}")]


async def _run(words: Sequence[str], home: Path, within: float) -> Inspected:
    process = await asyncio.create_subprocess_exec(
        *words,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=home,
        env={**os.environ, **environment(home), "NO_COLOR": "1"},
    )
    try:
        output, errors = await asyncio.wait_for(process.communicate(), within)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    return Inspected(exit_code=process.returncode or 0, output=output.decode(), errors=errors.decode())
