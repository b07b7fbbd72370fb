"""The first `perhop.yaml`: commented, and valid as it is written."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from textwrap import indent

from perhop.errors import SettingsError, TargetInvalid
from perhop.founding.first_tools import FirstTool, FirstTools
from perhop.rules.issuer_uri import is_loopback
from perhop.rules.resource_uri import HttpUri, parse_http_uri
from perhop.settings.model import NAME

OWNER = "my-team"
CLIENT = "agent"
SECRET_FILE = f"keys/{CLIENT}.secret"

_SAYS_NOTHING = frozenset({"mcp", "sse", "api", "v1", "v2", "www", "localhost"})


@dataclass(frozen=True, slots=True)
class FirstUpstream:
    """An MCP server that runs, the name that its resource gets, and what it told when it was asked without a token."""

    name: str
    uri: HttpUri
    tools: FirstTools = field(default_factory=FirstTools)
    wants_token: bool = False

    @classmethod
    def of(cls, url: str, name: str | None = None) -> FirstUpstream:
        """Without a name it gets the last telling part of its URL: of the path, else of the host, else the port.

        Raises: SettingsError
        """
        if name is not None and not re.fullmatch(NAME, name):
            raise SettingsError(
                f"`{name}` is not a name of a resource", advice="letters, digits, `.`, `_`, `-`, at most 64"
            )
        try:
            uri = parse_http_uri(url)
        except TargetInvalid as error:
            raise SettingsError(
                f"`{url}` is not the URL of an MCP server: {error.detail}",
                advice="write it as http://127.0.0.1:9001/mcp",
            ) from error
        if name is not None:
            return cls(name, uri)
        parts = [part for part in reversed(uri.path.lower().split("/")) if part]
        if not is_loopback(uri.host) and not re.fullmatch(r"[\d.]+|\[.*\]", uri.host):
            parts += uri.host.split(".")[:-1] or [uri.host]
        telling = (re.sub(r"[^a-z0-9._-]+", "-", part).strip("._-")[:40] for part in parts if part not in _SAYS_NOTHING)
        return cls(next((part for part in telling if part), f"server-{uri.port or uri.scheme}"), uri)

    @property
    def is_left_open(self) -> bool:
        """True for a server on this machine that was not seen to want a token."""
        return is_loopback(self.uri.host) and not self.wants_token

    @property
    def scopes(self) -> tuple[str, ...]:
        """The names of its first scopes."""
        if not self.tools.are_split:
            return (f"{self.name}:use",)
        return (f"{self.name}:read", *((f"{self.name}:write",) if self.tools.write else ()))


def write_first_file(issuer: str, upstream: FirstUpstream | None, *, expires: str) -> str:
    """The text of the file. Without an upstream the resource and the client are there as comments."""
    example = upstream or FirstUpstream.of("http://127.0.0.1:9001/calendar/mcp")
    resource, client = _resource(issuer, example), _client(example, expires)
    if upstream is None:
        resource = _as_comment(f"# Take the `#` away from the lines below, and put in your server.\n{resource}")
        client = _as_comment(f"# Its secret: `openssl rand -hex 32 > {SECRET_FILE}`\n{client}")
    return "\n".join((_head(issuer), resource, client))


def _as_comment(block: str) -> str:
    # Without a space, so that one sees which lines are meant to be used.
    lines = (line if not line or line.startswith("#") else f"#{line}" for line in block.splitlines())
    return "\n".join((*lines, ""))


def _head(issuer: str) -> str:
    uri = parse_http_uri(issuer)
    on_this_machine = uri.scheme == "http" and uri.port is not None
    traffic = f"{uri.host}:{uri.port}" if on_this_machine else "127.0.0.1:8420"
    return f"""\
# The configuration of Perhop. `perhop config check` says what is wrong in it, `perhop config schema` prints every key.
# It is read when `perhop serve` starts. Relative paths count from this folder. A variable overrides a value:
# PERHOP_LISTEN__TRAFFIC=127.0.0.1:9420

