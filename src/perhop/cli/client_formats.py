"""The configuration files of MCP clients, as data, and the one renderer that fills them in.

Each format was read in the client's own documentation, which is named with it; of Claude Code, what its own command
writes was compared, too.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

Template = Any
"""Nested dicts, lists and texts. A text that is `$NAME` stands for that value; without it its key is left out."""


class Syntax(StrEnum):
    """How a file is written."""

    JSON = "json"
    YAML = "yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientFormat:
    """One client: where its file is, what goes into it, and how it signs people in.

    `callback` is where it has browsers sent back to, with its usual port; None for a client that takes no client id
    and registers itself.
    `command` adds the server by the client's own command line, in groups of words that are left out together.
    """

    title: str
    page: str
    file: str
    content: Template
    syntax: Syntax = Syntax.JSON
    callback: str | None = None
    command: Sequence[Sequence[str]] = ()
    notes: Sequence[str] = ()


FORMATS: Mapping[str, ClientFormat] = {
    "claude-code": ClientFormat(
        title="Claude Code",
        page="https://code.claude.com/docs/en/mcp",
        file=".mcp.json in the project, or by the command",
        content={
            "mcpServers": {
                "$name": {
                    "type": "http",
                    "url": "$url",
                    "oauth": {"clientId": "$client", "callbackPort": "$port"},
                }
            }
        },
        callback="http://localhost:3118/callback",
        command=(
            ("claude", "mcp", "add", "--transport", "http", "--scope", "project"),
            ("--client-id", "$client"),
            ("--callback-port", "$port"),
            ("$name", "$url"),
        ),
        notes=("sign in with /mcp",),
    ),
    "claude-desktop": ClientFormat(
        title="Claude Desktop",
        page="https://support.claude.com/en/articles/11175166-getting-started-with-custom-connectors-using-remote-mcp",
        file="claude_desktop_config.json (Settings > Developer > Edit Config)",
        content={
            "mcpServers": {
                "$name": {
                    "command": "npx",
                    "args": [
                        *("-y", "mcp-remote", "$url", "--host", "127.0.0.1"),
                        *("--static-oauth-client-info", "$client_as_json"),
                    ],
                }
            }
        },
        callback="http://127.0.0.1:3334/oauth/callback",
        notes=(
            "its own way is Settings > Connectors > Add custom connector, with the URL and, under Advanced settings, a "
            "client id. It connects from Anthropic's servers, so issuer and resource must be https addresses that the "
            "internet reaches, and the client needs the redirect URI https://claude.ai/api/mcp/auth_callback",
            "the file holds only servers that it starts: this entry starts `mcp-remote`, a bridge by a third party "
            "(https://github.com/geelen/mcp-remote), which npx fetches",
        ),
    ),
    "cursor": ClientFormat(
        title="Cursor",
        page="https://cursor.com/docs/mcp",
        file=".cursor/mcp.json in the project, or ~/.cursor/mcp.json",
        content={"mcpServers": {"$name": {"url": "$url", "auth": {"CLIENT_ID": "$client", "scopes": "$scopes"}}}},
        callback="http://localhost:8787/callback",
    ),
    "vscode": ClientFormat(
        title="VS Code",
        page="https://code.visualstudio.com/docs/agents/reference/mcp-configuration",
        file=".vscode/mcp.json in the workspace, or MCP: Open User Configuration",
        content={"servers": {"$name": {"type": "http", "url": "$url", "oauth": {"clientId": "$client"}}}},
        callback="http://127.0.0.1:33418/",
    ),
    "zed": ClientFormat(
        title="Zed",
        page="https://zed.dev/docs/ai/mcp",
        file="settings.json (zed: open settings file)",
        content={"context_servers": {"$name": {"url": "$url", "oauth": {"client_id": "$client"}}}},
        callback="http://127.0.0.1:27523/callback",
        notes=(
            "Zed may ask for a client secret, even of a public client, and go no further "
            "(https://github.com/zed-industries/zed/issues/62637)",
        ),
    ),
    "opencode": ClientFormat(
        title="opencode",
        page="https://opencode.ai/v1/docs/mcp-servers",
        file="opencode.json in the project, or ~/.config/opencode/opencode.json",
        content={
            "$$schema": "https://opencode.ai/config.json",
            "mcp": {"$name": {"type": "remote", "url": "$url", "enabled": True, "oauth": {"clientId": "$client"}}},
        },
        callback="http://127.0.0.1:19876/mcp/oauth/callback",
        notes=(
            "sign in with `opencode mcp auth`",
            "this is the file of opencode 1; opencode 2 wants the entry under `mcp.servers`",
        ),
    ),
    "goose": ClientFormat(
        title="goose",
        page="https://block.github.io/goose/docs/guides/config-files",
        file="~/.config/goose/config.yaml",
        syntax=Syntax.YAML,
        content={
            "extensions": {
                "$name": {"type": "streamable_http", "name": "$name", "enabled": True, "uri": "$url", "timeout": 300}
            }
        },
    ),
    "continue": ClientFormat(
        title="Continue",
        page="https://docs.continue.dev/customize/deep-dives/mcp",
        file="a file of its own in .continue/mcpServers/ of the workspace",
        syntax=Syntax.YAML,
        content={
            "name": "$name",
            "version": "0.0.1",
            "schema": "v1",
            "mcpServers": [{"name": "$name", "type": "streamable-http", "url": "$url"}],
        },
    ),
    "windsurf": ClientFormat(
        title="Windsurf",
        page="https://docs.windsurf.com/windsurf/cascade/mcp",
        file="~/.codeium/windsurf/mcp_config.json",
        content={"mcpServers": {"$name": {"serverUrl": "$url"}}},
    ),
    "generic": ClientFormat(
        title="Another client",
        page="https://modelcontextprotocol.io/specification/2026-07-28/basic/authorization",
        file="wherever it asks for these",
        content={
            "name": "$name",
            "url": "$url",
            "transport": "streamable-http",
            "authorization_server": "$issuer",
            "client_id": "$client",
            "redirect_uri": "$redirect_uri",
            "scopes": "$scopes",
        },
        callback="http://127.0.0.1:3334/callback",
    ),
}


def fill(template: Template, values: Mapping[str, Any]) -> Any:
    """The template with its values; what has no value is left out, and so is what is empty then."""
    match template:
        case dict():
            pairs = ((fill(key, values), fill(each, values)) for key, each in template.items())
            return {key: each for key, each in pairs if each is not None and each != {}}
        case list():
            filled = [fill(each, values) for each in template]
            return [each for each in filled if each is not None]
        case str() if template.startswith("$$"):
            return template[1:]
        case str() if template.startswith("$"):
            return values[template[1:]]
        case _:
            return template


def command_line(groups: Sequence[Sequence[str]], values: Mapping[str, Any]) -> str:
    """The client's own command, for a shell; empty if it has none."""
    filled = ([fill(word, values) for word in group] for group in groups)
    return shlex.join(str(word) for group in filled if None not in group for word in group)


def as_json(content: Any) -> str:
    """A file of JSON, as people write it."""
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
