"""The directory of newcomers: who is known beside the configuration's clients, and how somebody becomes known.

`clients` and `client_keys` are looked at after the configuration's own, by whoever looks a client up; nothing else
changes for them. An id that the configuration defines is never looked up here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from perhop.authorization_server.newcomers.documents import Documents
from perhop.authorization_server.newcomers.guarded_fetch import GuardedFetch
from perhop.authorization_server.newcomers.known import Known, know_document, know_registration, rule_for
from perhop.authorization_server.newcomers.registrations import Registrations
from perhop.authorization_server.newcomers.rows import NewcomerRows
from perhop.core.client import Client, Origin
from perhop.core.newcomer import Admission, Adoption, Registration, StoredDocument
from perhop.errors import ClientDocumentRefused, ClientUnadopted
from perhop.journal.record import Event, Record
from perhop.journal.writer import Journal
from perhop.rules.client_id_url import host_of, is_client_id_url, parse_client_id_url
from perhop.tokens.keys import VerifyKey

MAX_PASSING = 1000
"""Documents that were read and by which nothing was issued: anybody may have them read."""
KEPT_SECONDS = 30 * 24 * 3600
"""How long a document is kept after something was last issued by it; no token lives as long."""
NOTE_USE_SECONDS = 3600


class Newcomers:
    """Newcomers, by the admission of now."""

    def __init__(
        self,
        *,
        rows: NewcomerRows,
        journal: Journal,
        clock: Callable[[], float],
        fetch: GuardedFetch,
    ) -> None:
        self._rows = rows
        self._journal = journal
        self._clock = clock
        self._documents = Documents(fetch, clock=clock)
        self._stored: dict[str, StoredDocument] = {}
        self._kept: dict[str, str] = {}
        self._defined: Collection[str] = ()
        self.admission = Admission()
        self.registrations = Registrations(rows, journal, clock=clock)
        self.clients: dict[str, Client] = {}
        self.client_keys: dict[str, Mapping[str, VerifyKey]] = {}

    async def load(self) -> None:
        """Read what is kept; before the first request. Nobody is known by it until an admission is taken."""
        await self.registrations.load()
        self._stored = {each.client_id: each for each in await self._rows.documents()}
        self._kept = {each.client_id: each.sha256 for each in self._stored.values()}

    def take(self, admission: Admission, *, defined: Collection[str]) -> None:
        """Go by these rules from now on; whom they do not admit is not known any more, at once."""
        self.admission, self._defined = admission, defined
        self._documents.forget_failures()
        self.clients.clear()
        self.client_keys.clear()
        for stored in tuple(self._stored.values()):
            self._know(know_document(stored, self.admission))
            if stored.client_id not in self.clients and stored.used_at is None:
                self._drop(stored.client_id)
        for registration in self.registrations.all():
            self._know(know_registration(registration))

    async def resolve(self, client_id: str) -> None:
        """Make a client known that can be, as it is now; does nothing for the configuration's, and for who is unknown.

        Does not look at its standing, nor at any proof of who asks.

        Spec: draft-ietf-oauth-client-id-metadata-document §4
        Raises: ClientDocumentRefused, ClientUnadopted
        """
        if client_id in self._defined:
            return
        if self.registrations.is_waiting(client_id):
            raise ClientUnadopted(f"client `{client_id}` waits to be adopted")
        if not is_client_id_url(client_id):
            return
        uri = parse_client_id_url(client_id)
        rule = self.admission.rules.get(host_of(uri))
        if rule is None:
            raise ClientDocumentRefused(f"no rule of `client_documents` admits `{host_of(uri)}`")
        known = self._stored.get(client_id)
        if known is None or known.fresh_until <= self._clock() or client_id not in self.clients:
            is_known = client_id in self._kept
            self._take_document(await self._documents.fetch(client_id, uri, rule, is_known=is_known))

    def admits(self, client_id: str) -> bool:
        """True for the id of a client that is known here, or would be if its document were good."""
        return client_id in self.clients or rule_for(client_id, self.admission) is not None

    async def keep(self, client: Client) -> None:
        """Keep the document by which something is about to be issued; recorded first where it is new, or another.

        Raises: StorageUnavailable, JournalUnavailable
        """
        stored = self._stored.get(client.id)
        if client.origin is not Origin.DOCUMENT or stored is None:
            return
        now = int(self._clock())
        is_kept = self._kept.get(client.id) == stored.sha256
        if is_kept and stored.used_at is not None and now - stored.used_at < NOTE_USE_SECONDS:
            return
        if not is_kept:
            await self._journal.append(_document_record(client, stored))
        used = replace(stored, used_at=now)
        await self._rows.put_document(used)
        self._kept[client.id] = used.sha256
        if self._stored.get(client.id) == stored:
            self._stored[client.id] = used

    async def adopt(self, client_id: str, adoption: Adoption) -> Registration:
        """Raises: NotFound, StorageUnavailable, JournalUnavailable."""
        adopted = await self.registrations.adopt(client_id, adoption)
        self._know(know_registration(adopted))
        return adopted

    def unadmitted(self) -> tuple[str, ...]:
        """Clients whose documents are kept, and that no rule admits any more."""
        return tuple(each for each in self._stored if each not in self.clients)

    async def forget(self, client_id: str) -> None:
        """Keep a client's document no longer. Raises: StorageUnavailable."""
        await self._rows.drop_document(client_id)
        self._drop(client_id)

    async def forget_old(self) -> None:
        """Forget what nothing hangs on any more. Raises: StorageUnavailable, JournalUnavailable."""
        await self.registrations.lapse()
        for each in tuple(self._stored.values()):
            if each.used_at is not None and each.used_at <= self._clock() - KEPT_SECONDS:
                await self.forget(each.client_id)

    def _take_document(self, fetched: StoredDocument) -> None:
        """Go by what was just read. What tokens were issued by stays in the database until some are issued by this."""
        before = self._stored.get(fetched.client_id)
        fetched = replace(fetched, used_at=before.used_at if before is not None else None)
        self._stored.pop(fetched.client_id, None)
        passing = [each.client_id for each in self._stored.values() if each.used_at is None]
        for each in passing[: max(0, len(passing) - MAX_PASSING + 1)]:
            self._drop(each)
        self._stored[fetched.client_id] = fetched
        self._know(know_document(fetched, self.admission))

    def _know(self, known: Known | None) -> None:
        if known is not None:
            self.clients[known.client.id] = known.client
            self.client_keys[known.client.id] = known.keys.by_id

    def _drop(self, client_id: str) -> None:
        for known in (self._stored, self._kept, self.clients, self.client_keys):
            known.pop(client_id, None)


def _document_record(client: Client, stored: StoredDocument) -> Record:
    about = {"client": client.id, "change": "document", "sha256": stored.sha256, "by": "perhop"}
    redirect_uris = {"redirect_uris": list(client.redirect_uris)}
    return Record(event=Event.CLIENT_CHANGED, client=client.id, owner=client.owner, about={**about, **redirect_uris})
