"""The authorization request: first where an answer may go at all, then whether the request is good.

Until client and redirect URI are known to belong together nothing is redirected anywhere.

Spec: RFC 6749 §4.1.1
Spec: RFC 7636 §4.3
Spec: RFC 8707 §2.1
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from perhop.authorization_server.form import Form
from perhop.authorization_server.grants.client_credentials import default_target, reach, reachable
from perhop.authorization_server.grants.named_task import find_named_task
from perhop.authorization_server.interaction.demands import NO_DEMANDS, Demands, parse_demands
from perhop.authorization_server.issuer import Issuer
from perhop.core.client import Client, GrantType
from perhop.core.resource import Resource
from perhop.core.task import Task
from perhop.errors import (
    AuthorizeClientNotAllowed,
    AuthorizeClientUnadopted,
    AuthorizeRefused,
    AuthorizeRequestMalformed,
    ClientDocumentRefused,
    ClientUnadopted,
    RedirectRefused,
    Refused,
    ResponseTypeUnsupported,
)
from perhop.rules.dpop import is_thumbprint
from perhop.rules.pkce import check_code_challenge
from perhop.rules.redirect_uri import check_redirect_uri
from perhop.rules.resource_indicators import resolve_target
from perhop.rules.scope import narrow, parse_scope

MAX_REQUEST_BYTES = 8 * 1024

_REDIRECTED = frozenset({"invalid_target", "invalid_scope", "invalid_request", "invalid_authorization_details"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where answers go: a redirect URI of this client. `state` is the client's own, sent back as it came."""

    client: Client
    redirect_uri: str
    state: str | None

    def with_code(self, code: str, issuer: str) -> str:
        """The URL that carries a code. Spec: RFC 6749 §4.1.2, RFC 9207 §2."""
        return self._with({"code": code}, issuer)

    def with_error(self, fact: Refused, issuer: str) -> str:
        """The URL that carries a refusal. Spec: RFC 6749 §4.1.2.1, RFC 9207 §2."""
        return self._with({"error": fact.error, "error_description": fact.description}, issuer)

    def _with(self, answer: dict[str, str], issuer: str) -> str:
        parameters = {**answer, **({"state": self.state} if self.state is not None else {}), "iss": issuer}
        return f"{self.redirect_uri}{'&' if '?' in self.redirect_uri else '?'}{urlencode(parameters)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationRequest:
    """A good request: what a person may be asked to allow. `query` is the request as it came.

    `task` is this client's and in force; whether it is another person's is not known yet. `sender` is the thumbprint of
    the key that alone may redeem the code.
    """

    destination: Destination
    resource: Resource
    scopes: frozenset[str]
    code_challenge: str
    query: str
    task: Task | None = None
    sender: str | None = None
    demands: Demands = NO_DEMANDS

    @property
    def client(self) -> Client:
        return self.destination.client


async def know_client(form: Form, issuer: Issuer) -> None:
    """Make a client known that nobody wrote into the configuration; of one that cannot be, the person is told.

    Raises: RedirectRefused, AuthorizeClientUnadopted
    """
    try:
        await issuer.newcomers.resolve(form.one("client_id") or "")
    except ClientDocumentRefused as fact:
        raise RedirectRefused(fact.detail) from None
    except ClientUnadopted as fact:
        raise AuthorizeClientUnadopted(fact.detail) from None


def parse_destination(form: Form, issuer: Issuer) -> Destination:
    """Where the answer may go; if there is no such place, the person is told and nothing is sent.

    `redirect_uri` is required, even of a client that has one only.

    Spec: RFC 6749 §3.1.2.4
    Raises: RedirectRefused
    """
    if form.is_repeated("client_id") or form.is_repeated("redirect_uri"):
        raise RedirectRefused("`client_id` or `redirect_uri` is repeated")
    client_id, redirect_uri = form.one("client_id"), form.one("redirect_uri")
    client = issuer.registry.clients.get(client_id or "")
    if client is None or redirect_uri is None:
        raise RedirectRefused(f"client_id `{(client_id or '')[:128]}` is unknown, or there is no `redirect_uri`")
    check_redirect_uri(redirect_uri, client.redirect_uris)
    state = None if form.is_repeated("state") else form.one("state")
    return Destination(client=client, redirect_uri=redirect_uri, state=state)


def parse_authorization_request(
    form: Form, query: str, destination: Destination, issuer: Issuer
) -> AuthorizationRequest:
    """Read and check the request: parameters -> response type -> client -> PKCE -> one resource -> scopes -> task.

    Spec: RFC 6749 §4.1.2.1
    Raises: AuthorizeRequestMalformed, ResponseTypeUnsupported, AuthorizeClientNotAllowed, TargetMissing,
        TargetMultiple, TargetInvalid, ScopeInvalid, OwnerMissing, DetailsMalformed, TaskRefused, TargetOutsideTask
    """
    client = destination.client
    _check_parameters(form)
    if GrantType.AUTHORIZATION_CODE not in client.grants:
        raise AuthorizeClientNotAllowed(f"client `{client.id}` may not use authorization codes")
    challenge = form.one("code_challenge")
    check_code_challenge(challenge, form.one("code_challenge_method"))
    target = resolve_target(
        form.all("resource"), audience_values=form.all("audience"), default=default_target(client, issuer)
    )
    resource = reachable(client, target, issuer)
    return AuthorizationRequest(
        destination=destination,
        resource=resource,
        scopes=narrow(parse_scope(form.one("scope")), reach(client, resource)),
        code_challenge=challenge or "",
        query=query,
        task=find_named_task(form.one("authorization_details"), client, resource, issuer),
        sender=_parse_key(form.one("dpop_jkt")),
        demands=parse_demands(form),
    )


def _parse_key(thumbprint: str | None) -> str | None:
    """The key that the client means to redeem the code with. Spec: RFC 9449 §10.

    Raises: AuthorizeRequestMalformed
    """
    if thumbprint is not None and not is_thumbprint(thumbprint):
        raise AuthorizeRequestMalformed("`dpop_jkt` is not the thumbprint of a key")
    return thumbprint


def _check_parameters(form: Form) -> None:
    repeated = sorted(name for name in form.values if name != "resource" and form.is_repeated(name))
    if repeated:
        raise AuthorizeRequestMalformed(f"repeated: {', '.join(f'`{name[:64]}`' for name in repeated)}")
    response_type = form.one("response_type")
    if response_type is None:
        raise AuthorizeRequestMalformed("`response_type` is missing")
    if response_type != "code":
        raise ResponseTypeUnsupported(f"`{response_type[:64]}`")
    if form.one("response_mode") not in (None, "query"):
        raise AuthorizeRequestMalformed("`response_mode` is not `query`")


def is_redirectable(fact: Refused) -> bool:
    """True for facts whose `error` is one that an authorization response may carry.

    Spec: RFC 6749 §4.1.2.1
    Spec: RFC 9396 §5
    """
    return isinstance(fact, AuthorizeRefused) or fact.error in _REDIRECTED
