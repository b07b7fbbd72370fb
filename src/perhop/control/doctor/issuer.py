"""Checks of the authorization server as the outside sees it, at its own URL.

Spec: RFC 8414 §3.3
"""

from __future__ import annotations

import asyncio
import ssl
from datetime import timedelta

from perhop.client.discovery import discover, metadata_urls
from perhop.client.fetch import MAX_DOCUMENT_BYTES, Answer, fetch
from perhop.control.doctor.answers import SECONDS, in_words, skew_of
from perhop.control.doctor.finding import Seen, failed, ok, skipped, some, warning
from perhop.control.doctor.patient import Patient
from perhop.errors import IssuerUnavailable
from perhop.gateway.upstream.tls import tls_trusting
from perhop.rules.resource_uri import parse_http_uri
from perhop.storage.engine import open_database
from perhop.storage.key_states import SqlKeyStates
from perhop.tokens.jwks import parse_jwks
from perhop.tokens.keys import KeyState
from perhop.wiring.keys import load_signing_key

MAX_SKEW_SECONDS = 60
NOTABLE_SKEW_SECONDS = 5
CERTIFICATE_SOON = timedelta(days=14)

NOT_RUNNING = "perhop does not serve here"
_SET_CLOCK = "let both machines take their time from a time server (NTP)"


async def issuer(patient: Patient) -> list[Seen]:
    """Whether the issuer is reached at its own URL and names itself so."""
    if not patient.serves:
        return [skipped(NOT_RUNNING)]
    url = patient.settings.issuer
    fix = "`issuer` must be the URL at which clients and servers reach `listen.traffic`"
    try:
        metadata = await discover(patient.http, url)
    except IssuerUnavailable as failure:
        return [failed(f"{metadata_urls(url)[0]}: {in_words(failure)}", fix)]
    wrong = [
        name
        for name, place in (("jwks_uri", "/jwks"), ("token_endpoint", "/token"))
        if getattr(metadata, name) != url + place
    ]
    if wrong:
        return [failed(f"its metadata leads elsewhere: {some(wrong)}", fix)]
    return [ok(f"{metadata_urls(url)[0]} names {url}")]


async def jwks(patient: Patient) -> list[Seen]:
    """Whether what is published verifies what we sign."""
    if not patient.serves:
        return [skipped(NOT_RUNNING)]
    try:
        published = parse_jwks((await _get(patient, f"{patient.settings.issuer}/jwks")).body)
    except IssuerUnavailable as failure:
        return [failed(f"{patient.settings.issuer}/jwks: {in_words(failure)}", "see `issuer`")]
    states = await _states(patient)
    ours = {key.kid: key for key in map(load_signing_key, sorted(patient.settings.keys_dir.glob("signing-*.pem")))}
    active = next((kid for kid, state in states.items() if state == KeyState.ACTIVE), None)
    fix = "restart `perhop serve`; if it stays, another server answers at the issuer's URL"
    if active is None or active not in published:
        return [failed(f"the active key {active} is not published: nobody can verify our tokens", fix)]
    foreign = sorted(set(published) - set(ours))
    if foreign:
        return [failed(f"published, and not ours: {some(foreign)}", fix)]
    if any(published[kid].as_jwk() != ours[kid].public().as_jwk() for kid in published):
        return [failed("a published key is another one than ours of that name", fix)]
    return [ok(f"published keys: {len(published)}, all ours; {active} signs")]


async def clock(patient: Patient) -> list[Seen]:
    """How far clocks are apart: the issuer's, and those of the servers that check our tokens' times."""
    seen = []
    if patient.serves:
        try:
            answer = await _get(patient, f"{patient.settings.issuer}/jwks")
            skew = skew_of(answer, patient.now)
        except IssuerUnavailable:
            skew = None
        seen.append(_clock(skew, ""))
    for name, answers in patient.answers.items():
        if answers.skew is not None:
            seen.append(_clock(answers.skew, name))
    return seen or [skipped(NOT_RUNNING)]


def _clock(skew: float | None, part: str) -> Seen:
    if skew is None:
        return skipped("the answer tells no time", part=part)
    words = f"{abs(skew):.0f} s {'ahead' if skew > 0 else 'behind'}" if abs(skew) >= 1 else "less than a second apart"
    if abs(skew) > MAX_SKEW_SECONDS:
        return failed(f"its clock is {words}: tokens are refused", _SET_CLOCK, part=part)
    if abs(skew) > NOTABLE_SKEW_SECONDS:
        return warning(f"its clock is {words}", _SET_CLOCK, part=part)
    return ok(words, part=part)


async def certificates(patient: Patient) -> list[Seen]:
    """Until when the certificates hold, of the issuer and of every upstream."""
    settings = patient.settings
    places: list[tuple[str, str, str | None]] = [("", settings.issuer, None)] if patient.serves else []
    for each in settings.registry.resources.values():
        if each.upstream is not None and each.upstream.url is not None:
            places.append((each.name, each.upstream.url, each.upstream.ca_certificates))
    asked = [_certificate(patient, part, url, own) for part, url, own in places if url.startswith("https:")]
    return list(await asyncio.gather(*asked)) or [ok("nothing here is https")]


async def _certificate(patient: Patient, part: str, url: str, ca_certificates: str | None) -> Seen:
    uri = parse_http_uri(url)
    host, port = uri.host.strip("[]"), uri.port or 443
    tls = patient.tls if ca_certificates is None else tls_trusting(ca_certificates)
    try:
        async with asyncio.timeout(SECONDS):
            _, writer = await asyncio.open_connection(host, port, ssl=tls)
    except ssl.SSLCertVerificationError as error:
        fix = "renew it, or let the right authority be believed (`ca_file`)"
        return failed(f"the certificate of {host}:{port} is not believed: {error.verify_message}", fix, part=part)
    except (OSError, TimeoutError) as error:
        return skipped(f"no certificate came from {host}:{port}: {error.__class__.__name__}", part=part)
    try:
        certificate = writer.get_extra_info("peercert") or {}
    finally:
        writer.transport.abort()
    left = timedelta(seconds=ssl.cert_time_to_seconds(str(certificate["notAfter"])) - patient.now)
    seen = f"the certificate of {host}:{port} holds for {left.days} days"
    return ok(seen, part=part) if left > CERTIFICATE_SOON else warning(seen, "renew it", part=part)


async def _get(patient: Patient, url: str) -> Answer:
    request = patient.http.build_request("GET", url)
    answer = await fetch(patient.http, request, max_bytes=MAX_DOCUMENT_BYTES, seconds=SECONDS)
    if answer.status != 200:
        raise IssuerUnavailable(f"{url}: HTTP {answer.status}")
    return answer


async def _states(patient: Patient) -> dict[str, str]:
    database = open_database(patient.settings.database_path)
    try:
        return {kid: state for kid, (state, _) in (await SqlKeyStates(database).all()).items()}
    finally:
        await database.close()
