"""`/access/v1/*`: servers that enforce decisions themselves ask for them, and search, in the words of AuthZEN.

The client authenticates by headers, since the body is the specification's: `client_secret_basic`, or `private_key_jwt`
with the assertion in `Client-Assertion`. No bearer token is taken.

Spec: AuthZEN 1.0 §10.1
Spec: RFC 6749 §2.3
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from perhop.authorization_server.access.answers import Answer, Answers
from perhop.authorization_server.client_auth.authenticate import authenticate_client
from perhop.authorization_server.client_auth.credentials import ASSERTION_TYPE, Credentials, parse_credentials
from perhop.authorization_server.endpoints.refuse import record_refusal
from perhop.authorization_server.endpoints.render import NO_STORE, render_public
from perhop.authorization_server.form import Form, read_body
from perhop.authorization_server.issuer import Issuer
from perhop.authorization_server.trail import Trail
from perhop.core.client import Client
from perhop.errors import (
    AccessNotAllowed,
    AccessRequestMalformed,
    JsonUnparsable,
    Refused,
    TokenRequestMalformed,
    Unavailable,
)
from perhop.rules.authzen import Evaluations, Sought, parse_evaluation, parse_evaluations, parse_search
from perhop.rules.strict_json import parse_json

EVALUATION_PATH = "/access/v1/evaluation"
EVALUATIONS_PATH = "/access/v1/evaluations"
SEARCH_PATH = "/access/v1/search"
ACCESS_NAME = "perhop:access"
"""Its name in the journal, where a request is refused as such. No resource of a configuration can have such a one."""

MAX_BODY_BYTES = 1024 * 1024
METADATA_MAX_AGE = 300
REQUEST_ID = "x-request-id"
ASSERTION = "client-assertion"
ASSERTION_TYPE_HEADER = "client-assertion-type"
CHALLENGE = 'Basic realm="perhop", charset="UTF-8"'

_log = logging.getLogger("perhop.authorization_server")

_Answer = Callable[[object, Answers], Awaitable[Answer]]


async def evaluation(request: Request, issuer: Issuer) -> Response:
    """One question. Spec: AuthZEN 1.0 §6."""
    return await _answer(request, issuer, lambda body, answers: answers.evaluation(parse_evaluation(body)))


async def evaluations(request: Request, issuer: Issuer) -> Response:
    """Several questions, or one. Spec: AuthZEN 1.0 §7."""

    async def answer(body: object, answers: Answers) -> Answer:
        asked = parse_evaluations(body)
        return await (answers.evaluations(asked) if isinstance(asked, Evaluations) else answers.evaluation(asked))

    return await _answer(request, issuer, answer)


async def search_subject(request: Request, issuer: Issuer) -> Response:
    """Who may? Spec: AuthZEN 1.0 §8.4."""
    return await _search(request, issuer, Sought.SUBJECT)


async def search_resource(request: Request, issuer: Issuer) -> Response:
    """Where may one? Spec: AuthZEN 1.0 §8.5."""
    return await _search(request, issuer, Sought.RESOURCE)


async def search_action(request: Request, issuer: Issuer) -> Response:
    """What may one? Spec: AuthZEN 1.0 §8.6."""
    return await _search(request, issuer, Sought.ACTION)


async def access_metadata(_request: Request, issuer: Issuer) -> Response:
    """The metadata of the policy decision point. Spec: AuthZEN 1.0 §9.2.2."""
    document = {
        "policy_decision_point": issuer.url,
        "access_evaluation_endpoint": issuer.endpoint(EVALUATION_PATH),
        "access_evaluations_endpoint": issuer.endpoint(EVALUATIONS_PATH),
        **{f"search_{each}_endpoint": issuer.endpoint(f"{SEARCH_PATH}/{each}") for each in Sought},
    }
    return render_public(document, max_age=METADATA_MAX_AGE)


async def _search(request: Request, issuer: Issuer, sought: Sought) -> Response:
    return await _answer(request, issuer, lambda body, answers: answers.search(parse_search(body, sought)))


async def _answer(request: Request, issuer: Issuer, answer: _Answer) -> Response:
    """Authenticate the client -> look what it serves -> read -> decide and record -> respond under the request's id."""
    trail = Trail.of(request).asking_about_access(place=ACCESS_NAME)
    try:
        client = await authenticate_client(_credentials_of(request), issuer)
        trail = trail.by(client)
        _check_serving(client)
        body = await _read(request)
        response: Response = JSONResponse(
            await answer(body, Answers(client, trail.request, issuer)), headers=dict(NO_STORE)
        )
    except (Refused, Unavailable) as fact:
        response = _render_error(await record_refusal(fact, trail, issuer))
    except Exception:
        # Not ours to foresee: closed, and only the log learns what it was.
        _log.exception("%s failed", request.url.path)
        response = PlainTextResponse("the server failed", status_code=500, headers=dict(NO_STORE))
    if (request_id := request.headers.get(REQUEST_ID)) is not None:
        response.headers[REQUEST_ID] = request_id  # Spec: AuthZEN 1.0 §10.1.3
    return response


def _credentials_of(request: Request) -> Credentials:
    """The headers as the token endpoint has them in its form; a header that comes twice spoils the request.

    Raises: TokenRequestMalformed, ClientAuthenticationFailed
    """
    assertions, types = request.headers.getlist(ASSERTION), request.headers.getlist(ASSERTION_TYPE_HEADER)
    if len(assertions) > 1 or len(types) > 1:
        raise TokenRequestMalformed(f"`{ASSERTION}` or `{ASSERTION_TYPE_HEADER}` is there twice")
    parameters: Mapping[str, tuple[str, ...]] = {}
    if assertions or types:
        parameters = {
            "client_assertion": tuple(assertions),
            "client_assertion_type": tuple(types) or (ASSERTION_TYPE,),
        }
    return parse_credentials(request.headers.getlist("authorization"), Form(parameters))


def _check_serving(client: Client) -> None:
    """Raises: AccessNotAllowed."""
    if not client.serves:
        raise AccessNotAllowed(f"client `{client.id}` serves no resource")


async def _read(request: Request) -> object:
    """Raises: AccessRequestMalformed, BodyTooLarge, BodyTooSlow, TokenRequestMalformed."""
    content_types = request.headers.getlist("content-type")
    if len(content_types) != 1 or content_types[0].partition(";")[0].strip().lower() != "application/json":
        raise AccessRequestMalformed("the content type is not `application/json`")
    try:
        return parse_json(await read_body(request, max_bytes=MAX_BODY_BYTES), max_bytes=MAX_BODY_BYTES)
    except JsonUnparsable as fact:
        raise AccessRequestMalformed(f"the body is not JSON as we take it: {fact.detail}") from None


def _render_error(fact: Refused | Unavailable) -> Response:
    """An error is a text that says what is wrong with the request. Spec: AuthZEN 1.0 §10.1.2, AuthZEN 1.0 §11.3."""
    headers = dict(NO_STORE)
    if fact.status == 401:
        headers["www-authenticate"] = CHALLENGE
    if isinstance(fact, Unavailable):
        headers["retry-after"] = str(fact.retry_after)
    said = fact.problem if isinstance(fact, AccessRequestMalformed) else fact.description
    return PlainTextResponse(said, status_code=fact.status, headers=headers)
