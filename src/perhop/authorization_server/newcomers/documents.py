"""Clients' documents: fetched once for all who ask at the same time, and not again before it is worth it.

What failed is not asked for again for a while, and the failure is no document: nothing is gone by that did not come
whole, now, with a 200.

Spec: draft-ietf-oauth-client-id-metadata-document §4
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from perhop.authorization_server.newcomers.guarded_fetch import GuardedFetch
from perhop.authorization_server.newcomers.known import MAX_DOCUMENT_BYTES, read_stored
from perhop.client.single_flight import SingleFlight
from perhop.core.newcomer import StoredDocument, TrustRule
from perhop.errors import ClientDocumentRefused, ClientMetadataInvalid
from perhop.rules.client_id_url import host_of, parse_document_url
from perhop.rules.client_metadata import BY_KEY, parse_members, read_document
from perhop.rules.freshness import fresh_for
from perhop.rules.resource_uri import HttpUri
from perhop.tokens.jwks import MAX_JWKS_BYTES

BACK_OFF_SECONDS = 30
BUDGET, BUDGET_SECONDS = 60, 60
"""So many clients of one host are looked up for the first time in so many seconds."""
MAX_FAILURES = 1000


def _for_keys(rule: TrustRule, keys_at: HttpUri) -> TrustRule:
    """By which rule keys are fetched. INVARIANT: what a rule opens for its host, no document opens for another."""
    return rule if host_of(keys_at) == rule.host else replace(rule, inner_networks=(), ca_pem=None)


class Documents:
    """The documents of clients, as they are fetched. Holds failures, and no document: that is for whoever asks."""

    def __init__(self, fetch: GuardedFetch, *, clock: Callable[[], float]) -> None:
        self._fetch = fetch
        self._clock = clock
        self._flights: dict[str, SingleFlight[StoredDocument]] = {}
        self._failures: dict[str, tuple[float, str]] = {}
        self._asked: dict[str, deque[float]] = {}

    async def fetch(self, client_id: str, uri: HttpUri, rule: TrustRule, *, is_known: bool) -> StoredDocument:
        """The document as it is now, with the keys that it names.

        One that is known is fetched whatever others of its host have been asked for: nobody can spend that for it.

        Raises: ClientDocumentRefused
        """
        self._check_not_failed(client_id)
        if client_id not in self._flights:
            self._flights[client_id] = SingleFlight(lambda: self._land(client_id, uri, rule, is_known=is_known))
        return await self._flights[client_id].join()

    def forget_failures(self) -> None:
        """Another configuration is in force: what could not be had may be had now."""
        self._failures.clear()

    async def _land(self, client_id: str, uri: HttpUri, rule: TrustRule, *, is_known: bool) -> StoredDocument:
        try:
            if not is_known:
                self._spend(rule.host)
            return await self._get(client_id, uri, rule)
        except ClientDocumentRefused as fact:
            self._note_failure(client_id, fact.detail)
            raise
        finally:
            self._flights.pop(client_id, None)

    async def _get(self, client_id: str, uri: HttpUri, rule: TrustRule) -> StoredDocument:
        fetched = await self._fetch.get(uri, rule, max_bytes=MAX_DOCUMENT_BYTES)
        seconds = fresh_for(fetched.cache_control, fetched.age)
        try:
            metadata = read_document(parse_members(fetched.body, max_bytes=MAX_DOCUMENT_BYTES), client_id=client_id)
        except ClientMetadataInvalid as error:
            raise ClientDocumentRefused(f"the document at `{client_id}`: {error.detail}") from None
        key_set: str | None = None
        if metadata.method == BY_KEY and metadata.jwks_uri is not None:
            keys_at = parse_document_url(metadata.jwks_uri, f"`jwks_uri` of `{client_id}`")
            keys = await self._fetch.get(keys_at, _for_keys(rule, keys_at), max_bytes=MAX_JWKS_BYTES)
            # Bytes that are no UTF-8 are no JSON either, and refused when they are read.
            key_set = keys.body.decode("utf-8", "replace")
            seconds = min(seconds, fresh_for(keys.cache_control, keys.age))
        document, now = fetched.body.decode("utf-8"), int(self._clock())
        stored = StoredDocument(
            client_id=client_id,
            document=document,
            key_set=key_set,
            sha256=hashlib.sha256(f"{document}\n{key_set or ''}".encode()).hexdigest(),
            fetched_at=now,
            fresh_until=now + seconds,
        )
        read_stored(stored, rule)  # what cannot be gone by is a failure of this fetch
        return stored

    def _spend(self, host: str) -> None:
        """Raises: ClientDocumentRefused."""
        asked, now = self._asked.setdefault(host, deque()), self._clock()
        while asked and asked[0] <= now - BUDGET_SECONDS:
            asked.popleft()
        if len(asked) >= BUDGET:
            raise ClientDocumentRefused(f"`{host}` was asked for {BUDGET} documents in {BUDGET_SECONDS} s")
        asked.append(now)

    def _check_not_failed(self, client_id: str) -> None:
        until, why = self._failures.get(client_id, (0.0, ""))
        if self._clock() < until:
            raise ClientDocumentRefused(f"not asked again yet: {why}")

    def _note_failure(self, client_id: str, why: str) -> None:
        self._failures.pop(client_id, None)
        if len(self._failures) >= MAX_FAILURES:
            self._failures.pop(next(iter(self._failures)))
        self._failures[client_id] = (self._clock() + BACK_OFF_SECONDS, why)
