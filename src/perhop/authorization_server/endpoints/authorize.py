"""`/authorize`: a person signs in, is asked, and the client gets a code.

The request travels in the forms' hidden input and is read anew at every step, so nothing of it is kept here. A step
whose seal is not good does nothing: the form of the moment is shown again.

Spec: RFC 6749 §4.1
Spec: RFC 9207 §2
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from perhop.authorization_server.codes import CODE_LIFETIME, hash_code
from perhop.authorization_server.drafts import draft_first
from perhop.authorization_server.endpoints.refuse import record_refusal
from perhop.authorization_server.form import Form, parse_form, read_form_body
from perhop.authorization_server.grants.named_task import check_task_subject
from perhop.authorization_server.interaction.authorization_request import (
    MAX_REQUEST_BYTES,
    AuthorizationRequest,
    is_redirectable,
    know_client,
    parse_authorization_request,
    parse_destination,
)
from perhop.authorization_server.interaction.consent import (
    Terms,
    is_covered,
    is_task_known,
    new_scopes,
    terms_digest,
    terms_of,
)
from perhop.authorization_server.interaction.demands import check_shown, check_way, is_good_for, occasion_of
from perhop.authorization_server.interaction.login import current_sign_in, site_of
from perhop.authorization_server.interaction.pages import see_other
from perhop.authorization_server.interaction.sign_in_form import (
    Purpose,
    is_sign_in_sent,
    show_sign_in,
    take_sign_in,
)
from perhop.authorization_server.issue import check_policy, question_of
from perhop.authorization_server.issuer import Issuer
from perhop.authorization_server.people_store import Consent
from perhop.authorization_server.store import AuthorizationCode, SignIn
from perhop.authorization_server.trail import Trail
from perhop.core.call import Action
from perhop.errors import (
    ConsentDenied,
    ConsentRequired,
    RedirectRefused,
    Refused,
    TaskExpired,
    TaskOutside,
    TaskRefused,
    TaskSuperseded,
    Unavailable,
)

CONSENT = "consent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One arrival at the endpoint: the authorization request as text, and the form that was sent, if one was."""

    query: str
    sent: Form | None

    @property
    def step(self) -> str | None:
        return self.sent.one("step") if self.sent is not None else None


async def authorize(request: Request, issuer: Issuer) -> Response:
    """Read the visit -> know the client -> find the destination -> check the request -> take the step sent -> answer.

    Spec: RFC 6749 §4.1.2
    """
    trail = Trail.of(request)
    try:
        visit = await _read_visit(request)
        form = parse_form(visit.query.encode())
        await know_client(form, issuer)
        destination = parse_destination(form, issuer)
        trail = trail.asking(form, issuer.registry).naming(destination.client)
        issuer.standing.check_client(destination.client, issuer.registry, now=issuer.now())
    except (Refused, Unavailable) as fact:
        return issuer.pages.refused(await record_refusal(fact, trail, issuer))
    try:
        asked = parse_authorization_request(form, visit.query, destination, issuer)
        trail = trail.under(issuer.tasks.facts(asked.task.id) if asked.task is not None else None)
        return await _answer(visit, asked, request, trail, issuer)
    except (Refused, Unavailable) as fact:
        answered = await record_refusal(fact, trail, issuer)
        if isinstance(answered, Refused) and is_redirectable(answered):
            return see_other(destination.with_error(answered, issuer.url))
        return issuer.pages.refused(answered)


async def _read_visit(request: Request) -> Visit:
    """The request comes in the query of a GET or in the body of a POST.

    Spec: RFC 6749 §3.1
    Raises: RedirectRefused, TokenRequestMalformed, BodyTooLarge, BodyTooSlow
    """
    if request.method != "POST":
        # Bytes that are not ASCII stay what they are, and the parser refuses them.
        visit = Visit(query=request.scope["query_string"].decode("latin-1"), sent=None)
    else:
        body = await read_form_body(request)
        sent = parse_form(body)
        if sent.one("step") is None:
            visit = Visit(query=body.decode("ascii"), sent=None)
        else:
            visit = Visit(query=sent.one("request") or "", sent=sent)
    if len(visit.query) > MAX_REQUEST_BYTES:
        raise RedirectRefused(f"the request is longer than {MAX_REQUEST_BYTES} bytes")
    return visit


async def _answer(
    visit: Visit, asked: AuthorizationRequest, request: Request, trail: Trail, issuer: Issuer
) -> Response:
    """The step that was sent, else the form of the moment: sign in, then consent, then the code."""
    purpose = _purpose(asked, issuer)
    if visit.sent is not None and is_sign_in_sent(visit.sent, purpose, request, issuer):
        return await take_sign_in(visit.sent, purpose, request, trail, issuer)
    signed_in = await _signed_in(asked, purpose, request, issuer)
    if signed_in is None:
        return show_sign_in(purpose, request, issuer)
    check_task_subject(asked.task, signed_in.subject)
    _check_not_forbidden(asked, signed_in, trail, issuer)
    terms = terms_of(
        asked.client, asked.resource, asked.scopes, asked.destination.redirect_uri, issuer.registry, task=asked.task
    )
    if visit.sent is not None and visit.step == CONSENT:
        decided = await _take_consent(visit.sent, asked, terms, signed_in, trail, issuer)
        if decided is not None:
            return decided
    stored = await issuer.stores.consents.get(signed_in.subject, asked.client.id, asked.resource.uri)
    is_known = is_task_known(terms, signed_in.subject) and is_covered(stored, terms)
    if is_known and not asked.demands.asks_anew:
        return await _give_code(asked, terms, signed_in, issuer)
    if asked.demands.shows_nothing:
        raise ConsentRequired(f"`{signed_in.subject}` has not allowed this, and `prompt` is `none`")
    seal = issuer.form_seal.seal(*_consent_binding(asked, terms, signed_in), now=issuer.now())
    return issuer.pages.consent(
        terms=terms,
        redirect_uri=asked.destination.redirect_uri,
        query=asked.query,
        seal=seal,
        action=_action(issuer),
        now=issuer.now(),
        new=new_scopes(stored, terms),
    )


