"""The demo's folder: the configuration of a small travel team, with a key for each client."""

from __future__ import annotations

import contextlib
import json
import random
import socket
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from string import Template

from perhop.tokens.keys import SigningKey

CLIENTS = ("trip-planner", "second-planner", "facility-bot", "calendar-server", "rooms-server")


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where everything of one demo listens: HOST:PORT, all on loopback."""

    traffic: str
    console: str
    ops: str
    calendar: str
    rooms: str
    booking: str

    @property
    def issuer(self) -> str:
        return f"http://{self.traffic}"

    def resource(self, name: str) -> str:
        """The `uri` of a resource behind the gateway."""
        return f"{self.issuer}/mcp/{name}"

    @property
    def calendar_server(self) -> str:
        return f"http://{self.calendar}/mcp"

    @property
    def rooms_server(self) -> str:
        return f"http://{self.rooms}/mcp"

    @property
    def booking_server(self) -> str:
        return f"http://{self.booking}/mcp"


def free_addresses() -> Addresses:
    """Six loopback addresses that are free now.

    Below the ports that systems give to outgoing connections: one of those could take an address before we do.
    """
    free: list[str] = []
    for port in random.SystemRandom().sample(range(20_000, 32_000), 1000):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            free.append(f"127.0.0.1:{port}")
        if len(free) == 6:
            break
    traffic, console, ops, calendar, rooms, booking = free
    return Addresses(traffic=traffic, console=console, ops=ops, calendar=calendar, rooms=rooms, booking=booking)


def write_configuration(folder: Path, addresses: Addresses, *, today: date) -> dict[str, SigningKey]:
    """Write `perhop.yaml` and the clients' public keys; returns the clients' private keys by client id."""
    folder.mkdir(parents=True, exist_ok=True)
    keys: dict[str, SigningKey] = {}
    for client in CLIENTS:
        key = SigningKey.generate()
        keys[client] = key
        jwks = {"keys": [key.public().as_jwk()]}
        (folder / f"{client}.jwks.json").write_text(json.dumps(jwks, indent=2) + "\n", encoding="utf-8")
        private = folder / f"{client}.pem"
        private.touch(mode=0o600)
        private.write_text(key.as_pem().reveal(), encoding="utf-8")
    (folder / "perhop.yaml").write_text(_yaml(addresses, expires=today + timedelta(days=30)), encoding="utf-8")
    return keys


def _yaml(at: Addresses, *, expires: date) -> str:
    return _TEMPLATE.substitute(
        issuer=at.issuer,
        traffic=at.traffic,
        console=at.console,
        ops=at.ops,
        calendar_server=at.calendar_server,
        rooms_server=at.rooms_server,
        booking_server=at.booking_server,
        expires=expires.isoformat(),
    )


_TEMPLATE = Template("""\
# The demo of Perhop: an agent plans a meeting; the calendar server looks for a room on its behalf.
issuer: $issuer
listen: {traffic: "$traffic", console: "$console", ops: "$ops"}
database: sqlite:///perhop.db
policies: policies/

owners:
  travel-team: {contact: travel@example.com, members: [ann@example.com], deputies: [security@example.com]}
  facilities: {contact: facilities@example.com}

resources:
  calendar:
    uri: $issuer/mcp/calendar
    owner: travel-team
    tenant: acme
    scopes:
      calendar:read: {says: Read your calendar, tools: ["list_*"], default: true}
      calendar:write: {says: Plan and change events, tools: [plan_meeting]}
    upstream:
      url: $calendar_server
      resource: $calendar_server
      credential: {kind: exchange}
  rooms:
    uri: $issuer/mcp/rooms
    owner: facilities
    tenant: acme
    scopes:
      rooms:read: {says: See free rooms, tools: [find_room]}
    upstream:
      url: $rooms_server
      resource: $rooms_server
      credential: {kind: exchange}
  booking:
    uri: $issuer/mcp/booking
    owner: facilities
    tenant: acme
    scopes:
      booking:write: {says: Book rooms, tools: [book_room]}
    upstream:
      url: $booking_server
      resource: $booking_server
      credential: {kind: call}                # a token for each call, good once
  payroll:                                    # no hop leads here, and no gateway stands in front
    uri: $issuer/payroll
    owner: facilities
    risk: high
    scopes:
      payroll:read: {says: Read salaries}

clients:
  trip-planner:
    owner: travel-team
    purpose: plans business trips
    expires: $expires
    authentication: {method: private_key_jwt, jwks_file: trip-planner.jwks.json}
    reaches: {calendar: ["calendar:read", "calendar:write"]}
  second-planner:
    owner: travel-team
    purpose: plans business trips for the second team
    expires: $expires
    authentication: {method: private_key_jwt, jwks_file: second-planner.jwks.json}
    reaches: {calendar: ["calendar:read"]}
  facility-bot:
    owner: facilities
    purpose: keeps rooms in order
    expires: $expires
    authentication: {method: private_key_jwt, jwks_file: facility-bot.jwks.json}
    reaches: {rooms: ["rooms:read"], booking: ["booking:write"]}
  calendar-server:
    owner: travel-team
    purpose: looks up rooms for meetings
    expires: $expires
    authentication: {method: private_key_jwt, jwks_file: calendar-server.jwks.json}
    serves: [calendar]
  rooms-server:
    owner: facilities
    purpose: answers for the room list and the booking desk
    expires: $expires
    authentication: {method: private_key_jwt, jwks_file: rooms-server.jwks.json}
    serves: [rooms, booking]

hops:
  - {from: calendar, to: rooms, scopes: {"calendar:write": ["rooms:read"]}}
""")
