"""Tokens that an operator asks for at the machine itself (`perhop token issue`): the rules of client credentials,
without the client's own authentication, which whoever may open the database does not need.
"""

from __future__ import annotations

from collections.abc import Sequence

from perhop.authorization_server.grants.client_credentials import authorize_client
from perhop.authorization_server.issue import check_policy, issue, question_of
from perhop.authorization_server.issuer import Issuer
from perhop.authorization_server.sender import bind_sender, use_sent_proof
from perhop.authorization_server.trail import reason_of
from perhop.core.call import Action
from perhop.core.client import Client
from perhop.core.token import MintedToken
from perhop.errors import NotFound, Refused, Unavailable
from perhop.journal.record import Event, Record
from perhop.rules.resource_uri import parse_resource_uri
from perhop.rules.scope import parse_scope

_ABOUT = {"by": "operator"}


async def issue_for_operator(
    issuer: Issuer, *, client_id: str, resource: str, scopes: Sequence[str] | None = None
) -> MintedToken:
    """Issue a token for a client as client credentials would; `resource` is a name or a URI. A refusal is recorded too.

    Raises: NotFound, ClientDisabled, ClientExpired, GrantTypeNotAllowed, TargetInvalid, TargetForbidden,
        TargetUndecidable, ScopeInvalid, OwnerMissing, TokenProofRefused, StorageUnavailable, JournalUnavailable
    """
    client = issuer.registry.clients.get(client_id)
    if client is None:
        raise NotFound(f"there is no client `{client_id}`", advice="see `perhop client list`")
    try:
        return await _issue(issuer, client, resource, scopes or ())
    except (Refused, Unavailable) as fact:
        await issuer.journal.append(
            Record(
                event=Event.TOKEN_REFUSED,
                reason=reason_of(fact),
                client=client_id,
                detail=fact.detail or None,
                about=_ABOUT,
            )
        )
        raise


async def _issue(issuer: Issuer, client: Client, resource: str, scopes: Sequence[str]) -> MintedToken:
    now = issuer.now()
    issuer.standing.check_client(client, issuer.registry, now=now)
    named = issuer.registry.resources.get(resource)
    target = named.uri if named is not None else parse_resource_uri(resource)
    await use_sent_proof(None, client, issuer)  # an operator has no key of the client's to prove
    authorized = authorize_client(client, target, parse_scope(" ".join(scopes)), issuer, now=now, details=None)
    authorized = bind_sender(authorized, None)
    check_policy(issuer.policy, question_of(authorized.draft, authorized.resource, Action.ISSUE, task=None))
    return await issue(authorized, issuer, about=_ABOUT)