async def _signed_in(asked: AuthorizationRequest, purpose: Purpose, request: Request, issuer: Issuer) -> SignIn | None:
    """Who is signed in at this browser, as new and in such a way as the request wants; None: they have to sign in.

    Spec: OpenID Connect Core 1.0 §3.1.2.3
    Raises: LoginRequired, AuthenticationUnmet, StorageUnavailable
    """
    signed_in = await current_sign_in(request, site_of(issuer), issuer)
    occasion = occasion_of(purpose.back)
    if signed_in is not None and is_good_for(signed_in, asked.demands, occasion, now=issuer.now()):
        return signed_in
    check_shown(asked.demands)
    check_way(asked.demands, issuer.registry.sign_in)
    return None


def _check_not_forbidden(asked: AuthorizationRequest, signed_in: SignIn, trail: Trail, issuer: Issuer) -> None:
    """Ask policy before the person is asked, as if the answer were yes; it is asked again when the code is redeemed.

    Raises: TargetForbidden, TargetUndecidable
    """
    draft = draft_first(
        issuer,
        client_id=asked.client.id,
        subject=signed_in.subject,
        resource=asked.resource,
        scopes=asked.scopes,
        now=issuer.now(),
        task=asked.task,
        authentication=signed_in.authentication,
    )
    task = asked.task and replace(asked.task, subject=signed_in.subject, approved_at=issuer.now())
    question = question_of(draft, asked.resource, Action.ISSUE, task=task, ip=trail.request.ip or "")
    check_policy(issuer.policy, question)


def _purpose(asked: AuthorizationRequest, issuer: Issuer) -> Purpose:
    return Purpose(
        action=_action(issuer),
        query=asked.query,
        client=asked.client,
        resource=asked.resource,
        redirect_uri=asked.destination.redirect_uri,
        demands=asked.demands,
    )


def _consent_binding(asked: AuthorizationRequest, terms: Terms, signed_in: SignIn) -> tuple[str, ...]:
    """What a consent form is good for: this session, this request, and exactly what was shown."""
    # The query names the task by its id, and a task never changes: what it says is bound, too.
    return CONSENT, signed_in.id_hash, asked.query, terms_digest(terms)


async def _take_consent(
    sent: Form, asked: AuthorizationRequest, terms: Terms, signed_in: SignIn, trail: Trail, issuer: Issuer
) -> Response | None:
    """The person's decision; None if this is not one, or not one on what is asked now.

    Raises: ConsentDenied, TaskRefused, StorageUnavailable, JournalUnavailable
    """
    binding = _consent_binding(asked, terms, signed_in)
    if not issuer.form_seal.is_good(sent.one("seal") or "", *binding, now=issuer.now()):
        return None
    match sent.all("decision"):
        case ("allow",):
            await _keep_consent(asked, terms, signed_in, trail, issuer)
            return await _give_code(asked, terms, signed_in, issuer)
        case ("deny",):
            raise ConsentDenied(f"`{signed_in.subject}` denied client `{asked.client.id}`")
        case _:
            return None


async def _keep_consent(
    asked: AuthorizationRequest, terms: Terms, signed_in: SignIn, trail: Trail, issuer: Issuer
) -> None:
    """Store the consent; of a task, that this person approves it, and no more.

    INVARIANT: who allows something under a task has allowed nothing without it.

    Raises: TaskRefused, StorageUnavailable, JournalUnavailable
    """
    if asked.task is None:
        await issuer.stores.consents.put(
            Consent(
                subject=signed_in.subject,
                client_id=asked.client.id,
                resource=asked.resource.uri,
                scopes=asked.scopes,
                terms=terms_digest(terms),
                granted_at=issuer.now(),
            )
        )
        return
    try:
        await issuer.tasks.approve(asked.task, subject=signed_in.subject, request=trail.request)
    except (TaskOutside, TaskSuperseded, TaskExpired) as fact:
        raise TaskRefused(fact) from None


async def _give_code(asked: AuthorizationRequest, terms: Terms, signed_in: SignIn, issuer: Issuer) -> Response:
    """A code is bound to client, redirect URI, challenge and resource; good once, for a minute.

    Spec: RFC 6749 §4.1.2
    """
    code = issuer.new_secret()
    await issuer.stores.codes.add(
        AuthorizationCode(
            code_hash=hash_code(code),
            client_id=asked.client.id,
            subject=signed_in.subject,
            redirect_uri=asked.destination.redirect_uri,
            code_challenge=asked.code_challenge,
            resource=asked.resource.uri,
            scopes=asked.scopes,
            expires_at=issuer.now() + CODE_LIFETIME,
            task=asked.task.id if asked.task is not None else None,
            terms=terms_digest(terms),
            sender=asked.sender,
            authentication=signed_in.authentication,
        )
    )
    return see_other(asked.destination.with_code(code, issuer.url))


def _action(issuer: Issuer) -> str:
    return urlsplit(issuer.endpoint("/authorize")).path
