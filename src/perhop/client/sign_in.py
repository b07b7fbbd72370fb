"""A person signs in to a server, in a browser, by discovery alone: from the server's challenge to a token for it.

Spec: MCP 2026-07-28 authorization
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import replace
from types import TracebackType
from typing import Any, Self
from weakref import WeakKeyDictionary

import httpx2

from perhop.client.asks import Asks
from perhop.client.auth import check_server
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
from perhop.client.single_flight import SingleFlight
from perhop.client.store import MemoryStore, SignedIn, Store
from perhop.client.token_request import AccessToken, Form, TokenRequest, ask_for_token, parse_access_token
from perhop.core.secret import Secret
from perhop.errors import (
    IssuerUnavailable,
    PkceUnsupported,
    SenderConstraintMissing,
    SettingsError,
    TargetInvalid,
    TokenNotGranted,
)
from perhop.rules.authorization_answer import read_authorization_answer
from perhop.rules.resource_uri import parse_resource_uri
from perhop.rules.scope_choice import OFFLINE_ACCESS, choose_scopes

_UNKNOWN_CLIENT = ("invalid_client", "unauthorized_client")
_OVER = "invalid_grant"
"""What says that a refresh token is good no more. Spec: RFC 6749 §5.2."""
_NOT_NOW = ("temporarily_unavailable", "server_error", "slow_down")


class SignIn:
    """One person at one server.

    `server` is the URL of the server's MCP endpoint, https or on this machine; everything else it says itself. `name`
    is what people are shown.
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
        check_server(self.server)
        self._program = Program(name=name, clients=tuple(clients), document=parse_client_document(client_document))
        self._person = PersonsBrowser() if person is None else person
        self._store = MemoryStore() if store is None else store
        self._dpop = dpop
        self._is_old = is_old_server
        self._connections = Connections(http)
        self._clock = clock
        self._asks = Asks()
        self._turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()
        self._locks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()
        self._under_way: set[asyncio.Task[AccessToken | None]] = set()

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

        Raises: IssuerUnavailable, TokenNotGranted, PkceUnsupported, SenderConstraintMissing
        """
        kept = self._store.signed_in(self.server)
        if kept is None or self._clock() < kept.access.refresh_at:
            return kept.access if kept is not None else None
        return await self._to_its_end(lambda: self._refreshed(kept.access)) or self._still_good(kept)

    async def renew(self, challenge: ServerChallenge, refused: AccessToken | None, means: Means) -> AccessToken | None:
        """Another token than the one that was refused: the one that somebody else got meanwhile, else by the refresh
        token, else by the person, as far as these means go.

        Raises: see `SignInAuth.async_auth_flow`
        """
        async with self._turn():
            another = self._another(refused)
            if another is not None or means is Means.NONE:
                return another
            place = await self._find(challenge)
            kept = self._store.signed_in(self.server)
            if means is Means.ANY and kept is not None and kept.issuer in place.resource.issuers:
                renewed = await self._to_its_end(lambda: self._refreshed(kept.access))
                if renewed is not None:
                    return renewed
            held = frozenset() if kept is None else kept.asked
            return await self._ask_person(place, challenge, refused, held=held)

    async def widen(self, challenge: ServerChallenge, refused: AccessToken) -> AccessToken | None:
        """A token with the scopes, or of the sign-in, of the challenge; None if that was asked for before.

        Of scopes, those of before stay. A refresh is no sign-in: the person is asked.

        Spec: MCP 2026-07-28 authorization
        Spec: RFC 9470 §4
        Raises: see `SignInAuth.async_auth_flow`
        """
        async with self._turn():
            another = self._another(refused)
            if another is not None:
                return another
            kept = self._store.signed_in(self.server)
            held = refused.scopes if kept is None else kept.asked
            if not self._may_ask(challenge, held):
                return None
            return await self._ask_person(await self._find(challenge), challenge, refused, held=held)

    def _may_ask(self, challenge: ServerChallenge, held: frozenset[str]) -> bool:
        if challenge.sign_in is not None:
            return self._asks.may_step_up(challenge.sign_in, now=self._clock())
        return bool(challenge.scopes) and self._asks.may_widen(challenge.scopes | held)

    async def aclose(self) -> None:
        """Let what is under way at a token endpoint come to its end, and close the connections of this event loop."""
        await self._settle()
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

    async def _ask_person(
        self, place: Place, challenge: ServerChallenge, refused: AccessToken | None, *, held: frozenset[str]
    ) -> AccessToken | None:
        """The way of the person to the authorization server and back, and the token for what they come back with.

        Whoever waited for somebody else to be asked takes what that has brought.
        """
        async with self._store.asking():
            await self._settle()  # a call that was cut off may have left a code to be redeemed
            another = self._another(refused)
            if another is not None:
                return another
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
                form = redeem_form(code, request)
                return await self._to_its_end(lambda: self._obtain(place, client, form, scopes, held, proofs))

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

    async def _refreshed(self, old: AccessToken) -> AccessToken | None:
        """The token after this one, which somebody else may have got already; None if it takes the person to get one.

        A refresh token is forgotten only where it is said to be over: what fails for now is tried again.
        """
        another = self._another(old)
        kept = self._store.signed_in(self.server)
        if another is not None or kept is None or kept.refresh is None:
            return another
        try:
            metadata = await discover_authorization(
                self._connections.http(), kept.issuer, has_old_defaults=self._is_old
            )
            client = self._client_of(kept, metadata)
            if client is None:
                return None
            resource = ResourceMetadata(resource=kept.access.resource, indicator=kept.indicator, issuers=(kept.issuer,))
            form = refresh_form(kept.refresh, kept.indicator)
            return await self._obtain(
                Place(resource, metadata), client, form, kept.access.scopes, kept.asked, kept.access.proofs, kept
            )
        except (TokenNotGranted, IssuerUnavailable, PkceUnsupported, SenderConstraintMissing) as error:
            code = error.error if isinstance(error, TokenNotGranted) else None
            if code == _OVER:
                self._keep(replace(kept, refresh=None), kept)
            if self._still_good(kept) is None and (code is None or code in _NOT_NOW):
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
        signed_in = SignedIn(
            issuer=place.metadata.issuer,
            client_id=client.client_id,
            indicator=place.resource.indicator,
            access=access,
            refresh=Secret(refresh) if isinstance(refresh, str) else kept.refresh if kept is not None else None,
            asked=(held | (scopes or frozenset())) - {OFFLINE_ACCESS},
        )
        self._keep(signed_in, kept)
        return access

    def _keep(self, signed_in: SignedIn, before: SignedIn | None) -> None:
        """Keep what comes after `before`; nothing, if the person has signed out meanwhile."""
        if before is None or self._store.signed_in(self.server) is not None:
            self._store.keep(self.server, signed_in)

    def _another(self, refused: AccessToken | None) -> AccessToken | None:
        """The token that is kept, if it is not this one, and still good."""
        kept = self._store.signed_in(self.server)
        if kept is None or (refused is not None and kept.access.raw == refused.raw):
            return None
        return self._still_good(kept)

    def _still_good(self, kept: SignedIn) -> AccessToken | None:
        return kept.access if self._clock() < kept.access.expires_at else None

    def _turn(self) -> asyncio.Lock:
        """What the calls of this event loop hold one after the other, so that a person is asked once for all."""
        return self._turns.setdefault(asyncio.get_running_loop(), asyncio.Lock())

    async def _to_its_end(self, work: Callable[[], Coroutine[Any, Any, AccessToken | None]]) -> AccessToken | None:
        """The result of work at a token endpoint, done alone, and to its end even if whoever waits for it goes away.

        INVARIANT: what a token endpoint has given is kept. A refresh token that was replaced, and is shown again
        since its successor was lost, ends the sign-in.

        Spec: RFC 9700 §4.14.2
        """

        async def alone() -> AccessToken | None:
            lock = self._locks.setdefault(asyncio.get_running_loop(), asyncio.Lock())
            async with lock, self._store.alone():
                return await work()

        task = SingleFlight(alone).launch()
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return await asyncio.shield(task)

    async def _settle(self) -> None:
        under_way = [task for task in self._under_way if task.get_loop() is asyncio.get_running_loop()]
        if under_way:
            await asyncio.wait(under_way)
