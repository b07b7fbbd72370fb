"""Checks of what the configuration says: everything here loads, and some of it may not be meant."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network, IPv6Network

from perhop.control.doctor.finding import Seen, failed, ok, some, warning
from perhop.control.doctor.patient import Patient
from perhop.core.client import Origin
from perhop.errors import TargetInvalid
from perhop.rules.resource_uri import parse_resource_uri
from perhop.wiring.newcomers_on_file import with_newcomers

SOON = timedelta(days=30)
WIDE_V4, WIDE_V6 = 16, 48
"""A public network of proxies that is wider than this is somebody else's as well."""


async def loads(patient: Patient) -> list[Seen]:
    """Whether the file loads."""
    return [ok(f"`{patient.settings.file}` loads")]


async def audiences(patient: Patient) -> list[Seen]:
    """Whether every audience is one thing, written in the one way."""
    named = [uri for each in patient.settings.registry.resources.values() for uri in {each.uri, each.server_uri}]
    bent = [uri for uri in named if not _is_canonical(uri)]
    twice = sorted({uri for uri in named if named.count(uri) > 1})
    if bent or twice or patient.settings.issuer in named:
        wrong = some([*bent, *twice, *([patient.settings.issuer] if patient.settings.issuer in named else [])])
        return [failed(f"not one thing each, or not canonical: {wrong}", "see `perhop config check`")]
    return [ok(f"audiences: {len(named)}, canonical, and no two alike")]


def _is_canonical(uri: str) -> bool:
    try:
        return parse_resource_uri(uri) == uri
    except TargetInvalid:
        return False


async def unsafe(patient: Patient) -> list[Seen]:
    """What weakens something, and is on."""
    found = list(patient.settings.unsafe())
    if found:
        return [warning(some(found), "take them out of the configuration once they are not needed")]
    return [ok("none")]


async def clients(patient: Patient) -> list[Seen]:
    """Clients that get no token any more, or soon will not."""
    today = datetime.fromtimestamp(patient.now, UTC).date()
    clients = with_newcomers(patient.settings).registry.clients.values()
    rules = patient.settings.admission.rules.values()
    everyone = [
        *((each.id, each.expires) for each in clients if each.origin is not Origin.DOCUMENT),
        *((f"client_documents of {each.host}", each.expires) for each in rules),
    ]
    over = [name for name, expires in everyone if expires < today]
    soon = [name for name, expires in everyone if today <= expires < today + SOON]
    parts = [f"expired: {some(over)}"] if over else []
    parts += [f"within {SOON.days} days: {some(soon)}"] if soon else []
    if parts:
        return [warning("; ".join(parts), "look whether they are still needed; then set `expires`, or take them out")]
    return [ok(f"none of {len(everyone)} expires within {SOON.days} days")]


async def owners(patient: Patient) -> list[Seen]:
    """Owners that nobody belongs to."""
    registry = patient.settings.registry
    used = {each.owner for each in registry.resources.values()} | {each.owner for each in registry.clients.values()}
    empty = [each.name for each in registry.owners.values() if not each.members]
    if empty:
        return [warning(f"without members: {some(empty)}", "name people under `owners.NAME.members`")]
    idle = sorted(set(registry.owners) - used)
    return [ok(f"owners: {len(registry.owners)}, each with members" + (f"; idle: {some(idle)}" if idle else ""))]


async def proxies(patient: Patient) -> list[Seen]:
    """Whose word is taken for where a request came from."""
    networks = patient.settings.forwarded_from
    if everybody := [str(each) for each in networks if each.prefixlen == 0]:
        return [failed(f"everybody is believed: {some(everybody)}", "name the proxies' own addresses")]
    if wide := [str(each) for each in networks if _is_wide(each)]:
        return [warning(f"wide public networks are believed: {some(wide)}", "name the proxies' own addresses")]
    if patient.settings.issuer.startswith("https://") and not networks:
        seen = "issuer is https, so a proxy ends TLS, and none is named: every record holds the proxy's address"
        return [warning(seen, "name its address in `forwarded_from`")]
    return [ok(f"believed: {some([str(each) for each in networks]) or 'nobody, which is right without a proxy'}")]


def _is_wide(network: IPv4Network | IPv6Network) -> bool:
    return not network.is_private and network.prefixlen < (WIDE_V4 if network.version == 4 else WIDE_V6)
