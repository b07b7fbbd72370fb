"""Check of the issuers whose assertions are taken: without their keys nobody gets a token by their word."""

from __future__ import annotations

from perhop.authorization_server.assertion_keys import AssertionKeys
from perhop.client.connections import Connections
from perhop.control.doctor.finding import Seen, failed, ok
from perhop.control.doctor.patient import Patient
from perhop.errors import KeysUnavailable

_FIX = "see that it can be reached from here, or put its keys into `jwks_file`; until then its assertions are 503"


async def trusted_issuers(patient: Patient) -> list[Seen]:
    """Ask for the keys of each, as an assertion of it would."""
    sources = AssertionKeys(connections=Connections(patient.http), clock=patient.clock)
    seen = []
    for trusted in patient.settings.registry.trusted_issuers.values():
        try:
            keys = await sources.of(trusted).keys()
        except KeysUnavailable as failure:
            seen.append(failed(failure.detail, _FIX, part=trusted.name))
        else:
            many = f"{len(keys)} key{'' if len(keys) == 1 else 's'}"
            is_good = f"{many}, for {trusted.kind.value}"
            seen.append(ok(is_good, part=trusted.name) if keys else failed("it has no key", _FIX, part=trusted.name))
    return seen or [ok("none is configured")]
