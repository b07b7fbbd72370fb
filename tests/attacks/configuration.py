"""The configuration of the attacked installation, and the keys of its clients."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from perhop.tokens.jwks import render_jwks
from perhop.tokens.keys import SigningKey
from tests.support.processes import free_ports

SECRET = "the-secret-of-second-planner-and-poster-1"
CALLBACK = "https://desk.example.com/callback"
LOOPBACK_CALLBACK = "http://127.0.0.1:3955/callback"
NOTES = "https://notes.example.com/mcp"

CA_FILE = "documents-ca.pem"
DOCUMENT_HOSTS = {
    "apps.example.com": f", unsafe_inner_networks: [127.0.0.0/8], ca_file: {CA_FILE}",
    "other.example.com": "",
}
"""The hosts whose clients are admitted; only the first may be at an inner address."""
TRUSTED = {
    "staff": ("https://idp.example.com", "kind: identity_assertion", "clients: [poster]"),
    "guests": ("https://guests.example.com", "kind: identity_assertion", "clients: [poster]"),
    "cluster": (
        "https://cluster.example.com",
        "kind: workload",
        "workloads: [{subject: spiffe://prod.example.com/agents/*, client: runner}]",
    ),
    "other-cluster": (
        "https://other-cluster.example.com",
        "kind: workload",
        "workloads: [{subject: spiffe://test.example.com/agents/*, client: test-runner}]",
    ),
}
"""Issuers whose assertions are taken: identifier, kind and whom they may speak for."""

POLICY = """\
@id("tools") permit (principal, action == MCP::Action::"call_tool", resource);
@id("no-coups") @reason("not here")
forbid (principal, action == MCP::Action::"call_tool", resource == MCP::Tool::"calendar/create_event")
when { context.arguments has title && context.arguments.title == "coup" };
@id("payments-are-asked-for") @approval("owner")
permit (principal, action == MCP::Action::"call_tool", resource == MCP::Tool::"scripted/pay");
@id("no-exchange-for-mallory")
forbid (principal == MCP::Agent::"mallory", action == MCP::Action::"exchange", resource == MCP::Server::"rooms");
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """HOST:PORT of every listener. A server has two: the relay that the gateway knows, and `past`, which its tokens are
    addressed to. `documents` is the port of the site where clients publish what they are, 0 where none do.
    """

    traffic: str
    ops: str
    console: str
    calendar: str
    calendar_past: str
    rooms: str
    rooms_past: str
    scripted: str
    documents: int

    @classmethod
    def free(cls, *, calendar: str, rooms: str, scripted: str, documents: int = 0) -> Addresses:
        """Free ones, beside the relays, which run already."""
        traffic, ops, console, calendar_past, rooms_past = (f"127.0.0.1:{port}" for port in free_ports(5))
        return cls(
            traffic=traffic,
            ops=ops,
            console=console,
            calendar=calendar,
            calendar_past=calendar_past,
            rooms=rooms,
            rooms_past=rooms_past,
            scripted=scripted,
            documents=documents,
        )

    @property
    def issuer(self) -> str:
        return f"http://{self.traffic}"

    def uri(self, resource: str) -> str:
        """What clients of a resource behind the gateway ask for."""
        return f"{self.issuer}/mcp/{resource}"


def write_configuration(folder: Path, at: Addresses) -> dict[str, SigningKey]:
    """Write `perhop.yaml`, the policy and the clients' key sets; returns the clients' private keys."""
    names = ("planner", "mallory", "calendar-server", "rooms-server", *TRUSTED)
    keys = {name: SigningKey.generate() for name in names}
    (folder / "policies").mkdir()
    (folder / "policies" / "attacks.cedar").write_text(POLICY, encoding="utf-8")
    for name, key in keys.items():
        (folder / f"{name}.jwks.json").write_text(json.dumps(render_jwks([key.public()])), encoding="utf-8")
    (folder / "perhop.yaml").write_text(_yaml(at), encoding="utf-8")
    return keys


def _client(name: str, authentication: str, *more: str) -> str:
    lines = ("owner: team", "purpose: is attacked", 'expires: "2099-12-31"', f"authentication: {authentication}", *more)
    return f"  {name}:\n" + "".join(f"    {line}\n" for line in lines)


