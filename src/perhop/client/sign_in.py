"""A person signs in to a server, in a browser, by discovery alone: from the server's challenge to a token for it.

Spec: MCP 2026-07-28 authorization
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from types import TracebackType
from typing import Self
from weakref import WeakKeyDictionary

import httpx2

from perhop.client.asks import Asks
from perhop.client.authorization_code import begin_authorization, redeem_form, refresh_form
from perhop.client.authorization_metadata import AuthorizationMetadata, discover_authorization
from perhop.client.browser import PersonsBrowser, Receiver, WayToPerson, check_authorization_url
from perhop.client.connections import Connections
from perhop.client.credentials import identity_of
from perhop.client.place import Place, find_place
from perhop.client.proof_key import ProofKey
from perhop.client.registered_client import RegisteredClient
from perhop.client.registration import Program, known_client, parse_client_document, register
from perhop.client.resource_metadata import ResourceMetadata
from perhop.client.sign_in_auth import Means, ServerChallenge, SignInAuth
from perhop.client.store import MemoryStore, SignedIn, Store
from perhop.client.token_request import AccessToken, Form, TokenRequest, ask_for_token, parse_access_token
from perhop.core.secret import Secret
from perhop.errors import IssuerUnavailable, SettingsError, TargetInvalid, TokenNotGranted
from perhop.rules.authorization_answer import read_authorization_answer
from perhop.rules.resource_uri import parse_resource_uri
from perhop.rules.scope_choice import OFFLINE_ACCESS, choose_scopes

_UNKNOWN_CLIENT = ("invalid_client", "unauthorized_client")


class SignIn:
    """One person at one server.

    `server` is the URL of the server's MCP endpoint; everything else it says itself. `name` is what people are shown.
    `clients` are what this program is registered as, each at its issuer; `client_document` is the https address of its
    client id metadata document; a program with neither registers itself where that is offered. `person` is the way to
    the person, their browser by default. Tokens are kept in `store`, in memory by default. Tokens that are bound to a
    key are asked for where server and authorization server both take them; with `dpop` True nothing else is taken, with
    False they are not asked for.
    `is_old_server` allows what servers of MCP 2025-03-26 did: no metadata of their own. `http` is for metadata and
    authorization servers only.

    Raises: SettingsError
    """

    def __init__(
        self,
        server: str,
        *,
        name: str = "An MCP client",
        clients: Iterable[RegisteredClient] = (),
        client_document: str | None = None,
        person: WayToPerson | None = None,
        store: Store | None = None,
        dpop: bool | None = None,
        is_old_server: bool = False,
        http: httpx2.AsyncClient | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        try:
            self.server = parse_resource_uri(server)
        except TargetInvalid as error:
            raise SettingsError(f"`{server}` is no URL of a server: {error.detail}") from error
        self._program = Program(name=name, clients=tuple(clients), document=parse_client_document(client_document))
        self._person = PersonsBrowser() if person is None else person
        self._store = MemoryStore() if store is None else store
        self._dpop = dpop
        self._is_old = is_old_server
        self._connections = Connections(http)
        self._clock = clock
        self._asks = Asks()
        self._locks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()

    @property
    def asks(self) -> int:
        """How often the person was asked so far."""
        return self._asks.total

    def auth(self) -> SignInAuth:
        """An httpx2 `Auth` for the server, and for nothing else."""
        return SignInAuth(self.server, self)

    def sign_out(self) -> None:
        """Forget the tokens for this server. They are not revoked: an access token dies within its lifetime."""
        self._store.forget(self.server)

    async def held(self) -> AccessToken | None:
        """The token that is kept, made fresh if it is old and can be.

        Raises: IssuerUnavailable
        """
        kept = self._store.signed_in(self.server)
        if kept is None or self._clock() < kept.access.refresh_at:
            return kept.access if kept is not None else None
        async with self._alone():
            kept = self._store.signed_in(self.server)
            if kept is None or self._clock() < kept.access.refresh_at:
                return kept.access if kept is not None else None
            return await self._refreshed(kept) or self._still_good(kept)

    async def renew(self, challenge: ServerChallenge, refused: AccessToken | None, means: Means) -> AccessToken | None:
        """Another token than the one that was refused: the one that somebody else got meanwhile, else by the refresh
        token, else by the person, as far as these means go.

        Raises: see `SignInAuth.async_auth_flow`
        """
        async with self._alone():
            kept = self._store.signed_in(self.server)
            if kept is not None and (refused is None or kept.access.raw != refused.raw) and self._still_good(kept):
                return kept.access
            if means is Means.NONE:
                return None
            place = await self._find(challenge)
            if means is Means.ANY and kept is not None and kept.issuer in place.resource.issuers:
                renewed = await self._refreshed(kept)
                if renewed is not None:
                    return renewed
            return await self._ask_person(place, challenge, held=frozenset() if kept is None else kept.asked)

    async def widen(self, challenge: ServerChallenge, refused: AccessToken) -> AccessToken | None:
        """A token with the scopes, or of the sign-in, of the challenge; None if that was asked for before.

        Of scopes, those of before stay. A refresh is no sign-in: the person is asked.

        Spec: MCP 2026-07-28 authorization
        Spec: RFC 9470 §4
        Raises: see `SignInAuth.async_auth_flow`
        """
        async with self._alone():
            kept = self._store.signed_in(self.server)
            if kept is not None and kept.access.raw != refused.raw and self._still_good(kept):
                return kept.access
            held = refused.scopes if kept is None else kept.asked
            if not self._may_ask(challenge, held):
                return None
            return await self._ask_person(await self._find(challenge), challenge, held=held)

    def _may_ask(self, challenge: ServerChallenge, held: frozenset[str]) -> bool:
        if challenge.sign_in is not None:
            return self._asks.may_step_up(challenge.sign_in, now=self._clock())
        return bool(challenge.scopes) and self._asks.may_widen(challenge.scopes | held)

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        await self._connections.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _find(self, challenge: ServerChallenge) -> Place:
        return await find_place(
            self._connections.http(),
            self.server,
            challenge_url=challenge.metadata_url,
            program=self._program,
            store=self._store,
            is_old_server=self._is_old,
        )

    async def _ask_person(self, place: Place, challenge: ServerChallenge, *, held: frozenset[str]) -> AccessToken:
        """The way of the person to the authorization server and back, and the token for what they come back with."""
        scopes = choose_scopes(
            challenge.scopes, of_resource=place.resource.scopes, held=held, of_issuer=place.metadata.scopes
        )
        self._asks.note(scopes, challenge.sign_in, now=self._clock())
        proofs = self._proofs(place, challenge)
        registered = self._store.client(place.metadata.issuer)
        before = registered.redirect_uri if registered is not None else None
        async with self._person.receiving(before) as receiver:
            client = await self._client(place.metadata, receiver)
            request = begin_authorization(
                place.metadata,
                client_id=client.client_id,
                redirect_uri=receiver.redirect_uri,
                indicator=place.resource.indicator,
                scopes=scopes,
                state=secrets.token_urlsafe(32),
                verifier=Secret(secrets.token_urlsafe(48)),
                proof_thumbprint=None if proofs is None else proofs.thumbprint,
                wanted=challenge.sign_in,
            )
            check_authorization_url(request.url)
            code = read_authorization_answer(
                await receiver.answer_to(request.url, request.expected.state), request.expected
            )
            return await self._obtain(place, client, redeem_form(code, request), scopes, held, proofs)

    def _proofs(self, place: Place, challenge: ServerChallenge) -> ProofKey | None:
        proofs = ProofKey(clock=self._clock)
        is_taken = proofs.algorithm in place.metadata.proof_algorithms and (
            challenge.takes_proofs or proofs.algorithm in place.resource.proof_algorithms
        )
        is_wanted = is_taken or place.resource.needs_proofs if self._dpop is None else self._dpop
        return proofs if is_wanted else None

    async def _client(self, metadata: AuthorizationMetadata, receiver: Receiver) -> RegisteredClient:
        """Who we are at this server; a registration that was made for another address than ours now is made anew."""
        known = known_client(self._program, metadata)
        if known is not None:
            return known
        registered = self._store.client(metadata.issuer)
        if registered is None or registered.redirect_uri != receiver.redirect_uri:
            registered = await register(
                self._connections.http(), metadata, self._program, redirect_uri=receiver.redirect_uri
            )
            self._store.keep_client(registered)
        return registered

    async def _refreshed(self, kept: SignedIn) -> AccessToken | None:
        """The next token by the refresh token; None if there is none, or it is good no more."""
        if kept.refresh is None:
            return None
        http = self._connections.http()
        try:
            metadata = await discover_authorization(http, kept.issuer, has_old_defaults=self._is_old)
            client = self._client_of(kept, metadata)
            if client is None:
                return None
            resource = ResourceMetadata(resource=kept.access.resource, indicator=kept.indicator, issuers=(kept.issuer,))
            form = refresh_form(kept.refresh, kept.indicator)
            return await self._obtain(
                Place(resource, metadata), client, form, kept.access.scopes, kept.asked, kept.access.proofs, kept
            )
        except TokenNotGranted:
            self._store.keep(self.server, replace(kept, refresh=None))
            return None
        except IssuerUnavailable:
            if self._still_good(kept) is None:
                raise
            return None

    def _client_of(self, kept: SignedIn, metadata: AuthorizationMetadata) -> RegisteredClient | None:
        known = known_client(self._program, metadata) or self._store.client(kept.issuer)
        return known if known is not None and known.client_id == kept.client_id else None

    async def _obtain(
        self,
        place: Place,
        client: RegisteredClient,
        form: Form,
        scopes: frozenset[str] | None,
        held: frozenset[str],
        proofs: ProofKey | None,
        kept: SignedIn | None = None,
    ) -> AccessToken:
        now = self._clock()
        identity = identity_of(
            client.credential, client_id=client.client_id, issuer=place.metadata.issuer, clock=self._clock
        )
        asked = TokenRequest(endpoint=place.metadata.token_endpoint, form=form, identity=identity, proofs=proofs)
        try:
            document = await ask_for_token(self._connections.http(), asked)
        except TokenNotGranted as error:
            if error.error in _UNKNOWN_CLIENT:
                self._store.forget_client(place.metadata.issuer)
            raise
        access = parse_access_token(document, asked, resource=place.resource.resource, scopes=scopes, now=now)
        refresh = document.get("refresh_token")
        self._store.keep(
            self.server,
            SignedIn(
                issuer=place.metadata.issuer,
                client_id=client.client_id,
                indicator=place.resource.indicator,
                access=access,
                refresh=Secret(refresh) if isinstance(refresh, str) else kept.refresh if kept is not None else None,
                asked=(held | (scopes or frozenset())) - {OFFLINE_ACCESS},
            ),
        )
        return access

    def _still_good(self, kept: SignedIn) -> AccessToken | None:
        return kept.access if self._clock() < kept.access.expires_at else None

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        lock = self._locks.setdefault(asyncio.get_running_loop(), asyncio.Lock())
        async with lock, self._store.alone():
            yield
