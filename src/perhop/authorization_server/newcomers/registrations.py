"""Registrations: clients that come and say what they are, and get nothing until an owner adopts them.

Spec: RFC 7591
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from perhop.authorization_server.newcomers.key_set import read_key_set
from perhop.authorization_server.newcomers.known import MAX_REGISTRATION_BYTES, client_of
from perhop.authorization_server.newcomers.rows import RegistrationRows
from perhop.core.newcomer import Adoption, ClientMetadata, Registration, RegistrationState
from perhop.core.secret import Secret
from perhop.errors import NotFound, TooManyRegistrations
from perhop.journal.record import Event, Record, RequestFacts
from perhop.journal.writer import Journal
from perhop.rules.client_metadata import BY_SECRET, parse_members, read_registration
from perhop.rules.networks import network_of

MAX_WAITING = 100
MAX_WAITING_FROM_ONE_NETWORK = 20
WAITING_SECONDS = 24 * 3600
ID_PREFIX = "registered-"
"""No id of a person, a gateway or a document begins so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """What a registration came to; the secret is here once, and nowhere else."""

    registration: Registration
    metadata: ClientMetadata
    secret: Secret | None


class Registrations:
    """Who registered. Holds what the database holds, since every change goes through it, one at a time."""

    def __init__(self, rows: RegistrationRows, journal: Journal, *, clock: Callable[[], float]) -> None:
        self._rows = rows
        self._journal = journal
        self._clock = clock
        self._all: dict[str, Registration] = {}
        self._changing = asyncio.Lock()

    async def load(self) -> None:
        """Read them; before the first request."""
        self._all = {each.client_id: each for each in await self._rows.registrations()}

    def all(self) -> Sequence[Registration]:
        return tuple(self._all.values())

    def find(self, client_id: str) -> Registration | None:
        return self._all.get(client_id)

    def is_waiting(self, client_id: str) -> bool:
        """True while the client may still be adopted."""
        found = self._all.get(client_id)
        return found is not None and self._waits(found)

    async def register(
        self, raw: bytes, *, client_id: str, new_secret: Callable[[], str], request: RequestFacts
    ) -> Registered:
        """Keep what a client says of itself until somebody adopts it. Recorded first.

        Spec: RFC 7591 §3
        Raises: ClientMetadataInvalid, RedirectUriInvalid, TooManyRegistrations, StorageUnavailable, JournalUnavailable
        """
        members = parse_members(raw, max_bytes=MAX_REGISTRATION_BYTES)
        metadata = read_registration(members)
        if metadata.jwks is not None:
            read_key_set(metadata.jwks)
        secret = Secret(new_secret()) if metadata.method in BY_SECRET else None
        now = int(self._clock())
        registration = Registration(
            client_id=client_id,
            metadata=json.dumps(members, ensure_ascii=False, separators=(",", ":")),
            secret_sha256=hashlib.sha256(secret.reveal().encode()).hexdigest() if secret is not None else None,
            network=network_of(request.ip or "") or "",
            registered_at=now,
            lapses_at=now + WAITING_SECONDS,
        )
        async with self._changing:
            await self._lapse()
            self._check_room(registration.network)
            said, by = {"called": metadata.name}, f"client:{client_id}"
            await self._record(registration, "registered", said, by=by, request=request)
            await self._rows.add_registration(registration)
            self._all[client_id] = registration
        return Registered(registration=registration, metadata=metadata, secret=secret)

    async def adopt(self, client_id: str, adoption: Adoption) -> Registration:
        """An owner answers for it from now on. Recorded first: what gives power is never given without a record.

        Raises: NotFound, StorageUnavailable, JournalUnavailable
        """
        async with self._changing:
            registration = self._waiting(client_id)
            adopted = replace(registration, adoption=adoption)
            client_of(adopted, adoption)
            reaches = {name: list(scopes) for name, scopes in adoption.reaches.items()}
            said = {"owner": adoption.owner, "reaches": reaches, "expires": adoption.expires.isoformat()}
            await self._record(registration, "adopted", said, by=adoption.by)
            await self._rows.adopt(client_id, adoption)
            self._all[client_id] = adopted
            return adopted

    async def reject(self, client_id: str, *, why: str, by: str) -> None:
        """Forget a client that waits. Raises: NotFound, StorageUnavailable, JournalUnavailable."""
        async with self._changing:
            await self._drop(self._waiting(client_id), "rejected", by=by, why=why)

    async def lapse(self) -> None:
        """Forget those that nobody has adopted in time. Raises: StorageUnavailable, JournalUnavailable."""
        async with self._changing:
            await self._lapse()

    async def _lapse(self) -> None:
        for each in self.all():
            if each.state is RegistrationState.WAITING and not self._waits(each):
                await self._drop(each, "lapsed", by="perhop")

    def _waits(self, registration: Registration) -> bool:
        return registration.state is RegistrationState.WAITING and self._clock() < registration.lapses_at

    def _waiting(self, client_id: str) -> Registration:
        found = self._all.get(client_id)
        if found is None or not self._waits(found):
            raise NotFound(f"no client `{client_id}` waits to be adopted", advice="run `perhop client list`")
        return found

    def _check_room(self, network: str) -> None:
        waiting = [each for each in self.all() if self._waits(each)]
        if len(waiting) >= MAX_WAITING:
            raise TooManyRegistrations(f"{MAX_WAITING} clients wait to be adopted")
        if sum(each.network == network for each in waiting) >= MAX_WAITING_FROM_ONE_NETWORK:
            raise TooManyRegistrations(f"{MAX_WAITING_FROM_ONE_NETWORK} clients from `{network}` wait to be adopted")

    async def _drop(self, registration: Registration, change: str, *, by: str, **about: str) -> None:
        await self._record(registration, change, about, by=by)
        await self._rows.drop_registration(registration.client_id)
        del self._all[registration.client_id]

    async def _record(
        self,
        registration: Registration,
        change: str,
        said: Mapping[str, object],
        *,
        by: str,
        request: RequestFacts | None = None,
    ) -> None:
        owner = said.get("owner")
        await self._journal.append(
            Record(
                event=Event.CLIENT_CHANGED,
                client=registration.client_id,
                owner=owner if isinstance(owner, str) else None,
                request=request,
                about={"client": registration.client_id, "change": change, "by": by, **said},
            )
        )
