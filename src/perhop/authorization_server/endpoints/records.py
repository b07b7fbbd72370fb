"""`/records`: servers report what their guards saw, with a token that is good for this and nothing else.

Spec: RFC 6750 §3
Spec: RFC 9728 §2
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from perhop.authorization_server.endpoints.refuse import record_refusal
from perhop.authorization_server.endpoints.render import NO_STORE, render_bearer_error, render_error, render_public
from perhop.authorization_server.form import read_body
from perhop.authorization_server.issuer import Issuer
from perhop.authorization_server.records_resource import (
    RECORDS_NAME,
    RECORDS_PATH,
    RECORDS_SCOPE,
    records_resource,
    records_uri,
)
from perhop.authorization_server.reports import Objection
from perhop.authorization_server.sender import NONCE_HEADER
from perhop.authorization_server.trail import Trail
from perhop.core.call import Headers
from perhop.core.client import Client
from perhop.core.token import BoundToken, ProvedToken, VerifiedToken
from perhop.errors import (
    AgentDisabled,
    BearerRefused,
    JsonUnparsable,
    Refused,
    ReportsMalformed,
    ScopeInsufficient,
    Unavailable,
)
from perhop.journal.report import Report, ReportMalformed, parse_report
from perhop.rules.audience import bind_audience
from perhop.rules.bearer import parse_presented, uses_dpop
from perhop.rules.challenge import metadata_url, resource_metadata_document, taken_schemes
from perhop.rules.strict_json import parse_json
from perhop.tokens.possession import check_sender
from perhop.tokens.verify import Leeway, verify

MAX_BODY_BYTES = 1024 * 1024
MAX_REPORTS = 500
"""In one request; a server that has more sends them in several."""
METADATA_MAX_AGE = 300


async def records(request: Request, issuer: Issuer) -> Response:
    """Authenticate -> bind audience -> sender -> standing -> read -> take -> respond.

    200 says of each report that it is durable, or that sending it again changes nothing. Anything else: send all again.

    Spec: RFC 6750 §3.1
    """
    trail = Trail.of(request).presenting(request.headers.getlist("authorization"), place=RECORDS_NAME)
    headers = _headers(request)
    try:
        caller = _authenticate(headers, issuer)
        trail = trail.having_verified(caller)
        bound = bind_audience(caller, records_uri(issuer.url))
        client = _check_standing(await _check_sender(headers, bound, issuer), issuer)
        trail = trail.by(client).to(records_resource(issuer.url, client))
        batch = _parse(await _read(request))
        taken = await issuer.reports.take(batch.reports, client=client, registry=issuer.registry)
    except (Refused, Unavailable) as fact:
        return _with_nonce(_render(await record_refusal(fact, trail, issuer), headers, issuer), headers, issuer)
    refused = {**batch.malformed, **taken.refused}
    body = {
        "recorded": taken.recorded,
        "known": taken.known,
        "refused": {name: refused[name].value for name in refused},
    }
    return _with_nonce(JSONResponse(body, headers=dict(NO_STORE)), headers, issuer)


async def records_metadata(_request: Request, issuer: Issuer) -> Response:
    """The metadata of this resource. Spec: RFC 9728 §2."""
    document = resource_metadata_document(
        records_uri(issuer.url), authorization_servers=[issuer.url], scopes=[RECORDS_SCOPE]
    )
    return render_public(document, max_age=METADATA_MAX_AGE)


@dataclass(frozen=True, slots=True)
class _Batch:
    """What came, with those that can be named and not read: one of them must not hold up the others for ever."""

    reports: tuple[Report, ...]
    malformed: dict[str, Objection]


def _headers(request: Request) -> Headers:
    return tuple((name, value) for name, value in request.headers.items() if name in ("authorization", "dpop"))


def _authenticate(headers: Headers, issuer: Issuer) -> VerifiedToken:
    """Raises: BearerRefused."""
    keys = {issuer.url: issuer.keyring.verify_keys()}
    return verify(parse_presented(headers).token, keys=keys, now=issuer.now(), leeway=Leeway.NONE)


async def _check_sender(headers: Headers, bound: BoundToken, issuer: Issuer) -> ProvedToken:
    """Raises: BearerRefused, StorageUnavailable."""
    return await check_sender(
        headers,
        bound,
        lambda: issuer.proof_desk(RECORDS_PATH),
        method="POST",
        uri=records_uri(issuer.url),
        must_be_bound=False,
        now=issuer.now(),
    )


def _with_nonce(answer: Response, headers: Headers, issuer: Issuer) -> Response:
    """Whoever speaks of proofs hears the nonce for the next one. Spec: RFC 9449 §8.2."""
    if uses_dpop(headers):
        answer.headers[NONCE_HEADER] = issuer.proof_desk(RECORDS_PATH).nonces.current(issuer.now())
    return answer


def _check_standing(proved: ProvedToken, issuer: Issuer) -> Client:
    """Revocation -> standing -> scope: the client must answer for a server still.

    Raises: BearerRefused, OwnerMissing
    """
    token, registry = proved.bound.token, issuer.registry
    issuer.revocations.check(token)
    client = registry.clients.get(token.client_id)
    if client is None or not client.serves:
        raise AgentDisabled(f"client `{token.client_id}` answers for no server")
    issuer.standing.check_token(token, records_resource(issuer.url, client), registry, now=issuer.now())
    if RECORDS_SCOPE not in token.scopes:
        raise ScopeInsufficient(RECORDS_SCOPE)
    return client


async def _read(request: Request) -> list[Any]:
    """Raises: ReportsMalformed, BodyTooLarge, BodyTooSlow, TokenRequestMalformed."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise ReportsMalformed("the content type is not `application/json`")
    try:
        document = parse_json(await read_body(request, max_bytes=MAX_BODY_BYTES), max_bytes=MAX_BODY_BYTES)
    except JsonUnparsable as fact:
        raise ReportsMalformed(fact.detail) from None
    found = document.get("records") if isinstance(document, dict) else None
    if not isinstance(found, list) or len(found) > MAX_REPORTS:
        raise ReportsMalformed(f"`records` is not a list of at most {MAX_REPORTS}")
    return found


def _parse(found: list[Any]) -> _Batch:
    """Raises: ReportsMalformed, for a report that cannot even be named."""
    reports: list[Report] = []
    malformed: dict[str, Objection] = {}
    for each in found:
        try:
            reports.append(parse_report(each))
        except ReportMalformed as error:
            name = each.get("id") if isinstance(each, dict) else None
            if not isinstance(name, str) or len(name) > 64:
                raise ReportsMalformed(f"a report without an id: {error}") from None
            malformed[name] = Objection.MALFORMED
    return _Batch(tuple(reports), malformed)


def _render(fact: Refused | Unavailable, headers: Headers, issuer: Issuer) -> Response:
    if isinstance(fact, BearerRefused):
        url = metadata_url(records_uri(issuer.url))
        return render_bearer_error(fact, metadata_url=url, scopes=(RECORDS_SCOPE,), taken=taken_schemes(headers))
    return render_error(fact)
