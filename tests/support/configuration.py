"""The example configuration of the guide, as text that tests change and load."""

from __future__ import annotations

import json
from pathlib import Path

from perhop.settings import Settings, load
from perhop.tokens.jwks import render_jwks
from perhop.tokens.keys import SigningKey

EXAMPLE = """\
issuer: http://127.0.0.1:8420
listen: {traffic: 127.0.0.1:8420, console: 127.0.0.1:8421, ops: 127.0.0.1:8422}
database: sqlite:///perhop.db
policies: policies/
owners:
  travel-team: {contact: travel@example.com, members: [Ann@example.com], deputies: [security@example.com]}
resources:
  calendar:
    uri: http://127.0.0.1:8420/mcp/calendar
    owner: travel-team
    tenant: acme
    risk: medium
    scopes:
      calendar:read: {says: Read your calendar, tools: ["list_*", get_event], default: true}
      calendar:write: {says: Create and change events, tools: [create_event, "update_*"]}
    upstream:
      url: http://127.0.0.1:9001/mcp
      resource: http://127.0.0.1:9001/mcp
      credential: {kind: exchange}
  rooms:
    uri: http://127.0.0.1:8420/mcp/rooms
    owner: travel-team
    scopes: {rooms:read: {says: See free rooms, tools: ["*"]}}
    upstream: {url: http://127.0.0.1:9002/mcp, resource: http://127.0.0.1:9002/mcp, credential: {kind: exchange}}
clients:
  trip-planner:
    owner: travel-team
    purpose: plans business trips
    expires: 2027-01-31
    authentication: {method: private_key_jwt, jwks_file: trip-planner.jwks.json}
    reaches: {calendar: [calendar:read, calendar:write]}
  desk-app:
    owner: travel-team
    purpose: shows people their calendar
    expires: 2027-01-31
    authentication: {method: none}
    redirect_uris: ["http://127.0.0.1:3955/callback"]
    reaches: {calendar: [calendar:read]}
  calendar-server:
    owner: travel-team
    purpose: looks up rooms for meetings
    expires: 2027-01-31
    authentication: {method: private_key_jwt, jwks_file: calendar-server.jwks.json}
    serves: [calendar]
hops:
  - {from: calendar, to: rooms, scopes: {calendar:read: [rooms:read]}}
"""
"""As the guide shows it; the two key sets lie beside it."""


def write_example(folder: Path, *changes: tuple[str, str]) -> Path:
    """The example with these texts replaced, each of which must be there, and with its key sets."""
    text = EXAMPLE
    for old, new in changes:
        assert old in text, f"the example does not hold `{old}`"
        text = text.replace(old, new, 1)
    file = folder / "perhop.yaml"
    file.write_text(text, encoding="utf-8")
    for client in ("trip-planner", "calendar-server"):
        keys = render_jwks([SigningKey.generate().public()])
        (folder / f"{client}.jwks.json").write_text(json.dumps(keys), encoding="utf-8")
    return file


def load_example(folder: Path, *changes: tuple[str, str], environ: dict[str, str] | None = None) -> Settings:
    """Write the example so changed, and load it."""
    return load(write_example(folder, *changes), environ or {})