# The name of this Perhop in every token. https, except on this machine.
issuer: {issuer}

listen:
  traffic: {traffic}    # what clients and agents reach
  console: 127.0.0.1:8421    # pages on which people of the owners' teams approve calls; see also `console_url`
  ops: 127.0.0.1:8422        # health and metrics, for your own network

database: sqlite:///perhop.db    # the journal lies beside it, in journal.db
policies: policies/              # Cedar; start.cedar says how to begin

# Somebody answers for every resource and every client: without an owner nothing is issued.
owners:
  {OWNER}:
    contact: security@example.com    # write your own here
    members: []                      # e-mail addresses, of who approves calls where a policy wants that
"""


def _resource(issuer: str, upstream: FirstUpstream) -> str:
    name = upstream.name
    return f"""\
# The MCP servers. `uri` is what clients call and ask tokens for; each token is good for one of them only.
resources:
  {name}:
    uri: {issuer}/mcp/{name}
    owner: {OWNER}
    risk: medium    # low, medium or high: how long tokens live
    scopes:
{indent(_scopes(upstream), " " * 6)}\
    upstream:
      url: {upstream.uri}
{indent(_credential(upstream), " " * 6)}"""


def _scopes(upstream: FirstUpstream) -> str:
    name, tools = upstream.name, upstream.tools
    if not tools.are_split:
        return f"""\
# One scope over all tools, to begin with. Split it by what a person would want to allow separately.
{name}:use: {{says: Use every tool of {name}, tools: ["*"], default: true}}
"""
    reading = f"""\
# The tools that the server told of, by exact name; what no scope lists cannot be called. That these only read
# (`readOnlyHint`) is its own word for them.
{name}:read:
  says: Use the tools of {name} that only read
  default: true
  tools:
{_tools(tools.read)}"""
    if not tools.write:
        return reading
    return f"""\
{reading}\
# These may change something.
{name}:write:
  says: Use the tools of {name} that may change something
  tools:
{_tools(tools.write)}"""


def _tools(tools: Sequence[FirstTool]) -> str:
    # A string of JSON that is printable and in UTF-8 means the same in YAML.
    return "".join(
        f"    - {json.dumps(tool.name, ensure_ascii=False)}" + (f"    # {tool.about}\n" if tool.about else "\n")
        for tool in tools
    )


def _credential(upstream: FirstUpstream) -> str:
    if upstream.is_left_open:
        return f"""\
# Nothing is presented to the server, which checks nothing: whoever runs a program on this machine can call it past
# Perhop. Once it is guarded by `perhop.resource_server`, let it have a token of its own for every caller:
#   resource: {upstream.uri}
#   credential: {{kind: exchange}}
credential: {{kind: none}}
"""
    return f"""\
# The server gets a token of its own for every caller, which is good for it alone. It must check that: until it is
# seen to refuse a token for another server, calls are answered with 503 `upstream.open`. Guard it with
# `perhop.resource_server`; if you cannot change it, this lets calls through, and leaves it open to whoever reaches it:
#   unsafe_open_upstream: true
resource: {upstream.uri}
credential: {{kind: exchange}}
"""


def _client(upstream: FirstUpstream, expires: str) -> str:
    return f"""\
# Agents, applications, and servers that call on. `perhop token issue --client {CLIENT} --resource {upstream.name}`
# prints a token of this one.
clients:
  {CLIENT}:
    owner: {OWNER}
    purpose: tries Perhop out
    expires: {expires}
    authentication: {{method: client_secret_basic, secret_file: {SECRET_FILE}}}
    reaches:
      {upstream.name}: [{", ".join(f'"{scope}"' for scope in upstream.scopes)}]

# Steps from the server of one resource to another resource, for a client that `serves` the first.
# hops: [{{from: {upstream.name}, to: OTHER, scopes: {{"{upstream.scopes[0]}": ["OTHER:use"]}}}}]
"""
