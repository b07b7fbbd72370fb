"""Authorization code: what a person allowed at `/authorize`, redeemed once by the one who asked.

Spec: RFC 6749 §4.1.3
Spec: RFC 7636 §4.6
Spec: RFC 8707 §2.2
"""

from __future__ import annotations

from typing import assert_never

from perhop.authorization_server.codes import CODE_LIFETIME, hash_code
from perhop.authorization_server.drafts import draft_first
from perhop.authorization_server.grants.asked import Asked
from perhop.authorization_server.grants.client_credentials import reach, reachable
from perhop.authorization_server.grants.named_task import check_same_task, consented_task
from perhop.authorization_server.interaction.consent import terms_digest, terms_of
from perhop.authorization_server.issue import Authorized
from perhop.authorization_server.issuer import Issuer
from perhop.authorization_server.people import may_consent
from perhop.authorization_server.refresh_families import (
    FAMILY_LIFETIME,
    NextRefreshToken,
    RefreshFamily,
    next_refresh_token,
)
from perhop.authorization_server.revocation import RevokedObject
from perhop.authorization_server.store import AuthorizationCode, Consumed, Replayed
from perhop.core.client import Client, GrantType
from perhop.core.resource import Resource
from perhop.core.secret import Secret
from perhop.errors import CodeInvalid, CodeOfAnotherKey, CodeOfTaskOver, CodeReplayed
from perhop.rules.pkce import check_code_verifier
from perhop.rules.resource_indicators import resolve_granted_target
from perhop.rules.resource_uri import parse_resource_uri
from perhop.rules.revocation import RevocationKind
from perhop.rules.scope import narrow, parse_scope


async def authorize(asked: Asked, issuer: Issuer) -> Authorized:
    """Redeem a code: single use -> client -> redirect URI -> verifier -> key -> resource -> task -> revoked -> scopes.

    A code that comes to the wrong client, or with another key, is spent all the same.

    Spec: RFC 6749 §4.1.3
    Spec: RFC 9449 §10
    Raises: CodeInvalid, CodeReplayed, CodeOfAnotherKey, TargetMultiple, TargetInvalid, ScopeInvalid,
        TokenRequestMalformed, OwnerMissing, DetailsMalformed, TaskRefused, CodeOfTaskOver, StorageUnavailable,
        JournalUnavailable
    """
    hashed = hash_code(asked.form.required("code"))
    code = await _consume(hashed, issuer)
    _check_code(code, asked)
    target = resolve_granted_target(
        asked.form.all("resource"),
        granted=parse_resource_uri(code.resource),
        audience_values=asked.form.all("audience"),
    )
    resource = reachable(asked.client, target, issuer)
    # Before revocations: what ended with its task says so.
    task = consented_task(code.task, client=code.client_id, subject=code.subject, over=CodeOfTaskOver, issuer=issuer)
    _check_revocations(code, resource, issuer)
    await _check_person(code, asked.client, resource, issuer)
    # The client may reach less now than when the person was asked.
    scopes = narrow(parse_scope(asked.form.one("scope")), code.scopes & reach(asked.client, resource))
    check_same_task(asked.form.one("authorization_details"), code.task)
    draft = draft_first(
        issuer,
        client_id=asked.client.id,
        subject=code.subject,
        resource=resource,
        scopes=scopes,
        now=asked.now,
        task=task,
        authentication=code.authentication,
    )
    return Authorized(
        draft=draft, resource=resource, code_hash=hashed, refresh=_first_refresh_token(code, asked, resource, issuer)
    )


async def _consume(hashed: str, issuer: Issuer) -> AuthorizationCode:
    """The code, for its first redeemer; a second one takes the tokens of the first with it. Spec: RFC 6749 §4.1.2."""
    match await issuer.stores.codes.consume(hashed):
        case Consumed(code=code):
            return code
        case Replayed(jtis=jtis, family=family):
            why = "its authorization code came twice"
            if family is not None:
                await issuer.revoker.end_family(family, why=why, by="perhop")
            else:
                for jti in jtis:
                    await issuer.revoker.revoke(RevokedObject.TOKEN, jti, why=why, by="perhop")
            raise CodeReplayed(f"the code was used before; {len(jtis)} tokens are revoked")
        case None:
            raise CodeInvalid("the code is not known")
        case unexpected:
            assert_never(unexpected)


def _first_refresh_token(
    code: AuthorizationCode, asked: Asked, resource: Resource, issuer: Issuer
) -> NextRefreshToken | None:
    """The token with which a family begins, if the client may use it. The family has all that the person allowed.

    Spec: RFC 6749 §4.1.4
    Spec: RFC 9449 §5
    """
    if GrantType.REFRESH_TOKEN not in asked.client.grants or code.terms is None:
        return None
    family = RefreshFamily(
        id=issuer.new_id(),
        client_id=code.client_id,
        subject=code.subject,
        resource=code.resource,
        scopes=code.scopes,
        terms=code.terms,
        began_at=asked.now,
        expires_at=asked.now + FAMILY_LIFETIME,
        tenant=resource.tenant,
        task=code.task,
        # A client that can authenticate is bound by that; of a public one, the key is all that there is.
        sender=asked.key if asked.client.is_public else None,
        authentication=code.authentication,
    )
    return next_refresh_token(family, Secret(issuer.new_secret()), now=asked.now)


def _check_code(code: AuthorizationCode, asked: Asked) -> None:
    if asked.now >= code.expires_at:
        raise CodeInvalid("the code has expired")
    if code.client_id != asked.client.id:
        raise CodeInvalid(f"the code was given to client `{code.client_id}`")
    if asked.form.one("redirect_uri") != code.redirect_uri:
        raise CodeInvalid("`redirect_uri` is not the one that the code was sent to")
    check_code_verifier(asked.form.one("code_verifier"), code.code_challenge)
    if code.sender not in (None, asked.key):
        raise CodeOfAnotherKey("`dpop_jkt` named another key when the code was asked for")


async def _check_person(code: AuthorizationCode, client: Client, resource: Resource, issuer: Issuer) -> None:
    """Refuse unless the person is there still, and what was allowed is what would be asked now: as a refresh does.

    Raises: CodeInvalid, StorageUnavailable
    """
    if not await may_consent(code.subject, issuer):
        raise CodeInvalid(f"`{code.subject}` has no account that may sign in")
    if code.terms not in (None, terms_digest(terms_of(client, resource, code.scopes, "", issuer.registry))):
        raise CodeInvalid("what the person was shown has changed since")


def _check_revocations(code: AuthorizationCode, resource: Resource, issuer: Issuer) -> None:
    """A revocation after the person's consent stops the code as it would have stopped its token."""
    issued_at = code.expires_at - CODE_LIFETIME
    names = (
        (RevocationKind.SUBJECT, code.subject),
        (RevocationKind.AGENT, code.client_id),
        (RevocationKind.RESOURCE, code.resource),
        (RevocationKind.TENANT, resource.tenant or ""),
        (RevocationKind.TASK, code.task or ""),
    )
    if any(issuer.revocations.covers(kind, value, issued_at=issued_at) for kind, value in names):
        raise CodeInvalid("what the code stands for was revoked since it was given")
