"""Tokens for a client: one per resource and set of scopes, cached, refreshed before expiry, asked for once.

Spec: RFC 6749 §4.4
Spec: RFC 8693 §2
Spec: RFC 8707 §2.2
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Self

import httpx2

from perhop.client.agent_task import AgentTask
from perhop.client.auth import TokenAuth
from perhop.client.connections import Connections
from perhop.client.credentials import NoCredential, SecretMethod, identity_of, parse_credential
from perhop.client.discovery import IssuerMetadata, discover
from perhop.client.grant import Asked, ClientCredentials, Grant
from perhop.client.kept_token import KeptToken
from perhop.client.proof_key import ProofKey
from perhop.client.single_flight import SingleFlight
from perhop.client.task_request import begin_task, task_members
from perhop.client.token_request import (
    AccessToken,
    Form,
    TokenRequest,
    ask_for_token,
    exchange_form,
    parse_access_token,
)
from perhop.core.resource import ResourceUri
from perhop.core.secret import Secret
from perhop.errors import IssuerUnavailable, SettingsError, TargetInvalid
from perhop.rules.issuer_uri import parse_issuer
from perhop.rules.resource_uri import parse_resource_uri
from perhop.tokens.keys import SigningKey

METADATA_LIFETIME = 3600.0


class TokenSource:
    """Gets tokens from one authorization server as one client.

    Exactly one of `private_key` (a `SigningKey`, or PKCS#8 PEM) and `client_secret` says who asks. `grant` is how;
    where it brings a proof of its own (`WorkloadIdentity`), the client may have no credential, and no id. With `dpop`
    every token is bound to a key of this source, and a token that is not is refused. `http` is for connections to the
    authorization server only.

    Raises: SettingsError, KeyUnusable
    """

    def __init__(
        self,
        *,
        issuer: str,
        client_id: str | None = None,
        private_key: SigningKey | bytes | None = None,
        client_secret: str | Secret | None = None,
        secret_method: SecretMethod = "client_secret_basic",
        grant: Grant | None = None,
        dpop: bool = False,
        http: httpx2.AsyncClient | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.issuer = parse_issuer(issuer)
        self.client_id = client_id
        self._grant = ClientCredentials() if grant is None else grant
        self._credential = parse_credential(private_key, client_secret, method=secret_method)
        if not self._grant.proves_itself and (isinstance(self._credential, NoCredential) or client_id is None):
            raise SettingsError(
                "a token source has exactly one credential", advice="give client_id, and private_key or client_secret"
            )
        self._connections = Connections(http)
        self._clock = clock
        self._identity = identity_of(self._credential, client_id=client_id, issuer=self.issuer, clock=clock)
        self._proofs = ProofKey(clock=clock) if dpop else None
        self._kept: dict[tuple[ResourceUri, frozenset[str] | None, str | None], KeptToken] = {}
        self._ends: dict[str, float] = {}
        self._metadata: tuple[IssuerMetadata, float] | None = None
        self._discovering = SingleFlight(self._discover)

    async def token_for(self, resource: str, scopes: Iterable[str] | None = None) -> AccessToken:
        """The client's own token for one resource, by client credentials. `scopes` None: what the server gives.

        Spec: RFC 6749 §4.4
        Raises: TokenNotGranted, IssuerUnavailable, SettingsError
        """
        return await self._keep(_resource(resource), _scopes(scopes), None).get()

    def auth_for(self, resource: str, scopes: Iterable[str] | None = None) -> TokenAuth:
        """An httpx2 `Auth` with the client's own tokens for one resource.

        Raises: SettingsError
        """
        return self._auth_for(resource, scopes, None)

    async def task(
        self,
        *,
        purpose: str,
        tools: Iterable[str],
        limits: Mapping[str, int] | None = None,
        expires_in: int = 3600,
        supersedes: str | None = None,
    ) -> AgentTask:
        """Say what is to be done, and get the means to do that and nothing else.

        `tools` are patterns, `RESOURCE/GLOB` by the names of the configuration; `limits` are `calls` and `writes`.
        `supersedes` is the id of a task of this client that ends with it.

        Spec: RFC 9396 §2
        Raises: TokenNotGranted, IssuerUnavailable, SettingsError
        """
        members = task_members(purpose, tools, limits=limits, expires_in=expires_in, supersedes=supersedes)
        endpoint = (await self._issuer_metadata()).tasks_endpoint
        if endpoint is None:
            raise IssuerUnavailable(f"metadata of `{self.issuer}` names no endpoint for tasks")
        now = self._clock()
        authorization, identity = self._identity()
        begun = await begin_task(
            self._connections.http(), endpoint, members, authorization=authorization, identity=identity, now=now
        )
        self._ends[begun.id] = begun.expires_at
        self._forget_tasks(supersedes, now=now)
        return AgentTask(
            begun,
            token_for=lambda resource, scopes: self._keep(_resource(resource), _scopes(scopes), begun.id).get(),
            auth_for=lambda resource, scopes: self._auth_for(resource, scopes, begun.id),
            supersede=self.task,
        )

    async def exchange(
        self, subject_token: str | Secret, *, resource: str, scopes: Iterable[str] | None = None
    ) -> AccessToken:
        """For a server that calls on: the caller's token becomes one for the next resource. Nothing is cached.

        Spec: RFC 8693 §2
        Raises: TokenNotGranted, IssuerUnavailable, SettingsError
        """
        uri, asked = _resource(resource), _scopes(scopes)
        return await self._request(exchange_form(_secret(subject_token), uri, asked), uri, asked)

    def onward_auth(self, subject_token: str | Secret, resource: str, scopes: Iterable[str] | None = None) -> TokenAuth:
        """An httpx2 `Auth` with exchanged tokens: for the calls that a server makes while it serves one caller.

        Spec: RFC 8693 §2
        Raises: SettingsError
        """
        uri, asked, secret = _resource(resource), _scopes(scopes), _secret(subject_token)
        kept = KeptToken(lambda: self._request(exchange_form(secret, uri, asked), uri, asked), clock=self._clock)
        return TokenAuth(uri, kept.get)

    async def aclose(self) -> None:
        """End what is under way on the running event loop, and close its connections."""
        for kept in self._kept.values():
            await kept.aclose()
        await self._discovering.aclose()
        await self._connections.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def _auth_for(self, resource: str, scopes: Iterable[str] | None, task: str | None) -> TokenAuth:
        uri = _resource(resource)
        return TokenAuth(uri, self._keep(uri, _scopes(scopes), task).get)

    def _keep(self, resource: ResourceUri, scopes: frozenset[str] | None, task: str | None) -> KeptToken:
        kept = self._kept.get((resource, scopes, task))
        if kept is None:
            kept = KeptToken(lambda: self._obtain(resource, scopes, task), clock=self._clock)
            self._kept[(resource, scopes, task)] = kept
        return kept

    def _forget_tasks(self, superseded: str | None, *, now: float) -> None:
        """Let go of the tokens of tasks that are over: an agent may begin many in its life."""
        over = {task for task, ends in self._ends.items() if ends <= now or task == superseded}
        self._ends = {task: ends for task, ends in self._ends.items() if task not in over}
        self._kept = {key: kept for key, kept in self._kept.items() if key[2] not in over}

    async def _obtain(self, resource: ResourceUri, scopes: frozenset[str] | None, task: str | None) -> AccessToken:
        form = await self._grant.form(
            Asked(issuer=self.issuer, resource=resource, scopes=scopes, task=task), http=self._connections.http()
        )
        return await self._request(form, resource, scopes)

    async def _request(self, form: Form, resource: ResourceUri, scopes: frozenset[str] | None) -> AccessToken:
        endpoint = (await self._issuer_metadata()).token_endpoint
        if endpoint is None:
            raise IssuerUnavailable(f"metadata of `{self.issuer}` names no token endpoint")
        now = self._clock()
        asked = TokenRequest(endpoint=endpoint, form=form, identity=self._identity, proofs=self._proofs)
        document = await ask_for_token(self._connections.http(), asked)
        return parse_access_token(document, asked, resource=resource, scopes=scopes, now=now)

    async def _issuer_metadata(self) -> IssuerMetadata:
        if self._metadata is not None and self._clock() < self._metadata[1]:
            return self._metadata[0]
        return await self._discovering.join()

    async def _discover(self) -> IssuerMetadata:
        metadata = await discover(self._connections.http(), self.issuer)
        self._metadata = metadata, self._clock() + METADATA_LIFETIME
        return metadata


def _secret(text: str | Secret) -> Secret:
    return text if isinstance(text, Secret) else Secret(text)


def _scopes(scopes: Iterable[str] | None) -> frozenset[str] | None:
    if isinstance(scopes, str):
        raise SettingsError("`scopes` is one text", advice="give a list of scopes")
    return None if scopes is None else frozenset(scopes)


def _resource(text: str) -> ResourceUri:
    try:
        return parse_resource_uri(text)
    except TargetInvalid as error:
        raise SettingsError(f"`{text}` is not a resource URI: {error.detail}") from error
