"""`/token`: every grant in one rhythm.

Spec: RFC 6749 §3.2
Spec: RFC 6749 §5
Spec: RFC 8693 §2.2
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from json.encoder import encode_basestring as _quoted

from starlette.requests import Request
from starlette.responses import Response

from perhop.authorization_server.client_auth.authenticate import prove_client
from perhop.authorization_server.endpoints.refuse import refuse
from perhop.authorization_server.endpoints.render import NO_STORE
from perhop.authorization_server.form import Form, check_unrepeated, read_form
from perhop.authorization_server.grants import (
    authorization_code,
    client_credentials,
    jwt_bearer,
    refresh_token,
    token_exchange,
    workload,
)
from perhop.authorization_server.grants.asked import Asked
from perhop.authorization_server.grants.jwt_bearer import find_assertion, is_workload_alone
from perhop.authorization_server.grants.refresh_token import find_refresh_token
from perhop.authorization_server.grants.token_exchange import ACCESS_TOKEN_TYPE, verify_subject_token
from perhop.authorization_server.issue import Authorized, check_policy, issue, question_of
from perhop.authorization_server.issuer import Issuer
from perhop.authorization_server.refresh_families import NextRefreshToken, StoredRefreshToken
from perhop.authorization_server.sender import (
    NONCE_HEADER,
    TOKEN_PATH,
    bind_sender,
    check_sent_proof,
    dpop_headers,
    use_sent_proof,
)
from perhop.authorization_server.trail import Trail
from perhop.core.call import Action, Headers
from perhop.core.client import Client, GrantType
from perhop.core.registry import Registry
from perhop.core.token import MintedToken, VerifiedToken
from perhop.errors import GrantTypeNotAllowed, GrantTypeUnsupported, Refused, Unavailable
from perhop.journal.record import TaskFacts
from perhop.rules.bearer import Scheme
from perhop.rules.scope import render_scope
from perhop.rules.task import AGENT_TASK, parse_task_named

Authorize = Callable[[Asked, Issuer], Awaitable[Authorized]]

GRANTS: Mapping[GrantType, Authorize] = {
    GrantType.AUTHORIZATION_CODE: authorization_code.authorize,
    GrantType.REFRESH_TOKEN: refresh_token.authorize,
    GrantType.CLIENT_CREDENTIALS: client_credentials.authorize,
    GrantType.TOKEN_EXCHANGE: token_exchange.authorize,
    GrantType.JWT_BEARER: jwt_bearer.authorize,
}


async def token(request: Request, issuer: Issuer) -> Response:
    """Answer a token request; whoever speaks of proofs hears the nonce for the next one, whatever the answer is.

    Spec: RFC 9449 §8.2
    """
    now, proofs = issuer.now(), dpop_headers(request)
    answer = await _answer(request, proofs, issuer, now=now)
    if proofs:
        answer.headers[NONCE_HEADER] = issuer.proof_desk(TOKEN_PATH).nonces.current(now)
    return answer


async def _answer(request: Request, proofs: Headers, issuer: Issuer, *, now: int) -> Response:
    """Parse -> proof -> client -> its token -> authorize one resource -> bind to the key -> policy -> issue -> respond.

    Spec: RFC 6749 §5.1
    """
    trail = Trail.of(request)
    authorization = request.headers.getlist("authorization")
    try:
        form = await read_form(request)
        trail = trail.asking(form, issuer.registry)
        check_unrepeated(form)
        sent = check_sent_proof(proofs, issuer, now=now)
        # A workload has no secret of ours: its assertion says which client it is, and is the proof of it.
        alone = is_workload_alone(authorization, form, issuer)
        assertion = await find_assertion(form, issuer, now=now) if alone else None
        trail = trail.by_assertion(assertion)
        client = (
            await prove_client(authorization, form, issuer)
            if assertion is None
            else workload.client_of(assertion, form, issuer)
        )
        trail = trail.by(client).by_assertion(assertion)
        issuer.rates.check_client(client, trail.request.ip, issuer.rate_limits)
        proof = await use_sent_proof(sent, client, issuer)
        grant_type = allowed_grant(form.required("grant_type"), client, issuer.registry)
        trail = trail.using(grant_type)
        if grant_type is GrantType.JWT_BEARER and assertion is None:
            assertion = await find_assertion(form, issuer, now=now)
            trail = trail.by_assertion(assertion)
        is_exchange = grant_type is GrantType.TOKEN_EXCHANGE
        subject_token = verify_subject_token(form, issuer, now=now) if is_exchange else None
        trail = trail.having_verified(subject_token)
        refreshed = await find_refresh_token(form, issuer) if grant_type is GrantType.REFRESH_TOKEN else None
        trail = trail.of_family(refreshed.family if refreshed is not None else None)
        trail = trail.under(_task_named(form, subject_token, refreshed, issuer))
        asked = Asked(
            form=form,
            client=client,
            now=now,
            subject_token=subject_token,
            refresh_token=refreshed,
            assertion=assertion,
            proof=proof,
        )
        authorized = bind_sender(await GRANTS[grant_type](asked, issuer), proof)
        trail = trail.to(authorized.resource)
        trail = trail.of_family(authorized.refresh.family if authorized.refresh is not None else None)
        _ask_policy(authorized, Action.EXCHANGE if is_exchange else Action.ISSUE, issuer, ip=trail.request.ip or "")
        await issuer.newcomers.keep(client)
        minted = await issue(authorized, issuer, request=trail.request, about=trail.about)
    except (Refused, Unavailable) as fact:
        return await refuse(fact, trail, issuer, tried_header=bool(authorization))
    return render_token(minted, authorized.refresh, is_exchange=is_exchange)


def _ask_policy(authorized: Authorized, action: Action, issuer: Issuer, *, ip: str) -> None:
    """Raises: TargetForbidden, TargetUndecidable."""
    task = issuer.tasks.find(authorized.draft.task)
    check_policy(issuer.policy, question_of(authorized.draft, authorized.resource, action, task=task, ip=ip))


def _task_named(
    form: Form, subject_token: VerifiedToken | None, refreshed: StoredRefreshToken | None, issuer: Issuer
) -> TaskFacts | None:
    """The task of which the record of this request speaks. Checks nothing of it: the grants do.

    Raises: DetailsMalformed
    """
    named = parse_task_named(form.one("authorization_details"))
    rests_on = subject_token.task if subject_token is not None else refreshed.family.task if refreshed else None
    return issuer.tasks.facts(named or rests_on)


def allowed_grant(grant_type: str, client: Client, registry: Registry) -> GrantType:
    """The grant, if it is built, somebody is trusted for it where it rests on others, and this client may use it.

    Spec: RFC 6749 §5.2
    Raises: GrantTypeUnsupported, GrantTypeNotAllowed
    """
    try:
        grant = GrantType(grant_type)
    except ValueError:
        raise GrantTypeUnsupported(f"`{grant_type[:128]}`") from None
    if grant is GrantType.JWT_BEARER and not registry.trusted_issuers:
        raise GrantTypeUnsupported("no issuer is trusted for assertions")
    if grant not in client.grants:
        raise GrantTypeNotAllowed(f"client `{client.id}` may not use `{grant.value}`")
    return grant


def render_token(minted: MintedToken, refresh: NextRefreshToken | None, *, is_exchange: bool) -> Response:
    """The successful answer. Spec: RFC 6749 §5.1, RFC 8693 §2.2.1, RFC 9449 §5."""
    draft = minted.draft
    body = (
        f'{{"access_token":{_quoted(minted.raw.reveal())},'
        f'"token_type":"{_BEARER if draft.sender is None else _DPOP}",'
        f'"expires_in":{draft.expires_at - draft.issued_at},'
        f'"scope":{_quoted(render_scope(draft.scopes))}'
    )
    if refresh is not None:
        body += f',"refresh_token":{_quoted(refresh.secret.reveal())}'
    if draft.task is not None:  # Spec: RFC 9396 §7
        body += f',"authorization_details":[{{"type":"{AGENT_TASK}","id":{_quoted(draft.task)}}}]'
    if is_exchange:
        body += f',"issued_token_type":"{ACCESS_TOKEN_TYPE}"'
    return TokenResponse(f"{body}}}".encode())


class TokenResponse(Response):
    """The JSON of a token, as it stands: what `JSONResponse` makes of the same, without the way there."""

    media_type = "application/json"

    def __init__(self, body: bytes) -> None:
        self.status_code = 200
        self.background = None
        self.body = body
        self.raw_headers = [
            *_NO_STORE_FIELDS,
            (b"content-length", b"%d" % len(body)),
            (b"content-type", b"application/json"),
        ]


_BEARER, _DPOP = Scheme.BEARER.value, Scheme.DPOP.value
_NO_STORE_FIELDS = tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in NO_STORE.items())
