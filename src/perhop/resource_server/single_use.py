"""Single use at one guard: its store, started when the first use needs it, if nobody has started it before."""

from __future__ import annotations

import asyncio
import logging
import threading

from perhop.core.proof import CheckedProof
from perhop.core.resource import ResourceUri
from perhop.core.token import VerifiedToken
from perhop.errors import ReplayUnavailable, SettingsError
from perhop.resource_server.replay import ReplayStore

_log = logging.getLogger("perhop.resource_server")


class SingleUse:
    """One guard's use of a store, which may be that of others, too."""

    def __init__(self, resource: ResourceUri, store: ReplayStore) -> None:
        self._resource = resource
        self._store = store
        self._is_started = False
        self._starting = threading.Lock()

    def start(self) -> None:
        """Raises: SettingsError, where single use cannot be kept."""
        with self._starting:
            if not self._is_started:
                self._store.start(self._resource)
                self._is_started = True

    def stop(self) -> None:
        """The next use starts the store again."""
        with self._starting:
            if self._is_started:
                self._store.stop()
                self._is_started = False

    async def use(self, token: VerifiedToken) -> None:
        """Use a call token up. Raises: TokenReplayed, ReplayUnavailable."""
        await self.start_late()
        self._check_started()
        await self._store.use(token)

    async def use_proof(self, proof: CheckedProof) -> None:
        """Use a proof of possession up. Raises: ProofReplayed, ReplayUnavailable."""
        await self.start_late()
        self._check_started()
        await self._store.use_proof(proof)

    def nonce_key(self) -> bytes:
        """The key of the nonces of all who share the store. Raises: ReplayUnavailable."""
        return self._store.nonce_key()

    async def start_late(self) -> None:
        """Where no lifespan has started the store, the first use does. What goes wrong is in the log."""
        if not self._is_started:
            try:
                await asyncio.to_thread(self.start)
            except SettingsError as error:
                _log.error("call tokens and proofs are refused: %s; %s", error, error.advice())

    def _check_started(self) -> None:
        """Raises: ReplayUnavailable."""
        if not self._is_started:
            raise ReplayUnavailable("single use cannot be kept")