def _newcomers(at: Addresses) -> str:
    if not at.documents:
        return ""
    rules = (_trust(f"{host}:{at.documents}", more) for host, more in DOCUMENT_HOSTS.items())
    return "client_registration: adopted\nclient_documents:\n" + "".join(rules)


def _trust(host: str, more: str) -> str:
    return f'  - {{host: "{host}", owner: team, expires: "2099-12-31", reaches: {{calendar: [calendar:read]}}{more}}}\n'


def _key(name: str) -> str:
    return f"{{method: private_key_jwt, jwks_file: {name}.jwks.json}}"


def _yaml(at: Addresses) -> str:
    reads = "reaches: {calendar: [calendar:read]}"
    clients = (
        _client(
            "planner",
            _key("planner"),
            "reaches: {calendar: [calendar:read, calendar:write], notes: [notes:read], scripted: [scripted:use], "
            "open: [open:use]}",
        ),
        _client("mallory", _key("mallory"), "reaches: {calendar: [calendar:read, calendar:write]}"),
        _client("second-planner", f"{{method: client_secret_basic, secret: {SECRET}}}", reads),
        _client("poster", f"{{method: client_secret_post, secret: {SECRET}}}", reads),
        _client("desk-app", "{method: none}", f'redirect_uris: ["{CALLBACK}"]', reads),
        _client("other-app", "{method: none}", 'redirect_uris: ["https://other.example.com/callback"]', reads),
        _client("laptop-app", "{method: none}", f'redirect_uris: ["{LOOPBACK_CALLBACK}"]', reads),
        _client("calendar-server", _key("calendar-server"), "serves: [calendar]"),
        _client("rooms-server", _key("rooms-server"), "serves: [rooms]"),
        _client("runner", "{method: none}", reads),
        _client("test-runner", "{method: none}", reads),
    )
    return f"""\
issuer: {at.issuer}
listen: {{traffic: "{at.traffic}", console: "{at.console}", ops: "{at.ops}"}}
owners:
  team: {{contact: team@example.com, members: [bob@example.com]}}
resources:
  calendar:
    uri: {at.uri("calendar")}
    owner: team
    tenant: acme
    scopes:
      calendar:read: {{says: Read your calendar, tools: ["list_*"], default: true}}
      calendar:write: {{says: Change your calendar, tools: [create_event]}}
    upstream:
      url: http://{at.calendar}/mcp
      resource: http://{at.calendar_past}/mcp
      credential: {{kind: exchange}}
  rooms:
    uri: {at.uri("rooms")}
    owner: team
    tenant: beta
    scopes: {{rooms:read: {{says: See free rooms, tools: [find_room]}}, rooms:book: {{says: Book rooms}}}}
    upstream:
      url: http://{at.rooms}/mcp
      resource: http://{at.rooms_past}/mcp
      credential: {{kind: exchange}}
  notes:
    uri: {NOTES}
    owner: team
    scopes: {{notes:read: {{says: Read notes}}}}
  scripted:
    uri: {at.uri("scripted")}
    owner: team
    scopes: {{scripted:use: {{says: Use it, tools: [list_events, pay]}}}}
    upstream:
      url: http://{at.scripted}/mcp
      resource: http://{at.scripted}/mcp
      credential: {{kind: exchange}}
      unsafe_open_upstream: true
  open:
    uri: {at.uri("open")}
    owner: team
    scopes: {{open:use: {{says: Use it, tools: ["*"]}}}}
    upstream:
      url: http://{at.scripted}/open
      resource: http://{at.scripted}/open
      credential: {{kind: exchange}}
{_newcomers(at)}clients:
{"".join(clients)}hops:
  - {{from: calendar, to: rooms, scopes: {{calendar:write: [rooms:read]}}}}
  - {{from: rooms, to: calendar, scopes: {{rooms:read: [calendar:read]}}}}
trusted_issuers:
{"".join(_trusted(*each) for each in TRUSTED.items())}"""


def _trusted(name: str, said: tuple[str, ...]) -> str:
    lines = (f"issuer: {said[0]}", "owner: team", f"jwks_file: {name}.jwks.json", *said[1:])
    return f"  {name}:\n" + "".join(f"    {line}\n" for line in lines)
