"""One token, kept while it is good."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from perhop.client.single_flight import SingleFlight
from perhop.client.token_request import AccessToken
from perhop.errors import IssuerUnavailable


class KeptToken:
    """Gives the token that is held, and gets the next one before it expires: once for all who wait."""

    def __init__(self, obtain: Callable[[], Coroutine[Any, Any, AccessToken]], *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._held: AccessToken | None = None
        self._obtaining = SingleFlight(lambda: self._replace(obtain))

    async def get(self, refused: AccessToken | None = None) -> AccessToken:
        """A token that is not the one just refused.

        When no new one can be had, the one held goes on being used until its end.

        Raises: TokenNotGranted, IssuerUnavailable
        """
        held = self._held if self._held is not refused else None
        if held is not None and self._clock() < held.refresh_at:
            return held
        try:
            return await self._obtaining.join()
        except IssuerUnavailable:
            if held is not None and self._clock() < held.expires_at:
                return held
            raise

    async def aclose(self) -> None:
        """End a request that is under way on this event loop."""
        await self._obtaining.aclose()

    async def _replace(self, obtain: Callable[[], Coroutine[Any, Any, AccessToken]]) -> AccessToken:
        self._held = await obtain()
        return self._held
